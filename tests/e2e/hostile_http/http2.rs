//! Agents that speak HTTP/2 as RFC 9113 forbids it.

use harness::secrets;
use tokio::io::AsyncWriteExt;

use super::frames::*;
use super::{HOST, PATIENCE, Siege, body};

/// What a story expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The stream or the connection ends, or an answer says no.
    Refused,
    /// An answer as if nothing were wrong.
    Served,
}

/// A request's fields, in order, with others in between and behind.
fn fields(early: &[(&str, &str)], late: &[(&str, &str)]) -> Vec<u8> {
    let start = [(":method", "POST"), (":scheme", "https"), (":path", "/v1/messages")];
    let rest =
        [(":authority", HOST), ("content-type", "application/json"), ("x-api-key", "made-up")];
    block(&[&start[..], early, &rest, late].concat())
}

/// A whole request on stream 1 with this header block.
fn request(block: &[u8]) -> Vec<u8> {
    let data = frame(DATA, END_STREAM, 1, body().as_bytes());
    [frame(HEADERS, END_HEADERS, 1, block), data].concat()
}

/// Speaks `bytes` on a connection of its own behind what every client starts with.
async fn speak(siege: &Siege, bytes: &[u8]) -> Came {
    let mut connection = siege.open(b"h2").await;
    // It may be closed before all of it is written.
    let _ = connection.write_all(&[PREFACE, &settings(), bytes].concat()).await;
    let _ = connection.flush().await;
    hear(&mut connection, 1, PATIENCE).await
}

