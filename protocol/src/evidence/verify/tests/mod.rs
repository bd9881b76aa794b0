//! The A, B and C rows of the conformance suite, and the key rows of G, each named for what it
//! shows. A small writer with fixed keys makes the logs; an attacker re-links as far as he can
//! without keys.

mod bundles;
mod checkpoints;
mod lines;
mod receipts;
mod rotation;
mod segments;
mod sessions;
mod truncation;

use std::collections::BTreeMap;
use std::io::{self, Read};

use ed25519_dalek::{Signer, SigningKey};

use super::*;
use crate::evidence::body::{
    Block, BlockReason, Body, Checkpoint, Detokenization, Genesis, KillSwitch, KillSwitchAction,
    Outcome, PolicyChange, Redacted, Redaction, ScanClean, Sent, Start, Stop,
};
use crate::evidence::line::{self, Line};
use crate::evidence::merkle::{Frontier, Hash, leaf_hash};
use crate::evidence::note::VerifierKey;
use crate::evidence::timestamp::Timestamp;
use crate::evidence::{chain, checkpoint, frameworks};

const ORIGIN: &str = "waterwall.local/00112233445566778899aabbccddeeff";
const INST: [u8; 8] = [0xa1; 8];

/// The log key, and the evidence key of the same log.
fn log_key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn evidence_key() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

fn vkey(name: &str, key: &SigningKey) -> VerifierKey {
    VerifierKey::new(name, key.verifying_key().to_bytes()).unwrap()
}

/// A log directory in memory.
#[derive(Debug, Clone, Default)]
struct Dir(BTreeMap<String, Vec<u8>>);

impl Source for Dir {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.keys().filter(|name| !name.contains('/')).cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        Ok(self.0.get(name).map(|bytes| Box::new(bytes.as_slice()) as Box<dyn Read>))
    }
}

impl Dir {
    /// One active segment of `lines`, and the framework table.
    fn of(lines: &[Line]) -> Self {
        Self::of_bytes(&bytes(lines))
    }

    fn of_bytes(log: &[u8]) -> Self {
        Self::default().with(ACTIVE, log).with(FRAMEWORKS, &frameworks::json())
    }

    fn with(mut self, name: &str, bytes: &[u8]) -> Self {
        self.0.insert(name.to_owned(), bytes.to_vec());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.0.remove(name).unwrap();
        self
    }

    fn check(&self) -> Report {
        self.check_with(|_| {})
    }

    fn check_with(&self, change: impl FnOnce(&mut Options)) -> Report {
        let mut options = Options::new(PinnedKey::Named(vkey(ORIGIN, &log_key())));
        change(&mut options);
        verify_chain(self, &options)
    }
}

impl Report {
    /// Exit code and reason, to compare with a row of the suite.
    fn said(&self) -> (u8, &'static str) {
        (self.verdict.exit_code(), self.code.unwrap_or_default())
    }

    fn warned(&self) -> Vec<&'static str> {
        self.warnings.iter().map(|warning| warning.code).collect()
    }
}

fn bytes(lines: &[Line]) -> Vec<u8> {
    let with_lf = |line: &Line| [line::encode(line).unwrap().as_slice(), b"\n"].concat();
    lines.iter().flat_map(with_lf).collect()
}

fn line(body: impl Into<Body>) -> Line {
    let body = body.into();
    Line {
        seq: 1,
        ts: Timestamp::from_ms(0).unwrap(),
        up_ms: 0,
        boot: [0xb0; 8],
        prev_hash: chain::START,
        salt: [0; 16],
        frameworks: frameworks::tags(&body).iter().map(|tag| (*tag).to_owned()).collect(),
        body,
    }
}

fn genesis() -> Line {
    line(Genesis {
        origin: ORIGIN.into(),
        log_vkey: vkey(ORIGIN, &log_key()).to_string(),
        evidence_vkey: vkey(&format!("{ORIGIN}/evidence"), &evidence_key()).to_string(),
        recovery_vkey: None,
        checkpoint_lines: 10_000,
        checkpoint_ms: 60_000,
        head_ms: 1000,
        idle_ms: 300_000,
        frameworks_hash: frameworks::hash(&frameworks::json()),
        predecessor: None,
        software: "test".into(),
    })
}

fn start() -> Line {
    line(Start {
        reason: "start".into(),
        clean: true,
        signer_size: 0,
        config_hash: [1; 32],
        policy_hash: None,
        software: "test".into(),
    })
}

fn stop() -> Line {
    line(Stop { reason: "asked".into() })
}

fn redaction(req_no: u64) -> Line {
    line(Redaction {
        host: "api.anthropic.com".into(),
        inst: INST,
        req_no,
        request_id: None,
        session_id: None,
        redactions: vec![Redacted {
            kind: "AWS_KEY".into(),
            hmac8: [7; 8],
            rule: "messages".into(),
            count: 2,
        }],
        redaction_count: 2,
        part: (1, 1),
        policy_hash: [9; 32],
        hkey: [8; 8],
    })
}

fn scan(req_no_first: u64, req_no_last: u64) -> Line {
    line(ScanClean {
        host: "api.openai.com".into(),
        inst: INST,
        req_no_first,
        req_no_last,
        policy_hash: [9; 32],
    })
}

