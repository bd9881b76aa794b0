//! A whole body, read under a cap and within the room there is.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::memory::{Held, Memory};

/// A peer may pause this long within a body.
const PAUSE: Duration = Duration::from_secs(60);

/// What the rest of a refused body may take, so that its sender gets to read the answer.
const DISCARD_TIME: Duration = Duration::from_secs(10);

/// A body that was read whole, and the room it takes.
#[derive(Debug)]
pub(crate) struct Whole {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// Given back when the bytes are gone.
    pub(crate) held: Held,
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Over the cap.
    TooLarge,
    /// No room came free in time.
    Overloaded,
    /// It was cut, or paused for too long.
    Cut,
}

/// Reads `body`, of which `start` is already here, up to `cap` bytes.
///
/// # Errors
///
/// [`Unread`]; what is left of the body is still in it.
pub(crate) async fn read(
    body: &mut Incoming,
    start: &[u8],
    cap: usize,
    pause: Option<Duration>,
    memory: &Memory,
) -> Result<Whole, Unread> {
    let announced = body.size_hint().lower();
    let expected = usize::try_from(announced).unwrap_or(usize::MAX).saturating_add(start.len());
    if expected > cap {
        return Err(Unread::TooLarge);
    }
    let mut held = memory.hold();
    held.reach(expected).await.map_err(|_| Unread::Overloaded)?;
    let mut bytes = Vec::with_capacity(expected);
    bytes.extend_from_slice(start);
    while let Some(piece) = next(body, pause.unwrap_or(PAUSE)).await? {
        let length = bytes.len() + piece.len();
        if length > cap {
            return Err(Unread::TooLarge);
        }
        // The vector doubles as it grows: the room is for what it may come to hold.
        if length > bytes.capacity() {
            held.reach(length.saturating_mul(2).min(cap.max(length)))
                .await
                .map_err(|_| Unread::Overloaded)?;
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Whole { bytes, held })
}

/// The next piece of `body`; `None` at its end. Trailers are dropped.
///
/// # Errors
///
/// [`Unread::Cut`].
pub(crate) async fn next(body: &mut Incoming, pause: Duration) -> Result<Option<Bytes>, Unread> {
    loop {
        match tokio::time::timeout(pause, body.frame()).await {
            Err(_) | Ok(Some(Err(_))) => return Err(Unread::Cut),
            Ok(None) => return Ok(None),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Reads the rest of a refused body and forgets it: a sender that still writes would otherwise see
/// a reset instead of the answer.
pub(crate) fn discard(mut body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(tokio::time::timeout(DISCARD_TIME, async move {
        while let Some(Ok(_)) = body.frame().await {}
    }));
}
