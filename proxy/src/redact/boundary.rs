//! What may stand beside a secret.

use std::ops::RangeInclusive;

/// A set of ASCII bytes, written like the inside of a character class: `A-Za-z0-9_-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(u128);

impl Bytes {
    /// Reads the set, or `None` where a byte is not printable ASCII or a range runs backwards.
    ///
    /// A quote or backslash beside a secret is its surrounding, in JSON most of all: it is none of
    /// what may not stand there.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::read(text, |byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
    }

    /// Reads a set of what must stand beside a secret, which is its surrounding.
    pub(crate) fn parse_surrounding(text: &str) -> Option<Self> {
        Self::read(text, |byte| byte.is_ascii_graphic())
    }

    fn read(text: &str, plain: impl Fn(u8) -> bool) -> Option<Self> {
        let mut rest = text.as_bytes();
        let mut set = 0;
        while let [first, tail @ ..] = rest {
            let (last, after) = match tail {
                [b'-', last, after @ ..] => (last, after),
                _ => (first, tail),
            };
            if first > last || !(*first..=*last).all(&plain) {
                return None;
            }
            (*first..=*last).for_each(|byte| set |= 1_u128 << byte);
            rest = after;
        }
        Some(Self(set))
    }

    /// The bytes of the set.
    pub(crate) fn members(self) -> impl DoubleEndedIterator<Item = u8> {
        (0..=u8::MAX).filter(move |byte| self.contains(*byte))
    }

    /// The set as a range, where it is one.
    pub(crate) fn as_range(self) -> Option<RangeInclusive<u8>> {
        let mut members = self.members();
        let first = members.next()?;
        let last = members.next_back().unwrap_or(first);
        (first..=last).all(|byte| self.contains(byte)).then_some(first..=last)
    }

    /// Whether `byte` is in the set.
    pub(crate) fn contains(self, byte: u8) -> bool {
        byte.is_ascii() && self.0 >> byte & 1 == 1
    }
}

/// Whether the byte in front of `start` is none of `alphabet`, or ends an escape: a letter that
/// belongs to `\n`, `%20` or `ESC[32m` is no part of the token behind it.
pub(crate) fn starts_freely(text: &[u8], start: usize, alphabet: &Bytes) -> bool {
    let before = &text[..start];
    let Some(last) = before.last() else { return true };
    !alphabet.contains(*last) || ends_in_escape(before)
}

fn ends_in_escape(before: &[u8]) -> bool {
    let hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    match before {
        [.., b'\\', letter] if b"abefnrtv0".contains(letter) => true,
        [.., b'%', a, b] if hex(&[*a, *b]) => true,
        [.., b'\\', b'x', a, b] if hex(&[*a, *b]) => true,
        [.., b'\\', b'u', a, b, c, d] if hex(&[*a, *b, *c, *d]) => true,
        // SGR and erase-line sequences, as terminals and `grep --color` write them.
        [parameters @ .., b'm' | b'K'] => parameters
            .iter()
            .rev()
            .take(ANSI_MAX)
            .find(|byte| !byte.is_ascii_digit() && **byte != b';')
            .is_some_and(|byte| *byte == b'['),
        _ => false,
    }
}

/// Whether `at` stands between the mark of an escape and its last digit.
pub(crate) fn tears_escape(text: &[u8], at: usize) -> bool {
    let is_torn = |mark: &[u8], digits: usize| {
        (0..digits).any(|behind| {
            let Some(first) = at.checked_sub(behind) else { return false };
            let hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
            text[..first].ends_with(mark) && text.get(first..first + digits).is_some_and(hex)
        })
    };
    is_torn(b"%", 2) || is_torn(b"\\x", 2) || is_torn(b"\\u", 4)
}

/// Longest parameter list of an ANSI sequence looked at.
const ANSI_MAX: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_an_escape_for_a_boundary() {
        for before in [
            "\\n",
            "\\\\t",
            "%20",
            "%0A",
            "\\x41",
            "\\u000a",
            "\x1b[32m",
            "\x1b[1;31m",
            "é",
            "密",
            "",
        ] {
            assert!(
                starts_freely(before.as_bytes(), before.len(), &Bytes::parse("A-Za-z0-9").unwrap()),
                "{before}"
            );
        }
        for before in ["n", "x20", "u000a", "32m", "item"] {
            assert!(
                !starts_freely(
                    before.as_bytes(),
                    before.len(),
                    &Bytes::parse("A-Za-z0-9").unwrap()
                ),
                "{before}"
            );
        }
    }

    #[test]
    fn knows_where_it_would_tear_an_escape() {
        for (text, torn) in [("%20x", 1..3), ("\\x1bx", 2..4), ("\\u000ax", 2..6), ("%2", 0..0)] {
            for at in 0..=text.len() {
                assert_eq!(tears_escape(text.as_bytes(), at), torn.contains(&at), "{text} {at}");
            }
        }
    }

    #[test]
    fn a_set_without_gaps_is_a_range() {
        let range = |text| Bytes::parse(text).unwrap().as_range();
        assert_eq!(range("0-9"), Some(b'0'..=b'9'));
        assert_eq!(range("s"), Some(b's'..=b's'));
        assert_eq!(range("~}"), Some(b'}'..=b'~'));
        assert_eq!(range("A-Za-z"), None);
        assert_eq!(range(""), None);
    }

    #[test]
    fn reads_sets_like_character_classes() {
        let set = Bytes::parse("A-C_-").unwrap();
        assert!(set.contains(b'B') && set.contains(b'-') && set.contains(b'_'));
        assert!(!set.contains(b'D') && !set.contains(0xc3));
        for bad in ["z-a", "é", "\\", "!-~"] {
            assert_eq!(Bytes::parse(bad), None, "{bad}");
        }
    }
}
