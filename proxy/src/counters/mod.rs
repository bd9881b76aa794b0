//! What happened since the start, in numbers. None holds anything of a request but how often, of
//! which type, and whose it was.

mod histogram;
mod recent;
mod sessions;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

pub(crate) use self::histogram::{BOUNDS, Histogram, quantile};
use self::recent::Recent;
pub(crate) use self::recent::{Happened, Sums, WINDOW, What};
use self::sessions::Sessions;
pub(crate) use self::sessions::{HEADER as SESSION_HEADER, MOST as SESSIONS_MOST, Session, Tally};
use crate::redact::Finding;

/// All counters.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Requests that were let out.
    pub(crate) forwarded: AtomicU64,
    /// Values replaced on the way out.
    pub(crate) redacted: AtomicU64,
    /// Placeholders restored on the way back.
    pub(crate) restored: AtomicU64,
    /// Placeholder-shaped texts on the way back that were not ours.
    pub(crate) unknown: AtomicU64,
    /// Tunnels to hosts that nobody listed.
    pub(crate) unlisted: AtomicU64,
    /// Client connections open now.
    pub(crate) connections: AtomicU64,
    /// What requests were held up for; see [`Stopwatch`].
    pub(crate) outward: Histogram,
    /// What pieces of answers were held up for: from when they were here to when they were given
    /// out.
    pub(crate) inward: Histogram,
    /// The part of [`Self::outward`] in which the log wrote a line durably.
    pub(crate) durable: Histogram,
    /// The same of lines that are not waited for to be durable.
    pub(crate) written: Histogram,
    /// When a provider answered last, in milliseconds since 1970; 0 when none has.
    answered: AtomicU64,
    started: (Instant, SystemTime),
    refused: Mutex<BTreeMap<&'static str, u64>>,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    recent: Recent,
    sessions: Sessions,
}

/// All of what is told at once.
pub(crate) struct Overview {
    /// The last five minutes.
    pub(crate) sums: Sums,
    /// The last events, the newest first.
    pub(crate) events: Vec<Happened>,
    /// The sessions that are not over.
    pub(crate) sessions: Vec<Tally>,
    /// How many there were since the start.
    pub(crate) sessions_started: u64,
    /// How many made way for others.
    pub(crate) sessions_displaced: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            forwarded: AtomicU64::default(),
            redacted: AtomicU64::default(),
            restored: AtomicU64::default(),
            unknown: AtomicU64::default(),
            unlisted: AtomicU64::default(),
            connections: AtomicU64::default(),
            outward: Histogram::default(),
            inward: Histogram::default(),
            durable: Histogram::default(),
            written: Histogram::default(),
            answered: AtomicU64::default(),
            started: (Instant::now(), SystemTime::now()),
            refused: Mutex::default(),
            told: Mutex::default(),
        }
    }
}

impl Counters {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the process started, and how long ago that is.
    pub(crate) fn started(&self) -> (SystemTime, Duration) {
        (self.started.1, self.started.0.elapsed())
    }

    /// A request of `session` to `host` was let out, with `findings` replaced in it.
    pub(crate) fn let_out(&self, session: &Session, host: &str, findings: &[Finding]) {
        let redactions = findings.iter().map(|found| found.count).sum();
        add(&self.redacted, redactions);
        let (now, at) = (Instant::now(), SystemTime::now());
        let mut told = self.told();
        let tally = told.sessions.begin(session, host, (now, at));
        tally.requests += 1;
        tally.redactions += redactions;
        for found in findings {
            *count(&mut tally.types, found.kind.as_str()) += found.count;
        }
        let slot = told.recent.slot(now);
        slot.requests += 1;
        slot.redactions += redactions;
        for found in findings {
            *count(&mut slot.types, found.kind.as_str()) += found.count;
        }
        let mut types: Vec<String> =
            findings.iter().map(|found| found.kind.as_str().to_owned()).collect();
        types.sort_unstable();
        types.dedup();
        let (host, session) = (host.to_owned(), Some(session.id.clone()));
        let what = What::Out { redactions, types };
        told.recent.keep(Happened { at, host, session, what });
    }

