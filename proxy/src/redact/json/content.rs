//! What the raw content of a JSON string stands for, and the way back from there to its bytes.

use std::borrow::Cow;
use std::ops::Range;

/// A piece of a string's raw content.
enum Piece {
    Plain(Range<usize>),
    Escape(Range<usize>, char),
}

/// The pieces of checked raw content, in order.
struct Pieces<'a> {
    raw: &'a [u8],
    at: usize,
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let start = self.at;
        let rest = self.raw.get(start..).filter(|rest| !rest.is_empty())?;
        let plain = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
        if plain > 0 {
            self.at += plain;
            return Some(Piece::Plain(start..self.at));
        }
        let (length, char) = unescape(rest);
        self.at += length;
        Some(Piece::Escape(start..self.at, char))
    }
}

/// The length of the escape that starts `raw`, and what it stands for. A lone surrogate stands
/// for U+FFFD.
fn unescape(raw: &[u8]) -> (usize, char) {
    let plain = |byte: u8| (2, char::from(byte));
    match raw.get(1) {
        Some(b'n') => plain(b'\n'),
        Some(b't') => plain(b'\t'),
        Some(b'r') => plain(b'\r'),
        Some(b'b') => plain(8),
        Some(b'f') => plain(12),
        Some(b'u') => unescape_unit(raw),
        Some(byte) => plain(*byte),
        None => (1, char::REPLACEMENT_CHARACTER),
    }
}

fn unescape_unit(raw: &[u8]) -> (usize, char) {
    let unit = |at: usize| {
        let digits = raw.get(at..at + 6).filter(|unit| unit.starts_with(b"\\u"))?;
        u16::from_str_radix(str::from_utf8(&digits[2..]).ok()?, 16).ok()
    };
    let units = [unit(0).unwrap_or(0xFFFD), unit(6).unwrap_or(0)];
    match char::decode_utf16(units).next() {
        Some(Ok(char)) => (6 * char.len_utf16(), char),
        _ => (6, char::REPLACEMENT_CHARACTER),
    }
}

/// What checked raw content stands for.
pub(crate) fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut text = Vec::new();
    decode_to(&mut text, raw);
    Cow::Owned(text)
}

/// Appends to `text` what checked raw content stands for.
pub(crate) fn decode_to(text: &mut Vec<u8>, raw: &[u8]) {
    text.reserve(raw.len());
    let mut rest = raw;
    loop {
        // Escapes are mostly near: eight bytes at a time in one register find them soonest.
        while let Some((word, after)) = rest.split_first_chunk() {
            let plain = plain_bytes(u64::from_le_bytes(*word));
            text.extend_from_slice(word);
            if plain < WORD {
                text.truncate(text.len() - (WORD - plain));
                rest = &rest[plain..];
                break;
            }
            rest = after;
        }
        match rest {
            [] => return,
            [b'\\', ..] => {
                let (length, char) = unescape(rest);
                text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                rest = rest.get(length..).unwrap_or_default();
            }
            // Less than a word is left, or an escape is not the first of one.
            [byte, after @ ..] => {
                text.push(*byte);
                rest = after;
            }
        }
    }
}

/// How many bytes of `word` stand in front of its first backslash.
fn plain_bytes(word: u64) -> usize {
    const EACH: u64 = u64::MAX / 0xff;
    let escapes = word ^ (EACH * u64::from(b'\\'));
    // Subtracting borrows from the next higher byte only where this one is 0.
    let marks = escapes.wrapping_sub(EACH) & !escapes & (EACH << 7);
    marks.trailing_zeros() as usize / 8
}

/// Bytes of a word.
const WORD: usize = size_of::<u64>();

/// Maps ranges of [`decode`]'s result back onto raw content. Ranges must come in order. One that
/// cuts through an escape takes the whole of it.
pub(crate) struct ToRaw<'a> {
    pieces: Pieces<'a>,
    piece: Option<Piece>,
    /// Decoded offset at which `piece` starts.
    decoded: usize,
}

impl<'a> ToRaw<'a> {
    pub(crate) fn new(raw: &'a [u8]) -> Self {
        let mut pieces = Pieces { raw, at: 0 };
        Self { piece: pieces.next(), pieces, decoded: 0 }
    }

    /// The raw range of a decoded one.
    pub(crate) fn range(&mut self, decoded: Range<usize>) -> Range<usize> {
        let start = self.raw_offset(decoded.start, false);
        start..self.raw_offset(decoded.end, true)
    }

    fn raw_offset(&mut self, offset: usize, round_up: bool) -> usize {
        loop {
            let Some(piece) = &self.piece else { return self.pieces.raw.len() };
            let (raw, length) = match piece {
                Piece::Plain(raw) => (raw, raw.len()),
                Piece::Escape(raw, char) => (raw, char.len_utf8()),
            };
            let into = offset - self.decoded;
            if into < length {
                return match piece {
                    Piece::Plain(raw) => raw.start + into,
                    Piece::Escape(raw, _) if into > 0 && round_up => raw.end,
                    Piece::Escape(raw, _) => raw.start,
                };
            }
            if into == length && round_up {
                return raw.end;
            }
            self.decoded += length;
            self.piece = self.pieces.next();
        }
    }
}

/// `text` as the content of a JSON string.
pub(crate) fn encode(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lone_surrogate_stands_for_the_replacement_character() {
        for (raw, text) in [
            (r"\ud83d\ude00", "😀"),
            (r"\ud83d", "\u{fffd}"),
            (r"\ude00x", "\u{fffd}x"),
            (r"\ud83d\n", "\u{fffd}\n"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
            (r"\u0041\/", "A/"),
        ] {
            assert_eq!(&*decode(raw.as_bytes()), text.as_bytes(), "{raw}");
        }
    }

    #[test]
    fn a_range_that_cuts_an_escape_takes_all_of_it() {
        let raw = br"a\ud83d\ude00b";
        assert_eq!(ToRaw::new(raw).range(2..4), 1..13);
        assert_eq!(ToRaw::new(raw).range(0..1), 0..1);
        assert_eq!(ToRaw::new(raw).range(5..6), 13..14);
    }

    #[test]
    fn content_that_was_cut_in_an_escape_is_read_as_far_as_it_goes() {
        for raw in ["\\", "abcdefgh\\u00", "\\u", "\\ud83d\\ude0", "abcdefg\\"] {
            assert!(decode(raw.as_bytes()).ends_with("\u{fffd}".as_bytes()), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn decodes_as_another_parser_does(text in any::<String>(), ascii in any::<bool>()) {
            let quoted = serde_json::to_string(&text).unwrap();
            let quoted: String = if ascii {
                quoted.encode_utf16().map(|unit| match u8::try_from(unit) {
                    Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
                    _ => format!("\\u{unit:04x}"),
                }).collect()
            } else { quoted };
            let raw = &quoted.as_bytes()[1..quoted.len() - 1];
            prop_assert_eq!(&*decode(raw), text.as_bytes());
            // Every character's range maps back to a spelling of just that character.
            let mut to_raw = ToRaw::new(raw);
            for (at, char) in text.char_indices() {
                let range = to_raw.range(at..at + char.len_utf8());
                let spelt = String::from_utf8(decode(&raw[range]).into_owned()).unwrap();
                prop_assert_eq!(spelt, char.to_string());
            }
        }
    }
}
