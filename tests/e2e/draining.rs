//! A Waterwall that is asked to stop lets what runs finish, within a bound, and nothing new in.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use harness::agent::Agent;
use harness::executables::executable;
use harness::provider::{Answer, Provider, Step, last_text};
use harness::secrets;
use harness::shape::{SHAPES, Shape};
use harness::waterwall::{Waterwall, eventually};
use harness::wire;
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;

const HOST: &str = "api.anthropic.com";
const URL: &str = "https://api.anthropic.com/v1/messages";

/// Streams the request's text back: its first half at once, the rest when told to.
async fn provider(go: Arc<Notify>) -> Provider {
    Provider::start(move |seen| {
        let text = last_text(&seen.json());
        let (first, second) = text.split_at(text.len() / 2);
        let mut steps: Vec<Step> =
            Shape::Messages.text_stream(&[first, second]).into_iter().map(Step::send).collect();
        steps.insert(3, Step::Wait(Arc::clone(&go)));
        Answer::stream(steps)
    })
    .await
}

fn proxy_messages(waterwall: &Waterwall) -> String {
    std::fs::read_to_string(waterwall.path("state/up.log")).unwrap_or_default()
}

/// `down` in a thread of its own, which says when it is done.
fn take_down(waterwall: &Waterwall, stopped: &Arc<AtomicBool>) -> JoinHandle<Output> {
    let stopped = Arc::clone(stopped);
    let mut down = Command::new(executable("waterwall-ctl"));
    down.arg("down").env("WATERWALL_HOME", waterwall.path(""));
    std::thread::spawn(move || {
        let output = down.output().expect("it runs");
        stopped.store(true, Ordering::Release);
        output
    })
}

/// S8: an agent in the middle of an answer gets the rest of it, over either version of HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn what_runs_finishes_what_is_new_is_refused_and_the_exit_is_clean() {
    let go = Arc::new(Notify::new());
    let provider = provider(Arc::clone(&go)).await;
    let waterwall = Waterwall::start_with(&provider, "timeouts: {drain: 60}\n");
    // One connection is idle, in the middle of nothing: it is closed at once.
    let mut idle = wire::connect(&waterwall, HOST, &[]).await;
    let text = format!("my key is {} and more", secrets::AWS);
    let mut request = SHAPES[0].request(&text);
    request["stream"] = true.into();
    let running: Vec<_> = [Agent::http1(&waterwall), Agent::new(&waterwall)]
        .into_iter()
        .map(|agent| {
            let request = request.clone();
            tokio::spawn(async move {
                let mut response = agent.post(URL, &request).await;
                let first = response.chunk().await.expect("a chunk").expect("a chunk");
                let mut all = first.to_vec();
                while let Some(chunk) = response.chunk().await.expect("it comes whole") {
                    all.extend_from_slice(&chunk);
                }
                // The same client, on whatever connections it kept.
                let again = agent.request(URL, request.to_string()).send().await;
                (String::from_utf8(all).expect("text"), again.is_err())
            })
        })
        .collect();
    eventually("both are being answered", || waterwall.lines("redaction").len() == 2);
    let stopped = Arc::new(AtomicBool::new(false));
    let down = take_down(&waterwall, &stopped);
    eventually("nobody is let in any more", || {
        std::net::TcpStream::connect(waterwall.listen()).is_err()
    });
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(30), idle.0.read_to_end(&mut rest));
    assert!(closed.await.is_ok(), "an idle connection is closed");
    assert!(!stopped.load(Ordering::Acquire), "it waits for what runs");
    for _ in 0..2 {
        go.notify_one();
    }
    for task in running {
        let (stream, again_refused) = task.await.expect("it answers");
        assert!(stream.contains("message_stop"), "{stream}");
        let text = harness::agent::joined(&stream, "/delta/text");
        assert!(text.contains(secrets::AWS), "{text}");
        assert!(again_refused, "a new request is refused");
    }
    let down = down.join().expect("it ends");
    assert!(down.status.success());
    let said = proxy_messages(&waterwall);
    assert!(!said.contains("proxy exited with") && !said.contains("killing it"), "{said}");
    assert!(said.contains("drained"), "{said}");
    assert!(waterwall.verify_chain().status.success());
}

/// The bound holds: what never ends is cut, and does not look complete.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_finish_in_time_is_cut() {
    let provider = provider(Arc::new(Notify::new())).await;
    let waterwall = Waterwall::start_with(&provider, "timeouts: {drain: 1}\n");
    let mut request = SHAPES[0].request(&format!("my key is {}", secrets::AWS));
    request["stream"] = true.into();
    let mut response = Agent::http1(&waterwall).post(URL, &request).await;
    response.chunk().await.expect("a chunk").expect("a chunk");
    let down = tokio::task::spawn_blocking(move || {
        waterwall.down();
        proxy_messages(&waterwall)
    });
    let cut = loop {
        match response.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(cut, "a cut stream never looks complete");
    let said = down.await.expect("it ends");
    assert!(said.contains("not drained in time") && !said.contains("killing it"), "{said}");
    assert!(!said.contains("proxy exited with"), "{said}");
}
