//! Reading the log from its first byte, and going on after whatever ended its last writer.
//!
//! Nothing is ever truncated (evidence section 4.9): bytes beyond the longest valid prefix stay
//! where they are, in a segment that is closed, and the next segment begins with a `recovery` line
//! that names them. The next segment grows under another name and is renamed into place with that
//! line durable in it, so that a crash at any moment leaves one of three states, each of which the
//! next start recognises: not begun, begun (the leftover is made anew), and between the two
//! renames (the second one is made up for).

use std::io;
use std::sync::Arc;

use protocol::evidence::body::{Body, Genesis, Recovery};
use protocol::evidence::line::{self, MAX_LINE};
use protocol::evidence::merkle::{Tree, leaf_hash};
use protocol::evidence::verify::ClosedName;
use protocol::seal::Status;
use sha2::{Digest, Sha256};

use crate::clock::Stamp;
use crate::failure::Failure;
use crate::grammar;
use crate::log::{Chain, Log};
use crate::policies::Policies;
use crate::seen::Seen;
use crate::storage::{ACTIVE, LogFile, NEXT, Storage, read_full};

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

/// A log, read and ready to be gone on with.
#[derive(Debug)]
pub(crate) struct Recovered<S: Storage> {
    /// The file that lines go to. For a new log it is not in place yet.
    pub(crate) file: Arc<S::File>,
    /// Where the next line goes.
    pub(crate) log: Log<S>,
    /// All lines but those of `file` from `read` on, for the sealer.
    pub(crate) tree: Tree,
    /// Where `tree` ends in `file`, in bytes.
    pub(crate) read: u64,
    /// What the lines said.
    pub(crate) history: History,
}

/// What the lines of a log said, as far as its next writer must know.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Whether there is no line yet.
    pub(crate) new: bool,
    /// Events that are lines already.
    pub(crate) seen: Seen,
    /// Policies that are stored.
    pub(crate) policies: Policies,
    /// The policy in force at the end.
    pub(crate) policy: Option<[u8; 32]>,
    /// Whether the last writer ended in good order.
    pub(crate) clean: bool,
    /// Lines since the last checkpoint line.
    pub(crate) since_checkpoint: u64,
}

/// Reads the log, compares it with what the signer has signed, and makes it end in a whole line.
///
/// # Errors
///
/// [`Failure::Locked`], [`Failure::BehindSigner`], [`Failure::Fork`], [`Failure::Damaged`] or what
/// the disk said; except for a lock, none of them heals by itself.
pub(crate) fn recover<S: Storage>(
    storage: &S,
    signer: &Status,
    boot: [u8; 8],
    now: Stamp,
) -> Result<Recovered<S>, Failure> {
    let names = storage.list("").map_err(Failure::storage("listing the log"))?;
    let closed = closed_segments(&names);
    let active = open_active(storage, &names, !closed.is_empty())?;
    let mut replay = Replay::new(signer, boot);
    replay.history.policies =
        Policies::load(storage).map_err(Failure::storage("reading policies"))?;
    for segment in &closed {
        let file =
            storage.open(&segment.to_string()).map_err(Failure::storage("opening a segment"))?;
        replay.closed(segment, &file)?;
    }
    let Some(file) = active else {
        return new_log(storage, replay);
    };
    // Lines of a process that crashed are in the page cache at best, and debris is to be named by
    // a hash that still holds after a power cut.
    file.fdatasync().map_err(Failure::storage("flushing the log"))?;
    let end = replay.segment(&file)?;
    replay.compare()?;
    let debris = Debris::behind(&file, end).map_err(Failure::storage("reading the log"))?;
    if debris.length > 0 {
        return roll(storage, replay, end, &debris, now);
    }
    let file = Arc::new(file);
    Ok(Recovered {
        log: Log::new(Arc::clone(&file), replay.chain, end),
        file,
        tree: replay.tree,
        read: end,
        history: replay.history,
    })
}

/// The segments nobody writes to any more, in order.
fn closed_segments(names: &[String]) -> Vec<ClosedName> {
    let mut closed: Vec<_> = names.iter().filter_map(|name| ClosedName::parse(name)).collect();
    closed.sort();
    closed
}

/// Opens and locks the active file; makes up for a roll that ended between its two renames.
fn open_active<S: Storage>(
    storage: &S,
    names: &[String],
    has_closed: bool,
) -> Result<Option<S::File>, Failure> {
    let has = |name: &str| names.iter().any(|known| known == name);
    if !has(ACTIVE) {
        if !has_closed {
            return Ok(None);
        }
        if !has(NEXT) {
            return Err(Failure::Damaged("the active file is missing [E_SEGMENT_GAP]".into()));
        }
        storage
            .rename(NEXT, ACTIVE)
            .and_then(|()| storage.sync_dir(""))
            .map_err(Failure::storage("finishing a roll"))?;
    }
    let file = storage.open(ACTIVE).map_err(Failure::storage("opening the log"))?;
    lock(&file)?;
    Ok(Some(file))
}

