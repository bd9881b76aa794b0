//! From segments to lines: closed ones, debris, the active one, and what pruning left.

use std::io::Read;

use sha2::{Digest, Sha256};

use super::super::keys::{Keys, PinnedKey};
use super::super::report::{Failure, fail, usage};
use super::super::segments::{ClosedName, Lines, Piece};
use super::super::{Options, tiles, unreadable};
use super::{Limits, Walk, gap};
use crate::evidence::body::{Genesis, Recovery};
use crate::evidence::canonical::NotCanonical;
use crate::evidence::line::{self, Line, LineError};
use crate::evidence::merkle::Frontier;

/// Why a blank line is no line.
const BLANK: LineError = LineError::NotCanonical(NotCanonical::Form { at: 0 });

/// Bytes at the end of a closed segment that are no lines.
pub(super) struct Debris {
    file: String,
    offset: u64,
    pub(super) length: u64,
    sha256: [u8; 32],
}

impl Walk<'_> {
    /// Starts at line `first`: the leaves before it come from the tiles, the keys from the auditor.
    pub(in crate::evidence::verify) fn resume_after_prune(
        &mut self,
        first: u64,
        options: &Options,
        head_origin: Option<&str>,
    ) -> Result<(), Failure> {
        let gone = first - 1;
        let missing = || fail("E_SEGMENT_GAP", 1, format!("lines 1 to {gone} are missing"));
        let width = tiles::WIDTH as u64;
        for index in 0..gone.div_ceil(width) {
            let wanted = usize::try_from(width.min(gone - index * width)).unwrap_or(tiles::WIDTH);
            let hashes = tiles::at_least(self.source, index, wanted).map_err(unreadable)?;
            hashes.ok_or_else(missing)?.into_iter().for_each(|leaf| self.grow(leaf));
        }
        let key = match &options.pinned {
            PinnedKey::Named(key) => Some(key.clone()),
            PinnedKey::Bare(_) => head_origin.and_then(|name| options.pinned.named(name)),
        };
        let no_name = || usage("E_NO_ORIGIN", "a pruned log needs its head.note, or a pinned vkey");
        self.keys = Some(Keys::of_pinned(key.ok_or_else(no_name)?));
        self.requests.begin_anywhere();
        self.sessions.begin_at(first);
        self.first_seq = first;
        self.prev_hash = None;
        Ok(())
    }

    /// Starts in the middle of a log: its edge and its keys were proven in other ways.
    pub(in crate::evidence::verify) fn resume_at(
        &mut self,
        edge: Frontier,
        keys: Keys,
        genesis: &Genesis,
    ) -> Result<(), Failure> {
        let first = edge.size() + 1;
        self.load_tags(genesis.frameworks_hash)?;
        self.limits = Limits::of(genesis);
        self.frontier = edge;
        self.first_seq = first;
        if first > 1 {
            self.keys = Some(keys);
            self.prev_hash = None;
            self.requests.begin_anywhere();
            self.sessions.begin_at(first);
        }
        Ok(())
    }

    /// Reads the lines of a range: whole lines and nothing else.
    pub(in crate::evidence::verify) fn range(&mut self, file: impl Read) -> Result<(), Failure> {
        let torn = self.active_segment(file, false)?;
        let seq = self.next_seq();
        if torn || self.lines() == 0 {
            return Err(fail("E_CANONICAL", seq, "the last line of the range is not whole"));
        }
        Ok(())
    }

    /// Reads a closed segment.
    pub(in crate::evidence::verify) fn closed_segment(
        &mut self,
        file: impl Read,
        name: &ClosedName,
    ) -> Result<(), Failure> {
        let next = self.next_seq();
        if name.first > next {
            return Err(gap(next, name.first - 1));
        }
        if name.first < next {
            return Err(fail("E_SEGMENT_NAME", next, "two segments claim the same lines"));
        }
        self.begin_segment(Some(name.clone()));
        let mut lines = Lines::new(file);
        while self.next_seq() <= name.last {
            match lines.next_piece().map_err(unreadable)? {
                Piece::Line(bytes) => self.take(bytes)?,
                Piece::TooLong(_) => return Err(self.refused(LineError::TooLong)),
                Piece::Partial(_) | Piece::End => return Err(gap(self.next_seq(), name.last)),
            }
        }
        self.debris = Some(self.rest_of(lines, name)?);
        Ok(())
    }

    /// Reads the segment that is still written to; true when its last line is not whole.
    pub(in crate::evidence::verify) fn active_segment(
        &mut self,
        file: impl Read,
        live: bool,
    ) -> Result<bool, Failure> {
        self.begin_segment(None);
        let mut lines = Lines::new(file);
        let mut blank = false;
        loop {
            let piece = lines.next_piece().map_err(unreadable)?;
            match piece {
                Piece::End => return Ok(false),
                _ if blank => return Err(self.refused(BLANK)),
                // A file of one LF is an empty log; a blank line before others is not a line.
                Piece::Line([]) if self.size() == 0 => blank = true,
                Piece::Line(bytes) => self.take(bytes)?,
                Piece::TooLong(_) => return Err(self.refused(LineError::TooLong)),
                Piece::Partial(_) if live => {
                    self.warn("W_PARTIAL_TAIL", "the last line is still being written");
                    return Ok(false);
                }
                Piece::Partial(_) => return Ok(true),
            }
        }
    }

    /// Whether the last segment ends in bytes that no later one declares as debris.
    pub(in crate::evidence::verify) fn ends_in_debris(&self) -> bool {
        self.debris.as_ref().is_some_and(|debris| debris.length > 0)
    }

    fn begin_segment(&mut self, name: Option<ClosedName>) {
        self.segments += 1;
        self.segment_starts = true;
        self.named = name;
        let first = self.next_seq();
        if let Some(tally) = &mut self.tally {
            tally.begin_file(first);
        }
    }

    /// What follows the last line of a closed segment. Nothing there may be a line.
    fn rest_of(
        &mut self,
        mut lines: Lines<impl Read>,
        name: &ClosedName,
    ) -> Result<Debris, Failure> {
        let next = self.next_seq();
        let (mut sha256, mut length, mut offset) = (Sha256::new(), 0, None);
        loop {
            let (bytes, end): (&[u8], &[u8]) = match lines.next_piece().map_err(unreadable)? {
                Piece::Line(bytes) => {
                    let continues = |line: Line| {
                        line.seq == next && self.prev_hash.is_none_or(|hash| line.prev_hash == hash)
                    };
                    if length == 0 && line::parse(bytes).is_ok_and(continues) {
                        let reason = "what is passed off as debris begins with a valid line";
                        return Err(fail("E_DEBRIS_VALID_LINE", next, reason));
                    }
                    (bytes, b"\n")
                }
                Piece::TooLong(bytes) | Piece::Partial(bytes) => (bytes, b""),
                Piece::End => break,
            };
            sha256.update(bytes);
            sha256.update(end);
            length += (bytes.len() + end.len()) as u64;
            offset.get_or_insert(lines.offset);
        }
        if let Some(rotation) = self.rotation.take()
            && (rotation.closed_file != name.to_string() || rotation.next_first_seq != next)
        {
            return Err(fail(
                "E_SEGMENT_NAME",
                next - 1,
                "the segment was closed under another name",
            ));
        }
        let file = name.to_string();
        let offset = offset.unwrap_or(lines.offset);
        Ok(Debris { file, offset, length, sha256: sha256.finalize().into() })
    }
}

impl Debris {
    pub(super) fn check(&self, recovery: &Recovery, seq: u64) -> Result<(), Failure> {
        let declared = recovery.debris_file == self.file
            && recovery.debris_offset == self.offset
            && recovery.debris_len == self.length
            && recovery.debris_sha256 == self.sha256
            && recovery.kept_seq == seq - 1;
        if declared {
            return Ok(());
        }
        Err(fail("E_DEBRIS_HASH", seq, "the debris is not what the recovery line declares"))
    }
}
