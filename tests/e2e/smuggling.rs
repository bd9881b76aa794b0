//! Shapes that a proxy and a server behind it may read in two ways: each is read in one, and what goes
//! out is framed anew.

use harness::provider::Provider;
use harness::raw::{Raw, post};
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::Waterwall;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HOST: &str = "api.anthropic.com";
const PATH: &str = "/v1/messages";
const JSON: &str = "content-type: application/json\r\n";
const CHUNKED: &str = "transfer-encoding: chunked\r\n";

/// A request that is hidden in, or behind, another.
fn hidden() -> String {
    let body = SHAPES[0].request(&format!("hidden {}", secrets::AWS)).to_string();
    let length = body.len();
    format!("POST /hidden HTTP/1.1\r\nhost: {HOST}\r\n{JSON}content-length: {length}\r\n\r\n{body}")
}

/// A head of these lines, and what follows it.
fn with(lines: &[&str], rest: &str) -> Vec<u8> {
    let lines = lines.concat();
    format!("POST {PATH} HTTP/1.1\r\nhost: {HOST}\r\n{lines}\r\n{rest}").into_bytes()
}

/// Demands that `bytes` get one refusal at most, and that nothing of them arrives.
async fn is_kept(waterwall: &Waterwall, provider: &Provider, what: &str, bytes: &[u8]) {
    let all = [bytes, hidden().as_bytes()].concat();
    let heard = Raw::new(waterwall).hear_out(HOST, all).await;
    let is_refused = heard.is_empty() || heard.starts_with("HTTP/1.1 4") || heard.contains(" 502 ");
    assert!(is_refused && heard.matches("HTTP/1.1 ").count() <= 1, "{what}: {heard}");
    assert!(!heard.contains(secrets::AWS), "{what}: {heard}");
    assert!(provider.seen().is_empty(), "{what}: {:?}", provider.seen());
}

