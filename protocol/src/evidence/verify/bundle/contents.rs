//! The archive itself: read once for its form and its hashes, then member by member.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::super::report::{Failure, fail_anywhere, usage};
use super::super::{ACTIVE, FRAMEWORKS, HEAD, Source, unreadable};
use crate::evidence::archive::{ArchiveError, Reader};
use crate::evidence::bundle::{MANIFEST, NOTE, RANGE_LOG, SUMS};

/// Opens the archive at its first byte, as often as it takes.
pub type Opener<'a> = dyn Fn() -> io::Result<Box<dyn Read + 'a>> + 'a;

/// Most members.
const MOST_MEMBERS: usize = 65_536;

/// Most bytes of MANIFEST.json and SHA256SUMS each, and of any other file that is held in memory.
const MOST_PAPERS: u64 = 4 * 1024 * 1024;
const MOST_SMALL: u64 = 256 * 1024;

/// Most files that are held in memory.
const MOST_HELD: usize = 64;

/// What a bundle's archive holds.
pub(super) struct Contents<'a> {
    open: &'a Opener<'a>,
    members: BTreeMap<String, Stored>,
    held: BTreeMap<String, Vec<u8>>,
    cursor: RefCell<Option<(usize, Shared<'a>)>>,
}

/// A member's place, length and hash.
pub(super) struct Stored {
    index: usize,
    pub(super) size: u64,
    pub(super) sha256: [u8; 32],
}

type Shared<'a> = Rc<RefCell<Reading<'a>>>;

struct Reading<'a> {
    archive: Reader<Box<dyn Read + 'a>>,
    /// Index of the member that it stands in.
    index: usize,
}

impl<'a> Contents<'a> {
    /// Reads the whole archive: its form, the order of its members, every hash.
    pub(super) fn read(open: &'a Opener<'a>) -> Result<Self, Failure> {
        let mut archive = Reader::new(open().map_err(unreadable)?);
        let (mut members, mut held) = (BTreeMap::new(), BTreeMap::new());
        let mut last: Option<String> = None;
        while let Some(member) = archive.next_member().map_err(refused)? {
            let (index, name) = (members.len(), member.name);
            if !follows(&name, last.as_deref()) {
                let reason = "its members are not in the order that the format says";
                return Err(fail_anywhere("E_ARCHIVE", reason));
            }
            let bytes = keeps(&name, member.size, held.len())?;
            let (sha256, bytes) = digest(&mut archive, bytes)?;
            if let Some(bytes) = bytes {
                held.insert(name.clone(), bytes);
            }
            last = Some(name.clone());
            members.insert(name, Stored { index, size: member.size, sha256 });
            if members.len() > MOST_MEMBERS {
                return Err(fail_anywhere("E_LIMIT", "the archive has too many members"));
            }
        }
        Ok(Self { open, members, held, cursor: RefCell::new(None) })
    }

    pub(super) fn member(&self, name: &str) -> Option<&Stored> {
        self.members.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// A small file, in memory.
    pub(super) fn small(&self, name: &str) -> Option<&[u8]> {
        self.held.get(name).map(Vec::as_slice)
    }

    /// The contents of a member, where it is there. What was opened before can be read no more.
    pub(super) fn stream(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        let Some(wanted) = self.members.get(name).map(|stored| stored.index) else {
            return Ok(None);
        };
        let mut cursor = self.cursor.borrow_mut();
        // The archive is read on where that leads to the member, and else from its beginning.
        let (mut at, shared) = match cursor.take() {
            Some((at, shared)) if at <= wanted => (at, shared),
            _ => {
                let archive = Reader::new((self.open)()?);
                (0, Rc::new(RefCell::new(Reading { archive, index: usize::MAX })))
            }
        };
        while at <= wanted {
            let mut reading = shared.borrow_mut();
            let member = reading.archive.next_member()?;
            if at == wanted && member.is_none_or(|member| member.name != name) {
                return Err(io::Error::other("the archive changed while it was read"));
            }
            reading.index = at;
            at += 1;
        }
        let reader = MemberReader { shared: Rc::clone(&shared), index: wanted };
        *cursor = Some((at, shared));
        Ok(Some(Box::new(reader)))
    }
}

struct MemberReader<'a> {
    shared: Shared<'a>,
    index: usize,
}

impl Read for MemberReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut reading = self.shared.borrow_mut();
        if reading.index != self.index {
            return Err(io::Error::other("another member was opened meanwhile"));
        }
        reading.archive.read(into)
    }
}

/// A full bundle as the log directory that it was made from.
impl Source for Contents<'_> {
    fn names(&self) -> io::Result<Vec<String>> {
        let names = self.members.keys().filter_map(|name| name.strip_prefix("log/"));
        Ok(names.map(str::to_owned).collect())
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        if name == HEAD || name == FRAMEWORKS {
            return Ok(self.small(name).map(|bytes| Box::new(bytes) as Box<dyn Read>));
        }
        // Only lines: the tiles of a log are a cache, and none of a bundle's business.
        if name != ACTIVE && !name.ends_with(".jsonl") {
            return Ok(None);
        }
        self.stream(&format!("log/{name}"))
    }
}

/// The two papers first, the rest strictly ascending; so no name can be there twice.
fn follows(name: &str, last: Option<&str>) -> bool {
    let place = |name| match name {
        NOTE => 0,
        MANIFEST => 1,
        _ => 2,
    };
    last.is_none_or(|last| (place(last), last) < (place(name), name))
}

/// How many bytes of a member are held in memory.
fn keeps(name: &str, size: u64, held: usize) -> Result<Option<u64>, Failure> {
    let most = match name {
        MANIFEST | SUMS => MOST_PAPERS,
        NOTE | HEAD | FRAMEWORKS => MOST_SMALL,
        _ if name.starts_with("keys/") || name.ends_with(".proof") => MOST_SMALL,
        _ => return Ok(None),
    };
    if size > most || held >= MOST_HELD {
        return Err(fail_anywhere("E_LIMIT", "the bundle's papers are too long, or too many"));
    }
    Ok(Some(size))
}

fn digest(
    archive: &mut Reader<Box<dyn Read + '_>>,
    keep: Option<u64>,
) -> Result<([u8; 32], Option<Vec<u8>>), Failure> {
    let mut kept = keep.map(|_| Vec::new());
    let (mut sha256, mut chunk) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        let count = archive.read(&mut chunk).map_err(|error| {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<ArchiveError>()) {
                Some(ArchiveError::Form(what)) => refused(ArchiveError::Form(what)),
                Some(ArchiveError::Limit(what)) => refused(ArchiveError::Limit(what)),
                _ => unreadable(error),
            }
        })?;
        if count == 0 {
            return Ok((sha256.finalize().into(), kept));
        }
        sha256.update(&chunk[..count]);
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(&chunk[..count]);
        }
    }
}

fn refused(error: ArchiveError) -> Failure {
    match error {
        ArchiveError::Form(_) => fail_anywhere("E_ARCHIVE", error.to_string()),
        ArchiveError::Limit(_) => fail_anywhere("E_LIMIT", error.to_string()),
        ArchiveError::Io(error) => usage("E_IO", format!("cannot read: {error}")),
    }
}

/// Whether a member is one of lines.
pub(super) fn is_lines(name: &str) -> bool {
    name == RANGE_LOG || (name.starts_with("log/proxy") && name.ends_with(".jsonl"))
}
