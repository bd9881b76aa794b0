//! Asking for signatures, on a thread of its own and from bytes read back.
//!
//! The sealer believes the file and not the writer: its tree grows only from what it reads from
//! the disk, and a root that differs from the writer's ends the process. So a checkpoint never
//! covers a line the disk does not hold (evidence sections 4.5 and 4.17.15).

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::thread;

use protocol::evidence::checkpoint::Checkpoint;
use protocol::evidence::merkle::{Hash, Tree, leaf_hash};
use protocol::evidence::note::VerifierKey;
use protocol::seal::{Refusal, Reply, Request};

use crate::failure::Failure;
use crate::recovery::Recovered;
use crate::signer::{Away, Signer};
use crate::storage::{HEAD, Storage, read_full, replace};
use crate::writer::Job;

/// Bytes read back at once.
const CHUNK: usize = 64 * 1024;

/// What is to be signed: the log as it was flushed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    /// Lines.
    pub(crate) size: u64,
    /// Root over them, as the writer computed it.
    pub(crate) root: Hash,
    /// Where the last of them ends in the active file, in bytes.
    pub(crate) end: u64,
    /// Whether a `checkpoint` line waits for it.
    pub(crate) in_log: bool,
}

/// What the sealer is asked.
#[derive(Debug)]
pub(crate) enum Task {
    /// To have the log signed.
    Checkpoint(Order),
    /// To have a bundle's manifest signed; whoever asked is answered at once.
    Manifest(Manifest, SyncSender<Result<Reply, Away>>),
}

/// A bundle's manifest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manifest {
    /// Its SHA-256.
    pub(crate) sha256: [u8; 32],
    /// Size of the tree that proves the bundle.
    pub(crate) tree_size: u64,
    /// Root of that tree.
    pub(crate) root: Hash,
}

/// What became of an order.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The signer signed it, and the signature holds.
    Signed {
        /// The order.
        order: Order,
        /// Ed25519 over the checkpoint's note text.
        signature: [u8; 64],
    },
    /// Not now; the log goes on for as long as it may.
    Later(Delay),
    /// Never. The process ends.
    Fault(Fault),
}

/// Why an order is not signed yet.
#[derive(Debug)]
pub(crate) enum Delay {
    /// The signer does not answer.
    Away(Away),
    /// It answered that it cannot now.
    Refused(Refusal),
    /// It answered something that does not belong to the question.
    Nonsense,
}

/// Why an order can never be signed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The file could not be read back.
    Unreadable(io::Error),
    /// The file does not hold what was written.
    Readback,
    /// The signer has signed another log.
    Fork(Refusal),
    /// The signer signs with a key that is not this log's.
    ForeignKey,
}

impl std::fmt::Display for Delay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Away(away) => away.fmt(f),
            Self::Refused(refusal) => write!(f, "refused: {refusal:?}"),
            Self::Nonsense => f.write_str("answered another question"),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "lines cannot be read back: {error}"),
            Self::Readback => f.write_str("the disk does not hold what was written [E_READBACK]"),
            Self::Fork(refusal) => {
                write!(f, "the signer has signed another log [E_FORK]: {refusal:?}")
            }
            Self::ForeignKey => f.write_str("the signer's signature is not by this log's key"),
        }
    }
}

/// Everything it takes to have a log signed.
pub(crate) struct Sealer<S: Storage> {
    storage: Arc<S>,
    file: Arc<S::File>,
    signer: Signer,
    key: VerifierKey,
    tree: Tree,
    /// Size the signer signed last, as far as known.
    signed: u64,
    /// Where the tree ends in the active file, in bytes.
    read: u64,
}

impl<S: Storage> Sealer<S> {
    /// A sealer for the log as it was read, of which `signed` lines are signed.
    pub(crate) fn new(
        storage: Arc<S>,
        recovered: &Recovered<S>,
        signer: Signer,
        key: VerifierKey,
        signed: u64,
    ) -> Self {
        Self {
            storage,
            file: Arc::clone(&recovered.file),
            tree: recovered.tree.clone(),
            read: recovered.read,
            signer,
            key,
            signed,
        }
    }

