//! What the proxy keeps: the network, its configuration read-only, its three Unix sockets.
//!
//! It writes no file and starts no process. UDP is needed for DNS and not confined to a port:
//! Landlock rules TCP only.

use std::path::Path;

use sandbox::Limit::{Is, Lacks, Masked};
use sandbox::{Beneath, ConfineError, Confined, Limit, Policy, Right, Row, Value, allow, value};

/// Descriptors at once: two per request in flight, and idle upstream connections.
const OPEN_FILES: u64 = 65_536;

/// The part of a socket type that is not a flag (`SOCK_TYPE_MASK` in `linux/net.h`).
const SOCK_TYPE: Value = Value { name: "SOCK_TYPE_MASK", bits: 0xf };

/// What the proxy is told to reach.
#[derive(Debug, Clone, Copy)]
pub struct Reach<'a> {
    /// Configuration, read again on reload.
    pub config_dir: &'a Path,
    /// Where the signer's and auditd's sockets and the kill sentinel are.
    pub run_dir: &'a Path,
    /// The TCP ports upstreams and name servers listen on.
    pub tcp_ports: &'a [u16],
}

const EVENTS: &[Row] = &[
    allow!(SYS_epoll_create1, "the event loop starts after confine"),
    allow!(SYS_epoll_ctl, "watch a connection"),
    #[cfg(target_arch = "x86_64")]
    allow!(SYS_epoll_wait, "wait for connections"),
    #[cfg(not(target_arch = "x86_64"))]
    allow!(SYS_epoll_pwait, "wait for connections"),
    allow!(SYS_eventfd2, "wake the event loop"),
    allow!(SYS_socketpair, [UNIX], "wake the event loop from a signal handler"),
    allow!(SYS_fcntl, [Is(1, value!(F_DUPFD_CLOEXEC))], "a second handle on the signal pipe"),
    allow!(
        SYS_fcntl,
        [Is(1, value!(F_GETFL))],
        "builds with debug assertions check that a listener does not wait"
    ),
];

const UNIX: Limit = Is(0, value!(AF_UNIX));
const INET: Limit = Is(0, value!(AF_INET));
const INET6: Limit = Is(0, value!(AF_INET6));
const STREAM: Limit = Masked(1, SOCK_TYPE, value!(SOCK_STREAM));
const DATAGRAM: Limit = Masked(1, SOCK_TYPE, value!(SOCK_DGRAM));
/// No protocol named: the family's own, so neither MPTCP nor SCTP.
const DEFAULT: Limit = Is(2, value!(0));

const NETWORK: &[Row] = &[
    allow!(SYS_accept4, "an agent, or the operator"),
    allow!(SYS_socket, [INET, STREAM, DEFAULT], "connect to an upstream"),
    allow!(SYS_socket, [INET6, STREAM, DEFAULT], "connect to an upstream"),
    allow!(SYS_socket, [INET, DATAGRAM, DEFAULT], "ask a name server"),
    allow!(SYS_socket, [INET6, DATAGRAM, DEFAULT], "ask a name server"),
    allow!(SYS_socket, [UNIX, STREAM, DEFAULT], "connect to the signer and auditd"),
    allow!(SYS_bind, "a random source port for a name server; Landlock lets no TCP port be bound"),
    allow!(SYS_connect, "connect; Landlock limits the TCP ports"),
    allow!(SYS_shutdown, "say that nothing more follows"),
    allow!(SYS_recvfrom, "read from a socket"),
    allow!(
        SYS_sendto,
        [Lacks(3, value!(MSG_FASTOPEN))],
        "write to a socket; TCP Fast Open would connect past Landlock"
    ),
    allow!(SYS_writev, "write a head and a body in one call"),
    allow!(
        SYS_getsockopt,
        [Is(1, value!(SOL_SOCKET)), Is(2, value!(SO_ERROR))],
        "how connect ended"
    ),
    allow!(
        SYS_getsockopt,
        [Is(1, value!(SOL_SOCKET)), Is(2, value!(SO_PEERCRED))],
        "who is on the control socket"
    ),
    allow!(
        SYS_setsockopt,
        [Is(1, value!(IPPROTO_TCP)), Is(2, value!(TCP_NODELAY))],
        "a streamed event leaves at once"
    ),
    allow!(
        SYS_setsockopt,
        [Is(1, value!(SOL_SOCKET)), Is(2, value!(SO_KEEPALIVE))],
        "an upstream that is gone is noticed while a model thinks"
    ),
    allow!(
        SYS_setsockopt,
        [Is(1, value!(IPPROTO_TCP)), Is(2, value!(TCP_KEEPIDLE))],
        "before routers on the way forget the connection"
    ),
    allow!(
        SYS_setsockopt,
        [Is(1, value!(IPPROTO_TCP)), Is(2, value!(TCP_KEEPINTVL))],
        "and again, if there is no answer"
    ),
    allow!(
        SYS_setsockopt,
        [Is(1, value!(IPPROTO_TCP)), Is(2, value!(TCP_KEEPCNT))],
        "and for how long"
    ),
];

const CONFIGURATION: &[Row] = &[
    allow!(
        SYS_openat,
        [Masked(2, value!(O_ACCMODE), value!(O_RDONLY)), Lacks(2, value!(O_CREAT | O_TRUNC))],
        "read the configuration again; Landlock limits where"
    ),
    allow!(SYS_statx, "is the kill sentinel there; did a configuration file change"),
    allow!(SYS_lseek, "how long a configuration file is"),
    allow!(SYS_mlock, "plaintext is never swapped out"),
    allow!(SYS_munlock, "the plaintext store ends"),
];

/// The proxy's policy.
#[must_use]
pub fn policy(reach: &Reach<'_>, strict: bool) -> Policy {
    Policy {
        process: "waterwall-proxy",
        calls: &[
            sandbox::runtime::PROGRAM,
            sandbox::runtime::THREADS,
            EVENTS,
            NETWORK,
            CONFIGURATION,
        ],
        beneath: vec![
            Beneath { path: reach.config_dir.to_owned(), right: Right::Read, why: "configuration" },
            Beneath {
                path: reach.run_dir.to_owned(),
                right: Right::Connect,
                why: "the sockets of the signer and auditd",
            },
        ],
        tcp_ports: reach.tcp_ports.to_vec(),
        open_files: OPEN_FILES,
        strict,
    }
}

/// Gives away everything else. To be called on the main thread before the async runtime exists,
/// with the listeners taken, trust roots and resolver configuration read, and one random number
/// drawn from the TLS library.
///
/// # Errors
///
/// As [`sandbox::confine`].
pub fn confine(reach: &Reach<'_>, strict: bool) -> Result<Confined, ConfineError> {
    sandbox::confine(&policy(reach, strict))
}