fn outcome(req_no: u64) -> Line {
    line(Outcome { inst: INST, req_no, sent: Sent::All, status: Some(200) })
}

/// A checkpoint line that [`sign`] fills in.
fn checkpoint() -> Line {
    line(Checkpoint {
        origin: ORIGIN.into(),
        tree_size: 0,
        chain_root_hash: [0; 32],
        signing_key_id: vkey(ORIGIN, &log_key()).id(),
        signature: [0; 64],
    })
}

fn some_events() -> Vec<Line> {
    vec![
        line(PolicyChange {
            old_policy_hash: None,
            new_policy_hash: [9; 32],
            pattern_count: 31,
            actor: "start".into(),
        }),
        redaction(1),
        line(Detokenization {
            host: "api.anthropic.com".into(),
            inst: INST,
            req_no: 1,
            request_id: None,
            session_id: None,
            detok_count: 2,
            unknown_placeholders: 0,
            stream: true,
            part: 1,
            policy_hash: [9; 32],
        }),
        outcome(1),
        scan(2, 3),
        line(Block {
            host: None,
            inst: INST,
            req_no: 4,
            reason: BlockReason::TooLarge,
            policy_hash: None,
        }),
        line(KillSwitch {
            action: KillSwitchAction::Refused,
            sources_active: vec!["http".into()],
            inst: Some(INST),
            req_no: Some(5),
            actor: None,
            reason: None,
        }),
    ]
}

/// A log of two checkpoints that ends in good order: 15 lines.
fn good() -> Vec<Line> {
    let mut lines = vec![genesis(), start()];
    lines.extend(some_events());
    lines.push(checkpoint());
    lines.extend([redaction(6), scan(7, 7), outcome(7), stop(), checkpoint()]);
    sign(&mut lines);
    lines
}

/// Numbers and links `lines`, and dates and salts them by their place.
fn relink(lines: &mut [Line]) {
    let mut prev_hash = chain::START;
    for (index, line) in lines.iter_mut().enumerate() {
        line.seq = index as u64 + 1;
        line.up_ms = line.seq * 10;
        line.ts = Timestamp::from_ms(1_700_000_000_000 + line.up_ms).unwrap();
        line.salt[..8].copy_from_slice(&line.seq.to_be_bytes());
        line.prev_hash = prev_hash;
        prev_hash = chain::link(&line::encode(line).unwrap());
    }
}

/// As [`relink`], but changes nothing except the links.
fn relink_only(lines: &mut [Line]) {
    let mut prev_hash = chain::START;
    for line in lines {
        line.prev_hash = prev_hash;
        prev_hash = chain::link(&line::encode(line).unwrap());
    }
}

/// Writes `lines` as the one who holds the log key would.
fn sign(lines: &mut [Line]) {
    relink(lines);
    resign(lines);
}

/// Links again and fills in every checkpoint line, keeping all else.
fn resign(lines: &mut [Line]) {
    let mut frontier = Frontier::new();
    let mut prev_hash = chain::START;
    for line in lines {
        line.prev_hash = prev_hash;
        if let Body::Checkpoint(checkpoint) = &mut line.body {
            checkpoint.tree_size = frontier.size();
            checkpoint.chain_root_hash = frontier.root();
            checkpoint.signature = log_key().sign(text_of(checkpoint).as_bytes()).to_bytes();
        }
        let bytes = line::encode(line).unwrap();
        frontier.append(leaf_hash(&bytes));
        prev_hash = chain::link(&bytes);
    }
}

fn text_of(line: &Checkpoint) -> String {
    let (size, root) = (line.tree_size, line.chain_root_hash);
    checkpoint::Checkpoint { origin: line.origin.clone(), size, root }.text()
}

/// Changes the checkpoint line at `index`.
fn at_checkpoint(lines: &mut [Line], index: usize, change: impl FnOnce(&mut Checkpoint)) {
    let Body::Checkpoint(checkpoint) = &mut lines[index].body else { panic!("no checkpoint") };
    change(checkpoint);
}

fn root(lines: &[Line]) -> Hash {
    let mut frontier = Frontier::new();
    lines.iter().for_each(|line| frontier.append(leaf_hash(&line::encode(line).unwrap())));
    frontier.root()
}

/// The signed note over all of `lines`.
fn note(lines: &[Line]) -> checkpoint::SignedCheckpoint {
    note_by(lines, ORIGIN, &log_key())
}

fn note_by(lines: &[Line], name: &str, key: &SigningKey) -> checkpoint::SignedCheckpoint {
    let size = lines.len() as u64;
    let stated = checkpoint::Checkpoint { origin: ORIGIN.into(), size, root: root(lines) };
    let signature = key.sign(stated.text().as_bytes()).to_bytes();
    stated.signed(&vkey(name, key), &signature)
}

/// The bytes of [`note`].
fn head(lines: &[Line]) -> Vec<u8> {
    note(lines).note.to_string().into_bytes()
}

/// The log after `from` became `to` in the first place, in bytes.
fn replaced(lines: &[Line], from: &str, to: &str) -> Dir {
    let log = String::from_utf8(bytes(lines)).unwrap();
    let changed = log.replacen(from, to, 1);
    assert_ne!(log, changed, "{from} is not in the log");
    Dir::of_bytes(changed.as_bytes())
}
