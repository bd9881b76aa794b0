//! A signer for trials: the real one's rules and real signatures over a real socket, in a process
//! whose writer's disk is a model. The built one is tried in the workspace's own tests.

use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use ed25519_dalek::{Signer as _, SigningKey};
use protocol::evidence::checkpoint::Checkpoint;
use protocol::evidence::merkle::{Hash, empty_root, verify_consistency};
use protocol::evidence::note::VerifierKey;
use protocol::hello::LinkName;
use protocol::link::Link;
use protocol::seal::{self, Refusal, Reply, Request, Status};

use crate::signer::{Address, Signer};

const ORIGIN: &str = "waterwall.local/00112233445566778899aabbccddeeff";

/// What a signer remembers, and what is to go wrong with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) size: u64,
    pub(crate) root: Hash,
    /// Hangs up instead of answering.
    pub(crate) away: bool,
    /// Signs, saves and hangs up instead of answering, once, after this many answers.
    pub(crate) mute: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct Double {
    held: Arc<Mutex<Held>>,
    dir: tempfile::TempDir,
}

fn signing() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

pub(crate) fn key() -> VerifierKey {
    VerifierKey::new(ORIGIN, signing().verifying_key().to_bytes()).unwrap()
}

fn evidence_key() -> VerifierKey {
    let key = SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes();
    VerifierKey::new(&format!("{ORIGIN}/evidence"), key).unwrap()
}

impl Double {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("seal.sock")).unwrap();
        let held = Held { size: 0, root: empty_root(), away: false, mute: None };
        let held = Arc::new(Mutex::new(held));
        let shared = Arc::clone(&held);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let held = Arc::clone(&shared);
                thread::spawn(move || answer(stream, &held));
            }
        });
        Self { held, dir }
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connect(&self) -> Signer {
        let uid = sandbox::peer::own_uid();
        Signer::new(Address { path: self.dir.path().join("seal.sock"), secret: [5; 32], uid })
    }
}

fn answer(stream: UnixStream, held: &Mutex<Held>) {
    let Ok(mut link) =
        Link::<_, Reply, Request>::accept(stream, LinkName::Seal, &[5; 32], seal::CAP)
    else {
        return;
    };
    while let Ok(request) = link.receive() {
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.away {
            return;
        }
        let reply = reply(&mut held, request);
        held.mute = match held.mute {
            Some(0) => {
                held.mute = None;
                return;
            }
            later => later.map(|answers| answers - 1),
        };
        drop(held);
        if link.send(&reply).is_err() {
            return;
        }
    }
}

fn reply(held: &mut Held, request: Request) -> Reply {
    let Request::SignCheckpoint { old_size, new_size, new_root, proof, .. } = request else {
        return Reply::Status(Status {
            origin: ORIGIN.into(),
            size: held.size,
            root: held.root,
            log_vkey: key().to_string(),
            evidence_vkey: evidence_key().to_string(),
            recovery_vkey: None,
        });
    };
    if old_size != held.size {
        return Reply::Refused(Refusal::Conflict { size: held.size });
    }
    if new_size < held.size {
        return Reply::Refused(Refusal::Smaller);
    }
    if !verify_consistency(old_size, &held.root, new_size, &new_root, &proof) {
        return Reply::Refused(Refusal::BadProof);
    }
    (held.size, held.root) = (new_size, new_root);
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: new_size, root: new_root };
    let signature = signing().sign(checkpoint.text().as_bytes()).to_bytes().to_vec();
    Reply::Signed { signature, key_id: key().id() }
}
