//! Finds long runs of the bytes that tokens are made of. Text has few of them, so that what must
//! stand in one need not be looked for anywhere else.

use std::ops::Range;

/// Whether tokens, and base64 of either alphabet, are made of `byte`.
pub(crate) const fn is_token(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // `/` and the digits stand side by side.
    let digit = byte.wrapping_sub(b'/') <= b'9' - b'/';
    letter | digit | (byte == b'+') | (byte == b'-') | (byte == b'_')
}

/// The runs of at least `min` bytes in `text`, in order. `min` may not be less than [`RUN_MIN`].
pub(crate) fn runs(text: &[u8], min: usize) -> impl Iterator<Item = Range<usize>> {
    debug_assert!(min >= RUN_MIN);
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let inside = next_inside(text, at)?;
            let before = text[..inside].iter().rev().take_while(|byte| in_table(**byte)).count();
            let known = inside + WITNESS;
            let end = known + length_of_run(&text[known..]);
            at = end + 1;
            let run = inside - before..end;
            if run.len() >= min {
                return Some(run);
            }
        }
    })
}

/// A place from `at` on that lies in the first run of at least [`RUN_MIN`] bytes there, or in a
/// shorter one before it.
fn next_inside(text: &[u8], mut at: usize) -> Option<usize> {
    while let Some(block) = text.get(at..).and_then(|rest| rest.first_chunk()) {
        if let Some(inside) = first_inside(block) {
            return Some(at + inside);
        }
        at += STEP;
    }
    let rest = text.get(at..)?;
    let mut block = [0; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    first_inside(&block).map(|inside| at + inside)
}

/// The first word of a block that starts [`WITNESS`] bytes of a run.
fn first_inside(block: &[u8; BLOCK]) -> Option<usize> {
    // All of them first, without an early exit, so that it becomes vector code.
    let tokens = block.map(|byte| u8::from(is_token(byte)));
    let word = |at: usize| {
        let bytes = tokens[at..].first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(bytes)
    };
    (0..STEP).step_by(WORD).find(|at| word(*at) == ALL && word(*at + WORD) & HALF == HALF)
}

/// How many bytes of `text` go on with a run.
pub(crate) fn length_of_run(text: &[u8]) -> usize {
    // In vector code, as long as it goes on.
    let whole = |piece: &&[u8; WORD]| piece.iter().fold(true, |all, byte| all & is_token(*byte));
    let (words, _) = text.as_chunks();
    let length = WORD * words.iter().take_while(whole).count();
    length + text[length..].iter().take_while(|byte| in_table(**byte)).count()
}

/// [`is_token`] for one byte at a time.
fn in_table(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0_u8;
        loop {
            table[byte as usize] = is_token(byte);
            if byte == u8::MAX {
                break table;
            }
            byte += 1;
        }
    };
    TABLE[usize::from(byte)]
}

/// Shortest run that is found: wherever it starts, one of its first words starts a witness in it.
pub(crate) const RUN_MIN: usize = WORD - 1 + WITNESS;

/// Bytes of a run that tell of it.
const WITNESS: usize = WORD + WORD / 2;

const WORD: usize = 8;

/// Bytes of text that are looked at together, and what must be seen behind them.
const STEP: usize = 64;
const BLOCK: usize = STEP + WORD;

const ALL: u64 = u64::from_le_bytes([1; 8]);
const HALF: u64 = ALL & 0xffff_ffff;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_the_runs_that_a_walk_over_every_byte_finds(
            text in r"([A-Za-z0-9+/_-]{0,90}[ .=\\:é]{0,3}){0,12}",
            min in RUN_MIN..40,
        ) {
            let mut expected = Vec::new();
            let mut start = 0;
            for (at, byte) in text.bytes().chain([b' ']).enumerate() {
                if !is_token(byte) {
                    if at - start >= min {
                        expected.push(start..at);
                    }
                    start = at + 1;
                }
            }
            prop_assert_eq!(runs(text.as_bytes(), min).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn tokens_are_made_of_base64_of_either_alphabet() {
        let members: Vec<u8> = (0..=u8::MAX).filter(|byte| is_token(*byte)).collect();
        let expected = b"+-/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
        assert_eq!(members, expected);
    }
}
