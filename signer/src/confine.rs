//! What the signer keeps: its two listeners, its open key and state files, nothing else.
//!
//! It opens no file and makes no socket after this, not even a Unix one.

use sandbox::Limit::{Is, Null};
use sandbox::{ConfineError, Confined, Policy, Row, allow, value};

/// Descriptors at once: a few connections on two sockets, and the state files.
const OPEN_FILES: u64 = 256;

const LINKS: &[Row] = &[
    allow!(SYS_accept4, "a caller on mint or seal"),
    #[cfg(target_arch = "x86_64")]
    allow!(SYS_poll, "wait for callers and for the signal to stop"),
    #[cfg(not(target_arch = "x86_64"))]
    allow!(SYS_ppoll, "wait for callers and for the signal to stop"),
    allow!(SYS_recvfrom, "read a request"),
    allow!(SYS_sendto, [Null(4)], "reply, or tell the supervisor; never to an address"),
    allow!(
        SYS_getsockopt,
        [Is(1, value!(SOL_SOCKET)), Is(2, value!(SO_PEERCRED))],
        "who is calling"
    ),
];

const STATE: &[Row] = &[
    allow!(SYS_pwrite64, "write a slot of the high-water state"),
    allow!(SYS_fdatasync, "what is signed is on the disk before anybody has it"),
];

/// The signer's policy.
#[must_use]
pub fn policy(strict: bool) -> Policy {
    Policy {
        process: "waterwall-signer",
        calls: &[sandbox::runtime::PROGRAM, LINKS, STATE],
        beneath: Vec::new(),
        tcp_ports: Vec::new(),
        open_files: OPEN_FILES,
        strict,
    }
}

/// Gives away everything else. To be called with the listeners taken, the state files open, and
/// one random number drawn.
///
/// # Errors
///
/// As [`sandbox::confine`].
pub fn confine(strict: bool) -> Result<Confined, ConfineError> {
    sandbox::confine(&policy(strict))
}
