//! The body of an answer to a client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// The body must not look complete: the connection is reset, or the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted;

impl std::fmt::Display for Aborted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("answer aborted")
    }
}

impl std::error::Error for Aborted {}

/// Where pieces of a body come from, one at a time.
pub(crate) trait Source: Sized + Send + 'static {
    /// The next piece, and the source for the one after it: `None` for either ends the body.
    fn next(self) -> impl Future<Output = (Option<Self>, Option<Result<Bytes, Aborted>>)> + Send;
}

type Step = Pin<Box<dyn Future<Output = (Answer, Option<Result<Bytes, Aborted>>)> + Send>>;

/// A body: at hand, or still to come.
pub(crate) enum Answer {
    /// At hand.
    Whole(Bytes),
    /// To come.
    Pending(Step),
    /// To be cut, once what came before had the time to leave.
    Cutting(Pin<Box<Sleep>>),
}

/// What a connection may take to write what it was given before a cut, which it does not wait for.
const LEAVING: Duration = Duration::from_millis(20);

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Whole(_) => "Answer::Whole",
            Self::Pending(_) => "Answer::Pending",
            Self::Cutting(_) => "Answer::Cutting",
        })
    }
}

impl Answer {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self::Whole(Bytes::new())
    }

    /// The pieces that `source` gives, each asked for only when the client took the one before.
    pub(crate) fn from_source<S: Source>(source: S) -> Self {
        Self::Pending(Box::pin(async move {
            let (source, piece) = source.next().await;
            (source.map_or_else(Self::empty, Self::from_source), piece)
        }))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        loop {
            match &mut *self {
                Self::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
                Self::Whole(bytes) => {
                    return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))));
                }
                Self::Pending(step) => {
                    let (next, piece) = ready!(step.as_mut().poll(cx));
                    *self = next;
                    match piece {
                        Some(Ok(bytes)) if bytes.is_empty() => {}
                        Some(Ok(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                        Some(Err(Aborted)) => {
                            *self = Self::Cutting(Box::pin(tokio::time::sleep(LEAVING)));
                        }
                        None => {}
                    }
                }
                Self::Cutting(left) => {
                    ready!(left.as_mut().poll(cx));
                    return Poll::Ready(Some(Err(Aborted)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pending(_) | Self::Cutting(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    struct Countdown(u8, bool);

    impl Source for Countdown {
        async fn next(self) -> (Option<Self>, Option<Result<Bytes, Aborted>>) {
            match self {
                Self(0, true) => (None, Some(Err(Aborted))),
                Self(0, false) => (None, None),
                Self(n, cut) => (Some(Self(n - 1, cut)), Some(Ok(Bytes::from(vec![n])))),
            }
        }
    }

    #[tokio::test]
    async fn pieces_come_in_order_and_end() {
        let body = Answer::from_source(Countdown(3, false));
        assert_eq!(body.collect().await.unwrap().to_bytes(), vec![3, 2, 1]);
    }

    #[tokio::test]
    async fn a_cut_body_never_looks_complete() {
        let body = Answer::from_source(Countdown(3, true));
        assert_eq!(body.collect().await.unwrap_err(), Aborted);
    }

    #[tokio::test]
    async fn a_whole_body_knows_its_length() {
        let body = Answer::Whole(Bytes::from_static(b"abc"));
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
    }
}
