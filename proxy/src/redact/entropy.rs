//! Tells values that somebody drew at random from names, words and placeholders: what a keyword
//! announces is a secret only where it looks like one.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use serde::Deserialize;

/// What a value must look like, by the name that pattern files call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Filter {
    /// Anything but what stands in for a value.
    Given,
    /// What somebody might choose as a password: not letters alone, not a number.
    Password,
    /// What a machine drew: neither words nor an identifier.
    Token,
}

impl Filter {
    /// As pattern files write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Password => "password",
            Self::Token => "token",
        }
    }

    /// Whether `value` may be a secret.
    pub(crate) fn admits(self, value: &[u8]) -> bool {
        if stands_in(value) {
            return false;
        }
        match self {
            Self::Given => true,
            Self::Password => {
                let is_word = value.iter().all(is_name_byte);
                let is_name = is_reference(value) && reads_like_words(value);
                !(is_number(value) || is_word || is_name)
            }
            Self::Token => {
                let is_named = value.iter().all(is_name_byte)
                    && value.iter().any(|byte| b"_-.".contains(byte));
                !(is_number(value) || is_named || is_reference(value) || reads_like_words(value))
            }
        }
    }
}

/// Shannon entropy, in bits per byte.
pub(crate) fn shannon(value: &[u8]) -> f32 {
    let mut counts = [0_u32; 256];
    value.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    #[expect(clippy::cast_precision_loss, reason = "a secret is shorter than 2^23 bytes")]
    let total = value.len() as f32;
    let of_count = |count: u32| {
        #[expect(clippy::cast_precision_loss, reason = "at most the length")]
        let share = count as f32 / total;
        -share * share.log2()
    };
    counts.into_iter().filter(|count| *count > 0).map(of_count).sum()
}

/// Whether `value` names the place a value comes from, or is to come.
fn stands_in(value: &[u8]) -> bool {
    static MARKED: LazyLock<AhoCorasick> =
        LazyLock::new(|| AhoCorasick::new(MARKS).expect("a few words make no large automaton"));
    let lower = value.to_ascii_lowercase();
    let is_marked = match lower.as_slice() {
        [b'$' | b'%' | b'<' | b'{' | b'[' | b'@', ..] | [.., b'>' | b']' | b'}'] => true,
        _ => MARKED
            .find_overlapping_iter(&lower)
            .any(|mark| mark.len() > CHANCE_MAX || is_spelt_as_one(&value[mark.range()])),
    };
    let dull = lower.iter().filter(|byte| b"x*.-_#?0".contains(byte)).count();
    is_marked
        || dull * 2 > lower.len()
        || STAND_INS.contains(&lower.as_slice())
        || SOURCES.iter().any(|source| lower.starts_with(source))
}

/// Whether a word is written in one case, its first letter aside: what is drawn at random seldom is.
fn is_spelt_as_one(word: &[u8]) -> bool {
    let (first, rest) =
        word.split_first().map_or((None, word), |(first, rest)| (Some(first), rest));
    let is_upper = |byte: &u8| !byte.is_ascii_lowercase();
    let is_lower = |byte: &u8| !byte.is_ascii_uppercase();
    rest.iter().all(is_lower) || (first.is_none_or(is_upper) && rest.iter().all(is_upper))
}

/// Whether `value` is a path, a URL, a call or a dotted name.
fn is_reference(value: &[u8]) -> bool {
    match value {
        [b'/' | b'~', rest @ ..] | [b'.', b'/', rest @ ..] | [b'.', b'.', b'/', rest @ ..] => {
            rest.contains(&b'/') || reads_like_words(rest)
        }
        [b'A'..=b'Z' | b'a'..=b'z', b':', b'\\' | b'/', ..] | [b'\\', b'\\', ..] => true,
        _ => {
            memchr::memmem::find(value, b"://").is_some()
                || memchr::memmem::find(value, b"::").is_some()
                || memchr::memchr(b'(', value).is_some()
                || value.iter().filter(|byte| **byte == b'.').count() > 2
                || (value.contains(&b'.') && reads_like_words(value))
        }
    }
}

