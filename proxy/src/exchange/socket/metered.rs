//! A stream whose reader takes room for the message it gathers.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::memory::{Held, Memory, Overloaded};

/// What a message may gather beside the room that bodies share, in bytes.
const ALLOWANCE: usize = 64 * 1024;

/// How long a message may take that holds room.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why reading was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// No room came free in time.
    Overloaded,
    /// The message took too long.
    Slow,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overloaded => "no room for a message",
            Self::Slow => "a message took too long",
        })
    }
}

impl std::error::Error for Stopped {}

impl Stopped {
    /// It, if this is what an error of a [`Metered`] stream says.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

/// What was gathered since the last whole message, and the room for it.
#[derive(Debug, Clone)]
pub(super) struct Meter(Arc<Mutex<Gathered>>);

#[derive(Debug)]
struct Gathered {
    memory: Memory,
    bytes: usize,
    held: Option<Held>,
    room: usize,
    /// What the largest message comes to.
    most: usize,
}

impl Meter {
    /// Nothing gathered yet, of messages of `most` bytes.
    pub(super) fn new(memory: Memory, most: usize) -> Self {
        let gathered = Gathered { memory, bytes: 0, held: None, room: ALLOWANCE, most };
        Self(Arc::new(Mutex::new(gathered)))
    }

    /// A message is whole: the room it takes, if any was taken for it.
    pub(super) fn taken(&self) -> Option<Held> {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.bytes = 0;
        gathered.room = ALLOWANCE;
        gathered.held.take()
    }

    /// A control frame of `bytes` came in between: it is part of no message.
    pub(super) fn passed(&self, bytes: usize) {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.bytes = gathered.bytes.saturating_sub(bytes);
    }
}

type Growing = Pin<Box<dyn Future<Output = Result<(Held, usize), Overloaded>> + Send>>;

/// A stream that takes room as its reader gathers bytes.
pub(super) struct Metered<S> {
    stream: S,
    meter: Meter,
    growing: Option<Growing>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Metered<S> {
    /// `stream`, on `meter`.
    pub(super) fn new(stream: S, meter: Meter) -> Self {
        Self { stream, meter, growing: None, deadline: None }
    }

    /// Waits for room where what was gathered has used up its own.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let meter = self.meter.clone();
        loop {
            if let Some(growing) = &mut self.growing {
                let grown = ready!(growing.as_mut().poll(cx));
                self.growing = None;
                let (held, room) = grown.map_err(|_| io::Error::other(Stopped::Overloaded))?;
                let mut gathered = meter.0.lock().unwrap_or_else(PoisonError::into_inner);
                (gathered.held, gathered.room) = (Some(held), room);
            }
            let mut gathered = meter.0.lock().unwrap_or_else(PoisonError::into_inner);
            if gathered.bytes < gathered.room || gathered.room >= gathered.most {
                if gathered.held.is_none() {
                    self.deadline = None;
                }
                break;
            }
            let room = gathered.room.saturating_mul(2).min(gathered.most);
            let mut held = gathered.held.take().unwrap_or_else(|| gathered.memory.hold());
            drop(gathered);
            if self.deadline.is_none() {
                self.deadline = Some(Box::pin(tokio::time::sleep(PATIENCE)));
            }
            self.growing =
                Some(Box::pin(async move { held.reach(room).await.map(|()| (held, room)) }));
        }
        let deadline = self.deadline.as_mut();
        if deadline.is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Err(io::Error::other(Stopped::Slow)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_room(cx))?;
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        let mut gathered = self.meter.0.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.bytes = gathered.bytes.saturating_add(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// Reads `length` bytes, a piece at a time.
    async fn gather(stream: &mut (impl AsyncRead + Unpin), length: usize) -> io::Result<()> {
        let mut piece = vec![0; 16 * 1024];
        for _ in 0..length / piece.len() {
            stream.read_exact(&mut piece).await?;
        }
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_takes_room_as_it_grows_and_gives_it_back() {
        let memory = Memory::new(1, Duration::from_secs(30));
        let meter = Meter::new(memory.clone(), MIB);
        let (mut peer, ours) = tokio::io::duplex(4 * MIB);
        let mut stream = Metered::new(ours, meter.clone());
        peer.write_all(&vec![7; 768 * 1024]).await.unwrap();
        gather(&mut stream, 768 * 1024).await.unwrap();
        assert_eq!(memory.hold().reach(512 * 1024).await, Err(Overloaded));
        let held = meter.taken();
        assert!(held.is_some());
        drop(held);
        assert_eq!(memory.hold().reach(MIB).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_finds_no_room_is_given_up() {
        let memory = Memory::new(1, Duration::from_secs(30));
        let (mut peer, ours) = tokio::io::duplex(4 * MIB);
        let mut stream = Metered::new(ours, Meter::new(memory, 4 * MIB));
        peer.write_all(&vec![7; 2 * MIB]).await.unwrap();
        let error = gather(&mut stream, 2 * MIB).await.unwrap_err();
        assert_eq!(Stopped::of(&error), Some(Stopped::Overloaded));
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_message_takes_none_and_may_wait_for_ever_a_large_one_may_not() {
        let memory = Memory::new(1, Duration::from_secs(30));
        let meter = Meter::new(memory, MIB);
        let (mut peer, ours) = tokio::io::duplex(4 * MIB);
        let mut stream = Metered::new(ours, meter.clone());
        peer.write_all(b"small").await.unwrap();
        stream.read_exact(&mut [0; 5]).await.unwrap();
        assert!(meter.taken().is_none());
        peer.write_all(&vec![7; 128 * 1024]).await.unwrap();
        gather(&mut stream, 128 * 1024).await.unwrap();
        let error = stream.read_exact(&mut [0]).await.unwrap_err();
        assert_eq!(Stopped::of(&error), Some(Stopped::Slow));
    }
}