    /// Serves orders until the writer is gone; `queue` wakes it for a verdict.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub(crate) fn start(
        mut self,
        tasks: Receiver<Task>,
        verdicts: Sender<Verdict>,
        queue: SyncSender<Job>,
    ) -> Result<thread::JoinHandle<()>, Failure> {
        let serve = move || {
            while let Ok(task) = tasks.recv() {
                let order = match task {
                    Task::Checkpoint(order) => order,
                    Task::Manifest(manifest, asker) => {
                        let _asker_gone = asker.try_send(self.sign_manifest(manifest));
                        continue;
                    }
                };
                let verdict = self.seal(order);
                let note = self.note_for(&verdict);
                let told = verdicts.send(verdict);
                // A full queue needs no waking: the writer is not asleep.
                let _full_or_gone = queue.try_send(Job::Wake);
                // After the verdict: appends may be waiting for it, and not for the note.
                if let Some(note) = note {
                    self.publish(&note);
                }
                if told.is_err() {
                    return;
                }
            }
        };
        let spawned = thread::Builder::new().name("sealer".into()).spawn(serve);
        spawned.map_err(|_| Failure::Threads("sealer"))
    }

    fn sign_manifest(&mut self, manifest: Manifest) -> Result<Reply, Away> {
        let Manifest { sha256, tree_size, root } = manifest;
        self.signer.call(&Request::SignManifest { manifest_sha256: sha256, tree_size, root })
    }

    fn seal(&mut self, order: Order) -> Verdict {
        if let Err(fault) = self.read_back(order) {
            return Verdict::Fault(fault);
        }
        // Once more after a conflict: the answer to an earlier order was lost, and the signer
        // says which one.
        for _ in 0..2 {
            let Some(proof) = self.tree.consistency_proof(self.signed, order.size) else {
                return Verdict::Fault(Fault::Readback);
            };
            let request = Request::SignCheckpoint {
                old_size: self.signed,
                new_size: order.size,
                new_root: order.root,
                proof,
                in_log: order.in_log,
            };
            match self.signer.call(&request) {
                Ok(Reply::Refused(Refusal::Conflict { size }))
                    if self.signed < size && size <= order.size =>
                {
                    self.advance(size);
                }
                reply => return self.judge(order, reply),
            }
        }
        Verdict::Later(Delay::Nonsense)
    }

    fn judge(&mut self, order: Order, reply: Result<Reply, Away>) -> Verdict {
        match reply {
            Ok(Reply::Signed { signature, key_id }) => {
                let text = self.checkpoint(order).text();
                match <[u8; 64]>::try_from(signature) {
                    Ok(signature)
                        if key_id == self.key.id()
                            && self.key.verifies(text.as_bytes(), &signature) =>
                    {
                        self.advance(order.size);
                        Verdict::Signed { order, signature }
                    }
                    _ => Verdict::Fault(Fault::ForeignKey),
                }
            }
            Ok(Reply::Refused(refusal @ (Refusal::RateLimited | Refusal::Internal))) => {
                Verdict::Later(Delay::Refused(refusal))
            }
            Ok(Reply::Refused(refusal)) => Verdict::Fault(Fault::Fork(refusal)),
            Ok(Reply::Status(_)) => Verdict::Later(Delay::Nonsense),
            Err(away) => Verdict::Later(Delay::Away(away)),
        }
    }

    fn advance(&mut self, size: u64) {
        self.signed = size;
        self.tree.forget_below(size);
    }

    fn checkpoint(&self, order: Order) -> Checkpoint {
        Checkpoint { origin: self.key.name().to_owned(), size: order.size, root: order.root }
    }

    /// Grows the tree by the lines the file holds up to the order's end.
    fn read_back(&mut self, order: Order) -> Result<(), Fault> {
        let mut line = Vec::new();
        let mut chunk = vec![0; CHUNK];
        let mut at = self.read;
        while at < order.end {
            let want = CHUNK.min(usize::try_from(order.end - at).unwrap_or(CHUNK));
            let got = read_full(&*self.file, &mut chunk[..want], at).map_err(Fault::Unreadable)?;
            if got < want {
                return Err(Fault::Readback);
            }
            for piece in chunk[..got].split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(piece);
                if let [whole @ .., b'\n'] = line.as_slice() {
                    self.tree.append(leaf_hash(whole));
                    line.clear();
                }
            }
            at += got as u64;
        }
        self.read = self.read.max(order.end);
        let same = self.tree.size() == order.size && self.tree.root() == order.root;
        if line.is_empty() && same { Ok(()) } else { Err(Fault::Readback) }
    }

    fn note_for(&self, verdict: &Verdict) -> Option<String> {
        let Verdict::Signed { order, signature } = verdict else { return None };
        Some(self.checkpoint(*order).signed(&self.key, signature).note.to_string())
    }

    /// A head that cannot be written costs nothing but freshness: the signature is safe with the
    /// signer, and the next head says more.
    fn publish(&self, note: &str) {
        if let Err(error) = replace(&*self.storage, "head.tmp", HEAD, note.as_bytes()) {
            tracing::warn!(%error, "head.note not replaced");
        }
    }
}
