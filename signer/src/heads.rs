//! The high-water mark: size and root of the tree signed last, in two slots written by turns.
//!
//! A slot is one line of fixed length:
//!
//! ```text
//!   waterwall-head-v1 SEQUENCE SIZE ROOT CHECKSUM LF
//! ```
//!
//! with sequence and size in 20 decimal digits, the root and the SHA-256 of everything before the
//! checksum in hexadecimal. Sequence `n` goes to slot `n mod 2`, so a write that tears leaves the
//! head before it in the other slot.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::{fmt, io};

use aws_lc_rs::digest;
use protocol::evidence::hex;
use protocol::evidence::merkle::{Hash, empty_root};

use crate::vault::{Vault, VaultError};

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

/// Why the high-water mark is not known.
#[derive(Debug)]
pub enum HeadsError {
    /// A slot cannot be read or written.
    Vault(VaultError),
    /// Neither slot is whole.
    BothTorn,
    /// Both slots are whole and cannot both have been written here.
    Contradiction,
}

impl fmt::Display for HeadsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vault(error) => error.fmt(f),
            Self::BothTorn => f.write_str(
                "head.a and head.b: neither is whole, so what was signed last is not known",
            ),
            Self::Contradiction => {
                f.write_str("head.a and head.b contradict each other: one was replaced")
            }
        }
    }
}

impl std::error::Error for HeadsError {}

impl From<VaultError> for HeadsError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

/// The high-water mark, durable before it is believed.
#[derive(Debug)]
pub struct Heads {
    slots: [File; 2],
    saved: Saved,
}

impl Heads {
    /// Opens both slots, holding them against any other process, and saves the newer once more: a
    /// process that died may have left it in the page cache alone, and a head that a power cut
    /// takes back must never be answered for.
    ///
    /// # Errors
    ///
    /// See [`HeadsError`].
    pub fn open(vault: &Vault) -> Result<Self, HeadsError> {
        let slot = |name| vault.hold(name, OpenOptions::new().read(true).write(true));
        let slots = [slot(SLOTS[0])?, slot(SLOTS[1])?];
        let io = |error| HeadsError::Vault(VaultError::Io(vault.path("head.*"), error));
        let saved = newer(&content(&slots[0]).map_err(io)?, &content(&slots[1]).map_err(io)?)?;
        let mut heads = Self { slots, saved };
        heads.save(saved.head).map_err(io)?;
        Ok(heads)
    }

    /// The newer head, for looking at only: nothing is locked or written.
    ///
    /// # Errors
    ///
    /// See [`HeadsError`].
    pub fn peek(vault: &Vault) -> Result<Head, HeadsError> {
        let read = |name| {
            std::fs::read(vault.path(name)).map_err(|error| VaultError::Io(vault.path(name), error))
        };
        Ok(newer(&read(SLOTS[0])?, &read(SLOTS[1])?)?.head)
    }

    /// The head saved last.
    #[must_use]
    pub fn head(&self) -> Head {
        self.saved.head
    }

    /// Saves `head`, and returns once it is on the disk.
    ///
    /// # Errors
    ///
    /// What the system said. Whether the head was saved is then unknown, so this process may sign
    /// nothing further.
    pub fn save(&mut self, head: Head) -> io::Result<()> {
        let next = Saved { sequence: self.saved.sequence + 1, head };
        let slot = &self.slots[next.slot()];
        slot.write_all_at(next.encode().as_bytes(), 0)?;
        slot.sync_data()?;
        self.saved = next;
        Ok(())
    }
}

