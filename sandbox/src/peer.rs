//! Who is at the other end of a Unix socket (`SO_PEERCRED`).

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

/// The process that connected, as the kernel recorded it at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its effective user.
    pub uid: u32,
    /// Its process id, for logs only: it may be gone and reused.
    pub pid: i32,
}

/// Why a connection is not to be served.
#[derive(Debug)]
pub enum PeerError {
    /// The socket does not say.
    Unknown(io::Error),
    /// Somebody else than expected.
    Stranger {
        /// Who connected.
        peer: Peer,
        /// The user that may.
        expected: u32,
    },
}

impl std::fmt::Display for PeerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(error) => write!(f, "peer credentials: {error}"),
            Self::Stranger { peer: Peer { uid, pid }, expected } => {
                write!(f, "peer is uid {uid} (pid {pid}), expected uid {expected}")
            }
        }
    }
}

impl std::error::Error for PeerError {}

/// The peer of a connected Unix socket.
///
/// # Errors
///
/// When the socket is not a connected Unix socket.
pub fn of(stream: &impl AsFd) -> io::Result<Peer> {
    let credentials = getsockopt(stream, PeerCredentials)?;
    Ok(Peer { uid: credentials.uid(), pid: credentials.pid() })
}

/// The peer, if it is the expected user.
///
/// # Errors
///
/// [`PeerError::Stranger`] for anybody else, root included.
pub fn expect(stream: &impl AsFd, uid: u32) -> Result<Peer, PeerError> {
    let peer = of(stream).map_err(PeerError::Unknown)?;
    if peer.uid == uid { Ok(peer) } else { Err(PeerError::Stranger { peer, expected: uid }) }
}

/// The user this process acts as, the expected peer where none is configured. To be asked before
/// confine, which leaves no call for it.
#[must_use]
pub fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn knows_the_uid_and_pid_at_the_other_end() {
        let (end, _other) = UnixStream::pair().unwrap();
        let own = Peer { uid: own_uid(), pid: std::process::id().cast_signed() };
        assert_eq!(expect(&end, own_uid()).unwrap(), own);
    }

    #[test]
    fn refuses_another_user() {
        let (end, _other) = UnixStream::pair().unwrap();
        let error = expect(&end, own_uid() + 1).unwrap_err();
        assert!(matches!(error, PeerError::Stranger { expected, .. } if expected == own_uid() + 1));
    }

    #[test]
    fn a_tcp_socket_has_no_uid_to_match() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = expect(&tcp, own_uid()).unwrap_err();
        assert!(matches!(error, PeerError::Stranger { peer: Peer { uid: u32::MAX, .. }, .. }));
    }
}
