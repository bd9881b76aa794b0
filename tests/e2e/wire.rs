//! What HTTP allows besides a request and its answer, through the real executables.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use harness::agent::Agent;
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::{Waterwall, eventually};
use harness::wire::{self, RawProvider, Wire};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use hyper::body::Frame;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Mutex, Notify, mpsc};

const HOST: &str = "api.anthropic.com";
const URL: &str = "https://api.anthropic.com/v1/messages";

/// A Waterwall in front of a provider in a story's own words.
fn start(provider: &RawProvider, config: &str) -> Waterwall {
    let mut waterwall = Waterwall::lay_out_at(provider.address(), provider.ca_pem(), config);
    waterwall.up();
    waterwall
}

/// A provider that says `answer` to every request, and what it was asked.
async fn says(answer: &'static str) -> (RawProvider, mpsc::UnboundedReceiver<(String, String)>) {
    let (tell, told) = mpsc::unbounded_channel();
    let provider = RawProvider::start(move |mut talk| {
        let tell = tell.clone();
        async move {
            loop {
                let (head, body) = talk.request().await;
                if head.is_empty() {
                    return;
                }
                let body = String::from_utf8(body).expect("bodies of these stories are text");
                let _ = tell.send((head, body));
                talk.say(answer).await;
            }
        }
    })
    .await;
    (provider, told)
}

const EMPTY: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

fn post(lines: &str) -> String {
    format!(
        "POST /v1/messages HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n{lines}\r\n"
    )
}

async fn agent(waterwall: &Waterwall) -> Wire {
    wire::connect(waterwall, HOST, &[]).await
}

/// A secret that no chunk holds as a whole, with a trailer that holds one.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_is_scanned_as_a_whole_and_its_trailers_stay_here() {
    let (provider, mut told) = says(EMPTY).await;
    let waterwall = start(&provider, "");
    let body = SHAPES[0].request(secrets::AWS).to_string();
    let mut wire = agent(&waterwall).await;
    wire.say(post("Transfer-Encoding: chunked\r\nTrailer: X-Late\r\n")).await;
    for piece in body.as_bytes().chunks(7) {
        let piece = std::str::from_utf8(piece).expect("ASCII");
        wire.say(format!("{:x};note={}\r\n{piece}\r\n", piece.len(), secrets::AWS)).await;
    }
    wire.say(format!("0\r\nX-Late: {}\r\n\r\n", secrets::AWS)).await;
    assert!(wire.hear("{}").await.starts_with("HTTP/1.1 200"));
    let (head, body) = told.recv().await.expect("it was asked");
    assert!(body.contains("<pl:AWS"), "{body}");
    let head = head.to_ascii_lowercase();
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    assert!(!head.contains("transfer-encoding") && !head.contains("trailer"), "{head}");
    assert!(!(head + &body).contains(&secrets::AWS.to_ascii_lowercase()));
}

