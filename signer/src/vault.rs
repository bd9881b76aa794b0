//! The state folder: who may read it, and how new files come into it all at once.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fmt, str};

use nix::libc;
use nix::unistd::{Gid, Uid};
use zeroize::Zeroizing;

/// Why the state folder is not to be used.
#[derive(Debug)]
pub enum VaultError {
    /// The system refused.
    Io(PathBuf, io::Error),
    /// Another signer, or an `init`, works in it.
    Busy(PathBuf),
    /// It belongs to somebody else.
    Owner {
        /// What does.
        path: PathBuf,
        /// Its uid.
        found: u32,
        /// The uid it must have.
        expected: u32,
    },
    /// Its permissions are not exactly the expected ones.
    Mode {
        /// What has them.
        path: PathBuf,
        /// Those found.
        found: u32,
        /// Those it must have.
        expected: u32,
    },
    /// Not a plain file, too large, or no text.
    NotAKeyFile(PathBuf),
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) if error.kind() == io::ErrorKind::NotFound => write!(
                f,
                "{}: is missing: bring it back from a backup, or make a new folder with \
                 `waterwall-signer init`",
                path.display()
            ),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Busy(path) => write!(f, "{}: another signer uses it", path.display()),
            Self::Owner { path, found, expected } => {
                let path = path.display();
                write!(
                    f,
                    "{path}: belongs to uid {found}, not to uid {expected}: run this as its owner, \
                     or chown it"
                )
            }
            Self::Mode { path, found, expected } => {
                let path = path.display();
                write!(
                    f,
                    "{path}: mode {found:04o}, must be {expected:04o}: chmod it, if you are sure \
                     that nobody else has read or changed it"
                )
            }
            Self::NotAKeyFile(path) => write!(f, "{}: not a small text file", path.display()),
        }
    }
}

impl std::error::Error for VaultError {}

/// A state folder whose owner and mode are right.
#[derive(Debug)]
pub struct Vault {
    path: PathBuf,
    owner: (Uid, Gid),
}

impl Vault {
    /// Opens an existing folder. It must have mode 0700 and be the caller's own; root may open
    /// anybody's, and then its files must be that owner's.
    ///
    /// # Errors
    ///
    /// [`VaultError::Owner`], [`VaultError::Mode`], or what the system said.
    pub fn open(path: &Path) -> Result<Self, VaultError> {
        let facts =
            fs::symlink_metadata(path).map_err(|error| VaultError::Io(path.to_owned(), error))?;
        let own = Uid::effective();
        if !own.is_root() && facts.uid() != own.as_raw() {
            let (found, expected) = (facts.uid(), own.as_raw());
            return Err(VaultError::Owner { path: path.to_owned(), found, expected });
        }
        let found = facts.mode() & PERMISSIONS;
        if !facts.is_dir() || found != FOLDER_MODE {
            return Err(VaultError::Mode { path: path.to_owned(), found, expected: FOLDER_MODE });
        }
        let owner = (Uid::from_raw(facts.uid()), Gid::from_raw(facts.gid()));
        Ok(Self { path: path.to_owned(), owner })
    }

