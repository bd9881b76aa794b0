//! One side of a WebSocket, to be written to.

use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::stream::{SplitSink, SplitStream};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::Socket;

/// Largest frame that is sent, in bytes: a longer message is sent in several, each written before
/// the next one is made.
const FRAME: usize = 1024 * 1024;

/// The other end takes nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// One side of a WebSocket, to be written to.
pub(super) struct Outlet {
    sink: SplitSink<Socket, Message>,
    /// Whether part of a message was sent, and the rest was not.
    within: bool,
}

impl Outlet {
    pub(super) fn new(sink: SplitSink<Socket, Message>) -> Self {
        Self { sink, within: false }
    }

    /// Whether another message may begin.
    pub(super) fn is_between(&self) -> bool {
        !self.within
    }

    /// Sends a text message, which must be UTF-8.
    ///
    /// # Errors
    ///
    /// [`Gone`].
    pub(super) async fn text(&mut self, mut text: Bytes) -> Result<(), Gone> {
        if text.len() <= FRAME {
            let text = Utf8Bytes::try_from(text).map_err(|_| Gone)?;
            return self.send(Message::Text(text)).await;
        }
        let mut kind = Data::Text;
        while !text.is_empty() {
            let piece = text.split_to(text.len().min(FRAME));
            self.within = true;
            self.send(Message::Frame(Frame::message(piece, OpCode::Data(kind), text.is_empty())))
                .await?;
            kind = Data::Continue;
        }
        self.within = false;
        Ok(())
    }

    /// Sends a ping that says nothing but that somebody is there.
    ///
    /// # Errors
    ///
    /// [`Gone`].
    pub(super) async fn ping(&mut self) -> Result<(), Gone> {
        self.send(Message::Ping(Bytes::new())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        self.sink.send(message).await.map_err(|_| Gone)
    }

    /// Both directions of this side.
    pub(super) fn reunite(self, stream: SplitStream<Socket>) -> Option<Socket> {
        self.sink.reunite(stream).ok()
    }
}
