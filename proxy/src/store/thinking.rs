//! Signed thinking blocks as their provider wrote them (I1).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::Scope;
use crate::redact::ThinkingMemory;
use crate::restore::ThinkingRecord;

/// Thinking of all scopes, least recently used leaving first.
///
/// It holds placeholders, never plaintext.
pub struct Thoughts {
    bytes_max: usize,
    inner: Mutex<Inner>,
}

type Key = (Scope, [u8; 32]);

#[derive(Default)]
struct Inner {
    thoughts: HashMap<Key, Thought>,
    by_use: BTreeMap<u64, Key>,
    turn: u64,
    bytes: usize,
}

struct Thought {
    restored_hash: [u8; 32],
    provider_text: String,
    turn: u64,
}

/// What a thought takes beside its text, roughly: keys, hash, tree and table entries.
const OVERHEAD: usize = 256;

impl Thoughts {
    /// Room for about `bytes_max` bytes of text.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, inner: Mutex::default() }
    }

    /// Remembers a block that was sent to a client of `scope`.
    pub fn remember(&self, scope: Scope, record: ThinkingRecord) {
        let size = record.provider_text.len() + OVERHEAD;
        if size > self.bytes_max {
            return;
        }
        let mut inner = self.inner();
        let key = (scope, signature_key(&record.signature));
        inner.forget(&key);
        while inner.bytes + size > self.bytes_max {
            let Some((_, oldest)) = inner.by_use.first_key_value() else { break };
            let oldest = *oldest;
            inner.forget(&oldest);
        }
        inner.turn += 1;
        let turn = inner.turn;
        let ThinkingRecord { restored_hash, provider_text, .. } = record;
        inner.bytes += size;
        inner.by_use.insert(turn, key);
        inner.thoughts.insert(key, Thought { restored_hash, provider_text, turn });
    }

    /// What clients of `scope` may send back.
    #[must_use]
    pub fn of(&self, scope: Scope) -> ThoughtsOf<'_> {
        ThoughtsOf { thoughts: self, scope }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget(&mut self, key: &Key) {
        if let Some(thought) = self.thoughts.remove(key) {
            self.by_use.remove(&thought.turn);
            self.bytes -= thought.provider_text.len() + OVERHEAD;
        }
    }
}

impl fmt::Debug for Thoughts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thoughts({} blocks)", self.inner().thoughts.len())
    }
}

/// One scope's thinking.
#[derive(Debug)]
pub struct ThoughtsOf<'t> {
    thoughts: &'t Thoughts,
    scope: Scope,
}

impl ThinkingMemory for ThoughtsOf<'_> {
    fn provider_text(&self, signature: &str, restored_hash: &[u8; 32]) -> Option<String> {
        let key = (self.scope, signature_key(signature));
        let mut inner = self.thoughts.inner();
        let inner = &mut *inner;
        let thought = inner.thoughts.get_mut(&key)?;
        if thought.restored_hash != *restored_hash {
            return None;
        }
        inner.by_use.remove(&thought.turn);
        inner.turn += 1;
        thought.turn = inner.turn;
        inner.by_use.insert(thought.turn, key);
        Some(thought.provider_text.clone())
    }
}

fn signature_key(signature: &str) -> [u8; 32] {
    Sha256::digest(signature.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placeholder::SessionKey;

    fn scope(host: &str) -> Scope {
        Scope::of(&SessionKey::new([1; 32]), host, |_| None)
    }

    fn record(signature: &str, text: &str) -> ThinkingRecord {
        ThinkingRecord {
            signature: signature.to_owned(),
            restored_hash: Sha256::digest(b"restored").into(),
            provider_text: text.to_owned(),
        }
    }

    #[test]
    fn i1_gives_back_the_providers_text_for_the_same_signature_and_text_only() {
        let thoughts = Thoughts::new(10_000);
        thoughts.remember(scope("a"), record("sig", "with <pl:…>"));
        let hash: [u8; 32] = Sha256::digest(b"restored").into();
        assert_eq!(
            thoughts.of(scope("a")).provider_text("sig", &hash).as_deref(),
            Some("with <pl:…>")
        );
        assert_eq!(thoughts.of(scope("a")).provider_text("sig", &[0; 32]), None);
        assert_eq!(thoughts.of(scope("a")).provider_text("gis", &hash), None);
        assert_eq!(thoughts.of(scope("b")).provider_text("sig", &hash), None);
    }

    #[test]
    fn the_least_recently_used_thought_leaves_first() {
        let thoughts = Thoughts::new(3 * (OVERHEAD + 10));
        let hash: [u8; 32] = Sha256::digest(b"restored").into();
        let knows = |signature| thoughts.of(scope("a")).provider_text(signature, &hash).is_some();
        for signature in ["1", "2", "3"] {
            thoughts.remember(scope("a"), record(signature, "0123456789"));
        }
        assert!(knows("1"));
        thoughts.remember(scope("a"), record("4", "0123456789"));
        assert_eq!(["1", "2", "3", "4"].map(knows), [true, false, true, true]);
        thoughts.remember(scope("a"), record("5", &"x".repeat(10_000)));
        assert!(knows("4") && !knows("5"), "what can never fit displaces nothing");
    }
}
