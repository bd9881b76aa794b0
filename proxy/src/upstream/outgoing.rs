//! A request body on its way out.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body, Frame, SizeHint};
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use protocol::append::Sent;
use tokio::sync::watch;

use crate::killswitch::Sources;
use crate::memory::Held;

/// Handed to the connection at once, so that it never copies a large body into one buffer.
const PIECE: usize = 64 * 1024;

/// How far a request got.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// Whether all of its body was handed to the connection.
    done: Arc<AtomicBool>,
    connection: CaptureConnection,
}

impl Progress {
    /// Of `request`, which is yet to be sent.
    pub(crate) fn of(request: &mut Request<Outgoing>) -> Self {
        let done = Arc::clone(&request.body().done);
        Self { done, connection: capture_connection(request) }
    }

    /// How much can have left.
    pub(crate) fn sent(&self) -> Sent {
        if self.connection.connection_metadata().is_none() {
            Sent::None
        } else if self.done.load(Ordering::Acquire) {
            Sent::All
        } else {
            Sent::Partial
        }
    }
}

/// The kill switch was armed: the rest of the body stays here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("kill switch armed")
    }
}

impl std::error::Error for Stopped {}

/// A whole body of known length, of which nothing more leaves once the kill switch is armed.
#[derive(Debug)]
pub(crate) struct Outgoing {
    left: Bytes,
    /// Its room, for as long as any of it is here.
    _held: Option<Held>,
    switch: watch::Receiver<Sources>,
    done: Arc<AtomicBool>,
}

impl Outgoing {
    /// `bytes`, which take the room `held`.
    pub(crate) fn new(bytes: Bytes, held: Option<Held>, switch: watch::Receiver<Sources>) -> Self {
        let done = Arc::new(AtomicBool::new(bytes.is_empty()));
        Self { left: bytes, _held: held, switch, done }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        if self.switch.borrow().armed() {
            return Poll::Ready(Some(Err(Stopped)));
        }
        let length = self.left.len().min(PIECE);
        let piece = self.left.split_to(length);
        if self.left.is_empty() {
            self.done.store(true, Ordering::Release);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;

    use super::*;
    use crate::killswitch::{KillSwitch, Mover, Source};
    use crate::record::Record;

    fn switch(dir: &tempfile::TempDir) -> KillSwitch {
        KillSwitch::new(dir.path().join("kill"), Record::new([0; 8], Duration::from_millis(1)))
    }

    #[tokio::test]
    async fn arrives_whole_and_knows_when_it_left() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = Bytes::from(vec![7; 3 * PIECE + 1]);
        let body = Outgoing::new(bytes.clone(), None, switch(&dir).watch());
        let done = Arc::clone(&body.done);
        assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
        assert!(!done.load(Ordering::Acquire));
        assert_eq!(body.collect().await.unwrap().to_bytes(), bytes);
        assert!(done.load(Ordering::Acquire));
    }

    #[tokio::test]
    async fn nothing_more_leaves_once_the_switch_is_armed() {
        let dir = tempfile::tempdir().unwrap();
        let switch = switch(&dir);
        let mut body = Outgoing::new(Bytes::from(vec![7; 2 * PIECE]), None, switch.watch());
        assert!(body.frame().await.unwrap().is_ok());
        switch.arm(Source::Http, Mover { actor: "uid:1000", reason: None });
        assert_eq!(body.frame().await.unwrap().unwrap_err(), Stopped);
        assert!(!body.done.load(Ordering::Acquire));
    }

    #[test]
    fn without_a_connection_nothing_has_left() {
        let dir = tempfile::tempdir().unwrap();
        let body = Outgoing::new(Bytes::new(), None, switch(&dir).watch());
        assert!(body.is_end_stream());
        assert_eq!(Progress::of(&mut Request::new(body)).sent(), Sent::None);
    }
}
