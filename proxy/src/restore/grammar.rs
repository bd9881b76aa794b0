//! What counts as one of our placeholders in a text, in every spelling that models and encoders
//! give to its brackets (T6).
//!
//! | spelling | opens | closes |
//! |---|---|---|
//! | plain | `<pl:` | `>` |
//! | JSON, once or twice | `\u003cpl:`, `\\u003cpl:` | the same for `003e`, or `>` |
//! | HTML, XML | `&lt;pl:` | `&gt;` or `>` |
//! | percent | `%3Cpl%3A`, `%3Cpl:` | `%3E` |
//!
//! Between them `TYPE`, a colon (`%3A` too, where percent-encoded) and 16 lower-case hex digits.
//! Whoever must keep text from being mistaken for a placeholder has to recognise all of them.

use std::ops::Range;

use crate::placeholder::{KIND_MAX, Tag};

/// Longest accepted spelling, in bytes. A lane never holds back more than one byte less.
pub const SPELT_MAX: usize = br"\\u003cpl:".len() + KIND_MAX + 1 + 16 + br"\\u003e".len();

/// How the brackets were written, hence how the plaintext has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// `<pl:…>`
    Plain,
    /// `\u003cpl:…\u003e`, with as many backslashes as nested strings.
    Json {
        /// Layers of JSON strings around the plaintext.
        layers: u8,
    },
    /// `&lt;pl:…&gt;`
    Html,
    /// `%3Cpl%3A…%3E`
    Percent,
}

/// A placeholder found in a text. It need not be one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it stands, brackets included.
    pub span: Range<usize>,
    /// Where its TYPE stands; always ASCII.
    pub kind: Range<usize>,
    /// Its HMAC8.
    pub tag: Tag,
    /// How it is written.
    pub spelling: Spelling,
}

/// What a text holds at one position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Nothing of ours starts here.
    Nothing,
    /// It began as a placeholder does, up to the digest, and then went wrong (P3).
    Damaged,
    /// The text ends before it is decided.
    Unfinished,
    /// A whole placeholder.
    Whole(Found),
}

const OPENERS: [(&[u8], Spelling); 12] = [
    (b"<pl:", Spelling::Plain),
    (br"\u003cpl:", Spelling::Json { layers: 1 }),
    (br"\u003Cpl:", Spelling::Json { layers: 1 }),
    (br"\\u003cpl:", Spelling::Json { layers: 2 }),
    (br"\\u003Cpl:", Spelling::Json { layers: 2 }),
    (b"&lt;pl:", Spelling::Html),
    (b"%3Cpl%3A", Spelling::Percent),
    (b"%3Cpl%3a", Spelling::Percent),
    (b"%3Cpl:", Spelling::Percent),
    (b"%3cpl%3A", Spelling::Percent),
    (b"%3cpl%3a", Spelling::Percent),
    (b"%3cpl:", Spelling::Percent),
];

impl Spelling {
    fn colons(self) -> &'static [&'static [u8]] {
        match self {
            Self::Percent => &[b"%3A", b"%3a", b":"],
            Self::Plain | Self::Json { .. } | Self::Html => &[b":"],
        }
    }

    fn closers(self) -> &'static [&'static [u8]] {
        match self {
            Self::Plain => &[b">"],
            Self::Json { layers: 1 } => &[br"\u003e", br"\u003E", b">"],
            Self::Json { .. } => &[br"\\u003e", br"\\u003E", b">"],
            Self::Html => &[b"&gt;", b">"],
            Self::Percent => &[b"%3E", b"%3e"],
        }
    }
}

/// The first position at or after `from` where a placeholder could start.
#[must_use]
pub fn next_opener(text: &[u8], from: usize) -> Option<usize> {
    text[from..].iter().position(|b| matches!(b, b'<' | b'\\' | b'&' | b'%')).map(|i| from + i)
}

