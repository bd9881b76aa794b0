//! The order in which power is given away.

use std::fs;
use std::io;

use caps::CapSet;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::filter::{self, FilterError};
use crate::level::{FULL_ABI, Level};
use crate::policy::Policy;
use crate::reach::{self, ReachError};

/// Proof that this process is confined. Only [`confine`] makes one, and `serve` asks for it.
#[derive(Debug)]
#[must_use = "serve takes this as proof"]
pub struct Confined {
    level: Level,
}

impl Confined {
    /// What is really enforced; prints as one line.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }
}

/// Why a process is not confined. It must exit: part of its power may already be gone.
#[derive(Debug)]
pub enum ConfineError {
    /// Landlock and seccomp bind the calling thread and its children, so there must be one only.
    Threads(usize),
    /// The number of threads cannot be told.
    Proc(io::Error),
    /// A resource limit was not accepted.
    Limit(Errno),
    /// The process could not be made undumpable.
    Dumpable(Errno),
    /// A capability could not be dropped.
    Capabilities(caps::errors::CapsError),
    /// `no_new_privs` was not accepted.
    Privileges(Errno),
    /// Landlock is missing, or refused a rule.
    Reach(ReachError),
    /// The policy is strict and the kernel is too old.
    BelowStrict(Level),
    /// seccomp is missing, or the table is wrong.
    Filter(FilterError),
}

impl std::fmt::Display for ConfineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sandbox: ")?;
        match self {
            Self::Threads(count) => write!(f, "{count} threads run already"),
            Self::Proc(error) => write!(f, "/proc/self/task: {error}"),
            Self::Limit(errno) => write!(f, "resource limit: {errno}"),
            Self::Dumpable(errno) => write!(f, "dumpable: {errno}"),
            Self::Capabilities(error) => error.fmt(f),
            Self::Privileges(errno) => write!(f, "no_new_privs: {errno}"),
            Self::Reach(error) => error.fmt(f),
            Self::BelowStrict(level) => {
                write!(f, "strict demands landlock abi {FULL_ABI}, this kernel gives: {level}")
            }
            Self::Filter(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConfineError {}

/// Gives away, for good, all that `policy` does not name.
///
/// Call it on the main thread before any other exists: neither Landlock (before ABI 8) nor a plain
/// seccomp filter reaches back to a running thread. Descriptors already open keep working.
///
/// # Errors
///
/// See [`ConfineError`]; none leaves the process more able than it was, and none is to be survived.
pub fn confine(policy: &Policy) -> Result<Confined, ConfineError> {
    // What a wrong policy makes fail comes first, while nothing is given away yet.
    let programs = filter::compile(policy.rows()).map_err(ConfineError::Filter)?;
    let rules = reach::rules(policy).map_err(ConfineError::Reach)?;
    only_thread()?;
    limit_resources(policy.open_files).map_err(ConfineError::Limit)?;
    prctl::set_dumpable(false).map_err(ConfineError::Dumpable)?;
    drop_capabilities().map_err(ConfineError::Capabilities)?;
    prctl::set_no_new_privs().map_err(ConfineError::Privileges)?;
    let abi = reach::limit(rules).map_err(ConfineError::Reach)?;
    let level = Level::new(abi, policy.makes_sockets());
    if policy.strict && !level.is_full() {
        return Err(ConfineError::BelowStrict(level));
    }
    // Last, because everything above needs calls that no table has.
    filter::install(&programs).map_err(ConfineError::Filter)?;
    Ok(Confined { level })
}

fn only_thread() -> Result<(), ConfineError> {
    match fs::read_dir("/proc/self/task").map_err(ConfineError::Proc)?.count() {
        1 => Ok(()),
        count => Err(ConfineError::Threads(count)),
    }
}

fn limit_resources(open_files: u64) -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let open_files = open_files.min(hard);
    setrlimit(Resource::RLIMIT_NOFILE, open_files, open_files)
}

/// Empties all five sets. The bounding set can only be emptied by who holds `CAP_SETPCAP`; for
/// anyone else `no_new_privs` keeps it from ever being drawn on.
fn drop_capabilities() -> Result<(), caps::errors::CapsError> {
    caps::clear(None, CapSet::Ambient)?;
    if caps::has_cap(None, CapSet::Effective, caps::Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    caps::clear(None, CapSet::Inheritable)?;
    caps::clear(None, CapSet::Effective)?;
    caps::clear(None, CapSet::Permitted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Beneath, Right, Row, allow, value};

    fn policy(calls: &'static [&'static [Row]]) -> Policy {
        Policy {
            process: "test",
            calls,
            beneath: Vec::new(),
            tcp_ports: Vec::new(),
            open_files: 64,
            strict: false,
        }
    }

    // The test harness has a thread of its own, so that nothing here is ever really confined.

    #[test]
    fn refuses_where_another_thread_runs() {
        assert!(matches!(confine(&policy(&[])), Err(ConfineError::Threads(2..))));
    }

    #[test]
    fn refuses_a_directory_that_is_not_there() {
        let path = "/nonexistent/log".into();
        let beneath = vec![Beneath { path, right: Right::Keep, why: "" }];
        let error = confine(&Policy { beneath, ..policy(&[]) }).unwrap_err();
        assert!(matches!(error, ConfineError::Reach(ReachError::Path(_))), "{error}");
    }

    #[test]
    fn refuses_a_table_whose_limit_another_row_lifts() {
        const LIMITED: Row = allow!(SYS_fcntl, [crate::Limit::Is(1, value!(F_GETFD))], "");
        const LIFTED: Row = allow!(SYS_fcntl, "");
        for table in [const { &[&[LIMITED, LIFTED] as &[_]] }, const { &[&[LIFTED, LIMITED]] }] {
            let error = confine(&policy(table)).unwrap_err();
            assert!(
                matches!(error, ConfineError::Filter(FilterError::Ambiguous("fcntl"))),
                "{error}"
            );
        }
    }
}
