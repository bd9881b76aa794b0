//! `export-evidence`: a bundle that needs neither this host nor its daemons to be checked.
//!
//! The log is read twice: once to find what belongs in, once more for hashes, totals and proofs; then
//! the files are copied. Everything is proven by one checkpoint that auditd asks for first, so the
//! log may grow meanwhile. The key that signs never leaves the signer.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use protocol::audit_control::{Refusal, Reply, Request, Seal};
use protocol::evidence::archive::Writer;
use protocol::evidence::body::Body;
use protocol::evidence::bundle::{
    BundleType, FileSum, MANIFEST, Manifest, NOTE, RANGE_LOG, SUMS, Statement,
};
use protocol::evidence::checkpoint::{Checkpoint, SignedCheckpoint};
use protocol::evidence::hex;
use protocol::evidence::line;
use protocol::evidence::note::{Note, NoteSignature, VerifierKey};
use protocol::evidence::timestamp::Timestamp;
use protocol::evidence::verify::{BundleReport, Verdict};
use serde_json::json;

use super::draft::{Draft, Kind as What};
use super::log::Log;
use crate::cli::ExportEvidence;
use crate::fault::{DONE, Fault, Kind, NO};
use crate::home::Home;
use crate::links::ask_auditd;
use crate::output::{Output, Paint, say};
use crate::verify::pinned;

/// `export-evidence`.
pub(crate) fn export(home: &Home, out: Output, asked: &ExportEvidence) -> Result<u8, Fault> {
    let what = what(asked)?;
    let seq = match ask_auditd(home, &Request::Checkpoint)? {
        Reply::Checkpoint { seq } => seq,
        other => return Err(refused(&other)),
    };
    let log = Log::open(&home.log())?;
    let size = seq.saturating_sub(1);
    let progress = Progress::start(size);
    let survey = Survey::of(&log, size, &what, &progress)?;
    let draft = Draft::of(&log, &survey, &what, previous(asked, home)?, &progress)?;
    let path = asked.out.clone().unwrap_or_else(|| default_name(&survey.head.checkpoint, &draft));
    let manifest = draft.manifest.encode();
    let manifest = manifest.map_err(|field| ours(&format!("{field} has no spelling")))?;
    let note = seal(home, &draft.manifest, &manifest, &asked.purpose)?;
    let beside = beside(&path);
    let written = write(&beside, &log, &draft, &manifest, &note, &progress)
        .and_then(|()| fs::rename(&beside, &path));
    written.map_err(|error| {
        // Half a bundle helps nobody.
        let _ = fs::remove_file(&beside);
        Fault::file("write", &path, &error)
    })?;
    progress.end();
    let report = recheck(home, &path)?;
    print(out, &path, &report);
    Ok(if report.verdict == Verdict::Ok { DONE } else { NO })
}

fn what(asked: &ExportEvidence) -> Result<What, Fault> {
    let wrong = |what: &str| Err(Fault::new(Kind::Usage, what, "see `export-evidence --help`"));
    if !asked.lines.is_empty() {
        let mut seqs = asked.lines.clone();
        seqs.sort_unstable();
        seqs.dedup();
        return Ok(What::Selection(seqs));
    }
    if let Some((first, last)) = asked.seq {
        return Ok(What::Range(first, last));
    }
    match (asked.since, asked.until) {
        (None, None) => Ok(What::Full),
        (Some(since), Some(until)) if until < since => wrong("--until is before --since"),
        (since, until) => Ok(What::Window(since, until)),
    }
}

/// What a first reading of the log tells.
pub(super) struct Survey {
    /// The checkpoint that proves it all.
    pub(super) head: SignedCheckpoint,
    /// Numbers of the lines that changed keys, and the keys they brought.
    pub(super) rotations: Vec<u64>,
    pub(super) keys: BTreeMap<String, VerifierKey>,
    /// First and last line within the window of time, where one was asked for.
    pub(super) window: Option<(u64, u64)>,
}

