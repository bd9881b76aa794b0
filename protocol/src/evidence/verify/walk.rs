use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use sha2::{Digest, Sha256};

use super::keys::Keys;
use super::recent::Recent;
use super::report::{Failure, Report, Verdict, Warning, fail, usage};
use super::requests::{Follower, Requests};
use super::segments::{ClosedName, Lines, Piece};
use super::{FRAMEWORKS, Options, Source, small_file, tiles, unreadable};
use crate::evidence::body::{
    Body, Checkpoint, Genesis, KillSwitch, KillSwitchAction, Recovery, Redaction, Rotation,
};
use crate::evidence::canonical::NotCanonical;
use crate::evidence::line::{self, Line, LineError};
use crate::evidence::merkle::{Frontier, Hash, leaf_hash};
use crate::evidence::timestamp::Timestamp;
use crate::evidence::{chain, frameworks};

/// Why a blank line is no line.
const BLANK: LineError = LineError::NotCanonical(NotCanonical::Form { at: 0 });

/// Everything a verifier knows while it reads a log from its first line to its last.
pub(super) struct Walk<'s> {
    source: &'s dyn Source,
    pub(super) warnings: Vec<Warning>,
    pub(super) keys: Option<Keys>,
    pub(super) requests: Requests,
    pub(super) checkpoints: u64,
    pub(super) checkpoint_size: u64,
    pub(super) ending: Ending,
    /// Last line after which the writer did not end in good order.
    pub(super) interrupted: Option<u64>,
    /// Lines that were too many before the log's first checkpoint line.
    pub(super) late_checkpoint: Option<Failure>,
    /// A checkpoint by a key that no line has named yet, and that key's id.
    unknown_key: Option<([u8; 4], Failure)>,
    pub(super) signed: (u64, Option<Timestamp>),
    pub(super) unsigned_tail: u64,
    pub(super) anchored: Vec<u64>,
    pub(super) prune_lines: BTreeSet<u64>,
    pub(super) first_seq: u64,
    segments: u64,
    frontier: Frontier,
    watched: BTreeMap<u64, Option<Seen>>,
    prev_hash: Option<[u8; 32]>,
    clock: Option<([u8; 8], u64)>,
    last_ts: Option<Timestamp>,
    limits: Limits,
    since_checkpoint: u64,
    tags: Option<BTreeSet<String>>,
    salts: Recent<[u8; 16]>,
    segment_starts: bool,
    named: Option<ClosedName>,
    debris: Option<Debris>,
    rotation: Option<Rotation>,
    /// Key ids that the next lines, which must be checkpoints, are signed with.
    handover: Vec<[u8; 4]>,
    tile: Vec<Hash>,
}

/// What the tree was at a size somebody has a statement about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) root: Hash,
    pub(super) ts: Option<Timestamp>,
}

/// How the log ends so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// With some line.
    Open,
    /// With a checkpoint line.
    Checkpoint,
    /// With `stop`.
    Stop,
    /// With `stop` and a checkpoint line: nothing was to come.
    Closed,
}

/// What `genesis` promises.
struct Limits {
    checkpoint_lines: u64,
    idle_ms: u64,
}

/// Bytes at the end of a closed segment that are no lines.
struct Debris {
    file: String,
    offset: u64,
    length: u64,
    sha256: [u8; 32],
}

impl<'s> Walk<'s> {
    pub(super) fn new(source: &'s dyn Source) -> Self {
        Self {
            source,
            warnings: Vec::new(),
            keys: None,
            requests: Requests::new(),
            checkpoints: 0,
            checkpoint_size: 0,
            ending: Ending::Open,
            interrupted: None,
            late_checkpoint: None,
            unknown_key: None,
            signed: (0, None),
            unsigned_tail: 0,
            anchored: Vec::new(),
            prune_lines: BTreeSet::new(),
            first_seq: 1,
            segments: 0,
            frontier: Frontier::new(),
            watched: BTreeMap::new(),
            prev_hash: Some(chain::START),
            clock: None,
            last_ts: None,
            // The format's own limit (4.17.3), for a log whose genesis is pruned.
            limits: Limits { checkpoint_lines: 10_000, idle_ms: u64::MAX },
            since_checkpoint: 0,
            tags: None,
            salts: Recent::new(),
            segment_starts: true,
            named: None,
            debris: None,
            rotation: None,
            handover: Vec::new(),
            tile: Vec::with_capacity(tiles::WIDTH),
        }
    }

