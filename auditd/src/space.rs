//! How full the disk is, in the three states that matter.

use crate::storage::RESERVE;

const MIB: u64 = 1024 * 1024;

/// Below this much free space an operator is warned.
const LOW: u64 = 64 * MIB;

/// Below this much free space nothing may leave: room for one full group, and the reserve.
const SHUT: u64 = 2 * MIB + RESERVE;

/// Below this nothing is taken at all: what is left is for closing lines.
const FULL: u64 = RESERVE / 2;

/// Requests are let out again above this; the gap keeps giving back the reserve from looking like
/// recovery.
const REOPENED: u64 = SHUT + 2 * RESERVE;

/// The warning ends above this.
const RECOVERED: u64 = 80 * MIB;

/// How full the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// Enough.
    Ample,
    /// Someone should look.
    Low,
    /// Down to the reserve: requests are refused, closing lines still fit.
    Reserve,
}

impl Space {
    /// The state that `free` bytes lead to from this one.
    pub(crate) fn next(self, free: u64) -> Self {
        let shut = if self == Self::Reserve { REOPENED } else { SHUT };
        let low = if self == Self::Ample { LOW } else { RECOVERED };
        match free {
            _ if free < shut => Self::Reserve,
            _ if free < low => Self::Low,
            _ => Self::Ample,
        }
    }

    /// Whether there is room for closing lines only.
    pub(crate) fn is_full(free: u64) -> bool {
        free < FULL
    }

    /// Free space as a line says it.
    pub(crate) fn mib(free: u64) -> u64 {
        free / MIB
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_down_and_up_without_flapping() {
        let mut space = Space::Ample;
        let mut walk = |free| {
            space = space.next(free);
            space
        };
        assert_eq!(walk(100 * MIB), Space::Ample);
        assert_eq!(walk(70 * MIB), Space::Ample);
        assert_eq!(walk(63 * MIB), Space::Low);
        assert_eq!(walk(70 * MIB), Space::Low);
        assert_eq!(walk(SHUT - 1), Space::Reserve);
        assert_eq!(walk(SHUT - 1 + RESERVE), Space::Reserve);
        assert_eq!(walk(REOPENED), Space::Low);
        assert_eq!(walk(81 * MIB), Space::Ample);
    }
}