/// HTTP/2 on both sides, with trailers on both: neither way are they passed on.
#[tokio::test(flavor = "multi_thread")]
async fn over_http_2_bodies_are_whole_and_trailers_of_either_side_stay_behind() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let tell = Arc::new(Mutex::new(tell));
    let provider = RawProvider::start_h2(move |request: Request<hyper::body::Incoming>| {
        let tell = Arc::clone(&tell);
        async move {
            let version = request.version();
            let collected = request.into_body().collect().await.expect("it comes whole");
            let trailers = collected.trailers().cloned();
            let body = collected.to_bytes();
            let _ = tell.lock().await.send((version, body.clone(), trailers));
            let (mut sender, answer) = Channel::<Bytes, Infallible>::new(4);
            let _ = sender.send_data(body).await;
            let mut late = HeaderMap::new();
            late.insert("x-late", "<pl:X:0000000000000000>".parse().expect("a value"));
            let _ = sender.send(Frame::trailers(late)).await;
            Ok::<_, Infallible>(
                Response::builder()
                    .header("content-type", "application/json")
                    .header("trailer", "x-late")
                    .body(answer)
                    .expect("a response"),
            )
        }
    })
    .await;
    let waterwall = start(&provider, "");
    let wire = wire::connect(&waterwall, HOST, &[b"h2"]).await;
    let io = TokioIo::new(wire.0);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("h2");
    tokio::spawn(connection);
    let (mut tell_body, body) = Channel::<Bytes, Infallible>::new(4);
    let request = Request::post(URL)
        .header("content-type", "application/json")
        .header("x-api-key", "made-up")
        .body(body)
        .expect("a request");
    let answered = tokio::spawn(async move {
        let response = sender.send_request(request).await.expect("an answer");
        let (head, body) = response.into_parts();
        (head, body.collect().await.expect("it comes whole"))
    });
    let text = SHAPES[0].request(secrets::AWS).to_string();
    for piece in text.as_bytes().chunks(5) {
        tell_body.send_data(Bytes::copy_from_slice(piece)).await.expect("it is read");
    }
    let mut late = HeaderMap::new();
    late.insert("x-late", secrets::AWS.parse().expect("a value"));
    tell_body.send(Frame::trailers(late)).await.expect("it is read");
    drop(tell_body);
    let (head, collected) = answered.await.expect("it answers");
    assert_eq!((head.version, head.status), (hyper::Version::HTTP_2, hyper::StatusCode::OK));
    assert!(!head.headers.contains_key("trailer"));
    assert!(collected.trailers().is_none());
    assert_eq!(collected.to_bytes(), text.as_bytes());
    let (version, seen, trailers) = told.recv().await.expect("it was asked");
    assert_eq!(version, hyper::Version::HTTP_2);
    assert_eq!(trailers, None);
    assert!(std::str::from_utf8(&seen).expect("text").contains("<pl:AWS"));
}

/// The same of an answer in chunks.
#[tokio::test(flavor = "multi_thread")]
async fn an_answers_trailers_are_dropped_and_its_end_is_an_end() {
    let (provider, _) = says(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\
         Trailer: X-Late\r\n\r\n2;x=y\r\n{}\r\n0\r\nX-Late: 1\r\n\r\n",
    )
    .await;
    let waterwall = start(&provider, "");
    let mut wire = agent(&waterwall).await;
    for _ in 0..2 {
        wire.say(post("Content-Length: 2\r\n") + "{}").await;
        let heard = wire.hear("{}").await;
        assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
        assert!(!heard.to_ascii_lowercase().contains("late"), "{heard}");
    }
}

