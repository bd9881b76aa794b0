//! The writer's side of being signed: orders, verdicts, and the line that holds a signature.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use protocol::evidence::body::Checkpoint;

use super::{Writer, poisoned, unstaged};
use crate::failure::Failure;
use crate::sealer::{Fault, Order, Task, Verdict};
use crate::storage::Storage;

/// Longest wait for the signature of a checkpoint line while others wait for the log.
const MOST_PATIENCE: Duration = Duration::from_secs(2);

impl<S: Storage> Writer<S> {
    /// Asks for a signature over everything written, after making it durable: a signer that had
    /// saved a size whose lines are lost would make a power cut look like a rollback for ever.
    pub(super) fn order(&mut self, in_log: bool) -> Result<(), Failure> {
        self.flush()?;
        let order = self.ledger.log.order(in_log);
        let task = Task::Checkpoint(order);
        self.queues.orders.send(task).map_err(|_| Failure::Threads("sealer"))?;
        self.schedule.ordered();
        Ok(())
    }

    pub(super) fn await_verdict(&mut self, patience: Duration) -> Result<(), Failure> {
        match self.queues.verdicts.recv_timeout(patience) {
            Ok(verdict) => self.heed(verdict),
            Err(RecvTimeoutError::Timeout) => {
                // A signer that is alive and slow must get its turn before egress closes.
                self.patience = (self.patience * 2).min(MOST_PATIENCE);
                tracing::warn!("no signature in time; appends go on");
                Ok(())
            }
            Err(RecvTimeoutError::Disconnected) => Err(Failure::Threads("sealer")),
        }
    }

    pub(super) fn heed(&mut self, verdict: Verdict) -> Result<(), Failure> {
        match verdict {
            Verdict::Signed { order, signature } => {
                if std::mem::take(&mut self.signer_away) {
                    tracing::info!(size = order.size, "signer is back");
                }
                self.signed = (order.size, order.root);
                self.schedule.signed();
                if order.in_log && order.size == self.ledger.log.size() {
                    self.patience = self.terms.cadence.patience;
                    self.checkpoint(order, signature)?;
                }
                Ok(())
            }
            Verdict::Later(delay) => {
                if !std::mem::replace(&mut self.signer_away, true) {
                    tracing::warn!(%delay, "signer is away");
                }
                self.schedule.unsigned((self.clock)());
                Ok(())
            }
            Verdict::Fault(fault) => {
                tracing::error!(%fault, "signing is not possible any more");
                Err(match fault {
                    Fault::Unreadable(_) | Fault::Readback => Failure::Poisoned,
                    Fault::Fork(_) | Fault::ForeignKey => Failure::Fork(fault.to_string()),
                })
            }
        }
    }

    /// Writes the line that holds the signature over all lines before it.
    fn checkpoint(&mut self, order: Order, signature: [u8; 64]) -> Result<(), Failure> {
        let now = (self.clock)();
        let line = Checkpoint {
            origin: self.terms.key.name().to_owned(),
            tree_size: order.size,
            chain_root_hash: order.root,
            signing_key_id: self.terms.key.id(),
            signature,
        };
        self.ledger.log.stage([line.into()], now).map_err(unstaged)?;
        self.ledger.log.write().map_err(|error| poisoned("write", &error))?;
        self.schedule.wrote_checkpoint(now);
        self.checkpoints += 1;
        self.flush()
    }

    /// Has everything up to now signed by a checkpoint line; gives its number, or `None` where the
    /// signer is away. Appends wait for no longer than they do for any other checkpoint.
    pub(super) fn checkpoint_now(&mut self) -> Result<Option<u64>, Failure> {
        if self.signer_away {
            return Ok(None);
        }
        let before = self.checkpoints;
        self.sign_now(MOST_PATIENCE)?;
        Ok((self.checkpoints > before).then(|| self.ledger.log.size()))
    }

    /// A checkpoint line at once, if the signer can be had within `patience`.
    pub(super) fn sign_now(&mut self, patience: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + patience;
        let before = self.checkpoints;
        self.schedule.want_checkpoint();
        while self.checkpoints == before && Instant::now() < deadline {
            let now = (self.clock)();
            if self.schedule.checkpoint_due(now) {
                self.order(true)?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.queues.verdicts.recv_timeout(left.min(self.schedule.idle_for(now))) {
                Ok(verdict) => self.heed(verdict)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::Threads("sealer")),
            }
        }
        Ok(())
    }
}
