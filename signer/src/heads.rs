//! The high-water mark on the signer's disk: held, saved by turns, and durable before it is believed.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::{fmt, io};

pub use protocol::evidence::high_water::{Head, SLOTS};
use protocol::evidence::high_water::{Saved, Unknown, newer};

use crate::vault::{Vault, VaultError};

/// Why the high-water mark is not known.
#[derive(Debug)]
pub enum HeadsError {
    /// A slot cannot be read or written.
    Vault(VaultError),
    /// The slots do not say.
    Unknown(Unknown),
}

impl fmt::Display for HeadsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vault(error) => error.fmt(f),
            Self::Unknown(unknown) => write!(
                f,
                "{unknown}: bring both back from a backup; where there is none, keep the log and this \
                 folder aside as evidence and begin anew with fresh ones"
            ),
        }
    }
}

impl std::error::Error for HeadsError {}

impl From<VaultError> for HeadsError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl From<Unknown> for HeadsError {
    fn from(unknown: Unknown) -> Self {
        Self::Unknown(unknown)
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

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;
    use crate::vault::{LOG_MODE, NewFile};

    fn saved(sequence: u64, size: u64) -> Saved {
        let root = std::array::from_fn(|i| size.to_be_bytes()[i % 8] ^ 0x5a);
        Saved { sequence, head: Head { size, root } }
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
