//! How fast bodies are redacted. `cargo bench -p waterwall-proxy --bench scan [-- BODY_FILE…]`;
//! figures depend on the machine and are printed, not judged.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its purpose")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proxy::dialect::Dialect;
use proxy::placeholder::SessionKey;
use proxy::redact::{Context, Media, NothingKnown, Policy, ThinkingMemory, redact};
use serde_json::json;

struct Nothing;

impl ThinkingMemory for Nothing {
    fn provider_text(&self, _: &str, _: &[u8; 32]) -> Option<String> {
        None
    }
}

fn main() {
    let loading = Instant::now();
    let policy = Policy::built_in().expect("the built-in set compiles");
    println!("{:34} {:>10.1?}", "compile the built-in set", loading.elapsed());
    let key = SessionKey::new([7; 32]);
    let context = Context {
        policy: &policy,
        known: &NothingKnown,
        key: &key,
        dialect: Dialect::AnthropicMessages,
        thinking: &Nothing,
    };
    let files = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let given = files.map(|file| {
        let body = std::fs::read(&file).expect("a body to measure can be read");
        (file, Bytes::from(body))
    });
    let made_up = [
        ("clean, 50 KB", body(50_000, &[])),
        ("3 secrets, 50 KB", body(50_000, SECRETS)),
        ("clean, 5 MB", body(5_000_000, &[])),
        ("3 secrets, 5 MB", body(5_000_000, SECRETS)),
    ];
    for (name, body) in made_up.map(|(name, body)| (name.to_owned(), body)).into_iter().chain(given)
    {
        let median = median(|| {
            black_box(redact(&context, Media::Json, body.clone())).expect("the body is clean JSON");
        });
        let rate = body.len() as f64 / median.as_secs_f64() / 1e6;
        println!("{name:34} {median:>10.1?} {rate:>8.0} MB/s");
    }
}

/// A conversation of about `length` bytes as agents send it: prose, code, tool results.
fn body(length: usize, secrets: &[&str]) -> Bytes {
    let turns = length / TURN.len();
    let messages: Vec<_> = (0..turns)
        .map(|turn| {
            let secret =
                (turn * 4 / turns.max(1)).checked_sub(1).filter(|_| turn % (turns / 4).max(1) == 0);
            let secret = secret.and_then(|index| secrets.get(index)).unwrap_or(&"");
            let content = [json!({ "type": "text", "text": format!("{TURN}{secret}") })];
            json!({ "role": if turn % 2 == 0 { "user" } else { "assistant" }, "content": content })
        })
        .collect();
    let request = json!({ "model": "claude-sonnet-4-5-20250929", "messages": messages });
    request.to_string().into()
}

fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..101)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

const SECRETS: &[&str] = &[
    " AKIAIOSFODNN7EXAMPLE",
    " ghp_0123456789abcdefghijABCDEFGHIJ012345",
    " s.0123456789abcdefghijABCD",
];

/// What one turn of a conversation says.
const TURN: &str = include_str!("turn.txt");
