//! Checks that a body is UTF-8, a block at a time: of most, that it is ASCII is all there is to check.

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch, u8x64};

use super::bits::{BLOCK, Tail, blocks, high, joined};

/// Whether `body` is UTF-8 (RFC 3629, section 4).
pub(crate) fn is_utf8(body: &[u8]) -> bool {
    dispatch!(Level::new(), simd => search(simd, body))
}

#[inline(always)]
fn search<S: Simd>(simd: S, body: &[u8]) -> bool {
    let tail = Tail::<BLOCK>::of(body);
    let mut last = Leads::default();
    for (_, block) in blocks(body, &tail) {
        let bytes = u8x64::from_slice(simd, block);
        if (bytes & 0x80).simd_eq(0).to_bitmask() == u64::MAX {
            if last.open() != 0 {
                return false;
            }
            last = Leads::default();
        } else {
            let leads = Leads::of(bytes);
            if !leads.are_followed(bytes, last) {
                return false;
            }
            last = leads;
        }
    }
    last.open() == 0
}

/// Where the first bytes of characters stand in a block, by how many follow; those behind which not
/// every byte may stand, once more.
#[derive(Clone, Copy, Default)]
struct Leads {
    two: u64,
    three: u64,
    four: u64,
    /// `E0`, `ED`, `F0` and `F4`.
    strict: [u64; 4],
}

impl Leads {
    #[inline(always)]
    fn of<S: Simd>(bytes: u8x64<S>) -> Self {
        Self {
            two: within(bytes, 0xc2, 0xdf),
            three: within(bytes, 0xe0, 0xef),
            four: within(bytes, 0xf0, 0xf4),
            strict: [
                bytes.simd_eq(0xe0).to_bitmask(),
                bytes.simd_eq(0xed).to_bitmask(),
                bytes.simd_eq(0xf0).to_bitmask(),
                bytes.simd_eq(0xf4).to_bitmask(),
            ],
        }
    }

    /// Where the next block must go on with a character.
    fn open(self) -> u64 {
        high(expected(joined(self.two, 0), joined(self.three, 0), joined(self.four, 0)))
    }

    /// Whether in a block of `bytes` these, and those of the block before it, are followed as they must
    /// be, and nothing else is there that is not ASCII.
    #[inline(always)]
    fn are_followed<S: Simd>(self, bytes: u8x64<S>, last: Self) -> bool {
        let expected = expected(
            joined(last.two, self.two),
            joined(last.three, self.three),
            joined(last.four, self.four),
        );
        let behind = |nth: usize| high(joined(last.strict[nth], self.strict[nth]) << 1);
        // Longer than needed, of a surrogate, longer than needed, beyond U+10FFFF.
        let wrong = behind(0) & within(bytes, 0x80, 0x9f)
            | behind(1) & within(bytes, 0xa0, 0xbf)
            | behind(2) & within(bytes, 0x80, 0x8f)
            | behind(3) & within(bytes, 0x90, 0xbf);
        let others = within(bytes, 0xc0, 0xc1) | within(bytes, 0xf5, 0xff);
        within(bytes, 0x80, 0xbf) == high(expected) && wrong | others == 0
    }
}

/// Where characters that start at these places go on.
const fn expected(two: u128, three: u128, four: u128) -> u128 {
    let long = three | four;
    (two | long) << 1 | long << 2 | four << 3
}

/// A bit for each byte from `first` to `last`.
#[inline(always)]
fn within<S: Simd>(bytes: u8x64<S>, first: u8, last: u8) -> u64 {
    (bytes - first).simd_le(last - first).to_bitmask()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_what_the_standard_library_says(
            before in r"(\PC|[a-z]{0,40}){0,12}",
            wrong in proptest::collection::vec(0x7f_u8.., 0..4),
            after in r"(\PC|[a-z]{0,40}){0,12}",
        ) {
            let text = [before.as_bytes(), &wrong, after.as_bytes()].concat();
            for end in 0..=text.len() {
                prop_assert_eq!(is_utf8(&text[..end]), str::from_utf8(&text[..end]).is_ok());
            }
        }
    }

    /// RFC 3629: every sequence of up to three bytes, and the edges of those of four.
    #[test]
    fn every_short_sequence_is_what_the_standard_library_says() {
        let fours = [0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5].into_iter().flat_map(|first| {
            [0x7f, 0x80, 0x8f, 0x90, 0xbf, 0xc0].map(|second| [first, second, 0x80, 0xbf])
        });
        let mut sequences: Vec<Vec<u8>> = fours.map(Vec::from).collect();
        for first in 0x80..=u8::MAX {
            for second in 0x7f..=u8::MAX {
                sequences.push(vec![first, second]);
                sequences.extend([0x7f, 0x80, 0xbf, 0xc0].map(|third| vec![first, second, third]));
            }
        }
        for sequence in sequences {
            let is_text = str::from_utf8(&sequence).is_ok();
            for before in [0, 61, 62, 63, 64] {
                let text = [&vec![b'x'; before], &sequence[..]].concat();
                assert_eq!(is_utf8(&text), is_text, "{before} {sequence:x?}");
            }
        }
    }
}
