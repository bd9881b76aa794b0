//! Causes to exit codes, in one place.

use std::process::ExitCode;
use std::{fmt, io};

use sandbox::ConfineError;
use sandbox::inherit::InheritError;

use crate::heads::HeadsError;
use crate::init::InitError;
use crate::keys::KeysError;
use crate::show::ShowError;
use crate::vault::VaultError;

/// Why the program ended.
#[derive(Debug)]
pub(crate) enum Failure {
    Confine(ConfineError),
    Heads(HeadsError),
    Inherit(InheritError),
    Init(InitError),
    Io(io::Error),
    Keys(KeysError),
    Random,
    /// Something could not be saved while serving.
    Serving(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confine(error) => error.fmt(f),
            Self::Heads(error) => error.fmt(f),
            Self::Inherit(error) => error.fmt(f),
            Self::Init(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Keys(error) => error.fmt(f),
            Self::Random => f.write_str("the system gave no random bytes"),
            Self::Serving(error) => write!(f, "could not save or accept, start it anew: {error}"),
        }
    }
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Confine(_) | Self::Random => SYSTEM,
            Self::Heads(error) => heads(error),
            Self::Inherit(_) => USAGE,
            Self::Init(error) => init(error),
            Self::Io(_) | Self::Serving(_) => CANNOT_SAVE,
            Self::Keys(error) => keys(error),
        }
        .into()
    }
}

fn init(error: &InitError) -> u8 {
    match error {
        InitError::Hosts(_) | InitError::OtherOrigin { .. } => CONFIGURATION,
        InitError::Half { .. } | InitError::Foreign(_) => DATA,
        InitError::Keys(error) => keys(error),
        InitError::Heads(error) => heads(error),
        InitError::Public(..) => CANNOT_CREATE,
    }
}

fn keys(error: &KeysError) -> u8 {
    match error {
        KeysError::Vault(error) => vault(error),
        KeysError::Random => SYSTEM,
        KeysError::Authority(_) | KeysError::NotAKey(_) | KeysError::Origin => DATA,
    }
}

fn heads(error: &HeadsError) -> u8 {
    match error {
        HeadsError::Vault(error) => vault(error),
        HeadsError::Unknown(_) => DATA,
    }
}

fn vault(error: &VaultError) -> u8 {
    match error {
        VaultError::Io(_, error) if error.kind() == io::ErrorKind::NotFound => MISSING,
        VaultError::Io(_, error) if error.kind() == io::ErrorKind::PermissionDenied => FORBIDDEN,
        VaultError::Io(..) => CANNOT_SAVE,
        VaultError::Busy(_) => UNAVAILABLE,
        VaultError::Owner { .. } | VaultError::Mode { .. } => FORBIDDEN,
        VaultError::NotAKeyFile(_) => DATA,
    }
}

impl From<ConfineError> for Failure {
    fn from(error: ConfineError) -> Self {
        Self::Confine(error)
    }
}

impl From<HeadsError> for Failure {
    fn from(error: HeadsError) -> Self {
        Self::Heads(error)
    }
}

impl From<InheritError> for Failure {
    fn from(error: InheritError) -> Self {
        Self::Inherit(error)
    }
}

impl From<InitError> for Failure {
    fn from(error: InitError) -> Self {
        Self::Init(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Self {
        Self::Keys(error)
    }
}

impl From<ShowError> for Failure {
    fn from(error: ShowError) -> Self {
        match error {
            ShowError::Keys(error) => Self::Keys(error),
            ShowError::Heads(error) => Self::Heads(error),
        }
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        Self::Keys(KeysError::Vault(error))
    }
}

/// `EX_USAGE`: the command line, or what was handed over with it.
pub(crate) const USAGE: u8 = 64;

/// `EX_DATAERR`: state that is not to be relied on.
const DATA: u8 = 65;

/// `EX_NOINPUT`: state that is not there.
const MISSING: u8 = 66;

/// `EX_UNAVAILABLE`: another signer runs.
const UNAVAILABLE: u8 = 69;

/// `EX_OSERR`: the kernel gives no sandbox or no random bytes.
const SYSTEM: u8 = 71;

/// `EX_CANTCREAT`: a public file cannot be written.
const CANNOT_CREATE: u8 = 73;

/// `EX_IOERR`: something could not be read or saved.
const CANNOT_SAVE: u8 = 74;

/// `EX_NOPERM`: owner or mode are not right.
const FORBIDDEN: u8 = 77;

/// `EX_CONFIG`: the operator's files are at fault.
const CONFIGURATION: u8 = 78;
