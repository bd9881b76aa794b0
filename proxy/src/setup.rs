//! Which configuration is in force, and how the next one comes into force: all or nothing, and
//! only after the log knows its policy.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use protocol::append::Event;
use protocol::names::HostName;
use tokio::sync::{Mutex, watch};

use crate::config::{Config, ConfigError, Fingerprint, Fixed};
use crate::killswitch::{KillSwitch, Mover, Source};
use crate::mint::Mint;
use crate::record::{AppendError, Pending, Record};
use crate::upstream::{Environment, Resolver, Roots, Upstreams};

/// Between two attempts to tell the log about the first policy: short, because a start waits.
const AGAIN: Duration = Duration::from_millis(5);

/// A valid set and what was built from it.
#[derive(Debug)]
pub(crate) struct InForce {
    /// The set.
    pub(crate) config: Config,
    /// Connections to its hosts.
    pub(crate) upstreams: Upstreams,
    /// When it was loaded.
    pub(crate) since: SystemTime,
    /// Whether the log knows the set's policy; before that, nothing is sent under it.
    recorded: AtomicBool,
}

impl InForce {
    /// Whether requests may be sent under this set.
    pub(crate) fn is_recorded(&self) -> bool {
        self.recorded.load(Ordering::Acquire)
    }
}

/// Why a reload changed nothing.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The files are at fault.
    Config(ConfigError),
    /// The log did not take the change.
    Append(AppendError),
    /// Hosts were added, and nobody can say whether the CA covers them.
    Signer,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Append(error) => {
                write!(f, "the evidence log does not accept the change: {error}")
            }
            Self::Signer => f.write_str(
                "hosts were added, and the signer is not there to say whether its CA covers them",
            ),
        }
    }
}

/// What a reload led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reloaded {
    /// The new set is in force.
    InForce,
    /// The files say what is in force already.
    Unchanged,
    /// The new set is valid, none was in force before, and it needs what the sandbox of this
    /// process does not give: the process ends, to be started again.
    Restart,
}

/// What a change of the configuration concerns besides itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around<'a> {
    /// The log, which must know a policy before it is used.
    pub(crate) record: &'a Record,
    /// Whose `config` source follows.
    pub(crate) switch: &'a KillSwitch,
    /// Which hosts there are certificates for.
    pub(crate) mint: &'a Mint,
}

/// The last attempt to change the set.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// When.
    pub(crate) at: SystemTime,
    /// Who asked for it.
    pub(crate) actor: String,
    /// What became of it, or why nothing changed.
    pub(crate) outcome: Result<Reloaded, String>,
}

/// What the log knows of policies.
#[derive(Debug, Default)]
struct Told {
    /// The one it was told of last.
    policy: Option<[u8; 32]>,
    /// One it was told of, without an answer so far.
    pending: Option<([u8; 32], Pending)>,
}

impl Told {
    /// Hands the log a policy's bytes, then the change to it, unless it knows of that already.
    /// Durable when this returns. Each change is one line, also where an answer is late: the next
    /// attempt then waits for that answer, and says nothing again.
    async fn of(&mut self, record: &Record, next: &Config, actor: &str) -> Result<(), AppendError> {
        if let Some((policy, pending)) = &mut self.pending {
            let policy = *policy;
            match record.settle(pending).await {
                Err(error @ AppendError::TimedOut) => return Err(error),
                Ok(()) => self.policy = Some(policy),
                Err(_) => {}
            }
            self.pending = None;
        }
        let new_policy_hash = next.policy.hash();
        if self.policy == Some(new_policy_hash) {
            return Ok(());
        }
        // On a link that is down the lines would queue, once for each attempt.
        if !record.is_open() {
            return Err(AppendError::Closed);
        }
        record.append(Event::Policy { canonical: next.policy.canonical().to_vec() }).await?;
        let line = record.submit(Event::PolicyChange {
            old_policy_hash: self.policy,
            new_policy_hash,
            pattern_count: u32::try_from(next.policy.pattern_count()).unwrap_or(u32::MAX),
            actor: actor.to_owned(),
        })?;
        let (_, pending) = self.pending.insert((new_policy_hash, line));
        let answer = record.settle(pending).await;
        if !matches!(answer, Err(AppendError::TimedOut)) {
            self.pending = None;
        }
        answer?;
        self.policy = Some(new_policy_hash);
        Ok(())
    }
}