async fn meets(siege: &Siege, stories: Vec<(&str, Fate, Vec<u8>)>) {
    for (story, fate, bytes) in stories {
        let before = siege.provider.seen().len();
        let came = speak(siege, &bytes).await;
        let arrived = siege.provider.seen().len() - before;
        match fate {
            Fate::Served => assert_eq!((came, arrived), (Came::Success, 1), "{story}"),
            Fate::Refused => {
                assert!(!matches!(came, Came::Success | Came::Silence), "{story}: {came:?}");
                assert_eq!(arrived, 0, "{story}: {:?}", siege.provider.last());
            }
        }
        assert!(!siege.provider.saw(secrets::AWS), "{story}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_against_the_protocol_end_the_connection() {
    use Fate::{Refused, Served};
    let siege = Siege::of_agents().await;
    let good = || request(&fields(&[], &[]));
    let block = fields(&[], &[]);
    let with_block = |kind, flags, stream| frame(kind, flags, stream, &block);
    let open = || with_block(HEADERS, END_HEADERS, 1);
    let then = |first: Vec<u8>, second: Vec<u8>| [first, second].concat();
    let stories = vec![
        ("nothing wrong", Served, good()),
        ("a frame of no known type", Served, then(frame(0xaa, 0xff, 0, b"what"), good())),
        ("data on no stream", Refused, frame(DATA, 0, 0, b"x")),
        ("data on a stream that nobody opened", Refused, frame(DATA, END_STREAM, 1, b"x")),
        ("headers on no stream", Refused, with_block(HEADERS, END_HEADERS, 0)),
        ("a stream of the other side", Refused, with_block(HEADERS, END_HEADERS | END_STREAM, 2)),
        (
            "a stream below the last one",
            Refused,
            then(with_block(HEADERS, END_HEADERS, 5), with_block(HEADERS, END_HEADERS, 3)),
        ),
        ("a frame over the agreed size", Refused, frame(HEADERS, END_HEADERS, 1, &[0; 20_000])),
        ("a push from a client", Refused, then(open(), with_block(PUSH_PROMISE, END_HEADERS, 1))),
        ("a continuation of nothing", Refused, with_block(CONTINUATION, END_HEADERS, 1)),
        (
            "another frame inside a header block",
            Refused,
            then(with_block(HEADERS, 0, 1), frame(PING, 0, 0, &[0; 8])),
        ),
        (
            "a continuation of another stream's block",
            Refused,
            then(with_block(HEADERS, 0, 1), with_block(CONTINUATION, END_HEADERS, 3)),
        ),
        (
            "more padding than frame",
            Refused,
            then(open(), frame(DATA, PADDED | END_STREAM, 1, &[200, b'x'])),
        ),
        (
            "headers that are all padding",
            Refused,
            frame(HEADERS, PADDED | END_HEADERS, 1, &[255, 0]),
        ),
        (
            "a stream that waits for itself",
            Refused,
            frame(
                HEADERS,
                WITH_PRIORITY | END_HEADERS | END_STREAM,
                1,
                &[&[0, 0, 0, 1, 0][..], &block].concat(),
            ),
        ),
        ("HTTP/1.1 instead", Refused, b"POST / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
    ];
    meets(&siege, stories).await;
    siege.serves().await;
    siege.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_wrong_size_or_value_end_the_connection() {
    use Fate::Refused;
    let siege = Siege::of_agents().await;
    let open = frame(HEADERS, END_HEADERS, 1, &fields(&[], &[]));
    let stories = vec![
        ("settings of odd length", Refused, frame(SETTINGS, 0, 0, &[0; 5])),
        ("settings on a stream", Refused, frame(SETTINGS, 0, 1, &[])),
        ("an acknowledgement that says something", Refused, frame(SETTINGS, ACK, 0, &[0; 6])),
        ("push that is neither on nor off", Refused, setting(2, 2)),
        ("a window over the largest", Refused, setting(4, 1 << 31)),
        ("frames smaller than the smallest", Refused, setting(5, 1)),
        ("a short ping", Refused, frame(PING, 0, 0, &[0; 7])),
        ("a ping on a stream", Refused, frame(PING, 0, 1, &[0; 8])),
        ("a window that opens by nothing", Refused, frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        (
            "a window that overflows",
            Refused,
            frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()).repeat(2),
        ),
        ("a short window update", Refused, frame(WINDOW_UPDATE, 0, 0, &[0; 3])),
        ("the reset of no stream", Refused, frame(RST_STREAM, 0, 1, &[0; 4])),
        ("a short reset", Refused, [open, frame(RST_STREAM, 0, 1, &[0; 3])].concat()),
        ("a short farewell", Refused, frame(GOAWAY, 0, 0, &[0; 7])),
    ];
    meets(&siege, stories).await;
    siege.serves().await;
    siege.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn header_blocks_that_decode_to_nothing_end_the_connection() {
    use Fate::Refused;
    let siege = Siege::of_agents().await;
    let whole = fields(&[], &[]);
    let stories = vec![
        ("index 0", Refused, request(&[&whole[..], &[0x80]].concat())),
        (
            "an index behind the table",
            Refused,
            request(&[&whole[..], &[0xff, 0x80, 0x01]].concat()),
        ),
        ("an index beyond all numbers", Refused, request(&[0xff; 40])),
        ("a text that ends early", Refused, request(&[&whole[..], &[0x10, 0x7f]].concat())),
        (
            "padding that spells a symbol",
            Refused,
            request(&[&whole[..], &[0x10, 0x01, b'x', 0x81, 0x00]].concat()),
        ),
        (
            "the end of all symbols",
            Refused,
            request(&[&whole[..], &[0x10, 0x01, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]].concat()),
        ),
        (
            "a table over the agreed size",
            Refused,
            request(&[&integer(0x20, 5, 1 << 20), &whole[..]].concat()),
        ),
        ("a table that shrinks too late", Refused, request(&[&whole[..], &[0x20]].concat())),
        ("nothing", Refused, request(&[])),
    ];
    meets(&siege, stories).await;
    siege.serves().await;
    siege.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_against_the_protocol_refuse_the_request() {
    use Fate::{Refused, Served};
    let siege = Siege::of_agents().await;
    let late = |name: &str, value: &str| request(&fields(&[], &[(name, value)]));
    let early = |name: &str, value: &str| request(&fields(&[(name, value)], &[]));
    let without = |name: &str| {
        let all = [
            (":method", "POST"),
            (":scheme", "https"),
            (":path", "/v1/messages"),
            (":authority", HOST),
            ("content-type", "application/json"),
        ];
        request(&block(&all.into_iter().filter(|(known, _)| *known != name).collect::<Vec<_>>()))
    };
    let stories = vec![
        ("te: trailers", Served, late("te", "trailers")),
        ("te: gzip", Refused, late("te", "gzip")),
        ("connection", Refused, late("connection", "keep-alive, x-other")),
        ("keep-alive", Refused, late("keep-alive", "timeout=5")),
        ("proxy-connection", Refused, late("proxy-connection", "keep-alive")),
        ("transfer-encoding", Refused, late("transfer-encoding", "chunked")),
        ("upgrade", Refused, late("upgrade", "websocket")),
        ("an upper-case name", Refused, late("X-Upper", "case")),
        ("a name with a blank", Refused, late("x y", "z")),
        ("a name with a colon", Refused, late("x:y", "z")),
        ("a name with a line break", Refused, late("x\r\nhost", "evil.example")),
        ("a name that is not ASCII", Refused, late("x\u{e9}", "z")),
        ("no name", Refused, late("", "z")),
        ("a line break in a value", Refused, late("x", "a\r\nx-other: b")),
        ("a lone line feed in a value", Refused, late("x", "a\nb")),
        ("a NUL in a value", Refused, late("x", "a\0b")),
        ("a pseudo-header behind the others", Refused, late(":path", "/v1/other")),
        ("a pseudo-header that nobody knows", Refused, early(":protocol-of-mine", "x")),
        ("an extended CONNECT that was not offered", Refused, early(":protocol", "websocket")),
        ("a status in a request", Refused, early(":status", "200")),
        ("two methods", Refused, early(":method", "GET")),
        ("two paths", Refused, early(":path", "/v1/other")),
        ("two schemes", Refused, early(":scheme", "http")),
        ("two authorities", Refused, early(":authority", "evil.example")),
        ("no method", Refused, without(":method")),
        ("no scheme", Refused, without(":scheme")),
        ("no path", Refused, without(":path")),
        ("a host of another name", Refused, late("host", "evil.example")),
        ("a length that is no number", Refused, late("content-length", "ten")),
        ("a length with a sign", Refused, late("content-length", "+10")),
        ("a length over all numbers", Refused, late("content-length", "99999999999999999999")),
        ("a length too small", Refused, late("content-length", "10")),
        ("a length too large", Refused, late("content-length", "100000")),
        (
            "two lengths",
            Refused,
            request(&fields(
                &[],
                &[("content-length", &body().len().to_string()), ("content-length", "1")],
            )),
        ),
    ];
    meets(&siege, stories).await;
    siege.serves().await;
    siege.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_against_the_protocol_refuse_the_request() {
    use Fate::Refused;
    let siege = Siege::of_agents().await;
    let with = |method: &str, scheme: &str, path: &str, authority: &str| {
        let fields = [
            (":method", method),
            (":scheme", scheme),
            (":path", path),
            (":authority", authority),
            ("content-type", "application/json"),
        ];
        request(&block(&fields))
    };
    let post = |path: &str| with("POST", "https", path, HOST);
    let stories = vec![
        ("an empty path", Refused, post("")),
        ("a path with a blank", Refused, post("/v1/messages HTTP/1.1")),
        ("a path with a line break", Refused, post("/v1/messages\r\nx: y")),
        ("a path with a NUL", Refused, post("/v1/\0messages")),
        ("a path that is none", Refused, post("v1/messages")),
        ("a whole URL for a path", Refused, post("https://evil.example/v1/messages")),
        ("a method with a blank", Refused, with("POST /x", "https", "/v1/messages", HOST)),
        ("no encryption claimed", Refused, with("POST", "http", "/v1/messages", HOST)),
        ("another host", Refused, with("POST", "https", "/v1/messages", "evil.example")),
        ("a user in the host", Refused, with("POST", "https", "/", "evil@api.anthropic.com")),
        ("a secret for a host", Refused, with("POST", "https", "/", secrets::AWS)),
        ("a secret in the path", Refused, post(&format!("/v1/{}", secrets::AWS))),
        ("a tunnel in the tunnel", Refused, with("CONNECT", "https", "/", "evil.example:443")),
    ];
    meets(&siege, stories).await;
    siege.serves().await;
    siege.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_beside_the_body_stays_here() {
    use Fate::{Refused, Served};
    let siege = Siege::of_agents().await;
    let head = frame(HEADERS, END_HEADERS, 1, &fields(&[], &[]));
    let data = |flags| frame(DATA, flags, 1, body().as_bytes());
    let trailers =
        |flags, fields: &[(&str, &str)]| frame(HEADERS, END_HEADERS | flags, 1, &block(fields));
    let stories = vec![
        (
            "trailers with a secret, which are dropped",
            Served,
            [head.clone(), data(0), trailers(END_STREAM, &[("x-sum", secrets::AWS)])].concat(),
        ),
        (
            "trailers with a pseudo-header, which are dropped",
            Served,
            [head.clone(), data(0), trailers(END_STREAM, &[(":path", "/v1/other")])].concat(),
        ),
        (
            "trailers that do not end",
            Refused,
            [head.clone(), data(0), trailers(0, &[("x-sum", "1")]), data(END_STREAM)].concat(),
        ),
        (
            "padding that holds a secret, which is dropped",
            Served,
            [
                head.clone(),
                frame(
                    DATA,
                    PADDED | END_STREAM,
                    1,
                    &[
                        &[u8::try_from(secrets::AWS.len()).expect("it is short")][..],
                        body().as_bytes(),
                        secrets::AWS.as_bytes(),
                    ]
                    .concat(),
                ),
            ]
            .concat(),
        ),
    ];
    meets(&siege, stories).await;
    siege.end();
}

/// CVE-2023-44487 (rapid reset), CVE-2024-27316 (CONTINUATION), CVE-2019-9511 and its kin.
#[tokio::test(flavor = "multi_thread")]
async fn floods_take_no_more_than_their_share() {
    let siege = Siege::of_agents().await;
    let whole = fields(&[], &[]);
    let large = field("x-large", vec![b'a'; 16_000]);
    let long_name = vec![b'n'; 2000];
    let bomb = [whole.clone(), indexed(&long_name, &[b'v'; 2000]), vec![0xbe; 12_000]].concat();
    let open = |stream: u32| frame(HEADERS, END_HEADERS, stream, &whole);
    let reset = |stream: u32| frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    let streams = (0..20_000).map(|number| 2 * number + 1);
    let floods: Vec<(&str, Vec<u8>)> = vec![
        (
            "continuations",
            [frame(HEADERS, 0, 1, &whole), frame(CONTINUATION, 0, 1, &large).repeat(2000)].concat(),
        ),
        (
            "empty continuations",
            [frame(HEADERS, 0, 1, &whole), frame(CONTINUATION, 0, 1, &[]).repeat(200_000)].concat(),
        ),
        ("rapid resets", streams.clone().flat_map(|id| [open(id), reset(id)].concat()).collect()),
        ("streams that stay open", streams.flat_map(open).collect()),
        ("settings", setting(4, 65_535).repeat(200_000)),
        ("pings", frame(PING, 0, 0, &[7; 8]).repeat(200_000)),
        ("priorities", frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 9]).repeat(200_000)),
        ("unknown frames", frame(0x7f, 0, 0, &[0; 100]).repeat(100_000)),
        ("empty data", [open(1), frame(DATA, 0, 1, &[]).repeat(200_000)].concat()),
        ("windows", frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()).repeat(200_000)),
        ("a header that stands for thousands", frame(HEADERS, END_HEADERS, 1, &bomb)),
        (
            "a large header",
            frame(HEADERS, END_HEADERS, 1, &[whole.clone(), large].concat()).repeat(8),
        ),
        (
            "data over the window",
            [open(1), frame(DATA, 0, 1, &[b' '; 16_000]).repeat(2000)].concat(),
        ),
    ];
    for (flood, bytes) in floods {
        let mut connection = siege.open(b"h2").await;
        let last = frame(PING, 0, 0, b"the last");
        // Nobody reads the answers meanwhile, which may not pile up either.
        let sent = connection.write_all(&[PREFACE, &settings(), &bytes, &last].concat()).await;
        let all = async {
            while next(&mut connection).await.is_some_and(|came| came.2 != b"the last") {}
        };
        // It was all read, or the connection ended before.
        tokio::time::timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("{flood}: {sent:?}"));
        siege.stands();
        siege.serves().await;
        assert!(!siege.provider.saw(secrets::AWS), "{flood}");
    }
    siege.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stops_in_the_middle_is_never_taken_for_whole() {
    let siege = Siege::of_agents().await;
    let whole = [PREFACE, &settings(), &request(&fields(&[], &[]))].concat();
    let before = siege.provider.seen().len();
    let mut waiting = Vec::new();
    let start = whole.len() - body().len() - 30;
    for end in (0..start).step_by(29).chain(start..whole.len()) {
        let mut connection = siege.open(b"h2").await;
        connection.write_all(&whole[..end]).await.expect("it reads");
        connection.flush().await.expect("it reads");
        // Some hang up, as they should or not, and the others say nothing any more.
        match end % 3 {
            0 => connection.shutdown().await.expect("it reads"),
            1 => drop(connection),
            _ => waiting.push(connection),
        }
    }
    siege.serves().await;
    assert_eq!(siege.provider.seen().len(), before + 2, "{:?}", siege.provider.last());
    drop(waiting);
    siege.end();
}
