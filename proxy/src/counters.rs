//! What happened since the start, in numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// All counters. None holds anything of a request but how often.
#[derive(Debug, Default)]
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
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    /// One refusal of this code.
    pub(crate) fn refuse(&self, code: &'static str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused.entry(code).or_default() += 1;
    }

    /// Refusals by code.
    pub(crate) fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
