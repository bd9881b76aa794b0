//! A soak: many clients, a faulty provider and a Waterwall whose daemons die, for minutes.
//!
//! At its end no secret was at the provider, every secret was back at its client or the exchange
//! had failed visibly, the log verifies, and no daemon has grown. `tests/soak/run` builds and starts
//! it; a seed reproduces its choices, if not the moments at which they meet.

#![expect(clippy::print_stdout, reason = "its output is a report")]

mod client;
mod conversation;
mod dice;
mod gauge;
mod options;
mod secret;
mod stand_in;
mod tally;
mod turn;
mod upheaval;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use harness::provider::{Answer, Provider, Seen};
use harness::waterwall::{Waterwall, said};
use tokio::sync::RwLock;

use crate::gauge::{Gauge, ROLES, Reading};
use crate::options::{Options, USAGE};
use crate::secret::MARK;
use crate::stand_in::Lookout;
use crate::tally::Tally;

/// Descriptors a daemon may have more at its end than at its beginning.
const FEW: usize = 8;

/// What all share.
struct Soak {
    options: Options,
    waterwall: Arc<Waterwall>,
    begun: Instant,
    tally: Mutex<Tally>,
    turns: AtomicU64,
    /// Held while registered values are said, and while a proxy is learning them.
    known: RwLock<()>,
    upset: AtomicBool,
    /// How often it was upset.
    upsets: AtomicU64,
}

impl Soak {
    fn over(&self) -> bool {
        self.begun.elapsed() >= Duration::from_secs(self.options.seconds)
    }

    /// Whether nothing more is to happen, so that it ends in peace.
    fn nearly_over(&self) -> bool {
        self.begun.elapsed() + Duration::from_secs(3) >= Duration::from_secs(self.options.seconds)
    }

    /// Whether daemons may be killed: afterwards their memory is watched.
    fn may_kill(&self) -> bool {
        self.begun.elapsed() * 2 < Duration::from_secs(self.options.seconds)
    }

    fn upset(&self, upset: bool) {
        self.upsets.fetch_add(1, Ordering::SeqCst);
        self.upset.store(upset, Ordering::SeqCst);
    }

    /// Which time of calm this is, if it is one.
    fn calm(&self) -> Option<u64> {
        let upsets = self.upsets.load(Ordering::SeqCst);
        (!self.upset.load(Ordering::SeqCst)).then_some(upsets)
    }

    fn say(&self, what: &str) {
        println!("{:>5.1} s  {what}", self.begun.elapsed().as_secs_f64());
    }