/// Nothing is uploaded that would be refused by its head.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_asked_for_only_once_its_head_has_passed() {
    let (provider, mut told) = says(EMPTY).await;
    let waterwall = start(&provider, "limits: {body_mib: 1}\n");
    let expect =
        |length: usize| post(&format!("Expect: 100-continue\r\nContent-Length: {length}\r\n"));
    let mut wire = agent(&waterwall).await;
    wire.say(expect(1024 * 1024 + 1)).await;
    let refused = wire.hear("\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 413 Waterwall body too large\r\n"), "{refused}");
    let mut wire = agent(&waterwall).await;
    let body = SHAPES[0].request(secrets::AWS).to_string();
    wire.say(expect(body.len())).await;
    assert_eq!(wire.hear("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    wire.say(&body).await;
    assert!(wire.hear("{}").await.starts_with("HTTP/1.1 200"));
    let (head, body) = told.recv().await.expect("it was asked");
    assert!(!head.to_ascii_lowercase().contains("expect"), "{head}");
    assert!(body.contains("<pl:AWS"));
}

/// Answers without a body, whatever their heads announce; the connection stays in step.
#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_pass_with_their_heads() {
    for (method, answer, status) in [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4711\r\n\r\n",
            "200",
        ),
        ("GET", "HTTP/1.1 204 No Content\r\nX-Mark: 1\r\n\r\n", "204"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 4711\r\n\r\n", "304"),
    ] {
        let (provider, mut told) = says(answer).await;
        let waterwall = start(&provider, "");
        let mut wire = agent(&waterwall).await;
        for _ in 0..2 {
            wire.say(format!("{method} /v1/models HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
            let heard = wire.hear("\r\n\r\n").await;
            assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{heard}");
            let (head, _) = told.recv().await.expect("it was asked");
            assert!(head.starts_with(&format!("{method} /v1/models ")), "{head}");
            let heard = heard.to_ascii_lowercase();
            // What a body would have, had there been one: to be said of HEAD, and not needed of 304.
            assert_eq!(heard.contains("content-length: 4711"), method == "HEAD", "{heard}");
            assert_eq!(heard.contains("etag: \"x\""), status == "304", "{heard}");
        }
    }
}

/// Hints and other interim answers are no answer: the one after them is.
#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_are_passed_over() {
    let (provider, _) = says(
        "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    )
    .await;
    let waterwall = start(&provider, "");
    let mut wire = agent(&waterwall).await;
    for _ in 0..2 {
        wire.say(post("Content-Length: 2\r\n") + "{}").await;
        let heard = wire.hear("{}").await;
        assert!(heard.starts_with("HTTP/1.1 200 OK\r\n") && !heard.contains("Link"), "{heard}");
    }
}

/// A provider that says for a quarter of an hour that it goes on is heard out; one that does nothing
/// else is work without end.
#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_without_end_are_no_answer() {
    let interim = "HTTP/1.1 102 Processing\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    let flood = Arc::new(AtomicBool::new(false));
    let count = Arc::clone(&flood);
    let provider = RawProvider::start(move |mut talk| {
        let count = if count.load(Ordering::SeqCst) { 1025 } else { 1024 };
        async move {
            talk.request().await;
            talk.say(interim.repeat(count) + answer).await;
            talk.drain().await;
        }
    })
    .await;
    let waterwall = start(&provider, "");
    let ask = async || {
        let mut wire = agent(&waterwall).await;
        wire.say(post("Content-Length: 2\r\n") + "{}").await;
        wire.hear("}").await
    };
    let heard = ask().await;
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
    flood.store(true, Ordering::SeqCst);
    let heard = ask().await;
    assert!(heard.starts_with("HTTP/1.1 502 Waterwall upstream failed\r\n"), "{heard}");
    assert!(heard.contains("interim answers without end"), "{heard}");
}

/// An answer that comes before the provider has read the body is the answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_comes_through_while_the_body_is_still_on_its_way() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let provider = RawProvider::start(move |mut talk| {
        let wait = Arc::clone(&wait);
        async move {
            talk.head().await;
            talk.say(
                "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n\
                 Connection: close\r\nContent-Length: 17\r\n\r\n{\"error\": \"later\"",
            )
            .await;
            // Nothing of the body is read until the agent has its answer.
            wait.notified().await;
            talk.drain().await;
        }
    })
    .await;
    let waterwall = start(&provider, "");
    // More than all buffers on the way hold.
    let text = "x".repeat(24 * 1024 * 1024);
    for agent in [Agent::http1(&waterwall), Agent::new(&waterwall)] {
        let answer = agent.post(URL, &SHAPES[0].request(&text)).await;
        assert_eq!(answer.status(), 429);
        assert_eq!(answer.text().await.expect("a body"), "{\"error\": \"later\"");
        go.notify_one();
    }
    eventually("what had left is on record as a part", || {
        waterwall.lines("outcome").iter().filter(|line| line["sent"] == "partial").count() == 2
    });
}

/// A provider that says it sends no more: at the end of an answer that is its end; before one, or
/// without TLS saying so, it is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_half_closes_ends_an_answer_and_begins_none() {
    let stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n\n";
    for (said, closes) in [(stream, true), (stream, false), ("", true)] {
        let provider = RawProvider::start(move |mut talk| async move {
            talk.request().await;
            talk.say(said).await;
            if closes {
                talk.close().await;
                // The other way is still open.
                talk.drain().await;
            }
        })
        .await;
        let waterwall = start(&provider, "");
        let answer = Agent::http1(&waterwall).post(URL, &SHAPES[0].request("hello")).await;
        match (said.is_empty(), closes) {
            (false, true) => assert_eq!(answer.text().await.expect("whole"), ": hello\n\n"),
            (false, false) => assert!(answer.text().await.is_err(), "a cut never looks complete"),
            (true, _) => {
                assert_eq!(answer.status(), 502);
                let text = answer.text().await.expect("a body");
                assert!(text.contains("it hung up before it answered"), "{text}");
            }
        }
    }
}

