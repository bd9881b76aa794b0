//! The first frame each way: which link, which version, and the shared secret.

use serde::{Deserialize, Serialize};

/// Cap of a hello or its answer, in bytes.
pub const CAP: usize = 128;

/// The version both ends of a link must speak. Any change to a message raises it.
pub const VERSION: u16 = 1;

/// The five powers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkName {
    /// Proxy to signer: leaf certificates.
    Mint,
    /// Auditd to signer: checkpoints.
    Seal,
    /// Proxy to auditd: events.
    Append,
    /// Operator to proxy.
    Control,
    /// Operator to auditd.
    AuditControl,
}

/// What the connecting end says first.
///
/// `secret` is 32 zero bytes where the peer's uid decides alone (installed units); in the embedded
/// default it is the link's secret, or for the control links the bytes of `run/admin.token`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The link the caller believes it has opened.
    pub link: LinkName,
    /// The caller's [`VERSION`].
    pub version: u16,
    /// The shared secret.
    pub secret: [u8; 32],
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("link", &self.link)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What the accepting end answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Welcome {
    /// Go on.
    Accepted,
    /// Another link listens here.
    WrongLink {
        /// The link that does.
        here: LinkName,
    },
    /// The versions differ.
    WrongVersion {
        /// The accepting end's version.
        here: u16,
    },
    /// The secret is not this link's.
    WrongSecret,
}

/// The answer an accepting end gives to `hello`.
#[must_use]
pub fn welcome(hello: &Hello, here: LinkName, secret: &[u8; 32]) -> Welcome {
    if hello.link != here {
        return Welcome::WrongLink { here };
    }
    if hello.version != VERSION {
        return Welcome::WrongVersion { here: VERSION };
    }
    if !same_secret(&hello.secret, secret) {
        return Welcome::WrongSecret;
    }
    Welcome::Accepted
}

/// Compares without stopping at the first difference, so that timing tells nothing.
fn same_secret(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |differing, (x, y)| differing | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello { link: LinkName::Mint, version: VERSION, secret: [7; 32] }
    }

    #[test]
    fn accepts_the_right_link_version_and_secret() {
        assert_eq!(welcome(&hello(), LinkName::Mint, &[7; 32]), Welcome::Accepted);
    }

    #[test]
    fn names_both_sides_of_a_mismatch() {
        let here = LinkName::Seal;
        assert_eq!(welcome(&hello(), here, &[7; 32]), Welcome::WrongLink { here });
        let old = Hello { version: 0, ..hello() };
        assert_eq!(
            welcome(&old, LinkName::Mint, &[7; 32]),
            Welcome::WrongVersion { here: VERSION }
        );
    }

    #[test]
    fn refuses_a_secret_that_differs_in_one_bit() {
        let mut secret = [7; 32];
        secret[31] ^= 1;
        assert_eq!(welcome(&hello(), LinkName::Mint, &secret), Welcome::WrongSecret);
    }

    #[test]
    fn debug_output_hides_the_secret() {
        assert!(!format!("{:?}", Hello { secret: [0xab; 32], ..hello() }).contains("171"));
    }
}
