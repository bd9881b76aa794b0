//! The certificate authority: the only code that touches `ca.key`.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use protocol::names::HostName;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
    SubjectPublicKeyInfo, date_time_ymd,
};
use x509_parser::prelude::{GeneralName, X509Certificate};
use zeroize::{Zeroize, Zeroizing};

use crate::issue::{Order, Validity};

/// Why there is no authority, or no certificate.
#[derive(Debug)]
pub enum AuthorityError {
    /// The certificate is not one this program makes.
    Certificate(&'static str),
    /// The key does not parse, or the library failed to sign.
    Crypto(rcgen::Error),
    /// The key is not the one the certificate is for.
    KeyMismatch,
    /// The system gave no random bytes.
    Random,
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(why) => write!(f, "ca.pem: {why}"),
            Self::Crypto(error) => write!(f, "the CA key or a certificate failed: {error}"),
            Self::KeyMismatch => f.write_str("ca.key is not the key of ca.pem"),
            Self::Random => f.write_str("the system gave no random bytes"),
        }
    }
}

impl std::error::Error for AuthorityError {}

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        Self::Crypto(error)
    }
}

/// A fresh CA, not yet on any disk.
pub struct Fresh {
    /// Its certificate, in PEM.
    pub certificate: String,
    /// Its private key, PKCS#8 in PEM.
    pub key: Zeroizing<String>,
}

/// A leaf, signed.
pub struct Leaf {
    /// Its DER.
    pub certificate: Vec<u8>,
    /// Its serial number.
    pub serial: [u8; SERIAL],
}

/// The CA, able to sign.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    names: BTreeSet<HostName>,
    validity: Validity,
}

impl Authority {
    /// Makes a CA for exactly `names`, from `now` (seconds since the Unix epoch) on.
    ///
    /// # Errors
    ///
    /// When the library or the system's random source fails.
    pub fn create(
        names: &BTreeSet<HostName>,
        now: u64,
        days: u32,
    ) -> Result<Fresh, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, COMMON_NAME);
        params.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
        let not_after = now.saturating_add(u64::from(days).saturating_mul(DAY));
        hold(&mut params, Validity { not_before: now.saturating_sub(DAY), not_after });
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        params.name_constraints = Some(constraints(names));
        let certificate = params.self_signed(&key)?.pem();
        Ok(Fresh { certificate, key: Zeroizing::new(key.serialize_pem()) })
    }

    /// The CA of `certificate` and `key`, both PEM.
    ///
    /// The names it issues for are read from the certificate's own constraints: no configuration
    /// can widen them, and what clients enforce and what the signer enforces is one list.
    ///
    /// # Errors
    ///
    /// When either does not parse, they do not belong together, or the certificate is not a CA
    /// constrained to DNS names.
    pub fn load(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let facts = Facts::read(certificate)?;
        let mut key = KeyPair::from_pkcs8_pem_and_sign_algo(key, &PKCS_ECDSA_P256_SHA256)?;
        // Only the copy that the library signs with stays; it clears that one itself.
        key.zeroize();
        if key.subject_public_key_info() != facts.public_key {
            return Err(AuthorityError::KeyMismatch);
        }
        let issuer = Issuer::from_ca_cert_pem(certificate, key)?;
        Ok(Self { issuer, names: facts.names, validity: facts.validity })
    }

    /// The names the CA permits.
    #[must_use]
    pub fn names(&self) -> &BTreeSet<HostName> {
        &self.names
    }

    /// How long the CA holds.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Issues the leaf that the rules allowed.
    ///
    /// # Errors
    ///
    /// When the library or the system's random source fails.
    pub fn issue(&self, order: &Order) -> Result<Leaf, AuthorityError> {
        // Left to itself the library derives the serial from the public key, and one key for
        // three hosts gives three certificates with one serial, which clients may reject.
        let serial = random_serial()?;
        let mut params = CertificateParams::default();
        // Without a subject there is no common name that could say anything but the SAN does.
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::DnsName(order.host().as_str().try_into()?)];
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        hold(&mut params, order.validity());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = SubjectPublicKeyInfo::from_der(order.key().spki())?;
        let certificate = params.signed_by(&key, &self.issuer)?.der().to_vec();
        Ok(Leaf { certificate, serial })
    }
}

