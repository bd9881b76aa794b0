//! What goes into a bundle: which lines, which proofs, and the manifest that lists it all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use protocol::evidence::bundle::{
    BundleType, FileSum, KeyFile, Manifest, PREVIOUS_PROOF, PolicyFile, Previous, RANGE_PROOF,
    Receipt, Segment,
};
use protocol::evidence::line::{self, Line};
use protocol::evidence::merkle::spans::{self, Span};
use protocol::evidence::merkle::{Hash, Sieve, leaf_hash};
use protocol::evidence::timestamp::Timestamp;
use protocol::evidence::tlog_proof::TlogProof;
use protocol::evidence::verify::{ACTIVE, FRAMEWORKS, HEAD, Tree};
use sha2::{Digest, Sha256};

use super::export::{Progress, Survey, damaged, now, ours, policy_name, range_name, sum};
use super::log::{Found, Log};
use crate::fault::{Fault, Kind as FaultKind};

/// Which lines were asked for.
pub(super) enum Kind {
    /// All.
    Full,
    /// From one number to another.
    Range(u64, u64),
    /// Those of a window of time, and one on each side.
    Window(Option<Timestamp>, Option<Timestamp>),
    /// Single ones, ascending.
    Selection(Vec<u64>),
}

impl Kind {
    /// Whether a window of time was asked for, and `ts` is in it.
    pub(super) fn wants(&self, ts: Timestamp) -> bool {
        let Self::Window(since, until) = self else { return false };
        since.is_none_or(|since| since <= ts) && until.is_none_or(|until| ts <= until)
    }

    fn bundle_type(&self) -> BundleType {
        match self {
            Self::Full => BundleType::Full,
            Self::Range(..) | Self::Window(..) => BundleType::Range,
            Self::Selection(_) => BundleType::Selection,
        }
    }

    /// First and last line of the bundle.
    fn scope(&self, survey: &Survey) -> Result<(u64, u64), Fault> {
        let size = survey.head.checkpoint.size;
        let wrong = |what: String| {
            let advice = "`waterwall-ctl status` shows how many lines there are";
            Fault::new(FaultKind::Refused, what, advice)
        };
        let (first, last) = match self {
            Self::Full => (1, size),
            Self::Range(first, last) => (*first, *last),
            Self::Window(..) => {
                let none = || wrong("no line is of that time".into());
                let (first, last) = survey.window.ok_or_else(none)?;
                (first.saturating_sub(1).max(1), size.min(last + 1))
            }
            Self::Selection(seqs) => {
                (seqs.first().copied().unwrap_or(0), seqs.last().copied().unwrap_or(0))
            }
        };
        if first == 0 || first > last || last > size {
            return Err(wrong(format!("lines {first} to {last} are not among the {size} signed")));
        }
        Ok((first, last))
    }
}

/// Where a file of lines is copied from.
pub(super) struct Source {
    /// The segment.
    pub(super) file: String,
    /// Its byte to begin at.
    pub(super) offset: u64,
}

/// A bundle that is not sealed yet.
pub(super) struct Draft {
    pub(super) manifest: Manifest,
    /// Files in memory.
    pub(super) members: BTreeMap<String, Vec<u8>>,
    /// Files that are copied.
    pub(super) sources: BTreeMap<String, Source>,
}

/// What is to be caught while the lines go by.
struct Wanted {
    receipts: BTreeMap<u64, (Vec<Span>, Vec<u8>)>,
    range: Vec<Span>,
    previous: Vec<Span>,
}

/// What the second reading finds.
#[derive(Default)]
struct Reading {
    counts: BTreeMap<String, u64>,
    policies: BTreeSet<[u8; 32]>,
    first_boundary: Option<[u8; 32]>,
    /// Per segment with lines in scope: name, offsets of the first line and after the last one,
    /// numbers of both, checkpoints.
    segments: Vec<(String, u64, u64, u64, u64, u64)>,
}

