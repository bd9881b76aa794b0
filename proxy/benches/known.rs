//! How fast texts are searched for known values. `cargo bench -p waterwall-proxy --bench known`;
//! figures depend on the machine and are printed, not judged.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its purpose")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aho_corasick::AhoCorasick;
use proxy::placeholder::{Kind, Minted, Secret, SessionKey, Sticky};
use proxy::redact::{KnownValues, Scope as Wanted};
use proxy::store::{Limits, Scope, Store};

fn main() {
    let key = SessionKey::new([7; 32]);
    let scope = Scope::of(&key, "api.example", |_| None);
    let text = TURN.repeat(8 * 1024 * 1024 / TURN.len());
    for (tokenized, registered, least) in [
        (0, 0, 0),
        (10, 0, 0),
        (1000, 0, 0),
        (10_000, 0, 0),
        (0, 10, 20),
        (10, 100, 8),
        (10_000, 1000, 8),
    ] {
        let store = Arc::new(Store::new(Limits::default()));
        let now = Instant::now();
        let values: Vec<Minted> = (0..tokenized).map(|number| minted(&key, number)).collect();
        let held = store.pin(scope, &values, now).expect("there is room");
        let entered = now.elapsed();
        for number in 0..registered {
            let value = format!("{}{number:03}", &random(1 << 40 | number)[..least.max(8) - 3]);
            let kind = Kind::new("REGISTERED").expect("it is a type");
            store.register(kind, value.as_bytes(), 0).expect("it is worth registering");
        }
        let known = store.known(scope, now);
        let search = |text: &str| {
            let mut found = Vec::new();
            known.find(text.as_bytes(), Wanted::Text, &mut found).expect("the text is honest");
            found.len()
        };
        assert_eq!(search(&text), 0, "the text holds none");
        let clean = fastest(|| search(&text));
        let suspects = fastest(|| usize::from(known.suspects(text.as_bytes())));
        println!(
            "{tokenized:6} tokenized {registered:5} registered from {least:2} bytes: entered in {entered:9.1?}, \
             find {:6.1} GB/s, suspects {:6.1} GB/s",
            rate(&text, clean),
            rate(&text, suspects),
        );
        drop(held);
        if registered == 0 && tokenized > 0 {
            by_automaton(&text, &values);
        }
    }
}

/// The same by an automaton, which holds the values in the clear.
fn by_automaton(text: &str, values: &[Minted]) {
    let start = Instant::now();
    let plain = values.iter().map(|value| value.plaintext.expose());
    let automaton = AhoCorasick::new(plain).expect("it is not too large");
    let built = start.elapsed();
    let clean = fastest(|| automaton.find_iter(text).count());
    println!(
        "{:40} built in {built:9.1?}, {} KB, {:6.1} GB/s",
        "       by Aho-Corasick:",
        automaton.memory_usage() / 1000,
        rate(text, clean)
    );
}

fn minted(key: &SessionKey, number: u64) -> Minted {
    let plaintext = format!("sk-proj-{}", random(number));
    Minted {
        kind: Kind::new("OPENAI_KEY").expect("it is a type"),
        tag: key.tag(plaintext.as_bytes()),
        plaintext: Secret::new(plaintext.into_bytes()),
        sticky: Sticky::Everywhere,
    }
}

/// 40 letters and digits, the same for the same number.
fn random(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678;
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let at = usize::try_from(state % 62).unwrap_or_default();
        char::from(letters[at])
    };
    (0..40).map(letter).collect()
}

fn fastest(mut run: impl FnMut() -> usize) -> Duration {
    let once = |_| {
        let start = Instant::now();
        black_box(run());
        start.elapsed()
    };
    (0..31).map(once).min().unwrap_or_default()
}

fn rate(text: &str, took: Duration) -> f64 {
    let bytes = f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX));
    bytes / took.as_secs_f64() / 1e9
}

/// What one turn of a conversation says.
const TURN: &str = include_str!("turn.txt");