/// Whether `value` is digits and what numbers, dates and versions are written with.
fn is_number(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_digit() || b"+-.,:_/TZ%".contains(byte))
}

fn is_name_byte(byte: &u8) -> bool {
    byte.is_ascii_alphabetic() || b"_-. /:\\*&".contains(byte)
}

/// Whether the letters of `value` follow each other as they do in words, and no more than a quarter
/// of it is digits.
pub(crate) fn reads_like_words(value: &[u8]) -> bool {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits * 4 > value.len() {
        return false;
    }
    let (mut pairs, mut common) = (0_usize, 0_usize);
    for pair in value.windows(2) {
        let [first, second] = [pair[0], pair[1]];
        // A capital in front of what is not one begins a word, as do the letters behind an underscore.
        let starts_word = second.is_ascii_uppercase() && first.is_ascii_lowercase();
        if !first.is_ascii_alphabetic() || !second.is_ascii_alphabetic() || starts_word {
            continue;
        }
        let index = |byte: u8| usize::from(byte.to_ascii_lowercase() - b'a');
        pairs += 1;
        common += usize::from(COMMON_PAIRS[index(first)] >> index(second) & 1 == 1);
    }
    if pairs < 4 {
        // Too few to tell by: a name has at least as many letters as other characters.
        return value.iter().filter(|byte| byte.is_ascii_alphabetic()).count() * 4
            >= value.len() * 3
            && value.len() < 12;
    }
    // Drawn letters hit a third of the pairs, words nine of ten.
    common * 10 >= pairs * 7
}

/// Longest mark that what is drawn at random may well hold, in whatever case.
const CHANCE_MAX: usize = 5;

/// What a placeholder holds.
const MARKS: &[&[u8]] = &[
    b"${",
    b"$(",
    b"{{",
    b"%(",
    b"***",
    b"...",
    b"xxxx",
    b"<pl:",
    b"pl:",
    b"redacted",
    b"placeholder",
    b"changeme",
    b"change_me",
    b"change-me",
    b"example",
    b"your_",
    b"your-",
    b"yourp",
    b"yours",
    b"yourt",
    b"youra",
    b"yourk",
    b"dummy",
    b"insert",
    b"replace",
    b"not_a_real",
    b"notareal",
    b"fake",
    b"sample",
    b"undefined",
    b"\xe2\x80\xa6",
    b"\xe2\x80\xa2",
];

/// What stands where a secret would, as a whole.
const STAND_INS: &[&[u8]] = &[
    b"password",
    b"passwd",
    b"pass",
    b"pwd",
    b"secret",
    b"token",
    b"user",
    b"username",
    b"admin",
    b"root",
    b"test",
    b"none",
    b"null",
    b"nil",
    b"true",
    b"false",
    b"string",
    b"value",
    b"todo",
    b"foobar",
    b"foo",
    b"bar",
    b"required",
    b"optional",
    b"hidden",
    b"masked",
    b"empty",
    b"default",
];

/// Where values are read from.
const SOURCES: &[&[u8]] = &[
    b"os.environ",
    b"os.getenv",
    b"process.env",
    b"import.meta",
    b"getenv",
    b"env.",
    b"env(",
    b"env[",
    b"env!",
    b"env:",
    b"system.getenv",
    b"config.",
    b"settings.",
    b"self.",
    b"this.",
    b"secrets.",
    b"secret/",
    b"vault:",
    b"op://",
    b"ref+",
    b"arn:",
    b"file:",
    b"/run/secrets",
    b"!ref",
    b"!sub",
    b"!vault",
];

