//! How the proxy is, in Prometheus' text format (version 0.0.4).
//!
//! Base units only: seconds and bytes. *Added* is what Waterwall itself adds: a request's time from
//! when its head is here to when it is handed to the provider's connection, but for the time in
//! which its body was waited for; a piece of an answer's time from when it came to when it was given
//! out. Waiting for auditd counts, waiting for the client or the provider does not.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use super::health::{FAULTS, look};
use super::state::hex;
use crate::counters::{BOUNDS, Histogram, SESSIONS_MOST, get};
use crate::killswitch::ALL;
use crate::proxy::Proxy;

/// What the text is.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text of metrics, as it grows.
#[derive(Default)]
struct Page(String);

/// Labels of one sample: names are fixed, values may be any text.
type Labels<'l> = &'l [(&'static str, &'l str)];

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _ = write!(self.0, "{before}{label}=\"{text}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    fn single(&mut self, kind: &str, (name, help): (&str, &str), value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn gauge(&mut self, named: (&str, &str), value: impl std::fmt::Display) {
        self.single("gauge", named, value);
    }

    fn counter(&mut self, named: (&str, &str), value: u64) {
        self.single("counter", named, value);
    }

    fn histogram(&mut self, (name, help): (&str, &str), all: &[(Labels<'_>, &Histogram)]) {
        self.family(name, "histogram", help);
        for (labels, histogram) in all {
            let (counts, sum) = histogram.read();
            let mut total = 0;
            let bounds = BOUNDS.iter().map(|micros| seconds(Duration::from_micros(*micros)));
            let bounds = bounds.map(|bound| bound.to_string()).chain(["+Inf".to_owned()]);
            for (bound, count) in bounds.zip(counts) {
                total += count;
                let labels = [labels, &[("le", bound.as_str())][..]].concat();
                self.sample(&format!("{name}_bucket"), &labels, total);
            }
            self.sample(&format!("{name}_sum"), labels, seconds(sum));
            self.sample(&format!("{name}_count"), labels, total);
        }
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// `GET /metrics`.
pub(crate) async fn metrics(proxy: &Proxy) -> String {
    let mut page = Page::default();
    condition(&mut page, proxy).await;
    load(&mut page, proxy);
    totals(&mut page, proxy);
    durations(&mut page, proxy);
    page.0
}

async fn condition(page: &mut Page, proxy: &Proxy) {
    let health = look(proxy).await;
    let flag = |is: bool| u8::from(is);
    let name = "waterwall_build_info";
    page.family(name, "gauge", "Always 1; the version is its label.");
    page.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    if let Ok(set) = proxy.setup.current() {
        let hash = hex(&set.config.policy.hash());
        let name = "waterwall_policy_info";
        page.family(name, "gauge", "Always 1; the hash of the policy in force is its label.");
        page.sample(name, &[("hash", &hash)], 1);
        let patterns = set.config.policy.pattern_count();
        page.gauge(
            ("waterwall_policy_patterns", "Types of secrets that are looked for."),
            patterns,
        );
    }
    let since = proxy.counters.started().0.duration_since(SystemTime::UNIX_EPOCH);
    let named = ("waterwall_start_time_seconds", "When the process started, in Unix time.");
    page.gauge(named, seconds(since.unwrap_or_default()));
    let named = ("waterwall_healthy", "Whether no fault keeps requests from being served.");
    page.gauge(named, flag(health.faults.is_empty()));
    let name = "waterwall_fault";
    page.family(name, "gauge", "Whether requests are refused for this reason.");
    for code in FAULTS {
        page.sample(name, &[("code", code)], flag(health.faults.contains(&code)));
    }
    let active = proxy.switch.check();
    let named = ("waterwall_kill_switch_armed", "Whether any source of the kill switch is active.");
    page.gauge(named, flag(active.armed()));
    let name = "waterwall_kill_switch_source_active";
    page.family(name, "gauge", "Whether this source of the kill switch is active.");
    for source in ALL {
        page.sample(name, &[("source", source.name())], flag(active.has(source)));
    }
}

fn load(page: &mut Page, proxy: &Proxy) {
    let (held, most) = proxy.memory.taken();
    let fixed = proxy.setup.fixed();
    let overview = proxy.counters.overview();
    let gauges = [
        ("waterwall_connections", "Connections of agents.", get(&proxy.counters.connections)),
        (
            "waterwall_connections_limit",
            "Connections of agents at most.",
            fixed.limits.connections.into(),
        ),
        ("waterwall_bodies_held_bytes", "Room that bodies take.", wide(held)),
        ("waterwall_bodies_limit_bytes", "Room that bodies take at most.", wide(most)),
        (
            "waterwall_log_lines_unanswered",
            "Lines that auditd has not answered for yet.",
            wide(proxy.record.backlog()),
        ),
        ("waterwall_signer_calls_waiting", "Calls to the signer.", wide(proxy.mint.waiting())),
        ("waterwall_store_values", "Secrets held for answers.", wide(proxy.store.len())),
        (
            "waterwall_store_values_limit",
            "Secrets held for answers at most.",
            fixed.redaction.store_entries.into(),
        ),
        (
            "waterwall_values_registered",
            "Values that the operator registered.",
            wide(proxy.store.registered_count()),
        ),
        ("waterwall_sessions", "Sessions of agents.", wide(overview.sessions.len())),
        ("waterwall_sessions_limit", "Sessions counted apart at most.", wide(SESSIONS_MOST)),
    ];
    for (name, help, value) in gauges {
        page.gauge((name, help), value);
    }
    let named = ("waterwall_log_lag_seconds", "Age of the oldest line without an answer.");
    page.gauge(named, seconds(proxy.record.lag()));
    let answered = proxy.counters.last_answer();
    let answered = answered.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    let name = "waterwall_upstream_last_answer_timestamp_seconds";
    page.gauge(
        (name, "When a provider answered last, in Unix time; 0 when none has."),
        seconds(answered.unwrap_or_default()),
    );
    let named = ("waterwall_sessions_started_total", "Sessions of agents since the start.");
    page.counter(named, overview.sessions_started);
    let named = ("waterwall_sessions_displaced_total", "Sessions that made way for others.");
    page.counter(named, overview.sessions_displaced);
}

fn totals(page: &mut Page, proxy: &Proxy) {
    let counters = &proxy.counters;
    let totals = [
        (
            "waterwall_requests_forwarded_total",
            "Requests that a provider answered.",
            &counters.forwarded,
        ),
        ("waterwall_values_redacted_total", "Values replaced on the way out.", &counters.redacted),
        (
            "waterwall_placeholders_restored_total",
            "Placeholders restored on the way back.",
            &counters.restored,
        ),
        (
            "waterwall_placeholders_unknown_total",
            "Texts like placeholders on the way back that were not ours.",
            &counters.unknown,
        ),
        (
            "waterwall_tunnels_unlisted_total",
            "Tunnels to hosts that nobody listed.",
            &counters.unlisted,
        ),
    ];
    for (name, help, counter) in totals {
        page.counter((name, help), get(counter));
    }
    let name = "waterwall_requests_refused_total";
    page.family(name, "counter", "Requests refused, by code.");
    for (code, count) in counters.refused() {
        page.sample(name, &[("code", code)], count);
    }
}

fn durations(page: &mut Page, proxy: &Proxy) {
    let counters = &proxy.counters;
    page.histogram(
        (
            "waterwall_request_added_seconds",
            "Time added to a request: scanning, rewriting, recording; no waiting for its body.",
        ),
        &[(&[], &counters.outward)],
    );
    page.histogram(
        (
            "waterwall_answer_added_seconds",
            "Time added to a piece of an answer: restoring, recording.",
        ),
        &[(&[], &counters.inward)],
    );
    page.histogram(
        ("waterwall_log_append_seconds", "Waiting for auditd until a request may leave."),
        &[
            (&[("class", "durable")], &counters.durable),
            (&[("class", "written")], &counters.written),
        ],
    );
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
