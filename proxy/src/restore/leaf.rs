//! One JSON string: what it says, and which of its bytes says it.

use std::borrow::Cow;
use std::ops::Range;

use super::grammar::escape_json;
use super::scan::Edits;

/// A string's content, decoded, with the way back to its bytes.
#[derive(Debug)]
pub(super) struct Leaf<'t> {
    /// The content. A lone surrogate stands as the three bytes UTF-8 would give it.
    pub(super) text: Cow<'t, [u8]>,
    document: &'t [u8],
    /// Where the content stands in the document, without quotes.
    pub(super) span: Range<usize>,
    /// After each escape: where `text` and the document go on.
    escapes: Vec<(usize, usize)>,
}

impl<'t> Leaf<'t> {
    /// The string whose inside stands at `span`.
    pub(super) fn of(document: &'t [u8], span: Range<usize>) -> Self {
        let raw = &document[span.clone()];
        let Some(first) = memchr::memchr(b'\\', raw) else {
            return Self { text: Cow::Borrowed(raw), document, span, escapes: Vec::new() };
        };
        let (mut text, mut escapes) = (raw[..first].to_vec(), Vec::new());
        let mut at = first;
        while at < raw.len() {
            let length = unescape(&raw[at..], &mut text);
            at += length;
            escapes.push((text.len(), span.start + at));
            let plain = memchr::memchr(b'\\', &raw[at..]).unwrap_or(raw.len() - at);
            text.extend_from_slice(&raw[at..at + plain]);
            at += plain;
        }
        Self { text: Cow::Owned(text), document, span, escapes }
    }

    /// Where in the document the character at `text[at]` is written.
    fn origin(&self, at: usize) -> usize {
        let passed = self.escapes.partition_point(|(text, _)| *text <= at);
        match passed.checked_sub(1).map(|i| self.escapes[i]) {
            Some((text, document)) => document + (at - text),
            None => self.span.start + at,
        }
    }

    /// The document's own bytes for a span of the text.
    pub(super) fn written(&self, span: Range<usize>) -> &'t [u8] {
        &self.document[self.origin(span.start)..self.origin(span.end)]
    }

    /// The inside of the string once `edits` are made to `held` and this text after it, or `None`
    /// where nothing changes.
    pub(super) fn spliced(&self, held: &[u8], edits: &Edits) -> Option<Vec<u8>> {
        let length = held.len() + self.text.len();
        if held.is_empty() && edits.replaced.is_empty() && edits.held == length {
            return None;
        }
        let mut out = Vec::with_capacity(self.span.len() + 64);
        let mut done = 0;
        for (span, with) in &edits.replaced {
            self.keep(held, done..span.start, &mut out);
            escape_json(with, &mut out);
            done = span.end;
        }
        self.keep(held, done..edits.held, &mut out);
        Some(out)
    }

    fn keep(&self, held: &[u8], span: Range<usize>, out: &mut Vec<u8>) {
        let split = held.len().clamp(span.start, span.end);
        if span.start < split {
            escape_json(&held[span.start..split], out);
        }
        if split < span.end {
            out.extend_from_slice(self.written(split - held.len()..span.end - held.len()));
        }
    }
}

/// Decodes the escape that `raw` starts with; returns its length.
fn unescape(raw: &[u8], out: &mut Vec<u8>) -> usize {
    let plain = match raw.get(1) {
        Some(b'u') => return unescape_unit(raw, out),
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'r') => b'\r',
        Some(b'b') => 8,
        Some(b'f') => 12,
        Some(other) => *other,
        None => b'\\',
    };
    out.push(plain);
    raw.len().min(2)
}

fn unescape_unit(raw: &[u8], out: &mut Vec<u8>) -> usize {
    let Some(first) = unit(raw) else {
        out.push(b'u');
        return 2;
    };
    let second = unit(&raw[6..]).filter(|second| (0xdc00..0xe000).contains(second));
    if let (0xd800..0xdc00, Some(second)) = (first, second) {
        push_scalar(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), out);
        return 12;
    }
    push_scalar(first, out);
    6
}

/// The code unit of `\uXXXX` at the start of `raw`.
fn unit(raw: &[u8]) -> Option<u32> {
    let digits = raw.strip_prefix(br"\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

fn push_scalar(scalar: u32, out: &mut Vec<u8>) {
    if let Some(char) = char::from_u32(scalar) {
        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        return;
    }
    let [_, _, high, low] = scalar.to_be_bytes();
    out.extend_from_slice(&[
        0xe0 | high >> 4,
        0x80 | (high & 0x0f) << 2 | low >> 6,
        0x80 | low & 0x3f,
    ]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaf(raw: &str) -> Leaf<'_> {
        Leaf::of(raw.as_bytes(), 0..raw.len())
    }

    #[test]
    fn decodes_what_json_escapes_say() {
        for (raw, text) in [
            (r#"a\"b\\c\/d\n\t\r\b\f"#, "a\"b\\c/d\n\t\r\u{8}\u{c}".as_bytes()),
            (r"\u003cpl", b"<pl"),
            (r"x\ud83d\ude00y", "x😀y".as_bytes()),
            (r"\udbff\udfff", "\u{10ffff}".as_bytes()),
            (r"\ud83dz", b"\xed\xa0\xbdz"),
            (r"\ude00\ud83d", b"\xed\xb8\x80\xed\xa0\xbd"),
            (r"\u12", b"u12"),
        ] {
            assert_eq!(&*leaf(raw).text, text, "{raw}");
        }
    }

    #[test]
    fn keeps_the_bytes_around_a_replacement() {
        let leaf = leaf(r"\u00e9\u003cX\u003e\n\u00E9");
        let edits = Edits { replaced: vec![(2..5, b"\"".to_vec())], held: leaf.text.len() };
        assert_eq!(leaf.spliced(b"", &edits).unwrap(), br#"\u00e9\"\n\u00E9"#);
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_writes(text in any::<String>()) {
            let raw = serde_json::to_string(&text).unwrap();
            let leaf = Leaf::of(raw.as_bytes(), 1..raw.len() - 1);
            prop_assert_eq!(&*leaf.text, text.as_bytes());
        }
    }
}
