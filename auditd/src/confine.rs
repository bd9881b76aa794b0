//! What auditd keeps: the log directory, its two listeners, and the way to the signer.

use std::path::{Path, PathBuf};

use sandbox::Limit::{Is, Masked, Null};
use sandbox::{Beneath, ConfineError, Confined, Limit, Policy, Right, Row, Value, allow, value};

/// Descriptors at once: connections on two sockets, and the log's files.
const OPEN_FILES: u64 = 512;

/// The part of a socket type that is not a flag (`SOCK_TYPE_MASK` in `linux/net.h`).
const SOCK_TYPE: Value = Value { name: "SOCK_TYPE_MASK", bits: 0xf };

/// What auditd is told to reach.
#[derive(Debug, Clone, Copy)]
pub struct Reach<'a> {
    /// The log directory, which it alone writes.
    pub log: &'a Path,
    /// The signer's socket, reconnected to after a restart of the signer.
    pub seal: &'a Path,
}

const LINKS: &[Row] = &[
    allow!(SYS_accept4, "a caller on append or audit control"),
    allow!(SYS_recvfrom, "read a request, or the signer's reply"),
    allow!(
        SYS_sendto,
        [Null(4)],
        "send a reply, or tell the supervisor; to the connected end only"
    ),
    allow!(SYS_shutdown, "end a connection, and wake the thread that reads it"),
    allow!(SYS_socket, [UNIX, STREAM, Is(2, value!(0))], "connect to the signer again"),
    allow!(SYS_connect, "connect to the signer again"),
    allow!(
        SYS_getsockopt,
        [Is(1, value!(SOL_SOCKET)), Is(2, value!(SO_PEERCRED))],
        "who is calling"
    ),
    allow!(
        SYS_setsockopt,
        [Is(1, value!(SOL_SOCKET)), Is(2, value!(SO_RCVTIMEO))],
        "a peer that falls silent is given up"
    ),
    allow!(
        SYS_setsockopt,
        [Is(1, value!(SOL_SOCKET)), Is(2, value!(SO_SNDTIMEO))],
        "a peer that does not read is given up"
    ),
    allow!(SYS_fcntl, [Is(1, value!(F_DUPFD_CLOEXEC))], "a second handle on the same connection"),
];

const UNIX: Limit = Is(0, value!(AF_UNIX));
const STREAM: Limit = Masked(1, SOCK_TYPE, value!(SOCK_STREAM));

const LOG: &[Row] = &[
    allow!(SYS_openat, "create a head or a policy file; Landlock limits where"),
    allow!(SYS_pread64, "lines are read back before they are signed"),
    allow!(SYS_ftruncate, "give the disk reserve back; the log is never cut"),
    allow!(SYS_fallocate, "claim the disk reserve again"),
    allow!(SYS_fstatfs, "how full the disk is"),
    allow!(SYS_fdatasync, "a line is durable before it is acknowledged"),
    allow!(SYS_fsync, "a new name in a directory is durable"),
    #[cfg(target_arch = "x86_64")]
    allow!(SYS_rename, "put a complete file in the place of the old one"),
    #[cfg(not(target_arch = "x86_64"))]
    allow!(SYS_renameat, "put a complete file in the place of the old one"),
    #[cfg(target_arch = "x86_64")]
    allow!(SYS_unlink, "remove an unfinished file"),
    #[cfg(not(target_arch = "x86_64"))]
    allow!(SYS_unlinkat, "remove an unfinished file"),
];

/// Auditd's policy.
#[must_use]
pub fn policy(reach: &Reach<'_>, strict: bool) -> Policy {
    let run = reach.seal.parent().filter(|run| !run.as_os_str().is_empty());
    Policy {
        process: "waterwall-auditd",
        calls: &[sandbox::runtime::PROGRAM, sandbox::runtime::THREADS, LINKS, LOG],
        beneath: vec![
            Beneath { path: reach.log.to_owned(), right: Right::Keep, why: "the log" },
            Beneath {
                path: run.map_or_else(|| PathBuf::from("."), Path::to_owned),
                right: Right::Connect,
                why: "the signer's socket",
            },
        ],
        tcp_ports: Vec::new(),
        open_files: OPEN_FILES,
        strict,
    }
}

/// Gives away everything else. To be called on the main thread before any other exists, with the
/// listeners taken and the log locked.
///
/// # Errors
///
/// As [`sandbox::confine`].
pub fn confine(reach: &Reach<'_>, strict: bool) -> Result<Confined, ConfineError> {
    sandbox::confine(&policy(reach, strict))
}