impl Draft {
    /// Reads the log a second time, and puts everything together.
    pub(super) fn of(
        log: &Log,
        survey: &Survey,
        what: &Kind,
        previous: Option<Tree>,
        progress: &Progress,
    ) -> Result<Self, Fault> {
        let scope = what.scope(survey)?;
        let mut wanted = Wanted::of(survey, what, scope, previous.as_ref())?;
        let mut sieve = Sieve::new();
        wanted.receipts.values().for_each(|(spans, _)| sieve.want(spans));
        sieve.want(&wanted.range);
        sieve.want(&wanted.previous);
        let mut reading = Reading::default();
        let size = survey.head.checkpoint.size;
        log.each(size, |found| {
            progress.at(size / 3 + found.seq / 3);
            sieve.append(leaf_hash(found.bytes));
            wanted.receipts.entry(found.seq).and_modify(|(_, leaf)| *leaf = found.bytes.to_vec());
            let counted = match what {
                Kind::Selection(_) => wanted.receipts.contains_key(&found.seq),
                _ => (scope.0..=scope.1).contains(&found.seq),
            };
            if counted { reading.take(&found) } else { Ok(()) }
        })?;
        if sieve.edge().root() != survey.head.checkpoint.root {
            return Err(damaged(size));
        }
        let mut draft = Self::begin(survey, what, scope, &reading);
        draft.take_proofs(survey, &wanted, &sieve)?;
        if let Some(tree) = previous {
            let root = tree.root;
            draft.manifest.previous = Some(Previous { tree_size: tree.size, root });
        }
        draft.take_lines(log, what, &reading)?;
        draft.take_papers(log, survey, &reading)?;
        draft.list();
        Ok(draft)
    }

    fn begin(survey: &Survey, what: &Kind, scope: (u64, u64), reading: &Reading) -> Self {
        let tree = &survey.head.checkpoint;
        let (since, until) = match what {
            Kind::Window(since, until) => (*since, *until),
            _ => (None, None),
        };
        let evidence = survey.keys.iter().rfind(|(role, _)| role.starts_with("evidence"));
        let selection = matches!(what, Kind::Selection(_));
        // A selection also holds the lines that prove its keys.
        let seq_range = if selection { (1, scope.1.max(last_rotation(survey))) } else { scope };
        let manifest = Manifest {
            bundle_type: what.bundle_type(),
            origin: tree.origin.clone(),
            ts_exported: now(),
            since,
            until,
            seq_range,
            tree_size: tree.size,
            root: tree.root,
            first_boundary_hash: reading.first_boundary.filter(|_| !selection),
            counts: reading.counts.clone(),
            chain: Vec::new(),
            receipts: Vec::new(),
            policies: Vec::new(),
            keys: Vec::new(),
            anchors: Vec::new(),
            previous: None,
            files: Vec::new(),
            signing_key_id: evidence.map(|(_, key)| key.id()).unwrap_or_default(),
            software: concat!("waterwall ", env!("CARGO_PKG_VERSION")).into(),
        };
        Self { manifest, members: BTreeMap::new(), sources: BTreeMap::new() }
    }

    fn take_proofs(
        &mut self,
        survey: &Survey,
        wanted: &Wanted,
        sieve: &Sieve,
    ) -> Result<(), Fault> {
        let roots = |spans: &[Span]| sieve.roots(spans).ok_or_else(|| ours("a proof is not whole"));
        for (seq, (spans, leaf)) in &wanted.receipts {
            let proof = TlogProof {
                leaf: leaf.clone(),
                index: seq - 1,
                hashes: roots(spans)?,
                checkpoint: survey.head.clone(),
            };
            let (file, bytes) = (receipt_name(*seq), proof.to_string().into_bytes());
            let sha256 = sha256(&bytes);
            self.manifest.receipts.push(Receipt { file: file.clone(), sha256, seq: *seq });
            self.members.insert(file, bytes);
        }
        if self.manifest.bundle_type == BundleType::Range {
            self.members.insert(RANGE_PROOF.into(), base64_lines(&roots(&wanted.range)?));
        }
        if !wanted.previous.is_empty() {
            self.members.insert(PREVIOUS_PROOF.into(), base64_lines(&roots(&wanted.previous)?));
        }
        Ok(())
    }

