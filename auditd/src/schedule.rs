//! What is due when: flushes, heads, checkpoint lines, and when nothing may leave any more. Pure:
//! time comes as a value.

use std::time::Duration;

use crate::arguments::Cadence;
use crate::clock::Stamp;

/// D2 lines are flushed within this, in milliseconds of boot time.
const FLUSH_MS: u64 = 200;

/// Pause after an order that was not signed, in milliseconds.
const PAUSE_MS: u64 = 250;

/// Lines without a checkpoint line after which nothing leaves (evidence section 4.17.16).
const EGRESS_LINES: u64 = 8_000;

/// Lines without a checkpoint line after which only structural lines are taken; the verifier
/// fails a log at 10,000.
const STRUCTURAL_LINES: u64 = 9_900;

/// What may still be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Everything.
    Open,
    /// Nothing that lets a request out.
    NoEgress,
    /// Nothing but genesis, start, stop, recovery and checkpoint.
    StructuralOnly,
}

/// What the writer owes, and since when. Times are milliseconds of boot time.
#[derive(Debug)]
pub(crate) struct Schedule {
    cadence: Cadence,
    unflushed_since: Option<u64>,
    /// Since when a line waits to be part of an order.
    unordered_since: Option<u64>,
    /// Since when a line waits for a signature.
    unsigned_since: Option<u64>,
    ordered: bool,
    order_again: u64,
    checkpoint_at: u64,
    lines: u64,
    checkpoint_wanted: bool,
}

impl Schedule {
    /// A log whose last checkpoint line is `lines` lines ago.
    pub(crate) fn new(cadence: Cadence, lines: u64, now: Stamp) -> Self {
        Self {
            cadence,
            unflushed_since: None,
            unordered_since: None,
            unsigned_since: None,
            ordered: false,
            order_again: 0,
            checkpoint_at: now.up_ms,
            lines,
            checkpoint_wanted: false,
        }
    }

    /// `lines` lines were written.
    pub(crate) fn wrote(&mut self, lines: u64, now: Stamp) {
        self.lines += lines;
        self.unflushed_since.get_or_insert(now.up_ms);
        self.unordered_since.get_or_insert(now.up_ms);
        self.unsigned_since.get_or_insert(now.up_ms);
    }

    /// A checkpoint line was written. Nothing signs it, nothing has to: its own fields are signed.
    pub(crate) fn wrote_checkpoint(&mut self, now: Stamp) {
        self.lines = 0;
        self.checkpoint_at = now.up_ms;
        self.checkpoint_wanted = false;
        self.unflushed_since.get_or_insert(now.up_ms);
    }

    /// A line was written that a checkpoint line must follow at once.
    pub(crate) fn want_checkpoint(&mut self) {
        self.checkpoint_wanted = true;
    }

    /// All lines are durable.
    pub(crate) fn flushed(&mut self) {
        self.unflushed_since = None;
    }

    /// All lines are part of an order that is under way.
    pub(crate) fn ordered(&mut self) {
        self.ordered = true;
        self.unordered_since = None;
    }

    /// The order is signed.
    pub(crate) fn signed(&mut self) {
        self.ordered = false;
        self.unsigned_since = self.unordered_since;
    }

    /// The order is not signed, and asking at once again would not help.
    pub(crate) fn unsigned(&mut self, now: Stamp) {
        self.ordered = false;
        self.order_again = now.up_ms + PAUSE_MS;
        self.unordered_since = self.unsigned_since;
    }

    /// Whether a flush is due.
    pub(crate) fn flush_due(&self, now: Stamp) -> bool {
        self.flush_at().is_some_and(|at| at <= now.up_ms)
    }

    /// Whether a checkpoint line is due and can be asked for.
    pub(crate) fn checkpoint_due(&self, now: Stamp) -> bool {
        self.may_order(now) && self.checkpoint_at() <= now.up_ms
    }

    /// Whether a head is due and can be asked for.
    pub(crate) fn head_due(&self, now: Stamp) -> bool {
        self.may_order(now) && self.head_at().is_some_and(|at| at <= now.up_ms)
    }

    /// What may still be appended.
    pub(crate) fn gate(&self, now: Stamp) -> Gate {
        if self.lines >= STRUCTURAL_LINES {
            Gate::StructuralOnly
        } else if self.lines >= EGRESS_LINES || self.unsigned_ms(now) > self.cadence.max_unsigned_ms
        {
            Gate::NoEgress
        } else {
            Gate::Open
        }
    }

    /// How long lines have been waiting for a signature; 0 when none do.
    pub(crate) fn unsigned_ms(&self, now: Stamp) -> u64 {
        self.unsigned_since.map_or(0, |since| now.up_ms.saturating_sub(since))
    }

    /// How long nothing is due, if nothing happens.
    pub(crate) fn idle_for(&self, now: Stamp) -> Duration {
        let order = if self.ordered {
            None
        } else {
            let next =
                self.head_at().map_or(self.checkpoint_at(), |at| at.min(self.checkpoint_at()));
            Some(next.max(self.order_again))
        };
        let at = [self.flush_at(), order].into_iter().flatten().min();
        at.map_or(Duration::from_secs(1), |at| {
            Duration::from_millis(at.saturating_sub(now.up_ms).min(1000))
        })
    }

