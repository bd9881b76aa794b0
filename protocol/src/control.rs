//! Operator → proxy.

use serde::{Deserialize, Serialize};

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
}

/// What the proxy answers.
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
}
