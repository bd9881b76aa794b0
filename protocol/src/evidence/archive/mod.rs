//! The one kind of archive that evidence travels in: `ustar` in a single gzip member, written in one
//! way only and read in no other.
//!
//! Archives have been read in two ways by two readers since there were archives: extended headers
//! that rename a member, sizes told twice, links that lead elsewhere. So a header here must be, byte
//! for byte, the one that [`write::header`] makes of its name and size: a plain file, mode 0644, no owner,
//! no time. Nothing is ever unpacked to a path.

mod read;
mod write;

pub use read::{ArchiveError, MAX_MEMBER, MAX_RATIO, MAX_TOTAL, Member, Reader};
pub use write::Writer;

/// Length of a header, and what contents are padded to.
const BLOCK: usize = 512;

/// Longest name, in bytes: that of the header's first field.
const MAX_NAME: usize = 100;

/// What GNU tar pads archives to, and so the most zeros that may follow the end.
const RECORD: usize = 10 * 1024;

/// Whether `name` may name a member: a relative path of plain names.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+@".contains(&byte);
    let is_part =
        |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(allowed);
    name.len() <= MAX_NAME && name.split('/').all(is_part)
}

#[cfg(test)]
mod tests;