    fn flush_at(&self) -> Option<u64> {
        self.unflushed_since.map(|since| since + FLUSH_MS)
    }

    /// Half of what is promised, so that the signer has the other half.
    fn head_at(&self) -> Option<u64> {
        self.unordered_since.map(|since| since + self.cadence.head_ms / 2)
    }

    fn checkpoint_at(&self) -> u64 {
        if self.checkpoint_wanted || self.lines >= self.cadence.lines {
            0
        } else if self.lines > 0 {
            self.checkpoint_at + self.cadence.active_ms
        } else {
            // A tenth early: `genesis` promises the whole, and a late timer must not break it.
            self.checkpoint_at + self.cadence.idle_ms / 10 * 9
        }
    }

    fn may_order(&self, now: Stamp) -> bool {
        !self.ordered && self.order_again <= now.up_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(up_ms: u64) -> Stamp {
        Stamp { wall_ms: 0, up_ms }
    }

    fn schedule() -> Schedule {
        Schedule::new(Cadence::default(), 0, at(0))
    }

    #[test]
    fn nothing_is_due_on_a_quiet_log_until_silence_itself_is_to_be_signed() {
        let schedule = schedule();
        let almost = at(269_999);
        assert!(!schedule.flush_due(almost) && !schedule.head_due(almost));
        assert!(!schedule.checkpoint_due(almost));
        assert!(schedule.checkpoint_due(at(270_000)));
    }

    #[test]
    fn a_line_is_durable_signed_and_checkpointed_in_time() {
        let mut schedule = schedule();
        schedule.wrote(1, at(1_000));
        assert_eq!(schedule.idle_for(at(1_000)), Duration::from_millis(200));
        assert!(schedule.flush_due(at(1_200)) && !schedule.flush_due(at(1_199)));
        assert!(schedule.head_due(at(1_500)) && !schedule.head_due(at(1_499)));
        assert!(schedule.checkpoint_due(at(60_000)) && !schedule.checkpoint_due(at(59_999)));
    }

    #[test]
    fn many_lines_or_a_weighty_one_bring_a_checkpoint_at_once() {
        let mut schedule = schedule();
        schedule.wrote(255, at(1));
        assert!(!schedule.checkpoint_due(at(1)));
        schedule.wrote(1, at(1));
        assert!(schedule.checkpoint_due(at(1)));
        schedule.wrote_checkpoint(at(2));
        assert!(!schedule.checkpoint_due(at(2)));
        schedule.want_checkpoint();
        assert!(schedule.checkpoint_due(at(2)));
    }

    #[test]
    fn one_order_at_a_time_and_a_pause_after_a_failed_one() {
        let mut schedule = schedule();
        schedule.wrote(1, at(0));
        schedule.ordered();
        schedule.wrote(300, at(10));
        assert!(!schedule.head_due(at(900)) && !schedule.checkpoint_due(at(900)));
        schedule.unsigned(at(900));
        assert!(!schedule.head_due(at(1_149)));
        assert!(schedule.head_due(at(1_150)) && schedule.checkpoint_due(at(1_150)));
    }

    #[test]
    fn lines_younger_than_the_order_stay_unsigned() {
        let mut schedule = schedule();
        schedule.wrote(1, at(0));
        schedule.ordered();
        schedule.wrote(1, at(400));
        schedule.signed();
        assert_eq!(schedule.unsigned_ms(at(1_000)), 600);
        schedule.ordered();
        schedule.signed();
        assert_eq!(schedule.unsigned_ms(at(1_000)), 0);
    }

    #[test]
    fn closes_after_a_minute_without_the_signer_and_reopens_f16() {
        let mut schedule = schedule();
        schedule.wrote(1, at(0));
        for second in 1..=60 {
            schedule.ordered();
            schedule.unsigned(at(second * 1000));
        }
        assert_eq!(schedule.gate(at(60_000)), Gate::Open);
        assert_eq!(schedule.gate(at(60_001)), Gate::NoEgress);
        schedule.ordered();
        schedule.signed();
        assert_eq!(schedule.gate(at(60_002)), Gate::Open);
    }

    #[test]
    fn closes_by_count_before_the_verifier_would_fail_the_log() {
        let mut schedule = schedule();
        schedule.wrote(7_999, at(0));
        assert_eq!(schedule.gate(at(1)), Gate::Open);
        schedule.wrote(1, at(0));
        assert_eq!(schedule.gate(at(1)), Gate::NoEgress);
        schedule.wrote(1_900, at(0));
        assert_eq!(schedule.gate(at(1)), Gate::StructuralOnly);
        schedule.wrote_checkpoint(at(2));
        assert_eq!(schedule.gate(at(2)), Gate::Open);
    }

    #[test]
    fn an_idle_checkpoint_alone_never_closes_anything() {
        let mut schedule = schedule();
        schedule.wrote_checkpoint(at(300_000));
        assert_eq!(schedule.gate(at(500_000)), Gate::Open);
        assert!(!schedule.head_due(at(500_000)));
    }
}
