//! Agents that speak HTTP/1.1 as RFC 9112 forbids it.

use harness::secrets;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{HOST, PATIENCE, Siege, body};

/// A head with these lines behind what every request has.
fn head(lines: &str) -> Vec<u8> {
    format!(
        "POST /v1/messages HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n{lines}\r\n"
    )
    .into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    [head("transfer-encoding: chunked\r\n"), body.as_bytes().to_vec()].concat()
}

/// The chunk of the body, whole.
fn chunk() -> String {
    format!("{:x}\r\n{}\r\n", body().len(), body())
}

/// Speaks `bytes` on a connection of its own; what comes back until it ends, or until it says no
/// more for now.
async fn speak(siege: &Siege, bytes: &[u8], then_close: bool) -> String {
    let mut connection = siege.open(b"http/1.1").await;
    // It may be closed before all of it is written.
    let _ = connection.write_all(bytes).await;
    let _ = connection.flush().await;
    if then_close {
        let _ = connection.shutdown().await;
    }
    let mut answer = Vec::new();
    let read = async {
        while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
            if !matches!(connection.read_buf(&mut answer).await, Ok(length) if length > 0) {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("it answers or hangs up");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_none_are_answered_or_cut_and_never_forwarded() {
    let siege = Siege::of_agents().await;
    let length = body().len();
    let whole = |lines: &str| [head(lines), body().into_bytes()].concat();
    let line = |line: &str| {
        let lines = format!("{line}\r\ncontent-length: {length}\r\n");
        whole(&lines)
    };
    let first = |first: &str| {
        let text = String::from_utf8(line("x: y")).expect("ASCII");
        text.replacen("POST /v1/messages HTTP/1.1", first, 1).into_bytes()
    };
    let stories: Vec<(&str, Vec<u8>)> = vec![
        ("no words", b"\r\n\r\n\r\n\r\n".to_vec()),
        ("garbage", vec![0xff; 3000]),
        ("TLS inside TLS", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
        ("HTTP/2 that was not agreed on", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("a version nobody knows", first("POST /v1/messages HTTP/9.9")),
        ("no version", first("POST /v1/messages")),
        ("no method", first(" /v1/messages HTTP/1.1")),
        ("a method of other signs", first("P(ST /v1/messages HTTP/1.1")),
        ("a NUL in the target", first("POST /v1/\0messages HTTP/1.1")),
        ("a blank in the target", first("POST /v1/messages x HTTP/1.1")),
        ("a target without end", first(&format!("POST /{} HTTP/1.1", "a".repeat(200_000)))),
        ("a secret for a method", first(&format!("{} / HTTP/1.1", secrets::AWS))),
        ("a line without a colon", line("nonsense")),
        ("a blank in front of the colon", line("x : y")),
        ("a blank in a name", line("x y: z")),
        ("a name of other signs", line("x(y): z")),
        ("a name that is not ASCII", line("x\u{e9}: z")),
        ("no name", line(": z")),
        ("a NUL in a value", line("x: \0")),
        ("a lone carriage return", line("x: a\rb: c")),
        ("a header without end", line(&format!("x: {}", "a".repeat(1_000_000)))),
        ("thousands of headers", line(&"x: y\r\n".repeat(20_000))),
        ("a length with a sign", whole(&format!("content-length: +{length}\r\n"))),
        ("a negative length", whole("content-length: -1\r\n")),
        ("a length in hex", whole("content-length: 0x40\r\n")),
        ("a length over all numbers", whole("content-length: 99999999999999999999999\r\n")),
        ("an empty length", whole("content-length: \r\n")),
        ("two lengths in one", whole(&format!("content-length: {length}, 1\r\n"))),
        ("a coding nobody knows", whole("transfer-encoding: cow\r\n")),
        ("chunks that are not last", whole("transfer-encoding: chunked, identity\r\n")),
        ("chunks twice", whole("transfer-encoding: chunked, chunked\r\n")),
    ];
    for (story, bytes) in stories {
        let before = siege.provider.seen().len();
        let answer = speak(&siege, &bytes, true).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{story}: {answer}");
        assert_eq!(siege.provider.seen().len(), before, "{story}: {:?}", siege.provider.last());
    }
    siege.serves().await;
    siege.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_are_none_are_never_forwarded() {
    let siege = Siege::of_agents().await;
    let (body, whole) = (body(), chunk());
    let size = body.len();
    let stories: Vec<(&str, String)> = vec![
        ("a size that is none", format!("{size:x}g\r\n{body}\r\n0\r\n\r\n")),
        ("a size with a prefix", format!("0x{size:x}\r\n{body}\r\n0\r\n\r\n")),
        ("a size with a sign", format!("+{size:x}\r\n{body}\r\n0\r\n\r\n")),
        ("a negative size", format!("-{size:x}\r\n{body}\r\n0\r\n\r\n")),
        ("no size", format!("\r\n{body}\r\n0\r\n\r\n")),
        ("a size over all numbers", format!("{:0>60}\r\n{body}\r\n0\r\n\r\n", "f".repeat(40))),
        ("a size that wraps around", format!("1{:0>16x}\r\n{body}\r\n0\r\n\r\n", size)),
        ("a chunk that is longer than it says", format!("5\r\n{body}\r\n0\r\n\r\n")),
        ("a chunk that ends without a line", format!("{size:x}\r\n{body}0\r\n\r\n")),
        ("a last chunk that is missing", whole.clone()),
        ("a chunk cut short", whole[..whole.len() / 2].to_owned()),
        ("an extension without end", format!("{size:x};{}", "a".repeat(1_000_000))),
        ("a trailer without end", format!("{whole}0\r\nx: {}", "a".repeat(1_000_000))),
        ("trailers without end", format!("{whole}0\r\n{}", "x: y\r\n".repeat(100_000))),
        ("a trailer that is none", format!("{whole}0\r\nnon sense\r\n\r\n")),
    ];
    for (story, chunks) in stories {
        let before = siege.provider.seen().len();
        let answer = speak(&siege, &chunked(&chunks), true).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{story}: {answer}");
        assert_eq!(siege.provider.seen().len(), before, "{story}: {:?}", siege.provider.last());
    }
    siege.serves().await;
    siege.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_chunks_carry_beside_the_body_stays_here() {
    let siege = Siege::of_agents().await;
    let (body, secret) = (body(), secrets::AWS);
    let pieces: String = body.chars().map(|piece| format!("1\r\n{piece}\r\n")).collect();
    let stories = [
        ("chunks of one byte", format!("{pieces}0\r\n\r\n")),
        (
            "an extension",
            format!("{:x};k=\"{secret}\"\r\n{body}\r\n0;{secret}\r\n\r\n", body.len()),
        ),
        ("trailers", format!("{}0\r\nx-sum: {secret}\r\n\r\n", chunk())),
        ("a size with zeros in front", format!("00000{}0\r\n\r\n", chunk())),
    ];
    for (story, chunks) in stories {
        let before = siege.provider.seen().len();
        let answer = speak(&siege, &chunked(&chunks), false).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{story}: {answer}");
        assert_eq!(siege.provider.seen().len(), before + 1, "{story}");
        assert!(!siege.provider.saw(secret), "{story}: {:?}", siege.provider.last());
        assert!(!siege.provider.last().headers.contains_key("x-sum"), "{story}");
    }
    siege.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_requests_in_one_packet_is_scanned() {
    let siege = Siege::of_agents().await;
    let before = siege.provider.seen().len();
    let one =
        [head(&format!("content-length: {}\r\n", body().len())), body().into_bytes()].concat();
    let last = [
        head(&format!("connection: close\r\ncontent-length: {}\r\n", body().len())),
        body().into_bytes(),
    ]
    .concat();
    let mut connection = siege.open(b"http/1.1").await;
    let all = [one.repeat(9), last].concat();
    connection.write_all(&all).await.expect("it reads");
    let mut answers = Vec::new();
    let read = connection.read_to_end(&mut answers);
    // How the connection ends is not what this is about.
    let _ = tokio::time::timeout(PATIENCE, read).await.expect("it ends");
    let answers = String::from_utf8_lossy(&answers);
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 10, "{answers}");
    assert_eq!(answers.matches(secrets::AWS).count(), 10, "{answers}");
    assert_eq!(siege.provider.seen().len(), before + 10);
    siege.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stops_in_the_middle_is_never_taken_for_whole() {
    let siege = Siege::of_agents().await;
    let whole =
        [head(&format!("content-length: {}\r\n", body().len())), body().into_bytes()].concat();
    let before = siege.provider.seen().len();
    let mut waiting = Vec::new();
    for end in 0..whole.len() {
        let mut connection = siege.open(b"http/1.1").await;
        connection.write_all(&whole[..end]).await.expect("it reads");
        connection.flush().await.expect("it reads");
        match end % 3 {
            0 => connection.shutdown().await.expect("it reads"),
            1 => drop(connection),
            // Slower than anything that was meant.
            _ => waiting.push(connection),
        }
    }
    siege.serves().await;
    assert_eq!(siege.provider.seen().len(), before + 2, "{:?}", siege.provider.last());
    drop(waiting);
    siege.end();
}
