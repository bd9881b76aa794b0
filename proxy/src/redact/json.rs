//! Strict JSON by byte offsets: a validity check, and what a walk over checked text needs.
//! Nothing is built; every byte keeps its place.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;

/// Deepest nesting of arrays and objects.
pub(crate) const DEPTH_MAX: u32 = 128;

/// Where and why text is not JSON as RFC 8259 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Offset of the byte at fault.
    pub(crate) at: usize,
    pub(crate) fault: Fault,
}

/// What is wrong with a byte of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nested deeper than 128.
    Depth,
    /// The text ends within a value.
    End,
    /// Not allowed here.
    Syntax,
    /// Something follows the value.
    TrailingData,
}

/// Checks that `text` is one JSON value and white space.
pub(crate) fn check(text: &[u8]) -> Result<(), Malformed> {
    Checker { text, at: 0 }.document()
}

struct Checker<'a> {
    text: &'a [u8],
    at: usize,
}

impl Checker<'_> {
    fn document(mut self) -> Result<(), Malformed> {
        // One bit per open container, the innermost lowest: 1 is an object.
        let mut objects = 0_u128;
        let mut depth = 0;
        loop {
            match self.peek()? {
                open @ (b'{' | b'[') => {
                    if depth == DEPTH_MAX {
                        return Err(self.fault(Fault::Depth));
                    }
                    self.at += 1;
                    depth += 1;
                    objects = objects << 1 | u128::from(open == b'{');
                    if self.peek()? != closing(objects) {
                        self.key(objects)?;
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            loop {
                if depth == 0 {
                    return self.end();
                }
                match self.peek()? {
                    byte if byte == closing(objects) => {
                        self.at += 1;
                        depth -= 1;
                        objects >>= 1;
                    }
                    b',' => {
                        self.at += 1;
                        self.key(objects)?;
                        break;
                    }
                    _ => return Err(self.fault(Fault::Syntax)),
                }
            }
        }
    }

    /// A key and its colon, where the innermost container is an object.
    fn key(&mut self, objects: u128) -> Result<(), Malformed> {
        if objects & 1 == 0 {
            return Ok(());
        }
        self.expect(b'"')?;
        self.string()?;
        self.expect(b':')?;
        self.at += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<(), Malformed> {
        self.at = skip_space(self.text, self.at);
        if self.at == self.text.len() { Ok(()) } else { Err(self.fault(Fault::TrailingData)) }
    }

    /// The first byte of the next token.
    fn peek(&mut self) -> Result<u8, Malformed> {
        self.at = skip_space(self.text, self.at);
        self.text.get(self.at).copied().ok_or_else(|| self.fault(Fault::End))
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek()? == byte { Ok(()) } else { Err(self.fault(Fault::Syntax)) }
    }

    fn scalar(&mut self) -> Result<(), Malformed> {
        match self.text[self.at] {
            b'"' => self.string(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Malformed> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.fault(Fault::Syntax));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Malformed> {
        self.skip_if(b"-");
        if !self.skip_if(b"0") {
            self.digits()?;
        }
        if self.skip_if(b".") {
            self.digits()?;
        }
        if self.skip_if(b"eE") {
            self.skip_if(b"+-");
            self.digits()?;
        }
        Ok(())
    }

    fn skip_if(&mut self, any: &[u8]) -> bool {
        let found = self.text.get(self.at).is_some_and(|byte| any.contains(byte));
        self.at += usize::from(found);
        found
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let rest = &self.text[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        match count {
            0 if rest.is_empty() => Err(self.fault(Fault::End)),
            0 => Err(self.fault(Fault::Syntax)),
            _ => Ok(()),
        }
    }

    fn string(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let Some(length) = memchr2(b'"', b'\\', rest) else {
                self.at = self.text.len();
                return Err(self.fault(Fault::End));
            };
            let plain = &rest[..length];
            // Without an early exit, so that it becomes vector code.
            if plain.iter().fold(false, |control, byte| control | (*byte < b' ')) {
                self.at += plain.iter().position(|byte| *byte < b' ').unwrap_or(0);
                return Err(self.fault(Fault::Syntax));
            }
            self.at += length;
            if rest[length] == b'"' {
                self.at += 1;
                return Ok(());
            }
            self.escape()?;
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        let rest = &self.text[self.at + 1..];
        let length = match rest.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if rest.len() > 4 && rest[1..5].iter().all(u8::is_ascii_hexdigit) => 6,
            Some(_) => return Err(self.fault(Fault::Syntax)),
            None => return Err(self.fault(Fault::End)),
        };
        self.at += length;
        Ok(())
    }

    fn fault(&self, fault: Fault) -> Malformed {
        Malformed { at: self.at, fault }
    }
}

fn closing(objects: u128) -> u8 {
    if objects & 1 == 1 { b'}' } else { b']' }
}

/// The first offset from `at` that is not white space.
pub(crate) fn skip_space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = text.get(at) {
        at += 1;
    }
    at
}

/// The end of the value that starts at `at`, in checked text.
pub(crate) fn end_of_value(text: &[u8], mut at: usize) -> usize {
    let mut depth = 0_u32;
    loop {
        match text.get(at) {
            Some(b'"') => at = end_of_string(text, at),
            Some(b'{' | b'[') => {
                depth += 1;
                at += 1;
            }
            Some(b'}' | b']') => {
                depth -= 1;
                at += 1;
            }
            Some(b',' | b':' | b' ' | b'\n' | b'\r' | b'\t') => at += 1,
            Some(_) => at = end_of_scalar(text, at),
            None => return at,
        }
        if depth == 0 {
            return at;
        }
    }
}

/// The offset behind the closing quote of the string that starts at `at`, in checked text.
pub(crate) fn end_of_string(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    loop {
        match memchr2(b'"', b'\\', &text[at..]) {
            Some(length) if text[at + length] == b'\\' => at += length + 2,
            Some(length) => return at + length + 1,
            None => return text.len(),
        }
    }
}

/// The end of the number or word that starts at `at`, in checked text.
pub(crate) fn end_of_scalar(text: &[u8], at: usize) -> usize {
    let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
    text[at..].iter().position(is_end).map_or(text.len(), |length| at + length)
}

/// One member of an object in checked text.
pub(crate) struct MemberAt {
    /// The key, without its quotes.
    pub(crate) key: Range<usize>,
    /// Where the value starts.
    pub(crate) value: usize,
}

/// The member whose key starts at or behind `at`, or `Err` with the offset behind the object.
pub(crate) fn next_member(text: &[u8], at: usize) -> Result<MemberAt, usize> {
    let at = skip_separators(text, at);
    if text.get(at) != Some(&b'"') {
        return Err((at + 1).min(text.len()));
    }
    let end = end_of_string(text, at);
    Ok(MemberAt { key: at + 1..end - 1, value: skip_separators(text, end) })
}

/// The array element that starts at or behind `at`, or `Err` with the offset behind the array.
pub(crate) fn next_element(text: &[u8], at: usize) -> Result<usize, usize> {
    let at = skip_separators(text, at);
    if matches!(text.get(at), None | Some(b']')) { Err((at + 1).min(text.len())) } else { Ok(at) }
}

fn skip_separators(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t' | b',' | b':') = text.get(at) {
        at += 1;
    }
    at
}

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
    let mut text = Vec::with_capacity(raw.len());
    for piece in (Pieces { raw, at: 0 }) {
        match piece {
            Piece::Plain(range) => text.extend_from_slice(&raw[range]),
            Piece::Escape(_, char) => {
                text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    Cow::Owned(text)
}

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
    fn agrees_with_the_grammar_on_what_is_json() {
        for good in [
            "0",
            "-0",
            "1.5e+10",
            "\"\"",
            " [ ] ",
            "{}",
            "[{},[],\"\",null,true,false]",
            r#"{"a":{"b":[1,2,{"c":"\ud800"}]},"a":1}"#,
            "\t\r\n1\n",
        ] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            "",
            " ",
            "NaN",
            "[NaN]",
            "Infinity",
            "-",
            "01",
            "1.",
            ".5",
            "1e",
            "+1",
            "tru",
            "nul",
            "[1,]",
            "[,1]",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "[1 2]",
            "[1}",
            "{]",
            "1 2",
            "{} {}",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "\"\0\"",
            "\u{feff}1",
            "[",
            "]",
            "'a'",
            "[1]x",
            "/**/1",
        ] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn takes_128_levels_and_no_more() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(nested(128).as_bytes()), Ok(()));
        assert_eq!(check(nested(129).as_bytes()).unwrap_err().fault, Fault::Depth);
        let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert_eq!(check(objects(128).as_bytes()), Ok(()));
        assert_eq!(check(objects(129).as_bytes()).unwrap_err().fault, Fault::Depth);
    }

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

    proptest! {
        #[test]
        fn agrees_with_another_parser(text in r#"[\[\]{}:,"\\ntrue0-9.eE+\- ]{0,24}"#) {
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text);
            prop_assert_eq!(check(text.as_bytes()).is_ok(), theirs.is_ok());
        }

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
