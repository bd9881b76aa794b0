//! The two sockets: which power each one is, and who may come in.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;

use protocol::hello::LinkName;
use protocol::{mint, seal};
use sandbox::peer::{self, PeerError};

use crate::wire::Connection;

/// What the callers of one socket can have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Power {
    /// Leaves.
    Mint,
    /// Checkpoints.
    Seal,
}

impl Power {
    pub(crate) fn link(self) -> LinkName {
        match self {
            Self::Mint => LinkName::Mint,
            Self::Seal => LinkName::Seal,
        }
    }

    /// Its place among the doors.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Mint => 0,
            Self::Seal => 1,
        }
    }

    /// Cap of one frame, in bytes.
    pub(crate) fn cap(self) -> usize {
        match self {
            Self::Mint => mint::CAP,
            Self::Seal => seal::CAP,
        }
    }
}

/// A listening socket.
pub(crate) struct Door {
    power: Power,
    listener: UnixListener,
    uid: u32,
    secret: [u8; 32],
}

impl Door {
    /// `uid` is the only user that may connect, `secret` what it must say besides.
    ///
    /// # Errors
    ///
    /// When the listener cannot be made to not block: a caller that is gone before it is accepted
    /// would hold up everybody.
    pub(crate) fn new(
        power: Power,
        listener: UnixListener,
        uid: u32,
        secret: [u8; 32],
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { power, listener, uid, secret })
    }

    pub(crate) fn power(&self) -> Power {
        self.power
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// The next caller, if one waits; or why it was sent away.
    ///
    /// # Errors
    ///
    /// When the system refuses to accept at all.
    pub(crate) fn next(&self) -> io::Result<Option<Result<Connection, PeerError>>> {
        use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
        match self.listener.accept() {
            Ok((stream, _)) => Ok(Some(
                peer::expect(&stream, self.uid).map(|_| Connection::new(stream, self.power)),
            )),
            Err(error) if matches!(error.kind(), WouldBlock | Interrupted | ConnectionAborted) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}