    /// As [`Self::open`], and not even root may open another's: what `serve` writes there must be
    /// the owner's.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn open_own(path: &Path) -> Result<Self, VaultError> {
        let vault = Self::open(path)?;
        let (found, expected) = (vault.owner.0.as_raw(), Uid::effective().as_raw());
        if found == expected {
            Ok(vault)
        } else {
            Err(VaultError::Owner { path: path.to_owned(), found, expected })
        }
    }

    /// As [`Self::open`], making the folder first where there is none.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn open_or_create(path: &Path) -> Result<Self, VaultError> {
        let failed = |error| VaultError::Io(path.to_owned(), error);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match DirBuilder::new().mode(FOLDER_MODE).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
            _ => Self::open(path),
        }
    }

    /// The path of the file `name`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Keeps everybody else from making files here until the guard is dropped.
    ///
    /// # Errors
    ///
    /// [`VaultError::Busy`] when somebody does already.
    pub fn lock(&self) -> Result<File, VaultError> {
        let folder =
            File::open(&self.path).map_err(|error| VaultError::Io(self.path.clone(), error))?;
        lock(folder, &self.path)
    }

    /// Whether the file `name` exists.
    ///
    /// # Errors
    ///
    /// Whatever the system says but "not found".
    pub fn has(&self, name: &str) -> Result<bool, VaultError> {
        match fs::symlink_metadata(self.path(name)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(VaultError::Io(self.path(name), error)),
        }
    }

    /// Reads a file of mode 0400 that belongs to the folder's owner.
    ///
    /// # Errors
    ///
    /// When owner, mode or kind are not right: a key that others could read or replace is none.
    pub fn read(&self, name: &str) -> Result<Zeroizing<String>, VaultError> {
        let path = self.path(name);
        let file = self.checked(&path, OpenOptions::new().read(true), KEY_MODE)?;
        // All of it at once, so that no growing buffer leaves copies of the key behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST_KEY_FILE + 1));
        file.take(LARGEST_KEY_FILE as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| VaultError::Io(path.clone(), error))?;
        match str::from_utf8(&bytes) {
            Ok(text) if bytes.len() <= LARGEST_KEY_FILE => Ok(Zeroizing::new(text.to_owned())),
            _ => Err(VaultError::NotAKeyFile(path)),
        }
    }

    /// Opens a file of mode 0600 that belongs to the folder's owner, for reading and for writing
    /// as `options` say, and locks it for this process alone.
    ///
    /// # Errors
    ///
    /// When owner, mode or kind are not right, or another process holds it.
    pub fn hold(&self, name: &str, options: &mut OpenOptions) -> Result<File, VaultError> {
        let path = self.path(name);
        lock(self.checked(&path, options, LOG_MODE)?, &path)
    }

    fn checked(
        &self,
        path: &Path,
        options: &mut OpenOptions,
        expected: u32,
    ) -> Result<File, VaultError> {
        let failed = |error| VaultError::Io(path.to_owned(), error);
        let file = options.custom_flags(libc::O_NOFOLLOW).open(path).map_err(failed)?;
        let facts = file.metadata().map_err(failed)?;
        if !facts.is_file() {
            return Err(VaultError::NotAKeyFile(path.to_owned()));
        }
        if facts.uid() != self.owner.0.as_raw() {
            let (found, expected) = (facts.uid(), self.owner.0.as_raw());
            return Err(VaultError::Owner { path: path.to_owned(), found, expected });
        }
        let found = facts.mode() & PERMISSIONS;
        if found != expected {
            return Err(VaultError::Mode { path: path.to_owned(), found, expected });
        }
        Ok(file)
    }

    /// Brings all of `files` into the folder, or none of them, whenever the power goes.
    ///
    /// They are written and flushed in a folder of their own, whose renaming is the decision; what
    /// is left to move after it, [`Self::settle`] moves, now or in the next run.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn commit(&self, files: &[NewFile]) -> Result<(), VaultError> {
        let making = self.path(MAKING);
        self.commit_in(&making, files).map_err(|error| VaultError::Io(making, error))?;
        self.settle()
    }

    fn commit_in(&self, making: &Path, files: &[NewFile]) -> io::Result<()> {
        DirBuilder::new().mode(FOLDER_MODE).create(making)?;
        for new in files {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(new.mode)
                .open(making.join(new.name))?;
            file.set_permissions(fs::Permissions::from_mode(new.mode))?;
            if Uid::effective().is_root() {
                nix::unistd::fchown(&file, Some(self.owner.0), Some(self.owner.1))?;
            }
            file.write_all(&new.bytes)?;
            file.sync_all()?;
        }
        File::open(making)?.sync_all()?;
        fs::rename(making, self.path(MADE))?;
        File::open(&self.path)?.sync_all()
    }

    /// Finishes or forgets what an interrupted [`Self::commit`] left.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn settle(&self) -> Result<(), VaultError> {
        let (making, made) = (self.path(MAKING), self.path(MADE));
        if self.has(MAKING)? {
            fs::remove_dir_all(&making).map_err(|error| VaultError::Io(making, error))?;
        }
        if self.has(MADE)? {
            self.settle_from(&made).map_err(|error| VaultError::Io(made, error))?;
        }
        Ok(())
    }

    fn settle_from(&self, made: &Path) -> io::Result<()> {
        for entry in fs::read_dir(made)? {
            let name = entry?.file_name();
            fs::rename(made.join(&name), self.path.join(&name))?;
        }
        fs::remove_dir(made)?;
        File::open(&self.path)?.sync_all()
    }
}

