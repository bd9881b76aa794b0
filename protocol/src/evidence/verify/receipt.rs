//! `verify-receipt`: is this line in the log that the key signs for?

use std::fmt;

use super::keys::PinnedKey;
use super::report::{Failure, Verdict, fail, fail_anywhere};
use crate::evidence::body::Body;
use crate::evidence::checkpoint::SignedCheckpoint;
use crate::evidence::line::{self, Line, LineError};
use crate::evidence::merkle::{leaf_hash, verify_inclusion};
use crate::evidence::note::Signed;
use crate::evidence::tlog_proof::TlogProof;

/// What the auditor brings to a receipt.
#[derive(Debug, Clone)]
pub struct ReceiptOptions {
    /// The log key he trusts.
    pub pinned: PinnedKey,
    /// The log it must be of; known from a named key without it.
    pub origin: Option<String>,
    /// The `line_type` he asks for; `None` for any.
    pub line_type: Option<String>,
}

/// What `verify-receipt` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptReport {
    /// What it came to.
    pub verdict: Verdict,
    /// Stable code of the reason, `E_…`; `None` when all is well.
    pub code: Option<&'static str>,
    /// Why, in words. Holds no text from the receipt.
    pub reason: String,
    /// Number of the line the receipt speaks of, where that is known.
    pub seq: Option<u64>,
    /// The line; only when all is well.
    pub line: Option<Line>,
    /// The checkpoint that proves it, and its signatures; only when all is well.
    pub checkpoint: Option<SignedCheckpoint>,
    /// Id of the key that signed it; only when all is well.
    pub key_id: Option<[u8; 4]>,
}

impl fmt::Display for ReceiptReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(line), Some(signed)) = (&self.line, &self.checkpoint) {
            let (kind, checkpoint) = (line.body.line_type(), &signed.checkpoint);
            let (seq, size, origin) = (line.seq, checkpoint.size, &checkpoint.origin);
            return write!(
                f,
                "OK: {kind} line {seq} is in the tree of size {size} of log {origin}"
            );
        }
        let code = self.code.unwrap_or_default();
        match (self.verdict, self.seq) {
            (Verdict::Usage, _) => write!(f, "ERROR: {}", self.reason),
            (_, Some(seq)) => {
                write!(f, "FAIL: first failure at seq {seq}: {} [{code}]", self.reason)
            }
            (_, None) => write!(f, "FAIL: {} [{code}]", self.reason),
        }
    }
}

/// Verifies one receipt. The checks run in a fixed order: form of the receipt, of the line, its
/// type, the checkpoint's log, key and signature, inclusion, place.
#[must_use]
pub fn verify_receipt(bytes: &[u8], options: &ReceiptOptions) -> ReceiptReport {
    let mut report = ReceiptReport {
        verdict: Verdict::Ok,
        code: None,
        reason: String::new(),
        seq: None,
        line: None,
        checkpoint: None,
        key_id: None,
    };
    match check(bytes, options) {
        Ok((line, checkpoint, key_id)) => {
            report.seq = Some(line.seq);
            report.line = Some(line);
            report.checkpoint = Some(checkpoint);
            report.key_id = Some(key_id);
        }
        Err(failure) => {
            report.verdict = failure.verdict;
            report.code = Some(failure.code);
            report.reason = failure.reason;
            report.seq = failure.seq;
        }
    }
    report
}

fn check(
    bytes: &[u8],
    options: &ReceiptOptions,
) -> Result<(Line, SignedCheckpoint, [u8; 4]), Failure> {
    if !options.pinned.is_sound() {
        return Err(fail_anywhere("E_SIGNATURE", "the pinned key is of small order"));
    }
    let proof = parse(bytes)?;
    let seq = proof.index.saturating_add(1);
    let line = line_of(&proof, seq)?;
    check_type(&line.body, options.line_type.as_deref(), seq)?;
    let stated = &proof.checkpoint.checkpoint;
    if options.origin.as_ref().is_some_and(|origin| *origin != stated.origin) {
        return Err(fail("E_ORIGIN", seq, "the receipt is of another log"));
    }
    let key = options.pinned.named(&stated.origin);
    let key = key.ok_or_else(|| fail("E_ORIGIN", seq, "the receipt is of another log"))?;
    match proof.checkpoint.note.signed_by(&key) {
        Signed::Valid => {}
        Signed::Invalid => return Err(fail("E_SIGNATURE", seq, "the signature does not verify")),
        Signed::Absent => {
            return Err(fail("E_UNKNOWN_KEY", seq, "not signed by the pinned key"));
        }
    }
    check_inclusion(&proof, &line)?;
    Ok((line, proof.checkpoint, key.id()))
}

/// The proof that `bytes` spell.
pub(super) fn parse(bytes: &[u8]) -> Result<TlogProof, Failure> {
    TlogProof::parse(bytes).map_err(|error| fail_anywhere(error.code(), error.to_string()))
}

/// The line that `proof` holds.
pub(super) fn line_of(proof: &TlogProof, seq: u64) -> Result<Line, Failure> {
    line::parse(&proof.leaf).map_err(|error| {
        let verdict = if error == LineError::Version { Verdict::Usage } else { Verdict::Fail };
        Failure { verdict, ..fail(error.code(), seq, error.to_string()) }
    })
}

/// Whether the line is in the checkpoint's tree, at the place that it names itself.
pub(super) fn check_inclusion(proof: &TlogProof, line: &Line) -> Result<(), Failure> {
    let seq = proof.index.saturating_add(1);
    let tree = &proof.checkpoint.checkpoint;
    let leaf = leaf_hash(&proof.leaf);
    if !verify_inclusion(proof.index, &leaf, tree.size, &tree.root, &proof.hashes) {
        return Err(fail("E_INCLUSION", seq, "the line is not in the checkpoint's tree"));
    }
    if line.seq != seq {
        return Err(fail("E_SEQ", seq, format!("seq is {}, not {seq}", line.seq)));
    }
    Ok(())
}

fn check_type(body: &Body, asked: Option<&str>, seq: u64) -> Result<(), Failure> {
    let found = body.line_type();
    if asked.is_none_or(|asked| asked == found) {
        return Ok(());
    }
    let reason = format!("the line is of type {found}, which is not what was asked for");
    Err(fail("E_RECEIPT_TYPE", seq, reason))
}
