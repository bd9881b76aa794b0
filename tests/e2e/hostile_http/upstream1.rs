//! Providers that speak HTTP/1.1 as RFC 9112 forbids it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::agent::Agent;
use harness::provider::{Provider, Tls};
use harness::secrets;
use harness::shape::Shape;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{PATIENCE, Siege};

/// What a provider does once it has a request.
#[derive(Debug, Clone)]
enum Act {
    /// Say this, and hang up.
    Say(Vec<u8>),
    /// Say this, and never anything more.
    Stall(Vec<u8>),
    /// Say the first, and the second again and again for as long as somebody takes it.
    Forever(Vec<u8>, Vec<u8>),
    /// Say this, and reset the connection.
    Reset(Vec<u8>),
}

/// Reads a request of HTTP/1.1.
async fn request(tls: &mut Tls) -> Option<String> {
    let mut come = Vec::new();
    loop {
        if tls.read_buf(&mut come).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&come).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_ascii_lowercase().split_once("content-length: ").map(|(_, rest)| {
            let digits = rest.split("\r\n").next().unwrap_or_default();
            digits.parse::<usize>().expect("lengths are numbers")
        });
        if body.len() >= length.unwrap_or(0) {
            return Some(text);
        }
    }
}

async fn act(mut tls: Tls, act: Act) {
    // Whoever is hung up on takes no more.
    match act {
        Act::Say(bytes) => {
            let _ = tls.write_all(&bytes).await;
            let _ = tls.shutdown().await;
        }
        Act::Stall(bytes) => {
            let _ = tls.write_all(&bytes).await;
            let _ = tls.flush().await;
            let _ = tls.read_to_end(&mut Vec::new()).await;
        }
        Act::Forever(first, again) => {
            let again = again.repeat((64 * 1024 / again.len()).max(1));
            let mut said = tls.write_all(&first).await;
            while said.is_ok() {
                said = tls.write_all(&again).await;
            }
        }
        Act::Reset(bytes) => {
            let _ = tls.write_all(&bytes).await;
            let _ = tls.flush().await;
            let (socket, _) = tls.into_inner();
            let _ = socket.set_zero_linger();
        }
    }
}

/// A provider that does one act after another, as the story tells it.
async fn provider(acts: Vec<Act>, current: Arc<AtomicUsize>) -> Provider {
    Provider::rogue(b"http/1.1", move |mut tls, heard| {
        let (acts, current) = (acts.clone(), Arc::clone(&current));
        async move {
            let Some(text) = request(&mut tls).await else { return };
            heard.lock().expect("no story panics while it holds this").push(text);
            act(tls, acts[current.load(Ordering::SeqCst)].clone()).await;
        }
    })
    .await
}

/// What comes of a request: `Ok` with the answer's body if it came as complete.
async fn ask(agent: &Agent) -> Result<String, String> {
    let request = Shape::Messages.request(secrets::AWS).to_string();
    let whole = async {
        let answer = agent.request(Shape::Messages.url(), request).send().await;
        let answer = answer.map_err(|error| format!("{error:?}"))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| format!("{error:?}"))?;
        if status.is_success() && !text.contains("event: error\n") { Ok(text) } else { Err(text) }
    };
    tokio::time::timeout(PATIENCE, whole).await.expect("nothing hangs")
}

fn json(lines: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{lines}\r\n{body}").into_bytes()
}

fn sse(lines: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{lines}\r\n").into_bytes()
}

