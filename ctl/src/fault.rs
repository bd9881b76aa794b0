//! Why a command could not do its work: whose fault, what happened, and what to do about it.

use std::fmt::Display;
use std::io;
use std::path::Path;

/// Exit code of a command that did what it was asked.
pub(crate) const DONE: u8 = 0;
/// Exit code of a command whose answer is no: degraded, refused, a check failed.
pub(crate) const NO: u8 = 1;
/// Exit code of `status` and all commands that need a running instance, where there is none.
pub(crate) const NOT_RUNNING: u8 = 3;

/// Whose fault it is; each kind has one exit code (sysexits.h where it has a fitting one).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The command line asks for something that makes no sense.
    Usage,
    /// The answer is no.
    Refused,
    /// Nothing runs in this home.
    NotRunning,
    /// A daemon did not start or does not answer, or a port is taken.
    Unavailable,
    /// A file or folder cannot be made.
    CannotCreate,
    /// Reading or writing failed.
    Io,
    /// The operating system forbids it.
    NoPermission,
    /// A configuration file is not valid.
    Config,
    /// A defect of this program or its installation.
    Ours,
}

impl Kind {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Refused => NO,
            Self::Usage => 2,
            Self::NotRunning => NOT_RUNNING,
            Self::Unavailable => 69,
            Self::Ours => 70,
            Self::CannotCreate => 73,
            Self::Io => 74,
            Self::NoPermission => 77,
            Self::Config => 78,
        }
    }
}

/// Why a command could not do its work. It cannot be made without saying what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) what: String,
    pub(crate) advice: String,
}

impl Fault {
    pub(crate) fn new(kind: Kind, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { kind, what: what.into(), advice: advice.into() }
    }

    /// A file operation failed: `verb` as in "cannot read".
    pub(crate) fn file(verb: &str, path: &Path, error: &io::Error) -> Self {
        let what = format!("cannot {verb} {}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Self::new(Kind::NoPermission, what, "check who owns it, or use another --home")
            }
            io::ErrorKind::StorageFull => {
                Self::new(Kind::Io, what, "free some space on that disk and try again")
            }
            _ => Self::new(Kind::Io, what, "check that path, or use another --home"),
        }
    }

    /// The same, with other advice.
    pub(crate) fn with_advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// The operating system did not do something that has no path.
    pub(crate) fn system(verb: &str, error: impl Display) -> Self {
        Self::new(
            Kind::Io,
            format!("cannot {verb}: {error}"),
            "check the system's limits (ulimit -a) and try again",
        )
    }
}
