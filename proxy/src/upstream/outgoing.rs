//! A request body on its way out.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Handed to the connection at once, so that it never copies a large body into one buffer.
const PIECE: usize = 64 * 1024;

/// Whether all of a body was handed to the connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<AtomicBool>);

impl Progress {
    /// Whether it was.
    pub(crate) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A whole body of known length.
#[derive(Debug)]
pub(crate) struct Outgoing {
    left: Bytes,
    progress: Progress,
}

impl Outgoing {
    /// `bytes`, and where to look how far they got.
    pub(crate) fn new(bytes: Bytes) -> (Self, Progress) {
        let progress = Progress::default();
        progress.0.store(bytes.is_empty(), Ordering::Release);
        (Self { left: bytes, progress: progress.clone() }, progress)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.left.len().min(PIECE);
        let piece = self.left.split_to(length);
        if self.left.is_empty() {
            self.progress.0.store(true, Ordering::Release);
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
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn arrives_whole_and_knows_when_it_left() {
        let bytes = Bytes::from(vec![7; 3 * PIECE + 1]);
        let (body, progress) = Outgoing::new(bytes.clone());
        assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
        assert!(!progress.is_done());
        assert_eq!(body.collect().await.unwrap().to_bytes(), bytes);
        assert!(progress.is_done());
    }

    #[test]
    fn an_empty_body_has_left_already() {
        let (body, progress) = Outgoing::new(Bytes::new());
        assert!(body.is_end_stream() && progress.is_done());
    }
}
