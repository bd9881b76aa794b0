//! Inward: placeholders become secrets. Pure.
//!
//! A response body is one of three [`Form`]s: [`json`] is restored leaf by leaf, [`sse`] event by
//! event, [`text`] as it flows. WebSocket [`message`]s are the events of a stream without a body.
//! All of them read the same [`grammar`] and splice: bytes outside a replaced span are the provider's
//! own.
//!
//! Shapes are told by the bytes themselves, never by the host they came from: Anthropic-shaped
//! streams on an OpenAI-typed host restore like any other.

use std::fmt;

use crate::placeholder::Tag;

mod event;
pub mod form;
pub mod grammar;
pub mod json;
mod lane;
mod leaf;
pub mod message;
mod scan;
mod schema;
pub mod sse;
pub mod text;
mod thinking;
mod tree;

#[cfg(test)]
mod tests;

pub use form::Form;

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

/// What must be remembered of a signed thinking block, so that the next request carries the
/// provider's own text again.
///
/// Blocks without a placeholder are reported too: text the provider wrote and signed may look like
/// a secret on its way back, and replacing it would break the signature just the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThinkingRecord {
    /// The block's signature, as the provider sent it.
    pub signature: String,
    /// SHA-256 of the restored text the client got.
    pub restored_hash: [u8; 32],
    /// The text as the provider sent it, with placeholders.
    pub provider_text: String,
}

/// Bytes for the client, and what was done to make them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the client may now be sent.
    pub bytes: Vec<u8>,
    /// Placeholders replaced by their plaintext.
    pub restored: u64,
    /// Placeholder-shaped texts left as they were: never minted here, damaged, or minted and gone.
    pub unknown: u64,
    /// Signed thinking blocks that ended in these bytes.
    pub thinking: Vec<ThinkingRecord>,
}

/// Why a body cannot be given to the client. None of these carries a byte of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreError {
    /// Ours: a tool's input names a placeholder whose plaintext is gone (S9). Passing it on would
    /// run the tool with a placeholder in place of a secret.
    Gone,
    /// The provider's: something that starts as JSON is not JSON, and may hold a placeholder that
    /// no escaping is known for.
    Malformed,
    /// Ours: a plaintext cannot be spelt where its placeholder stands.
    NotText,
    /// The provider's: one event is larger than [`sse::EVENT_MAX`], has too many lines or
    /// keeps more than [`sse::LANES_MAX`] strings open, or a body takes more work or memory to restore than any
    /// honest one does.
    TooLarge,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "tool input names a placeholder whose plaintext is gone",
            Self::Malformed => "response that may hold placeholders is not well-formed JSON",
            Self::NotText => "plaintext cannot be spelt where its placeholder stands",
            Self::TooLarge => "response takes more than can be spent on restoring it",
        })
    }
}

impl std::error::Error for RestoreError {}