    fn take_lines(&mut self, log: &Log, what: &Kind, reading: &Reading) -> Result<(), Fault> {
        let range = self.manifest.bundle_type == BundleType::Range;
        if matches!(what, Kind::Selection(_)) {
            return Ok(());
        }
        if range && reading.segments.len() > 1 {
            return self.join(log, reading);
        }
        for (name, from, to, first_seq, last_seq, checkpoints) in &reading.segments {
            let path = log.folder.join(name);
            // What follows the last line of a closed segment is debris that a later line declares.
            let whole = !range && log.closed_at(name) == Some(*last_seq);
            let to = if whole { length(&path)? } else { *to };
            let file = match (range, whole) {
                (true, _) => range_name(),
                (false, true) => format!("log/{name}"),
                (false, false) => format!("log/{ACTIVE}"),
            };
            let sha256 = hash_file(&path, *from, to - from)?;
            self.manifest.chain.push(Segment {
                file: file.clone(),
                sha256,
                size: to - from,
                first_seq: *first_seq,
                last_seq: *last_seq,
                lines: last_seq - first_seq + 1,
                checkpoints: *checkpoints,
            });
            self.sources.insert(file, Source { file: name.clone(), offset: *from });
        }
        Ok(())
    }

    /// A range that crosses segments becomes one file, in memory; so it must not be too long.
    fn join(&mut self, log: &Log, reading: &Reading) -> Result<(), Fault> {
        let total: u64 = reading.segments.iter().map(|(_, from, to, ..)| to - from).sum();
        if total > MOST_JOINED {
            let what = "a range over several segments is too long for one file";
            return Err(Fault::new(FaultKind::Refused, what, "export a shorter one, or all of it"));
        }
        let mut bytes = Vec::new();
        for (name, from, to, ..) in &reading.segments {
            let path = log.folder.join(name);
            let read = copy_range(&path, *from, to - from, &mut bytes);
            read.map_err(|error| Fault::file("read", &path, &error))?;
        }
        let (first_seq, last_seq) = self.manifest.seq_range;
        self.manifest.chain.push(Segment {
            file: range_name(),
            sha256: sha256(&bytes),
            size: bytes.len() as u64,
            first_seq,
            last_seq,
            lines: last_seq - first_seq + 1,
            checkpoints: reading.segments.iter().map(|(.., checkpoints)| checkpoints).sum(),
        });
        self.members.insert(range_name(), bytes);
        Ok(())
    }

    fn take_papers(&mut self, log: &Log, survey: &Survey, reading: &Reading) -> Result<(), Fault> {
        let read = |name: &str| {
            let path = log.folder.join(name);
            fs::read(&path).map_err(|error| Fault::file("read", &path, &error))
        };
        for hash in &reading.policies {
            let file = policy_name(hash);
            let bytes = read(&file)?;
            if sha256(&bytes) != *hash {
                let what = format!("{file} does not hash to its name");
                return Err(Fault::new(FaultKind::Refused, what, "restore it from a backup"));
            }
            self.manifest.policies.push(PolicyFile { policy_hash: *hash, file: file.clone() });
            self.members.insert(file, bytes);
        }
        for (role, key) in &survey.keys {
            let file = format!("keys/{role}.vkey");
            let (name, key_id) = (key.name().to_owned(), key.id());
            self.manifest.keys.push(KeyFile { name, key_id, file: file.clone() });
            self.members.insert(file, format!("{key}\n").into_bytes());
        }
        self.members.insert(HEAD.into(), survey.head.note.to_string().into_bytes());
        self.members.insert(FRAMEWORKS.into(), read(FRAMEWORKS)?);
        self.members.insert("VERIFY.txt".into(), include_bytes!("VERIFY.txt").to_vec());
        Ok(())
    }

    /// Fills in the list of all files.
    fn list(&mut self) {
        let copied = self.manifest.chain.iter().filter(|it| self.sources.contains_key(&it.file));
        let copied =
            copied.map(|it| FileSum { file: it.file.clone(), sha256: it.sha256, size: it.size });
        let mut files: Vec<FileSum> =
            self.members.iter().map(|(name, bytes)| sum(name, bytes)).chain(copied).collect();
        files.sort_by(|a, b| a.file.cmp(&b.file));
        self.manifest.files = files;
    }
}

