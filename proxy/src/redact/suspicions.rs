//! Where in a raw JSON text something to replace may stand: what one scan of the whole tells about
//! each string in it.

use std::ops::Range;

/// Suspicious stretches of one text, to the block. Clean text takes no memory, any other one bit
/// per block, however many suspicions it is made to raise.
#[derive(Debug, Default)]
pub(crate) struct Suspicions {
    /// One bit per block of the text, up to the last suspicious one.
    blocks: Vec<u64>,
}

impl Suspicions {
    /// Suspects what stands at `at`.
    pub(crate) fn note(&mut self, at: usize) {
        let block = at / BLOCK;
        let word = block / BITS;
        if word >= self.blocks.len() {
            self.blocks.resize(word + 1, 0);
        }
        self.blocks[word] |= 1 << (block % BITS);
    }

    /// Whether nothing is suspicious.
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether anything in `range` may be. No is certain.
    pub(crate) fn any_in(&self, range: Range<usize>) -> bool {
        if range.is_empty() {
            return false;
        }
        let (first, last) = (range.start / BLOCK, (range.end - 1) / BLOCK);
        let Some(words) = self.blocks.get(first / BITS..) else { return false };
        words.iter().zip(first / BITS..=last / BITS).any(|(word, index)| {
            let from = if index == first / BITS { u64::MAX << (first % BITS) } else { u64::MAX };
            let to =
                if index == last / BITS { u64::MAX >> (BITS - 1 - last % BITS) } else { u64::MAX };
            word & from & to != 0
        })
    }
}

/// Bytes of text that one bit speaks for: less than a message, more than most keys.
const BLOCK: usize = 64;

/// Bits of a word.
const BITS: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn forget_nothing_and_blame_only_the_neighbourhood(
            noted in proptest::collection::vec(0_usize..20_000, 0..20),
            start in 0_usize..20_000,
            length in 0_usize..6_000,
        ) {
            let mut suspicions = Suspicions::default();
            for at in &noted {
                suspicions.note(*at);
            }
            let range = start..start + length;
            let any = suspicions.any_in(range.clone());
            prop_assert_eq!(suspicions.is_empty(), noted.is_empty());
            prop_assert!(any || !noted.iter().any(|at| range.contains(at)));
            let near = range.start.saturating_sub(BLOCK)..range.end + BLOCK;
            prop_assert!(!any || noted.iter().any(|at| near.contains(at)));
        }
    }
}
