//! Which certificates an upstream may be verified against.

use std::io;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Roots read before confinement, shared by every upstream.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    system: Arc<[CertificateDer<'static>]>,
    /// Public key of our own CA: a certificate with it is never a root here, so that the proxy can
    /// never be made to trust itself.
    own: Option<Arc<[u8]>>,
}

impl Roots {
    /// The system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` honoured), without our own CA, whose
    /// PEM is `own`.
    ///
    /// # Errors
    ///
    /// When `own` is no certificate.
    pub(crate) fn load(own: Option<&[u8]>) -> io::Result<Self> {
        let own = own
            .map(|pem| {
                let certificate = CertificateDer::from_pem_slice(pem).map_err(invalid)?;
                public_key(&certificate).map(Arc::from).ok_or_else(|| invalid("no public key"))
            })
            .transpose()?;
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(%error, "a system root was not read");
        }
        Ok(Self { system: found.certs.into(), own })
    }

    /// Whether the system has no roots.
    pub(crate) fn is_empty(&self) -> bool {
        self.system.is_empty()
    }

    /// A client configuration that trusts the system's roots and those in `extra`, in PEM.
    ///
    /// # Errors
    ///
    /// When `extra` holds no certificate, one that cannot be used, or our own CA.
    pub(crate) fn client(&self, extra: &[&[u8]]) -> Result<Arc<ClientConfig>, BadRoot> {
        let mut store = RootCertStore::empty();
        for certificate in self.system.iter().filter(|c| !self.is_own(c)) {
            // System bundles hold certificates that webpki cannot use; each is just one root less.
            let _ = store.add(certificate.clone());
        }
        for pem in extra {
            let mut any = false;
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|_| BadRoot::NotACertificate)?;
                if self.is_own(&certificate) {
                    return Err(BadRoot::OurOwn);
                }
                store.add(certificate).map_err(|_| BadRoot::NotACertificate)?;
                any = true;
            }
            if !any {
                return Err(BadRoot::NotACertificate);
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| BadRoot::NotACertificate)?
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn is_own(&self, certificate: &CertificateDer<'_>) -> bool {
        match (&self.own, public_key(certificate)) {
            (Some(own), Some(key)) => **own == *key,
            _ => false,
        }
    }
}

/// Why a root cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadRoot {
    /// No certificate, or none that can be a root.
    NotACertificate,
    /// Our own CA.
    OurOwn,
}

impl std::fmt::Display for BadRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotACertificate => "holds no certificate that can be a root",
            Self::OurOwn => "is Waterwall's own CA, which is never an upstream root",
        })
    }
}

/// The DER `SubjectPublicKeyInfo` of a certificate.
fn public_key(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let anchor = webpki_anchor(certificate)?;
    Some(anchor.subject_public_key_info.to_vec())
}

fn webpki_anchor(
    certificate: &CertificateDer<'_>,
) -> Option<rustls::pki_types::TrustAnchor<'static>> {
    let mut store = RootCertStore::empty();
    store.add(certificate.clone().into_owned()).ok()?;
    store.roots.pop()
}

fn invalid<E: Into<Box<dyn std::error::Error + Send + Sync>>>(error: E) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
