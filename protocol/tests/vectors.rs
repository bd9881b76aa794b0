//! One small log, byte for byte: `tests/vectors/evidence/log`.
//!
//! It is written here through the public interface only, as a writer would; it must come out as
//! the same bytes for as long as the format is version 2, verify with this crate, and verify with
//! tools that know nothing of it.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use ed25519_dalek::pkcs8::{EncodePublicKey, spki::der::pem::LineEnding};
use ed25519_dalek::{Signer, SigningKey};
use protocol::evidence::body::{
    Block, BlockReason, Body, Checkpoint, ClockStep, Detokenization, Disk, DiskState, Genesis,
    KillSwitch, KillSwitchAction, Outcome, PolicyChange, PolicyRefused, Redacted, Redaction,
    ScanClean, Sent, Start, StepDirection, Stop,
};
use protocol::evidence::line::{self, Line};
use protocol::evidence::merkle::{Frontier, leaf_hash};
use protocol::evidence::note::VerifierKey;
use protocol::evidence::timestamp::Timestamp;
use protocol::evidence::verify::{
    ACTIVE, FRAMEWORKS, HEAD, Options, PinnedKey, Source, Verdict, verify_chain,
};
use protocol::evidence::{chain, checkpoint, frameworks};

const ORIGIN: &str = "waterwall.local/000102030405060708090a0b0c0d0e0f";
const INST: [u8; 8] = [0xa1; 8];
const POLICY: [u8; 32] = [9; 32];

fn log_key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn vkey(name: &str, key: &SigningKey) -> VerifierKey {
    VerifierKey::new(name, key.verifying_key().to_bytes()).unwrap()
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/evidence")
}

/// A log directory on disk.
struct Dir(PathBuf);