/// Reads what `text` holds at `at`.
#[must_use]
pub fn read(text: &[u8], at: usize) -> Reading {
    let rest = &text[at..];
    let Some(&(opener, spelling)) = OPENERS.iter().find(|(opener, _)| rest.starts_with(opener))
    else {
        let unfinished = OPENERS.iter().any(|(opener, _)| opener.starts_with(rest));
        return if unfinished { Reading::Unfinished } else { Reading::Nothing };
    };
    let kind = opener.len()..opener.len() + run(&rest[opener.len()..], KIND_MAX, is_kind);
    if kind.is_empty() && kind.end < rest.len() {
        return Reading::Nothing;
    }
    let hex = match one_of(&rest[kind.end..], spelling.colons()) {
        Choice::Unfinished => return Reading::Unfinished,
        Choice::Neither => return Reading::Nothing,
        Choice::Length(colon) => kind.end + colon,
    };
    let digits = run(&rest[hex..], 16, is_hex);
    let end = hex + digits;
    if digits < 16 {
        return match (rest.len() == end, digits) {
            (true, _) => Reading::Unfinished,
            (false, 0) => Reading::Nothing,
            (false, _) => Reading::Damaged,
        };
    }
    match one_of(&rest[end..], spelling.closers()) {
        Choice::Unfinished => Reading::Unfinished,
        Choice::Neither => Reading::Damaged,
        Choice::Length(closer) => Reading::Whole(Found {
            span: at..at + end + closer,
            kind: at + kind.start..at + kind.end,
            tag: tag(&rest[hex..end]),
            spelling,
        }),
    }
}

enum Choice {
    Length(usize),
    Neither,
    Unfinished,
}

fn one_of(rest: &[u8], options: &[&[u8]]) -> Choice {
    if let Some(option) = options.iter().find(|option| rest.starts_with(option)) {
        return Choice::Length(option.len());
    }
    if options.iter().any(|option| option.starts_with(rest)) {
        return Choice::Unfinished;
    }
    Choice::Neither
}

fn run(rest: &[u8], most: usize, belongs: fn(u8) -> bool) -> usize {
    rest.iter().take(most).take_while(|b| belongs(**b)).count()
}

fn is_kind(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn tag(digits: &[u8]) -> Tag {
    let nibble = |digit: u8| if digit < b'a' { digit - b'0' } else { digit - b'a' + 10 };
    let mut tag = [0; 8];
    for (byte, pair) in tag.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
    }
    Tag(tag)
}

/// Appends `plaintext` as it has to be written in place of a placeholder spelt so, in a text that
/// is itself the source of a JSON text where `layers` is 1 (T4).
pub(super) fn write(spelling: Spelling, layers: u8, plaintext: &str, out: &mut Vec<u8>) {
    let (mut text, layers) = match spelling {
        Spelling::Plain => (plaintext.as_bytes().to_vec(), layers),
        Spelling::Html => (escape_html(plaintext), layers),
        Spelling::Percent => (escape_percent(plaintext), layers),
        Spelling::Json { layers: spelt } => {
            let mut inner = Vec::with_capacity(plaintext.len());
            escape_json(plaintext.as_bytes(), &mut inner);
            (escape_brackets(&inner), spelt - 1)
        }
    };
    for _ in 0..layers {
        let mut outer = Vec::with_capacity(text.len() + text.len() / 8);
        escape_json(&text, &mut outer);
        text = outer;
    }
    out.extend_from_slice(&text);
}

