//! Strict JSON by byte offsets: a validity check, and what a walk over checked text needs.
//! Nothing is built; every byte keeps its place.

use std::ops::Range;

use memchr::memchr;

mod content;
mod ends;
pub(crate) mod pointer;
mod string;

pub(crate) use content::{ToRaw, decode, decode_to, encode};
pub(crate) use ends::Ends;

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
        self.at =
            string::end(self.text, self.at + 1).map_err(|(at, fault)| Malformed { at, fault })?;
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
    let content = at + 1;
    let mut at = content;
    // Text has many escapes and few of them are of a quote, so that only those are looked at.
    while let Some(length) = memchr(b'"', &text[at..]) {
        at += length;
        let escapes = text[content..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        at += 1;
        if escapes.is_multiple_of(2) {
            return at;
        }
    }
    text.len()
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

    proptest! {
        #[test]
        fn agrees_with_another_parser(text in r#"[\[\]{}:,"\\ntrue0-9.eE+\- ]{0,24}"#) {
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text);
            prop_assert_eq!(check(text.as_bytes()).is_ok(), theirs.is_ok());
        }
    }
}