/// Demands that the service goes on, and that the provider saw none of the secret.
async fn goes_on(waterwall: &Waterwall, provider: &Provider) {
    let body = SHAPES[0].request(secrets::AWS).to_string();
    let reply = Raw::new(waterwall).send(HOST, post(HOST, PATH, &body)).await;
    assert_eq!((reply.status, SHAPES[0].text_of(&reply.json())), (200, secrets::AWS));
    assert!(!provider.saw(secrets::AWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_chunks_counts_for_nothing_and_ends_the_connection() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let body = SHAPES[0].request(&format!("shown {}", secrets::AWS)).to_string();
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let short = "content-length: 4\r\n";
    let long = format!("content-length: {}\r\n", chunks.len() + hidden().len());
    for (number, lines) in [
        [JSON, short, CHUNKED],
        [JSON, CHUNKED, short],
        [JSON, &long, CHUNKED],
        [JSON, CHUNKED, &long],
    ]
    .iter()
    .enumerate()
    {
        let bytes = [with(lines, &chunks), hidden().into_bytes()].concat();
        let heard = Raw::new(&waterwall).hear_out(HOST, bytes).await;
        // What hides behind it is not read, let alone sent.
        assert_eq!(heard.matches("HTTP/1.1 200").count(), 1, "{lines:?}: {heard}");
        let seen = provider.seen();
        assert_eq!(seen.len(), number + 1, "{lines:?}");
        let last = provider.last();
        assert!(last.path == PATH && last.text().contains("shown <pl:"), "{last:?}");
        assert!(!last.headers.contains_key("transfer-encoding"), "{last:?}");
        let length = last.headers.get("content-length").map(|it| it.to_str().expect("ASCII"));
        assert!(length.is_none_or(|length| length == last.body.len().to_string()), "{last:?}");
    }
    assert!(!provider.saw("hidden") && !provider.saw(secrets::AWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_read_in_two_ways_are_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let long = format!("content-length: {}\r\n", hidden().len() + 2);
    for (what, lines) in [
        ("two lengths", [JSON, "content-length: 2\r\n", &long]),
        ("a list of lengths", [JSON, "content-length: 2, 3\r\n", ""]),
        ("a length with a sign", [JSON, "content-length: +2\r\n", ""]),
        ("a negative length", [JSON, "content-length: -2\r\n", ""]),
        ("a hexadecimal length", [JSON, "content-length: 0x2\r\n", ""]),
        ("a length too large", [JSON, "content-length: 99999999999999999999\r\n", ""]),
        ("an empty length", [JSON, "content-length:\r\n", ""]),
        ("an unknown transfer coding", [JSON, "transfer-encoding: xchunked\r\n", ""]),
        ("chunks not last", [JSON, "transfer-encoding: chunked, identity\r\n", ""]),
        ("chunks in quotes", [JSON, "transfer-encoding: \"chunked\"\r\n", ""]),
        ("chunks behind a tab", [JSON, "transfer-encoding:\x0bchunked\r\n", ""]),
        ("two transfer codings", [JSON, CHUNKED, "transfer-encoding: identity\r\n"]),
        ("a blank behind a name", [JSON, "transfer-encoding : chunked\r\n", ""]),
        ("a tab behind a name", [JSON, "content-length\t: 2\r\n", ""]),
        ("a blank in a name", [JSON, "transfer encoding: chunked\r\n", ""]),
        ("a folded line", [JSON, "x-a: b\r\n transfer-encoding: chunked\r\n", ""]),
        ("a line folded by a tab", [JSON, "x-a: b\r\n\tc\r\n", ""]),
        ("a folded first line", [" x-a: b\r\n", JSON, ""]),
        ("a line without a colon", [JSON, "transfer-encoding chunked\r\n", ""]),
        ("a line without a name", [JSON, ": chunked\r\n", ""]),
        ("a bare CR in a value", [JSON, "x-a: b\rtransfer-encoding: chunked\r\n", ""]),
        ("a NUL in a value", [JSON, "x-a: b\0c\r\n", ""]),
        ("a NUL in a name", [JSON, "x\0a: b\r\n", ""]),
    ] {
        is_kept(&waterwall, &provider, what, &with(&lines, "{}")).await;
    }
    let first_lines = [
        ("two blanks", format!("POST  {PATH} HTTP/1.1")),
        ("a blank in the target", format!("POST {PATH} /x HTTP/1.1")),
        ("no version", format!("POST {PATH}")),
        ("another version", format!("POST {PATH} HTTP/2.0")),
        ("another protocol", format!("POST {PATH} HTCPCP/1.1")),
        ("a CR in the target", format!("POST {PATH}\r/x HTTP/1.1")),
    ];
    for (what, line) in first_lines {
        let bytes = format!("{line}\r\nhost: {HOST}\r\n{JSON}content-length: 2\r\n\r\n{{}}");
        is_kept(&waterwall, &provider, what, bytes.as_bytes()).await;
    }
    goes_on(&waterwall, &provider).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_header_is_refused_whatever_it_says() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    for host in [HOST, "api.openai.com", "evil.example", ""] {
        let lines = format!("Host: {host}\r\n{JSON}content-length: 2\r\n");
        let reply = Raw::new(&waterwall).send(HOST, with(&[&lines], "{}")).await;
        reply.is_refused(400, "waterwall-protocol-error");
    }
    let none = format!("POST {PATH} HTTP/1.1\r\n{JSON}content-length: 2\r\n\r\n{{}}");
    let reply = Raw::new(&waterwall).send(HOST, none).await;
    reply.is_refused(400, "waterwall-protocol-error");
    assert!(provider.seen().is_empty());
    goes_on(&waterwall, &provider).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_are_read_in_two_ways_are_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    for (what, chunks) in [
        ("no size", "\r\n{}\r\n0\r\n\r\n"),
        ("a size that is none", "zz\r\n{}\r\n0\r\n\r\n"),
        ("a size with a sign", "+2\r\n{}\r\n0\r\n\r\n"),
        ("a negative size", "-2\r\n{}\r\n0\r\n\r\n"),
        ("a size with a prefix", "0x2\r\n{}\r\n0\r\n\r\n"),
        ("a size too large", "fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
        ("a size that ends in LF", "2\n{}\r\n0\r\n\r\n"),
        ("a size that ends in CR", "2\r{}\r\n0\r\n\r\n"),
        ("an extension that ends in LF", "2;a=b\n{}\r\n0\r\n\r\n"),
        ("a chunk longer than its size", "1\r\n{}\r\n0\r\n\r\n"),
        ("a chunk that ends in LF", "2\r\n{}\n0\r\n\r\n"),
        ("a chunk that ends in nothing", "2\r\n{}0\r\n\r\n"),
    ] {
        is_kept(&waterwall, &provider, what, &with(&[JSON, CHUNKED], chunks)).await;
    }
    // It is not over, and what would end it never comes.
    let open = with(&[JSON, CHUNKED], "2\r\n{}\r\n");
    let mut tls = Raw::new(&waterwall).tls(&format!("{HOST}:443"), HOST, &[]).await.expect("TLS");
    tls.write_all(&open).await.expect("it is taken");
    tls.shutdown().await.expect("it is taken");
    let mut heard = String::new();
    let _ = tls.read_to_string(&mut heard).await;
    assert!(!heard.contains(" 200 ") && provider.seen().is_empty(), "{heard}");
    goes_on(&waterwall, &provider).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rides_on_chunks_stays_here() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let body = SHAPES[0].request("shown").to_string();
    let (secret, size) = (secrets::AWS, body.len());
    let chunks = format!(
        "{size:X};x={secret};y=\"{secret}\"\r\n{body}\r\n000;{secret}\r\nx-trailer: {secret}\r\n\
         content-length: 1\r\nhost: evil.example\r\n\r\n"
    );
    let lines = [JSON, CHUNKED, "trailer: x-trailer\r\n"];
    let reply = Raw::new(&waterwall).send(HOST, with(&lines, &chunks)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let seen = provider.last();
    assert_eq!(seen.text(), body);
    assert!(!provider.saw(secret) && !provider.saw("evil"));
    assert!(!seen.headers.contains_key("trailer") && !seen.headers.contains_key("x-trailer"));
}

/// A line that ends in LF alone ends there, for us and for whoever reads what we write.
#[tokio::test(flavor = "multi_thread")]
async fn a_bare_lf_ends_a_line_and_leaves_as_crlf() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let body = SHAPES[0].request(&format!("shown {}", secrets::AWS)).to_string();
    let length = body.len();
    let bare = format!(
        "POST {PATH} HTTP/1.1\nhost: {HOST}\ncontent-type: application/json\ncontent-length: {length}\n\n{body}"
    );
    // A header that one reader sees, and another takes for the value of the one before.
    let smuggled = format!(
        "POST {PATH} HTTP/1.1\r\nhost: {HOST}\r\n{JSON}content-length: {length}\r\nx-a: b\nx-b: c\r\n\r\n{body}"
    );
    for (number, bytes) in [bare, smuggled].into_iter().enumerate() {
        let reply = Raw::new(&waterwall).send(HOST, bytes).await;
        assert_eq!((reply.status, provider.seen().len()), (200, number + 1), "{reply:?}");
        assert!(reply.text().contains(secrets::AWS));
    }
    let seen = provider.last();
    assert_eq!(
        (&seen.headers["x-a"], &seen.headers["x-b"]),
        (&"b".parse().expect("a value"), &"c".parse().expect("a value"))
    );
    assert!(!provider.saw(secrets::AWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_of_a_pipeline_is_judged_by_itself() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let message = |text: &str| SHAPES[0].request(text).to_string();
    let foreign = post("api.openai.com", PATH, &message("foreign"));
    let first = post(HOST, PATH, &message(secrets::AWS));
    let second = post(HOST, PATH, &message(secrets::GITHUB));
    let last = format!("GET /last HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    let all = [first, foreign, second, last.into_bytes()].concat();
    let heard = Raw::new(&waterwall).hear_out(HOST, all).await;
    let statuses: Vec<&str> =
        heard.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.split(' ').next()).collect();
    assert_eq!(statuses, ["200", "400", "200", "200"], "{heard}");
    assert!(heard.contains(secrets::AWS) && heard.contains(secrets::GITHUB));
    assert_eq!(provider.seen().len(), 3);
    assert!(
        !provider.saw("foreign") && !provider.saw(secrets::AWS) && !provider.saw(secrets::GITHUB)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_is_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let large = format!("x-a: {}\r\n", "b".repeat(128 * 1024));
    let many = "x-a: b\r\n".repeat(2000);
    for (what, lines) in [("a large header", large), ("many headers", many)] {
        is_kept(&waterwall, &provider, what, &with(&[JSON, &lines], "")).await;
    }
    let target = format!("/{}", "a".repeat(128 * 1024));
    let bytes = format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    is_kept(&waterwall, &provider, "a large target", bytes.as_bytes()).await;
    goes_on(&waterwall, &provider).await;
}

/// HTTP/2 has its own framing, and heads that HTTP/1.1 would read otherwise.
mod h2 {
    use super::*;

    type Field<'f> = (&'f [u8], &'f [u8]);

    /// A frame of RFC 9113 section 4.1 on stream `stream`.
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// A number of RFC 7541 section 5.1 with a prefix of seven bits.
    fn length(bytes: &[u8]) -> Vec<u8> {
        match u8::try_from(bytes.len()) {
            Ok(short @ ..127) => vec![short],
            _ => {
                let rest = bytes.len() - 127;
                assert!(rest < 1 << 14);
                let low = u8::try_from(rest & 127).expect("seven bits") | 128;
                vec![127, low, u8::try_from(rest >> 7).expect("seven bits")]
            }
        }
    }

    /// A request of these fields as they are, literal and never indexed.
    fn request(fields: &[Field<'_>], body: &[u8]) -> Vec<u8> {
        let literal = |(name, value): &Field<'_>| {
            [&[0x10], &length(name)[..], name, &length(value), value].concat()
        };
        let block: Vec<u8> = fields.iter().flat_map(literal).collect();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        [preface, frame(4, 0, 0, &[]), frame(1, 4, 1, &block), frame(0, 1, 1, body)].concat()
    }

    /// Everything that comes back, until the connection or its first stream ends.
    async fn heard(waterwall: &Waterwall, bytes: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
        let target = format!("{HOST}:443");
        let mut tls = Raw::new(waterwall).tls(&target, HOST, &[b"h2"]).await.expect("TLS");
        let _ = tls.write_all(bytes).await;
        let mut frames = Vec::new();
        loop {
            let mut head = [0; 9];
            if tls.read_exact(&mut head).await.is_err() {
                return frames;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length.try_into().expect("small")];
            if tls.read_exact(&mut payload).await.is_err() {
                return frames;
            }
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            frames.push((head[3], stream, payload));
            let is_last = stream == 1 && (head[3] == 3 || head[3] < 2 && head[4] & 1 == 1);
            if is_last || head[3] == 7 {
                return frames;
            }
        }
    }

    const FINE: [Field<'static>; 5] = [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", HOST.as_bytes()),
        (b":path", PATH.as_bytes()),
        (b"content-type", b"application/json"),
    ];

    fn instead(number: usize, field: Field<'static>) -> Vec<Field<'static>> {
        let mut fields = FINE.to_vec();
        fields[number] = field;
        fields
    }

    fn besides(field: Field<'static>) -> Vec<Field<'static>> {
        [&FINE[..], &[field]].concat()
    }

    fn contradictions() -> Vec<Vec<Field<'static>>> {
        vec![
            instead(2, (b":authority", b"api.openai.com")),
            instead(2, (b":authority", b"api.anthropic.com:8443")),
            instead(2, (b":authority", b"user@api.anthropic.com")),
            instead(2, (b":authority", b"")),
            instead(1, (b":scheme", b"http")),
            instead(0, (b":method", b"CONNECT")),
            instead(3, (b":path", b"")),
            instead(3, (b":path", b"/a b")),
            instead(3, (b":path", b"/a\r\nx-b: c")),
            instead(3, (b":path", b"https://api.openai.com/")),
            instead(0, (b":method", b"GET / HTTP/1.1\r\nx-a: b")),
            besides((b"host", b"api.openai.com")),
            besides((b"host", b"")),
            besides((b":path", b"/other")),
            besides((b":authority", b"api.openai.com")),
            besides((b":novel", b"x")),
            besides((b"transfer-encoding", b"chunked")),
            besides((b"connection", b"x-a")),
            besides((b"x-a", b"b\r\nhost: api.openai.com")),
            besides((b"x-a", b"b\nhost: api.openai.com")),
            besides((b"x-a", b"b\0c")),
            besides((b"x-a\r\nx-b", b"c")),
            besides((b"x-a: b\r\nx-c", b"d")),
            besides((b"X-Upper", b"b")),
            besides((b"x a", b"b")),
            besides((b"x-a ", b"b")),
            besides((b"", b"b")),
            besides((b"content-length", b"1")),
            besides((b"content-length", b"3")),
            besides((b"content-length", b"+2")),
        ]
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn heads_that_contradict_the_tunnel_or_themselves_are_refused() {
        let provider = Provider::echo().await;
        let waterwall = Waterwall::start(&provider);
        for fields in contradictions() {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let said: Vec<String> =
                fields.iter().map(|(name, value)| text(name) + "=" + &text(value)).collect();
            let frames = heard(&waterwall, &request(&fields, b"{}")).await;
            // Refused by us, whose body says so, or by the library, by a reset.
            let is_ours = frames.iter().any(|(kind, _, payload)| {
                *kind == 0 && String::from_utf8_lossy(payload).contains("waterwall-protocol-error")
            });
            let is_reset = frames.iter().any(|(kind, _, _)| matches!(kind, 3 | 7));
            let is_bare = frames.iter().any(|(kind, stream, _)| (*kind, *stream) == (1, 1));
            assert!(is_ours || is_reset || is_bare || frames.is_empty(), "{said:?}: {frames:?}");
            assert!(provider.seen().is_empty(), "{said:?}: {:?}", provider.seen());
        }
        // And the frames themselves are well made.
        let body = SHAPES[0].request(secrets::AWS).to_string();
        let frames = heard(&waterwall, &request(&FINE, body.as_bytes())).await;
        let text: Vec<u8> =
            frames.iter().filter(|(kind, ..)| *kind == 0).flat_map(|(.., it)| it.clone()).collect();
        assert!(String::from_utf8_lossy(&text).contains(secrets::AWS), "{frames:?}");
        assert_eq!(provider.seen().len(), 1);
        assert!(!provider.saw(secrets::AWS));
    }
}
