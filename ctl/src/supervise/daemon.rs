//! One daemon under supervision.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::Signal;

use crate::fault::{Fault, Kind};
use crate::home::Home;
use crate::identity::Identity;
use crate::output::say;
use crate::supervise::record::{RoleRecord, RoleState};
use crate::supervise::role::Role;
use crate::supervise::sockets::Sockets;

/// How to start a daemon, again and again.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) role: Role,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) secrets: [u8; 64],
}

/// One daemon: its process, and what is known about it.
#[derive(Debug)]
pub(crate) struct Daemon {
    recipe: Recipe,
    readiness: UnixDatagram,
    readiness_path: PathBuf,
    phase: Phase,
    backoff: Backoff,
    restarts: u32,
    status: Option<String>,
    values: Values,
    /// Sources of the kill switch that its successor has to start with.
    armed: String,
}

/// Registered values, which are gone with the process that has them.
#[derive(Debug, Default)]
struct Values {
    held: u32,
    lost: u32,
}

#[derive(Debug)]
enum Phase {
    Stopped,
    Starting { process: Child, since: Instant },
    Ready { process: Child, since: Instant },
    Waiting { until: Instant },
}

/// What happened to a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Started,
    Ready,
    Died,
    /// What was lost is there again, or not needed any more.
    Recovered,
}

impl Daemon {
    pub(crate) fn new(home: &Home, recipe: Recipe) -> Result<Self, Fault> {
        let path = home.readiness(recipe.role.name());
        let readiness = bind_readiness(&path)?;
        Ok(Self {
            recipe,
            readiness,
            readiness_path: path,
            phase: Phase::Stopped,
            backoff: Backoff::default(),
            restarts: 0,
            status: None,
            values: Values::default(),
            armed: String::new(),
        })
    }

    pub(crate) fn role(&self) -> Role {
        self.recipe.role
    }

    pub(crate) fn readiness(&self) -> &UnixDatagram {
        &self.readiness
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }

    pub(crate) fn record(&self) -> RoleRecord {
        let (process, state) = match &self.phase {
            Phase::Stopped => (None, RoleState::Stopped),
            Phase::Waiting { .. } => (None, RoleState::Restarting),
            Phase::Starting { process, .. } => (Some(process), RoleState::Starting),
            Phase::Ready { process, .. } => (Some(process), RoleState::Ready),
        };
        let process = process.and_then(|child| Identity::of(child.id()));
        let status = self.status.clone();
        let values_lost = self.values.lost;
        RoleRecord { process, state, restarts: self.restarts, status, values_lost }
    }

    /// When [`Self::step`] has something to do even if nothing happens.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Starting { since, .. } => Some(since + START_LIMIT),
            Phase::Waiting { until } => Some(until),
            Phase::Ready { .. } | Phase::Stopped => None,
        }
    }

    /// Starts it.
    pub(crate) fn start(&mut self, sockets: &Sockets, now: Instant) -> Result<(), Fault> {
        // What a predecessor said last does not count for this process.
        self.hear();
        self.status = None;
        let process = self
            .spawn(sockets)
            .map_err(|error| Fault::file("start", &self.recipe.program, &error))?;
        self.phase = Phase::Starting { process, since: now };
        Ok(())
    }

    /// Takes note of what happened since the last step, and starts it again when that is due.
    pub(crate) fn step(
        &mut self,
        sockets: &Sockets,
        now: Instant,
    ) -> Result<Option<Change>, Fault> {
        let role = self.role().name();
        // In every phase: a word that nobody takes would keep waking the supervisor.
        let lost = self.values.lost;
        let ready = self.hear();
        let is_recovered = self.values.lost < lost;
        match &mut self.phase {
            Phase::Stopped => Ok(None),
            Phase::Waiting { until } if *until > now => Ok(None),
            Phase::Waiting { .. } => {
                self.restarts = self.restarts.saturating_add(1);
                if let Err(fault) = self.start(sockets, now) {
                    say(&format!("{} ({})", fault.what, fault.advice));
                    let wait = self.backoff.after_a_life_of(Duration::ZERO);
                    self.phase = Phase::Waiting { until: now + wait };
                }
                Ok(Some(Change::Started))
            }
            Phase::Starting { process, since } | Phase::Ready { process, since } => {
                let exited = process
                    .try_wait()
                    .map_err(|error| Fault::system("wait for a daemon", error))?;
                if let Some(status) = exited {
                    let wait = self.backoff.after_a_life_of(now.duration_since(*since));
                    say(&format!("{role} {}", describe(status)));
                    if let Some(lost) = self.values.lose() {
                        say(&format!("{lost} registered values are gone: register them again"));
                    }
                    self.phase = Phase::Waiting { until: now + wait };
                    return Ok(Some(Change::Died));
                }
                let change = self.await_readiness(ready, now)?;
                Ok(change.or(is_recovered.then_some(Change::Recovered)))
            }
        }
    }

    fn await_readiness(&mut self, ready: bool, now: Instant) -> Result<Option<Change>, Fault> {
        let Phase::Starting { process, since } = &mut self.phase else { return Ok(None) };
        if !ready {
            if now.duration_since(*since) >= START_LIMIT {
                say(&format!("{} is not ready after 30 s; killing it", self.recipe.role.name()));
                process.kill().map_err(|error| Fault::system("kill a daemon", error))?;
                // One that hangs on a dead disk takes its time to die; said once is enough.
                *since = now;
            }
            return Ok(None);
        }
        if let Phase::Starting { process, since } =
            std::mem::replace(&mut self.phase, Phase::Stopped)
        {
            self.phase = Phase::Ready { process, since };
        }
        Ok(Some(Change::Ready))
    }

    /// Asks it to finish, waits for at most `limit`, then ends it.
    pub(crate) fn stop(&mut self, limit: Duration) {
        let phase = std::mem::replace(&mut self.phase, Phase::Stopped);
        let (Phase::Starting { mut process, .. } | Phase::Ready { mut process, .. }) = phase else {
            return;
        };
        let role = self.role().name();
        if let Some(it) = Identity::of(process.id()) {
            let asked = it.signal(Signal::SIGTERM);
            if asked.is_err() || !it.wait_gone(limit) {
                say(&format!("{role} did not stop within {} s; killing it", limit.as_secs()));
                let _ = process.kill();
            }
        }
        match process.wait() {
            Ok(status) if status.success() => {}
            Ok(status) => say(&format!("{role} {}", describe(status))),
            Err(error) => say(&format!("cannot wait for {role}: {error}")),
        }
    }

    fn spawn(&self, sockets: &Sockets) -> io::Result<Child> {
        let listeners = sockets.of(self.role())?;
        let names: Vec<&str> = self.role().listeners().iter().map(|it| it.name()).collect();
        let count = listeners.len();
        let mappings = (FIRST_LISTENER..)
            .zip(listeners)
            .map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd })
            .collect();
        // Our own executable, also when the file has been replaced since.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("waterwall-ctl")
            .arg("launch")
            .arg(std::process::id().to_string())
            .arg(&self.recipe.program)
            .args(&self.recipe.arguments)
            .env_clear()
            .envs(self.recipe.environment.iter().map(|(name, value)| (name, value)))
            .env("LISTEN_FDS", count.to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env("NOTIFY_SOCKET", &self.readiness_path)
            .env("WATERWALL_ARMED", &self.armed)
            // Ctrl-C at the terminal is for the supervisor, which stops them in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .fd_mappings(mappings)
            .map_err(io::Error::other)?;
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A child that is gone already is found by the next step.
            let _ = stdin.write_all(&self.recipe.secrets);
        }
        Ok(child)
    }

    /// Takes all datagrams that wait (sd_notify(3)): whether one says that it is ready, and what
    /// it says of itself.
    fn hear(&mut self) -> bool {
        let mut ready = false;
        let mut datagram = [0; 4096];
        while let Ok(length) = self.readiness.recv(&mut datagram) {
            for line in String::from_utf8_lossy(&datagram[..length]).lines() {
                ready |= line == "READY=1";
                if let Some(status) = line.strip_prefix("STATUS=") {
                    self.status = Some(status.to_owned());
                }
                let count = line.strip_prefix("X_WATERWALL_REGISTERED=");
                if let Some(count) = count.and_then(|count| count.parse().ok()) {
                    self.values.hold(count);
                }
                if let Some(sources) = line.strip_prefix("X_WATERWALL_ARMED=") {
                    sources.clone_into(&mut self.armed);
                }
            }
        }
        ready
    }
}

