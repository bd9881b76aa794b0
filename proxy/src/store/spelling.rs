//! The ways in which texts spell a value.

use std::fmt::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::{Zeroize as _, Zeroizing};

/// How a text spells a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// As it is.
    Raw,
    /// As part of a JSON string, in as many strings as `levels` says.
    Json {
        /// What is escaped beside what must be.
        escapes: Escapes,
        /// One or two.
        levels: u8,
    },
    /// As part of base64, where `before` bytes of a group of three stand in front of it.
    Base64 {
        /// Which alphabet.
        is_url_safe: bool,
        /// 0, 1 or 2.
        before: u8,
    },
    /// Two digits for each byte.
    Hex(Case),
    /// As part of a URL.
    Percent {
        /// What stays as it is.
        kept: Kept,
        /// The digits'.
        case: Case,
    },
}

/// What a JSON writer escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// What it must.
    Least,
    /// Slashes too (PHP).
    Slashes,
    /// All but ASCII (Python).
    NonAscii,
    /// What means something in HTML (Go).
    Html,
}

/// The case of hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// `a` to `f`.
    Lower,
    /// `A` to `F`.
    Upper,
}

/// What a percent-encoder leaves as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nothing.
    Nothing,
    /// The unreserved characters (RFC 3986).
    Unreserved,
    /// What `encodeURIComponent` keeps.
    Component,
    /// Unreserved characters and slashes.
    Path,
    /// What forms keep; a space is a plus.
    Form,
}

/// A spelling and what it makes of one value; wiped on drop.
pub(super) struct Spelled {
    pub(super) spelling: Spelling,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// The spellings of `value` that a tokenized value is found in, each text once.
pub(super) fn few(value: &[u8]) -> Vec<Spelled> {
    distinct(value, std::iter::once(Spelling::Raw).chain(json()))
}

/// All spellings of `value`, each text once.
pub(super) fn all(value: &[u8]) -> Vec<Spelled> {
    let base64 = [false, true]
        .into_iter()
        .flat_map(|is_url_safe| (0..3).map(move |before| Spelling::Base64 { is_url_safe, before }));
    let cases = [Case::Lower, Case::Upper];
    let percent = [Kept::Nothing, Kept::Unreserved, Kept::Component, Kept::Path, Kept::Form]
        .into_iter()
        .flat_map(|kept| cases.map(|case| Spelling::Percent { kept, case }));
    let all = std::iter::once(Spelling::Raw)
        .chain(json())
        .chain(base64)
        .chain(cases.map(Spelling::Hex))
        .chain(percent);
    distinct(value, all)
}

fn json() -> impl Iterator<Item = Spelling> {
    [Escapes::Least, Escapes::Slashes, Escapes::NonAscii, Escapes::Html]
        .into_iter()
        .flat_map(|escapes| [1, 2].map(|levels| Spelling::Json { escapes, levels }))
}

fn distinct(value: &[u8], spellings: impl Iterator<Item = Spelling>) -> Vec<Spelled> {
    let mut all: Vec<Spelled> = Vec::new();
    for spelling in spellings {
        let bytes = spelling.of(value);
        if all.iter().all(|known| *known.bytes != *bytes) {
            all.push(Spelled { spelling, bytes });
        }
    }
    all
}

impl Spelling {
    /// `value` in this spelling; of base64, the characters that are all its own.
    pub(super) fn of(self, value: &[u8]) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Raw => Zeroizing::new(value.to_vec()),
            Self::Json { escapes, levels } => {
                let once = escape(value, escapes);
                if levels == 1 { once } else { escape(&once, Escapes::Least) }
            }
            Self::Base64 { is_url_safe, before } => {
                let before = usize::from(before);
                let mut group = Zeroizing::new(vec![0; before + value.len()]);
                group[before..].copy_from_slice(value);
                let engine = if is_url_safe { &URL_SAFE_NO_PAD } else { &STANDARD_NO_PAD };
                let mut text = engine.encode(&*group);
                let own = (before * 8).div_ceil(6)..group.len() * 8 / 6;
                let bytes = Zeroizing::new(text.as_bytes()[own].to_vec());
                text.zeroize();
                bytes
            }
            Self::Hex(case) => {
                let mut text = room(value.len() * 2);
                value.iter().for_each(|byte| hex(&mut text, *byte, case));
                text
            }
            Self::Percent { kept, case } => percent(value, kept, case),
        }
    }

    /// The stretch of `text` that holds any of the value that is spelt at `own`: in base64, a
    /// character at either end may hold bits of it and of its neighbour.
    pub(super) fn widened(self, own: Range<usize>, value: usize, text: &[u8]) -> Range<usize> {
        let Self::Base64 { is_url_safe, before } = self else { return own };
        let belongs = |byte: Option<&u8>| {
            byte.is_some_and(|byte| match byte {
                b'+' | b'/' => !is_url_safe,
                b'-' | b'_' => is_url_safe,
                byte => byte.is_ascii_alphanumeric(),
            })
        };
        let shares_first = before > 0 && belongs(text[..own.start].last());
        let shares_last =
            !((usize::from(before) + value) * 8).is_multiple_of(6) && belongs(text.get(own.end));
        own.start - usize::from(shares_first)..own.end + usize::from(shares_last)
    }
}

/// Room that need not grow, since what is left behind by growing is not wiped.
fn room(bytes: usize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(bytes))
}

