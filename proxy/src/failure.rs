//! Why the process cannot start, and the exit code that says whose fault it is (`sysexits.h`).

use std::fmt;
use std::io;
use std::process::ExitCode;

use sandbox::ConfineError;
use sandbox::inherit::InheritError;

/// `EX_USAGE`: the command line is wrong.
pub(crate) const USAGE: u8 = 64;

/// `EX_DATAERR`: what was handed in is not fit to leave.
pub(crate) const DATAERR: u8 = 65;

/// `EX_NOINPUT`: a file that was named cannot be read.
pub(crate) const NOINPUT: u8 = 66;

/// `EX_IOERR`: standard input or output failed.
pub(crate) const IOERR: u8 = 74;

/// `EX_TEMPFAIL`: start me again.
pub(crate) const AGAIN: u8 = 75;

/// `EX_OSERR`: the system did not do what it must.
const OSERR: u8 = 71;

/// `EX_CONFIG`: whoever started us set something up wrongly.
pub(crate) const CONFIG: u8 = 78;

/// Why the process cannot start.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The sockets or secrets handed over are not what they should be.
    Inherit(InheritError),
    /// A file needed at the start cannot be read, or is not what it should be.
    File(String, io::Error),
    /// The system or a library failed.
    System(&'static str, io::Error),
    /// The sandbox could not be entered.
    Confine(ConfineError),
}

impl Failure {
    /// The exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Inherit(_) | Self::File(..) => CONFIG,
            Self::System(..) | Self::Confine(_) => OSERR,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inherit(error) => error.fmt(f),
            Self::File(path, error) => write!(f, "{path}: {error}"),
            Self::System(what, error) => write!(f, "{what}: {error}"),
            Self::Confine(error) => error.fmt(f),
        }
    }
}

impl From<InheritError> for Failure {
    fn from(error: InheritError) -> Self {
        Self::Inherit(error)
    }
}

impl From<ConfineError> for Failure {
    fn from(error: ConfineError) -> Self {
        Self::Confine(error)
    }
}
