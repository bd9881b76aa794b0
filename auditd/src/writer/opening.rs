//! From a log that was read to one that is signed and ready.

use std::sync::Arc;
use std::time::Duration;

use protocol::evidence::body::{Genesis, Start};
use protocol::evidence::frameworks;
use sha2::{Digest, Sha256};

use super::{Queues, Terms, Writer};
use crate::clock::{Stamp, StepWatch};
use crate::failure::Failure;
use crate::group::Ledger;
use crate::recovery::Recovered;
use crate::schedule::Schedule;
use crate::space::Space;
use crate::storage::{ACTIVE, FRAMEWORKS, NEXT, Storage, replace};

/// Most lines between two checkpoint lines, as `genesis` promises it (evidence section 4.17.3).
const CHECKPOINT_LINES: u64 = 10_000;

/// How long the first signature may take.
const WELCOME: Duration = Duration::from_secs(10);

/// Name and version of the writer, as lines say it.
const SOFTWARE: &str = concat!("waterwall-auditd/", env!("CARGO_PKG_VERSION"));

impl<S: Storage> Writer<S> {
    /// A writer that goes on where `recovered` ends. Writes `genesis` if there is no line yet,
    /// then `start`, and returns once that is signed.
    ///
    /// # Errors
    ///
    /// [`Failure::SignerAway`] if it is not signed in time, else what the disk said.
    pub(crate) fn open(
        storage: Arc<S>,
        recovered: Recovered<S>,
        queues: Queues,
        terms: Terms,
        sandbox: String,
        clock: fn() -> Stamp,
    ) -> Result<Self, Failure> {
        let Recovered { log, history, .. } = recovered;
        let now = clock();
        let mut writer = Self {
            ledger: Ledger { log, seen: history.seen, policies: history.policies },
            schedule: Schedule::new(terms.cadence, history.since_checkpoint, now),
            steps: StepWatch::new(now),
            space: Space::Ample,
            free: u64::MAX,
            looked: now,
            signed: (terms.signer.size, terms.signer.root),
            checkpoints: 0,
            patience: terms.cadence.patience,
            signer_away: false,
            put_back: None,
            storage,
            queues,
            terms,
            sandbox,
            clock,
        };
        if history.new {
            writer.begin()?;
        }
        let start = Start {
            reason: "start".into(),
            clean: history.clean,
            signer_size: writer.terms.signer.size,
            config_hash: Sha256::digest(writer.terms.cadence.text()).into(),
            policy_hash: history.policy,
            software: SOFTWARE.into(),
        };
        writer.structural(start.into())?;
        writer.storage.sync_dir("").map_err(Failure::storage("syncing the log directory"))?;
        writer.sign_now(WELCOME)?;
        if writer.checkpoints == 0 {
            return Err(Failure::SignerAway("the start is not signed".into()));
        }
        Ok(writer)
    }

    /// The first line of a log, in a file that gets its name only with that line durable in it.
    fn begin(&mut self) -> Result<(), Failure> {
        let json = frameworks::json();
        let doing = || Failure::storage("beginning the log");
        replace(&*self.storage, "frameworks.tmp", FRAMEWORKS, &json).map_err(doing())?;
        let (signer, cadence) = (self.terms.signer.clone(), self.terms.cadence);
        let genesis = Genesis {
            origin: signer.origin,
            log_vkey: signer.log_vkey,
            evidence_vkey: signer.evidence_vkey,
            recovery_vkey: signer.recovery_vkey,
            checkpoint_lines: CHECKPOINT_LINES,
            checkpoint_ms: cadence.active_ms,
            head_ms: cadence.head_ms,
            idle_ms: cadence.idle_ms,
            frameworks_hash: frameworks::hash(&json),
            predecessor: None,
            software: SOFTWARE.into(),
        };
        self.structural(genesis.into())?;
        self.storage.rename(NEXT, ACTIVE).and_then(|()| self.storage.sync_dir("")).map_err(doing())
    }
}
