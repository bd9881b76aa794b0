//! Plaintext memory: one allocation, locked into RAM where the system allows, wiped piece by piece.

use region::LockGuard;
use zeroize::Zeroize;

/// Bytes in a block. Most secrets take one.
pub(super) const BLOCK: usize = 64;

/// Equal blocks, so that no history of sizes can fragment the whole.
pub(super) struct Arena {
    // Fields are dropped in this order: unlocked before freed.
    lock: Option<LockGuard>,
    bytes: Box<[u8]>,
    free: Vec<u32>,
}

/// A text in the arena. It must be given back to be freed.
pub(super) struct Slot {
    blocks: Vec<u32>,
    length: usize,
}

impl Arena {
    /// Room for `bytes`, rounded down to whole blocks.
    pub(super) fn new(bytes: usize) -> Self {
        let blocks = u32::try_from(bytes / BLOCK).unwrap_or(u32::MAX);
        let bytes = vec![0; blocks as usize * BLOCK].into_boxed_slice();
        let lock = region::lock(bytes.as_ptr(), bytes.len().max(1)).ok();
        Self { lock, bytes, free: (0..blocks).rev().collect() }
    }

    pub(super) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Blocks in all.
    pub(super) fn blocks(&self) -> usize {
        self.bytes.len() / BLOCK
    }

    pub(super) fn blocks_free(&self) -> usize {
        self.free.len()
    }

    /// Stores `text`, or returns `None` where it does not fit.
    pub(super) fn put(&mut self, text: &[u8]) -> Option<Slot> {
        let keep = self.free.len().checked_sub(blocks_for(text.len()))?;
        let blocks = self.free.split_off(keep);
        for (block, part) in blocks.iter().zip(text.chunks(BLOCK)) {
            self.block(*block)[..part.len()].copy_from_slice(part);
        }
        Some(Slot { blocks, length: text.len() })
    }

    /// The parts of a text.
    pub(super) fn parts<'a>(&'a self, slot: &'a Slot) -> impl Iterator<Item = &'a [u8]> {
        slot.blocks.iter().enumerate().map(|(i, block)| {
            let (start, length) = (*block as usize * BLOCK, BLOCK.min(slot.length - i * BLOCK));
            &self.bytes[start..start + length]
        })
    }

    /// Whether `slot` holds `text`.
    pub(super) fn holds(&self, slot: &Slot, text: &[u8]) -> bool {
        slot.length == text.len() && self.parts(slot).eq(text.chunks(BLOCK))
    }

    /// Wipes and frees.
    pub(super) fn take_back(&mut self, slot: Slot) {
        for block in &slot.blocks {
            self.block(*block).zeroize();
        }
        self.free.extend(slot.blocks);
    }

    fn block(&mut self, block: u32) -> &mut [u8] {
        let start = block as usize * BLOCK;
        &mut self.bytes[start..start + BLOCK]
    }
}

impl Slot {
    /// Bytes of the text.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }
}

/// How many blocks a text of `length` bytes takes.
pub(super) const fn blocks_for(length: usize) -> usize {
    length.div_ceil(BLOCK)
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_put_and_wipes_it_after() {
        let mut arena = Arena::new(4 * BLOCK);
        let long: Vec<u8> = (1..=73).collect();
        let (a, b) = (arena.put(&long).unwrap(), arena.put(b"short").unwrap());
        assert_eq!(arena.parts(&a).flatten().copied().collect::<Vec<u8>>(), long);
        assert!(
            arena.holds(&b, b"short") && !arena.holds(&b, b"shorT") && !arena.holds(&b, b"sho")
        );
        assert_eq!(arena.blocks_free(), 1);
        assert!(arena.put(&long).is_none());
        arena.take_back(a);
        arena.take_back(b);
        assert_eq!(arena.blocks_free(), arena.blocks());
        assert!(arena.bytes.iter().all(|byte| *byte == 0));
    }
}
