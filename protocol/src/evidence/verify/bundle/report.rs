use std::fmt;

use super::super::report::{Failure, Verdict, Warning};
use super::super::walk::Walk;
use super::Tree;
use crate::evidence::bundle::{BundleType, Manifest};
use crate::evidence::checkpoint::SignedCheckpoint;
use crate::evidence::timestamp::Timestamp;

/// What `verify-evidence` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleReport {
    /// What it came to.
    pub verdict: Verdict,
    /// Stable code of the reason, `E_…`; for a strict check, `W_…`. `None` when all is well.
    pub code: Option<&'static str>,
    /// The first line that is wrong, where one is.
    pub seq: Option<u64>,
    /// Why, in words. Holds no text from the bundle but names of its files.
    pub reason: String,
    /// How much of the log it says it holds.
    pub scope: Option<BundleType>,
    /// Its first and last line.
    pub seq_range: Option<(u64, u64)>,
    /// The window of time it was made for.
    pub window: (Option<Timestamp>, Option<Timestamp>),
    /// When it was made, by its maker's clock.
    pub exported: Option<Timestamp>,
    /// The tree that proves it.
    pub tree: Option<Tree>,
    /// Lines verified.
    pub lines: u64,
    /// Checkpoint lines verified.
    pub checkpoints: u64,
    /// Receipts in it.
    pub receipts: u64,
    /// Key ids of the log keys that it names, oldest first.
    pub key_ids: Vec<[u8; 4]>,
    /// Id of the evidence key that signed it.
    pub evidence_key_id: Option<[u8; 4]>,
    /// Size of the earlier bundle that it extends, where one was given.
    pub consistent_from: Option<u64>,
    /// `head.note`; only when all is well.
    pub head: Option<SignedCheckpoint>,
    /// Warnings, in the order they were met.
    pub warnings: Vec<Warning>,
}

impl BundleReport {
    pub(super) fn new() -> Self {
        Self {
            verdict: Verdict::Ok,
            code: None,
            seq: None,
            reason: String::new(),
            scope: None,
            seq_range: None,
            window: (None, None),
            exported: None,
            tree: None,
            lines: 0,
            checkpoints: 0,
            receipts: 0,
            key_ids: Vec::new(),
            evidence_key_id: None,
            consistent_from: None,
            head: None,
            warnings: Vec::new(),
        }
    }

    pub(super) fn describe(&mut self, manifest: &Manifest) {
        self.scope = Some(manifest.bundle_type);
        self.seq_range = Some(manifest.seq_range);
        self.window = (manifest.since, manifest.until);
        self.exported = Some(manifest.ts_exported);
        self.receipts = manifest.receipts.len() as u64;
        let origin = manifest.origin.clone();
        self.tree = Some(Tree { origin, size: manifest.tree_size, root: manifest.root });
    }

    pub(super) fn count(&mut self, walk: &Walk<'_>) {
        self.lines = walk.lines();
        self.checkpoints = walk.checkpoints;
    }

    pub(super) fn finish(mut self, failed: Option<Failure>, strict: bool) -> Self {
        if let Some(failure) = failed {
            self.verdict = failure.verdict;
            self.code = Some(failure.code);
            self.seq = failure.seq;
            self.reason = failure.reason;
            self.head = None;
        } else if strict && let Some(warning) = self.warnings.first() {
            self.verdict = Verdict::Inconclusive;
            self.code = Some(warning.code);
            self.reason.clone_from(&warning.text);
        }
        self
    }

    fn say_ok(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.seq_range.unwrap_or_default();
        let size = self.tree.as_ref().map(|tree| tree.size).unwrap_or_default();
        let (lines, checkpoints) = (self.lines, self.checkpoints);
        match self.scope {
            Some(BundleType::Selection) => write!(
                f,
                "OK: {} receipts valid in the tree of size {size}; inclusion only, completeness \
                 not claimed",
                self.receipts
            )?,
            Some(BundleType::Range) => write!(
                f,
                "OK: {lines} lines verified, {checkpoints} checkpoints valid; they are exactly \
                 lines {first} to {last} of {size}; signed through seq {size}, unsigned tail 0"
            )?,
            _ => write!(
                f,
                "OK: {lines} lines verified, {checkpoints} checkpoints valid; signed through seq \
                 {size}, unsigned tail 0"
            )?,
        }
        if let Some(from) = self.consistent_from {
            write!(f, "; consistent with previous (size {from}→{size})")?;
        }
        for (index, warning) in self.warnings.iter().enumerate() {
            let lead = if index == 0 { "; warnings: " } else { ", " };
            write!(f, "{lead}{}", warning.code)?;
        }
        Ok(())
    }
}

impl fmt::Display for BundleReport {
    /// The first line as documented for each verdict; for failures in lines the second one too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.unwrap_or_default();
        match (self.verdict, self.seq) {
            (Verdict::Ok, _) => self.say_ok(f),
            (Verdict::Fail, Some(seq)) => {
                writeln!(f, "FAIL: first failure at seq {seq}: {} [{code}]", self.reason)?;
                write!(f, "verified up to {} lines, {} checkpoints", self.lines, self.checkpoints)
            }
            (Verdict::Fail, None) => write!(f, "FAIL: {} [{code}]", self.reason),
            (Verdict::Usage, _) => write!(f, "ERROR: {}", self.reason),
            (Verdict::Inconclusive, _) => write!(f, "INCONCLUSIVE: {} [{code}]", self.reason),
        }
    }
}
