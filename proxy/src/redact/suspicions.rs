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

    /// Suspects all of `range`.
    pub(crate) fn note_all(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            (range.start / BLOCK..=(range.end - 1) / BLOCK)
                .for_each(|block| self.note(block * BLOCK));
        }
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

    /// The first stretch of `range` that may be suspicious, to the blocks at its ends.
    pub(crate) fn first_in(&self, range: Range<usize>) -> Option<Range<usize>> {
        if range.is_empty() {
            return None;
        }
        let last = (range.end - 1) / BLOCK;
        let first = self.next(range.start / BLOCK, true).filter(|first| *first <= last)?;
        let end = self.next(first, false).unwrap_or(self.blocks.len() * BITS) * BLOCK;
        Some((first * BLOCK).max(range.start)..end.min(range.end))
    }

    /// The first block from `from` on that is suspicious, or that is not.
    fn next(&self, from: usize, is_suspicious: bool) -> Option<usize> {
        let words = self.blocks.iter().enumerate().skip(from / BITS);
        let mut wanted = words.map(|(index, word)| {
            let word = if is_suspicious { *word } else { !*word };
            (index, if index == from / BITS { word & (u64::MAX << (from % BITS)) } else { word })
        });
        let (index, word) = wanted.find(|(_, word)| *word != 0)?;
        Some(index * BITS + word.trailing_zeros() as usize)
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

        #[test]
        fn are_told_one_stretch_after_the_other(
            noted in proptest::collection::vec((0_usize..20_000, 0_usize..300), 0..20),
            start in 0_usize..20_000,
            length in 0_usize..6_000,
        ) {
            let mut suspicions = Suspicions::default();
            for (at, length) in &noted {
                suspicions.note_all(*at..at + length);
            }
            let range = start..start + length;
            let mut told = Vec::new();
            let mut from = range.start;
            while let Some(stretch) = suspicions.first_in(from..range.end) {
                prop_assert!(from <= stretch.start && stretch.start < stretch.end);
                prop_assert!(stretch.end <= range.end);
                from = stretch.end;
                told.push(stretch);
            }
            for at in range {
                let is_told = told.iter().any(|stretch| stretch.contains(&at));
                prop_assert_eq!(is_told, suspicions.any_in(at..at + 1), "{}", at);
            }
        }
    }
}