/// An agent that closes its side is taken for gone, as one that hung up looks the same: its
/// exchange ends, and so does the provider's work on it.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_half_closes_gives_its_exchange_up() {
    let ended = Arc::new(Notify::new());
    let tell = Arc::clone(&ended);
    let provider = RawProvider::start(move |mut talk| {
        let tell = Arc::clone(&tell);
        async move {
            talk.request().await;
            talk.drain().await;
            tell.notify_one();
        }
    })
    .await;
    let waterwall = start(&provider, "");
    let mut wire = agent(&waterwall).await;
    wire.say(post("Content-Length: 2\r\n") + "{}").await;
    eventually("it is on its way", || waterwall.lines("scan_clean").len() == 1);
    wire.0.shutdown().await.expect("it is still there");
    let patience = std::time::Duration::from_secs(30);
    tokio::time::timeout(patience, ended.notified()).await.expect("the provider is let go");
    assert_eq!(wire.rest().await.0, "");
}

/// I5: the error of a body over the cap has the shape of the provider's own.
#[tokio::test(flavor = "multi_thread")]
async fn i5_a_body_over_the_cap_is_refused_in_the_providers_shape() {
    let (provider, mut told) = says(EMPTY).await;
    let waterwall = start(&provider, "limits: {body_mib: 1}\n");
    let text = "x".repeat(1024 * 1024);
    let answer = Agent::new(&waterwall).post(URL, &SHAPES[0].request(&text)).await;
    assert_eq!(answer.status(), 413);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let text = answer.text().await.expect("a body");
    let body: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&body["type"], &body["error"]["type"]),
        (&"error".into(), &"waterwall-body-too-large".into())
    );
    assert!(
        body["error"]["message"].as_str().expect("a text").contains("larger than 1 MiB"),
        "{body}"
    );
    // A chunked one says it only as it comes.
    let mut wire = agent(&waterwall).await;
    wire.say(post("Transfer-Encoding: chunked\r\n")).await;
    let piece = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..17 {
        wire.say(&piece).await;
    }
    assert!(wire.hear("\r\n\r\n").await.starts_with("HTTP/1.1 413 "));
    assert!(told.try_recv().is_err());
}

/// 10.12: bodies share their room; whoever finds none waits, and is then refused by name, and what
/// is given back goes to those who still wait.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_beyond_the_room_wait_and_are_then_refused() {
    let (provider, mut told) = says(EMPTY).await;
    let limits = "limits: {body_mib: 1, bodies_total_mib: 1}\ntimeouts: {room: 2}\n";
    let waterwall = start(&provider, limits);
    let body = format!("{{\"x\": \"{}\"}}", "y".repeat(1024 * 1024 - 64));
    let mut first = agent(&waterwall).await;
    first.say(post(&format!("Content-Length: {}\r\n", body.len()))).await;
    let (start, end) = body.split_at(100);
    first.say(start).await;
    // The first has all the room there is as soon as its head is read, which another request that
    // takes none tells.
    let all = || Agent::new(&waterwall);
    let refused = loop {
        let answer = all().request(URL, body.clone()).send().await.expect("an answer comes");
        match answer.status().as_u16() {
            200 => drop(told.recv().await),
            _ => break answer,
        }
    };
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["x-waterwall-error"], "waterwall-overload");
    assert!(!refused.headers().contains_key("x-should-retry"), "to be tried again");
    let text = refused.text().await.expect("a body");
    assert!(text.contains("\"error\"") && text.contains("message"), "{text}");
    let waiting = {
        let request = all().request(URL, body.clone());
        tokio::spawn(async move { request.send().await.expect("an answer comes").status() })
    };
    first.say(end).await;
    assert!(first.hear("{}").await.starts_with("HTTP/1.1 200"));
    assert_eq!(waiting.await.expect("it answers"), 200);
}
