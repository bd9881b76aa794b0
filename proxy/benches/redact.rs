//! How fast bodies are redacted: whole bodies, the parts of the work alone, a growing conversation,
//! texts made to be costly, and the memory it takes. `cargo bench -p waterwall-proxy --bench redact`;
//! `-- worst`, `-- memory` or a part of a benchmark's name picks. Figures depend on the machine and
//! are printed, not judged. For bodies in files: `--bench scan`.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its purpose")]

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use proxy::dialect::Dialect;
use proxy::placeholder::SessionKey;
use proxy::redact::{
    Context, Media, NothingKnown, Policy, ThinkingMemory, is_clean, redact, validate,
};
use serde_json::{Value, json};

struct Nothing;

impl ThinkingMemory for Nothing {
    fn provider_text(&self, _: &str, _: &[u8; 32]) -> Option<String> {
        None
    }
}

fn main() {
    let policy = Policy::built_in().expect("the built-in set compiles");
    let key = SessionKey::new([7; 32]);
    let context = Context {
        policy: &policy,
        known: &NothingKnown,
        key: &key,
        dialect: Dialect::AnthropicMessages,
        thinking: &Nothing,
    };
    let picks: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_picked = |name: &str| picks.is_empty() || picks.iter().any(|pick| pick == name);
    if let [question, file] = &std::env::args().skip(1).collect::<Vec<_>>()[..]
        && question == MEMORY_OF
    {
        return memory_of(&context, file);
    }
    if is_picked("memory") {
        memory();
    }
    if is_picked("worst") {
        worst_cases(&context);
    }
    if picks.iter().all(|pick| pick != "memory" && pick != "worst") {
        let mut criterion = Criterion::default()
            .without_plots()
            .measurement_time(Duration::from_secs(3))
            .warm_up_time(Duration::from_millis(500))
            .sample_size(20)
            .configure_from_args();
        bodies(&mut criterion, &context);
        parts(&mut criterion, &policy);
        conversation(&mut criterion, &context);
        criterion.final_summary();
    }
}

/// Whole bodies, clean and with three secrets, and one with fifty.
fn bodies(criterion: &mut Criterion, context: &Context<'_>) {
    let mut group = criterion.benchmark_group("body");
    let sizes = [2_000, 50_000, 500_000, 5_000_000, 64 << 20];
    let plans = sizes.into_iter().flat_map(|size| [(size, 0), (size, 3)]).chain([(500_000, 50)]);
    for (size, secrets) in plans {
        let body = body(size, secrets);
        let found = redact(context, Media::Json, body.clone()).expect("the body may leave");
        assert!((secrets..=secrets + 1).contains(&found.replaced.len()), "{secrets} secrets");
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("{size} bytes, {secrets} secrets"), |bencher| {
            bencher.iter_batched(
                || body.clone(),
                |body| redact(context, Media::Json, body).expect("the body may leave"),
                BatchSize::PerIteration,
            );
        });
    }
}

/// What every body costs: the validity check and the one pass over its raw bytes.
fn parts(criterion: &mut Criterion, policy: &Policy) {
    let mut group = criterion.benchmark_group("parts, 500000 bytes");
    let text = body(500_000, 0);
    let small =
        json!(vec![json!({ "id": 17, "on": true, "name": "a b", "tags": ["x", "y"] }); 9_000]);
    let small = small.to_string();
    for (name, body) in [("text", &text[..]), ("short strings", small.as_bytes())] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("validate {name}"), |bencher| {
            bencher.iter(|| validate(&Media::Json, black_box(body)));
        });
        group.bench_function(format!("scan {name}"), |bencher| {
            bencher.iter(|| is_clean(policy, black_box(body)));
        });
    }
}

/// All bodies of a conversation in which each request repeats what was said before.
fn conversation(criterion: &mut Criterion, context: &Context<'_>) {
    let bodies: Vec<Bytes> = (1..=200).map(|turn| body(turn * 2 * TURN.len(), 0)).collect();
    let mut group = criterion.benchmark_group("conversation");
    group.throughput(Throughput::Bytes(bodies.iter().map(|body| body.len() as u64).sum()));
    group.sample_size(10).bench_function("200 turns", |bencher| {
        bencher.iter(|| {
            for body in &bodies {
                black_box(redact(context, Media::Json, body.clone())).expect("the body may leave");
            }
        });
    });
}