fn hex(text: &mut Vec<u8>, byte: u8, case: Case) {
    let digits = match case {
        Case::Lower => b"0123456789abcdef",
        Case::Upper => b"0123456789ABCDEF",
    };
    text.extend([byte >> 4, byte & 15].map(|digit| digits[usize::from(digit)]));
}

fn percent(value: &[u8], kept: Kept, case: Case) -> Zeroizing<Vec<u8>> {
    let mut text = room(value.len() * 3);
    for byte in value {
        let further: &[u8] = match kept {
            Kept::Nothing => b"",
            Kept::Unreserved => b"-._~",
            Kept::Component => b"-._~!*'()",
            Kept::Path => b"-._~/",
            Kept::Form => b"-._*",
        };
        let is_kept = kept != Kept::Nothing && byte.is_ascii_alphanumeric();
        match byte {
            b' ' if kept == Kept::Form => text.push(b'+'),
            byte if is_kept || further.contains(byte) => text.push(*byte),
            byte => {
                text.push(b'%');
                hex(&mut text, *byte, case);
            }
        }
    }
    text
}

fn escape(value: &[u8], escapes: Escapes) -> Zeroizing<Vec<u8>> {
    let mut text = room(value.len() * 6);
    // What is no UTF-8 stands in no JSON; it is left as it is.
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            escape_character(&mut text, character, escapes);
        }
        text.extend(chunk.invalid());
    }
    text
}

fn escape_character(text: &mut Vec<u8>, character: char, escapes: Escapes) {
    let short = match character {
        '"' => b'"',
        '\\' => b'\\',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        '/' if escapes == Escapes::Slashes => b'/',
        _ => 0,
    };
    let is_escaped = match escapes {
        Escapes::Least | Escapes::Slashes => false,
        Escapes::NonAscii => !character.is_ascii(),
        Escapes::Html => matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'),
    };
    if short != 0 {
        text.extend([b'\\', short]);
    } else if is_escaped || character < ' ' {
        for unit in character.encode_utf16(&mut [0; 2]) {
            let mut escape = String::with_capacity(6);
            // Writing to a string cannot fail.
            let _ = write!(escape, "\\u{unit:04x}");
            text.extend(escape.as_bytes());
            escape.zeroize();
        }
    } else {
        let mut bytes = [0; 4];
        text.extend(character.encode_utf8(&mut bytes).as_bytes());
        bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: &str) -> Vec<String> {
        let spelt = all(value.as_bytes()).into_iter();
        spelt.map(|spelled| String::from_utf8(spelled.bytes.to_vec()).unwrap()).collect()
    }

    #[test]
    fn q2_spells_as_encoders_do() {
        let known = texts("pa\"s/s wörd\n&");
        for spelt in [
            "pa\"s/s wörd\n&",
            r#"pa\"s/s wörd\n&"#,
            r#"pa\\\"s/s wörd\\n&"#,
            r#"pa\"s\/s wörd\n&"#,
            r#"pa\"s/s w\u00f6rd\n&"#,
            r#"pa\\\"s/s w\\u00f6rd\\n&"#,
            r#"pa\"s/s wörd\n\u0026"#,
            "706122732f732077c3b672640a26",
            "706122732F732077C3B672640A26",
            "pa%22s%2Fs%20w%C3%B6rd%0A%26",
            "pa%22s%2fs%20w%c3%b6rd%0a%26",
            "pa%22s/s%20w%C3%B6rd%0A%26",
            "pa%22s%2Fs+w%C3%B6rd%0A%26",
            "%70%61%22%73%2F%73%20%77%C3%B6%72%64%0A%26",
        ] {
            assert!(known.iter().any(|known| known == spelt), "{spelt} is not in {known:?}");
        }
    }

    #[test]
    fn q2_base64_of_a_text_that_holds_the_value_holds_its_spelling() {
        let value = "correct?horse>battery~staple";
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            for before in ["", "a", "ab", "abc", "abcd"] {
                for after in ["", "x", "xy", "xyz"] {
                    let text = engine.encode(format!("{before}{value}{after}"));
                    let holds = |spelt: &String| text.contains(spelt.as_str());
                    assert!(texts(value).iter().any(holds), "{text}");
                }
            }
        }
    }

    #[test]
    fn q2_no_bit_of_a_value_in_base64_is_left_over() {
        let value = b"correct horse";
        for before in 0..3_u8 {
            for after in 0..3 {
                let held = [&b"\0\0"[..before.into()], value, &b"\0\0"[..after]].concat();
                let text = STANDARD_NO_PAD.encode(&held).into_bytes();
                let spelling = Spelling::Base64 { is_url_safe: false, before };
                let spelt = spelling.of(value);
                let at = text.windows(spelt.len()).position(|window| window == &**spelt).unwrap();
                let wide = spelling.widened(at..at + spelt.len(), value.len(), &text);
                let outside = [&text[..wide.start], &text[wide.end..]].concat();
                assert!(outside.iter().all(|byte| *byte == b'A'), "{before} {after}");
            }
        }
    }

    #[test]
    fn a_plain_value_has_few_spellings() {
        assert_eq!(few(b"0123456789abcdef").len(), 1);
        let names: Vec<Spelling> =
            all(b"0123456789abcdef").into_iter().map(|spelled| spelled.spelling).collect();
        assert_eq!(names.len(), 1 + 3 + 1 + 1, "{names:?}");
    }
}
