//! Which process a number means: a pid alone may have been given to somebody else since.

use std::fs;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// One process, for as long as the machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Its number.
    pub(crate) pid: u32,
    /// When it started, in clock ticks since boot (`starttime` in proc_pid_stat(5)).
    pub(crate) started: u64,
}

impl Identity {
    /// The process that has this number now; none if it is gone or only waits to be reaped.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        parse_stat(&stat).map(|started| Self { pid, started })
    }

    /// Whether that very process still runs.
    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Whether it was stopped by a signal (or by a tracer) and waits to be continued.
    pub(crate) fn is_stopped(self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        matches!(state, Some('T' | 't')) && self.is_alive()
    }

    /// Sends `signal`, unless the process is gone.
    pub(crate) fn signal(self, signal: Signal) -> Result<(), Errno> {
        match i32::try_from(self.pid) {
            Ok(pid) if self.is_alive() => match kill(Pid::from_raw(pid), signal) {
                Err(Errno::ESRCH) => Ok(()),
                sent => sent,
            },
            _ => Ok(()),
        }
    }

    /// Waits until the process is gone; `false` when `limit` passed before.
    pub(crate) fn wait_gone(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

/// The start time; none for a zombie. The name in parentheses may hold spaces and parentheses.
fn parse_stat(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // `state` is field 3, `starttime` field 22.
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_start_time_behind_a_hostile_name() {
        let numbers: Vec<String> = (4..=52).map(|n| n.to_string()).collect();
        let stat = |state: &str| format!("7 (a) R 1 (b)) {state} {}", numbers.join(" "));
        assert_eq!(parse_stat(&stat("S")), Some(22));
        assert_eq!(parse_stat(&stat("Z")), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn tells_a_process_from_another_with_its_number() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!Identity { started: me.started + 1, ..me }.is_alive());
    }

    #[test]
    fn tells_a_stopped_process_from_one_that_runs() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let it = Identity::of(child.id()).unwrap();
        assert!(!it.is_stopped());
        it.signal(Signal::SIGSTOP).unwrap();
        while !it.is_stopped() {
            std::thread::yield_now();
        }
        assert!(!Identity { started: it.started + 1, ..it }.is_stopped());
        it.signal(Signal::SIGKILL).unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn signals_reach_only_the_process_that_was_meant() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let it = Identity::of(child.id()).unwrap();
        Identity { started: it.started + 1, ..it }.signal(Signal::SIGKILL).unwrap();
        assert!(it.is_alive());
        it.signal(Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        assert!(it.wait_gone(Duration::ZERO));
    }
}