impl Source for Dir {
    fn names(&self) -> io::Result<Vec<String>> {
        let name =
            |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        fs::read_dir(&self.0)?.map(name).collect()
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        match File::open(self.0.join(name)) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Writes lines one after the other.
#[derive(Default)]
struct Writer {
    log: Vec<u8>,
    tree: Frontier,
    prev_hash: [u8; 32],
}

impl Writer {
    fn append(&mut self, body: impl Into<Body>) {
        let body = body.into();
        let seq = self.tree.size() + 1;
        let mut salt = [0x5a; 16];
        salt[..8].copy_from_slice(&seq.to_be_bytes());
        let line = Line {
            seq,
            ts: Timestamp::from_ms(1_763_640_000_000 + seq * 250).unwrap(),
            up_ms: 5000 + seq * 250,
            boot: [0xb0; 8],
            prev_hash: self.prev_hash,
            salt,
            frameworks: frameworks::tags(&body).iter().map(|tag| (*tag).to_owned()).collect(),
            body,
        };
        let bytes = line::encode(&line).unwrap();
        self.prev_hash = chain::link(&bytes);
        self.tree.append(leaf_hash(&bytes));
        self.log.extend_from_slice(&bytes);
        self.log.push(b'\n');
    }

    fn statement(&self) -> checkpoint::Checkpoint {
        let (size, root) = (self.tree.size(), self.tree.root());
        checkpoint::Checkpoint { origin: ORIGIN.into(), size, root }
    }

    fn checkpoint(&mut self) {
        let statement = self.statement();
        self.append(Checkpoint {
            signature: log_key().sign(statement.text().as_bytes()).to_bytes(),
            origin: statement.origin,
            tree_size: statement.size,
            chain_root_hash: statement.root,
            signing_key_id: vkey(ORIGIN, &log_key()).id(),
        });
    }

    fn head(&self) -> String {
        let statement = self.statement();
        let signature = log_key().sign(statement.text().as_bytes()).to_bytes();
        statement.signed(&vkey(ORIGIN, &log_key()), &signature).note.to_string()
    }
}

fn begin(writer: &mut Writer) {
    let evidence = SigningKey::from_bytes(&[2; 32]);
    writer.append(Genesis {
        origin: ORIGIN.into(),
        log_vkey: vkey(ORIGIN, &log_key()).to_string(),
        evidence_vkey: vkey(&format!("{ORIGIN}/evidence"), &evidence).to_string(),
        recovery_vkey: None,
        checkpoint_lines: 10_000,
        checkpoint_ms: 60_000,
        head_ms: 1000,
        idle_ms: 300_000,
        frameworks_hash: frameworks::hash(&frameworks::json()),
        predecessor: None,
        software: "waterwall 0.1.0".into(),
    });
    writer.append(Start {
        reason: "start".into(),
        clean: true,
        signer_size: 0,
        config_hash: [3; 32],
        policy_hash: None,
        software: "waterwall 0.1.0".into(),
    });
    writer.checkpoint();
    writer.append(PolicyChange {
        old_policy_hash: None,
        new_policy_hash: POLICY,
        pattern_count: 31,
        actor: "start".into(),
    });
    writer.append(PolicyRefused { attempted_hash: None, code: "empty-match".into() });
}

fn requests(writer: &mut Writer) {
    let redacted = |kind: &str, count| Redacted {
        kind: kind.into(),
        hmac8: [0x42; 8],
        rule: "anthropic.messages.content".into(),
        count,
    };
    writer.append(Redaction {
        host: "api.anthropic.com".into(),
        inst: INST,
        req_no: 1,
        request_id: Some("req-1".into()),
        session_id: None,
        redactions: vec![redacted("AWS_ACCESS_KEY", 2), redacted("LITERAL", 1)],
        redaction_count: 3,
        part: (1, 1),
        policy_hash: POLICY,
        hkey: [8; 8],
    });
    writer.append(Outcome { inst: INST, req_no: 1, sent: Sent::All, status: Some(200) });
    writer.append(Detokenization {
        host: "api.anthropic.com".into(),
        inst: INST,
        req_no: 1,
        request_id: Some("req-1".into()),
        session_id: None,
        detok_count: 3,
        unknown_placeholders: 0,
        stream: true,
        part: 1,
        policy_hash: POLICY,
    });
    writer.append(ScanClean {
        host: "api.openai.com".into(),
        inst: INST,
        req_no_first: 2,
        req_no_last: 4,
        policy_hash: POLICY,
    });
    writer.append(Block {
        host: None,
        inst: INST,
        req_no: 5,
        reason: BlockReason::Unparseable,
        policy_hash: Some(POLICY),
    });
}

fn end(writer: &mut Writer) {
    let moved = |action, sources: &[&str]| KillSwitch {
        action,
        sources_active: sources.iter().map(|source| (*source).to_owned()).collect(),
        inst: None,
        req_no: None,
        actor: Some("uid:1000".into()),
        reason: Some("a \"drill\"\n\u{1f512} \u{2028}\u{1}\\".into()),
    };
    writer.append(moved(KillSwitchAction::Armed, &["config", "http"]));
    writer.append(moved(KillSwitchAction::Cleared, &[]));
    writer.append(ClockStep { delta_ms: 3_600_000, direction: StepDirection::Forward });
    writer.append(Disk { state: DiskState::Low, free_mib: 900 });
    writer.append(Stop { reason: "SIGTERM".into() });
    writer.checkpoint();
}

/// The files of the log, and of its key.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let mut writer = Writer::default();
    begin(&mut writer);
    requests(&mut writer);
    end(&mut writer);
    let pem = log_key().verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    let head = writer.head().into_bytes();
    vec![
        ("log/proxy.jsonl", writer.log),
        ("log/head.note", head),
        ("log/frameworks.json", frameworks::json()),
        ("log.pem", pem.into_bytes()),
        ("log.vkey", format!("{}\n", vkey(ORIGIN, &log_key())).into_bytes()),
    ]
}

/// For a new version of the format: `WATERWALL_WRITE_VECTORS=1 cargo test -p protocol --test vectors`.
#[test]
fn the_format_keeps_its_bytes() {
    for (name, bytes) in files() {
        let path = vectors().join(name);
        if std::env::var_os("WATERWALL_WRITE_VECTORS").is_some() {
            fs::write(&path, &bytes).unwrap();
        }
        assert!(fs::read(path).unwrap() == bytes, "{name} has changed");
    }
}

#[test]
fn the_log_verifies_under_either_spelling_of_its_key() {
    for key in ["log.pem", "log.vkey"] {
        let pinned = PinnedKey::parse(&fs::read_to_string(vectors().join(key)).unwrap()).unwrap();
        let mut options = Options::new(pinned);
        options.anchors = vec![fs::read(vectors().join("log/head.note")).unwrap()];
        let report = verify_chain(&Dir(vectors().join("log")), &options);
        assert_eq!(report.verdict, Verdict::Ok, "{report}");
        assert_eq!(
            report.to_string(),
            "OK: 16 lines verified, 2 checkpoints valid; signed through seq 16, unsigned tail 0; \
             warnings: W_CLOCK_STEP"
        );
    }
}

/// Exit code of the shell recipe; `None` where this machine lacks a tool it needs, which where `CI`
/// is set is a failure.
fn stock_tools(log: &Path) -> Option<i32> {
    let script = vectors().join("check-with-stock-tools");
    let ran = Command::new("sh").arg(script).arg(log).arg(vectors().join("log.pem")).status();
    let code = ran.unwrap().code();
    assert!(code != Some(77) || std::env::var_os("CI").is_none(), "install what the recipe needs");
    code.filter(|code| *code != 77)
}

#[test]
fn the_log_verifies_with_tools_that_know_nothing_of_it() {
    assert!(matches!(stock_tools(&vectors().join("log")), None | Some(0)));
}

#[test]
fn those_tools_refuse_what_this_crate_refuses() {
    let copy = tempfile::tempdir().unwrap();
    let pinned = PinnedKey::Bare(log_key().verifying_key().to_bytes());
    for (from, to) in [
        ("\"count\":2", "\"count\":3"),
        ("\"seq\":7", "\"seq\": 7"),
        ("\"delta_ms\":3600000", "\"delta_ms\":3600001"),
        ("\"signature\":\"", "\"signature\":\"AAAA"),
    ] {
        for name in [ACTIVE, HEAD, FRAMEWORKS] {
            fs::copy(vectors().join("log").join(name), copy.path().join(name)).unwrap();
        }
        let log = fs::read_to_string(copy.path().join(ACTIVE)).unwrap();
        let changed = log.replacen(from, to, 1);
        assert_ne!(log, changed, "{from} is not in the log");
        fs::write(copy.path().join(ACTIVE), changed).unwrap();
        assert!(matches!(stock_tools(copy.path()), None | Some(1)), "{from}");
        let report = verify_chain(&Dir(copy.path().into()), &Options::new(pinned.clone()));
        assert_eq!(report.verdict, Verdict::Fail, "{from}");
    }
}