    fn violation(&self, what: String) {
        self.tally.lock().expect("nobody panics while it holds this").violation(what);
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let seed = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let Some(options) = Options::parse(std::env::args().skip(1), seed) else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("soak: {options:?}");
    let seed = options.seed;
    let lookout = Arc::new(Lookout::new());
    let (modern, plain) =
        (provider(&[b"h2"], &lookout).await, provider(&[b"http/1.1"], &lookout).await);
    let waterwall = Arc::new(lay_out(&modern, &plain));
    upheaval::register(&waterwall);
    let before: Vec<_> = ROLES.iter().map(|role| Reading::of(&waterwall, role)).collect();
    let soak = Arc::new(Soak {
        options,
        waterwall,
        begun: Instant::now(),
        tally: Mutex::default(),
        turns: AtomicU64::new(0),
        known: RwLock::new(()),
        upset: AtomicBool::new(false),
        upsets: AtomicU64::new(0),
    });
    let (killed, gauge) = run(&soak).await;
    for provider in [modern, plain] {
        provider.leave();
    }
    let (report, violations) = judge(&soak, &lookout, &gauge, &killed, &before).await;
    println!("\n{report}");
    for violation in &violations {
        println!("VIOLATION: {violation}");
    }
    println!("seed {seed}: {}", if violations.is_empty() { "ok" } else { "FAILED" });
    ExitCode::from(u8::from(!violations.is_empty()))
}

async fn provider(alpn: &[&[u8]], lookout: &Arc<Lookout>) -> Provider {
    let lookout = Arc::clone(lookout);
    let script = move |seen: &Seen| {
        if seen.headers.contains_key("upgrade") {
            let lookout = Arc::clone(&lookout);
            return Answer::socket(move |message| lookout.talk(message));
        }
        lookout.answer(seen)
    };
    Provider::forgetful(alpn, script).await
}

/// A Waterwall whose Anthropic speaks HTTP/2, and whose OpenAI HTTP/1.1.
fn lay_out(modern: &Provider, plain: &Provider) -> Waterwall {
    // A store that is full before its memory is watched.
    let mut waterwall = Waterwall::lay_out(modern, "redaction:\n  store_entries: 1000\n");
    std::fs::write(waterwall.path("etc/plain-ca.pem"), plain.ca_pem()).expect("a folder of ours");
    let hosts = format!(
        "hosts:\n  - host: api.anthropic.com\n    sse_handler: anthropic\n    upstream: {}\n    \
         extra_root: provider-ca.pem\n  - host: api.openai.com\n    sse_handler: openai\n    \
         upstream: {}\n    extra_root: plain-ca.pem\n",
        modern.address(),
        plain.address()
    );
    std::fs::write(waterwall.path("etc/permitted_hosts.yaml"), hosts).expect("a folder of ours");
    waterwall.up();
    waterwall
}

/// Lets everybody live until it is over.
async fn run(soak: &Arc<Soak>) -> (BTreeMap<&'static str, u64>, Gauge) {
    let clients: Vec<_> = (0..soak.options.clients)
        .map(|number| tokio::spawn(client::live(Arc::clone(soak), number)))
        .collect();
    let upheavals = tokio::spawn(upheaval::go_on(Arc::clone(soak)));
    let every = Duration::from_millis((soak.options.seconds * 1000 / 100).clamp(500, 3000));
    let (mut gauge, mut beats) = (Gauge::default(), 0_u64);
    while !soak.over() {
        tokio::time::sleep(every).await;
        let (waterwall, at) = (Arc::clone(&soak.waterwall), soak.begun.elapsed());
        let steady = !soak.may_kill() && soak.calm().is_some();
        let read = tokio::task::spawn_blocking(move || {
            let line = gauge.read(&waterwall, at, steady);
            (gauge, line)
        });
        let (read, line) = read.await.expect("readings can be taken");
        gauge = read;
        if beats.is_multiple_of(5) {
            let tally = soak.tally.lock().expect("nobody panics while it holds this");
            let (whole, failed) = (tally.whole(), tally.failed());
            let turns = soak.turns.load(Ordering::Relaxed);
            soak.say(&format!("{turns} turns, {whole} restored, {failed} refused or cut;{line}"));
        }
        beats += 1;
    }
    for client in clients {
        if let Err(error) = client.await {
            soak.violation(format!("a client's story broke: {error}"));
        }
    }
    (upheavals.await.unwrap_or_default(), gauge)
}

/// The report, and what must not have been.
async fn judge(
    soak: &Arc<Soak>,
    lookout: &Lookout,
    gauge: &Gauge,
    killed: &BTreeMap<&'static str, u64>,
    before: &[Option<Reading>],
) -> (String, Vec<String>) {
    let (tally, rss, grown) = {
        let tally = soak.tally.lock().expect("nobody panics while it holds this");
        let mut violations = tally.violations();
        violations
            .extend(tally.idle().iter().map(|name| format!("nothing of {name} was restored")));
        let (rss, grown) = gauge.trend();
        violations.extend(grown);
        (tally.table(), rss, violations)
    };
    let mut violations = grown;
    let leaks = lookout.leaks.lock().expect("nobody panics while it holds this").clone();
    violations.extend(leaks.iter().take(10).map(|around| format!("at the provider: {around}")));
    let waterwall = Arc::clone(&soak.waterwall);
    let before: Vec<_> = before.to_vec();
    let killed = killed.clone();
    let masked = lookout.masked.load(Ordering::Relaxed);
    let messages = soak.options.messages.clone();
    let left = tokio::task::spawn_blocking(move || {
        if let Some(file) = messages
            && let Err(error) = std::fs::copy(waterwall.path("state/up.log"), &file)
        {
            println!("{}: {error}", file.display());
        }
        let (mut lines, mut violations) = (String::new(), descriptors(&waterwall, &before));
        violations.extend(deaths(&waterwall, &killed));
        let (line, bad) = evidence(&waterwall, masked);
        lines += &line;
        violations.extend(bad);
        (lines, violations)
    });
    let (evidence, bad) = left.await.expect("the end can be looked at");
    violations.extend(bad);
    let report = format!(
        "{tally}\n\n{rss}\nprovider: {} requests and messages, {masked} with placeholders, {} with secrets\n{evidence}",
        lookout.came.load(Ordering::Relaxed),
        leaks.len()
    );
    (report, violations)
}

/// Descriptors that are still there when everybody left.
fn descriptors(waterwall: &Waterwall, before: &[Option<Reading>]) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let left: Vec<String> = ROLES
            .iter()
            .zip(before)
            .filter_map(|(role, before)| {
                let (before, now) =
                    ((*before)?.descriptors, Reading::of(waterwall, role)?.descriptors);
                (now > before + FEW).then(|| format!("{role} keeps {now} fds, and had {before}"))
            })
            .collect();
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Deaths that nobody brought about.
fn deaths(waterwall: &Waterwall, killed: &BTreeMap<&'static str, u64>) -> Vec<String> {
    let status = waterwall.status();
    let deaths = ROLES.iter().filter_map(|role| {
        let died = status["roles"][*role]["restarts"].as_u64().unwrap_or(0);
        let killed = killed.get(role).copied().unwrap_or(0);
        (died != killed).then(|| format!("{role} died {died} times, and was killed {killed} times"))
    });
    deaths.collect()
}

/// What the log says, and what lies on the disk.
fn evidence(waterwall: &Waterwall, masked: u64) -> (String, Vec<String>) {
    let mut violations = Vec::new();
    let messages = std::fs::read_to_string(waterwall.path("state/up.log")).unwrap_or_default();
    violations.extend(messages.lines().filter(|line| line.contains("panicked")).map(str::to_owned));
    waterwall.down();
    let verdict = waterwall.verify_chain();
    if verdict.status.code() != Some(0) {
        violations.push(format!("verify-chain: {}", said(&verdict)));
    }
    let redactions = u64::try_from(waterwall.lines("redaction").len()).unwrap_or(0);
    if redactions < masked {
        violations.push(format!("{masked} requests had placeholders, {redactions} are on record"));
    }
    let files = waterwall.files_holding(MARK);
    violations.extend(files.iter().map(|file| format!("a secret is in {}", file.display())));
    let verdict = String::from_utf8_lossy(&verdict.stdout);
    let verdict = verdict.lines().next().unwrap_or_default();
    (format!("log: {redactions} redaction lines; verify-chain: {verdict}"), violations)
}
