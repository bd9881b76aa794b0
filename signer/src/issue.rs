//! The rules of issuing: for which names, over which keys, for how long. Pure.

use std::collections::BTreeSet;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use protocol::mint::Refusal;
use protocol::names::HostName;

/// From when until when a certificate holds, in seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: u64,
    /// The last second.
    pub not_after: u64,
}

/// The leaf that will be issued. Only [`order`] makes one, so whoever holds one holds a leaf the
/// rules allow.
#[derive(Debug)]
pub struct Order {
    host: HostName,
    key: LeafKey,
    validity: Validity,
}

impl Order {
    /// The only name of the leaf.
    #[must_use]
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// Its public key.
    #[must_use]
    pub fn key(&self) -> &LeafKey {
        &self.key
    }

    /// How long it holds.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }
}

/// Applies the rules to what a caller asked for at `now`, in seconds since the Unix epoch.
///
/// `permitted` are the names of the CA's own constraints. The comparison is of bytes, and with
/// names in normal form only: a subdomain, another case, a trailing dot, a wildcard, an address
/// and a NUL are all simply not among them. A leaf holds for at most seven days, so that a stolen
/// leaf key soon is worth nothing, and never longer than its CA.
///
/// # Errors
///
/// [`Refusal::NameNotPermitted`], [`Refusal::KeyNotAccepted`], or [`Refusal::Internal`] when the
/// clock is outside the CA's own validity.
pub fn order(
    permitted: &BTreeSet<HostName>,
    ca: Validity,
    host: &str,
    public_key: &[u8],
    now: u64,
) -> Result<Order, Refusal> {
    let host = permitted
        .iter()
        .find(|name| name.as_str() == host)
        .cloned()
        .ok_or(Refusal::NameNotPermitted)?;
    let key = LeafKey::parse(public_key).ok_or(Refusal::KeyNotAccepted)?;
    if !(ca.not_before..ca.not_after).contains(&now) {
        return Err(Refusal::Internal);
    }
    let validity = Validity {
        not_before: now.saturating_sub(BACKDATED).max(ca.not_before),
        not_after: now.saturating_add(LONGEST).min(ca.not_after),
    };
    Ok(Order { host, key, validity })
}

/// A P-256 public key, uncompressed and on the curve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafKey {
    spki: Vec<u8>,
}

impl LeafKey {
    /// The key that `spki` spells in the one DER encoding there is for it (RFC 5480 section 2).
    fn parse(spki: &[u8]) -> Option<Self> {
        let point = spki.strip_prefix(&P256_SPKI_PREFIX)?;
        // The parser below also takes compressed points, which not every TLS client does.
        if point.len() != UNCOMPRESSED_POINT || point.first() != Some(&0x04) {
            return None;
        }
        ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).ok()?;
        Some(Self { spki: spki.to_vec() })
    }

    /// Its DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of its `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn digest(&self) -> digest::Digest {
        digest::digest(&digest::SHA256, &self.spki)
    }
}

/// Seven days, in seconds.
const LONGEST: u64 = 7 * 24 * 3600;

/// One hour, in seconds: a client whose clock is a little behind still takes a fresh leaf.
const BACKDATED: u64 = 3600;

/// `SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING (66 bytes, none unused)`: all
/// of a P-256 `SubjectPublicKeyInfo` in front of its point.
const P256_SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Bytes of `0x04 ‖ x ‖ y` (SEC 1 section 2.3.3).
const UNCOMPRESSED_POINT: usize = 65;

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData};

    use super::*;

    const NOW: u64 = 1_800_000_000;
    const CA: Validity = Validity { not_before: NOW - 86_400, not_after: NOW + 3650 * 86_400 };

    fn permitted() -> BTreeSet<HostName> {
        ["api.anthropic.com", "api.openai.com"]
            .into_iter()
            .map(|name| HostName::normalise(name).unwrap())
            .collect()
    }

    fn p256() -> Vec<u8> {
        KeyPair::generate().unwrap().subject_public_key_info()
    }

    fn refusal(host: &str, key: &[u8]) -> Option<Refusal> {
        order(&permitted(), CA, host, key, NOW).err()
    }

    #[test]
    fn takes_a_permitted_name_and_a_p256_key() {
        let key = p256();
        let order = order(&permitted(), CA, "api.openai.com", &key, NOW).unwrap();
        assert_eq!(order.host().as_str(), "api.openai.com");
        assert_eq!(order.key().spki(), key);
    }

    #[test]
    fn refuses_a_name_outside_the_policy() {
        let key = p256();
        for name in [
            "evil.example",
            "",
            ".",
            "com",
            "anthropic.com",
            "sub.api.anthropic.com",
            ".api.anthropic.com",
            "xapi.anthropic.com",
            "API.anthropic.com",
            "api.anthropic.com.",
            "api.anthropic.com\0",
            "api.anthropic.com\0.evil.example",
            " api.anthropic.com",
            "*.anthropic.com",
            "*",
            "127.0.0.1",
            "::1",
            "api.anthropic.com,evil.example",
            "api。anthropic.com",
        ] {
            assert_eq!(refusal(name, &key), Some(Refusal::NameNotPermitted), "{name:?}");
        }
    }

    #[test]
    fn refuses_every_key_but_uncompressed_p256() {
        let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let good = p256();
        let mut compressed = good.clone();
        compressed[P256_SPKI_PREFIX.len()] = 0x02;
        let mut trailing = good.clone();
        trailing.push(0);
        for (what, key) in [
            ("P-384", p384.subject_public_key_info()),
            ("Ed25519", ed25519.subject_public_key_info()),
            ("compressed", compressed),
            ("trailing byte", trailing),
            ("cut", good[..good.len() - 1].to_vec()),
            ("bare point", good[P256_SPKI_PREFIX.len()..].to_vec()),
            ("empty", Vec::new()),
            ("garbage", vec![0x30; 91]),
        ] {
            assert_eq!(refusal("api.openai.com", &key), Some(Refusal::KeyNotAccepted), "{what}");
        }
    }

    #[test]
    fn refuses_a_point_that_is_not_on_the_curve() {
        let mut key = p256();
        *key.last_mut().unwrap() ^= 1;
        assert_eq!(refusal("api.openai.com", &key), Some(Refusal::KeyNotAccepted));
        let mut zero = P256_SPKI_PREFIX.to_vec();
        zero.push(0x04);
        zero.extend_from_slice(&[0; 64]);
        assert_eq!(refusal("api.openai.com", &zero), Some(Refusal::KeyNotAccepted));
    }

    #[test]
    fn a_leaf_holds_a_week_and_never_outlives_its_ca() {
        let key = p256();
        let at = |ca, now| order(&permitted(), ca, "api.openai.com", &key, now);
        let usual = at(CA, NOW).unwrap().validity();
        assert_eq!(usual, Validity { not_before: NOW - 3600, not_after: NOW + 7 * 86_400 });

        let short = Validity { not_before: NOW - 60, not_after: NOW + 60 };
        assert_eq!(at(short, NOW).unwrap().validity(), short);
        assert_eq!(at(short, NOW + 60).unwrap_err(), Refusal::Internal);
        assert_eq!(at(short, NOW - 61).unwrap_err(), Refusal::Internal);
        assert_eq!(at(CA, u64::MAX).unwrap_err(), Refusal::Internal);
    }
}
