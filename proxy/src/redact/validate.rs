//! What a token says about itself: checksums and inner structure that can be checked offline.
//!
//! They raise confidence and never reject: a mistyped or rotated key is still a secret's shape. One
//! that cannot hold by chance also accepts a token whose neighbours its boundaries would refuse.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::Deserialize;

/// A check, by the name that pattern files call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Check {
    /// Bech32 with the prefix of an age identity.
    Age,
    /// 93 characters and `AA`.
    Anthropic,
    /// CRC-32 in hex behind the last `=`.
    Atlassian,
    /// Base32 behind the prefix.
    AwsId,
    /// Base64 of `name:password`.
    BasicPair,
    /// Base64 of a text with the vendor's own prefix.
    Bedrock,
    /// CRC-32 in hex behind 40 characters.
    Cloudflare,
    /// The first part is the base64 of a decimal id.
    Discord,
    /// CRC-32 in base 62 at the end: GitHub and npm.
    Github,
    /// CRC-32 in hex, little end first.
    Grafana,
    /// The vendor's infix at its place.
    Groq,
    /// Header and claims are base64url of JSON, and the header names an algorithm.
    Jwt,
    /// The vendor's infix.
    Openai,
    /// Base64 of a private key in PEM.
    PemKey,
    /// A macaroon of the package index.
    Pypi,
    /// Base64url of 16 and of 32 bytes.
    Sendgrid,
}

impl Check {
    /// As pattern files write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Anthropic => "anthropic",
            Self::Atlassian => "atlassian",
            Self::AwsId => "aws_id",
            Self::BasicPair => "basic_pair",
            Self::Bedrock => "bedrock",
            Self::Cloudflare => "cloudflare",
            Self::Discord => "discord",
            Self::Github => "github",
            Self::Grafana => "grafana",
            Self::Groq => "groq",
            Self::Jwt => "jwt",
            Self::Openai => "openai",
            Self::PemKey => "pem_key",
            Self::Pypi => "pypi",
            Self::Sendgrid => "sendgrid",
        }
    }

    /// Whether text that passes is a token whatever stands beside it: it passes by chance less than
    /// once in a million.
    pub(crate) fn proves(self) -> bool {
        !matches!(
            self,
            Self::Anthropic | Self::AwsId | Self::BasicPair | Self::Discord | Self::Sendgrid
        )
    }

    /// Whether `token` passes.
    pub(crate) fn holds(self, token: &[u8]) -> bool {
        match self {
            Self::Age => bech32(token, b"age-secret-key-"),
            Self::Anthropic => token.ends_with(b"AA") && body(token, b'-').len() == 95,
            Self::Atlassian => atlassian(token),
            Self::AwsId => token
                .get(4..)
                .filter(|id| id.len() == 16)
                .is_some_and(|id| id.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'))),
            Self::BasicPair => decoded(token).is_some_and(|pair| {
                pair.contains(&b':') && pair.iter().all(|byte| !byte.is_ascii_control())
            }),
            Self::Bedrock => token.strip_prefix(b"ABSK").and_then(decoded).is_some_and(|text| {
                memchr::memmem::find(&text, b"BedrockAPIKey-").is_some_and(|at| at < 3)
            }),
            Self::Cloudflare => {
                after(token, b'_').split_last_chunk::<8>().is_some_and(|(body, sum)| {
                    body.len() == 40 && hex(crc32(body).to_be_bytes()) == *sum
                })
            }
            Self::Discord => token.split(|byte| *byte == b'.').next().is_some_and(|id| {
                decoded(id).is_some_and(|id| {
                    (17..=20).contains(&id.len()) && id.iter().all(u8::is_ascii_digit)
                })
            }),
            Self::Github => after(token, b'_')
                .split_last_chunk::<6>()
                .is_some_and(|(body, sum)| body.len() >= 30 && base62(crc32(body)) == *sum),
            Self::Grafana => token.split_last_chunk::<8>().is_some_and(|(rest, sum)| {
                let signed = rest.strip_suffix(b"_").unwrap_or(rest);
                hex(crc32(signed).to_le_bytes()) == *sum
            }),
            Self::Groq => token.get(24..32) == Some(b"WGdyb3FY"),
            Self::Jwt => jwt(token),
            Self::Openai => memchr::memmem::find(token, b"T3BlbkFJ").is_some(),
            Self::PemKey => decoded(token)
                .is_some_and(|pem| memchr::memmem::find(&pem, b"PRIVATE KEY-----").is_some()),
            Self::Pypi => token.starts_with(b"pypi-AgEIcHlwaS5vcmc"),
            Self::Sendgrid => sendgrid(token),
        }
    }
}

/// What stands behind the first `separator`.
fn after(token: &[u8], separator: u8) -> &[u8] {
    memchr::memchr(separator, token).map_or(&[], |at| &token[at + 1..])
}

/// What stands behind the third `separator`: `sk-ant-api03-BODY`.
fn body(token: &[u8], separator: u8) -> &[u8] {
    token.splitn(4, |byte| *byte == separator).nth(3).unwrap_or_default()
}

/// Base64 of either alphabet, padded or not.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let unpadded = text.trim_suffix_of(b'=');
    let url = unpadded.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let engine = if url { URL_SAFE_NO_PAD } else { STANDARD_NO_PAD };
    engine.decode(unpadded).ok()
}

