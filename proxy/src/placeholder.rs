//! `<pl:TYPE:HMAC8>`: what a provider sees instead of a secret.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Longest TYPE, in bytes.
pub const KIND_MAX: usize = 40;

/// Longest placeholder in its plain spelling: `<pl:`, TYPE, `:`, 16 hex digits, `>`.
pub const PLAIN_MAX: usize = 4 + KIND_MAX + 1 + 16 + 1;

/// A pattern's type: `[A-Z0-9_]{1,40}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(Arc<str>);

impl Kind {
    /// `text` as a type, or `None` where it breaks the alphabet or length.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let valid = (1..=KIND_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        valid.then(|| Self(text.into()))
    }

    /// The type's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The first eight bytes of HMAC-SHA-256(session key, plaintext).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub [u8; 8]);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The key that makes placeholders stable within, and unlinkable beyond, one proxy process.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// A key of 32 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The tag of `plaintext`.
    #[must_use]
    pub fn tag(&self, plaintext: &[u8]) -> Tag {
        let digest = self.digest(plaintext);
        let mut tag = [0; 8];
        tag.copy_from_slice(&digest[..8]);
        Tag(tag)
    }

    /// The whole HMAC-SHA-256, for keyed hashes that never leave the process.
    #[must_use]
    pub fn digest(&self, bytes: &[u8]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0)
            .expect("HMAC takes keys of any length");
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(hidden)")
    }
}

/// Plaintext: wiped on drop, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Where a value is a secret although no pattern says so there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Sticky {
    /// Nowhere.
    #[default]
    No,
    /// In the scope that it was tokenized for: what stood beside it made it a secret, and that is
    /// one client's word.
    InScope,
    /// Everywhere: its shape made it one.
    Everywhere,
}

/// A secret and the placeholder that stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minted {
    /// The placeholder's TYPE.
    pub kind: Kind,
    /// The placeholder's HMAC8.
    pub tag: Tag,
    /// What it stands for.
    pub plaintext: Secret,
    /// Where else it is a secret.
    pub sticky: Sticky,
}

/// The plain spelling, `<pl:TYPE:HMAC8>`.
#[must_use]
pub fn spell(kind: &Kind, tag: Tag) -> String {
    format!("<pl:{}:{tag}>", kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_as_published() {
        let key = SessionKey::new([0; 32]);
        let kind = Kind::new("AWS_ACCESS_KEY").unwrap();
        let spelt = spell(&kind, key.tag(b"AKIAIOSFODNN7EXAMPLE"));
        assert!(spelt.starts_with("<pl:AWS_ACCESS_KEY:") && spelt.len() == 4 + 14 + 1 + 16 + 1);
    }

    #[test]
    fn refuses_a_kind_outside_the_alphabet() {
        for bad in ["", "aws", "A-B", &"A".repeat(41)] {
            assert_eq!(Kind::new(bad), None);
        }
    }

    #[test]
    fn never_prints_plaintext() {
        let secret = Secret::new(b"hunter2".to_vec());
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
