//! WebSockets, from both ends: what a provider says on one, and an agent's client.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use hyper::HeaderMap;
use reqwest::{RequestBuilder, Response, Upgraded};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::agent::Agent;

/// The key every agent sends, and the proof of it (RFC 6455 section 1.3).
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const PROOF: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How long a story waits for a message.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one end says.
#[derive(Debug, Clone)]
pub enum Say {
    /// A text message.
    Text(String),
    /// A text message, in one frame for each of these, with a ping in between.
    Pieces(Vec<Vec<u8>>),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping.
    Ping(String),
    /// The close of it.
    Close(u16, String),
    /// Bytes that need be no frame.
    Raw(Vec<u8>),
    /// Nothing, until the story says go.
    Wait(Arc<Notify>),
    /// Nothing any more.
    HangUp,
}

impl Say {
    /// An event as a text message.
    pub fn event(event: &Value) -> Self {
        Self::Text(event.to_string())
    }
}

/// What is said to each text message.
pub(crate) type Speech = dyn Fn(&str) -> Vec<Say> + Send + Sync;

/// Adds what makes the headers of an `answer` those of a 101 to a handshake with these `headers`.
pub(crate) fn accept(headers: &HeaderMap, answer: &mut Vec<(String, String)>) {
    let key = headers.get("sec-websocket-key").map(|key| key.as_bytes()).unwrap_or_default();
    let own = [
        ("connection", "upgrade".to_owned()),
        ("upgrade", "websocket".to_owned()),
        ("sec-websocket-accept", proof(key)),
    ];
    for (name, value) in own {
        if !answer.iter().any(|(known, _)| known == name) {
            answer.push((name.into(), value));
        }
    }
}

fn proof(key: &[u8]) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finish())
}

/// The provider's end: says what `talk` says to each message, and remembers in `heard`, if anywhere.
pub(crate) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    talk: &Speech,
    heard: Option<&Mutex<Vec<String>>>,
) {
    let mut socket = Socket::new(stream, Role::Server).await;
    while let Some(Ok(message)) = socket.stream.next().await {
        let (note, said) = match message {
            Message::Text(text) => (text.to_string(), talk(&text)),
            Message::Ping(payload) => {
                (format!("ping {}", String::from_utf8_lossy(&payload)), Vec::new())
            }
            Message::Close(Some(frame)) => {
                (format!("close {} {}", u16::from(frame.code), frame.reason), Vec::new())
            }
            Message::Close(None) => ("close".to_owned(), Vec::new()),
            Message::Binary(bytes) => (format!("binary {bytes:?}"), Vec::new()),
            Message::Pong(_) | Message::Frame(_) => continue,
        };
        if let Some(heard) = heard {
            heard.lock().expect("no story panics while it holds this").push(note);
        }
        for say in said {
            if let Say::HangUp = say {
                return;
            }
            if socket.say(say).await.is_err() {
                return;
            }
        }
    }
}

/// What the other end said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping.
    Ping,
    /// It was closed, with this.
    Close(Option<(u16, String)>),
    /// It ended without a word.
    Cut,
}

/// One end of a WebSocket.
#[derive(Debug)]
pub struct Socket<S> {
    stream: WebSocketStream<S>,
}

/// An agent's end.
pub type Client = Socket<Upgraded>;

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    async fn new(stream: S, role: Role) -> Self {
        let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        Self { stream: WebSocketStream::from_raw_socket(stream, role, Some(config)).await }
    }

    /// Says one thing.
    ///
    /// # Errors
    ///
    /// When nobody takes it.
    pub async fn say(&mut self, say: Say) -> Result<(), Error> {
        let message = match say {
            Say::Text(text) => Message::text(text),
            Say::Pieces(pieces) => return self.pieces(pieces).await,
            Say::Binary(bytes) => Message::binary(bytes),
            Say::Ping(payload) => Message::Ping(payload.into()),
            Say::Close(code, reason) => {
                Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
            }
            Say::Raw(bytes) => {
                self.stream.get_mut().write_all(&bytes).await?;
                return Ok(self.stream.get_mut().flush().await?);
            }
            Say::Wait(go) => {
                go.notified().await;
                return Ok(());
            }
            Say::HangUp => return Ok(()),
        };
        self.stream.send(message).await
    }

    async fn pieces(&mut self, pieces: Vec<Vec<u8>>) -> Result<(), Error> {
        let last = pieces.len().saturating_sub(1);
        for (number, piece) in pieces.into_iter().enumerate() {
            let kind = if number == 0 { Data::Text } else { Data::Continue };
            let frame = Frame::message(piece, OpCode::Data(kind), number == last);
            self.stream.send(Message::Frame(frame)).await?;
            if number != last {
                self.stream.send(Message::Ping("between".into())).await?;
            }
        }
        Ok(())
    }

    /// What comes next, pongs aside.
    pub async fn hear(&mut self) -> Heard {
        let next = async {
            loop {
                return match self.stream.next().await {
                    Some(Ok(Message::Pong(_) | Message::Frame(_))) => continue,
                    Some(Ok(Message::Text(text))) => Heard::Text(text.to_string()),
                    Some(Ok(Message::Binary(bytes))) => Heard::Binary(bytes.into()),
                    Some(Ok(Message::Ping(_))) => Heard::Ping,
                    Some(Ok(Message::Close(frame))) => Heard::Close(
                        frame.map(|frame| (frame.code.into(), frame.reason.to_string())),
                    ),
                    Some(Err(_)) | None => Heard::Cut,
                };
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("something comes")
    }

    /// The next event.
    pub async fn event(&mut self) -> Value {
        loop {
            match self.hear().await {
                Heard::Text(text) => return serde_json::from_str(&text).expect("events are JSON"),
                Heard::Ping => {}
                other => panic!("an event was to come, and not {other:?}"),
            }
        }
    }

    /// All events up to the one of type `last`.
    pub async fn events(&mut self, last: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            events.push(self.event().await);
            if events.last().is_some_and(|event| event["type"] == last) {
                return events;
            }
        }
    }

    /// Demands that the next thing to come is the error event of `code`, then a close with `close`
    /// and that code.
    pub async fn is_refused(&mut self, code: &str, close: u16) {
        let event = self.event().await;
        assert_eq!(event["type"], "error", "{event}");
        assert_eq!(event["error"]["code"], code, "{event}");
        assert!(event["error"]["message"].is_string() && event["status"].is_u64(), "{event}");
        assert_eq!(self.hear().await, Heard::Close(Some((close, code.to_owned()))));
        assert_eq!(self.hear().await, Heard::Cut);
    }
}

/// An agent's handshake at `url`, not sent yet.
pub fn handshake(agent: &Agent, url: &str) -> RequestBuilder {
    agent
        .client()
        .get(url)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", KEY)
        .header("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")
        .header("authorization", "Bearer made-up-credential")
}

/// The agent's end, once `answer` agreed to its handshake.
pub async fn agreed(answer: Response) -> Client {
    assert_eq!(answer.status(), 101, "{answer:?}");
    assert_eq!(answer.headers()["sec-websocket-accept"], PROOF);
    assert!(!answer.headers().contains_key("sec-websocket-extensions"));
    Socket::new(answer.upgrade().await.expect("what was agreed on happens"), Role::Client).await
}

/// A WebSocket of `agent`, which must speak HTTP/1.1, at `url`.
pub async fn open(agent: &Agent, url: &str) -> Client {
    agreed(handshake(agent, url).send().await.expect("an answer comes")).await
}