trait TrimSuffix {
    fn trim_suffix_of(&self, byte: u8) -> &Self;
}

impl TrimSuffix for [u8] {
    fn trim_suffix_of(&self, byte: u8) -> &Self {
        let kept = self.iter().rposition(|other| *other != byte).map_or(0, |last| last + 1);
        &self[..kept]
    }
}

fn atlassian(token: &[u8]) -> bool {
    let Some((rest, sum)) = token.split_last_chunk::<8>() else { return false };
    let Some(signed) = rest.strip_suffix(b"=") else { return false };
    // Sources differ on whether the sign itself is signed.
    [signed, rest]
        .iter()
        .any(|text| hex(crc32(text).to_be_bytes()).to_ascii_uppercase() == sum.to_ascii_uppercase())
}

fn jwt(token: &[u8]) -> bool {
    let mut parts = token.split(|byte| *byte == b'.');
    let mut json = || -> Option<serde_json::Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok()
    };
    json().is_some_and(|header| header["alg"].is_string())
        && json().is_some_and(|claims| claims.is_object())
}

fn sendgrid(token: &[u8]) -> bool {
    let mut parts = token.split(|byte| *byte == b'.').skip(1);
    let mut length = || Some(URL_SAFE_NO_PAD.decode(parts.next()?).ok()?.len());
    length() == Some(16) && length() == Some(32)
}

/// CRC-32 as in IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

fn hex(bytes: [u8; 4]) -> [u8; 8] {
    let digit = |at: usize| {
        let byte = bytes[at / 2];
        b"0123456789abcdef"[usize::from(if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 })]
    };
    std::array::from_fn(digit)
}

/// Six digits, zeros in front.
fn base62(mut number: u32) -> [u8; 6] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = [b'0'; 6];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    text
}

/// BIP 173, either case, with `prefix`.
fn bech32(text: &[u8], prefix: &[u8]) -> bool {
    const DIGITS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let text = text.to_ascii_lowercase();
    let Some(data) = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(b"1")) else {
        return false;
    };
    let step = |sum: u32, value: u8| {
        let top = sum >> 25;
        let taps = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
        let shifted = (sum & 0x01ff_ffff) << 5 ^ u32::from(value);
        (0..5).filter(|bit| top >> bit & 1 == 1).fold(shifted, |sum, bit| sum ^ taps[bit])
    };
    let high = prefix.iter().map(|byte| byte >> 5);
    let low = prefix.iter().map(|byte| byte & 31);
    let mut sum = high.chain([0]).chain(low).fold(1, step);
    for byte in data {
        let digit = DIGITS.iter().position(|digit| digit == byte);
        let Some(value) = digit.and_then(|digit| u8::try_from(digit).ok()) else { return false };
        sum = step(sum, value);
    }
    sum == 1 && data.len() >= 6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_agree_with_their_published_test_vectors() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(&hex(0xcbf4_3926_u32.to_be_bytes()), b"cbf43926");
        assert_eq!(&base62(61), b"00000z");
        assert_eq!(&base62(u32::MAX), b"4gfFC3");
        assert!(bech32(b"A12UEL5L", b"a") && bech32(b"a12uel5l", b"a"));
        assert!(!bech32(b"a12uel5m", b"a"));
    }

    #[test]
    fn a_check_fails_on_any_changed_character_and_on_any_text() {
        let token = |prefix: &str, body: &str, sum: &[u8]| {
            [prefix.as_bytes(), body.as_bytes(), sum].concat()
        };
        let body = "0123456789abcdefghijABCDEFGHIJ";
        let cases = [
            (Check::Github, token("ghp_", body, &base62(crc32(body.as_bytes())))),
            (Check::Cloudflare, {
                let body = format!("{body}0123456789");
                token("cfut_", &body, &hex(crc32(body.as_bytes()).to_be_bytes()))
            }),
            (Check::Grafana, {
                let signed = format!("glsa_{body}01");
                token(&signed, "_", &hex(crc32(signed.as_bytes()).to_le_bytes()))
            }),
        ];
        for (check, valid) in cases {
            assert!(check.holds(&valid) && check.proves(), "{check:?}");
            for at in 5..valid.len() {
                let mut other = valid.clone();
                other[at] = if other[at] == b'Q' { b'R' } else { b'Q' };
                assert!(!check.holds(&other), "{check:?} {at}");
            }
        }
        for check in ALL {
            for text in ["", "_", ".", "-", "=", "a.b.c", "é", "ghp_", "eyJ.eyJ."] {
                assert!(!check.holds(text.as_bytes()), "{check:?} {text}");
            }
            let named: Check = serde_json::from_value(check.name().into()).unwrap();
            assert_eq!(named, *check);
        }
    }

    const ALL: &[Check] = &[
        Check::Age,
        Check::Anthropic,
        Check::Atlassian,
        Check::AwsId,
        Check::BasicPair,
        Check::Bedrock,
        Check::Cloudflare,
        Check::Discord,
        Check::Github,
        Check::Grafana,
        Check::Groq,
        Check::Jwt,
        Check::Openai,
        Check::PemKey,
        Check::Pypi,
        Check::Sendgrid,
    ];
}
