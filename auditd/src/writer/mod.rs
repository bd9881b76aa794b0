//! The one thread that decides what the next line is.
//!
//! A `checkpoint` line for size n is line n + 1, so nothing may be appended while the signer signs
//! it. The writer waits for that, and only for that, and not for longer than its patience: then
//! appends go on, the late signature still becomes a head, and the checkpoint is asked for again.
//! Heads are signed while appends go on.

mod opening;
mod signing;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError};
use std::time::Duration;

use protocol::append::{Event, Outcome, Refusal, Reply};
use protocol::audit_control::Status;
use protocol::evidence::body::{Body, ClockStep, Disk, DiskState, Export, StepDirection, Stop};
use protocol::evidence::merkle::Hash;
use protocol::evidence::note::VerifierKey;
use protocol::seal;

use crate::arguments::Cadence;
use crate::clock::{Stamp, Step, StepWatch};
use crate::failure::Failure;
use crate::grammar::LINES;
use crate::group::{Group, Ledger, Stance};
use crate::intake::Peer;
use crate::log::Unstaged;
use crate::schedule::{Gate, Schedule};
use crate::sealer::{Manifest, Task, Verdict};
use crate::signer::Away;
use crate::space::Space;
use crate::storage::Storage;

/// Bytes after which a group takes no further event.
const GROUP_BYTES: usize = 1024 * 1024;

/// How long the last signatures may take at the end.
const FAREWELL: Duration = Duration::from_secs(3);

/// Free space is looked at this often while nothing is appended, in milliseconds.
const LOOK_MS: u64 = 1_000;

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Append an event and answer its peer.
    Append {
        /// The peer's number for the call.
        id: u64,
        /// The event.
        event: Event,
        /// Who is answered.
        peer: Arc<Peer>,
    },
    /// Say how the log is.
    Status(SyncSender<Status>),
    /// Have everything up to now signed by a checkpoint line, and say which line that is; `None`
    /// when the signer does not sign it in time.
    Checkpoint(SyncSender<Option<u64>>),
    /// Have the signer asked to sign a manifest.
    SignManifest(Manifest, SyncSender<Result<seal::Reply, Away>>),
    /// Write down that a bundle was exported, and say when it is durable.
    Exported(Export, SyncSender<bool>),
    /// Look at the sealer's verdict.
    Wake,
    /// End in good order.
    Stop,
}

/// The writer's ends of its queues.
#[derive(Debug)]
pub(crate) struct Queues {
    /// What is asked of it.
    pub(crate) jobs: Receiver<Job>,
    /// What it asks of the sealer.
    pub(crate) orders: Sender<Task>,
    /// What the sealer says.
    pub(crate) verdicts: Receiver<Verdict>,
}

/// Who signs this log, and how often.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// What the signer said when the log was read.
    pub(crate) signer: seal::Status,
    /// Its key.
    pub(crate) key: VerifierKey,
    /// How often.
    pub(crate) cadence: Cadence,
}

/// The log and everything that decides about its next line.
pub(crate) struct Writer<S: Storage> {
    storage: Arc<S>,
    ledger: Ledger<S>,
    queues: Queues,
    /// A job that was met while a group was put together.
    put_back: Option<Job>,
    terms: Terms,
    schedule: Schedule,
    steps: StepWatch,
    space: Space,
    free: u64,
    looked: Stamp,
    signed: (u64, Hash),
    checkpoints: u64,
    patience: Duration,
    signer_away: bool,
    sandbox: String,
    clock: fn() -> Stamp,
}

impl<S: Storage> Writer<S> {
    /// Serves until told to stop.
    ///
    /// # Errors
    ///
    /// When the log must not be written any more. All askers have been told.
    pub(crate) fn run(&mut self) -> Result<(), Failure> {
        let ended = self.serve();
        if let Err(failure) = &ended {
            tracing::error!(%failure, "log is closed");
            while let Some(job) = self.put_back.take().or_else(|| self.queues.jobs.try_recv().ok())
            {
                if let Job::Append { id, peer, .. } = job {
                    peer.answer(&[Reply { id, outcome: Outcome::Refused(Refusal::Poisoned) }]);
                }
            }
        }
        ended
    }