/// What a CA certificate says of itself.
#[derive(Debug)]
pub struct Facts {
    /// The names it permits.
    pub names: BTreeSet<HostName>,
    /// How long it holds.
    pub validity: Validity,
    /// The whole certificate in DER.
    pub der: Vec<u8>,
    public_key: Vec<u8>,
}

impl Facts {
    /// Reads a CA certificate in PEM.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Certificate`] for anything but one certificate of the shape that
    /// [`Authority::create`] makes.
    pub fn read(pem: &str) -> Result<Self, AuthorityError> {
        use AuthorityError::Certificate;
        let (rest, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes())
            .map_err(|_| Certificate("not a PEM certificate"))?;
        if pem.label != "CERTIFICATE" || !rest.trim_ascii().is_empty() {
            return Err(Certificate("not exactly one PEM certificate"));
        }
        let certificate = pem.parse_x509().map_err(|_| Certificate("not an X.509 certificate"))?;
        let constraints = certificate
            .basic_constraints()
            .ok()
            .flatten()
            .filter(|extension| extension.critical && extension.value.ca)
            .ok_or(Certificate("no critical basic constraints that make it a CA"))?;
        if constraints.value.path_len_constraint != Some(0) {
            return Err(Certificate("its path length is not 0"));
        }
        let second = |time: i64| u64::try_from(time).unwrap_or(0);
        let validity = certificate.validity();
        Ok(Self {
            names: permitted(&certificate)?,
            validity: Validity {
                not_before: second(validity.not_before.timestamp()),
                not_after: second(validity.not_after.timestamp()),
            },
            public_key: certificate.public_key().raw.to_vec(),
            der: pem.contents.clone(),
        })
    }
}

/// The names of the certificate's critical name constraints, each in normal form.
fn permitted(certificate: &X509Certificate<'_>) -> Result<BTreeSet<HostName>, AuthorityError> {
    use AuthorityError::Certificate;
    let subtrees = certificate
        .name_constraints()
        .ok()
        .flatten()
        .filter(|extension| extension.critical)
        .and_then(|extension| extension.value.permitted_subtrees.as_ref())
        .ok_or(Certificate("no critical name constraints with permitted names"))?;
    let mut names = BTreeSet::new();
    for subtree in subtrees {
        let GeneralName::DNSName(text) = subtree.base else {
            return Err(Certificate("it permits something other than DNS names"));
        };
        let name = HostName::normalise(text)
            .ok()
            .filter(|name| name.as_str() == text)
            .ok_or(Certificate("it permits a name that is not in normal form"))?;
        names.insert(name);
    }
    Ok(names)
}

/// Permits `names`, and excludes what they would otherwise let through.
///
/// Addresses: where no address is constrained, RFC 5280 section 4.2.1.10 leaves every address
/// permitted, and clients were seen to accept a leaf for 127.0.0.1.
///
/// Subdomains: a permitted dNSName covers everything to its left. RFC 5280 has no spelling for
/// "the host alone"; excluding `.host` is outside its wording for dNSName, but OpenSSL, NSS, Go,
/// GnuTLS, webpki and Chrome all read a leading dot as "subdomains only", and so refuse the
/// subdomain while accepting the host. A client that does not know the spelling is left with the
/// plain subtree, which is no worse than before, and the signer issues for exact names anyway. So
/// it only ever narrows what a stolen key is good for. It is left out for a host below which another
/// permitted host lies, because an exclusion wins over a permission.
fn constraints(names: &BTreeSet<HostName>) -> NameConstraints {
    let dns = |name: String| GeneralSubtree::DnsName(name);
    let below = |host: &HostName| format!(".{host}");
    let mut excluded: Vec<_> = names
        .iter()
        .filter(|host| !names.iter().any(|other| other.as_str().ends_with(&below(host))))
        .map(|host| dns(below(host)))
        .collect();
    excluded.push(GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])));
    excluded.push(GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])));
    NameConstraints {
        permitted_subtrees: names.iter().map(|host| dns(host.to_string())).collect(),
        excluded_subtrees: excluded,
    }
}

/// 20 octets, the most RFC 5280 section 4.1.2.2 allows: positive, and without a leading zero
/// octet that DER would drop.
fn random_serial() -> Result<[u8; SERIAL], AuthorityError> {
    let mut serial = [0; SERIAL];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| AuthorityError::Random)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

