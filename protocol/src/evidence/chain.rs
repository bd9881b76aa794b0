//! The hash chain: each line names the hash of the line before it.

use sha2::{Digest, Sha256};

/// `prev_hash` of the first line.
pub const START: [u8; 32] = [0; 32];

/// What the next line's `prev_hash` must be: SHA-256 of this line's bytes without its LF.
#[must_use]
pub fn link(line: &[u8]) -> [u8; 32] {
    Sha256::digest(line).into()
}
