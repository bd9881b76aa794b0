use std::fmt;

use crate::evidence::body::Predecessor;
use crate::evidence::merkle::Hash;
use crate::evidence::timestamp::Timestamp;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything claimed is proven.
    Ok,
    /// Something is wrong with the evidence.
    Fail,
    /// The question or its input is: wrong use, unreadable input, an unsupported version.
    Usage,
    /// Nothing is wrong, but what would prove it is not there.
    Inconclusive,
}

impl Verdict {
    /// The process exit code.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Fail => 1,
            Self::Usage => 2,
            Self::Inconclusive => 3,
        }
    }
}

/// Something that does not change the verdict, unless the check is strict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Stable code, `W_…`.
    pub code: &'static str,
    /// What was seen first.
    pub text: String,
}

/// What `verify-chain` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it came to.
    pub verdict: Verdict,
    /// Stable code of the reason, `E_…`; for a strict check, `W_…`. `None` when all is well.
    pub code: Option<&'static str>,
    /// The first line that is wrong, where one is.
    pub seq: Option<u64>,
    /// Why, in words. Holds no text from the log.
    pub reason: String,
    /// Lines verified.
    pub lines: u64,
    /// Checkpoint lines verified.
    pub checkpoints: u64,
    /// Files the lines are in.
    pub segments: u64,
    /// Number of the first line that was there to verify; above 1 when the log is pruned.
    pub first_seq: u64,
    /// The log's name, once known.
    pub origin: Option<String>,
    /// Leaves in the tree over all lines verified.
    pub tree_size: u64,
    /// Its RFC 6962 root.
    pub root: Hash,
    /// Lines covered by a verified signature.
    pub signed_size: u64,
    /// Wall clock of the last of these, as logged: how old the newest signature at least is.
    pub signed_ts: Option<Timestamp>,
    /// Lines after them, but for a checkpoint line at the very end.
    pub unsigned_tail: u64,
    /// Key ids of the log keys in force, oldest first.
    pub key_ids: Vec<[u8; 4]>,
    /// Sizes at which the log agrees with anchors given.
    pub anchored_sizes: Vec<u64>,
    /// The log this one stands in for, where one had to be given up.
    pub predecessor: Option<Predecessor>,
    /// Warnings, in the order they were met.
    pub warnings: Vec<Warning>,
}

impl fmt::Display for Report {
    /// The first line as documented for each verdict; for failures the second one too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.unwrap_or_default();
        match self.verdict {
            Verdict::Ok => {
                write!(
                    f,
                    "OK: {} lines verified, {} checkpoints valid; signed through seq {}, \
                     unsigned tail {}",
                    self.lines, self.checkpoints, self.signed_size, self.unsigned_tail
                )?;
                for (index, warning) in self.warnings.iter().enumerate() {
                    let lead = if index == 0 { "; warnings: " } else { ", " };
                    write!(f, "{lead}{}", warning.code)?;
                }
                Ok(())
            }
            Verdict::Fail => {
                let seq = self.seq.unwrap_or(self.tree_size + 1);
                writeln!(f, "FAIL: first failure at seq {seq}: {} [{code}]", self.reason)?;
                write!(f, "verified up to {} lines, {} checkpoints", self.lines, self.checkpoints)
            }
            Verdict::Usage => write!(f, "ERROR: {}", self.reason),
            Verdict::Inconclusive => write!(f, "INCONCLUSIVE: {} [{code}]", self.reason),
        }
    }
}

/// Why a check ends before its end.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) verdict: Verdict,
    pub(super) code: &'static str,
    pub(super) seq: Option<u64>,
    pub(super) reason: String,
}

/// A failure of the evidence at line `seq`.
pub(super) fn fail(code: &'static str, seq: u64, reason: impl Into<String>) -> Failure {
    Failure { verdict: Verdict::Fail, code, seq: Some(seq), reason: reason.into() }
}

/// A failure of evidence that is at no line.
pub(super) fn fail_anywhere(code: &'static str, reason: impl Into<String>) -> Failure {
    Failure { verdict: Verdict::Fail, code, seq: None, reason: reason.into() }
}

/// Proof that is missing.
pub(super) fn inconclusive(code: &'static str, reason: impl Into<String>) -> Failure {
    Failure { verdict: Verdict::Inconclusive, code, seq: None, reason: reason.into() }
}

/// Input that cannot be judged at all.
pub(super) fn usage(code: &'static str, reason: impl Into<String>) -> Failure {
    Failure { verdict: Verdict::Usage, code, seq: None, reason: reason.into() }
}
