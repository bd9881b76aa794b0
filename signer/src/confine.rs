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
    allow!(SYS_poll, "wait for a caller on both sockets"),
    allow!(SYS_ppoll, "wait for a caller on both sockets"),
    allow!(SYS_recvfrom, "read a request"),
    allow!(
        SYS_sendto,
        [Null(4)],
        "send a reply, or tell the supervisor; to the connected end only"
    ),
    allow!(SYS_shutdown, "end a connection that is refused"),
    allow!(
        SYS_getsockopt,
        [Is(1, value!(SOL_SOCKET)), Is(2, value!(SO_PEERCRED))],
        "who is calling"
    ),
    allow!(
        SYS_setsockopt,
        [Is(1, value!(SOL_SOCKET)), Is(2, value!(SO_RCVTIMEO))],
        "a caller that falls silent is given up"
    ),
    allow!(
        SYS_setsockopt,
        [Is(1, value!(SOL_SOCKET)), Is(2, value!(SO_SNDTIMEO))],
        "a caller that does not read is given up"
    ),
    allow!(SYS_ioctl, [Is(1, value!(FIONBIO))], "switch a connection between waiting and not"),
    allow!(SYS_fcntl, [Is(1, value!(F_DUPFD_CLOEXEC))], "a second handle on the same connection"),
];

const STATE: &[Row] = &[
    allow!(SYS_pread64, "read a slot of the high-water state"),
    allow!(SYS_pwrite64, "write a slot of the high-water state, a line of the issue log"),
    allow!(SYS_lseek, "go to a slot, or to the end of a log"),
    allow!(SYS_ftruncate, "shorten a slot to what was written"),
    allow!(SYS_fdatasync, "state is durable before it is acted upon"),
    allow!(SYS_fsync, "state is durable before it is acted upon"),
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
