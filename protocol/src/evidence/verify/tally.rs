use std::collections::{BTreeMap, BTreeSet};

use super::report::{Failure, fail};
use crate::evidence::body::Body;
use crate::evidence::line::Line;
use crate::evidence::timestamp::Timestamp;

/// Most policies that one bundle's lines may name.
const MOST_POLICIES: usize = 65_536;

/// What lines come to, to compare with what a bundle's manifest says of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) policies: BTreeSet<[u8; 32]>,
    pub(super) files: Vec<FileTally>,
    /// `prev_hash` of the first line.
    pub(super) first_boundary: Option<[u8; 32]>,
    /// Numbers of the first and last line.
    pub(super) seqs: Option<(u64, u64)>,
    /// Times of the first and last line.
    pub(super) times: Option<(Timestamp, Timestamp)>,
}

/// What one file of lines comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileTally {
    pub(super) first_seq: u64,
    pub(super) lines: u64,
    pub(super) checkpoints: u64,
}

impl Tally {
    pub(super) fn begin_file(&mut self, first_seq: u64) {
        self.files.push(FileTally { first_seq, lines: 0, checkpoints: 0 });
    }

    pub(super) fn take(&mut self, line: &Line) -> Result<(), Failure> {
        *self.counts.entry(line.body.line_type()).or_default() += 1;
        self.policies.extend(line.body.policies());
        if self.policies.len() > MOST_POLICIES {
            return Err(fail("E_LIMIT", line.seq, "too many policies"));
        }
        if let Some(file) = self.files.last_mut() {
            file.lines += 1;
            file.checkpoints += u64::from(matches!(line.body, Body::Checkpoint(_)));
        }
        self.first_boundary.get_or_insert(line.prev_hash);
        self.seqs = Some((self.seqs.map_or(line.seq, |(first, _)| first), line.seq));
        self.times = Some((self.times.map_or(line.ts, |(first, _)| first), line.ts));
        Ok(())
    }
}
