//! The two clocks a line carries, as values. Nothing below [`Stamp::now`] asks the system.

use nix::time::{ClockId, clock_gettime};

/// Wall clock may jump by this much, in milliseconds, before a `clock_step` line says so.
const STEP_MS: u64 = 2_000;

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Milliseconds since 1970-01-01T00:00:00Z, as read.
    pub(crate) wall_ms: u64,
    /// Milliseconds since boot, suspension included.
    pub(crate) up_ms: u64,
}

impl Stamp {
    /// Reads both clocks.
    pub(crate) fn now() -> Self {
        Self { wall_ms: read(ClockId::CLOCK_REALTIME), up_ms: read(ClockId::CLOCK_BOOTTIME) }
    }

    /// Milliseconds of boot time since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.up_ms.saturating_sub(earlier.up_ms)
    }
}

/// A clock that cannot be read, or stands before 1970, reads 0: the line says so honestly, and
/// evidence does not stop for a wrong clock.
fn read(clock: ClockId) -> u64 {
    let Ok(time) = clock_gettime(clock) else { return 0 };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let millis = u64::try_from(time.tv_nsec() / 1_000_000).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(millis)
}

/// How the wall clock jumped against boot time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Size of the jump.
    pub(crate) delta_ms: u64,
    /// Whether it went forward.
    pub(crate) forward: bool,
}

/// Remembers how far the two clocks were apart.
#[derive(Debug)]
pub(crate) struct StepWatch {
    last: Stamp,
}

impl StepWatch {
    /// Starts from `first`.
    pub(crate) fn new(first: Stamp) -> Self {
        Self { last: first }
    }

    /// The jump between the last reading and `now`, where it is worth a line. Slow drift below
    /// the threshold accumulates until it is one.
    pub(crate) fn observe(&mut self, now: Stamp) -> Option<Step> {
        let expected = self.last.wall_ms.saturating_add(now.since(self.last));
        let delta_ms = now.wall_ms.abs_diff(expected);
        if delta_ms <= STEP_MS {
            return None;
        }
        self.last = now;
        Some(Step { delta_ms, forward: now.wall_ms > expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(wall_ms: u64, up_ms: u64) -> Stamp {
        Stamp { wall_ms, up_ms }
    }

    #[test]
    fn a_steady_clock_is_no_step() {
        let mut watch = StepWatch::new(stamp(1_000_000, 500));
        assert_eq!(watch.observe(stamp(1_060_000, 60_500)), None);
    }

    #[test]
    fn names_size_and_direction_of_a_jump_once() {
        let mut watch = StepWatch::new(stamp(10_000_000, 0));
        let back = stamp(10_000_000 - 3_600_000 + 1_000, 1_000);
        assert_eq!(watch.observe(back), Some(Step { delta_ms: 3_600_000, forward: false }));
        assert_eq!(watch.observe(stamp(back.wall_ms + 10, 1_010)), None);
        let ahead = stamp(back.wall_ms + 10_000, 1_010);
        assert!(watch.observe(ahead).is_some_and(|step| step.forward));
    }

    #[test]
    fn drift_adds_up_to_a_step() {
        let mut watch = StepWatch::new(stamp(0, 0));
        assert_eq!(watch.observe(stamp(61_500, 60_000)), None);
        let step = watch.observe(stamp(123_000, 120_000));
        assert_eq!(step, Some(Step { delta_ms: 3_000, forward: true }));
    }
}
