//! Providers that speak HTTP/2 as RFC 9113 forbids it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::agent::Agent;
use harness::provider::{Provider, Tls};
use harness::secrets;
use harness::shape::Shape;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::frames::*;
use super::{PATIENCE, Siege};

/// What a provider says, as it starts, to the head of the first request, and to its end; then,
/// again and again.
#[derive(Debug, Clone, Default)]
struct Script {
    first: Vec<u8>,
    to_head: Vec<u8>,
    to_end: Vec<u8>,
    forever: Vec<u8>,
    hangs_up: bool,
}

async fn play(mut tls: Tls, script: Script) {
    if tls.write_all(&script.first).await.is_err() {
        return;
    }
    let mut preface = [0; PREFACE.len()];
    if tls.read_exact(&mut preface).await.is_err() {
        return;
    }
    while let Some((kind, _, payload)) = next(&mut tls).await {
        let says = match kind {
            HEADERS => &script.to_head,
            DATA if !payload.is_empty() => &script.to_end,
            _ => continue,
        };
        // Whoever is hung up on takes no more.
        let _ = tls.write_all(says).await;
        if !says.is_empty() && script.hangs_up {
            let _ = tls.shutdown().await;
            return;
        }
        let mut said = if says.is_empty() || script.forever.is_empty() { Err(()) } else { Ok(()) };
        let again = script.forever.repeat(64 * 1024 / script.forever.len().max(1) + 1);
        while said.is_ok() {
            said = tls.write_all(&again).await.map_err(|_| ());
        }
    }
}

async fn ask(agent: &Agent) -> Result<String, String> {
    let request = Shape::Messages.request(secrets::AWS).to_string();
    let whole = async {
        let answer = agent.request(Shape::Messages.url(), request).send().await;
        let answer = answer.map_err(|error| format!("{error:?}"))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| format!("{error:?}"))?;
        if status.is_success() { Ok(text) } else { Err(text) }
    };
    tokio::time::timeout(PATIENCE, whole).await.expect("nothing hangs")
}

/// Goes through the stories, of each of which it demands that the agent sees a failure.
async fn fails(stories: Vec<(&str, Script)>) {
    let current = Arc::new(AtomicUsize::new(0));
    let scripts: Vec<Script> = stories.iter().map(|(_, script)| script.clone()).collect();
    let provider = {
        let current = Arc::clone(&current);
        Provider::rogue(b"h2", move |tls, _| {
            play(tls, scripts[current.load(Ordering::SeqCst)].clone())
        })
        .await
    };
    let siege = Siege::begin(provider, 1);
    for (number, (story, _)) in stories.iter().enumerate() {
        current.store(number, Ordering::SeqCst);
        let came = ask(&Agent::new(&siege.waterwall)).await;
        assert!(came.is_err(), "{story}: {came:?}");
        siege.stands();
        // What is still connected would play the same script on.
        let reload = siege.waterwall.ctl(&["reload"]);
        assert!(reload.status.success(), "{story}");
    }
    siege.end();
}

/// To the end of a request, behind settings as they should be.
fn to_end(frames: Vec<u8>) -> Script {
    Script { first: settings(), to_end: frames, ..Script::default() }
}

fn ok() -> Vec<u8> {
    [vec![0x88], field("content-type", "application/json")].concat()
}