    fn serve(&mut self) -> Result<(), Failure> {
        loop {
            let now = (self.clock)();
            self.tick(now)?;
            let job = match self.put_back.take() {
                Some(job) => job,
                None => match self.queues.jobs.recv_timeout(self.schedule.idle_for(now)) {
                    Ok(job) => job,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => Job::Stop,
                },
            };
            match job {
                Job::Append { id, event, peer } => self.group((id, peer), event)?,
                Job::Status(asker) => {
                    let _asker_gone = asker.try_send(self.status());
                }
                Job::Checkpoint(asker) => {
                    let _asker_gone = asker.try_send(self.checkpoint_now()?);
                }
                Job::SignManifest(manifest, asker) => {
                    let task = Task::Manifest(manifest, asker);
                    self.queues.orders.send(task).map_err(|_| Failure::Threads("sealer"))?;
                }
                Job::Exported(export, asker) => {
                    let _asker_gone = asker.try_send(self.exported(export)?);
                }
                Job::Wake => {}
                Job::Stop => return self.stop(),
            }
        }
    }

    /// Does what is due.
    fn tick(&mut self, now: Stamp) -> Result<(), Failure> {
        while let Ok(verdict) = self.queues.verdicts.try_recv() {
            self.heed(verdict)?;
        }
        if let Some(step) = self.steps.observe(now) {
            self.note(clock_step(step).into(), now)?;
        }
        if now.since(self.looked) >= LOOK_MS {
            self.look_at_space(now)?;
        }
        if self.schedule.flush_due(now) {
            self.flush()?;
        }
        let checkpoint = self.schedule.checkpoint_due(now);
        if checkpoint && !self.signer_away {
            self.order(true)?;
            self.await_verdict(self.patience)?;
        } else if checkpoint || self.schedule.head_due(now) {
            // Nobody waits for a signer that did not answer last time; a head brings it back.
            self.order(false)?;
        }
        Ok(())
    }

    /// Commits one group, of which `event` is the first.
    fn group(&mut self, asker: (u64, Arc<Peer>), event: Event) -> Result<(), Failure> {
        let now = (self.clock)();
        self.look_at_space(now)?;
        let stance = Stance {
            gate: self.schedule.gate(now),
            disk_shut: self.space == Space::Reserve,
            disk_full: Space::is_full(self.free),
        };
        let mut group = Group::default();
        let committed = self.fill(&mut group, asker, event, stance, now);
        let committed = committed.and_then(|()| self.commit(&group, now));
        if committed.is_err() {
            for (_, outcome) in &mut group.outcomes {
                *outcome = Outcome::Refused(Refusal::Poisoned);
            }
        }
        answer(group.outcomes);
        committed
    }

