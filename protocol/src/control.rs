//! Operator → proxy.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Cap of one frame, in bytes. A hosts file is the largest message.
pub const CAP: usize = 512 * 1024;

/// What an operator may ask of the proxy. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// How the proxy is.
    Status,
    /// Read the configuration again, all or nothing.
    Reload,
    /// Arm the kill switch's `http` source.
    Arm {
        /// Why. At most 200 bytes.
        reason: String,
    },
    /// Clear the kill switch's `http` source.
    Disarm {
        /// Why. At most 200 bytes.
        reason: String,
    },
    /// New contents of the system's resolver files, which the sandbox keeps the proxy from reading.
    Resolver {
        /// `/etc/resolv.conf`.
        resolv_conf: Vec<u8>,
        /// `/etc/hosts`.
        hosts: Vec<u8>,
    },
    /// Take a value for a secret from now on, for as long as the proxy runs.
    SecretAdd {
        /// The TYPE of its placeholders.
        kind: String,
        /// The value.
        value: Hidden,
    },
    /// Which values are registered, but for the values themselves.
    SecretList,
    /// Take them for secrets no more.
    SecretRemove {
        /// Which.
        which: Which,
    },
}

/// Registered values to remove. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    /// All of them.
    All,
    /// That of this number.
    Id(u32),
    /// This one.
    Value(Hidden),
}

/// A value that nobody is shown: wiped on drop, never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Hidden(Vec<u8>);

impl Hidden {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

/// A registered value, as far as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Its number.
    pub id: u32,
    /// The TYPE of its placeholders.
    pub kind: String,
    /// When it was registered, in seconds since 1970.
    pub added: u64,
    /// How many requests held it.
    pub hits: u64,
}

/// What the proxy answers. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The same JSON as `GET /admin/state`.
    Status {
        /// JSON text.
        state: String,
    },
    /// It is done.
    Done {
        /// Kill-switch sources still active, in their fixed order.
        sources_active: Vec<String>,
    },
    /// It was refused, and nothing changed.
    Refused {
        /// Why, naming file, line and key where there are any.
        reason: String,
    },
    /// The value is registered.
    SecretAdded {
        /// Its number.
        id: u32,
        /// Whether it is new: false where it was registered already.
        is_new: bool,
    },
    /// The registered values, the oldest first.
    Secrets {
        /// All of them.
        secrets: Vec<Secret>,
    },
    /// Values are no longer registered.
    SecretsRemoved {
        /// How many.
        count: u32,
    },
}
