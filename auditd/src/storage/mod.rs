//! What the log asks of a disk, and nothing else: every durability claim is made through here, so
//! that tests can cut the power at each call.

use std::io;

mod disk;
#[cfg(test)]
pub(crate) mod model;

pub(crate) use disk::{Disk, DiskFile};
pub(crate) use protocol::evidence::verify::{ACTIVE, FRAMEWORKS, HEAD};

/// Where the next active file grows until it is renamed into place.
pub(crate) const NEXT: &str = "next";

/// Folder of policies by hash.
pub(crate) const POLICIES: &str = "policy";

/// Bytes kept aside, so that closing lines still fit on a full disk.
pub(crate) const RESERVE: u64 = 1024 * 1024;

/// The log directory.
///
/// Names are relative to it. Methods take `&self`: the writer and the sealer share one.
pub(crate) trait Storage: Send + Sync + 'static {
    /// An open file.
    type File: LogFile + std::fmt::Debug;

    /// Names of all plain files directly in `folder`, or in the log directory itself for `""`.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Opens an existing file to read and append.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Creates an empty file, in place of any leftover of that name.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Atomically replaces `to` by `from`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes names durable: those in `folder`, or in the log directory itself for `""`.
    fn sync_dir(&self, folder: &str) -> io::Result<()>;

    /// Bytes that can still be written.
    fn free(&self) -> io::Result<u64>;

    /// Claims [`RESERVE`] bytes, or gives them back for the closing lines.
    fn reserve(&self, claimed: bool) -> io::Result<()>;
}

/// One file of the log directory.
pub(crate) trait LogFile: Send + Sync + 'static {
    /// Appends with a single `write`; the count may be short.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Makes all appended bytes durable.
    fn fdatasync(&self) -> io::Result<()>;

    /// Reads at `offset`; 0 is the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Takes the exclusive lock that ends with the open file description; `false` if another holds it.
    fn lock(&self) -> io::Result<bool>;
}

/// Writes `bytes` durably under `name`: a reader sees the old contents or the new, never a mix.
///
/// `temporary` is on the same file system and of no value when a crash leaves it behind.
pub(crate) fn replace<S: Storage>(
    storage: &S,
    temporary: &str,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    let file = storage.create(temporary)?;
    append_all(&file, bytes)?;
    file.fdatasync()?;
    storage.rename(temporary, name)?;
    storage.sync_dir(name.rsplit_once('/').map_or("", |(folder, _)| folder))
}

/// Appends all of `bytes` with one `write`. A short one is an error and is not continued: nobody
/// knows which bytes a failing disk took.
pub(crate) fn append_all(file: &impl LogFile, bytes: &[u8]) -> io::Result<()> {
    loop {
        match file.append(bytes) {
            Ok(written) if written == bytes.len() => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads from `offset` until `buffer` is full or the file ends; says how much it got.
pub(crate) fn read_full(file: &impl LogFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// All bytes of a file, `None` where there are more than `cap`.
pub(crate) fn read_all(file: &impl LogFile, cap: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; cap + 1];
    let length = read_full(file, &mut bytes, 0)?;
    bytes.truncate(length);
    Ok((length <= cap).then_some(bytes))
}
