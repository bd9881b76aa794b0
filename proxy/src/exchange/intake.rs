//! A body as it comes: freed of its content codings, read under a cap and within the room there is.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::off_loop;
use crate::encoding::{Coding, Decoder, Limit, Undecodable};
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

/// Pieces from this size on are decoded off the event loop, in bytes: they may stand for a thousand
/// times as much.
const LARGE: usize = 4 * 1024;

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is not what its content coding says.
    Corrupt,
    /// Over the cap.
    TooLarge,
    /// No room came free in time.
    Overloaded,
    /// It was cut, or paused for too long.
    Cut,
}

/// A body that comes piece by piece, freed of its content codings.
pub(crate) struct Coming<B> {
    body: B,
    coded: Coded,
}

enum Coded {
    No,
    /// `None` while a piece is decoded elsewhere; whoever gave up on that may not read on.
    Yes(Option<Decoder>),
}

impl<B: Body<Data = Bytes> + Unpin> Coming<B> {
    /// `body`, to which `codings` were applied in this order.
    pub(crate) fn new(body: B, codings: &[Coding], limit: Limit) -> Self {
        let coded = match codings {
            [] => Coded::No,
            codings => Coded::Yes(Some(Decoder::new(codings, limit))),
        };
        Self { body, coded }
    }

    /// Reads the body, of which `start` is already here, up to `cap` bytes.
    ///
    /// # Errors
    ///
    /// [`Unread`]; what is left of the body is still in it.
    pub(crate) async fn read(
        &mut self,
        start: &[u8],
        cap: usize,
        pause: Option<Duration>,
        memory: &Memory,
    ) -> Result<Whole, Unread> {
        let announced = self.body.size_hint().lower();
        let expected = usize::try_from(announced).unwrap_or(usize::MAX).saturating_add(start.len());
        if expected > cap {
            return Err(Unread::TooLarge);
        }
        let mut held = memory.hold();
        held.reach(expected).await.map_err(|_| Unread::Overloaded)?;
        let mut bytes = Vec::with_capacity(expected);
        bytes.extend_from_slice(start);
        while let Some(piece) = self.next(pause.unwrap_or(PAUSE)).await? {
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

    /// The next piece, which may be empty; `None` at the end. Trailers are dropped.
    ///
    /// # Errors
    ///
    /// [`Unread::Cut`] and, where it is coded, [`Unread::Corrupt`] and [`Unread::TooLarge`].
    pub(crate) async fn next(&mut self, pause: Duration) -> Result<Option<Bytes>, Unread> {
        loop {
            match tokio::time::timeout(pause, self.body.frame()).await {
                Err(_) | Ok(Some(Err(_))) => return Err(Unread::Cut),
                Ok(None) => return self.end().map(|()| None),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return self.decode(data).await.map(Some);
                    }
                }
            }
        }
    }

    async fn decode(&mut self, piece: Bytes) -> Result<Bytes, Unread> {
        let Coded::Yes(decoder) = &mut self.coded else { return Ok(piece) };
        let mut at_hand = decoder.take().ok_or(Unread::Cut)?;
        let large = piece.len() >= LARGE;
        let work = move || {
            let decoded = at_hand.push(&piece);
            (at_hand, decoded)
        };
        let (at_hand, decoded) = off_loop(large, work).await.map_err(|_| Unread::Overloaded)?;
        *decoder = Some(at_hand);
        Ok(decoded?.into())
    }

    fn end(&mut self) -> Result<(), Unread> {
        match std::mem::replace(&mut self.coded, Coded::No) {
            Coded::No => Ok(()),
            Coded::Yes(decoder) => Ok(decoder.ok_or(Unread::Cut)?.finish()?),
        }
    }
}

impl From<Undecodable> for Unread {
    fn from(why: Undecodable) -> Self {
        match why {
            Undecodable::Corrupt => Self::Corrupt,
            Undecodable::TooLarge => Self::TooLarge,
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
