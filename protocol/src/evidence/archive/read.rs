use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

use super::write::header;
use super::{BLOCK, MAX_NAME, RECORD};

/// Longest member, in bytes.
pub const MAX_MEMBER: u64 = 512 * 1024 * 1024;

/// Longest archive, in bytes, unpacked.
pub const MAX_TOTAL: u64 = 1024 * 1024 * 1024;

/// Most bytes that one byte may become …
pub const MAX_RATIO: u64 = 200;

/// … once this many have come out.
const RATIO_FROM: u64 = 16 * 1024 * 1024;

/// Why bytes are not an archive.
#[derive(Debug)]
pub enum ArchiveError {
    /// They are none, or one of another kind.
    Form(&'static str),
    /// They would become more than is read.
    Limit(&'static str),
    /// They could not be read.
    Io(io::Error),
}

impl std::fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Form(what) => write!(f, "not an evidence archive: {what}"),
            Self::Limit(what) => write!(f, "archive exceeds a limit: {what}"),
            Self::Io(error) => write!(f, "cannot read: {error}"),
        }
    }
}

impl std::error::Error for ArchiveError {}

impl From<ArchiveError> for io::Error {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Io(error) => error,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// One member's name and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its path within the archive.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
}

/// Reads an archive from its first member to its last, once.
pub struct Reader<R> {
    gzip: GzDecoder<BufReader<Counted<R>>>,
    /// Bytes that came out so far.
    total: u64,
    left: u64,
    padding: usize,
    checked_head: bool,
}

struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.read += count as u64;
        Ok(count)
    }
}

impl<R: Read> Reader<R> {
    /// An archive that comes from `source`.
    pub fn new(source: R) -> Self {
        let source = BufReader::with_capacity(64 * 1024, Counted { inner: source, read: 0 });
        let gzip = GzDecoder::new(source);
        Self { gzip, total: 0, left: 0, padding: 0, checked_head: false }
    }

    /// The next member, whose contents [`Read::read`] then gives; `None` after the last, when the
    /// archive was sound to its last byte. What is left of the member before is skipped.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`], after which nothing more may be read.
    pub fn next_member(&mut self) -> Result<Option<Member>, ArchiveError> {
        let mut skipped = [0; 8 * BLOCK];
        while self.left > 0 {
            self.content(&mut skipped)?;
        }
        let mut padding = [0; BLOCK];
        let length = std::mem::take(&mut self.padding);
        self.exactly(&mut padding[..length])?;
        if padding != [0; BLOCK] {
            return Err(ArchiveError::Form("padding that is not zero"));
        }
        let mut block = [0; BLOCK];
        self.exactly(&mut block)?;
        if !self.checked_head {
            self.check_gzip_head()?;
        }
        if block == [0; BLOCK] {
            return self.end().map(|()| None);
        }
        let member = member_of(&block).ok_or(ArchiveError::Form("a header of another kind"))?;
        if member.size > MAX_MEMBER {
            return Err(ArchiveError::Limit("a member's size"));
        }
        self.left = member.size;
        let padded = member.size.next_multiple_of(BLOCK as u64);
        self.padding = usize::try_from(padded - member.size).unwrap_or(0);
        Ok(Some(member))
    }

    /// The second zero block, less than a record of zeros, the end of the gzip member and of all.
    fn end(&mut self) -> Result<(), ArchiveError> {
        let mut block = [0; BLOCK];
        self.exactly(&mut block)?;
        let mut zeros = vec![0; RECORD + 1];
        let mut length = 0;
        loop {
            match self.some(&mut zeros[length..])? {
                0 => break,
                count => length += count,
            }
            if length > RECORD {
                return Err(ArchiveError::Form("bytes after the end"));
            }
        }
        if block != [0; BLOCK] || zeros[..length].iter().any(|byte| *byte != 0) {
            return Err(ArchiveError::Form("bytes after the end"));
        }
        let rest = self.gzip.get_mut().fill_buf().map_err(ArchiveError::Io)?;
        if rest.is_empty() {
            Ok(())
        } else {
            Err(ArchiveError::Form("bytes after the gzip member"))
        }
    }

    /// A gzip header with a name, a comment or an extra field has room for what nobody checks.
    fn check_gzip_head(&mut self) -> Result<(), ArchiveError> {
        self.checked_head = true;
        let plain = self.gzip.header().is_some_and(|header| {
            header.filename().is_none()
                && header.comment().is_none()
                && header.extra().is_none()
                && header.mtime() == 0
        });
        if plain { Ok(()) } else { Err(ArchiveError::Form("a gzip header with more in it")) }
    }

    fn exactly(&mut self, into: &mut [u8]) -> Result<(), ArchiveError> {
        let mut filled = 0;
        while filled < into.len() {
            match self.some(&mut into[filled..])? {
                0 => return Err(ArchiveError::Form("cut short")),
                count => filled += count,
            }
        }
        Ok(())
    }

    /// Some bytes of the tar stream; none at its end.
    fn some(&mut self, into: &mut [u8]) -> Result<usize, ArchiveError> {
        let count = self.gzip.read(into).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::Form("cut short"),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                ArchiveError::Form("damaged gzip")
            }
            _ => ArchiveError::Io(error),
        })?;
        self.total += count as u64;
        let taken = self.gzip.get_ref().get_ref().read;
        if self.total > MAX_TOTAL {
            return Err(ArchiveError::Limit("its size unpacked"));
        }
        if self.total > RATIO_FROM && self.total / MAX_RATIO > taken {
            return Err(ArchiveError::Limit("its size unpacked for its size packed"));
        }
        Ok(count)
    }

    fn content(&mut self, into: &mut [u8]) -> Result<usize, ArchiveError> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        if wanted == 0 {
            return Ok(0);
        }
        match self.some(&mut into[..wanted])? {
            0 => Err(ArchiveError::Form("cut short")),
            count => {
                self.left -= count as u64;
                Ok(count)
            }
        }
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(self.content(into)?)
    }
}

/// The member that a header is of, if it is exactly the header of that member.
fn member_of(block: &[u8; BLOCK]) -> Option<Member> {
    // A name that fills its field has no NUL after it.
    let length = block[..MAX_NAME].iter().position(|byte| *byte == 0).unwrap_or(MAX_NAME);
    let name = &block[..length];
    let name = str::from_utf8(name).ok()?;
    let octal = str::from_utf8(&block[124..135]).ok()?;
    let size = u64::from_str_radix(octal, 8).ok()?;
    let expected = header(name, size)?;
    (expected == *block).then(|| Member { name: name.to_owned(), size })
}
