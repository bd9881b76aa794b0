//! Operator → auditd.

use serde::{Deserialize, Serialize};

/// Cap of one frame, in bytes.
pub const CAP: usize = 64 * 1024;

/// What an operator may ask of auditd. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// How the log is.
    Status,
}

/// What auditd answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// How the log is.
    Status(Status),
}

/// How the log is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The log's origin.
    pub origin: String,
    /// Lines in the log.
    pub size: u64,
    /// Lines covered by a signature.
    pub signed_size: u64,
    /// Root signed last.
    pub signed_root: [u8; 32],
    /// Checkpoint lines written by this process.
    pub checkpoints: u64,
    /// Milliseconds that lines have been waiting for the signer; 0 when none do.
    pub unsigned_ms: u64,
    /// Whether events that let requests out are taken at the moment.
    pub open: bool,
    /// Sandbox level this process reached.
    pub sandbox: String,
}