/// The active file has a lock of its own, for the case that somebody deleted `lock`.
fn lock(file: &impl LogFile) -> Result<(), Failure> {
    match file.lock() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Locked),
        Err(error) => Err(Failure::Storage { doing: "locking the log", error }),
    }
}

/// Everything that is carried from line to line.
struct Replay<'a> {
    signer: &'a Status,
    chain: Chain,
    tree: Tree,
    history: History,
    /// What the next segment must begin with, where the one before has debris.
    owed: Option<Recovery>,
    first_of_segment: u64,
    stopped: bool,
    foreign: bool,
}

impl<'a> Replay<'a> {
    fn new(signer: &'a Status, boot: [u8; 8]) -> Self {
        Self {
            signer,
            chain: Chain::new(boot),
            tree: Tree::new(),
            history: History { new: true, clean: true, ..History::default() },
            owed: None,
            first_of_segment: 1,
            stopped: true,
            foreign: false,
        }
    }

    fn closed(&mut self, segment: &ClosedName, file: &impl LogFile) -> Result<(), Failure> {
        let end = self.segment(file)?;
        if (segment.first, segment.last) != (self.first_of_segment, self.chain.size()) {
            let what = format!("{segment} does not hold the lines it names [E_SEGMENT_GAP]");
            return Err(Failure::Damaged(what));
        }
        let debris = Debris::behind(file, end).map_err(Failure::storage("reading a segment"))?;
        self.owed = (debris.length > 0).then(|| debris.declare(segment));
        Ok(())
    }

    /// Takes in the valid lines of the next segment; says where they end.
    fn segment(&mut self, file: &impl LogFile) -> Result<u64, Failure> {
        self.first_of_segment = self.chain.size() + 1;
        let end = read_lines(file, |line| self.line(line));
        let end = end.map_err(Failure::storage("reading the log"))?;
        if self.foreign {
            return Err(Failure::Fork("the log was begun under another signer's key".into()));
        }
        if self.chain.size() < self.first_of_segment {
            // A segment is renamed into place with its first line durable in it.
            return Err(Failure::Damaged("a segment without a valid first line".into()));
        }
        Ok(end)
    }

    /// Whether the next line is valid; if so it is taken in.
    fn line(&mut self, bytes: &[u8]) -> bool {
        let Ok(line) = line::parse(bytes) else { return false };
        let follows =
            line.seq == self.chain.size() + 1 && line.prev_hash == *self.chain.prev_hash();
        let owed = match (&self.owed, &line.body) {
            (None, _) => true,
            (Some(owed), Body::Recovery(given)) => owed == given,
            (Some(_), _) => false,
        };
        let genesis = matches!(line.body, Body::Genesis(_));
        if !follows || !owed || genesis != (line.seq == 1) {
            return false;
        }
        if genesis && !self.is_own_genesis(&line.body) {
            self.foreign = true;
            return false;
        }
        self.owed = None;
        self.chain.extend(bytes);
        self.tree.append(leaf_hash(bytes));
        // Often enough to hold little, seldom enough to cost little.
        if self.tree.size() == self.signer.size || self.tree.size().is_multiple_of(1 << 16) {
            self.tree.forget_below(self.signer.size);
        }
        for key in grammar::keys(&line.body) {
            self.history.seen.insert(key, line.seq);
        }
        self.remember(&line.body);
        true
    }

    fn remember(&mut self, body: &Body) {
        self.history.new = false;
        self.history.since_checkpoint += 1;
        match body {
            Body::Checkpoint(_) => self.history.since_checkpoint = 0,
            Body::PolicyChange(change) => self.history.policy = Some(change.new_policy_hash),
            _ => {}
        }
        if !matches!(body, Body::Checkpoint(_)) {
            self.stopped = matches!(body, Body::Stop(_));
        }
        self.history.clean = self.stopped;
    }

    /// Whether this is the first line of the log that the signer signs.
    fn is_own_genesis(&self, body: &Body) -> bool {
        matches!(body, Body::Genesis(Genesis { origin, log_vkey, .. })
            if *origin == self.signer.origin && *log_vkey == self.signer.log_vkey)
    }

    /// A loss or a fork below what was signed is never repaired here: an operator starts a new log
    /// that names the old one.
    fn compare(&self) -> Result<(), Failure> {
        let (log, signer) = (self.chain.size(), self.signer.size);
        if log < signer {
            return Err(Failure::BehindSigner { log, signer });
        }
        if self.tree.root_at(signer) != Some(self.signer.root) {
            return Err(Failure::Fork(format!("the signer has signed other {signer} lines")));
        }
        Ok(())
    }
}

