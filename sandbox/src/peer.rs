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

/// The listener that a connected socket was accepted from, if it is the expected user's or root's.
///
/// At this end the kernel names who called `listen(2)`, not who accepts (`unix(7)`, `SO_PEERCRED`).
/// A socket unit is listened to by systemd, which is root, before the daemon exists; so refusing
/// root would refuse every installed unit, and it would keep nobody out: root can become any user.
///
/// # Errors
///
/// [`PeerError::Stranger`] for anybody else.
pub fn expect_listener(stream: &impl AsFd, uid: u32) -> Result<Peer, PeerError> {
    let peer = of(stream).map_err(PeerError::Unknown)?;
    if may_listen(peer.uid, uid) {
        Ok(peer)
    } else {
        Err(PeerError::Stranger { peer, expected: uid })
    }
}

fn may_listen(listener: u32, expected: u32) -> bool {
    listener == expected || nix::unistd::Uid::from_raw(listener).is_root()
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
    fn a_listener_may_be_the_daemons_or_the_one_systemd_made_for_it() {
        let daemon = 990;
        assert!(may_listen(daemon, daemon));
        assert!(may_listen(0, daemon));
        assert!(!may_listen(1000, daemon));
        assert!(!may_listen(1000, 0));
    }

    #[test]
    fn names_who_listens_and_not_who_accepts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mint");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let stream = UnixStream::connect(&path).unwrap();
        let own = Peer { uid: own_uid(), pid: std::process::id().cast_signed() };
        assert_eq!(expect_listener(&stream, own_uid()).unwrap(), own);
        let foreign = expect_listener(&stream, own_uid() + 1);
        assert_eq!(foreign.is_ok(), own_uid() == 0);
    }

    #[test]
    fn a_tcp_socket_has_no_uid_to_match() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = expect(&tcp, own_uid()).unwrap_err();
        assert!(matches!(error, PeerError::Stranger { peer: Peer { uid: u32::MAX, .. }, .. }));
    }
}