/// The configuration in force.
#[derive(Debug)]
pub(crate) struct Setup {
    dir: PathBuf,
    environment: Environment,
    roots: Roots,
    resolver: Arc<Resolver>,
    /// What was given at the start and cannot change.
    fixed: Fixed,
    ports: BTreeSet<u16>,
    current: RwLock<Result<Arc<InForce>, ConfigError>>,
    last: RwLock<Option<Attempt>>,
    /// Told whenever another set is in force.
    changes: watch::Sender<()>,
    changing: Mutex<Told>,
}

impl Setup {
    /// The set that was loaded at the start, or the fault in it.
    pub(crate) fn new(
        dir: PathBuf,
        environment: Environment,
        first: Result<Config, ConfigError>,
        roots: Roots,
        resolver: Arc<Resolver>,
    ) -> Self {
        let fixed = first.as_ref().map(|config| config.fixed.clone()).unwrap_or_default();
        let ports = reachable(&first);
        let current = first.and_then(|config| build(config, None, &roots, &resolver));
        if let Err(error) = &current {
            tracing::error!(%error, "configuration invalid: every request is refused");
        }
        if roots.is_empty() {
            tracing::warn!("the system has no trust roots: only extra roots are trusted");
        }
        let current = RwLock::new(current.map(Arc::new));
        let (last, changing, changes) =
            (RwLock::default(), Mutex::default(), watch::Sender::new(()));
        Self { dir, environment, roots, resolver, fixed, ports, current, last, changes, changing }
    }

    /// The set in force, or the fault that keeps any from it.
    pub(crate) fn current(&self) -> Result<Arc<InForce>, ConfigError> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Told whenever another set is in force.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The last attempt to change the set, if there was one.
    pub(crate) fn last(&self) -> Option<Attempt> {
        self.last.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Status of fail-closed refusals, of those for `host` where it is known. While nothing is in
    /// force it is the default.
    pub(crate) fn refusal_status(&self, host: Option<&HostName>) -> StatusCode {
        self.current().map_or(StatusCode::BAD_GATEWAY, |set| {
            let entry = host.and_then(|host| set.config.hosts.entry(host));
            entry.and_then(|entry| entry.refusal_status).unwrap_or(set.config.refusal_status)
        })
    }

    /// What was given at the start and cannot change.
    pub(crate) fn fixed(&self) -> &Fixed {
        &self.fixed
    }

    /// The files as they are now.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let further = self.current().map(|set| set.config.further.clone()).unwrap_or_default();
        Fingerprint::of(&self.dir, &further)
    }

    /// Arms the kill switch where the files say so, whatever else is wrong with them.
    pub(crate) fn arm(&self, switch: &KillSwitch) {
        let armed = self.current().is_ok_and(|set| set.config.kill_switch);
        if armed || Config::arms(&self.dir) {
            switch.arm(Source::Config, MOVER);
        }
    }

    /// Tells the log about the first set's policy, until it takes it.
    pub(crate) async fn record_first(&self, record: &Record, switch: &KillSwitch) {
        let Ok(first) = self.current() else { return };
        loop {
            let mut told = self.changing.lock().await;
            let Ok(now) = self.current() else { return };
            if !Arc::ptr_eq(&first, &now) || told.of(record, &first.config, "start").await.is_ok() {
                first.recorded.store(true, Ordering::Release);
                tracing::info!(patterns = first.config.policy.pattern_count(), "policy recorded");
                break;
            }
            drop(told);
            tokio::time::sleep(AGAIN).await;
        }
        if let Ok(now) = self.current() {
            follow_switch(switch, &now.config).await;
        }
    }

    /// Reads the files again and brings them into force, if they are valid.
    ///
    /// # Errors
    ///
    /// [`Refused`]; nothing changed, but that a kill switch that the files arm is armed.
    pub(crate) async fn reload(
        &self,
        around: Around<'_>,
        actor: &str,
    ) -> Result<Reloaded, Refused> {
        let mut told = self.changing.lock().await;
        let outcome = self.change(around, &mut told, actor).await;
        match &outcome {
            Ok(outcome) => tracing::info!(actor, ?outcome, "configuration read again"),
            Err(error) => {
                tracing::warn!(actor, %error, "configuration refused");
                if Config::arms(&self.dir) {
                    around.switch.arm(Source::Config, MOVER);
                }
            }
        }
        let attempt = Attempt {
            at: SystemTime::now(),
            actor: actor.to_owned(),
            outcome: outcome.as_ref().map(|it| *it).map_err(ToString::to_string),
        };
        *self.last.write().unwrap_or_else(PoisonError::into_inner) = Some(attempt);
        outcome
    }

