use std::io::{self, Write};

use flate2::{Compression, GzBuilder, write::GzEncoder};

use super::{BLOCK, is_name};

/// The header of a member; `None` where it has none.
pub(super) fn header(name: &str, size: u64) -> Option<[u8; BLOCK]> {
    // Eleven octal digits, as POSIX 1003.1-1988 has it; no extension for more.
    if !is_name(name) || size >= 1 << 33 {
        return None;
    }
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(header)
}

/// Writes an archive, the same bytes for the same members.
pub struct Writer<W: Write> {
    gzip: GzEncoder<W>,
    left: u64,
    padding: usize,
}

impl<W: Write> Writer<W> {
    /// An archive that goes to `sink`.
    pub fn new(sink: W) -> Self {
        // No name, no time: two exports of the same members are the same file.
        Self { gzip: GzBuilder::new().write(sink, Compression::default()), left: 0, padding: 0 }
    }

    /// A whole member.
    ///
    /// # Errors
    ///
    /// As [`Writer::begin`] and [`Write::write`].
    pub fn member(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.begin(name, bytes.len() as u64)?;
        self.write_all(bytes)
    }

    /// Begins a member of `size` bytes, which are then written.
    ///
    /// # Errors
    ///
    /// When the member before is not whole, `name` names no member, or writing fails.
    pub fn begin(&mut self, name: &str, size: u64) -> io::Result<()> {
        let wrong = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        if self.left > 0 {
            return Err(wrong("the member before is not whole"));
        }
        let header = header(name, size).ok_or_else(|| wrong("no name or size of a member"))?;
        self.pad()?;
        self.gzip.write_all(&header)?;
        self.left = size;
        self.padding = usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or(0);
        Ok(())
    }

    fn pad(&mut self) -> io::Result<()> {
        self.gzip.write_all(&[0; BLOCK][..std::mem::take(&mut self.padding)])
    }

    /// Ends the archive.
    ///
    /// # Errors
    ///
    /// When the last member is not whole, or writing fails.
    pub fn finish(mut self) -> io::Result<W> {
        if self.left > 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the last member is cut"));
        }
        self.pad()?;
        self.gzip.write_all(&[0; 2 * BLOCK])?;
        self.gzip.finish()
    }
}

impl<W: Write> Write for Writer<W> {
    /// Writes into the member begun last, and never beyond its end.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        if fits == 0 && !bytes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more than the member's size"));
        }
        let count = self.gzip.write(&bytes[..fits])?;
        self.left -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.gzip.flush()
    }
}
