//! Operator → auditd.

use serde::{Deserialize, Serialize};

/// Cap of one frame, in bytes.
pub const CAP: usize = 64 * 1024;

/// What an operator may ask of auditd. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// How the log is.
    Status,
    /// Have everything up to now signed, by a checkpoint line.
    Checkpoint,
    /// Have a bundle's manifest signed, and write down that it was.
    Seal(Seal),
}

/// A bundle that is to be sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// SHA-256 of MANIFEST.json.
    pub manifest_sha256: [u8; 32],
    /// First and last line in it.
    pub seq_range: (u64, u64),
    /// Size of the tree that proves it.
    pub tree_size: u64,
    /// Root of that tree.
    pub root: [u8; 32],
    /// What for. At most 200 bytes.
    pub purpose: String,
}

/// What auditd answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// How the log is.
    Status(Status),
    /// The line that holds the newest checkpoint; all lines before it are signed.
    Checkpoint {
        /// Its number.
        seq: u64,
    },
    /// The manifest is signed, and the log says so.
    Sealed {
        /// Ed25519 over the manifest's note text.
        signature: Vec<u8>,
        /// C2SP key id of the evidence key.
        key_id: [u8; 4],
    },
    /// No.
    Refused(Refusal),
}

/// Why auditd did not do what an operator asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The signer does not answer in time.
    SignerAway,
    /// The signer has signed no such tree, or not of late.
    NotSigned,
    /// A field breaks the evidence grammar.
    OutOfGrammar,
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
