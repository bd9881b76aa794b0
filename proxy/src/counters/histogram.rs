//! How long things took, in buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in microseconds; a last one takes the rest.
pub(crate) const BOUNDS: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// Buckets, that of the rest included.
pub(crate) const BUCKETS: usize = BOUNDS.len() + 1;

/// How many durations fell into each bucket.
pub(crate) type Counts = [u64; BUCKETS];

/// The bucket of `took`.
pub(crate) fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
    BOUNDS.partition_point(|bound| *bound < micros)
}

/// The duration in milliseconds below which `share` of all lie, as far as buckets can tell: where
/// it would be if those of a bucket were spread evenly over it. `None` where there are none.
pub(crate) fn quantile(counts: &Counts, share: f64) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "counts of minutes are far below 2^52")]
    let rank = total as f64 * share;
    let mut below = 0.0;
    for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        let count = *count as f64;
        if below + count >= rank {
            let low = index.checked_sub(1).map_or(0, |before| BOUNDS[before]);
            // Of the rest, only the lower end is known.
            let high = BOUNDS.get(index).copied().unwrap_or(low);
            #[expect(clippy::cast_precision_loss, reason = "bounds are small")]
            let (low, high) = (low as f64 / 1000.0, high as f64 / 1000.0);
            return Some(low + (high - low) * ((rank - below) / count).clamp(0.0, 1.0));
        }
        below += count;
    }
    None
}

/// Durations since the start.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

impl Histogram {
    /// One more.
    pub(crate) fn observe(&self, took: Duration) {
        self.buckets[bucket(took)].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The counts, and the sum of all.
    pub(crate) fn read(&self) -> (Counts, Duration) {
        let counts = std::array::from_fn(|index| self.buckets[index].load(Ordering::Relaxed));
        (counts, Duration::from_nanos(self.nanos.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let of = |micros| bucket(Duration::from_micros(micros));
        assert_eq!((of(0), of(50), of(51), of(100)), (0, 0, 1, 1));
        assert_eq!(bucket(Duration::from_nanos(50_001)), 1);
        assert_eq!(of(10_000_000), BUCKETS - 2);
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn counts_and_sums() {
        let histogram = Histogram::default();
        for micros in [10, 60, 60, 20_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let (counts, sum) = histogram.read();
        assert_eq!((counts[0], counts[1], counts[BUCKETS - 1]), (1, 2, 1));
        assert_eq!(sum, Duration::from_micros(20_000_130));
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        assert_eq!(quantile(&[0; BUCKETS], 0.5), None);
        let mut counts = [0; BUCKETS];
        counts[4] = 100;
        let near = |value: Option<f64>, wanted: f64| (value.unwrap() - wanted).abs() < 1e-9;
        assert!(near(quantile(&counts, 0.5), 0.75));
        assert!(near(quantile(&counts, 1.0), 1.0));
        counts[BUCKETS - 1] = 900;
        assert!(near(quantile(&counts, 0.99), 10_000.0));
    }
}
