mod checks;
mod reading;

use std::collections::{BTreeMap, BTreeSet};

use super::keys::Keys;
use super::recent::Recent;
use super::report::{Failure, Report, Verdict, Warning, fail, usage};
use super::requests::Requests;
use super::segments::ClosedName;
use super::sessions::Sessions;
use super::tally::Tally;
use super::{FRAMEWORKS, Source, small_file, tiles, unreadable};
use crate::evidence::body::{Body, Genesis, Predecessor, Rotation};
use crate::evidence::line::{self, Line, LineError};
use crate::evidence::merkle::{Frontier, Hash, leaf_hash};
use crate::evidence::timestamp::Timestamp;
use crate::evidence::{chain, frameworks};
use reading::Debris;

/// Everything a verifier knows while it reads a log from its first line to its last.
pub(super) struct Walk<'s> {
    source: &'s dyn Source,
    pub(super) warnings: Vec<Warning>,
    pub(super) keys: Option<Keys>,
    pub(super) requests: Requests,
    sessions: Sessions,
    /// What the lines come to, where somebody wants to know.
    pub(super) tally: Option<Tally>,
    pub(super) checkpoints: u64,
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
    predecessor: Option<Predecessor>,
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

impl Limits {
    fn of(genesis: &Genesis) -> Self {
        Self { checkpoint_lines: genesis.checkpoint_lines, idle_ms: genesis.idle_ms }
    }
}

impl<'s> Walk<'s> {
    pub(super) fn new(source: &'s dyn Source) -> Self {
        Self {
            source,
            warnings: Vec::new(),
            keys: None,
            requests: Requests::new(),
            sessions: Sessions::new(),
            tally: None,
            checkpoints: 0,
            ending: Ending::Open,
            interrupted: None,
            late_checkpoint: None,
            unknown_key: None,
            signed: (0, None),
            unsigned_tail: 0,
            anchored: Vec::new(),
            predecessor: None,
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
        self.sessions.take(&line);
        self.count(&line)?;
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

    /// Counts a line for whoever wants to know.
    pub(super) fn count(&mut self, line: &Line) -> Result<(), Failure> {
        self.tally.as_mut().map_or(Ok(()), |tally| tally.take(line))
    }

    /// The root of the tree of `size`, `rest` being the roots of what comes after.
    pub(super) fn root_with(&self, rest: &[Hash], size: u64) -> Option<Hash> {
        self.frontier.root_with(rest, size)
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
            predecessor: self.predecessor,
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

fn gap(from: u64, to: u64) -> Failure {
    fail("E_SEGMENT_GAP", from, format!("lines {from} to {to} are missing"))
}

fn unsupported(seq: u64, what: &str) -> Failure {
    Failure { seq: Some(seq), ..usage("E_VERSION", format!("unsupported {what} at seq {seq}")) }
}
