//! The signer's high-water mark: size and root of the tree it signed last, in two slots written by
//! turns (evidence format 4.6). The signer writes it, and a verifier may ask it what was signed.
//!
//! A slot is a file of one line of fixed length:
//!
//! ```text
//!   waterwall-head-v1 SEQUENCE SIZE ROOT CHECKSUM LF
//! ```
//!
//! with sequence and size in 20 decimal digits, the root and the SHA-256 of everything before the
//! checksum in hexadecimal. Sequence `n` goes to slot `n mod 2`, so a write that tears leaves the
//! head before it in the other slot.

use std::fmt;

use sha2::{Digest, Sha256};

use super::hex;
use super::merkle::{Hash, empty_root};

/// The files of the two slots, in the signer's state folder.
pub const SLOTS: [&str; 2] = ["head.a", "head.b"];

/// A tree, by its size in leaves and its RFC 6962 root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

impl Head {
    /// The tree without leaves.
    #[must_use]
    pub fn empty() -> Self {
        Self { size: 0, root: empty_root() }
    }
}

/// A head as a slot holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// How many were saved before it.
    pub sequence: u64,
    /// What was signed last.
    pub head: Head,
}

impl Saved {
    /// Which of [`SLOTS`] it goes to.
    #[must_use]
    pub fn slot(self) -> usize {
        usize::from(self.sequence % 2 == 1)
    }

    /// The slot's content.
    #[must_use]
    pub fn encode(self) -> String {
        let Self { sequence, head: Head { size, root } } = self;
        let fields = format!("{MAGIC} {sequence:020} {size:020} {} ", hex::encode(&root));
        let checksum = Sha256::digest(fields.as_bytes());
        format!("{fields}{}\n", hex::encode(&checksum))
    }

    /// What `slot` holds, if it is exactly as [`Self::encode`] writes it there.
    #[must_use]
    pub fn decode(bytes: &[u8], slot: usize) -> Option<Self> {
        let line = std::str::from_utf8(bytes).ok()?;
        let mut fields = line.split(' ').skip(1);
        let sequence = fields.next()?.parse().ok()?;
        let size = fields.next()?.parse().ok()?;
        let root = hex::decode(fields.next()?)?;
        let saved = Self { sequence, head: Head { size, root } };
        (saved.encode() == line && saved.slot() == slot).then_some(saved)
    }

    /// Whether this can have been saved right before `next`.
    fn precedes(self, next: Self) -> bool {
        let grown = self.head.size < next.head.size || self.head == next.head;
        self.sequence.checked_add(1) == Some(next.sequence) && grown
    }
}

/// Why the slots do not say what was signed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// Neither slot is whole.
    BothTorn,
    /// Both slots are whole and cannot both have been written by one signer.
    Contradiction,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BothTorn => {
                "head.a and head.b: neither is whole, so what was signed last is not known"
            }
            Self::Contradiction => "head.a and head.b contradict each other: one was replaced",
        })
    }
}

impl std::error::Error for Unknown {}

/// The newer of the two slots' contents.
///
/// # Errors
///
/// [`Unknown`] where they do not say.
pub fn newer(a: &[u8], b: &[u8]) -> Result<Saved, Unknown> {
    match (Saved::decode(a, 0), Saved::decode(b, 1)) {
        (Some(a), Some(b)) if a.precedes(b) => Ok(b),
        (Some(a), Some(b)) if b.precedes(a) => Ok(a),
        (Some(_), Some(_)) => Err(Unknown::Contradiction),
        (Some(only), None) | (None, Some(only)) => Ok(only),
        (None, None) => Err(Unknown::BothTorn),
    }
}

const MAGIC: &str = "waterwall-head-v1";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn saved(sequence: u64, size: u64) -> Saved {
        let root = std::array::from_fn(|i| size.to_be_bytes()[i % 8] ^ 0x5a);
        Saved { sequence, head: Head { size, root } }
    }

    /// What a crash at `at` leaves of writing `new` over `old`, with `rest` for the bytes after it.
    fn torn(old: &str, new: &str, at: usize, rest: Option<u8>) -> Vec<u8> {
        let mut bytes = new.as_bytes()[..at].to_vec();
        match rest {
            None => bytes.extend_from_slice(&old.as_bytes()[at..]),
            Some(byte) => bytes.resize(old.len(), byte),
        }
        bytes
    }

    proptest! {
        #[test]
        fn a_slot_reads_back_as_written(sequence: u64, size: u64, root: [u8; 32]) {
            let saved = Saved { sequence, head: Head { size, root } };
            prop_assert_eq!(Saved::decode(saved.encode().as_bytes(), saved.slot()), Some(saved));
            prop_assert_eq!(Saved::decode(saved.encode().as_bytes(), 1 - saved.slot()), None);
        }

        #[test]
        fn no_changed_byte_goes_unnoticed(at in 0usize..170, flip in 1u8..) {
            let mut bytes = saved(7, 99).encode().into_bytes();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert_eq!(Saved::decode(&bytes, 1), None);
        }
    }

    /// Every byte at which a write can tear, with the old bytes, zeros or ones after the tear.
    #[test]
    fn a_write_torn_at_any_byte_leaves_the_head_before_or_after_it() {
        for first in [6, 7] {
            let (before, last) = (saved(first - 1, 40), saved(first, 50));
            let next = saved(first + 1, 60);
            let (old, new) = (before.encode(), next.encode());
            for at in 0..=new.len() {
                for rest in [None, Some(0), Some(0xff)] {
                    let slot = torn(&old, &new, at, rest);
                    let mut slots = [slot, last.encode().into_bytes()];
                    if next.slot() == 1 {
                        slots.swap(0, 1);
                    }
                    let found = newer(&slots[0], &slots[1]).unwrap();
                    let expected = if slots[next.slot()] == new.as_bytes() { next } else { last };
                    assert_eq!(found, expected, "torn at {at} with {rest:?}");
                }
            }
        }
    }

    #[test]
    fn refuses_slots_that_no_signer_can_have_written() {
        let bytes = |saved: Saved| saved.encode().into_bytes();
        let other_root =
            Saved { head: Head { root: [9; 32], ..saved(7, 50).head }, ..saved(7, 50) };
        for (a, b) in
            [(saved(6, 50), other_root), (saved(6, 51), saved(7, 50)), (saved(6, 40), saved(9, 50))]
        {
            assert!(matches!(newer(&bytes(a), &bytes(b)), Err(Unknown::Contradiction)));
        }
        assert!(matches!(newer(b"", b"torn"), Err(Unknown::BothTorn)));
        assert!(matches!(
            newer(&bytes(saved(7, 50)), &bytes(saved(6, 40))),
            Err(Unknown::BothTorn)
        ));
    }
}
