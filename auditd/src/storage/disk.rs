//! The real directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statfs::{FsType, fstatfs};
use nix::sys::statvfs::fstatvfs;

use super::{LogFile, POLICIES, RESERVE, Storage};

/// File systems whose locks or flushes do not hold what the log needs.
const NETWORK: [(FsType, &str); 4] = [
    (FsType(0x6969), "nfs"),
    (FsType(0x517b), "smb"),
    (FsType(0xfe53_4d42), "smb2"),
    (FsType(0x0102_1997), "9p"),
];

/// A log directory on this machine.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    directory: File,
    policies: File,
    reserve: File,
}

impl Disk {
    /// Opens the directory, made where it is missing, with what must be held before confinement.
    ///
    /// # Errors
    ///
    /// When it cannot be made or opened, or lies on a network file system.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path.join(POLICIES))?;
        let directory = File::open(path)?;
        if let Some(name) = network_file_system(&directory)? {
            let text = format!("log directory on {name}: its locks and flushes are not reliable");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        Ok(Self {
            policies: File::open(path.join(POLICIES))?,
            reserve: appendable().create(true).open(path.join("reserve"))?,
            directory,
            path: path.to_owned(),
        })
    }

    /// Opens or makes the file whose lock stands for the whole directory.
    pub(crate) fn lock_file(&self) -> io::Result<DiskFile> {
        appendable().create(true).open(self.path.join("lock")).map(DiskFile)
    }
}

fn network_file_system(directory: &File) -> io::Result<Option<&'static str>> {
    let kind = fstatfs(directory)?.filesystem_type();
    Ok(NETWORK.iter().find(|(network, _)| *network == kind).map(|(_, name)| *name))
}

/// Group-readable, so that an operator in the log's group can verify without being root.
fn appendable() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o640);
    options
}

impl Storage for Disk {
    type File = DiskFile;

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path.join(folder))? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<DiskFile> {
        appendable().open(self.path.join(name)).map(DiskFile)
    }

    fn create(&self, name: &str) -> io::Result<DiskFile> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        appendable().create_new(true).open(path).map(DiskFile)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        if folder.is_empty() { self.directory.sync_all() } else { self.policies.sync_all() }
    }

    fn free(&self) -> io::Result<u64> {
        let stat = fstatvfs(&self.directory)?;
        Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    fn reserve(&self, claimed: bool) -> io::Result<()> {
        if !claimed {
            return self.reserve.set_len(0);
        }
        match fallocate(&self.reserve, FallocateFlags::empty(), 0, RESERVE.cast_signed()) {
            // Without fallocate the reserve is only the threshold below which egress is refused.
            Err(Errno::EOPNOTSUPP) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A file of a log directory on this machine.
#[derive(Debug)]
pub(crate) struct DiskFile(File);

impl LogFile for DiskFile {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn fdatasync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn lock(&self) -> io::Result<bool> {
        // Bound to the open file description: released by the kernel however the process ends,
        // not by the closing of some other descriptor of the same file, and blind to process ids.
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{append_all, replace};
    use super::*;

    #[test]
    fn a_second_description_of_a_locked_file_is_refused_until_the_first_closes() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        let first = disk.lock_file().unwrap();
        assert!(first.lock().unwrap());
        assert!(!disk.lock_file().unwrap().lock().unwrap());
        drop(first);
        assert!(disk.lock_file().unwrap().lock().unwrap());
    }

    #[test]
    fn replacing_leaves_one_whole_file_and_no_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        for text in ["old, and longer", "new"] {
            replace(&disk, "head.tmp", "head.note", text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(dir.path().join("head.note")).unwrap(), text);
        }
        assert!(!disk.list("").unwrap().contains(&String::from("head.tmp")));
    }

    #[test]
    fn reads_back_what_was_appended() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        let file = disk.create("proxy.jsonl").unwrap();
        append_all(&file, b"one\n").unwrap();
        append_all(&disk.open("proxy.jsonl").unwrap(), b"two\n").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(super::super::read_full(&file, &mut buffer, 2).unwrap(), 6);
        assert_eq!(&buffer[..6], b"e\ntwo\n");
    }

    #[test]
    fn a_given_back_reserve_takes_no_space() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        disk.reserve(true).unwrap();
        disk.reserve(false).unwrap();
        assert_eq!(fs::metadata(dir.path().join("reserve")).unwrap().len(), 0);
        disk.reserve(true).unwrap();
    }
}
