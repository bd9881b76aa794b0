//! Why the daemon cannot start or go on, and what it tells its supervisor.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::arguments::Unconfigured;

/// Why the daemon ends before it is told to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is wrong.
    Unconfigured(Unconfigured),
    /// What the supervisor should have handed over is missing or wrong.
    Inheritance(String),
    /// Another auditd writes this log.
    Locked,
    /// The log directory cannot be used.
    Storage {
        /// While doing what.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The signer does not answer.
    SignerAway(String),
    /// The log holds fewer lines than the signer has signed.
    BehindSigner {
        /// Lines in the log.
        log: u64,
        /// Lines the signer has signed.
        signer: u64,
    },
    /// The log is not the one the signer has signed.
    Fork(String),
    /// The log is damaged in a way no crash of its writer leaves behind.
    Damaged(String),
    /// The sandbox cannot be had.
    Unconfined(String),
    /// A write, flush or read-back failed; what reached the disk is unknown until a restart has
    /// read it.
    Poisoned,
    /// A thread could not be started or has died.
    Threads(&'static str),
}

impl Failure {
    /// For `map_err`: an I/O error while `doing` something.
    pub(crate) fn storage(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Storage { doing, error }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unconfigured(error) => error.fmt(f),
            Self::Inheritance(what) | Self::Unconfined(what) => f.write_str(what),
            Self::Locked => {
                f.write_str("another auditd holds this log [E_LOCKED]: stop that one first")
            }
            Self::Storage { doing, error } => write!(f, "{doing}: {error}: {}", advice(error)),
            Self::SignerAway(why) => {
                write!(f, "the signer does not answer: {why}: its own messages say why")
            }
            Self::BehindSigner { log, signer } => write!(
                f,
                "the log holds {log} valid lines, the signer has signed {signer} \
                 [E_BEHIND_SIGNER]: {LOST}"
            ),
            Self::Fork(what) => write!(f, "{what} [E_FORK]: {LOST}"),
            Self::Damaged(what) => write!(f, "the log is damaged: {what}: {LOST}"),
            Self::Poisoned => f.write_str(
                "a write, flush or read-back failed: start again, which reads the log anew; if it \
                 fails again, look at the disk",
            ),
            Self::Threads(what) => {
                write!(f, "thread failed: {what}: start again; look at the limits on processes")
            }
        }
    }
}

impl std::error::Error for Failure {}

/// What to do where signed lines are gone or others stand in their place.
const LOST: &str = "bring the log back from a backup; where there is none, keep log and signer \
                    state aside as evidence and begin anew with fresh ones";

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space for the log's disk"
        }
        io::ErrorKind::PermissionDenied => "all of the log's folder must belong to auditd's user",
        io::ErrorKind::ReadOnlyFilesystem => "make the log's disk writable",
        io::ErrorKind::Unsupported => "give --log a folder on a local disk",
        _ => "look at the log's folder and its disk",
    }
}

/// `sysexits.h`, but 2 for a lock that another process holds.
impl From<&Failure> for ExitCode {
    fn from(failure: &Failure) -> Self {
        Self::from(match failure {
            Failure::Locked => 2,
            Failure::BehindSigner { .. } | Failure::Fork(_) | Failure::Damaged(_) => 65,
            Failure::SignerAway(_) => 69,
            Failure::Threads(_) | Failure::Unconfined(_) => 71,
            Failure::Poisoned | Failure::Storage { .. } => 74,
            Failure::Inheritance(_) | Failure::Unconfigured(_) => 78,
        })
    }
}
