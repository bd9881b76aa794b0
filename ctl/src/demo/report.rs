//! What the demonstration shows: each check as it is made, and all of them at the end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::output::{Output, Paint};

/// The checks made so far.
pub(super) struct Report {
    out: Output,
    started: Instant,
    checks: Vec<(String, bool)>,
    timings: Vec<(&'static str, Duration)>,
}

impl Report {
    pub(super) fn new(out: Output) -> Self {
        Self { out, started: Instant::now(), checks: Vec::new(), timings: Vec::new() }
    }

    /// A line of the story.
    pub(super) fn tell(&self, text: impl FnOnce(Paint) -> String) {
        if !self.out.is_json() {
            self.out.text(&format!("{}\n", text(self.out.paint())));
        }
    }

    /// One check; `detail` is shown beside it.
    pub(super) fn check(&mut self, what: &str, held: bool, detail: &str) {
        self.tell(|paint| {
            let mark = if held { paint.good("✓") } else { paint.bad("✗") };
            let detail = if detail.is_empty() { String::new() } else { format!("  {detail}") };
            format!("   {mark} {what}{}", paint.faint(&detail))
        });
        self.checks.push((what.to_owned(), held));
    }

    /// Notes how long something took, and says it.
    pub(super) fn time(&mut self, what: &'static str, since: Instant) -> String {
        let took = since.elapsed();
        self.timings.push((what, took));
        milliseconds(took)
    }

    /// The end of the story; `true` if every check held.
    pub(super) fn conclude(self) -> bool {
        let failed = self.checks.iter().filter(|(_, held)| !held).count();
        let held = failed == 0 && !self.checks.is_empty();
        if self.out.is_json() {
            self.out.text(&format!("{}\n", self.to_json(held)));
            return held;
        }
        self.tell(|paint| {
            let verdict = if held {
                paint.good(&format!("All {} checks held", self.checks.len()))
            } else {
                paint.bad(&format!("{failed} of {} checks failed", self.checks.len()))
            };
            let total = milliseconds(self.started.elapsed());
            format!("\n{verdict}, in {total}. Nothing is left behind.")
        });
        held
    }

    fn to_json(&self, held: bool) -> Value {
        let in_ms = |took: Duration| took.as_secs_f64() * 1e3;
        let checks: Vec<Value> =
            self.checks.iter().map(|(what, held)| json!({ "check": what, "held": held })).collect();
        let timings: serde_json::Map<String, Value> = self
            .timings
            .iter()
            .map(|(what, took)| ((*what).to_owned(), json!(in_ms(*took))))
            .collect();
        json!({ "ok": held, "checks": checks, "timings_ms": timings,
                "total_ms": in_ms(self.started.elapsed()) })
    }
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1e3)
}
