//! `application/x-www-form-urlencoded`: names and values that say what they hold by percent.

use std::borrow::Cow;
use std::ops::Range;

use super::splice::Replacement;
use super::walk::Walk;
use super::{Malformed, Refusal};

/// The replacements that make the form in `body` fit to leave.
///
/// # Errors
///
/// A [`Refusal`], also where an escape is none: some take it for what it says, some for nothing.
pub(crate) fn replacements(walk: &mut Walk<'_>, body: &[u8]) -> Result<Vec<Replacement>, Refusal> {
    let mut all = Vec::new();
    let mut at = 0;
    for pair in body.split(|byte| *byte == b'&') {
        let start = at;
        at += pair.len() + 1;
        let equals = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let name = decode(&pair[..equals])?;
        let value = decode(pair.get(equals + 1..).unwrap_or_default())?;
        if *name == *b"_charset_" && !value.eq_ignore_ascii_case(b"utf-8") {
            return Err(Refusal::Charset);
        }
        let mut to_raw = ToRaw { raw: pair, at: 0, decoded: 0 };
        all.extend(walk.field(&name, &value, RULE)?.into_iter().map(
            |Replacement { range, text, finding }| {
                let range = to_raw.range(range);
                let range = start + range.start..start + range.end;
                Replacement { range, text: encode(&text), finding }
            },
        ));
    }
    Ok(all)
}

/// What a name or value stands for.
fn decode(raw: &[u8]) -> Result<Cow<'_, [u8]>, Refusal> {
    let decoded = if memchr::memchr2(b'%', b'+', raw).is_none() {
        Cow::Borrowed(raw)
    } else {
        let mut out = Vec::with_capacity(raw.len());
        let mut rest = raw;
        while let Some((length, byte)) = next(rest) {
            out.push(byte.ok_or(Refusal::Malformed(Malformed::Escape))?);
            rest = &rest[length..];
        }
        Cow::Owned(out)
    };
    if str::from_utf8(&decoded).is_err() { Err(Refusal::Charset) } else { Ok(decoded) }
}

/// The length of the spelling that starts `raw`, and the byte it stands for, if any.
fn next(raw: &[u8]) -> Option<(usize, Option<u8>)> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match raw {
        [] => None,
        [b'%', high, low, ..] => {
            Some((3, digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low)))
        }
        [b'%', ..] => Some((1, None)),
        [b'+', ..] => Some((1, Some(b' '))),
        [byte, ..] => Some((1, Some(*byte))),
    }
}

/// `text` with everything escaped that a form gives a meaning to.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'*') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Maps ranges of a decoded pair back onto its bytes. Ranges must come in order.
struct ToRaw<'a> {
    raw: &'a [u8],
    at: usize,
    decoded: usize,
}

impl ToRaw<'_> {
    fn range(&mut self, decoded: Range<usize>) -> Range<usize> {
        let start = self.offset(decoded.start);
        start..self.offset(decoded.end)
    }

    fn offset(&mut self, decoded: usize) -> usize {
        while self.decoded < decoded {
            self.at += next(&self.raw[self.at..]).map_or(0, |(length, _)| length);
            self.decoded += 1;
        }
        self.at
    }
}

/// What the evidence log calls a form's names and values.
const RULE: &str = "form";