impl Values {
    fn hold(&mut self, count: u32) {
        self.held = count;
        // None at all is what `secret remove --all` leaves: they are not missed.
        if count == 0 || count >= self.lost {
            self.lost = 0;
        }
    }

    /// The process is gone: what went with it.
    fn lose(&mut self) -> Option<u32> {
        let gone = std::mem::take(&mut self.held);
        self.lost = self.lost.max(gone);
        (gone > 0).then_some(gone)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.readiness_path);
    }
}

/// A datagram socket at `path` that hears words of readiness, without waiting for them.
pub(crate) fn bind_readiness(path: &std::path::Path) -> Result<UnixDatagram, Fault> {
    let _ = fs::remove_file(path);
    UnixDatagram::bind(path)
        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
        .map_err(|error| Fault::file("bind", path, &error))
}

/// Why a daemon that was being started for the first time did not come up.
pub(crate) fn never_ready(role: Role) -> Fault {
    Fault::new(
        Kind::Unavailable,
        format!("waterwall-{} did not start", role.name()),
        "its own messages above say why",
    )
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(number)) => Signal::try_from(number).map_or_else(
            |_| format!("was ended by signal {number}"),
            |signal| format!("was ended by {signal}"),
        ),
        (None, None) => "ended".to_owned(),
    }
}

/// How long to wait before starting a daemon again.
#[derive(Debug)]
struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: SHORTEST_WAIT }
    }
}

impl Backoff {
    /// Doubles with each short life, and starts over after a long one.
    fn after_a_life_of(&mut self, lived: Duration) -> Duration {
        if lived >= LONG_LIFE {
            self.next = SHORTEST_WAIT;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST_WAIT);
        wait
    }
}

/// `SD_LISTEN_FDS_START`.
const FIRST_LISTENER: i32 = 3;
const START_LIMIT: Duration = Duration::from_secs(30);
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const LONG_LIFE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_missed_until_as_many_are_there_again_or_all_are_taken_back() {
        let mut values = Values::default();
        assert_eq!(values.lose(), None);
        values.hold(3);
        assert_eq!((values.lose(), values.lost), (Some(3), 3));
        values.hold(1);
        assert_eq!((values.lose(), values.lost), (Some(1), 3));
        values.hold(3);
        assert_eq!(values.lost, 0);
        values.lose();
        values.hold(0);
        assert_eq!((values.lost, values.lose()), (0, None));
    }

    #[test]
    fn waits_longer_after_each_short_life_and_starts_over_after_a_long_one() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> =
            (0..8).map(|_| backoff.after_a_life_of(Duration::ZERO).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.after_a_life_of(LONG_LIFE), SHORTEST_WAIT);
        assert_eq!(backoff.after_a_life_of(Duration::ZERO), SHORTEST_WAIT * 2);
    }
}