/// The 230 pairs of letters that make up nine tenths of the words in documentation and source text:
/// per first letter, a bit per second one.
const COMMON_PAIRS: [u32; 26] = [
    0x13e_bd4e, // a
    0x012_4911, // b
    0x01a_4d95, // c
    0x014_4119, // d
    0x0ef_b97f, // e
    0x01a_4131, // f
    0x012_6190, // g
    0x008_4111, // h
    0x22e_f87f, // i
    0x000_0000, // j
    0x000_0110, // k
    0x11c_4919, // l
    0x014_d113, // m
    0x13c_697d, // n
    0x07e_fd6e, // o
    0x11e_c911, // p
    0x010_0000, // q
    0x11e_755d, // r
    0x11c_c195, // s
    0x11e_c995, // t
    0x00e_b957, // u
    0x000_0111, // v
    0x002_4191, // w
    0x008_8000, // x
    0x004_c000, // y
    0x000_0010, // z
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q5_a_word_that_chance_spells_makes_no_stand_in() {
        for drawn in ["zcEDxSM1oPrfAKEg37", "BStxXXxF8AD4cq7LwX2m", "q9fAkE7LwX2mVb4KdR8s"] {
            assert!(!stands_in(drawn.as_bytes()), "{drawn}");
            assert!(Filter::Password.admits(drawn.as_bytes()), "{drawn}");
        }
        for meant in [
            "fake-key-1234",
            "FAKE_KEY_1234",
            "myFakeKey1234",
            "sk-xxxx1234",
            "XXXX-1234",
            "changeMe1",
        ] {
            assert!(stands_in(meant.as_bytes()), "{meant}");
        }
    }

    #[test]
    fn q5_what_stands_in_for_a_value_is_none() {
        for text in [
            "${DB_PASSWORD}",
            "$DB_PASSWORD",
            "%PASSWORD%",
            "{{ password }}",
            "<your-key>",
            "********",
            "[REDACTED]",
            "xxxxxxxxxxxx",
            "sk-xxxxxxxxxxxxxxxx",
            "changeme",
            "your-api-key-here",
            "os.environ[KEY]",
            "process.env.API_KEY",
            "<pl:AWS_ACCESS_KEY:0123456789abcdef>",
            "password",
        ] {
            for filter in [Filter::Given, Filter::Password, Filter::Token] {
                assert!(!filter.admits(text.as_bytes()), "{text}");
            }
        }
    }

    #[test]
    fn q1_names_words_paths_and_numbers_are_no_tokens() {
        for text in [
            "user_password_field",
            "ForgotPasswordScreenTitle",
            "getAccessToken",
            "self.next_token",
            "TokenKind::Identifier",
            "b.zgsrwtFqnd",
            "SECPKG_ATTR",
            "evp_hpke_key_st",
            "/var/run/secrets/kubernetes.io/serviceaccount/token",
            "./config/session-token.txt",
            "https://example.org/oauth/token",
            "1234567890123456",
            "application/x-www-form-urlencoded",
            "AuthenticationProvider",
            "refresh_token_expired",
            "2026-11-20T14:02:11",
        ] {
            assert!(!Filter::Token.admits(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn q6_what_was_drawn_or_chosen_is_taken() {
        for text in [
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzKEY",
            "9f86d081884c7d659a2feaa0c55ad015",
            "Zr7Qk2vXw9LmTn4B",
            "qpzmxkvjwtrwhgbd",
            "550e8400-e29b-41d4-a716-446655440000",
        ] {
            assert!(Filter::Token.admits(text.as_bytes()), "{text}");
        }
        for text in ["hunter2", "S3cr3t!", "Tr0ub4dor&3", "P@ssw0rd", "correct-horse-9"] {
            assert!(Filter::Password.admits(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn entropy_is_in_bits_per_byte() {
        assert!(shannon(b"aaaa").abs() < 1e-6);
        assert!((shannon(b"abcdefgh") - 3.0).abs() < 1e-6);
        assert!(shannon(b"9f86d081884c7d659a2feaa0c55ad015") > 3.0);
        assert!(shannon(b"") < 1e-6);
    }
}
