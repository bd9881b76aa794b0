//! `up`: a small supervisor that starts, watches and stops the three daemons.
//!
//! It binds every socket itself and keeps them, so that a daemon that dies is replaced behind the
//! same sockets and its clients only wait. It holds one lock per home, and writes down what it
//! knows in `run/supervisor.json`.

pub(crate) mod environment;
pub(crate) mod events;
pub(crate) mod leftovers;
pub(crate) mod lock;
pub(crate) mod record;
pub(crate) mod resolver;
pub(crate) mod role;

pub(crate) mod daemon;
pub(crate) mod sockets;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use protocol::settings::ConfigFile;

use crate::fault::{Fault, Kind};
use crate::first_use;
use crate::home::{Home, Socket};
use crate::identity::Identity;
use crate::output::say;
use crate::trust;
use daemon::{Change, Daemon, Recipe};
use events::Signals;
use lock::{Asked, Lock};
use record::Record;
use role::{LinkSecrets, Programs, Role};
use sockets::Sockets;

/// Three daemons behind their sockets.
pub(crate) struct Supervisor {
    home: Home,
    identity: Identity,
    sockets: Sockets,
    signals: Signals,
    daemons: Vec<Daemon>,
    drain: Duration,
    _lock: Lock,
}

/// What `up` found when it wanted to start.
pub(crate) enum Start {
    /// All three daemons are ready.
    Ready(Box<Supervisor>),
    /// Somebody else supervises this home.
    AlreadyRunning(Option<Identity>),
    /// It was asked to stop before they were ready, and did.
    Interrupted,
}

/// Makes what is missing, starts the daemons in order and waits until each is ready.
pub(crate) fn start(home: &Home, programs: &Programs) -> Result<Start, Fault> {
    home.create()?;
    let lock = match lock::take(home)? {
        Asked::Taken(lock) => lock,
        Asked::HeldBy(holder) => return Ok(Start::AlreadyRunning(holder)),
    };
    leftovers::clear(home)?;
    let config = prepare(home, programs)?;
    let sockets = Sockets::bind(home, &config)?;
    let mut supervisor = Supervisor::new(home, programs, &config, sockets, lock)?;
    match supervisor.start_in_order() {
        Ok(true) => Ok(Start::Ready(Box::new(supervisor))),
        Ok(false) => {
            supervisor.stop();
            Ok(Start::Interrupted)
        }
        Err(fault) => {
            supervisor.stop();
            Err(fault)
        }
    }
}

/// Files, keys and certificates: made on first use.
fn prepare(home: &Home, programs: &Programs) -> Result<ConfigFile, Fault> {
    first_use::write_defaults(home)?;
    first_use::write_admin_token(home)?;
    let (config, valid) = first_use::read_config(home);
    if let Err(reason) = valid {
        say(&reason);
        say(&format!("every request is refused until it is mended: {}", home.command("reload")));
    }
    first_use::make_keys(home, &programs.of(Role::Signer), &config.audit)?;
    trust::write_ca_bundle(home)?;
    Ok(config)
}

impl Supervisor {
    fn new(
        home: &Home,
        programs: &Programs,
        config: &ConfigFile,
        sockets: Sockets,
        lock: Lock,
    ) -> Result<Self, Fault> {
        let secrets = LinkSecrets::draw()?;
        let environment =
            environment::for_daemons(home, sockets.listen(), |name| std::env::var_os(name));
        let daemons = Role::START_ORDER
            .into_iter()
            .map(|role| {
                let recipe = Recipe {
                    role,
                    program: programs.of(role),
                    arguments: role.arguments(home, config),
                    environment: environment.clone(),
                    secrets: secrets.of(role),
                };
                Daemon::new(home, recipe)
            })
            .collect::<Result<_, Fault>>()?;
        let identity = Identity::of(std::process::id()).ok_or_else(|| {
            Fault::new(Kind::Ours, "cannot read /proc/self/stat", "mount /proc and try again")
        })?;
        Ok(Self {
            home: home.clone(),
            identity,
            sockets,
            signals: Signals::take()?,
            daemons,
            drain: Duration::from_secs(config.timeouts.drain.into()),
            _lock: lock,
        })
    }

    pub(crate) fn record(&self) -> Result<Record, Fault> {
        let roles: BTreeMap<_, _> =
            self.daemons.iter().map(|daemon| (daemon.role(), daemon.record())).collect();
        Ok(Record {
            supervisor: self.identity,
            listen: self.sockets.listen(),
            admin_port: self.sockets.admin_port()?,
            roles,
        })
    }

    /// Starts one after the other; `false` when asked to stop meanwhile. The first start of a
    /// daemon that fails is final: a wrong setup does not heal by trying again.
    fn start_in_order(&mut self) -> Result<bool, Fault> {
        for index in 0..self.daemons.len() {
            self.daemons[index].start(&self.sockets, Instant::now())?;
            self.write_down()?;
            while !self.daemons[index].is_ready() {
                if self.wait()? {
                    return Ok(false);
                }
                if let Some(role) = self.step()?.first_that(Change::Died) {
                    return Err(daemon::never_ready(role));
                }
            }
            self.write_down()?;
        }
        Ok(true)
    }

    /// Replaces daemons that die, until asked to stop.
    pub(crate) fn watch(&mut self) -> Result<(), Fault> {
        resolver::watch(self.home.clone());
        while !self.wait()? {
            let changes = self.step()?;
            if changes.0.is_empty() {
                continue;
            }
            // A full disk must not take the daemons down with it.
            if let Err(fault) = self.write_down() {
                say(&format!("{} ({})", fault.what, fault.advice));
            }
            for (role, change) in changes.0 {
                if change == Change::Ready {
                    say(&format!("{} is ready again", role.name()));
                }
            }
        }
        Ok(())
    }

    /// Stops the daemons, those that need others first, and leaves nothing behind in `run/`.
    pub(crate) fn stop(&mut self) {
        self.sockets.close_to_agents();
        for daemon in self.daemons.iter_mut().rev() {
            daemon.stop(self.drain + DRAIN_MARGIN);
        }
        for socket in Socket::ALL {
            let _ = fs::remove_file(self.home.socket(socket));
        }
        let _ = fs::remove_file(self.home.supervisor());
    }

    fn wait(&self) -> Result<bool, Fault> {
        let now = Instant::now();
        let limit = self
            .daemons
            .iter()
            .filter_map(Daemon::due)
            .map(|due| due.saturating_duration_since(now))
            .fold(LONGEST_SLEEP, Duration::min);
        let readiness: Vec<&UnixDatagram> = self.daemons.iter().map(Daemon::readiness).collect();
        self.signals.wait(readiness.into_iter(), limit)
    }

    fn step(&mut self) -> Result<Changes, Fault> {
        let now = Instant::now();
        let mut changes = Vec::new();
        for daemon in &mut self.daemons {
            if let Some(change) = daemon.step(&self.sockets, now)? {
                changes.push((daemon.role(), change));
            }
        }
        Ok(Changes(changes))
    }

    fn write_down(&self) -> Result<(), Fault> {
        self.record()?.write(&self.home)
    }
}

struct Changes(Vec<(Role, Change)>);

impl Changes {
    fn first_that(&self, wanted: Change) -> Option<Role> {
        self.0.iter().find(|(_, change)| *change == wanted).map(|(role, _)| *role)
    }
}

/// What a daemon may take beyond its own deadline for requests in flight: flushing, signing.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);
/// Nothing is due: signals and words of readiness wake the supervisor anyway.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
