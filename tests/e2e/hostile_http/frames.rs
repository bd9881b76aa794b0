//! Frames of HTTP/2 (RFC 9113) and header blocks of HPACK (RFC 7541), right and wrong.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const WITH_PRIORITY: u8 = 0x20;

/// What a client starts with.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    announced(kind, flags, stream, payload.len(), payload)
}

/// A frame that says it holds `length` bytes.
pub(super) fn announced(
    kind: u8,
    flags: u8,
    stream: u32,
    length: usize,
    payload: &[u8],
) -> Vec<u8> {
    let length = u32::try_from(length).expect("a frame's length").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What every connection starts with, on either side.
pub(super) fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

/// One setting.
pub(super) fn setting(name: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// An integer of HPACK with a prefix of `bits`, under `first`.
pub(super) fn integer(first: u8, bits: u32, value: usize) -> Vec<u8> {
    let most = (1_usize << bits) - 1;
    let byte = |value: usize| u8::try_from(value).expect("a byte");
    if value < most {
        return vec![first | byte(value)];
    }
    let mut bytes = vec![first | byte(most)];
    let mut rest = value - most;
    while rest >= 128 {
        bytes.push(byte(rest % 128) | 128);
        rest /= 128;
    }
    bytes.push(byte(rest));
    bytes
}

fn text(text: &[u8]) -> Vec<u8> {
    [integer(0, 7, text.len()), text.to_vec()].concat()
}

/// A field, never indexed and not compressed.
pub(super) fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [vec![0x10], text(name.as_ref()), text(value.as_ref())].concat()
}

/// A field that is added to the dynamic table.
pub(super) fn indexed(name: &[u8], value: &[u8]) -> Vec<u8> {
    [vec![0x40], text(name), text(value)].concat()
}

/// A header block of these fields.
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// How an exchange on one connection went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// An answer of status 200.
    Success,
    /// Another answer.
    Answer,
    /// The stream was reset, with this code.
    Reset(u32),
    /// The connection is ended, with this code.
    GoAway(u32),
    /// It was closed without a word.
    Closed,
    /// Nothing came for a long time.
    Silence,
}

/// What comes of `stream`, settings and the like aside.
pub(super) async fn hear(
    connection: &mut (impl AsyncRead + Unpin),
    stream: u32,
    patience: Duration,
) -> Came {
    tokio::time::timeout(patience, heard(connection, stream)).await.unwrap_or(Came::Silence)
}

async fn heard(connection: &mut (impl AsyncRead + Unpin), stream: u32) -> Came {
    loop {
        let Some((kind, on, payload)) = next(connection).await else { return Came::Closed };
        let code = |at: usize| {
            let bytes = payload.get(at..at + 4).and_then(|bytes| bytes.first_chunk::<4>());
            bytes.map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes))
        };
        match kind {
            // The static table's field 8 is a status of 200.
            HEADERS if on == stream && payload.first() == Some(&0x88) => return Came::Success,
            HEADERS if on == stream => return Came::Answer,
            RST_STREAM if on == stream => return Came::Reset(code(0)),
            // A graceful end is announced by one without an error.
            GOAWAY if code(4) != 0 => return Came::GoAway(code(4)),
            _ => {}
        }
    }
}

/// The next frame: its type, stream and payload.
pub(super) async fn next(connection: &mut (impl AsyncRead + Unpin)) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    connection.read_exact(&mut head).await.ok()?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let mut payload = vec![0; length];
    connection.read_exact(&mut payload).await.ok()?;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some((head[3], stream & 0x7fff_ffff, payload))
}