/// Texts made of one pattern's literals, of one length and of twice that.
fn worst_cases(context: &Context<'_>) {
    println!("{:24} {:>9} {:>7}  worst text, ns/byte at 128 KB; twice the text", "type", "", "");
    let canonical: Value =
        serde_json::from_slice(context.policy.canonical()).expect("the canonical set is JSON");
    let mut all = Vec::new();
    for pattern in canonical["patterns"].as_array().expect("there are patterns") {
        let worst = texts(pattern)
            .into_iter()
            .map(|(name, unit)| {
                let nanoseconds = |length: usize| {
                    let body = Bytes::from(json!([unit.repeat(length / unit.len())]).to_string());
                    least(2, || _ = black_box(redact(context, Media::Json, body.clone())))
                };
                let (once, twice) = (nanoseconds(1 << 17), nanoseconds(1 << 18));
                (once / (1 << 17) as f64, twice / once, name)
            })
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .expect("every pattern has a literal");
        all.push((worst, pattern["type"].as_str().unwrap_or_default().to_owned()));
    }
    all.sort_by(|(a, _), (b, _)| b.0.total_cmp(&a.0));
    for ((cost, growth, name), kind) in all {
        let flag = if growth > 2.5 { "  <- more than twice" } else { "" };
        println!("{kind:24} {cost:>9.2} {growth:>6.1}x  {name}{flag}");
    }
}

/// What the texts made of `pattern` repeat.
fn texts(pattern: &Value) -> Vec<(&'static str, String)> {
    let mut texts = Vec::new();
    for form in pattern["forms"].as_array().into_iter().flatten() {
        let literals = form["literals"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for literal in literals {
            let lead = form["lead"]["max"].as_u64().and_then(|max| usize::try_from(max).ok());
            let lead = "1".repeat(lead.unwrap_or(0));
            texts.push(("the literal", literal.to_owned()));
            texts.push(("the literal, alone", format!("{literal} ")));
            texts.push(("the literal and its alphabet", format!("{literal}{}", "a0B1".repeat(50))));
            texts.push(("the literal behind a lead", format!("{lead}{literal}")));
        }
    }
    texts
}

/// What redacting takes beside the body, in a process of its own: this one's heap has room that was
/// given back.
fn memory() {
    for secrets in [0, 50] {
        let file = std::env::temp_dir().join(format!("body-{}-{secrets}", std::process::id()));
        std::fs::write(&file, body(64 << 20, secrets)).expect("the body can be kept for a while");
        let program = std::env::current_exe().expect("this program has a name");
        let status = Command::new(program).arg(MEMORY_OF).arg(&file).status();
        std::fs::remove_file(&file).expect("the body can be removed");
        assert!(status.is_ok_and(|status| status.success()), "the body may leave");
    }
}

fn memory_of(context: &Context<'_>, file: &str) {
    let body = Bytes::from(std::fs::read(file).expect("the body is there"));
    // Forgets the peak so far.
    if std::fs::write("/proc/self/clear_refs", "5").is_err() {
        println!("memory: not measured, the kernel does not let the peak be reset");
        return;
    }
    let before = resident("VmRSS:");
    let redacted = black_box(redact(context, Media::Json, body.clone()));
    let found = redacted.as_ref().map_or(0, |redacted| redacted.replaced.len());
    let extra = resident("VmHWM:").saturating_sub(before) as f64 * 1024.0;
    let share = extra / body.len() as f64;
    println!("memory: {} bytes, {found} replaced: {share:.3} of the body more", body.len());
}

/// Asks this program how much memory one body takes.
const MEMORY_OF: &str = "--memory-of";

/// A figure of this process, in KiB.
fn resident(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// The least of `count` runs, in nanoseconds.
fn least(count: usize, mut run: impl FnMut()) -> f64 {
    let time = |()| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e9
    };
    std::iter::repeat_n((), count).map(time).fold(f64::MAX, f64::min)
}

/// A conversation of about `length` bytes as agents send it, with `secrets` spread over it.
fn body(length: usize, secrets: usize) -> Bytes {
    let turns = (length / TURN.len()).max(secrets).max(1);
    let messages: Vec<Value> = (0..turns)
        .map(|turn| {
            let has_secret = secrets > 0 && turn % (turns / secrets) == 0;
            let secret = if has_secret {
                format!(" ghp_{turn:06}abcdefghijABCDEFGHIJ0123456789")
            } else {
                String::new()
            };
            let content = [json!({ "type": "text", "text": format!("{TURN}{secret}") })];
            json!({ "role": if turn % 2 == 0 { "user" } else { "assistant" }, "content": content })
        })
        .collect();
    json!({ "model": "claude-sonnet-4-5-20250929", "messages": messages }).to_string().into()
}

/// What one turn of a conversation says.
const TURN: &str = include_str!("turn.txt");
