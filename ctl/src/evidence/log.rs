//! Reading a log's lines in order, for those who make something of them.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use protocol::evidence::checkpoint::SignedCheckpoint;
use protocol::evidence::line::MAX_LINE;
use protocol::evidence::verify::{ACTIVE, ClosedName, HEAD};

use crate::fault::{Fault, Kind};

/// A log folder.
pub(super) struct Log {
    pub(super) folder: PathBuf,
    closed: Vec<ClosedName>,
}

/// A line where it lies: without its LF.
pub(super) struct Found<'a> {
    pub(super) seq: u64,
    pub(super) bytes: &'a [u8],
    /// Its segment.
    pub(super) file: &'a str,
    /// Its first byte's offset there.
    pub(super) offset: u64,
}

impl Log {
    /// The log in `folder`.
    pub(super) fn open(folder: &Path) -> Result<Self, Fault> {
        let read = |error| Fault::file("read", folder, &error);
        let mut closed = Vec::new();
        for entry in fs::read_dir(folder).map_err(read)? {
            let name = entry.map_err(read)?.file_name();
            closed.extend(name.to_str().and_then(ClosedName::parse));
        }
        closed.sort();
        if closed.first().is_some_and(|first| first.first > 1) {
            let what = "the first lines of this log are pruned, and proofs need every line";
            return Err(Fault::new(Kind::Refused, what, "use an unpruned copy of the log"));
        }
        Ok(Self { folder: folder.to_path_buf(), closed })
    }

    /// The newest checkpoint, as `head.note` has it; its signatures are not checked.
    pub(super) fn head(&self) -> Result<SignedCheckpoint, Fault> {
        let path = self.folder.join(HEAD);
        let bytes = fs::read(&path).map_err(|error| Fault::file("read", &path, &error))?;
        SignedCheckpoint::parse(&bytes).map_err(|error| {
            let what = format!("{}: {error}", path.display());
            Fault::new(Kind::Refused, what, "check the log with `waterwall-ctl verify-chain`")
        })
    }

    /// The number of the last line of a closed segment.
    pub(super) fn closed_at(&self, name: &str) -> Option<u64> {
        ClosedName::parse(name).map(|closed| closed.last)
    }

    /// The names of its segments, in order, each with how many lines it holds; the active one, whose
    /// lines nobody counted yet, is the last.
    fn segments(&self) -> Vec<(String, Option<u64>)> {
        let closed = self.closed.iter();
        let closed = closed.map(|it| (it.to_string(), Some(it.last - it.first + 1)));
        closed.chain([(ACTIVE.to_owned(), None)]).collect()
    }

    /// Shows lines 1 to `last` to `saw`, in order.
    pub(super) fn each(
        &self,
        last: u64,
        mut saw: impl FnMut(Found<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut seq = 0;
        for (name, lines) in self.segments() {
            let path = self.folder.join(&name);
            let unreadable = |error: io::Error| Fault::file("read", &path, &error);
            let mut file =
                BufReader::with_capacity(READ_AHEAD, File::open(&path).map_err(unreadable)?);
            let end = lines.map_or(last, |lines| last.min(seq + lines));
            let mut held = Vec::with_capacity(MAX_LINE + 1);
            let mut offset = 0;
            while seq < end {
                held.clear();
                let limit = MAX_LINE as u64 + 1;
                (&mut file).take(limit).read_until(b'\n', &mut held).map_err(unreadable)?;
                if held.pop() != Some(b'\n') {
                    return Err(short(seq, last));
                }
                seq += 1;
                saw(Found { seq, bytes: &held, file: &name, offset })?;
                offset += held.len() as u64 + 1;
            }
        }
        if seq < last { Err(short(seq, last)) } else { Ok(()) }
    }
}

fn short(have: u64, want: u64) -> Fault {
    let what = format!("the log holds {have} whole lines, where {want} are signed");
    Fault::new(Kind::Refused, what, "check the log with `waterwall-ctl verify-chain`")
}

const READ_AHEAD: usize = 256 * 1024;