fn hold(params: &mut CertificateParams, validity: Validity) {
    let at = |second: u64| date_time_ymd(1970, 1, 1) + Duration::from_secs(second.min(LAST_SECOND));
    params.not_before = at(validity.not_before);
    params.not_after = at(validity.not_after);
}

/// Octets of a serial number.
pub const SERIAL: usize = 20;

/// How the CA shows up in a client's list of roots.
const COMMON_NAME: &str = "Waterwall Operator CA";

/// In seconds. The CA is backdated by one, so that every leaf's backdating lies within.
const DAY: u64 = 24 * 3600;

/// 9999-12-31T23:59:59Z, the last second a certificate can name (RFC 5280 section 4.1.2.5).
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;
    use crate::issue;

    const NOW: u64 = 1_800_000_000;

    fn names(list: &[&str]) -> BTreeSet<HostName> {
        list.iter().map(|name| HostName::normalise(name).unwrap()).collect()
    }

    fn authority(list: &[&str]) -> (Authority, String) {
        let fresh = Authority::create(&names(list), NOW, 30).unwrap();
        (Authority::load(&fresh.certificate, &fresh.key).unwrap(), fresh.certificate)
    }

    fn issue(authority: &Authority, host: &str, key: &KeyPair) -> Leaf {
        let spki = key.subject_public_key_info();
        let order =
            issue::order(authority.names(), authority.validity(), host, &spki, NOW).unwrap();
        authority.issue(&order).unwrap()
    }

    /// What a rustls client that trusts `ca` says to `leaf` when it wants to talk to `host`.
    fn verify(ca: &str, leaf: Vec<u8>, host: &str, now: u64) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(Facts::read(ca).unwrap().der.into()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
        verifier
            .build()
            .unwrap()
            .verify_server_cert(
                &CertificateDer::from(leaf),
                &[],
                &ServerName::try_from(host.to_owned()).unwrap(),
                &[],
                UnixTime::since_unix_epoch(Duration::from_secs(now)),
            )
            .map(drop)
    }

    /// Signs `san` with the CA key past all rules, as a thief of the key would.
    fn forge(authority: &Authority, san: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = san;
        hold(&mut params, Validity { not_before: NOW - 60, not_after: NOW + 60 });
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &authority.issuer).unwrap().der().to_vec()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    #[test]
    fn a_client_takes_the_leaf_for_its_host_and_no_other() {
        let (authority, ca) = authority(&["api.anthropic.com", "api.openai.com"]);
        let leaf = issue(&authority, "api.openai.com", &KeyPair::generate().unwrap());
        verify(&ca, leaf.certificate.clone(), "api.openai.com", NOW).unwrap();
        verify(&ca, leaf.certificate.clone(), "api.openai.com", NOW - 3000).unwrap();
        verify(&ca, leaf.certificate.clone(), "api.anthropic.com", NOW).unwrap_err();
        verify(&ca, leaf.certificate, "api.openai.com", NOW + 8 * DAY).unwrap_err();
    }

    #[test]
    fn a_client_refuses_what_a_stolen_key_signs_outside_the_constraints() {
        let (authority, ca) = authority(&["api.anthropic.com", "api.openai.com"]);
        verify(&ca, forge(&authority, vec![dns("api.openai.com")]), "api.openai.com", NOW).unwrap();
        let refused = |san: Vec<SanType>, host: &str| {
            let said = verify(&ca, forge(&authority, san), host, NOW).unwrap_err();
            assert!(format!("{said:?}").contains("NameConstraintViolation"), "{host}: {said:?}");
        };
        refused(vec![dns("console.anthropic.com")], "console.anthropic.com");
        refused(vec![dns("sub.api.anthropic.com")], "sub.api.anthropic.com");
        refused(vec![dns("*.anthropic.com")], "api.anthropic.com");
        refused(vec![dns("api.openai.com"), dns("evil.example")], "api.openai.com");
        refused(vec![SanType::IpAddress([127, 0, 0, 1].into())], "127.0.0.1");
        refused(vec![SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into())], "::1");
    }

    #[test]
    fn a_host_below_another_host_stays_reachable() {
        let both = ["gateway.example", "eu.gateway.example"];
        let (authority, ca) = authority(&both);
        for host in both {
            let leaf = issue(&authority, host, &KeyPair::generate().unwrap());
            verify(&ca, leaf.certificate, host, NOW).unwrap();
        }
        let below = forge(&authority, vec![dns("x.eu.gateway.example")]);
        verify(&ca, below, "x.eu.gateway.example", NOW).unwrap_err();
    }

    /// Left alone, rcgen gives one key the same serial for every host.
    #[test]
    fn three_leaves_over_one_key_have_three_serials() {
        let hosts = ["a.example", "b.example", "c.example"];
        let (authority, _) = authority(&hosts);
        let key = KeyPair::generate().unwrap();
        let serials: BTreeSet<Vec<u8>> = hosts
            .iter()
            .map(|host| {
                let leaf = issue(&authority, host, &key);
                let (_, parsed) = x509_parser::parse_x509_certificate(&leaf.certificate).unwrap();
                assert_eq!(parsed.raw_serial(), leaf.serial);
                assert!(leaf.serial[0] < 0x80, "serials are positive");
                parsed.raw_serial().to_vec()
            })
            .collect();
        assert_eq!(serials.len(), 3);
    }

    #[test]
    fn the_leaf_has_the_profile_every_client_takes() {
        let (authority, ca) = authority(&["api.openai.com"]);
        let key = KeyPair::generate().unwrap();
        let leaf = issue(&authority, "api.openai.com", &key);
        let (rest, leaf) = x509_parser::parse_x509_certificate(&leaf.certificate).unwrap();
        assert!(rest.is_empty());
        assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
        let constraints = leaf.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && !constraints.value.ca);
        let usage = leaf.key_usage().unwrap().unwrap();
        assert!(usage.critical);
        assert_eq!(usage.value.flags, 1, "digitalSignature and nothing else");
        let purposes = leaf.extended_key_usage().unwrap().unwrap();
        assert!(purposes.value.server_auth && !purposes.value.any && !purposes.value.client_auth);
        let san = leaf.subject_alternative_name().unwrap().unwrap();
        assert_eq!(san.value.general_names, [GeneralName::DNSName("api.openai.com")]);

        let ca = Facts::read(&ca).unwrap().der;
        let (_, ca) = x509_parser::parse_x509_certificate(&ca).unwrap();
        assert_eq!(identifiers(&leaf).1, identifiers(&ca).0, "AKI is the CA's SKI");
        assert_eq!(identifiers(&ca).1, identifiers(&ca).0);
        assert_ne!(identifiers(&leaf).0, identifiers(&ca).0);
        let usage = ca.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
        assert_eq!(usage.value.flags.count_ones(), 2);
        assert_eq!(ca.raw_serial().len(), SERIAL);
    }

    /// SKI and AKI.
    fn identifiers(certificate: &X509Certificate<'_>) -> (Vec<u8>, Vec<u8>) {
        use x509_parser::prelude::ParsedExtension::{AuthorityKeyIdentifier, SubjectKeyIdentifier};
        let mut found = (Vec::new(), Vec::new());
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                SubjectKeyIdentifier(id) => found.0 = id.0.to_vec(),
                AuthorityKeyIdentifier(id) => {
                    found.1 = id.key_identifier.clone().unwrap().0.to_vec()
                }
                _ => {}
            }
        }
        assert!(!found.0.is_empty() && !found.1.is_empty());
        found
    }

    #[test]
    fn reads_the_names_back_from_its_own_certificate() {
        let list = ["api.anthropic.com", "xn--bcher-kva.example"];
        assert_eq!(*authority(&list).0.names(), names(&list));
    }

    #[test]
    fn refuses_a_key_of_another_certificate_and_a_certificate_without_constraints() {
        let one = Authority::create(&names(&["a.example"]), NOW, 30).unwrap();
        let other = Authority::create(&names(&["a.example"]), NOW, 30).unwrap();
        assert!(matches!(
            Authority::load(&one.certificate, &other.key),
            Err(AuthorityError::KeyMismatch)
        ));
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let open = params.self_signed(&key).unwrap().pem();
        assert!(matches!(
            Authority::load(&open, &key.serialize_pem()),
            Err(AuthorityError::Certificate(_))
        ));
        assert!(matches!(Facts::read("no PEM at all"), Err(AuthorityError::Certificate(_))));
    }
}
