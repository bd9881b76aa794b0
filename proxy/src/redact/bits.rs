//! Reads text in blocks of 64 bytes, each class of bytes as a number with a bit per byte, so that
//! neighbours are compared by shifting.

use fearless_simd::prelude::*;
use fearless_simd::u8x64;

/// Bytes of a block, and bits of what is told about them.
pub(crate) const BLOCK: usize = 64;

/// A set of ASCII bytes, prepared for looking up a block of text at once.
pub(crate) struct Class {
    /// Per lower half of a byte, a bit for each upper half; once for each 16 bytes of a vector.
    uppers: [u8; BLOCK],
}

impl Class {
    /// The bytes that `table` says yes to.
    pub(crate) const fn of(table: &[bool; 128]) -> Self {
        let mut uppers = [0; BLOCK];
        let mut at = 0;
        while at < BLOCK * 8 {
            let (lane, upper) = (at % BLOCK, at / BLOCK);
            if table[(upper << 4) | (lane % 16)] {
                uppers[lane] |= 1 << upper;
            }
            at += 1;
        }
        Self { uppers }
    }
}

/// The bytes of a block, cut into what a [`Class`] is looked up by.
#[derive(Clone, Copy)]
pub(crate) struct Halves<S: Simd> {
    lower: u8x64<S>,
    /// The bit of the upper half; none for bytes that are not ASCII.
    upper: u8x64<S>,
}

impl<S: Simd> Halves<S> {
    #[inline(always)]
    pub(crate) fn of(simd: S, block: &[u8; BLOCK]) -> Self {
        let bytes = u8x64::from_slice(simd, block);
        let upper = u8x64::from_slice(simd, &UPPER).swizzle_dyn_within_blocks(bytes >> 4);
        Self { lower: bytes & 15, upper }
    }

    /// A bit for each byte of the block that is in `class`.
    #[inline(always)]
    pub(crate) fn bits(self, simd: S, class: &Class) -> u64 {
        let uppers = u8x64::from_slice(simd, &class.uppers).swizzle_dyn_within_blocks(self.lower);
        !(uppers & self.upper).simd_eq(0).to_bitmask()
    }
}

/// Per upper half of a byte, its bit.
const UPPER: [u8; BLOCK] = {
    let mut bits = [0; BLOCK];
    let mut lane = 0;
    while lane < BLOCK {
        if lane % 16 < 8 {
            bits[lane] = 1 << (lane % 16);
        }
        lane += 1;
    }
    bits
};

/// The bits of a block and of the one before it, which come first.
pub(crate) const fn joined(before: u64, here: u64) -> u128 {
    ((here as u128) << BLOCK) | before as u128
}

/// The bits of the second block.
pub(crate) const fn high(bits: u128) -> u64 {
    (bits >> BLOCK) as u64
}

/// Of `bits`, those that end `count` set bits which stand `step` apart.
#[inline(always)]
pub(crate) const fn ends_of(mut bits: u128, step: usize, count: usize) -> u128 {
    let mut length = 1;
    while length < count {
        // Of as many as known, or as are missing.
        let more = if count - length < length { count - length } else { length };
        bits &= bits << (more * step);
        length += more;
    }
    bits
}

/// The end of a text, where no whole blocks are left: what [`blocks`] goes on with, up to a zero.
pub(crate) struct Tail<const N: usize> {
    start: usize,
    blocks: [[u8; N]; 2],
}

impl<const N: usize> Tail<N> {
    pub(crate) fn of(text: &[u8]) -> Self {
        let start = (text.len() + BLOCK).saturating_sub(N) / BLOCK * BLOCK;
        Self { start, blocks: [padded(text, start), padded(text, start + BLOCK)] }
    }
}

/// The blocks of `text`, each with what stands behind it up to `N` bytes, and where they start. They are
/// read where they are: a copy would be waited for.
#[inline(always)]
pub(crate) fn blocks<'t, const N: usize>(
    text: &'t [u8],
    tail: &'t Tail<N>,
) -> impl Iterator<Item = (usize, &'t [u8; N])> {
    (0..text.len()).step_by(BLOCK).map(|start| {
        let whole = text[start..].first_chunk();
        (start, whole.unwrap_or_else(|| &tail.blocks[(start - tail.start) / BLOCK]))
    })
}

/// The bytes of `text` from `start` on, with zeros where it has no more.
pub(crate) fn padded<const N: usize>(text: &[u8], start: usize) -> [u8; N] {
    let rest = text.get(start..).unwrap_or_default();
    rest.first_chunk().copied().unwrap_or_else(|| {
        let mut padded = [0; N];
        padded[..rest.len()].copy_from_slice(rest);
        padded
    })
}

/// The places of the set bits.
pub(crate) fn places(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_the_text_and_then_zeros() {
        fn all<const N: usize>() {
            for length in 0..300_usize {
                let text: Vec<u8> =
                    (0..length).map(|at| u8::try_from(at % 250 + 1).unwrap()).collect();
                let tail = Tail::<N>::of(&text);
                let blocks: Vec<(usize, &[u8; N])> = blocks(&text, &tail).collect();
                assert_eq!(blocks.len(), length.div_ceil(BLOCK));
                for (start, block) in blocks {
                    assert_eq!(*block, padded::<N>(&text, start), "{length} {start}");
                }
            }
        }
        all::<BLOCK>();
        all::<{ BLOCK + 3 }>();
    }

    #[test]
    fn neighbours_are_counted_by_their_last() {
        assert_eq!(ends_of(0b1110_1111, 1, 3), 0b1000_1100);
        assert_eq!(ends_of(0b1_0101_0111, 2, 3), 0b1_0101_0000);
        assert_eq!(ends_of(u128::MAX, 1, 1), u128::MAX);
        assert_eq!(high(joined(1, 2) << 1), 4);
        assert_eq!(places(0b1001).collect::<Vec<_>>(), [0, 3]);
    }
}