/// Goes through the stories, of each of which it demands that the agent sees a failure.
async fn fails(stories: Vec<(&str, Act)>) {
    let current = Arc::new(AtomicUsize::new(0));
    let acts = stories.iter().map(|(_, act)| act.clone()).collect();
    let siege = Siege::begin(provider(acts, Arc::clone(&current)).await, 1);
    for (number, (story, _)) in stories.iter().enumerate() {
        current.store(number, Ordering::SeqCst);
        for agent in [Agent::new(&siege.waterwall), Agent::http1(&siege.waterwall)] {
            let came = ask(&agent).await;
            assert!(came.is_err(), "{story}: {came:?}");
        }
        siege.stands();
    }
    siege.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_fail_visibly() {
    let say = |bytes: &[u8]| Act::Say(bytes.to_vec());
    let status = |line: &str| Act::Say(format!("{line}\r\ncontent-length: 2\r\n\r\n{{}}").into());
    let ok = "content-length: 2\r\n";
    fails(vec![
        ("nothing", say(b"")),
        ("a reset before anything", Act::Reset(Vec::new())),
        ("garbage", say(&[0xff; 2000])),
        ("HTTP/2 that was not agreed on", say(b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\0\0\0\0\0")),
        ("HTTP/0.9", say(b"{\"content\": []}")),
        ("a version nobody knows", status("HTTP/9.9 200 OK")),
        ("a status that is no number", status("HTTP/1.1 two OK")),
        ("a status over all statuses", status("HTTP/1.1 99999 OK")),
        ("a head cut short", say(b"HTTP/1.1 200 OK\r\ncontent-le")),
        ("a line without a colon", Act::Say(json(&format!("nonsense\r\n{ok}"), "{}"))),
        ("a NUL in a value", Act::Say(json(&format!("x: \0\r\n{ok}"), "{}"))),
        ("a blank in a name", Act::Say(json(&format!("x y: z\r\n{ok}"), "{}"))),
        ("headers without end", Act::Forever(json("", "")[..40].to_vec(), b"x: y\r\n".to_vec())),
        ("a header without end", Act::Forever(b"HTTP/1.1 200 OK\r\nx: ".into(), b"y".into())),
        (
            "answers to come, without end",
            Act::Forever(Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        ),
        ("silence", Act::Stall(Vec::new())),
        ("silence inside the head", Act::Stall(b"HTTP/1.1 200 OK\r\n".to_vec())),
        (
            "another protocol that nobody asked for",
            say(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n{}"),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_end_as_they_should_fail_visibly() {
    let say = |lines: &str, body: &str| Act::Say(json(lines, body));
    let chunked = "transfer-encoding: chunked\r\n";
    let forever = |lines: &str, start: &str, again: &str| {
        Act::Forever([json(lines, ""), start.into()].concat(), again.into())
    };
    fails(vec![
        ("less than its length", say("content-length: 100\r\n", "{}")),
        ("less than its length, and a reset", Act::Reset(json("content-length: 100\r\n", "{"))),
        ("less than its length, and silence", Act::Stall(json("content-length: 100\r\n", "{"))),
        ("two lengths", say("content-length: 2\r\ncontent-length: 1\r\n", "{}")),
        ("two lengths in one", say("content-length: 2, 1\r\n", "{}")),
        ("a negative length", say("content-length: -1\r\n", "{}")),
        ("a length over all numbers", say("content-length: 99999999999999999999\r\n", "{}")),
        ("a length over the cap", say("content-length: 99999999999\r\n", "{}")),
        ("chunks after which none is last", say(chunked, "2\r\n{}\r\n")),
        ("a chunk whose size is none", say(chunked, "xyz\r\n{}\r\n0\r\n\r\n")),
        ("a chunk whose size wraps around", say(chunked, "10000000000000002\r\n{}\r\n0\r\n\r\n")),
        ("a chunk that is longer than it says", say(chunked, "1\r\n{}\r\n0\r\n\r\n")),
        ("a chunk of nearly all there is", say(chunked, "fffffffffffffff0\r\n{}\r\n0\r\n\r\n")),
        ("an extension without end", forever(chunked, "2;", "x")),
        ("trailers without end", forever(chunked, "2\r\n{}\r\n0\r\n", "x: y\r\n")),
        ("a body without end", forever(chunked, "", "7\r\n[[[[[[[\r\n")),
        ("a body without end, in one text", forever("", "[\"", "x")),
        ("a coding nobody knows", say("content-encoding: cow\r\ncontent-length: 2\r\n", "{}")),
        ("a coding that it has not", say("content-encoding: gzip\r\ncontent-length: 2\r\n", "{}")),
        ("an event without end", Act::Forever([sse(""), b"data: ".to_vec()].concat(), b"x".into())),
    ])
    .await;
}

/// As an answer whose end nobody can tell from another's beginning, RFC 9112 section 6.3 has it:
/// chunks win, or the whole is refused. The next request's answer is its own.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_never_holds_a_part_of_another() {
    let other =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n\"smuggled";
    let answers = [
        json(
            "content-length: 2\r\ntransfer-encoding: chunked\r\n",
            &format!("2\r\n{{}}\r\n0\r\n\r\n{other}"),
        ),
        json(
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            &format!("2\r\n{{}}\r\n0\r\n\r\n{other}"),
        ),
        json("content-length: 2\r\n", &format!("{{}}{other}")),
        format!("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n{other}").into_bytes(),
        format!("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n{other}").into_bytes(),
    ];
    let current = Arc::new(AtomicUsize::new(0));
    let acts = answers.iter().cloned().map(Act::Stall).collect();
    let siege = Siege::begin(provider(acts, Arc::clone(&current)).await, 5);
    for number in 0..answers.len() {
        current.store(number, Ordering::SeqCst);
        let agent = Agent::http1(&siege.waterwall);
        for _ in 0..3 {
            let (Ok(came) | Err(came)) = ask(&agent).await;
            assert!(!came.contains("smuggled"), "{number}: {came}");
        }
    }
    siege.end();
}

/// A client that leaves ends what it would have been sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_end_passes_for_as_long_as_somebody_listens() {
    let act = Act::Forever(sse(""), b": ping\n\n".to_vec());
    let siege = Siege::begin(provider(vec![act], Arc::default()).await, 60);
    for agent in [Agent::new(&siege.waterwall), Agent::http1(&siege.waterwall)] {
        let request = Shape::Messages.streaming(secrets::AWS).to_string();
        let answer = agent.request(Shape::Messages.url(), request).send().await;
        let mut answer = answer.expect("an answer comes");
        let mut length = 0;
        while length < 8 * 1024 * 1024 {
            length += answer.chunk().await.expect("it goes on").expect("there is more").len();
        }
        siege.stands();
    }
    siege.end();
}
