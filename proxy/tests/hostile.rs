//! What a hostile agent, provider or neighbour tries on the built proxy.

#![allow(clippy::unwrap_used, reason = "a test, though without the harness that would say so")]

#[allow(dead_code, reason = "other tests stand here too")]
mod stand;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use protocol::append::{Event, Sent};
use stand::agent::{change, post};
use stand::provider::Raw;
use stand::{HOST, Stand, host_table};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SECRET: &str = "AKIAIOSFODNN7EXAMPLQ";

/// What would never come fails a test after this long.
const NEVER: Duration = Duration::from_secs(30);

/// Everything that is answered to `bytes` inside a tunnel, and to the request that follows them.
async fn said_to(stand: &Stand, bytes: &[u8]) -> String {
    let last = format!("\r\n\r\nGET /last HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let mut tls = stand.agent().tls(HOST, &[]).await.unwrap();
    // Refused and closed before all of it was written: what was answered until then counts.
    let _ = tls.write_all(&[bytes, last.as_bytes()].concat()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(NEVER, tls.read_to_end(&mut answer)).await.expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request with these lines in its head, and `body` after it.
fn request(first: &str, lines: &[&str], body: &str) -> Vec<u8> {
    let lines = lines.concat();
    format!("{first} HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n{body}").into_bytes()
}

const JSON: &str = "Content-Type: application/json\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// Shapes that a proxy and a server behind it may read differently.
fn smuggled() -> Vec<(&'static str, Vec<u8>)> {
    let post = "POST /v1/messages";
    let hidden = format!("POST /x HTTP/1.1\r\nHost: {HOST}\r\nX-A: {SECRET}\r\n\r\n");
    let long = format!("Content-Length: {}\r\n", hidden.len() + 5);
    let after = format!("0\r\n\r\n{hidden}");
    let two = [JSON, "Content-Length: 2\r\n", long.as_str()];
    vec![
        ("a length beside chunks", request(post, &[JSON, &long, CHUNKED], &after)),
        (
            "chunks before a length",
            request(post, &[JSON, CHUNKED, "Content-Length: 5\r\n"], &after),
        ),
        ("two lengths", request(post, &two, &format!("{{}}{hidden}"))),
        ("chunks that are not", request(post, &[JSON, "Transfer-Encoding: xchunked\r\n"], &after)),
        ("chunks not last", request(post, &[JSON, "Transfer-Encoding: chunked, x\r\n"], &after)),
        ("a blank in a name", request(post, &[JSON, "Transfer-Encoding : chunked\r\n"], &after)),
        ("a folded line", request(post, &[&format!("X-A: b\r\n {SECRET}\r\n")], "")),
        ("a length of plus two", request(post, &[JSON, "Content-Length: +2\r\n"], "{}")),
    ]
}

/// Places outside a body that could carry a secret.
fn places() -> Vec<(&'static str, Vec<u8>)> {
    let post = "POST /v1/messages";
    let [high, rest] = ["%41", &SECRET[1..]];
    let mut binary = request(post, &["X-A: @ ", SECRET, "\r\n"], "");
    let at = binary.iter().position(|byte| *byte == b'@').unwrap();
    binary[at] = 0xff;
    vec![
        ("a header that is not UTF-8", binary),
        ("the method", request(&format!("{SECRET} /"), &[], "")),
        ("the path, percent-encoded", request(&format!("GET /{high}{rest}"), &[], "")),
        ("the query", request(&format!("GET /?{SECRET}"), &[], "")),
        ("the authority", request(&format!("GET https://{SECRET}@{HOST}/"), &[], "")),
        ("another Host", request(post, &["Host: ", SECRET, "\r\n"], "")),
        ("an offer to upgrade", request("GET /", &["Upgrade: h2c\r\nX-A: ", SECRET, "\r\n"], "")),
        ("a nested CONNECT", request(&format!("CONNECT {SECRET}:443"), &[], "")),
        ("an untyped body", request(post, &["Content-Length: 20\r\n"], SECRET)),
    ]
}

#[tokio::test]
async fn nothing_that_is_read_in_two_ways_carries_a_secret_out() {
    let stand = Stand::start("refusal_status: 400\n").await;
    for (what, bytes) in smuggled().into_iter().chain(places()) {
        let answer = said_to(&stand, &bytes).await;
        let first = answer.split("\r\n").next().unwrap_or_default();
        assert!(!answer.contains(SECRET), "{what}: {answer}");
        assert!(first.is_empty() || !first.starts_with("HTTP/1.1 5"), "{what}: {answer}");
        for seen in stand.provider.seen() {
            assert!(!format!("{seen:?}").contains(SECRET), "{what}: {seen:?}");
        }
    }
    for (what, bytes) in places() {
        let answer = said_to(&stand, &bytes).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
    }
    assert_eq!(stand.agent().post("/v1/messages", "{}").await.status, 200);
}

#[tokio::test]
async fn http_2_names_and_methods_that_contradict_the_tunnel_are_refused() {
    let stand = Stand::start("{}").await;
    let with = |method: &str, uri: &str, host: Option<&str>| {
        let request = Request::builder().method(method).uri(uri);
        let request = host.into_iter().fold(request, |request, host| request.header("host", host));
        request.body(Full::<Bytes>::default()).unwrap()
    };
    let ours = format!("https://{HOST}/");
    for request in [
        with("GET", "https://api.openai.com/", None),
        with("GET", "https://api.openai.com/", Some(HOST)),
        with("GET", &ours, Some("api.openai.com")),
        with("GET", &format!("http://{HOST}/"), None),
        with("GET", &format!("https://{HOST}:8443/"), None),
        with("CONNECT", &format!("{HOST}:443"), None),
    ] {
        let what = format!("{request:?}");
        let got = stand.agent().send_h2(request).await;
        assert_eq!(got.code.as_deref(), Some("waterwall-protocol-error"), "{what}");
    }
    assert!(stand.provider.seen().is_empty());
    assert_eq!(stand.agent().send_h2(with("GET", &ours, Some(HOST))).await.status, 200);
}

#[tokio::test]
async fn chunk_extensions_and_trailers_stay_here() {
    let stand = Stand::start("{}").await;
    let body = format!("2;x={SECRET}\r\n{{}}\r\n0\r\nX-Trailer: {SECRET}\r\n\r\n");
    let sent = request("POST /v1/messages", &[JSON, CHUNKED, "Trailer: x-trailer\r\n"], &body);
    let answer = said_to(&stand, &sent).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = &stand.provider.seen()[0];
    assert_eq!(seen.body, "{}");
    assert!(!format!("{seen:?}").contains(SECRET) && !seen.headers.contains_key("trailer"));
}

#[tokio::test]
async fn bodies_are_scanned_whatever_the_method_or_the_shape() {
    let stand = Stand::start("{}").await;
    let body = format!("{{\"a\":\"{SECRET}\"}}\n{{\"b\":[\"{SECRET}\"]}}\n");
    let length = format!("Content-Length: {}\r\n", body.len());
    let kind = "Content-Type: application/x-ndjson\r\n";
    for method in ["GET", "DELETE", "POST", "X-OWN"] {
        let sent = request(&format!("{method} /text"), &[kind, &length], &body);
        let answer = said_to(&stand, &sent).await;
        assert!(answer.contains(SECRET) && !answer.contains("<pl:"), "{method}: {answer}");
    }
    let seen = stand.provider.seen();
    let bodies: Vec<&str> =
        seen.iter().filter(|seen| seen.target == "/text").map(|seen| seen.body.as_str()).collect();
    assert!(bodies.len() == 4 && bodies.iter().all(|body| body.matches("<pl:").count() == 2));
    assert!(!bodies.concat().contains(SECRET));
}

#[tokio::test]
async fn http_1_0_is_refused_because_a_cut_answer_would_look_complete() {
    let stand = Stand::start("{}").await;
    let answer =
        said_to(&stand, format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n").as_bytes()).await;
    assert!(answer.contains(" 400 ") && answer.contains("waterwall-protocol-error"), "{answer}");
    assert!(stand.provider.seen().is_empty());
}

#[tokio::test]
async fn a_connection_that_ends_without_a_tunnel_gives_its_place_back() {
    let stand = Stand::start("limits: {connections: 2}\n").await;
    let after_many = async {
        for _ in 0..3 {
            drop(TcpStream::connect(("127.0.0.1", stand.agents)).await.unwrap());
            assert_eq!(stand.agent().connect("example.com:443").await.0, 403);
        }
        stand.agent().post("/v1/messages", "{}").await.status
    };
    assert_eq!(tokio::time::timeout(NEVER, after_many).await.expect("places are free"), 200);
}

#[tokio::test]
async fn what_has_not_left_when_the_kill_switch_is_armed_never_leaves() {
    // It takes the connection and never answers the handshake.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hosts = host_table(silent.local_addr().unwrap().port());
    let stand = Stand::launch("timeouts: {connect: 600}\n", Some(&hosts)).await;
    stand.until_healthy().await;
    let agent = stand.agent();
    let body = format!("{{\"a\":\"{SECRET}\"}}");
    let asking = tokio::spawn(async move { agent.post("/v1/messages", &body).await });
    let (mut dialled, _) = silent.accept().await.unwrap();
    assert_eq!(change(stand.admin, "/admin/killswitch", r#"{"action":"arm"}"#).await.0, 200);
    let got = tokio::time::timeout(NEVER, asking).await.expect("refused at once").unwrap();
    assert_eq!(got.code.as_deref(), Some("waterwall-killswitch-engaged"));
    let outcome = stand.auditd.event(|e| matches!(e, Event::Outcome { .. })).await;
    assert!(matches!(outcome, Event::Outcome { sent: Sent::None, status: None, .. }));
    drop(stand);
    let mut hello = Vec::new();
    let _ = dialled.read_to_end(&mut hello).await;
    assert!(!String::from_utf8_lossy(&hello).contains(SECRET));
}

#[tokio::test]
async fn an_answer_that_ends_otherwise_than_announced_never_looks_complete() {
    let events = "data: {\"a\":1}\n\ndata: {\"b\":2}\n\n";
    for (what, head, body, says_bye) in [
        ("no end, no goodbye", "Content-Type: text/event-stream\r\n", events, false),
        ("too short", "Content-Type: text/event-stream\r\nContent-Length: 99\r\n", events, true),
        (
            "chunk cut",
            "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n",
            "5\r\nab",
            true,
        ),
        (
            "no last chunk",
            "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n",
            "2\r\nab\r\n",
            true,
        ),
        ("picture cut", "Content-Type: image/png\r\nContent-Length: 99\r\n", "PNG", true),
        ("json cut", "Content-Type: application/json\r\nContent-Length: 99\r\n", "{}", true),
        ("blank json cut", "Content-Type: application/json\r\nContent-Length: 99\r\n", "\n", true),
        ("json, no goodbye", "Content-Type: application/json\r\n", "{}", false),
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}").leak();
        let stand = Stand::start("{}").await;
        stand.provider.answer_raw(Raw { bytes, says_bye });
        let old = stand.agent().try_send(post("/v1/messages", "{}")).await;
        let new = post(&format!("https://{HOST}/v1/messages"), "{}");
        for got in [old, stand.agent().try_send_h2(new).await].into_iter().flatten() {
            assert!(!got.complete || got.status == 502, "{what}: {got:?}");
        }
    }
}

#[tokio::test]
async fn a_provider_that_leaves_http_is_left() {
    let stand = Stand::start("{}").await;
    for bytes in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 103 Early\r\n\r\n",
        "",
    ] {
        stand.provider.answer_raw(Raw { bytes, says_bye: true });
        let got = stand.agent().post("/v1/messages", "{}").await;
        assert!(got.status == 502 && got.code.is_some(), "{bytes}: {got:?}");
    }
}

#[tokio::test]
async fn an_agent_that_goes_away_at_any_stage_leaves_nothing_behind() {
    let stand = Stand::start("limits: {connections: 2}\n").await;
    let agent = stand.agent();
    let go_away = async {
        for _ in 0..2 {
            drop(agent.connect(&format!("{HOST}:443")).await);
            let (_, _, mut stream) = agent.connect(&format!("{HOST}:443")).await;
            stream.write_all(b"\x16\x03\x01\x02").await.unwrap();
            drop(stream);
            drop(agent.tls(HOST, &[b"h2"]).await);
            let mut h2 = agent.tls(HOST, &[b"h2"]).await.unwrap();
            h2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM").await.unwrap();
            drop(h2);
            let mut h1 = agent.tls(HOST, &[]).await.unwrap();
            h1.write_all(&request("POST /", &[JSON, "Content-Length: 9\r\n"], "{")).await.unwrap();
            drop(h1);
            let mut bodied = TcpStream::connect(("127.0.0.1", stand.agents)).await.unwrap();
            let connect =
                format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\n");
            bodied.write_all(connect.as_bytes()).await.unwrap();
            let _ = bodied.read(&mut [0; 64]).await;
        }
        agent.post("/v1/messages", "{}").await.status
    };
    assert_eq!(tokio::time::timeout(NEVER, go_away).await.expect("places are free"), 200);
}

#[tokio::test]
async fn a_body_that_was_long_in_coming_is_scanned_by_the_policy_in_force_by_then() {
    let stand = Stand::start("{}").await;
    let body = r#"{"a":"own_01234567"}"#;
    let length = format!("Content-Length: {}\r\n", body.len());
    let mut tls = stand.agent().tls(HOST, &[]).await.unwrap();
    let lines = [JSON, &length, "Expect: 100-continue\r\nConnection: close\r\n"];
    tls.write_all(&request("POST /v1/messages", &lines, "")).await.unwrap();
    // Admitted: it is asked for its body.
    let mut first = [0; 12];
    tls.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 100");
    let pattern = "patterns:\n- type: OWN_TOKEN\n  forms: [{literals: [own_], regex: 'own_[0-9]{8}'}]\n  \
                   examples: [own_01234567]\n";
    std::fs::write(stand.path("etc/patterns.yaml"), pattern).unwrap();
    let (status, text) = change(stand.admin, "/admin/reload", "").await;
    assert_eq!(status, 200, "{text}");
    tls.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = tls.read_to_string(&mut answer).await;
    assert!(answer.contains(" 200 ") && answer.contains("own_01234567"), "{answer}");
    assert!(stand.provider.seen()[0].body.contains("<pl:OWN_TOKEN:"));
}
