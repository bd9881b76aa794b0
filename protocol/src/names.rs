//! Names that are valid by construction.

use std::fmt;

/// A DNS host name in normal form: A-labels, lower case, no trailing dot, no IP address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

/// Why a text is not a host name Waterwall handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAHostName {
    /// Nothing is left of it.
    Empty,
    /// An IP address, in any spelling a resolver would take.
    IpAddress,
    /// Not a name under RFC 1123 and IDNA (UTS 46).
    Malformed,
}

impl fmt::Display for NotAHostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty host name",
            Self::IpAddress => "an IP address, where a host name is needed",
            Self::Malformed => "not a DNS host name (which has no scheme, port, path or wildcard)",
        })
    }
}

impl std::error::Error for NotAHostName {}

impl HostName {
    /// The normal form of `text`: IDNA to A-labels, lower case, one trailing dot cut.
    ///
    /// # Errors
    ///
    /// [`NotAHostName`] for anything but a DNS name of at most 253 bytes; userinfo, ports,
    /// wildcards and control characters are no part of one.
    pub fn normalise(text: &str) -> Result<Self, NotAHostName> {
        let bare = text.strip_suffix('.').unwrap_or(text);
        if bare.is_empty() {
            return Err(NotAHostName::Empty);
        }
        let ascii = idna::domain_to_ascii_strict(bare).map_err(|_| NotAHostName::Malformed)?;
        if looks_like_an_address(&ascii) {
            return Err(NotAHostName::IpAddress);
        }
        let valid = ascii.len() <= 253 && ascii.split('.').all(is_label);
        if valid { Ok(Self(ascii)) } else { Err(NotAHostName::Malformed) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Resolvers take `127.1`, `0x7f.1` and `2130706433` for addresses: no top-level domain is a
/// number, so a numeric last label is never a name (WHATWG URL, "ends in a number").
fn looks_like_an_address(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hexadecimal =
        last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    hexadecimal || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &str) -> Result<String, NotAHostName> {
        HostName::normalise(text).map(|name| name.as_str().to_owned())
    }

    #[test]
    fn folds_case_one_trailing_dot_and_idna() {
        assert_eq!(normal("API.Anthropic.COM").as_deref(), Ok("api.anthropic.com"));
        assert_eq!(normal("api.anthropic.com.").as_deref(), Ok("api.anthropic.com"));
        assert_eq!(normal("bücher.example").as_deref(), Ok("xn--bcher-kva.example"));
        assert_eq!(normal("api。anthropic.com").as_deref(), Ok("api.anthropic.com"));
    }

    #[test]
    fn refuses_addresses_in_every_spelling() {
        for address in ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0x7f000001", "1.2.3.4."] {
            assert_eq!(normal(address), Err(NotAHostName::IpAddress), "{address}");
        }
        assert_eq!(normal("[::1]"), Err(NotAHostName::Malformed));
        assert_eq!(normal("::1"), Err(NotAHostName::Malformed));
    }

    #[test]
    fn refuses_what_is_no_name() {
        for bad in [
            "a..b",
            "api.anthropic.com..",
            "*.example.com",
            "user@host",
            "a b",
            "a\0b",
            "host:443",
            "-a.example",
            "a_b.example",
            "a%2eb",
        ] {
            assert_eq!(normal(bad), Err(NotAHostName::Malformed), "{bad}");
        }
        assert_eq!(normal("."), Err(NotAHostName::Empty));
        assert_eq!(normal(""), Err(NotAHostName::Empty));
    }
}
