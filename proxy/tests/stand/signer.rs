//! A CA for one host, on the mint link.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use protocol::hello::LinkName;
use protocol::link::Link;
use protocol::mint::{CAP, Reply, Request};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SubjectPublicKeyInfo,
};

use super::HOST;

type Ca = CertifiedIssuer<'static, KeyPair>;

pub(crate) struct Signer {
    ca: Arc<Ca>,
    path: PathBuf,
    links: Arc<Mutex<Vec<UnixStream>>>,
}

impl Signer {
    pub(crate) fn start(path: &Path) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let signer = Self { ca: Arc::new(ca), path: path.to_owned(), links: Arc::default() };
        signer.listen();
        signer
    }

    pub(crate) fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    /// Goes away, sockets and all.
    pub(crate) fn stop(&self) {
        let _ = std::fs::remove_file(&self.path);
        for link in self.links.lock().unwrap().drain(..) {
            let _ = link.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Comes (back).
    pub(crate) fn listen(&self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let (ca, links) = (Arc::clone(&self.ca), Arc::clone(&self.links));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                links.lock().unwrap().push(stream.try_clone().unwrap());
                let ca = Arc::clone(&ca);
                std::thread::spawn(move || serve(&ca, stream));
            }
        });
    }
}

fn serve(ca: &Ca, stream: UnixStream) {
    let Ok(mut link) = Link::<_, Reply, Request>::accept(stream, LinkName::Mint, &[0; 32], CAP)
    else {
        return;
    };
    while let Ok(request) = link.receive() {
        let reply = match request {
            Request::Names => Reply::Names(vec![HOST.to_owned()]),
            Request::Leaf { host, public_key } => leaf(ca, &host, &public_key),
        };
        if link.send(&reply).is_err() {
            return;
        }
    }
}

fn leaf(ca: &Ca, host: &str, public_key: &[u8]) -> Reply {
    if host != HOST {
        return Reply::Refused(protocol::mint::Refusal::NameNotPermitted);
    }
    let params = CertificateParams::new([host.to_owned()]).unwrap();
    let key = SubjectPublicKeyInfo::from_der(public_key).unwrap();
    let not_after = u64::try_from(params.not_after.unix_timestamp()).unwrap();
    let certificate = params.signed_by(&key, ca).unwrap().der().to_vec();
    Reply::Leaf { certificate, not_after }
}
