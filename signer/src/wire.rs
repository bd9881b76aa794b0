//! One caller's connection: bytes in, whole frames out, replies back, never waiting for anybody.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, recv, send};
use protocol::frame::{self, Decoder, Oversize};

use crate::door::Power;

/// How far a caller has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has yet to say hello.
    Greeting,
    /// It may ask.
    Serving,
}

/// A connection that never blocks the caller of its methods.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) power: Power,
    pub(crate) phase: Phase,
    stream: UnixStream,
    decoder: Decoder,
    unsent: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream, power: Power) -> Self {
        let decoder = Decoder::new(power.cap());
        Self { power, phase: Phase::Greeting, stream, decoder, unsent: Vec::new() }
    }

    /// What to wait for. A caller that does not take its answer is not listened to, so that what is
    /// held for it stays one reply.
    pub(crate) fn interest(&self) -> PollFlags {
        if self.is_flushed() { PollFlags::POLLIN } else { PollFlags::POLLOUT }
    }

    /// Whether everything was sent.
    pub(crate) fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Takes in what has come, up to [`CHUNK`] bytes, so that nobody is served out of turn for long.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] when the caller is gone.
    pub(crate) fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; CHUNK];
        match recv(self.stream.as_raw_fd(), &mut chunk, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                self.decoder.push(&chunk[..length]);
                Ok(())
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The next whole frame.
    ///
    /// # Errors
    ///
    /// [`Oversize`] ends the connection.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Vec<u8>>, Oversize> {
        self.decoder.next_frame()
    }

    /// Sends `body` in a frame, as far as the caller takes it; [`Self::flush`] sends the rest.
    ///
    /// # Errors
    ///
    /// When the caller is gone.
    pub(crate) fn reply(&mut self, body: &[u8]) -> io::Result<()> {
        let framed = frame::frame(body, self.power.cap()).map_err(io::Error::other)?;
        self.unsent.extend_from_slice(&framed);
        self.flush()
    }

    /// Sends what is left, as far as the caller takes it.
    ///
    /// # Errors
    ///
    /// When the caller is gone.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        while !self.unsent.is_empty() {
            match send(self.stream.as_raw_fd(), &self.unsent, flags) {
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

const CHUNK: usize = 16 * 1024;
