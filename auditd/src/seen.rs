//! Which events are already lines, so that a resubmission after a lost acknowledgement is
//! answered and not appended again.

use std::collections::{HashMap, VecDeque};

use protocol::append::RequestRef;

/// Lines remembered. A proxy resubmits what it holds unacknowledged, in order, before anything
/// new (its queue is bounded far below this), and a new proxy process has a new `inst`.
const CAPACITY: usize = 1 << 17;

/// The line types that carry a request number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// `redaction`
    Redaction,
    /// `scan_clean`
    ScanClean,
    /// `block`
    Block,
    /// `killswitch` with action `refused`
    Refused,
    /// `detokenization`
    Detokenization,
    /// `outcome`
    Outcome,
}

impl Kind {
    /// The lines of which a request has exactly one kind: what became of it on the way out.
    const DISPOSITIONS: [Self; 4] = [Self::Redaction, Self::ScanClean, Self::Block, Self::Refused];
}

/// What makes a line unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The request.
    pub(crate) at: RequestRef,
    /// The line's type.
    pub(crate) kind: Kind,
    /// Its part, 1 where the type has none.
    pub(crate) part: u64,
}

/// The newest lines by what makes them unique.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    lines: HashMap<Key, u64>,
    order: VecDeque<Key>,
}

impl Seen {
    /// Sequence number of the line, if it is there.
    pub(crate) fn get(&self, key: &Key) -> Option<u64> {
        self.lines.get(key).copied()
    }

    /// Whether the request already has a disposition of another kind. A second one would make
    /// the whole log fail verification, so it never gets in.
    pub(crate) fn contradicts(&self, key: &Key) -> bool {
        Kind::DISPOSITIONS.contains(&key.kind)
            && Kind::DISPOSITIONS.iter().any(|kind| {
                *kind != key.kind && self.lines.contains_key(&Key { kind: *kind, part: 1, ..*key })
            })
    }

    /// Remembers a line.
    pub(crate) fn insert(&mut self, key: Key, seq: u64) {
        if self.lines.insert(key, seq).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.lines.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(req_no: u64, kind: Kind) -> Key {
        Key { at: RequestRef { inst: [1; 8], req_no }, kind, part: 1 }
    }

    #[test]
    fn tells_parts_kinds_and_instances_apart() {
        let mut seen = Seen::default();
        seen.insert(key(1, Kind::Redaction), 7);
        assert_eq!(seen.get(&key(1, Kind::Redaction)), Some(7));
        assert_eq!(seen.get(&Key { part: 2, ..key(1, Kind::Redaction) }), None);
        assert_eq!(seen.get(&key(1, Kind::Outcome)), None);
        let other = Key { at: RequestRef { inst: [2; 8], req_no: 1 }, ..key(1, Kind::Redaction) };
        assert_eq!(seen.get(&other), None);
    }

    #[test]
    fn a_second_disposition_contradicts_and_an_outcome_does_not() {
        let mut seen = Seen::default();
        seen.insert(key(1, Kind::ScanClean), 7);
        assert!(seen.contradicts(&key(1, Kind::Redaction)));
        assert!(!seen.contradicts(&key(1, Kind::ScanClean)));
        assert!(!seen.contradicts(&key(1, Kind::Outcome)));
        assert!(!seen.contradicts(&key(2, Kind::Redaction)));
    }

    #[test]
    fn forgets_the_oldest_first_and_stays_bounded() {
        let mut seen = Seen::default();
        for n in 0..=CAPACITY as u64 {
            seen.insert(key(n, Kind::ScanClean), n);
        }
        assert_eq!(seen.get(&key(0, Kind::ScanClean)), None);
        assert_eq!(seen.get(&key(1, Kind::ScanClean)), Some(1));
        assert_eq!(seen.lines.len(), CAPACITY);
    }
}
