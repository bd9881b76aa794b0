//! The seal link: checkpoints, signed by a witness that saves before it signs.

use std::io;
use std::time::Duration;

use protocol::evidence::checkpoint::Checkpoint;
use protocol::evidence::hex;
use protocol::evidence::merkle::Hash;
use protocol::seal::{Refusal, Reply, Status};

use crate::clock::Now;
use crate::heads::{Head, Heads};
use crate::journal::Journal;
use crate::keys::NamedKey;
use crate::limit::Window;
use crate::witness;

/// What is asked to be signed.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) old_size: u64,
    pub(crate) head: Head,
    pub(crate) proof: Vec<Hash>,
    pub(crate) in_log: bool,
}

/// The witness and its log key.
pub(crate) struct Seal {
    log: NamedKey,
    /// Of the evidence key only the public half is told here.
    evidence_vkey: String,
    heads: Heads,
    signed: Journal,
    calls: Window,
}

impl Seal {
    pub(crate) fn new(log: NamedKey, evidence_vkey: String, heads: Heads, signed: Journal) -> Self {
        Self { log, evidence_vkey, heads, signed, calls: Window::new(CALLS, PER) }
    }

    /// Signs the checkpoint, or says why not.
    ///
    /// The new head is on the disk before its signature exists, so that no crash makes the signer
    /// forget what it signed. What is signed is composed here, from the fields and the signer's
    /// own origin.
    ///
    /// # Errors
    ///
    /// When the head or its line could not be saved: nothing was signed, and nothing further may
    /// be before the files are read anew.
    pub(crate) fn sign(&mut self, ask: &Ask, now: Now) -> io::Result<Reply> {
        if !self.calls.admits(now.monotonic) {
            return Ok(Reply::Refused(Refusal::RateLimited));
        }
        let head = match witness::next(self.heads.head(), ask.old_size, ask.head, &ask.proof) {
            Ok(head) => head,
            Err(refusal) => return Ok(Reply::Refused(refusal)),
        };
        if head != self.heads.head() {
            self.heads.save(head)?;
        }
        if ask.in_log {
            let Head { size, root } = head;
            self.signed.append(&format!(
                "{} checkpoint {size} {}",
                now.unix,
                hex::encode(&root)
            ))?;
        }
        let origin = self.log.verifier().name().to_owned();
        let text = Checkpoint { origin, size: head.size, root: head.root }.text();
        Ok(Reply::Signed {
            signature: self.log.sign(&text).to_vec(),
            key_id: self.log.verifier().id(),
        })
    }

    /// What the signer holds, within the same rate.
    pub(crate) fn status(&mut self, now: Now) -> Reply {
        if !self.calls.admits(now.monotonic) {
            return Reply::Refused(Refusal::RateLimited);
        }
        let Head { size, root } = self.heads.head();
        Reply::Status(Status {
            origin: self.log.verifier().name().to_owned(),
            size,
            root,
            log_vkey: self.log.verifier().to_string(),
            evidence_vkey: self.evidence_vkey.clone(),
            recovery_vkey: None,
        })
    }
}

/// One line for every checkpoint that a log line holds: `UNIX-SECONDS checkpoint SIZE ROOT`.
pub(crate) const SIGNED_LOG: &str = "signed.log";

/// Calls in any span of [`PER`].
const CALLS: usize = 200;

const PER: Duration = Duration::from_secs(1);
