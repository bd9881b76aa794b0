//! What happened in the last five minutes, and what happened last. No clock: time is a parameter.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use super::histogram::{BUCKETS, Counts, bucket};

/// Length of a slot.
const SLOT: Duration = Duration::from_secs(10);

/// What is looked back on.
pub(crate) const WINDOW: Duration = Duration::from_secs(300);

/// Events that are kept.
const KEPT: usize = 50;

/// Types of one event that are kept.
const TYPES: usize = 16;

/// Sums over a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Requests that were let out.
    pub(crate) requests: u64,
    /// Values replaced.
    pub(crate) redactions: u64,
    /// Placeholders restored.
    pub(crate) restored: u64,
    /// Placeholder-shaped texts that were not ours.
    pub(crate) unknown: u64,
    /// Refusals.
    pub(crate) refused: u64,
    /// Values replaced, by type.
    pub(crate) types: BTreeMap<String, u64>,
    /// What requests were held up for.
    pub(crate) latency: Counts,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            requests: 0,
            redactions: 0,
            restored: 0,
            unknown: 0,
            refused: 0,
            types: BTreeMap::new(),
            latency: [0; BUCKETS],
        }
    }
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.redactions += other.redactions;
        self.restored += other.restored;
        self.unknown += other.unknown;
        self.refused += other.refused;
        for (kind, count) in &other.types {
            *self.types.entry(kind.clone()).or_default() += count;
        }
        for (sum, count) in self.latency.iter_mut().zip(&other.latency) {
            *sum += count;
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Happened {
    /// When.
    pub(crate) at: SystemTime,
    /// To which host.
    pub(crate) host: String,
    /// Of which session.
    pub(crate) session: Option<String>,
    /// What.
    pub(crate) what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A request was let out.
    Out {
        /// Values replaced in it.
        redactions: u64,
        /// Their types, each once.
        types: Vec<String>,
    },
    /// Placeholders came back.
    In {
        /// Restored.
        restored: u64,
        /// Not ours.
        unknown: u64,
    },
    /// A request was refused.
    Refused {
        /// The stable code.
        code: &'static str,
    },
}

/// The last five minutes in slots, and the last events.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    slots: VecDeque<(Instant, Sums)>,
    happened: VecDeque<Happened>,
}

impl Recent {
    /// The sums of the slot that is running `now`.
    pub(crate) fn slot(&mut self, now: Instant) -> &mut Sums {
        let runs = |(since, _): &(Instant, Sums)| now.saturating_duration_since(*since) < SLOT;
        if !self.slots.back().is_some_and(runs) {
            let over = |(since, _): &(Instant, Sums)| {
                now.saturating_duration_since(*since) >= WINDOW + SLOT
            };
            while self.slots.front().is_some_and(over) {
                self.slots.pop_front();
            }
            self.slots.push_back((now, Sums::default()));
        }
        let index = self.slots.len() - 1;
        &mut self.slots[index].1
    }

    /// A request was held up for `took`.
    pub(crate) fn took(&mut self, took: Duration, now: Instant) {
        self.slot(now).latency[bucket(took)] += 1;
    }

    /// Keeps an event.
    pub(crate) fn keep(&mut self, mut event: Happened) {
        if let What::Out { types, .. } = &mut event.what {
            types.truncate(TYPES);
        }
        if self.happened.len() >= KEPT {
            self.happened.pop_front();
        }
        self.happened.push_back(event);
    }

    /// The sums over the window that ends `now`.
    pub(crate) fn sums(&self, now: Instant) -> Sums {
        let mut sums = Sums::default();
        let within = |(since, _): &&(Instant, Sums)| now.saturating_duration_since(*since) < WINDOW;
        self.slots.iter().filter(within).for_each(|(_, slot)| sums.add(slot));
        sums
    }

    /// The last events, the newest first.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Happened> {
        self.happened.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(host: String) -> Happened {
        let what = What::Refused { code: "c" };
        Happened { at: SystemTime::UNIX_EPOCH, host, session: None, what }
    }

    #[test]
    fn five_minutes_are_looked_back_on_and_no_more_is_kept() {
        let start = Instant::now();
        let mut recent = Recent::default();
        for second in 0..3600 {
            recent.slot(start + Duration::from_secs(second)).requests += 1;
        }
        let end = start + Duration::from_secs(3599);
        assert_eq!(recent.sums(end).requests, 300);
        assert!(recent.slots.len() <= 32, "{}", recent.slots.len());
        assert_eq!(recent.sums(end + WINDOW), Sums::default());
    }

    #[test]
    fn sums_add_up_by_type_and_bucket() {
        let start = Instant::now();
        let mut recent = Recent::default();
        for (second, kind) in [(0, "A"), (20, "A"), (40, "B")] {
            let now = start + Duration::from_secs(second);
            *recent.slot(now).types.entry(kind.into()).or_default() += 2;
            recent.took(Duration::from_micros(60), now);
        }
        let sums = recent.sums(start + Duration::from_secs(40));
        assert_eq!(sums.types, BTreeMap::from([("A".into(), 4), ("B".into(), 2)]));
        assert_eq!(sums.latency[1], 3);
    }

    #[test]
    fn the_newest_events_are_kept() {
        let mut recent = Recent::default();
        (0..60).for_each(|n| recent.keep(refused(n.to_string())));
        let hosts: Vec<&str> = recent.events().map(|event| event.host.as_str()).collect();
        assert_eq!((hosts.len(), hosts[0], hosts[49]), (50, "59", "10"));
    }
}