/// Appends `text` as the inside of a JSON string (RFC 8259 section 7).
pub(super) fn escape_json(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(br"\n"),
            b'\r' => out.extend_from_slice(br"\r"),
            b'\t' => out.extend_from_slice(br"\t"),
            8 => out.extend_from_slice(br"\b"),
            12 => out.extend_from_slice(br"\f"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
}

fn escape_brackets(json: &[u8]) -> Vec<u8> {
    replace(json, |byte| match byte {
        b'<' => Some(r"\u003c"),
        b'>' => Some(r"\u003e"),
        b'&' => Some(r"\u0026"),
        _ => None,
    })
}

fn escape_html(text: &str) -> Vec<u8> {
    replace(text.as_bytes(), |byte| match byte {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'"' => Some("&quot;"),
        b'\'' => Some("&#39;"),
        _ => None,
    })
}

fn replace(text: &[u8], escape: impl Fn(u8) -> Option<&'static str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        match escape(byte) {
            Some(escaped) => out.extend_from_slice(escaped.as_bytes()),
            None => out.push(byte),
        }
    }
    out
}

/// Everything but RFC 3986's unreserved characters.
fn escape_percent(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPELT: [&str; 8] = [
        "<pl:AWS_KEY:0123456789abcdef>",
        r"\u003cpl:AWS_KEY:0123456789abcdef\u003e",
        r"\u003Cpl:AWS_KEY:0123456789abcdef\u003E",
        r"\\u003cpl:AWS_KEY:0123456789abcdef\\u003e",
        r"\u003cpl:AWS_KEY:0123456789abcdef>",
        "&lt;pl:AWS_KEY:0123456789abcdef&gt;",
        "%3Cpl%3AAWS_KEY%3A0123456789abcdef%3E",
        "%3cpl:AWS_KEY:0123456789abcdef%3e",
    ];

    fn whole(text: &str) -> Found {
        match read(text.as_bytes(), 0) {
            Reading::Whole(found) => found,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn t6_reads_every_spelling() {
        for text in SPELT {
            let found = whole(text);
            assert_eq!(found.span, 0..text.len(), "{text}");
            assert_eq!(&text[found.kind], "AWS_KEY");
            assert_eq!(found.tag, Tag([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]));
        }
    }

    #[test]
    fn every_proper_prefix_is_unfinished_and_no_longer_than_the_bound() {
        for text in SPELT {
            for cut in 1..text.len() {
                assert_eq!(read(&text.as_bytes()[..cut], 0), Reading::Unfinished, "{text} {cut}");
            }
        }
        let longest = format!(r"\\u003cpl:{}:0123456789abcdef\\u003e", "A".repeat(KIND_MAX));
        assert_eq!(whole(&longest).span.end, SPELT_MAX);
        const { assert!(SPELT_MAX <= 96) };
    }

    #[test]
    fn p3_damage_is_told_from_other_text() {
        for damaged in [
            "<pl:A:0123456789abcde>",
            "<pl:A:0123456789abcdef0>",
            "<pl:A:0123456789abcdeF>",
            "<pl:A:0123456789abcdef ",
        ] {
            assert_eq!(read(damaged.as_bytes(), 0), Reading::Damaged, "{damaged}");
        }
        let long = format!("<pl:{}", "A".repeat(KIND_MAX + 1));
        for other in ["<p>", "<pl:>", "<pl:a", "<pl:TYPE:HMAC8>", "a < b", r"\n", &long] {
            assert_eq!(read(other.as_bytes(), 0), Reading::Nothing, "{other}");
        }
    }

    #[test]
    fn t6_writes_in_kind() {
        let spelt = |spelling, layers| {
            let mut out = Vec::new();
            write(spelling, layers, "a\"<\n é", &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(spelt(Spelling::Plain, 0), "a\"<\n é");
        assert_eq!(spelt(Spelling::Plain, 1), r#"a\"<\n é"#);
        assert_eq!(spelt(Spelling::Json { layers: 1 }, 1), r#"a\"\u003c\n é"#);
        assert_eq!(spelt(Spelling::Json { layers: 2 }, 0), r#"a\\\"\\u003c\\n é"#);
        assert_eq!(spelt(Spelling::Html, 0), "a&quot;&lt;\n é");
        assert_eq!(spelt(Spelling::Percent, 1), "a%22%3C%0A%20%C3%A9");
    }
}