impl Survey {
    fn of(log: &Log, size: u64, what: &What, progress: &Progress) -> Result<Self, Fault> {
        let (mut rotations, mut window) = (Vec::new(), None);
        let (mut keys, mut head) = (BTreeMap::new(), None);
        log.each(size + 1, |found| {
            progress.at(found.seq / 3);
            let line = line::parse(found.bytes).map_err(|_| damaged(found.seq))?;
            if what.wants(line.ts) && found.seq <= size {
                window = Some((window.map_or(found.seq, |(first, _)| first), found.seq));
            }
            match &line.body {
                Body::Genesis(body) => {
                    add_keys(&mut keys, 0, &body.log_vkey, &body.evidence_vkey);
                }
                Body::KeyRotation(body) => {
                    rotations.push(found.seq);
                    add_keys(
                        &mut keys,
                        rotations.len(),
                        &body.new_log_vkey,
                        &body.new_evidence_vkey,
                    );
                }
                Body::Checkpoint(body) if found.seq == size + 1 && body.tree_size == size => {
                    let (origin, root) = (body.origin.clone(), body.chain_root_hash);
                    let signed = keys.values().find(|key| key.id() == body.signing_key_id);
                    let stated = Checkpoint { origin, size, root };
                    head = signed.map(|key| stated.signed(key, &body.signature));
                }
                _ => {}
            }
            Ok(())
        })?;
        let head = head.ok_or_else(|| damaged(size + 1))?;
        Ok(Self { head, rotations, keys, window })
    }
}

fn add_keys(keys: &mut BTreeMap<String, VerifierKey>, epoch: usize, log: &str, evidence: &str) {
    for (role, vkey) in [("log", log), ("evidence", evidence)] {
        if let Ok(key) = VerifierKey::parse(vkey) {
            keys.insert(format!("{role}-{epoch}"), key);
        }
    }
}

/// The tree of the earlier bundle that this one is to extend, once that bundle is verified.
fn previous(
    asked: &ExportEvidence,
    home: &Home,
) -> Result<Option<protocol::evidence::verify::Tree>, Fault> {
    let Some(path) = &asked.since_bundle else { return Ok(None) };
    let report = recheck(home, path)?;
    if report.verdict != Verdict::Ok {
        let what = format!("{} does not verify: {}", path.display(), report.reason);
        return Err(Fault::new(Kind::Refused, what, "give a bundle of this log"));
    }
    Ok(report.tree)
}

/// The signed note over `manifest`; auditd writes down that it was made.
fn seal(home: &Home, said: &Manifest, manifest: &[u8], purpose: &str) -> Result<String, Fault> {
    let sha256 = super::draft::sha256(manifest);
    let request = Request::Seal(Seal {
        manifest_sha256: sha256,
        seq_range: said.seq_range,
        tree_size: said.tree_size,
        root: said.root,
        purpose: purpose.to_owned(),
    });
    let (signature, key_id) = match ask_auditd(home, &request)? {
        Reply::Sealed { signature, key_id } => (signature, key_id),
        other => return Err(refused(&other)),
    };
    let name = format!("{}/evidence", said.origin);
    let statement = Statement { origin: said.origin.clone(), sha256 };
    let line = NoteSignature { name, key_id, signature };
    Ok(Note { text: statement.text(), signatures: vec![line] }.to_string())
}

fn write(
    path: &Path,
    log: &Log,
    draft: &Draft,
    manifest: &[u8],
    note: &str,
    progress: &Progress,
) -> io::Result<()> {
    let mut archive = Writer::new(io::BufWriter::new(File::create(path)?));
    archive.member(NOTE, note.as_bytes())?;
    archive.member(MANIFEST, manifest)?;
    let sums = draft.manifest.sums();
    // SHA256SUMS has its place among the others by its name.
    let mut names: Vec<&str> = draft.manifest.files.iter().map(|it| it.file.as_str()).collect();
    names.push(SUMS);
    names.sort_unstable();
    for name in names {
        match (name, draft.members.get(name)) {
            (SUMS, _) => archive.member(SUMS, sums.as_bytes())?,
            (_, Some(bytes)) => archive.member(name, bytes)?,
            (_, None) => copy(&mut archive, log, draft, name, progress)?,
        }
    }
    let file = archive.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()
}

