//! How a WebSocket ends, and what either side is told of it.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::Socket;
use crate::counters::Session;
use crate::exchange::socket::metered::Stopped;
use crate::exchange::{Stop, Tunnel};
use crate::reply::Cause;

/// How long the two sides may take to part.
const PARTING: Duration = Duration::from_secs(5);

/// How long a way waits, once nobody takes what it sends, for the other way to learn why.
const SETTLING: Duration = Duration::from_secs(1);

/// One of the two it is between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Provider,
}

/// Why it ends.
pub(super) enum End {
    /// One side closes it, in its own words.
    Closed(Side, Option<CloseFrame>),
    /// One side is gone without a word.
    Gone(Side),
    /// Something may not pass.
    Refused(Stop),
    /// Neither side was heard for too long.
    Idle,
    /// The process ends.
    Leaving,
}

/// `side` takes nothing any more: the end of it, unless the other way knows better in a moment.
pub(super) async fn settled(side: Side) -> End {
    tokio::time::sleep(SETTLING).await;
    End::Gone(side)
}

/// What it means that nothing more can be read from `side`.
pub(super) fn unread(error: &Error, side: Side, tunnel: &Tunnel) -> End {
    let cause = match error {
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return End::Gone(side),
        Error::Io(error) => match (Stopped::of(error), side) {
            (None, _) => return End::Gone(side),
            (Some(Stopped::Overloaded), _) => Cause::Overload,
            (Some(Stopped::Slow), Side::Client) => Cause::Unparseable("it took too long to come"),
            (Some(Stopped::Slow), Side::Provider) => return End::Gone(side),
        },
        _ if side == Side::Provider => Cause::Restore,
        Error::Capacity(_) => {
            Cause::TooLarge { cap_mib: tunnel.proxy.setup.fixed().limits.body_mib }
        }
        Error::Utf8(_) => Cause::Charset,
        _ => Cause::Protocol("what came is no WebSocket frame of a client"),
    };
    End::Refused(match side {
        Side::Client => Stop::Unrecorded(cause),
        Side::Provider => Stop::Recorded(cause),
    })
}

/// The last words to one side.
#[derive(Debug, Default, PartialEq, Eq)]
struct Last {
    /// A message before the end.
    event: Option<String>,
    /// What it is closed with: `None` where that side has closed it itself.
    close: Option<Option<CloseFrame>>,
    /// Nothing is said, and nothing waited for.
    dropped: bool,
}

impl Last {
    fn close(code: CloseCode, reason: &'static str) -> Self {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        Self { close: Some(Some(frame)), ..Self::default() }
    }

    fn nothing() -> Self {
        Self { dropped: true, ..Self::default() }
    }
}

/// The last words to the client and to the provider. `status` is that of fail-closed refusals.
fn last_words(end: End, status: StatusCode) -> (Last, Last) {
    match end {
        // The client's reason stays here: no line says that it left.
        End::Closed(Side::Client, frame) => {
            let frame = frame
                .map(|frame| CloseFrame { code: frame.code, reason: Utf8Bytes::from_static("") });
            (Last::default(), Last { close: Some(frame), ..Last::default() })
        }
        End::Closed(Side::Provider, frame) => {
            (Last { close: Some(frame), ..Last::default() }, Last::default())
        }
        End::Gone(Side::Client) => (Last::nothing(), Last::close(CloseCode::Away, "")),
        End::Gone(Side::Provider) => {
            (Last::close(CloseCode::Error, "waterwall-upstream-failed"), Last::nothing())
        }
        End::Refused(Stop::Recorded(cause) | Stop::Unrecorded(cause)) => {
            let told = Last {
                event: Some(cause.socket_event(status)),
                ..Last::close(cause.close_code().into(), cause.code())
            };
            // Armed: of a message that was on its way, nothing more leaves.
            let provider = match cause {
                Cause::KillSwitch(_) => Last::nothing(),
                _ => Last::close(CloseCode::Away, ""),
            };
            (told, provider)
        }
        End::Idle => (Last::close(CloseCode::Away, "idle"), Last::close(CloseCode::Away, "")),
        End::Leaving => (
            Last::close(CloseCode::Away, "Waterwall is stopping"),
            Last::close(CloseCode::Away, ""),
        ),
    }
}