    async fn change(
        &self,
        around: Around<'_>,
        told: &mut Told,
        actor: &str,
    ) -> Result<Reloaded, Refused> {
        let old = self.current();
        let next = self.next(around.record).map_err(Refused::Config)?;
        if let Err(error) = next.can_follow(&self.fixed, &self.ports) {
            return if old.is_err() { Ok(Reloaded::Restart) } else { Err(Refused::Config(error)) };
        }
        let Ok(old) = old else {
            return self.bring(around, told, actor, build_with(self, next, None)?).await;
        };
        if next.is(&old.config) && old.is_recorded() {
            follow_switch(around.switch, &old.config).await;
            return Ok(Reloaded::Unchanged);
        }
        let covered = around.mint.names();
        if covered.is_empty() && next.adds_hosts(&old.config) {
            return Err(Refused::Signer);
        }
        next.can_replace(&self.dir, &old.config, &covered).map_err(Refused::Config)?;
        let next = build_with(self, next, Some(&old))?;
        self.bring(around, told, actor, next).await
    }

    /// Brings a set into force once the log knows its policy.
    async fn bring(
        &self,
        around: Around<'_>,
        told: &mut Told,
        actor: &str,
        next: InForce,
    ) -> Result<Reloaded, Refused> {
        told.of(around.record, &next.config, actor).await.map_err(Refused::Append)?;
        next.recorded.store(true, Ordering::Release);
        let next = Arc::new(next);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Ok(Arc::clone(&next));
        self.changes.send_replace(());
        follow_switch(around.switch, &next.config).await;
        Ok(Reloaded::InForce)
    }

    fn next(&self, record: &Record) -> Result<Config, ConfigError> {
        let next = Config::load(&self.dir, &self.environment);
        if let Err(error) = &next {
            if error.is_policy() {
                let code = "policy-invalid".to_owned();
                record.note(Event::PolicyRefused { attempted_hash: None, code });
            }
            self.show(error);
        }
        next
    }

    /// While nothing is in force, the latest fault is the one to show.
    fn show(&self, error: &ConfigError) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.is_err() {
            *current = Err(error.clone());
        }
    }
}

fn reachable(first: &Result<Config, ConfigError>) -> BTreeSet<u16> {
    first.as_ref().map(Config::ports).unwrap_or_else(|_| Config::least_ports())
}

fn build_with(setup: &Setup, next: Config, old: Option<&InForce>) -> Result<InForce, Refused> {
    build(next, old, &setup.roots, &setup.resolver).map_err(|error| {
        setup.show(&error);
        Refused::Config(error)
    })
}

/// Builds what a set needs, and takes over what `old` has of that: its policy where it finds the
/// same, and connections that this set would make as well.
fn build(
    mut config: Config,
    old: Option<&InForce>,
    roots: &Roots,
    resolver: &Arc<Resolver>,
) -> Result<InForce, ConfigError> {
    if let Some(old) = old.filter(|old| old.config.policy.hash() == config.policy.hash()) {
        config.policy = Arc::clone(&old.config.policy);
    }
    let upstreams = match old.filter(|old| config.connects_as(&old.config)) {
        Some(old) => old.upstreams.clone(),
        None => Upstreams::new(&config, roots, Arc::clone(resolver))
            .map_err(|(host, bad)| ConfigError::root(host.as_deref(), bad))?,
    };
    Ok(InForce { config, upstreams, since: SystemTime::now(), recorded: AtomicBool::new(false) })
}

/// Who moves the `config` source.
const MOVER: Mover<'static> = Mover { actor: "config", reason: None };

/// Moves the kill switch's `config` source to where the set wants it.
async fn follow_switch(switch: &KillSwitch, config: &Config) {
    switch.cut_streams(config.cut_streams);
    if config.kill_switch {
        switch.arm(Source::Config, MOVER);
    } else if switch.clear(Source::Config, MOVER).await.is_err() {
        tracing::warn!("kill switch stays armed: the log did not take its clearing");
    }
}
