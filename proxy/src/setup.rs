//! Which configuration is in force, and how the next one comes into force: all or nothing, and
//! only after the log knows its policy.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::StatusCode;
use protocol::append::Event;
use protocol::names::HostName;
use tokio::sync::Mutex;

use crate::config::{Config, ConfigError, Fixed};
use crate::killswitch::{KillSwitch, Mover, Source};
use crate::record::{AppendError, Record};
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
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Append(error) => {
                write!(f, "the evidence log does not accept the change: {error}")
            }
        }
    }
}

/// What a reload led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reloaded {
    /// The new set is in force.
    InForce,
    /// The new set is valid, none was in force before, and it needs what the sandbox of this
    /// process does not give: the process ends, to be started again.
    Restart,
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
    changing: Mutex<()>,
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
        let current = first.and_then(|config| build(config, &roots, &resolver));
        if let Err(error) = &current {
            tracing::error!(%error, "configuration invalid: every request is refused");
        }
        if roots.is_empty() {
            tracing::warn!("the system has no trust roots: only extra roots are trusted");
        }
        let current = RwLock::new(current.map(Arc::new));
        Self { dir, environment, roots, resolver, fixed, ports, current, changing: Mutex::new(()) }
    }

    /// The set in force, or the fault that keeps any from it.
    pub(crate) fn current(&self) -> Result<Arc<InForce>, ConfigError> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
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

    /// Tells the log about the first set's policy, until it takes it.
    pub(crate) async fn record_first(&self, record: &Record, switch: &KillSwitch) {
        let Ok(first) = self.current() else { return };
        loop {
            let _one = self.changing.lock().await;
            let Ok(now) = self.current() else { return };
            if !Arc::ptr_eq(&first, &now)
                || tell(record, None, &first.config, "start").await.is_ok()
            {
                first.recorded.store(true, Ordering::Release);
                tracing::info!(patterns = first.config.policy.pattern_count(), "policy recorded");
                break;
            }
            drop(_one);
            tokio::time::sleep(AGAIN).await;
        }
        follow_switch(switch, &first.config).await;
    }

    /// Reads the files again and brings them into force, if they are valid.
    ///
    /// # Errors
    ///
    /// [`Refused`]; nothing changed.
    pub(crate) async fn reload(
        &self,
        record: &Record,
        switch: &KillSwitch,
        actor: &str,
    ) -> Result<Reloaded, Refused> {
        let _one = self.changing.lock().await;
        let outcome = self.change(record, switch, actor).await;
        match &outcome {
            Ok(outcome) => tracing::info!(actor, ?outcome, "configuration read again"),
            Err(error) => tracing::warn!(actor, %error, "configuration refused"),
        }
        outcome
    }

    async fn change(
        &self,
        record: &Record,
        switch: &KillSwitch,
        actor: &str,
    ) -> Result<Reloaded, Refused> {
        let old = self.current();
        let next = self.next(record).map_err(Refused::Config)?;
        if let Err(error) = next.config.can_follow(&self.fixed, &self.ports) {
            return if old.is_err() { Ok(Reloaded::Restart) } else { Err(Refused::Config(error)) };
        }
        let old_policy =
            old.as_ref().ok().filter(|set| set.is_recorded()).map(|set| &set.config.policy);
        let old_hash = old_policy.map(|policy| policy.hash());
        if old_hash != Some(next.config.policy.hash()) {
            tell(record, old_hash, &next.config, actor).await.map_err(Refused::Append)?;
        }
        next.recorded.store(true, Ordering::Release);
        let next = Arc::new(next);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Ok(Arc::clone(&next));
        follow_switch(switch, &next.config).await;
        Ok(Reloaded::InForce)
    }

    fn next(&self, record: &Record) -> Result<InForce, ConfigError> {
        let next = Config::load(&self.dir, &self.environment)
            .and_then(|config| build(config, &self.roots, &self.resolver));
        if let Err(error) = &next {
            if error.is_policy() {
                let code = "policy-invalid".to_owned();
                record.note(Event::PolicyRefused { attempted_hash: None, code });
            }
            // While nothing is in force, the latest fault is the one to show.
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            if current.is_err() {
                *current = Err(error.clone());
            }
        }
        next
    }
}

fn reachable(first: &Result<Config, ConfigError>) -> BTreeSet<u16> {
    first.as_ref().map(Config::ports).unwrap_or_else(|_| Config::least_ports())
}

fn build(config: Config, roots: &Roots, resolver: &Arc<Resolver>) -> Result<InForce, ConfigError> {
    let upstreams = Upstreams::new(&config, roots, Arc::clone(resolver))
        .map_err(|(host, bad)| ConfigError::root(host.as_deref(), bad))?;
    Ok(InForce { config, upstreams, recorded: AtomicBool::new(false) })
}

/// Hands the log a policy's bytes, then the change to it. Durable when this returns.
async fn tell(
    record: &Record,
    old_policy_hash: Option<[u8; 32]>,
    next: &Config,
    actor: &str,
) -> Result<(), AppendError> {
    // On a link that is down the lines would queue, once for each attempt.
    if !record.is_open() {
        return Err(AppendError::Closed);
    }
    record.append(Event::Policy { canonical: next.policy.canonical().to_vec() }).await?;
    record
        .append(Event::PolicyChange {
            old_policy_hash,
            new_policy_hash: next.policy.hash(),
            pattern_count: u32::try_from(next.policy.pattern_count()).unwrap_or(u32::MAX),
            actor: actor.to_owned(),
        })
        .await
}

/// Moves the kill switch's `config` source to where the set wants it.
async fn follow_switch(switch: &KillSwitch, config: &Config) {
    let mover = Mover { actor: "config", reason: None };
    if config.kill_switch {
        switch.arm(Source::Config, mover);
    } else if switch.clear(Source::Config, mover).await.is_err() {
        tracing::warn!("kill switch stays armed: the log did not take its clearing");
    }
}