fn answer(flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, 1, block)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_none_fail_visibly() {
    let first = |first: Vec<u8>| Script { first, ..Script::default() };
    let to_head = |to_head: Vec<u8>| Script { first: settings(), to_head, ..Script::default() };
    let bye = |last: u32, code: u32| {
        frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
    };
    fails(vec![
        ("garbage", first(vec![0xff; 2000])),
        ("HTTP/1.1", first(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec())),
        ("no settings", first(frame(PING, 0, 0, &[0; 8]))),
        ("settings of odd length", first(frame(SETTINGS, 0, 0, &[0; 5]))),
        ("a farewell at once", first([settings(), bye(0, 0)].concat())),
        ("a farewell to a request", to_head(bye(0, 11))),
        ("a reset to a request", to_head(frame(RST_STREAM, 0, 1, &7_u32.to_be_bytes()))),
        ("no streams at all", first(setting(3, 0))),
        ("a window that never opens", first(setting(4, 0))),
        ("silence", first(settings())),
        (
            "a push that nobody asked for",
            to_head(frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82])),
        ),
        (
            "a window that overflows",
            to_head(frame(WINDOW_UPDATE, 0, 1, &0x7fff_ffff_u32.to_be_bytes())),
        ),
        ("a frame over the agreed size", to_head(frame(DATA, 0, 1, &vec![0; 1 << 20]))),
        ("another stream than there is", to_head(frame(HEADERS, END_HEADERS, 9, &ok()))),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_fail_visibly() {
    let body = |flags, bytes: &[u8]| frame(DATA, flags, 1, bytes);
    let with = |block: Vec<u8>| to_end([answer(0, &block), body(END_STREAM, b"{}")].concat());
    let length = |length: &str| [ok(), field("content-length", length)].concat();
    let hangs_up = |script: Script| Script { hangs_up: true, ..script };
    fails(vec![
        ("a body without a head", to_end(body(END_STREAM, b"{}"))),
        ("a head without a status", with(field("content-type", "application/json"))),
        ("a status that is no number", with(field(":status", "two"))),
        ("two statuses", with([ok(), field(":status", "201")].concat())),
        ("a method in an answer", with([ok(), field(":method", "GET")].concat())),
        ("an upper-case name", with([ok(), field("X-Upper", "case")].concat())),
        ("a line break in a value", with([ok(), field("x", "a\r\nb: c")].concat())),
        ("a connection header", with([ok(), field("connection", "close")].concat())),
        ("an index behind the table", with([ok(), vec![0xff, 0x80, 0x01]].concat())),
        ("less than its length", with(length("100"))),
        ("more than its length", with(length("1"))),
        ("a length that is no number", with(length("two"))),
        ("a head that never ends", to_end(frame(HEADERS, 0, 1, &ok()))),
        (
            "a reset inside the body",
            to_end(
                [answer(0, &ok()), body(0, b"{\"a"), frame(RST_STREAM, 0, 1, &2_u32.to_be_bytes())]
                    .concat(),
            ),
        ),
        ("an end inside the body", hangs_up(to_end([answer(0, &ok()), body(0, b"{}")].concat()))),
        (
            "a farewell inside the body",
            hangs_up(to_end(
                [
                    answer(0, &ok()),
                    body(0, b"{\"a"),
                    frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2]),
                ]
                .concat(),
            )),
        ),
        ("silence inside the body", to_end([answer(0, &ok()), body(0, b"{\"a")].concat())),
        (
            "padding over the frame",
            to_end([answer(0, &ok()), frame(DATA, PADDED | END_STREAM, 1, &[200, b'x'])].concat()),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_fail_visibly_and_within_bounds() {
    let flood = |forever: Vec<u8>| Script { forever, ..to_end(settings()) };
    let behind = |first: Vec<u8>, forever: Vec<u8>| Script { forever, ..to_end(first) };
    let large = field("x-large", vec![b'a'; 16_000]);
    let bomb = [ok(), indexed(&[b'n'; 2000], &[b'v'; 2000]), vec![0xbe; 12_000]].concat();
    fails(vec![
        ("continuations", behind(frame(HEADERS, 0, 1, &ok()), frame(CONTINUATION, 0, 1, &large))),
        (
            "empty continuations",
            behind(frame(HEADERS, 0, 1, &ok()), frame(CONTINUATION, 0, 1, &[])),
        ),
        ("a header that stands for thousands", to_end(answer(END_STREAM, &bomb))),
        ("settings", flood(setting(4, 65_535))),
        ("pings", flood(frame(PING, 0, 0, &[7; 8]))),
        ("windows", flood(frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()))),
        ("unknown frames", flood(frame(0x7f, 0, 0, &[0; 100]))),
        ("empty data", behind(answer(0, &ok()), frame(DATA, 0, 1, &[]))),
        ("answers to come", flood(frame(HEADERS, END_HEADERS, 1, &field(":status", "100")))),
        ("a body without end", behind(answer(0, &ok()), frame(DATA, 0, 1, &[b'['; 1000]))),
    ])
    .await;
}