    fn fill(
        &mut self,
        group: &mut Group<(u64, Arc<Peer>)>,
        mut asker: (u64, Arc<Peer>),
        mut event: Event,
        stance: Stance,
        now: Stamp,
    ) -> Result<(), Failure> {
        loop {
            self.ledger.take(&*self.storage, group, asker, event, stance, now)?;
            if group.outcomes.len() >= LINES || self.ledger.log.staged() >= GROUP_BYTES {
                break;
            }
            match self.queues.jobs.try_recv() {
                Ok(Job::Append { id, event: next, peer }) => (asker, event) = ((id, peer), next),
                Ok(other) => {
                    self.put_back = Some(other);
                    break;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        self.ledger.close_range(group, now)
    }

    fn commit(&mut self, group: &Group<(u64, Arc<Peer>)>, now: Stamp) -> Result<(), Failure> {
        self.write(now)?;
        if group.wants_checkpoint {
            self.schedule.want_checkpoint();
        }
        if group.must_flush { self.flush() } else { Ok(()) }
    }

    fn write(&mut self, now: Stamp) -> Result<(), Failure> {
        match self.ledger.log.write() {
            Ok(0) => {}
            Ok(lines) => self.schedule.wrote(lines, now),
            Err(error) => return Err(poisoned("write", &error)),
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.ledger.log.flush().map_err(|error| poisoned("flush", &error))?;
        self.schedule.flushed();
        Ok(())
    }

    /// A D2 line of auditd's own.
    fn note(&mut self, body: Body, now: Stamp) -> Result<(), Failure> {
        self.ledger.log.stage([body], now).map_err(unstaged)?;
        self.write(now)
    }

    /// A D0 line but for its signature.
    fn structural(&mut self, body: Body) -> Result<(), Failure> {
        self.note(body, (self.clock)())?;
        self.flush()
    }

    /// A D0 line of an operator's doing; false, and no line, where it cannot be one.
    fn exported(&mut self, export: Export) -> Result<bool, Failure> {
        // The operator's words are the only thing in it that nobody has looked at yet.
        if export.purpose.len() > 200 || export.purpose.contains('\u{7f}') {
            return Ok(false);
        }
        let (first, last) = export.seq_range;
        if first == 0 || first > last || last > export.tree_size {
            return Ok(false);
        }
        self.structural(export.into())?;
        self.schedule.want_checkpoint();
        Ok(true)
    }

    fn look_at_space(&mut self, now: Stamp) -> Result<(), Failure> {
        self.looked = now;
        let free = match self.storage.free() {
            Ok(free) => free,
            Err(error) => {
                tracing::warn!(%error, "free space cannot be told");
                return Ok(());
            }
        };
        self.free = free;
        let was = self.space;
        self.space = was.next(free);
        if was == self.space {
            return Ok(());
        }
        tracing::warn!(state = ?self.space, free, "disk space");
        let shortage = |space| space == Space::Reserve;
        if shortage(was) != shortage(self.space)
            && let Err(error) = self.storage.reserve(!shortage(self.space))
        {
            tracing::warn!(%error, "disk reserve");
        }
        let state = match self.space {
            Space::Ample => DiskState::Recovered,
            Space::Low => DiskState::Low,
            Space::Reserve => DiskState::Reserve,
        };
        self.note(Disk { state, free_mib: Space::mib(free) }.into(), now)
    }

    fn stop(&mut self) -> Result<(), Failure> {
        self.structural(Stop { reason: "asked".into() }.into())?;
        let before = self.checkpoints;
        self.sign_now(FAREWELL)?;
        if self.checkpoints == before {
            tracing::warn!("the signer is away: the end of the log is not signed");
        }
        Ok(())
    }

    fn status(&self) -> Status {
        let now = (self.clock)();
        let (signed_size, signed_root) = self.signed;
        Status {
            origin: self.terms.key.name().to_owned(),
            size: self.ledger.log.size(),
            signed_size,
            signed_root,
            checkpoints: self.checkpoints,
            unsigned_ms: self.schedule.unsigned_ms(now),
            open: self.schedule.gate(now) == Gate::Open && self.space != Space::Reserve,
            sandbox: self.sandbox.clone(),
        }
    }
}

/// One write per peer.
fn answer(outcomes: Vec<((u64, Arc<Peer>), Outcome)>) {
    let mut by_peer: Vec<(Arc<Peer>, Vec<Reply>)> = Vec::new();
    for ((id, peer), outcome) in outcomes {
        let reply = Reply { id, outcome };
        match by_peer.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &peer)) {
            Some((_, replies)) => replies.push(reply),
            None => by_peer.push((peer, vec![reply])),
        }
    }
    for (peer, replies) in by_peer {
        peer.answer(&replies);
    }
}

fn clock_step(step: Step) -> ClockStep {
    let direction = if step.forward { StepDirection::Forward } else { StepDirection::Back };
    ClockStep { delta_ms: step.delta_ms, direction }
}

fn poisoned(doing: &'static str, error: &std::io::Error) -> Failure {
    tracing::error!(doing, %error, "what reached the disk is unknown");
    Failure::Poisoned
}

/// A line of auditd's own that cannot be made is a defect or a broken environment; either way
/// evidence is incomplete from here, so nothing may go on.
fn unstaged(error: Unstaged) -> Failure {
    tracing::error!(?error, "line not made");
    Failure::Poisoned
}
