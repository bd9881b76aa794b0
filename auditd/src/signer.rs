//! The seal link's calling end: connects by itself, and never waits for longer than a bound.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use protocol::hello::LinkName;
use protocol::link::{Link, LinkError};
use protocol::seal::{self, Reply, Request};
use sandbox::peer::{self, PeerError};

/// A call's bound: several flushes of the signer's state on a slow disk.
const CALL: Duration = Duration::from_secs(2);

/// First and longest pause between two attempts to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// Where the signer answers, and who it must be.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// Its socket.
    pub(crate) path: PathBuf,
    /// The link's secret.
    pub(crate) secret: [u8; 32],
    /// The user it runs as.
    pub(crate) uid: u32,
}

/// Why there is no answer. The connection is gone; a later call makes a new one.
#[derive(Debug)]
pub(crate) enum Away {
    /// The next attempt is not due.
    Pausing,
    /// Another user listens at the signer's path.
    WrongUser(PeerError),
    /// The link failed.
    Link(LinkError),
}

impl std::fmt::Display for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pausing => f.write_str("waiting to connect again"),
            Self::WrongUser(error) => error.fmt(f),
            Self::Link(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Away {}

impl From<LinkError> for Away {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// The signer, as far as auditd can ask it.
#[derive(Debug)]
pub(crate) struct Signer {
    address: Address,
    link: Option<Link<UnixStream, Request, Reply>>,
    not_before: Option<Instant>,
    pause: Duration,
}

impl Signer {
    /// A signer that the first call connects to.
    pub(crate) fn new(address: Address) -> Self {
        Self { address, link: None, not_before: None, pause: PAUSE.0 }
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    ///
    /// [`Away`]. Whether the signer acted on a call whose answer is lost cannot be known here; it
    /// shows as a conflict at the next one.
    pub(crate) fn call(&mut self, request: &Request) -> Result<Reply, Away> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.connect()?,
        };
        let reply = link.call(request)?;
        self.link = Some(link);
        Ok(reply)
    }

    fn connect(&mut self) -> Result<Link<UnixStream, Request, Reply>, Away> {
        if self.not_before.is_some_and(|due| Instant::now() < due) {
            return Err(Away::Pausing);
        }
        // Counted from the attempt, so that also a signer that accepts and hangs is not hammered.
        self.not_before = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSE.1);
        let stream = dial(&self.address.path, CALL).map_err(LinkError::Io)?;
        peer::expect_listener(&stream, self.address.uid).map_err(Away::WrongUser)?;
        let link = Link::connect(stream, LinkName::Seal, &self.address.secret, seal::CAP)?;
        self.not_before = None;
        self.pause = PAUSE.0;
        Ok(link)
    }
}

/// Connects, with `patience` for that and for each read and write after it. A listener whose queue
/// is full would otherwise be waited for without end.
fn dial(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let stream = UnixStream::from(socket(AddressFamily::Unix, SockType::Stream, flags, None)?);
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    connect(stream.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use nix::sys::socket::{Backlog, listen};

    use super::*;

    #[test]
    fn gives_up_on_a_listener_whose_queue_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.sock");
        let listener = UnixListener::bind(&path).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let patience = Duration::from_millis(20);
        let waiting = dial(&path, patience).unwrap();
        assert_eq!(dial(&path, patience).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(listener.accept().unwrap());
        dial(&path, patience).unwrap();
        drop(waiting);
    }
}
