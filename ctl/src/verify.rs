//! `verify-chain`: the evidence format's own verifier, on a folder.
//!
//! Only files and words are added here: every judgement is `protocol::evidence::verify`'s.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;
use protocol::evidence::hex;
use protocol::evidence::high_water::{SLOTS, newer};
use protocol::evidence::note::VerifierKey;
use protocol::evidence::verify::{
    ACTIVE, Options, PinnedKey, Report, SignerState, Source, Verdict, Warning, verify_chain,
};
use serde_json::{Value, json};

use crate::cli::VerifyChain;
use crate::fault::{Fault, Kind};
use crate::home::Home;
use crate::output::{Output, Paint};
use crate::supervise::lock;

/// `verify-chain`. Its first line and exit codes are the evidence format's (section 4.14).
///
/// `home` is only needed for what the command line does not name.
pub(crate) fn run(home: Result<Home, Fault>, out: Output, asked: &VerifyChain) -> u8 {
    let checked = prepare(home, asked).map(|(log, options)| {
        let report = verify_chain(&Folder(log), &options);
        (report, options.live)
    });
    match checked {
        Ok((report, live)) => {
            out.result(&to_json(&report), |paint| to_text(&report, live, paint));
            report.verdict.exit_code()
        }
        Err(unusable) => print_unusable(out, &unusable),
    }
}

/// Why there is nothing to judge, and what to do about it.
#[derive(Debug)]
pub(crate) struct Unusable(pub(crate) String);

/// Says why there is nothing to judge; the exit code for that.
pub(crate) fn print_unusable(out: Output, unusable: &Unusable) -> u8 {
    let value = json!({ "ok": false, "verdict": "ERROR", "failure_reason": unusable.0 });
    out.result(&value, |_| format!("ERROR: {}\n", unusable.0));
    Verdict::Usage.exit_code()
}

/// The key that the file at `path` holds.
pub(crate) fn pinned(path: &Path) -> Result<PinnedKey, Unusable> {
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    PinnedKey::parse(&text).map_err(|error| {
        Unusable(format!("{}: {error}; give a PEM public key or a vkey", path.display()))
    })
}

/// The key that the file at `path` holds, as that of the log `origin`.
pub(crate) fn named(path: &Path, origin: &str) -> Result<VerifierKey, Fault> {
    let wrong = |what: String| Fault::new(Kind::Refused, what, "give the log's own key");
    let key = match pinned(path).map_err(|unusable| wrong(unusable.0))? {
        PinnedKey::Named(key) => Some(key).filter(|key| key.name() == origin),
        PinnedKey::Bare(key) => VerifierKey::new(origin, key).ok(),
    };
    key.ok_or_else(|| wrong(format!("{} is the key of another log", path.display())))
}

fn prepare(home: Result<Home, Fault>, asked: &VerifyChain) -> Result<(PathBuf, Options), Unusable> {
    let log = match (&asked.log, &home) {
        (Some(log), _) => folder_of(log),
        (None, Ok(home)) => home.log(),
        (None, Err(fault)) => return Err(Unusable(format!("{}; {}", fault.what, fault.advice))),
    };
    let own_home = home.ok().filter(|home| same_folder(&log, &home.log()));
    let key = match (&asked.pubkey, &own_home) {
        (Some(key), _) => key.clone(),
        (None, Some(home)) => home.log_key(),
        // A key from the same place as the log would prove nothing.
        (None, None) => {
            let what = "this log is not this installation's own";
            return Err(Unusable(format!("{what}: give the key you trust with --pubkey FILE")));
        }
    };
    let mut options = Options::new(pinned(&key)?);
    for anchor in &asked.anchor {
        options.anchors.push(fs::read(anchor).map_err(|error| unreadable(anchor, &error))?);
    }
    options.signer_state = match (&asked.signer_state, &own_home) {
        (Some(state), _) => Some(signer_state(state)?),
        // What was signed last tells where the log was cut; only its owner may look there.
        (None, Some(home)) => own_signer_state(&home.signer_state())?,
        (None, None) => None,
    };
    // Our own log is being written while its daemons run.
    let written = |home: &Home| matches!(lock::holder(home), Ok(Some(_)));
    options.live = asked.live || own_home.as_ref().is_some_and(written);
    options.strict = asked.strict;
    options.max_unsigned_lines = asked.max_unsigned_lines;
    Ok((log, options))
}