/// Tells both sides, and waits a while for them to part. `client` comes with whether another
/// message may begin there.
pub(super) async fn part(
    tunnel: &Tunnel,
    session: &Session,
    end: End,
    client: (Socket, bool),
    upstream: Socket,
) {
    if let End::Refused(stop) = &end {
        tunnel.note(stop, session);
    }
    let status = tunnel.proxy.setup.refusal_status(Some(&tunnel.host));
    let (mut to_client, to_provider) = last_words(end, status);
    let (client, is_between) = client;
    if !is_between {
        to_client.event = None;
    }
    let to_provider = async {
        tokio::select! {
            biased;
            // The rest of what was on its way stays here.
            _ = tunnel.armed() => {}
            () = say(upstream, to_provider) => {}
        }
    };
    let parting = async { tokio::join!(say(client, to_client), to_provider) };
    // Whoever has not parted by then is cut off.
    let _ = tokio::time::timeout(PARTING, parting).await;
}

/// Says the last words, then reads on to the other's: a socket closed over unread bytes is reset,
/// and takes what was said last with it.
async fn say(mut socket: Socket, last: Last) {
    if last.dropped {
        return;
    }
    if let Some(event) = last.event {
        // Who is gone hears nothing.
        let _ = socket.send(Message::text(event)).await;
    }
    if let Some(frame) = last.close {
        let _ = socket.send(Message::Close(frame)).await;
    }
    let mut parted = false;
    while let Some(message) = socket.next().await {
        match message {
            Ok(Message::Close(_)) => parted = true,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let mut stream = socket.into_inner();
    if stream.shutdown().await.is_err() || parted {
        return;
    }
    let mut rest = vec![0; 16 * 1024];
    while let Ok(1..) = stream.read(&mut rest).await {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(last: &Last) -> Option<u16> {
        last.close.as_ref()?.as_ref().map(|frame| frame.code.into())
    }

    fn words(end: End) -> (Last, Last) {
        last_words(end, StatusCode::BAD_GATEWAY)
    }

    #[test]
    fn a_refusal_says_why_to_the_client_and_nothing_to_the_provider() {
        for (cause, close) in [
            (Cause::Media, 1008),
            (Cause::TooLarge { cap_mib: 1 }, 1009),
            (Cause::Append, 1011),
            (Cause::Protocol("x"), 1002),
        ] {
            let (client, provider) = words(End::Refused(Stop::Unrecorded(cause.clone())));
            assert_eq!(code(&client), Some(close), "{cause:?}");
            assert!(client.event.is_some_and(|event| event.contains(cause.code())));
            assert_eq!((code(&provider), &provider.event), (Some(1001), &None));
        }
    }

    #[test]
    fn once_the_kill_switch_is_armed_not_even_a_close_leaves() {
        let cause = Cause::KillSwitch(vec!["http".into()]);
        let (client, provider) = words(End::Refused(Stop::Recorded(cause)));
        assert_eq!(code(&client), Some(1008));
        assert!(provider.dropped && provider.close.is_none());
    }

    #[test]
    fn a_close_passes_with_its_code_and_only_the_providers_reason() {
        let frame = |reason: &'static str| {
            Some(CloseFrame { code: 4000.into(), reason: Utf8Bytes::from_static(reason) })
        };
        let (client, provider) = words(End::Closed(Side::Client, frame("secret")));
        assert_eq!((client, provider.close), (Last::default(), Some(frame(""))));
        let (client, provider) = words(End::Closed(Side::Provider, frame("done")));
        assert_eq!((client.close, provider), (Some(frame("done")), Last::default()));
    }

    #[test]
    fn a_side_that_is_gone_is_a_fault_to_the_client_and_a_leave_to_the_provider() {
        let (client, provider) = words(End::Gone(Side::Provider));
        assert_eq!((code(&client), client.event, provider.dropped), (Some(1011), None, true));
        let (client, provider) = words(End::Gone(Side::Client));
        assert_eq!((client.dropped, code(&provider)), (true, Some(1001)));
    }
}