/// A log without lines: its file waits under another name for `genesis`.
fn new_log<S: Storage>(storage: &S, replay: Replay<'_>) -> Result<Recovered<S>, Failure> {
    replay.compare()?;
    let file = storage.create(NEXT).map_err(Failure::storage("creating the log"))?;
    lock(&file)?;
    let file = Arc::new(file);
    Ok(Recovered {
        log: Log::new(Arc::clone(&file), replay.chain, 0),
        file,
        tree: replay.tree,
        read: 0,
        history: replay.history,
    })
}

/// Closes the segment with its debris and opens the next one.
fn roll<S: Storage>(
    storage: &S,
    replay: Replay<'_>,
    end: u64,
    debris: &Debris,
    now: Stamp,
) -> Result<Recovered<S>, Failure> {
    let kept = replay.chain.size();
    let closed = ClosedName { first: replay.first_of_segment, last: kept };
    let recovery = debris.declare(&closed);
    tracing::warn!(kept, offset = end, bytes = debris.length, "declaring debris of a torn write");
    let step = Failure::storage("rolling to a new segment");
    let rolled = (|| {
        let file = storage.create(NEXT)?;
        if !file.lock()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let file = Arc::new(file);
        let mut log = Log::<S>::new(Arc::clone(&file), replay.chain, 0);
        log.stage([recovery.into()], now)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
        log.write()?;
        log.flush()?;
        storage.sync_dir("")?;
        storage.rename(ACTIVE, &closed.to_string())?;
        storage.rename(NEXT, ACTIVE)?;
        storage.sync_dir("")?;
        Ok((file, log))
    })();
    let (file, log) = rolled.map_err(step)?;
    let mut history = replay.history;
    history.since_checkpoint += 1;
    history.clean = false;
    Ok(Recovered { file, log, tree: replay.tree, read: 0, history })
}

/// Bytes of a segment beyond its last valid line.
#[derive(Debug)]
struct Debris {
    offset: u64,
    length: u64,
    hash: [u8; 32],
}

impl Debris {
    fn behind(file: &impl LogFile, offset: u64) -> io::Result<Self> {
        let mut chunk = vec![0; CHUNK];
        let (mut hasher, mut length) = (Sha256::new(), 0);
        loop {
            let got = read_full(file, &mut chunk, offset + length)?;
            hasher.update(&chunk[..got]);
            length += got as u64;
            if got < chunk.len() {
                return Ok(Self { offset, length, hash: hasher.finalize().into() });
            }
        }
    }

    fn declare(&self, segment: &ClosedName) -> Recovery {
        Recovery {
            debris_file: segment.to_string(),
            debris_offset: self.offset,
            debris_len: self.length,
            debris_sha256: self.hash,
            kept_seq: segment.last,
        }
    }
}

/// Hands whole lines, without LF, to `take` until it refuses one; says where the last one taken
/// ends. A line without LF was never acknowledged and is not whole.
fn read_lines(file: &impl LogFile, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<u64> {
    let mut held: Vec<u8> = Vec::new();
    let (mut end, mut read) = (0, 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        let got = read_full(file, &mut chunk, read)?;
        read += got as u64;
        held.extend_from_slice(&chunk[..got]);
        let mut start = 0;
        while let Some(length) = held[start..].iter().position(|byte| *byte == b'\n') {
            if !take(&held[start..start + length]) {
                return Ok(end);
            }
            start += length + 1;
            end += length as u64 + 1;
        }
        held.drain(..start);
        if got < chunk.len() || held.len() > MAX_LINE {
            return Ok(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::evidence::merkle::empty_root;

    use super::*;
    use crate::storage::Disk;

    const NOW: Stamp = Stamp { wall_ms: 1_700_000_000_000, up_ms: 5 };

    fn status() -> Status {
        Status {
            origin: "log.example".into(),
            size: 0,
            root: empty_root(),
            log_vkey: String::new(),
            evidence_vkey: String::new(),
            recovery_vkey: None,
        }
    }

    #[test]
    fn the_active_file_is_locked_even_where_the_lock_file_is_gone_g04() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        disk.create(ACTIVE).unwrap();
        let first = open_active(&disk, &disk.list("").unwrap(), false).unwrap();
        let second = open_active(&disk, &disk.list("").unwrap(), false);
        assert!(matches!(second, Err(Failure::Locked)));
        drop(first);
        assert!(open_active(&disk, &disk.list("").unwrap(), false).is_ok());
    }

    #[test]
    fn refuses_a_log_whose_active_file_or_first_line_is_gone() {
        let refused = |names: &[(&str, &[u8])]| {
            let files = names.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
            let model = crate::storage::model::Model::holding(&files.collect());
            recover(&model, &status(), [0; 8], NOW).map(drop)
        };
        let closed = ClosedName { first: 1, last: 5 }.to_string();
        assert!(matches!(refused(&[(&closed, b"")]), Err(Failure::Damaged(_))));
        assert!(matches!(refused(&[(ACTIVE, b"")]), Err(Failure::Damaged(_))));
        assert!(matches!(refused(&[(ACTIVE, b"{}\n")]), Err(Failure::Damaged(_))));
    }
}
