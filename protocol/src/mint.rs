//! Proxy → signer: leaf certificates for the names the signer's CA permits.

use serde::{Deserialize, Serialize};

/// Cap of one frame, in bytes.
pub const CAP: usize = 8 * 1024;

/// What the proxy may ask. Append-only: reordering re-means old bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// A leaf for `host`, over the proxy's own public key. The signer composes the certificate;
    /// nothing else of it is the caller's to choose.
    Leaf {
        /// The host name, normalised (lower case, no trailing dot, A-labels).
        host: String,
        /// DER `SubjectPublicKeyInfo` (RFC 5280 section 4.1) of the proxy's P-256 leaf key.
        public_key: Vec<u8>,
    },
    /// The exact names the CA permits.
    Names,
}

/// What the signer answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// A leaf certificate.
    Leaf {
        /// DER of the leaf.
        certificate: Vec<u8>,
        /// End of validity, in seconds since the Unix epoch.
        not_after: u64,
    },
    /// The exact names the CA permits, sorted.
    Names(Vec<String>),
    /// No.
    Refused(Refusal),
}

/// Why no leaf was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The CA does not permit exactly this name, or it is no DNS name in normal form.
    NameNotPermitted,
    /// The public key is not an uncompressed P-256 key in DER.
    KeyNotAccepted,
    /// Too many leaves within a short time.
    RateLimited,
    /// The signer failed; its log says how.
    Internal,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NameNotPermitted => "the CA does not permit this exact name",
            Self::KeyNotAccepted => "the public key is not P-256",
            Self::RateLimited => "too many certificates asked for in a short time",
            Self::Internal => "the signer failed",
        })
    }
}