/// A note, or the folder of a signer (evidence format 4.17.7).
fn signer_state(state: &Path) -> Result<SignerState, Unusable> {
    if state.is_dir() {
        return high_water(state).map_err(|unusable| {
            Unusable(format!("{}: give the signer's folder, or a checkpoint note", unusable.0))
        });
    }
    fs::read(state).map(SignerState::Note).map_err(|error| unreadable(state, &error))
}

/// That of the own signer, unless there is none, or none this user may see.
fn own_signer_state(folder: &Path) -> Result<Option<SignerState>, Unusable> {
    let looked = File::open(folder.join(SLOTS[0])).map(drop);
    match looked.map_err(|error| error.kind()) {
        Err(io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(None),
        _ => high_water(folder).map(Some),
    }
}

/// The size and root that a signer signed last, also while it runs.
fn high_water(folder: &Path) -> Result<SignerState, Unusable> {
    let slot = |name| {
        let path = folder.join(name);
        fs::read(&path).map_err(|error| unreadable(&path, &error))
    };
    let look = || {
        let saved = newer(&slot(SLOTS[0])?, &slot(SLOTS[1])?);
        saved.map_err(|unknown| Unusable(format!("{}: {unknown}", folder.display())))
    };
    // A signer that saves between the two reads makes them contradict each other, but not twice.
    look().or_else(|_| look()).map(|saved| SignerState::Head(saved.head))
}

fn unreadable(path: &Path, error: &io::Error) -> Unusable {
    Unusable(format!("cannot read {}: {error}; check the path", path.display()))
}

/// The newest segment stands for its folder.
pub(crate) fn folder_of(log: &Path) -> PathBuf {
    if log.file_name().is_some_and(|name| name == ACTIVE) {
        return log
            .parent()
            .filter(|it| !it.as_os_str().is_empty())
            .unwrap_or(Path::new("."))
            .into();
    }
    log.to_path_buf()
}

fn same_folder(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// A log folder on disk.
struct Folder(PathBuf);

impl Source for Folder {
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.0)?;
        entries
            // A name that is no text is none of a log's.
            .filter_map(|entry| entry.map(|it| it.file_name().into_string().ok()).transpose())
            .collect()
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        // An auditor's folder comes from somebody else: a FIFO in it would be waited for without end.
        let mut options = File::options();
        match options.read(true).custom_flags(O_NONBLOCK).open(self.0.join(name)) {
            Ok(file) if !file.metadata()?.is_file() => {
                Err(io::Error::other(format!("{name} is not a plain file")))
            }
            Ok(file) => Ok(Some(Box::new(io::BufReader::with_capacity(READ_AHEAD, file)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn to_text(report: &Report, live: bool, paint: Paint) -> String {
    let mut text = paint.verdict(report.verdict, &report.to_string());
    let mut line = |words: String| text.push_str(&format!("  {}\n", paint.faint(&words)));
    for Warning { code, text } in &report.warnings {
        line(format!("{code}: {text}"));
    }
    if let Some(origin) = &report.origin {
        line(format!("log {origin}, tree of size {}", report.tree_size));
        line(format!("root {}", hex::encode(&report.root)));
    }
    if live {
        line("the log is being written: lines newer than this check are not judged".into());
    }
    text
}

fn to_json(report: &Report) -> Value {
    let ok = report.verdict == Verdict::Ok;
    json!({
        "ok": ok,
        "verdict": report.verdict.word(),
        "failure_reason": (!ok).then_some(&report.reason),
        "code": report.code,
        "seq": report.seq,
        "lines": report.lines,
        "checkpoints": report.checkpoints,
        "segments": report.segments,
        "first_seq": report.first_seq,
        "origin": report.origin,
        "tree_size": report.tree_size,
        "root": hex::encode(&report.root),
        "signed_size": report.signed_size,
        "signed_ts": report.signed_ts.map(|ts| ts.to_string()),
        "unsigned_tail": report.unsigned_tail,
        "scope": "chain",
        "key_ids": report.key_ids.iter().map(|id| hex::encode(id)).collect::<Vec<_>>(),
        "anchors": report.anchored_sizes,
        "warnings": report
            .warnings
            .iter()
            .map(|warning| json!({ "code": warning.code, "text": warning.text }))
            .collect::<Vec<_>>(),
    })
}

const READ_AHEAD: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use protocol::evidence::high_water::{Head, Saved};

    use super::*;
    use crate::home::Process;

    /// RFC 8032, section 7.1, test 1.
    const PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
        -----END PUBLIC KEY-----\n";

    fn asked(log: Option<PathBuf>) -> VerifyChain {
        VerifyChain {
            log,
            pubkey: None,
            anchor: Vec::new(),
            signer_state: None,
            live: false,
            strict: false,
            max_unsigned_lines: 1000,
        }
    }

    #[test]
    fn the_newest_segment_means_its_folder() {
        assert_eq!(folder_of(Path::new("/a/proxy.jsonl")), Path::new("/a"));
        assert_eq!(folder_of(Path::new("proxy.jsonl")), Path::new("."));
        assert_eq!(folder_of(Path::new("/a/b")), Path::new("/a/b"));
    }

    #[test]
    fn a_foreign_log_is_never_judged_by_a_key_that_nobody_named() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::choose(Some(folder.path()), &Process).unwrap();
        home.create().unwrap();
        let foreign = tempfile::tempdir().unwrap();
        let refused = prepare(Ok(home.clone()), &asked(Some(foreign.path().into()))).unwrap_err();
        assert!(refused.0.contains("--pubkey"), "{}", refused.0);
    }

    #[test]
    fn a_log_and_a_key_are_all_an_auditor_needs() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key.pem");
        fs::write(&key, PEM).unwrap();
        let nowhere = || Err(Fault::new(Kind::Usage, "no home", "give one"));
        let both = VerifyChain { pubkey: Some(key), ..asked(Some(folder.path().into())) };
        assert!(prepare(nowhere(), &both).is_ok());
        assert!(prepare(nowhere(), &asked(None)).unwrap_err().0.contains("no home"));
    }

    #[test]
    fn the_signers_folder_says_what_it_signed_last() {
        let folder = tempfile::tempdir().unwrap();
        assert!(own_signer_state(folder.path()).unwrap().is_none());
        assert!(signer_state(folder.path()).unwrap_err().0.contains("checkpoint note"));
        for (sequence, size) in [(4, 40), (5, 50), (6, 60)] {
            let saved = Saved { sequence, head: Head { size, root: [7; 32] } };
            fs::write(folder.path().join(SLOTS[saved.slot()]), saved.encode()).unwrap();
            if sequence == 4 {
                fs::write(folder.path().join(SLOTS[1]), "torn").unwrap();
            }
            for state in [
                signer_state(folder.path()).unwrap(),
                own_signer_state(folder.path()).unwrap().unwrap(),
            ] {
                assert!(matches!(state, SignerState::Head(head) if head == saved.head));
            }
        }
        fs::write(folder.path().join(SLOTS[0]), "torn").unwrap();
        fs::write(folder.path().join(SLOTS[1]), "torn").unwrap();
        assert!(own_signer_state(folder.path()).unwrap_err().0.contains("neither is whole"));
        let note = folder.path().join("head.note");
        fs::write(&note, "a note").unwrap();
        let SignerState::Note(read) = signer_state(&note).unwrap() else { panic!("no note") };
        assert_eq!(read, b"a note");
    }

    #[test]
    fn a_segment_that_is_no_file_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        for name in [ACTIVE, "proxy.000000000001-000000000002.jsonl", "head.note"] {
            let path = folder.path().join(name);
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            let pinned = PinnedKey::parse(PEM).unwrap();
            let report = verify_chain(&Folder(folder.path().into()), &Options::new(pinned));
            assert_eq!(report.verdict, Verdict::Usage);
            assert!(report.reason.contains("not a plain file"), "{}", report.reason);
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn the_own_log_is_live_while_its_supervisor_runs() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::choose(Some(folder.path()), &Process).unwrap();
        home.create().unwrap();
        let key = "waterwall.local/x+00000000+AA";
        fs::write(home.log_key(), key).unwrap();
        assert!(prepare(Ok(home.clone()), &asked(None)).is_err(), "a damaged key is refused");
        fs::write(home.log_key(), PEM).unwrap();
        assert!(
            !prepare(Ok(home.clone()), &asked(None)).unwrap_or_else(|it| panic!("{}", it.0)).1.live
        );
        let held = lock::take(&home).unwrap();
        let segment = home.log().join(ACTIVE);
        assert!(
            prepare(Ok(home.clone()), &asked(Some(segment)))
                .unwrap_or_else(|it| panic!("{}", it.0))
                .1
                .live
        );
        drop(held);
    }
}
