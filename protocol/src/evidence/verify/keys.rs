use super::report::{Failure, fail};
use crate::evidence::body::{Checkpoint, Genesis, KeyRotation, RotationReason};
use crate::evidence::checkpoint::{self, SignedCheckpoint};
use crate::evidence::hex;
use crate::evidence::note::{BadKey, Signed, VerifierKey, key_from_pem};

/// The log key an auditor trusts beforehand. Keys inside the evidence are never trusted by
/// themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinnedKey {
    /// A C2SP verifier key, which names its log too.
    Named(VerifierKey),
    /// A bare Ed25519 key, from a PEM `PUBLIC KEY`.
    Bare([u8; 32]),
}

impl PinnedKey {
    /// The key that a file's text spells: PEM or vkey.
    ///
    /// # Errors
    ///
    /// [`BadKey`] when it is neither.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        if text.trim_start().starts_with("-----BEGIN") {
            return key_from_pem(text).map(Self::Bare);
        }
        VerifierKey::parse(text.trim()).map(Self::Named)
    }

    /// The key under the name a log has, unless it is pinned under another.
    pub(super) fn named(&self, origin: &str) -> Option<VerifierKey> {
        match self {
            Self::Named(key) => (key.name() == origin).then(|| key.clone()),
            Self::Bare(key) => VerifierKey::new(origin, *key).ok(),
        }
    }

    fn key(&self) -> &[u8; 32] {
        match self {
            Self::Named(key) => key.key(),
            Self::Bare(key) => key,
        }
    }

    /// Whether signatures of this key could mean anything.
    pub(super) fn is_sound(&self) -> bool {
        ed25519_dalek::VerifyingKey::from_bytes(self.key()).is_ok_and(|key| !key.is_weak())
    }
}

/// The keys of one log, and the tree sizes each is valid for.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) origin: String,
    recovery: Option<VerifierKey>,
    epochs: Vec<Epoch>,
}

#[derive(Debug)]
struct Epoch {
    log: VerifierKey,
    evidence: Option<VerifierKey>,
    /// Valid for tree sizes from here …
    from: u64,
    /// … to here.
    to: Option<u64>,
}

impl Epoch {
    fn covers(&self, size: u64) -> bool {
        self.from <= size && self.to.is_none_or(|to| size <= to)
    }
}

impl Keys {
    /// The keys that a log's first line names.
    pub(super) fn of_genesis(genesis: &Genesis) -> Result<Self, Failure> {
        let origin = genesis.origin.clone();
        let named = |vkey: &str, name: String| {
            VerifierKey::parse(vkey)
                .ok()
                .filter(|key| key.name() == name)
                .ok_or_else(|| fail("E_GENESIS", 1, "a key is not named after its log"))
        };
        let recovery = match &genesis.recovery_vkey {
            Some(vkey) => Some(named(vkey, format!("{origin}/recovery"))?),
            None => None,
        };
        let epoch = Epoch {
            log: named(&genesis.log_vkey, origin.clone())?,
            evidence: Some(named(&genesis.evidence_vkey, format!("{origin}/evidence"))?),
            from: 0,
            to: None,
        };
        Ok(Self { origin, recovery, epochs: vec![epoch] })
    }

    /// The pinned key alone, for a log whose first line is gone.
    pub(super) fn of_pinned(key: VerifierKey) -> Self {
        let origin = key.name().to_owned();
        let epoch = Epoch { log: key, evidence: None, from: 0, to: None };
        Self { origin, recovery: None, epochs: vec![epoch] }
    }

    pub(super) fn ids(&self) -> Vec<[u8; 4]> {
        self.epochs.iter().map(|epoch| epoch.log.id()).collect()
    }

    pub(super) fn log_keys(&self) -> impl Iterator<Item = &VerifierKey> {
        self.epochs.iter().map(|epoch| &epoch.log)
    }

