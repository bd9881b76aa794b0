//! Scans what stands in front of a body. Nothing there can be rewritten, so a hit refuses.

use super::detect::Detector;
use super::form::Fuel;
use super::known::KnownValues;
use super::policy::Policy;
use super::scan::Scope;
use crate::placeholder::Kind;

/// A secret in a request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadHit {
    /// Its type; `None` where the head is made to be costly to scan.
    pub kind: Option<Kind>,
    /// Where it stands.
    pub place: Place,
}

/// A part of a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A header's name or value.
    Header,
    /// The method.
    Method,
    /// The path or query, as sent or percent-decoded.
    Target,
}

/// Scans method, path, query and headers for structured secrets and registered values. Headers named in
/// `credential_headers` (lower case) carry the client's own credential and pass.
///
/// # Errors
///
/// The first [`HeadHit`].
pub fn scan_head<'h>(
    policy: &Policy,
    known: &dyn KnownValues,
    method: &str,
    path_and_query: &str,
    headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    credential_headers: &[&str],
) -> Result<(), HeadHit> {
    let check = |text: &[u8], place| match hit(policy, known, text) {
        Ok(None) => Ok(()),
        Ok(kind) => Err(HeadHit { kind, place }),
        Err(()) => Err(HeadHit { kind: None, place }),
    };
    check(method.as_bytes(), Place::Method)?;
    check(path_and_query.as_bytes(), Place::Target)?;
    check(&percent_decode(path_and_query.as_bytes()), Place::Target)?;
    for (name, value) in headers {
        check(name.as_bytes(), Place::Header)?;
        let is_credential = credential_headers.iter().any(|own| own.eq_ignore_ascii_case(name));
        if !is_credential {
            check(value, Place::Header)?;
        }
    }
    Ok(())
}

fn hit(policy: &Policy, known: &dyn KnownValues, text: &[u8]) -> Result<Option<Kind>, ()> {
    let detector = Detector::new(policy, known);
    let spans =
        detector.spans(text, Scope::Structured, &mut Fuel::of(text.len())).map_err(|_| ())?;
    Ok(spans.first().map(|span| detector.kind(&span.label).clone()))
}

fn percent_decode(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let escaped = match tail {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                out.push(high << 4 | low);
                rest = &tail[2..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::known::NothingKnown;
    use super::*;

    const KEY: &str = "AKIAIOSFODNN7EXAMPLE";

    fn scan(target: &str, headers: &[(&str, &str)]) -> Result<(), Place> {
        let policy = Policy::built_in().unwrap();
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        scan_head(&policy, &NothingKnown, "POST", target, headers, &["authorization", "x-api-key"])
            .map_err(|hit| hit.place)
    }

    #[test]
    fn finds_secrets_in_path_query_and_headers() {
        assert_eq!(scan("/v1/messages?beta=true", &[("user-agent", "x")]), Ok(()));
        assert_eq!(scan(&format!("/v1/{KEY}"), &[]), Err(Place::Target));
        assert_eq!(scan("/v1?k=%41KIAIOSFODNN7EXAMPLE", &[]), Err(Place::Target));
        assert_eq!(scan(&format!("/v1?k=%20{KEY}"), &[]), Err(Place::Target));
        assert_eq!(scan("/", &[("x-note", KEY)]), Err(Place::Header));
        assert_eq!(scan("/", &[(&KEY.to_lowercase(), "x")]), Ok(()));
    }

    #[test]
    fn the_clients_own_credential_passes() {
        let own = format!("Bearer {KEY}");
        assert_eq!(scan("/", &[("Authorization", &own), ("x-api-key", KEY)]), Ok(()));
        assert_eq!(scan("/", &[("x-other", &own)]), Err(Place::Header));
    }
}
