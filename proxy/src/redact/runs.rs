//! Runs of the bytes that tokens are made of.

/// Whether tokens, and base64 of either alphabet, are made of `byte`.
pub(crate) const fn is_token(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // `/` and the digits stand side by side.
    let digit = byte.wrapping_sub(b'/') <= b'9' - b'/';
    letter | digit | (byte == b'+') | (byte == b'-') | (byte == b'_')
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

const WORD: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn goes_on_as_far_as_every_byte_does(text in r"[A-Za-z0-9+/_-]{0,90}([ .=\\:é].{0,9})?") {
            let expected = text.bytes().take_while(|byte| is_token(*byte)).count();
            prop_assert_eq!(length_of_run(text.as_bytes()), expected);
        }
    }

    #[test]
    fn tokens_are_made_of_base64_of_either_alphabet() {
        let members: Vec<u8> = (0..=u8::MAX).filter(|byte| is_token(*byte)).collect();
        let expected = b"+-/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
        assert_eq!(members, expected);
    }
}