    pub(super) fn evidence_keys(&self) -> impl Iterator<Item = &VerifierKey> {
        self.epochs.iter().filter_map(|epoch| epoch.evidence.as_ref())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &VerifierKey> {
        self.log_keys().chain(self.evidence_keys()).chain(&self.recovery)
    }

    /// The evidence key in force for a tree of `size`: the newest that is valid there.
    pub(super) fn evidence_at(&self, size: u64) -> Option<&VerifierKey> {
        let epoch = self.epochs.iter().rev().find(|epoch| epoch.covers(size))?;
        epoch.evidence.as_ref()
    }

    /// The id of the newest log key.
    pub(super) fn newest_id(&self) -> Option<[u8; 4]> {
        self.epochs.last().map(|epoch| epoch.log.id())
    }

    /// Checks key, epoch and signature of a checkpoint line.
    pub(super) fn check_line(&self, line: &Checkpoint, seq: u64) -> Result<(), Failure> {
        let statement = checkpoint::Checkpoint {
            origin: line.origin.clone(),
            size: line.tree_size,
            root: line.chain_root_hash,
        };
        let text = statement.text();
        let verifies = |key: &VerifierKey| key.verifies(text.as_bytes(), &line.signature);
        let evidence = self.epochs.iter().filter_map(|epoch| epoch.evidence.as_ref());
        let mut known =
            self.epochs.iter().filter(|epoch| epoch.log.id() == line.signing_key_id).peekable();
        if known.peek().is_none() {
            if evidence.clone().any(|key| key.id() == line.signing_key_id) {
                return Err(wrong_role(seq));
            }
            return Err(fail("E_UNKNOWN_KEY", seq, "signed by a key this log does not name"));
        }
        let Some(epoch) = known.find(|epoch| epoch.covers(line.tree_size)) else {
            return Err(fail("E_KEY_EPOCH", seq, "the key is not valid for this size"));
        };
        if verifies(&epoch.log) {
            return Ok(());
        }
        if evidence.clone().any(verifies) {
            return Err(wrong_role(seq));
        }
        Err(fail("E_SIGNATURE", seq, "the signature does not verify"))
    }

    /// Checks keys, epochs and signatures of a checkpoint note.
    pub(super) fn check_note(&self, signed: &SignedCheckpoint, seq: u64) -> Result<(), Failure> {
        let mut found = false;
        for epoch in &self.epochs {
            match signed.note.signed_by(&epoch.log) {
                Signed::Absent => {}
                _ if !epoch.covers(signed.checkpoint.size) => {
                    return Err(fail("E_KEY_EPOCH", seq, "the key is not valid for this size"));
                }
                Signed::Invalid => {
                    return Err(fail("E_SIGNATURE", seq, "the signature does not verify"));
                }
                Signed::Valid => found = true,
            }
        }
        if found {
            return Ok(());
        }
        let mut evidence = self.epochs.iter().filter_map(|epoch| epoch.evidence.as_ref());
        if evidence.any(|key| signed.note.signed_by(key) != Signed::Absent) {
            return Err(wrong_role(seq));
        }
        Err(fail("E_UNKNOWN_KEY", seq, "not signed by a key this log names"))
    }

    /// Whether the auditor's key is one of this log's.
    pub(super) fn check_pinned(&self, pinned: &PinnedKey) -> Result<(), Failure> {
        let is = |key: &VerifierKey| pinned.named(key.name()).is_some_and(|named| named == *key);
        if self.epochs.iter().any(|epoch| is(&epoch.log)) {
            return Ok(());
        }
        if self.epochs.iter().filter_map(|epoch| epoch.evidence.as_ref()).any(is) {
            return Err(wrong_role(1));
        }
        Err(fail("E_UNKNOWN_KEY", 1, "the pinned key is not a key of this log"))
    }

    /// Takes a rotation at line `seq`: the old key ends with size `seq`, the new one begins there
    /// (evidence format 4.17.4).
    pub(super) fn rotate(&mut self, line: &KeyRotation, seq: u64) -> Result<(), Failure> {
        let refuse = |reason: &str| fail("E_KEY_ROTATION", seq, reason);
        let parse = |vkey: &str, name: String| {
            VerifierKey::parse(vkey).ok().filter(|key| key.name() == name)
        };
        let log = parse(&line.new_log_vkey, self.origin.clone());
        let evidence = parse(&line.new_evidence_vkey, format!("{}/evidence", self.origin));
        let (Some(log), Some(evidence)) = (log, evidence) else {
            return Err(refuse("a new key is not named after its log"));
        };
        if self.newest_id() != Some(line.old_key_id) {
            return Err(refuse("the key that ends is not the one in force"));
        }
        let text = rotation_text(&self.origin, line);
        if !log.verifies(text.as_bytes(), &line.proof_of_possession) {
            return Err(refuse("the new key did not sign its rotation"));
        }
        match (&line.endorsed_by, &self.recovery) {
            (None, _) if line.reason == RotationReason::Compromise => {
                return Err(refuse("the recovery key did not endorse it"));
            }
            (None, _) => {}
            (Some(signature), Some(recovery)) if recovery.verifies(text.as_bytes(), signature) => {}
            (Some(_), _) => return Err(refuse("the endorsement does not verify")),
        }
        if let Some(old) = self.epochs.last_mut() {
            old.to = Some(seq);
        }
        self.epochs.push(Epoch { log, evidence: Some(evidence), from: seq, to: None });
        Ok(())
    }
}

/// What a new log key, and a recovery key, sign for a rotation.
pub(super) fn rotation_text(origin: &str, line: &KeyRotation) -> String {
    format!(
        "waterwall key rotation v1\n{origin}\n{}\n{}\n{}\n{}\n",
        hex::encode(&line.old_key_id),
        line.new_log_vkey,
        line.new_evidence_vkey,
        line.reason.as_str()
    )
}

fn wrong_role(seq: u64) -> Failure {
    fail("E_KEY_ROLE", seq, "the evidence key stands where the log key must")
}