/// Copies a file of lines, which was hashed before; what changed since then is never signed for.
fn copy(
    archive: &mut Writer<impl Write>,
    log: &Log,
    draft: &Draft,
    name: &str,
    progress: &Progress,
) -> io::Result<()> {
    let size = draft.manifest.files.iter().find(|it| it.file == name).map_or(0, |it| it.size);
    archive.begin(name, size)?;
    let from = draft.sources.get(name).ok_or_else(|| io::Error::other("no source"))?;
    let mut file = File::open(log.folder.join(&from.file))?;
    io::copy(&mut (&mut file).take(from.offset), &mut io::sink())?;
    progress.copying();
    let copied = io::copy(&mut file.take(size), archive)?;
    if copied == size { Ok(()) } else { Err(io::Error::other("the log shrank meanwhile")) }
}

fn recheck(home: &Home, path: &Path) -> Result<BundleReport, Fault> {
    let wrong = |what: String| Fault::new(Kind::Refused, what, "check the path and the keys");
    let key = pinned(&home.log_key()).map_err(|unusable| wrong(unusable.0))?;
    super::bundle::recheck(path, key).map_err(|unusable| wrong(unusable.0))
}

fn print(out: Output, path: &Path, report: &BundleReport) {
    let value = super::bundle::to_json(report);
    let value = json!({ "bundle": path.display().to_string(), "verification": value });
    out.result(&value, |paint: Paint| {
        let said = paint.verdict(report.verdict, &report.to_string());
        format!("{said}  {}\n", paint.faint(&format!("bundle: {}", path.display())))
    });
}

fn default_name(tree: &Checkpoint, draft: &Draft) -> PathBuf {
    let (first, last) = draft.manifest.seq_range;
    let kind = match draft.manifest.bundle_type {
        BundleType::Full => format!("{}", tree.size),
        BundleType::Range => format!("{first}-{last}"),
        BundleType::Selection => format!("selection-{first}-{last}"),
    };
    PathBuf::from(format!("waterwall-evidence-{kind}.tar.gz"))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

fn refused(reply: &Reply) -> Fault {
    let (what, advice) = match reply {
        Reply::Refused(Refusal::SignerAway) => {
            ("the signer does not answer", "see what is wrong with `waterwall-ctl status`")
        }
        Reply::Refused(Refusal::NotSigned) => {
            ("the log went on for too long meanwhile", "export again, or a smaller range")
        }
        Reply::Refused(Refusal::OutOfGrammar) => {
            ("auditd does not take the purpose", "use at most 200 bytes of plain text")
        }
        _ => ("auditd answered another question", "see what is wrong with `waterwall-ctl status`"),
    };
    Fault::new(Kind::Refused, what, advice)
}

pub(super) fn damaged(seq: u64) -> Fault {
    let what = format!("line {seq} is not what it must be");
    Fault::new(Kind::Refused, what, "see what is wrong with `waterwall-ctl verify-chain`")
}

pub(super) fn ours(what: &str) -> Fault {
    Fault::new(Kind::Ours, what, "please report this")
}

/// How far it is, for the person at the terminal.
pub(super) struct Progress {
    lines: u64,
    shown: bool,
}

impl Progress {
    fn start(lines: u64) -> Self {
        Self { lines, shown: io::stderr().is_terminal() && lines > 100_000 }
    }

    /// After so many lines of the whole work.
    pub(super) fn at(&self, line: u64) {
        if self.shown && line.is_multiple_of(65_536) {
            let percent = line * 100 / self.lines.max(1);
            let _ = write!(io::stderr(), "\rexport: {percent} % of {} lines", self.lines);
        }
    }

    fn copying(&self) {
        if self.shown {
            let _ = write!(io::stderr(), "\rexport: packing {} lines       ", self.lines);
        }
    }

    fn end(&self) {
        if self.shown {
            say("export: done");
        }
    }
}

/// The sum of a file in memory.
pub(super) fn sum(name: &str, bytes: &[u8]) -> FileSum {
    FileSum { file: name.to_owned(), sha256: super::draft::sha256(bytes), size: bytes.len() as u64 }
}

/// The name under which lines of the log lie in a bundle.
pub(super) fn range_name() -> String {
    RANGE_LOG.to_owned()
}

/// The name of a policy's file.
pub(super) fn policy_name(hash: &[u8; 32]) -> String {
    format!("policy/{}.json", hex::encode(hash))
}

/// Now, by the wall clock.
pub(super) fn now() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ms = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(0));
    Timestamp::from_ms(ms).unwrap_or_else(|| Timestamp::from_ms(0).expect("the epoch is a time"))
}