/// A file to come into the folder.
pub struct NewFile {
    /// Its name.
    pub name: &'static str,
    /// Its permissions.
    pub mode: u32,
    /// Its content.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// The lock goes with the descriptor, so it needs no call that a confined process may not make.
fn lock(file: File, path: &Path) -> Result<File, VaultError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(VaultError::Busy(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(VaultError::Io(path.to_owned(), error)),
    }
}

/// Permissions of everything that is written once.
pub const KEY_MODE: u32 = 0o400;

/// Permissions of what changes.
pub const LOG_MODE: u32 = 0o600;

const FOLDER_MODE: u32 = 0o700;

const PERMISSIONS: u32 = 0o7777;

/// In bytes; an RSA-4096 key takes 3.3 KB.
const LARGEST_KEY_FILE: usize = 64 * 1024;

/// Where new files are written: undecided, and dropped by the next run.
const MAKING: &str = ".making";

/// The same folder once the files are decided.
const MADE: &str = ".made";

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Vault) {
        let home = tempfile::tempdir().unwrap();
        let vault = Vault::open_or_create(&home.path().join("state")).unwrap();
        (home, vault)
    }

    fn files() -> Vec<NewFile> {
        ["one", "two"]
            .map(|name| NewFile { name, mode: KEY_MODE, bytes: name.as_bytes().to_vec().into() })
            .into()
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn brings_in_all_files_with_their_mode() {
        let (_home, vault) = folder();
        vault.commit(&files()).unwrap();
        assert_eq!(vault.read("one").unwrap().as_str(), "one");
        assert_eq!(vault.read("two").unwrap().as_str(), "two");
        assert_eq!(fs::read_dir(&vault.path).unwrap().count(), 2);
    }

    #[test]
    fn refuses_a_key_that_others_can_read_and_a_link_to_one() {
        let (_home, vault) = folder();
        vault.commit(&files()).unwrap();
        for mode in [0o440, 0o404, 0o600, 0o4400] {
            chmod(&vault.path("one"), mode);
            let error = vault.read("one").unwrap_err();
            assert!(
                matches!(error, VaultError::Mode { found, expected: 0o400, .. } if found == mode)
            );
        }
        std::os::unix::fs::symlink(vault.path("two"), vault.path("link")).unwrap();
        assert!(matches!(vault.read("link"), Err(VaultError::Io(..))));
    }

    #[test]
    fn refuses_a_folder_that_others_can_enter() {
        let (home, vault) = folder();
        chmod(&vault.path, 0o750);
        assert!(matches!(Vault::open(&vault.path), Err(VaultError::Mode { found: 0o750, .. })));
        std::os::unix::fs::symlink(&vault.path, home.path().join("link")).unwrap();
        assert!(matches!(Vault::open(&home.path().join("link")), Err(VaultError::Mode { .. })));
    }

    #[test]
    fn forgets_files_that_were_never_decided() {
        let (_home, vault) = folder();
        fs::create_dir(vault.path(MAKING)).unwrap();
        fs::write(vault.path(MAKING).join("one"), "half").unwrap();
        vault.settle().unwrap();
        assert_eq!(fs::read_dir(&vault.path).unwrap().count(), 0);
    }

    #[test]
    fn finishes_moving_files_that_were_decided() {
        let (_home, vault) = folder();
        vault.commit_in(&vault.path(MAKING), &files()).unwrap();
        fs::rename(vault.path(MADE).join("one"), vault.path("one")).unwrap();
        vault.settle().unwrap();
        assert_eq!(vault.read("one").unwrap().as_str(), "one");
        assert_eq!(vault.read("two").unwrap().as_str(), "two");
        assert_eq!(fs::read_dir(&vault.path).unwrap().count(), 2);
    }

    #[test]
    fn lets_one_process_hold_a_file() {
        let (_home, vault) = folder();
        let log = NewFile { name: "log", mode: LOG_MODE, bytes: Vec::new().into() };
        vault.commit(&[log]).unwrap();
        let held = vault.hold("log", OpenOptions::new().append(true)).unwrap();
        let second = vault.hold("log", OpenOptions::new().append(true));
        assert!(matches!(second, Err(VaultError::Busy(_))));
        drop(held);
        vault.hold("log", OpenOptions::new().append(true)).unwrap();
    }
}
