//! Escapes in raw JSON that could spell a byte of a literal.

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch, u8x64};

use super::super::bits::{BLOCK, Tail, blocks, high, joined, places};
use super::super::suspicions::Suspicions;

/// Where each escape in raw JSON starts that could spell a byte of a literal: `\/`, and `\u0020` to
/// `\u007f`.
pub(crate) fn hiding_escapes(raw: &[u8]) -> Suspicions {
    let mut suspicions = Suspicions::default();
    dispatch!(Level::new(), simd => search(simd, raw, &mut suspicions));
    suspicions
}

#[inline(always)]
fn search<S: Simd>(simd: S, raw: &[u8], suspicions: &mut Suspicions) {
    let (mut last_slashes, mut last_us, mut last_zeros) = (0, 0, 0);
    let tail = Tail::<BLOCK>::of(raw);
    for (start, block) in blocks(raw, &tail) {
        let bytes = u8x64::from_slice(simd, block);
        let slashes = bytes.simd_eq(b'\\').to_bitmask();
        let (us, zeros) = (bytes.simd_eq(b'u').to_bitmask(), bytes.simd_eq(b'0').to_bitmask());
        let slashed = joined(last_slashes, slashes);
        let solidus = bytes.simd_eq(b'/').to_bitmask() & high(slashed << 1);
        let ascii = zeros
            & high(joined(last_zeros, zeros) << 1)
            & high(joined(last_us, us) << 2 & slashed << 3);
        for place in places(solidus) {
            suspicions.note(start + place - 1);
        }
        for place in places(ascii) {
            let digit = raw.get(start + place + 1);
            if digit.is_none_or(|digit| (b'2'..=b'7').contains(digit)) {
                suspicions.note(start + place - 3);
            }
        }
        (last_slashes, last_us, last_zeros) = (slashes, us, zeros);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t5_sees_which_escapes_could_hide_a_literal() {
        let hides_literals = |raw: &str| !hiding_escapes(raw.as_bytes()).is_empty();
        for hidden in [r"\u0041KIA", r"a\/b", r"\\u0041", r"\u002d", r"\u00"] {
            assert!(hides_literals(hidden), "{hidden}");
        }
        for open in [r"\u2019", r"\u001b[0m", r"\u00e9", r#"\n\t\"\\"#, "plain"] {
            assert!(!hides_literals(open), "{open}");
        }
    }
}