    /// Lines verified.
    pub(super) fn lines(&self) -> u64 {
        self.frontier.size() - (self.first_seq - 1)
    }

    /// Leaves so far, pruned ones included.
    pub(super) fn size(&self) -> u64 {
        self.frontier.size()
    }

    fn next_seq(&self) -> u64 {
        self.frontier.size() + 1
    }

    /// Notes a warning, once per code.
    pub(super) fn warn(&mut self, code: &'static str, text: impl Into<String>) {
        if self.warnings.iter().all(|warning| warning.code != code) {
            self.warnings.push(Warning { code, text: text.into() });
        }
    }

    /// Remembers root and time when the tree has `size` leaves.
    pub(super) fn watch(&mut self, size: u64) {
        self.watched.insert(size, None);
        self.look();
    }

    /// What the tree was at a watched size.
    pub(super) fn seen(&self, size: u64) -> Option<Seen> {
        self.watched.get(&size).copied().flatten()
    }

    fn look(&mut self) {
        let now = Seen { root: self.frontier.root(), ts: self.last_ts };
        if let Some(seen) = self.watched.get_mut(&self.frontier.size()) {
            *seen = Some(now);
        }
    }

    fn grow(&mut self, leaf: Hash) {
        self.frontier.append(leaf);
        if self.watched.contains_key(&self.frontier.size()) {
            self.look();
        }
    }

