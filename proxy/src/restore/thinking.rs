//! Signed thinking: what the provider wrote and what the client got instead (I1).

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::ThinkingRecord;

/// Longest thinking text that is remembered, in bytes.
const TEXT_MAX: usize = 1 << 20;

/// Most blocks of one stream that are open at a time: providers send one after another.
const OPEN_MAX: usize = 4;

/// The record of one whole block, or `None` where nobody signed it.
pub(super) fn record(signature: &[u8], provider: &[u8], restored: &[u8]) -> Option<ThinkingRecord> {
    let mut block = Block::default();
    block.grow(provider, restored);
    block.sign(signature);
    block.close()
}

/// The thinking blocks of a stream that have not stopped yet, by lane group.
#[derive(Default)]
pub(super) struct Thinking {
    open: BTreeMap<String, Block>,
}

impl Thinking {
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// The block of `group`, opened by its first mention; `None` past the bound.
    pub(super) fn block(&mut self, group: &str) -> Option<&mut Block> {
        if !self.open.contains_key(group) {
            if self.open.len() >= OPEN_MAX || group.len() > 64 {
                return None;
            }
            self.open.insert(group.to_owned(), Block::default());
        }
        self.open.get_mut(group)
    }

    pub(super) fn get(&mut self, group: &str) -> Option<&mut Block> {
        self.open.get_mut(group)
    }

    pub(super) fn close(&mut self, group: &str) -> Option<ThinkingRecord> {
        self.open.remove(group)?.close()
    }
}

#[derive(Default)]
pub(super) struct Block {
    signature: Vec<u8>,
    provider: Vec<u8>,
    restored: Sha256,
    overlong: bool,
}

impl Block {
    pub(super) fn grow(&mut self, provider: &[u8], restored: &[u8]) {
        self.restored.update(restored);
        append(&mut self.provider, provider, &mut self.overlong);
    }

    pub(super) fn sign(&mut self, part: &[u8]) {
        append(&mut self.signature, part, &mut self.overlong);
    }

    fn close(self) -> Option<ThinkingRecord> {
        if self.overlong || self.signature.is_empty() {
            return None;
        }
        Some(ThinkingRecord {
            signature: String::from_utf8(self.signature).ok()?,
            restored_hash: self.restored.finalize().into(),
            provider_text: String::from_utf8(self.provider).ok()?,
        })
    }
}

fn append(text: &mut Vec<u8>, part: &[u8], overlong: &mut bool) {
    *overlong |= text.len() + part.len() > TEXT_MAX;
    if !*overlong {
        text.extend_from_slice(part);
    }
}
