//! Auditd → signer: checkpoints over the evidence tree, and manifests of what was exported of it. No
//! verb signs bytes a caller chose.

use serde::{Deserialize, Serialize};

/// Cap of one frame, in bytes.
pub const CAP: usize = 64 * 1024;

/// Most hashes a consistency proof may carry: two sides of a tree of height 64.
pub const PROOF_CAP: usize = 128;

/// What auditd may ask. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Sign the checkpoint of a tree that extends the one signed last.
    SignCheckpoint {
        /// Size of the tree the signer signed last, in leaves.
        old_size: u64,
        /// Size of the tree to sign, in leaves.
        new_size: u64,
        /// Its RFC 6962 root.
        new_root: [u8; 32],
        /// RFC 6962 section 2.1.2 consistency proof from `old_size` to `new_size`.
        proof: Vec<[u8; 32]>,
        /// Whether a `checkpoint` line will hold the signature (else it is a `head.note`).
        in_log: bool,
    },
    /// What the signer holds.
    Status,
    /// Sign the statement that a bundle's manifest has this hash, with the evidence key. Only for a
    /// tree whose checkpoint stands in the log.
    SignManifest {
        /// SHA-256 of MANIFEST.json.
        manifest_sha256: [u8; 32],
        /// Size of the tree that proves the bundle, in leaves.
        tree_size: u64,
        /// Its RFC 6962 root.
        root: [u8; 32],
    },
}

/// What the signer answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The Ed25519 signature over the note text: of the checkpoint (C2SP tlog-checkpoint), or of the
    /// manifest.
    Signed {
        /// 64 bytes.
        signature: Vec<u8>,
        /// C2SP signed-note key id of the key: the log key, or the evidence key.
        key_id: [u8; 4],
    },
    /// What the signer holds; no secrets.
    Status(Status),
    /// No.
    Refused(Refusal),
}

/// What the signer holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The log's origin line.
    pub origin: String,
    /// Size signed last; 0 before the first.
    pub size: u64,
    /// Root signed last; the root of the empty tree before the first.
    pub root: [u8; 32],
    /// C2SP verifier key of the log key.
    pub log_vkey: String,
    /// C2SP verifier key of the evidence key.
    pub evidence_vkey: String,
    /// C2SP verifier key of the offline recovery key, where one was made.
    pub recovery_vkey: Option<String>,
}

/// Why nothing was signed. Each but `RateLimited` and `Internal` is evidence of misbehaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// `old_size` is not the size signed last. A caller that lost an answer proves from `size`.
    Conflict {
        /// The size signed last.
        size: u64,
    },
    /// `new_size` is below the size signed last.
    Smaller,
    /// The size was signed with another root.
    Fork,
    /// The consistency proof does not hold.
    BadProof,
    /// More than 200 calls within a second.
    RateLimited,
    /// The signer could not save its state, and so did not sign.
    Internal,
    /// A manifest is of a tree that no checkpoint line, or none of late, is of.
    NotSigned,
}
