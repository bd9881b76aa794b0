//! `ca-bundle.pem`: our CA and the system's roots, for clients that replace their roots.

use std::fs;
use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_native_certs::load_certs_from_paths;

use crate::fault::{Fault, Kind};
use crate::files;
use crate::home::Home;

/// Writes the bundle anew, so that changes of the system's roots arrive with each start.
pub(crate) fn write_ca_bundle(home: &Home) -> Result<(), Fault> {
    let ca_path = home.ca();
    let ca = fs::read(&ca_path).map_err(|error| Fault::file("read", &ca_path, &error))?;
    let ours = CertificateDer::from_pem_slice(&ca).map_err(|error| {
        Fault::new(
            Kind::Config,
            format!("{} is not a certificate: {error}", ca_path.display()),
            "remove it; the next start has the signer write it anew",
        )
    })?;
    let system = system_roots(home);
    let theirs = system.iter().filter(|root| **root != ours);
    let bundle: String = std::iter::once(&ours).chain(theirs).map(to_pem).collect();
    files::replace(&home.ca_bundle(), bundle.as_bytes(), 0o644)
}

/// The roots that `up`'s own surroundings trust; an unreadable one is left out, never made up.
fn system_roots(home: &Home) -> Vec<CertificateDer<'static>> {
    if !points_at_ours(home, std::env::var_os("SSL_CERT_FILE").map(PathBuf::from)) {
        return rustls_native_certs::load_native_certs().certs;
    }
    // Started from inside `run`: the variable names our bundle, whose system part may be old.
    SYSTEM_BUNDLES
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .map(|path| load_certs_from_paths(Some(&path), None).certs)
        .unwrap_or_default()
}

/// Whether a trust variable names a certificate file of this very instance.
pub(crate) fn points_at_ours(home: &Home, file: Option<PathBuf>) -> bool {
    file.is_some_and(|file| file == home.ca_bundle() || file == home.ca())
}

fn to_pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap_or_default()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// Debian, Fedora, openSUSE, Alpine.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_starts_with_ours_and_holds_each_system_root_once() {
        let parent = tempfile::tempdir().unwrap();
        let home = Home::choose(Some(parent.path()), &crate::home::Process).unwrap();
        home.create().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let ca = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        fs::write(home.ca(), ca.pem()).unwrap();
        write_ca_bundle(&home).unwrap();
        let bundle: Vec<_> =
            CertificateDer::pem_file_iter(home.ca_bundle()).unwrap().map(Result::unwrap).collect();
        assert_eq!(&bundle[0], ca.der());
        assert_eq!(bundle.len(), 1 + rustls_native_certs::load_native_certs().certs.len());
    }

    #[test]
    fn knows_its_own_files() {
        let home =
            Home::choose(Some(std::path::Path::new("/srv/w")), &crate::home::Process).unwrap();
        assert!(points_at_ours(&home, Some("/srv/w/etc/ca-bundle.pem".into())));
        assert!(!points_at_ours(&home, Some("/etc/ssl/cert.pem".into())));
        assert!(!points_at_ours(&home, None));
    }
}