    /// Placeholders of an answer to `session` came back.
    pub(crate) fn came_back(&self, session: &Session, host: &str, restored: u64, unknown: u64) {
        add(&self.restored, restored);
        add(&self.unknown, unknown);
        let now = Instant::now();
        let mut told = self.told();
        if let Some(tally) = told.sessions.go_on(&session.id, now) {
            tally.restored += restored;
            tally.unknown += unknown;
        }
        let slot = told.recent.slot(now);
        slot.restored += restored;
        slot.unknown += unknown;
        let (host, session) = (host.to_owned(), Some(session.id.clone()));
        let what = What::In { restored, unknown };
        told.recent.keep(Happened { at: SystemTime::now(), host, session, what });
    }

    /// One refusal of this code. `host` is one that may be shown. A session that never had a request
    /// let out is not counted: its name may be what was refused.
    pub(crate) fn refuse(&self, code: &'static str, host: Option<&str>, session: Option<&Session>) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused.entry(code).or_default() += 1;
        drop(refused);
        let now = Instant::now();
        let mut told = self.told();
        let known = session.and_then(|session| told.sessions.go_on(&session.id, now));
        let session = known.map(|tally| {
            tally.refused += 1;
            tally.session.id.clone()
        });
        told.recent.slot(now).refused += 1;
        let host = host.unwrap_or_default().to_owned();
        let what = What::Refused { code };
        told.recent.keep(Happened { at: SystemTime::now(), host, session, what });
    }

    /// A request was held up for `took`.
    pub(crate) fn held_up(&self, took: Duration) {
        self.outward.observe(took);
        self.told().recent.took(took, Instant::now());
    }

    /// A provider answered.
    pub(crate) fn answered(&self) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.answered.store(ms, Ordering::Relaxed);
    }

    /// When a provider answered last.
    pub(crate) fn last_answer(&self) -> Option<SystemTime> {
        match self.answered.load(Ordering::Relaxed) {
            0 => None,
            ms => SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)),
        }
    }

    /// Refusals by code.
    pub(crate) fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sessions and the recent past.
    pub(crate) fn overview(&self) -> Overview {
        let now = Instant::now();
        let mut told = self.told();
        Overview {
            sums: told.recent.sums(now),
            events: told.recent.events().cloned().collect(),
            sessions: told.sessions.live(now),
            sessions_started: told.sessions.started,
            sessions_displaced: told.sessions.displaced,
        }
    }
}

/// The count under `name`.
fn count<'c>(counts: &'c mut BTreeMap<String, u64>, name: &str) -> &'c mut u64 {
    counts.entry(name.to_owned()).or_default()
}

/// Measures what a request is held up for by this process, and by auditd on its behalf: from the
/// moment its head is here to the moment it is handed to the connection to the provider, without
/// the time in which more of it was waited for.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    since: Instant,
    so_far: Duration,
}

impl Stopwatch {
    /// Runs from now on.
    pub(crate) fn start() -> Self {
        Self { since: Instant::now(), so_far: Duration::ZERO }
    }

    /// Somebody else is waited for.
    pub(crate) fn pause(&mut self) {
        self.so_far += self.since.elapsed();
    }

    /// Runs again.
    pub(crate) fn resume(&mut self) {
        self.since = Instant::now();
    }

    /// What it shows while it runs.
    pub(crate) fn read(&self) -> Duration {
        self.so_far + self.since.elapsed()
    }
}

/// Counts `more` of something.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// The value of a counter.
pub(crate) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str) -> Session {
        Session { id: id.into(), is_named: true, program: "p".into() }
    }

    #[test]
    fn a_refused_request_starts_no_session_and_counts_for_one_that_runs() {
        let counters = Counters::default();
        counters.refuse("c", None, Some(&session("a")));
        assert!(counters.overview().sessions.is_empty());
        counters.let_out(&session("a"), "h.example", &[]);
        counters.refuse("c", Some("h.example"), Some(&session("a")));
        let overview = counters.overview();
        assert_eq!(overview.sessions[0].refused, 1);
        assert_eq!((overview.sums.refused, overview.sums.requests), (2, 1));
        assert_eq!(overview.events.len(), 3);
        // The name that came with the refusal is shown nowhere.
        assert_eq!(overview.events[2].session, None);
        assert_eq!(counters.refused(), BTreeMap::from([("c", 2)]));
    }
}