    /// Starts at line `first`: the leaves before it come from the tiles, the keys from the auditor.
    pub(super) fn resume_after_prune(
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
            super::PinnedKey::Named(key) => Some(key.clone()),
            super::PinnedKey::Bare(_) => head_origin.and_then(|name| options.pinned.named(name)),
        };
        let no_name = || usage("E_NO_ORIGIN", "a pruned log needs its head.note, or a pinned vkey");
        self.keys = Some(Keys::of_pinned(key.ok_or_else(no_name)?));
        self.requests.begin_anywhere();
        self.first_seq = first;
        self.prev_hash = None;
        Ok(())
    }

    /// Reads a closed segment.
    pub(super) fn closed_segment(
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
    pub(super) fn active_segment(&mut self, file: impl Read, live: bool) -> Result<bool, Failure> {
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
    pub(super) fn ends_in_debris(&self) -> bool {
        self.debris.as_ref().is_some_and(|debris| debris.length > 0)
    }

    fn begin_segment(&mut self, name: Option<ClosedName>) {
        self.segments += 1;
        self.segment_starts = true;
        self.named = name;
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

    /// Takes the next line.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let line = line::parse(bytes).map_err(|error| self.refused(error))?;
        let seq = self.next_seq();
        if let Body::Genesis(genesis) = &line.body {
            self.load_tags(genesis.frameworks_hash)?;
        }
        if let Some(tags) = &self.tags
            && !line.frameworks.iter().all(|tag| tags.contains(tag))
        {
            return Err(fail("E_FRAMEWORK", seq, "a tag is not in frameworks.json"));
        }
        self.check_place(&line, seq)?;
        self.check_clock(&line, seq)?;
        self.check_cadence(&line, seq)?;
        self.check_body(&line, seq)?;
        if !self.salts.insert(line.salt) {
            self.warn("W_SALT_REUSE", format!("line {seq} repeats a salt"));
        }
        self.note_ending(&line, seq);
        self.prev_hash = Some(chain::link(bytes));
        self.last_ts = Some(line.ts);
        let leaf = leaf_hash(bytes);
        self.grow(leaf);
        self.compare_tile(leaf)
    }

    fn refused(&self, error: LineError) -> Failure {
        if error == LineError::Version {
            return unsupported(self.next_seq(), "version");
        }
        fail(error.code(), self.next_seq(), error.to_string())
    }

    fn load_tags(&mut self, hash: [u8; 32]) -> Result<(), Failure> {
        let table = small_file(self.source, FRAMEWORKS)?;
        self.tags = table
            .filter(|json| frameworks::hash(json) == hash)
            .and_then(|json| frameworks::defined(&json));
        if self.tags.is_none() {
            self.warn("W_FRAMEWORKS", "no frameworks.json that matches the log: tags not checked");
        }
        Ok(())
    }

    /// Genesis first, segment, `seq`, `prev_hash`, and what may stand at this place at all.
    fn check_place(&mut self, line: &Line, seq: u64) -> Result<(), Failure> {
        let starts_segment = std::mem::take(&mut self.segment_starts);
        if starts_segment
            && let Some(name) = &self.named
            && line.seq != name.first
        {
            return Err(fail("E_SEGMENT_NAME", seq, "the segment begins with another line"));
        }
        if matches!(line.body, Body::Genesis(_)) != (seq == 1) {
            return Err(fail("E_GENESIS", seq, "genesis is the first line, and only that"));
        }
        if starts_segment && seq > self.first_seq && line.seq > seq {
            return Err(gap(seq, line.seq - 1));
        }
        if line.seq != seq {
            return Err(fail("E_SEQ", seq, format!("seq is {}, not {seq}", line.seq)));
        }
        if self.prev_hash.is_some_and(|hash| line.prev_hash != hash) {
            return Err(fail("E_PREV_HASH", seq, "prev_hash is not the hash of the line before"));
        }
        if self.rotation.is_some() && !starts_segment {
            return Err(fail("E_SEGMENT_NAME", seq, "a line follows the end of its segment"));
        }
        self.rotation = None;
        match (self.debris.take(), &line.body) {
            (Some(debris), Body::Recovery(recovery)) => debris.check(recovery, seq),
            (None, Body::Recovery(_)) => {
                Err(fail("E_DEBRIS_HASH", seq, "there is no debris to recover from"))
            }
            (Some(debris), _) if debris.length > 0 => {
                Err(fail("E_DEBRIS_HASH", seq, "the segment before ends in undeclared bytes"))
            }
            _ => Ok(()),
        }
    }

    fn check_clock(&mut self, line: &Line, seq: u64) -> Result<(), Failure> {
        if let Some((boot, up_ms)) = self.clock
            && boot == line.boot
        {
            let elapsed = line.up_ms.checked_sub(up_ms);
            match elapsed {
                None => return Err(fail("E_CLOCK", seq, "up_ms runs backwards within one boot")),
                Some(elapsed) if elapsed > self.limits.idle_ms => {
                    self.warn("W_IDLE_GAP", format!("{elapsed} ms without a line before {seq}"));
                }
                Some(_) => {}
            }
        }
        if self.last_ts.is_some_and(|last| line.ts < last) {
            self.warn("W_CLOCK_STEP", format!("the wall clock steps back before line {seq}"));
        }
        self.clock = Some((line.boot, line.up_ms));
        Ok(())
    }

    /// A log without any checkpoint line is a case of its own, judged at the end (4.17.3).
    fn check_cadence(&mut self, line: &Line, seq: u64) -> Result<(), Failure> {
        if matches!(line.body, Body::Checkpoint(_)) {
            self.since_checkpoint = 0;
            return self.late_checkpoint.take().map_or(Ok(()), Err);
        }
        self.since_checkpoint += 1;
        if self.since_checkpoint <= self.limits.checkpoint_lines {
            return Ok(());
        }
        let late = fail("E_CADENCE", seq, "more lines without a checkpoint than genesis allows");
        if self.checkpoints > 0 {
            return Err(late);
        }
        self.late_checkpoint.get_or_insert(late);
        Ok(())
    }

    fn check_body(&mut self, line: &Line, seq: u64) -> Result<(), Failure> {
        self.check_handover(&line.body, seq)?;
        match &line.body {
            Body::Genesis(genesis) => self.genesis(genesis),
            Body::Checkpoint(checkpoint) => self.checkpoint(checkpoint, seq),
            Body::Redaction(redaction) => self.redaction(redaction, seq),
            Body::ScanClean(scan) => {
                self.requests.account(scan.inst, scan.req_no_first, scan.req_no_last, seq)
            }
            Body::Block(block) => {
                self.requests.account(block.inst, block.req_no, block.req_no, seq)
            }
            Body::KillSwitch(KillSwitch {
                action: KillSwitchAction::Refused,
                inst: Some(inst),
                req_no: Some(req_no),
                ..
            }) => self.requests.account(*inst, *req_no, *req_no, seq),
            Body::Outcome(outcome) => {
                self.requests.follow(outcome.inst, outcome.req_no, Follower::Outcome, seq)
            }
            Body::Detokenization(restored) => {
                let what = Follower::Detokenization { part: restored.part };
                self.requests.follow(restored.inst, restored.req_no, what, seq)
            }
            Body::Start(start) if start.signer_size >= seq => {
                let reason = format!("the signer had signed {} lines here", start.signer_size);
                Err(fail("E_BEHIND_SIGNER", seq, reason))
            }
            Body::KeyRotation(rotation) => {
                let keys = self.keys.as_mut().ok_or_else(|| no_genesis(seq))?;
                self.handover = keys.newest_id().into_iter().collect();
                keys.rotate(rotation, seq)?;
                self.handover.extend(keys.newest_id());
                self.name_unknown_key()
            }
            Body::Rotation(rotation) => {
                self.rotation = Some(rotation.clone());
                Ok(())
            }
            Body::Prune(prune) => {
                self.prune_lines.insert(prune.first_kept_seq);
                Ok(())
            }
            Body::ClockStep(_) => {
                self.warn("W_CLOCK_STEP", format!("the wall clock stepped before line {seq}"));
                Ok(())
            }
            Body::Anchor(anchor) if anchor.tree_size >= seq => {
                Err(fail("E_ANCHOR", seq, "the anchor is of a larger tree"))
            }
            Body::Manifest(_) => {
                // Its totals would have to be recomputed; passing them unseen would vouch for them.
                Err(unsupported(seq, "line type manifest"))
            }
            _ => Ok(()),
        }
    }

    /// The two lines after a key rotation: a checkpoint by the old key, then one by the new.
    fn check_handover(&mut self, body: &Body, seq: u64) -> Result<(), Failure> {
        if self.handover.is_empty() {
            return Ok(());
        }
        let key_id = self.handover.remove(0);
        match body {
            Body::Checkpoint(checkpoint) if checkpoint.signing_key_id == key_id => Ok(()),
            _ => Err(fail("E_KEY_ROTATION", seq, "both keys must sign right after a rotation")),
        }
    }

    fn genesis(&mut self, genesis: &Genesis) -> Result<(), Failure> {
        self.keys = Some(Keys::of_genesis(genesis)?);
        self.limits =
            Limits { checkpoint_lines: genesis.checkpoint_lines, idle_ms: genesis.idle_ms };
        if genesis.predecessor.is_some() {
            self.warn("W_PREDECESSOR", "this log stands in for one that was given up");
        }
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint, seq: u64) -> Result<(), Failure> {
        let keys = self.keys.as_ref().ok_or_else(|| no_genesis(seq))?;
        if checkpoint.origin != keys.origin {
            return Err(fail("E_ORIGIN", seq, "the checkpoint is of another log"));
        }
        let size = self.frontier.size();
        if checkpoint.tree_size != size {
            let reason = format!("the checkpoint is of size {}, not {size}", checkpoint.tree_size);
            return Err(fail("E_CHECKPOINT_SIZE", seq, reason));
        }
        if checkpoint.chain_root_hash != self.frontier.root() {
            let reason = "the root over the lines before is not the one signed";
            return Err(fail("E_CHECKPOINT_ROOT", seq, reason));
        }
        match keys.check_line(checkpoint, seq) {
            Err(failure) if failure.code == "E_UNKNOWN_KEY" => {
                // A failure either way; which one, a later rotation may tell.
                self.unknown_key.get_or_insert((checkpoint.signing_key_id, failure));
                return Ok(());
            }
            other => other?,
        }
        self.checkpoints += 1;
        self.checkpoint_size = size;
        self.signed = (size, self.last_ts);
        Ok(())
    }

    /// A key that signed before the rotation that brought it in stands outside its epoch.
    fn name_unknown_key(&mut self) -> Result<(), Failure> {
        let newest = self.keys.as_ref().and_then(Keys::newest_id);
        match self.unknown_key.take_if(|(key_id, _)| newest == Some(*key_id)) {
            Some((_, failure)) => Err(Failure {
                code: "E_KEY_EPOCH",
                reason: "the key is not valid for this size".into(),
                ..failure
            }),
            None => Ok(()),
        }
    }

    /// Fails where a checkpoint's key stayed unknown to the end.
    pub(super) fn check_known_keys(&mut self) -> Result<(), Failure> {
        self.unknown_key.take().map_or(Ok(()), |(_, failure)| Err(failure))
    }

    fn redaction(&mut self, redaction: &Redaction, seq: u64) -> Result<(), Failure> {
        let sum: u64 = redaction.redactions.iter().map(|item| item.count).sum();
        if sum != redaction.redaction_count {
            return Err(fail("E_SCHEMA", seq, "redaction_count is not the sum of the counts"));
        }
        self.requests.redaction(redaction.inst, redaction.req_no, redaction.part, seq)
    }

    fn note_ending(&mut self, line: &Line, seq: u64) {
        self.ending = match (&line.body, self.ending) {
            (Body::Stop(_), _) => Ending::Stop,
            (Body::Checkpoint(_), Ending::Stop) => Ending::Closed,
            (Body::Checkpoint(_), _) => Ending::Checkpoint,
            _ => Ending::Open,
        };
        match &line.body {
            Body::Recovery(_) => self.interrupted = Some(seq),
            Body::Start(start) if !start.clean => self.interrupted = Some(seq),
            _ => {}
        }
    }

    /// Tiles are a cache; one that disagrees is only worth a warning.
    fn compare_tile(&mut self, leaf: Hash) -> Result<(), Failure> {
        let width = tiles::WIDTH as u64;
        if self.first_seq > 1 {
            return Ok(());
        }
        self.tile.push(leaf);
        if self.tile.len() < tiles::WIDTH {
            return Ok(());
        }
        let index = self.frontier.size() / width - 1;
        let stored = tiles::full(self.source, index).map_err(unreadable)?;
        if stored.is_some_and(|hashes| hashes != self.tile) {
            self.warn(
                "W_TILE_REBUILT",
                format!("leaf tile {index} is wrong; rebuilt from the log"),
            );
        }
        self.tile.clear();
        Ok(())
    }

    pub(super) fn into_report(self, failed: Option<Failure>, strict: bool) -> Report {
        let mut report = Report {
            verdict: Verdict::Ok,
            code: None,
            seq: None,
            reason: String::new(),
            lines: self.lines(),
            checkpoints: self.checkpoints,
            segments: self.segments,
            first_seq: self.first_seq,
            origin: self.keys.as_ref().map(|keys| keys.origin.clone()),
            tree_size: self.frontier.size(),
            root: self.frontier.root(),
            signed_size: self.signed.0,
            signed_ts: self.signed.1,
            unsigned_tail: self.unsigned_tail,
            key_ids: self.keys.as_ref().map(Keys::ids).unwrap_or_default(),
            anchored_sizes: self.anchored,
            warnings: self.warnings,
        };
        let unknown = self.unknown_key.map(|(_, failure)| failure);
        let held = [self.late_checkpoint, unknown].into_iter().flatten();
        let first = failed.into_iter().chain(held).min_by_key(|failure| failure.seq);
        if let Some(failure) = first {
            report.verdict = failure.verdict;
            report.code = Some(failure.code);
            report.seq = failure.seq;
            report.reason = failure.reason;
        } else if strict && let Some(warning) = report.warnings.first() {
            report.verdict = Verdict::Inconclusive;
            report.code = Some(warning.code);
            report.reason = warning.text.clone();
        }
        report
    }
}

impl Debris {
    fn check(&self, recovery: &Recovery, seq: u64) -> Result<(), Failure> {
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

fn gap(from: u64, to: u64) -> Failure {
    fail("E_SEGMENT_GAP", from, format!("lines {from} to {to} are missing"))
}

fn unsupported(seq: u64, what: &str) -> Failure {
    Failure { seq: Some(seq), ..usage("E_VERSION", format!("unsupported {what} at seq {seq}")) }
}

fn no_genesis(seq: u64) -> Failure {
    fail("E_GENESIS", seq, "no genesis before this line")
}
