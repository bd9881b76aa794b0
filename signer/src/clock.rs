//! The one place that reads the clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Since the process started; never goes back.
    pub(crate) monotonic: Duration,
    /// Seconds since the Unix epoch, as the system has it.
    pub(crate) unix: u64,
}

/// Tells [`Now`].
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        Now { monotonic: self.started.elapsed(), unix: unix() }
    }
}

/// Seconds since the Unix epoch; 0 for a clock before it, at which no CA holds yet.
pub(crate) fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
