//! Whose placeholders they are.

use std::fmt;

use crate::placeholder::SessionKey;

/// Request headers that say who the client is to the provider, the deciding one first.
pub const CREDENTIAL_HEADERS: [&str; 5] =
    ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"];

/// An upstream host and the credential a client used there: what was minted for one scope resolves
/// in no other (P6).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scope([u8; 32]);

impl Scope {
    /// The scope of a request to `host` (normalised) with the headers that `header` finds.
    ///
    /// The identity is a keyed hash: credentials are neither kept nor comparable beyond `key`.
    #[must_use]
    pub fn of<'h>(
        key: &SessionKey,
        host: &str,
        header: impl Fn(&'static str) -> Option<&'h [u8]>,
    ) -> Self {
        let credential =
            CREDENTIAL_HEADERS.into_iter().find_map(|name| Some((name, header(name)?)));
        let (name, value) = credential.unwrap_or(("none", b""));
        // Neither a host name nor a header name can hold a NUL.
        Self(
            key.digest(
                &[b"scope\0", host.as_bytes(), b"\0", name.as_bytes(), b"\0", value].concat(),
            ),
        )
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p6_another_host_or_credential_is_another_scope() {
        let key = SessionKey::new([1; 32]);
        let of = |host, headers: &[(&str, &'static str)]| {
            let headers = headers.to_vec();
            Scope::of(&key, host, |name| {
                headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_bytes())
            })
        };
        let scope = of("a.example", &[("x-api-key", "k1")]);
        assert_eq!(scope, of("a.example", &[("cookie", "c"), ("x-api-key", "k1")]));
        for other in [
            of("b.example", &[("x-api-key", "k1")]),
            of("a.example", &[("x-api-key", "k2")]),
            of("a.example", &[("api-key", "k1")]),
            of("a.example", &[("authorization", "z"), ("x-api-key", "k1")]),
            of("a.example", &[]),
        ] {
            assert_ne!(scope, other);
        }
    }
}
