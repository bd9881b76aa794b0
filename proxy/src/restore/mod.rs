//! Inward: placeholders become secrets. Pure.

use crate::placeholder::Tag;

/// What a placeholder turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Ours: its plaintext was appended.
    Known,
    /// Never minted for this scope.
    Unknown,
    /// Minted for this scope, and its plaintext is gone.
    Gone,
}

/// Finds plaintexts for one scope (upstream host and client credential).
pub trait Resolve {
    /// Appends the plaintext of `<pl:kind:tag>` to `out`, where it is known.
    fn resolve(&self, kind: &str, tag: Tag, out: &mut Vec<u8>) -> Resolution;
}

/// What must be remembered of a signed thinking block that was restored, so that the next request
/// carries the provider's own text again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThinkingRecord {
    /// The block's signature, as the provider sent it.
    pub signature: String,
    /// SHA-256 of the restored text the client got.
    pub restored_hash: [u8; 32],
    /// The text as the provider sent it, with placeholders.
    pub provider_text: String,
}
