//! Where digits may spell text: found for a block of text at a time, from one bit per byte and
//! class, without decoding anything.

use fearless_simd::{Level, Simd, dispatch};

use super::super::bits::{BLOCK, Class, Halves, Tail, blocks, ends_of, high, joined, places};
use super::{BASE64, CLASSES, HEX, LINE_MIN, QUADS_MIN, SECRET_MIN, VALUES};

/// Calls `visit` with a place in each run of `text` that may spell [`SECRET_MIN`] bytes of ASCII, or
/// go on in the next line, in the order of the text. Where it is not called, no run does.
///
/// # Errors
///
/// What `visit` returns.
pub(super) fn each<E>(text: &[u8], visit: &mut dyn FnMut(usize) -> Result<(), E>) -> Result<(), E> {
    dispatch!(Level::new(), simd => search(simd, text, visit))
}

#[inline(always)]
fn search<S: Simd, E>(
    simd: S,
    text: &[u8],
    visit: &mut dyn FnMut(usize) -> Result<(), E>,
) -> Result<(), E> {
    let mut last = &[0; BLOCK];
    let mut last_digits = 0;
    let tail = Tail::of(text);
    for (start, block) in blocks(text, &tail) {
        let digits = Halves::of(simd, block).bits(simd, &DIGITS);
        let runs = ends_of(joined(last_digits, digits), 1, RUN);
        if high(runs) != 0 {
            let hints = hints(simd, last, block);
            // In their order: whoever looks into a line must have been told of the one before it.
            for place in places(hints.spells | hints.ends) {
                let spells = hints.spells >> place & 1 == 1;
                if spells || matches!(text.get(start + place + 1), Some(b'\\' | b'\n' | b'\r')) {
                    visit(start + place)?;
                }
            }
        }
        last = block;
        last_digits = digits;
    }
    Ok(())
}

/// What one block tells, with the one before it.
struct Hints {
    /// Where something ends that may be ASCII.
    spells: u64,
    /// Where a run ends that is as long as a line.
    ends: u64,
}

#[inline(always)]
fn hints<S: Simd>(simd: S, last: &[u8; BLOCK], block: &[u8; BLOCK]) -> Hints {
    let (last, block) = (Halves::of(simd, last), Halves::of(simd, block));
    let digits = both(simd, last, block, &DIGITS);
    // Of three bytes that are ASCII, the upper bits are 0.
    let quads = digits
        & both(simd, last, block, &THIRD) << 1
        & both(simd, last, block, &SECOND) << 2
        & both(simd, last, block, &FIRST) << 3;
    let base64 = ends_of(quads, 4, QUADS_MIN);
    let pairs = both(simd, last, block, &HEX_DIGITS) & both(simd, last, block, &UPPER) << 1;
    let hex = ends_of(pairs, 2, SECRET_MIN);
    let lines = ends_of(digits, 1, LINE_MIN);
    Hints { spells: high(base64 | hex), ends: high(lines) & !(high(digits) >> 1) }
}

#[inline(always)]
fn both<S: Simd>(simd: S, last: Halves<S>, block: Halves<S>, class: &Class) -> u128 {
    joined(last.bits(simd, class), block.bits(simd, class))
}

/// The shortest run that tells anything: digits of [`QUADS_MIN`] quads.
const RUN: usize = QUADS_MIN * 4;

/// What runs are made of.
static DIGITS: Class = class(BASE64, 0);
static HEX_DIGITS: Class = class(HEX, 0);

/// Which digits can be the first, the second and the third of a quad that stands for ASCII.
static FIRST: Class = class(BASE64, 0x20);
static SECOND: Class = class(BASE64, 0x08);
static THIRD: Class = class(BASE64, 0x02);

/// Which hex digits can be the upper half of a printable byte.
static UPPER: Class = {
    let mut table = [false; 128];
    let mut digit = b'0';
    while digit <= b'7' {
        table[digit as usize] = digit != b'1';
        digit += 1;
    }
    Class::of(&table)
};

/// The digits of the `class` in whose value no bit of `mask` is set.
const fn class(class: u8, mask: u8) -> Class {
    let mut table = [false; 128];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = CLASSES[byte] & class != 0 && VALUES[byte] & mask == 0;
        byte += 1;
    }
    Class::of(&table)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{is, may_be_ascii};
    use super::*;

    fn visited(text: &[u8]) -> Vec<usize> {
        let mut places = Vec::new();
        let all = each(text, &mut |place| -> Result<(), ()> {
            places.push(place);
            Ok(())
        });
        assert_eq!(all, Ok(()));
        places
    }

    /// Whether there is reason to look into a run, told digit by digit; `next` stands behind it.
    fn is_suspicious(run: &[u8], next: Option<&u8>) -> bool {
        let goes_on = run.len() >= LINE_MIN && matches!(next, Some(b'\\' | b'\n' | b'\r'));
        let spells_ascii = (0..4).any(|offset| run.len() > offset && may_be_ascii(&run[offset..]));
        let is_printable = |pair: &[u8]| {
            matches!(pair[0], b'0' | b'2'..=b'7') && pair.iter().all(|digit| is(*digit, HEX))
        };
        let spells_hex =
            run.windows(2 * SECRET_MIN).any(|window| window.chunks(2).all(is_printable));
        goes_on || spells_ascii || spells_hex
    }

    proptest! {
        #[test]
        fn q2_looks_into_the_runs_that_a_walk_over_every_digit_suspects(
            text in r"(([A-Za-z0-9+/_-]{0,90}|([a-f]{1,3}[A-Z2-7]{1,9}){0,20}|[2-7a-f]{0,90})[ .=\\\n:é]{1,3}){0,12}",
        ) {
            let text = text.as_bytes();
            let places = visited(text);
            prop_assert!(places.is_sorted());
            let mut start = 0;
            for end in 0..=text.len() {
                if text.get(end).is_none_or(|byte| !is(*byte, BASE64)) {
                    let suspicious = is_suspicious(&text[start..end], text.get(end));
                    let seen = places.iter().any(|place| (start..end).contains(place));
                    prop_assert_eq!(seen, suspicious, "{:?}", str::from_utf8(&text[start..end]));
                    start = end + 1;
                }
            }
        }
    }
}
