//! How often something may happen. Pure: the time is passed in.

use std::collections::VecDeque;
use std::time::Duration;

/// At most so many calls within any span of the given length.
#[derive(Debug)]
pub(crate) struct Window {
    most: usize,
    span: Duration,
    calls: VecDeque<Duration>,
}

impl Window {
    pub(crate) fn new(most: usize, span: Duration) -> Self {
        Self { most, span, calls: VecDeque::with_capacity(most) }
    }

    /// Whether a call at `now`, on a clock that never goes back, is within the limit. Only calls
    /// that are count.
    pub(crate) fn admits(&mut self, now: Duration) -> bool {
        while self.calls.front().is_some_and(|&first| first + self.span <= now) {
            self.calls.pop_front();
        }
        let admitted = self.calls.len() < self.most;
        if admitted {
            self.calls.push_back(now);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn refuses_the_call_over_the_limit_and_admits_again_after_the_span() {
        let mut window = Window::new(2, SECOND);
        assert!(window.admits(Duration::ZERO));
        assert!(window.admits(Duration::from_millis(999)));
        assert!(!window.admits(Duration::from_millis(999)));
        assert!(window.admits(SECOND));
        assert!(!window.admits(SECOND));
    }

    proptest! {
        #[test]
        fn no_span_ever_holds_more_than_the_limit(gaps in prop::collection::vec(0u64..700, 1..80)) {
            let mut window = Window::new(3, SECOND);
            let mut now = Duration::ZERO;
            let mut admitted = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                if window.admits(now) {
                    admitted.push(now);
                }
            }
            for (first, fourth) in admitted.iter().zip(admitted.iter().skip(3)) {
                prop_assert!(*fourth >= *first + SECOND);
            }
        }
    }
}