impl Wanted {
    fn of(
        survey: &Survey,
        what: &Kind,
        (first, last): (u64, u64),
        previous: Option<&Tree>,
    ) -> Result<Self, Fault> {
        let size = survey.head.checkpoint.size;
        let full = matches!(what, Kind::Full);
        let chosen: &[u64] = if let Kind::Selection(seqs) = what { seqs } else { &[] };
        let proving = [1].into_iter().chain(survey.rotations.iter().copied());
        let seqs = proving.filter(|_| !full).chain(chosen.iter().copied());
        let mut receipts = BTreeMap::new();
        for seq in seqs.filter(|seq| *seq <= size) {
            let spans = seq.checked_sub(1).and_then(|index| spans::inclusion(index, size));
            let spans = spans.ok_or_else(|| damaged(seq))?;
            receipts.insert(seq, (spans, Vec::new()));
        }
        let range = if what.bundle_type() == BundleType::Range {
            let (before, after) =
                spans::outside(first - 1, last, size).ok_or_else(|| damaged(last))?;
            [before, after].concat()
        } else {
            Vec::new()
        };
        let consistency = |tree: &Tree| {
            spans::consistency(tree.size, size).ok_or_else(|| {
                let what = "the earlier bundle is of a longer log than this one";
                Fault::new(FaultKind::Refused, what, "see what became of it with `verify-chain`")
            })
        };
        let previous = previous.map(consistency).transpose()?.unwrap_or_default();
        Ok(Self { receipts, range, previous })
    }
}

impl Reading {
    fn take(&mut self, found: &Found<'_>) -> Result<(), Fault> {
        let line = line::parse(found.bytes).map_err(|_| damaged(found.seq))?;
        let kind = line.body.line_type();
        *self.counts.entry(kind.to_owned()).or_default() += 1;
        self.policies.extend(line.body.policies());
        self.first_boundary.get_or_insert(line.prev_hash);
        self.place(found, &line);
        Ok(())
    }

    fn place(&mut self, found: &Found<'_>, line: &Line) {
        let after = found.offset + found.bytes.len() as u64 + 1;
        let checkpoint = u64::from(line.body.line_type() == "checkpoint");
        match self.segments.last_mut() {
            Some((name, _, to, _, last, checkpoints)) if name == found.file => {
                (*to, *last) = (after, found.seq);
                *checkpoints += checkpoint;
            }
            _ => self.segments.push((
                found.file.to_owned(),
                found.offset,
                after,
                found.seq,
                found.seq,
                checkpoint,
            )),
        }
    }
}

fn last_rotation(survey: &Survey) -> u64 {
    survey.rotations.last().copied().unwrap_or(1)
}

fn receipt_name(seq: u64) -> String {
    format!("receipts/{seq:012}.tlog-proof")
}

fn base64_lines(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| format!("{}\n", STANDARD.encode(hash)).into_bytes()).collect()
}

fn length(path: &Path) -> Result<u64, Fault> {
    let found = fs::metadata(path).map_err(|error| Fault::file("read", path, &error))?;
    Ok(found.len())
}

fn copy_range(path: &Path, from: u64, length: u64, into: &mut impl io::Write) -> io::Result<()> {
    let mut file = File::open(path)?;
    io::copy(&mut (&mut file).take(from), &mut io::sink())?;
    let copied = io::copy(&mut file.take(length), into)?;
    if copied == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn hash_file(path: &Path, from: u64, length: u64) -> Result<[u8; 32], Fault> {
    let mut hasher = Hasher(Sha256::new());
    let read = copy_range(path, from, length, &mut hasher);
    read.map_err(|error| Fault::file("read", path, &error))?;
    Ok(hasher.0.finalize().into())
}

struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// SHA-256 of `bytes`.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Longest range over several segments, in bytes.
const MOST_JOINED: u64 = 256 * 1024 * 1024;