/// The content of both slots before anything was signed, by file name.
#[must_use]
pub fn initial() -> [(&'static str, String); 2] {
    let slot = |sequence: u64| Saved { sequence, head: Head::empty() }.encode();
    [(SLOTS[0], slot(0)), (SLOTS[1], slot(1))]
}

/// The files of the two slots.
pub const SLOTS: [&str; 2] = ["head.a", "head.b"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Saved {
    sequence: u64,
    head: Head,
}

impl Saved {
    fn slot(self) -> usize {
        usize::from(self.sequence % 2 == 1)
    }

    fn encode(self) -> String {
        let Self { sequence, head: Head { size, root } } = self;
        let fields = format!("{MAGIC} {sequence:020} {size:020} {} ", hex::encode(&root));
        let checksum = digest::digest(&digest::SHA256, fields.as_bytes());
        format!("{fields}{}\n", hex::encode(checksum.as_ref()))
    }

    /// What `slot` holds, if it is exactly as [`Self::encode`] writes it there.
    fn decode(bytes: &[u8], slot: usize) -> Option<Self> {
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

/// The newer of two slots.
fn newer(a: &[u8], b: &[u8]) -> Result<Saved, HeadsError> {
    match (Saved::decode(a, 0), Saved::decode(b, 1)) {
        (Some(a), Some(b)) if a.precedes(b) => Ok(b),
        (Some(a), Some(b)) if b.precedes(a) => Ok(a),
        (Some(_), Some(_)) => Err(HeadsError::Contradiction),
        (Some(only), None) | (None, Some(only)) => Ok(only),
        (None, None) => Err(HeadsError::BothTorn),
    }
}

fn content(slot: &File) -> io::Result<Vec<u8>> {
    // One byte more than a slot has, so that a longer file does not pass for a slot.
    let mut bytes = vec![0; Saved { sequence: 0, head: Head::empty() }.encode().len() + 1];
    let mut filled = 0;
    while filled < bytes.len() {
        match slot.read_at(&mut bytes[filled..], filled as u64)? {
            0 => break,
            length => filled += length,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

const MAGIC: &str = "waterwall-head-v1";

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::vault::{LOG_MODE, NewFile};

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
            assert!(matches!(newer(&bytes(a), &bytes(b)), Err(HeadsError::Contradiction)));
        }
        assert!(matches!(newer(b"", b"torn"), Err(HeadsError::BothTorn)));
        assert!(matches!(
            newer(&bytes(saved(7, 50)), &bytes(saved(6, 40))),
            Err(HeadsError::BothTorn)
        ));
    }

    /// Writes the first `at` bytes of saving `head` next, as a crash in the midst of it would.
    pub(crate) fn crash_while_saving(heads: &Heads, head: Head, at: usize) {
        let next = Saved { sequence: heads.saved.sequence + 1, head };
        let bytes = next.encode().into_bytes();
        heads.slots[next.slot()].write_all_at(&bytes[..at.min(bytes.len())], 0).unwrap();
    }

    pub(crate) fn vault() -> (tempfile::TempDir, Vault) {
        let home = tempfile::tempdir().unwrap();
        let vault = Vault::open_or_create(&home.path().join("state")).unwrap();
        let files = initial().map(|(name, content)| NewFile {
            name,
            mode: LOG_MODE,
            bytes: content.into_bytes().into(),
        });
        vault.commit(&files).unwrap();
        (home, vault)
    }

    #[test]
    fn survives_being_opened_again_after_a_torn_write_in_either_slot() {
        let (_home, vault) = vault();
        let mut heads = Heads::open(&vault).unwrap();
        assert_eq!(heads.head(), Head::empty());
        for size in 1..20 {
            heads.save(saved(0, size).head).unwrap();
            // The slot the next save would go to; the head must be in the other one.
            let next = vault.path(SLOTS[1 - heads.saved.slot()]);
            drop(heads);
            assert_eq!(Heads::peek(&vault).unwrap(), saved(0, size).head);
            fs::write(next, "torn").unwrap();
            heads = Heads::open(&vault).unwrap();
            assert_eq!(heads.head(), saved(0, size).head);
            // Saved once more, over the torn slot: the head is now in both.
            let slot = |index: usize| fs::read(vault.path(SLOTS[index])).unwrap();
            let [a, b] = [0, 1].map(|index| Saved::decode(&slot(index), index).unwrap().head);
            assert_eq!((a, b), (heads.head(), heads.head()));
        }
    }

    #[test]
    fn one_process_at_a_time() {
        let (_home, vault) = vault();
        let _held = Heads::open(&vault).unwrap();
        assert!(matches!(Heads::open(&vault), Err(HeadsError::Vault(VaultError::Busy(_)))));
    }
}
