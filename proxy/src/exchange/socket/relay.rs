//! The messages of one WebSocket, both ways.
//!
//! Each way is a loop of its own: a message that waits for the log holds back those behind it, and
//! nothing that comes the other way. Whatever ends one way ends both.

mod ending;
mod outlet;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use protocol::append::{RequestRef, Sent};
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use self::ending::{End, Side};
use self::outlet::{Gone, Outlet};
use super::metered::{Meter, Metered};
use crate::counters::{Stopwatch, add};
use crate::dialect::Dialect;
use crate::exchange::claims::Claims;
use crate::exchange::inward::Inward;
use crate::exchange::joining::Joining;
use crate::exchange::outward::{self, Fit, Kind};
use crate::exchange::{Ids, Recorded, Stop, Tunnel, off_loop};
use crate::listen::ended;
use crate::memory::Held;
use crate::redact::Media;
use crate::reply::Cause;
use crate::restore::Restored;
use crate::restore::message::{MessageRestorer, Messages};
use crate::restore::sse::EVENT_MAX;
use crate::setup::InForce;
use crate::store::{Pin, Scope};

/// How many of a connection's latest messages have their values pinned, so that answers to them
/// restore. Older ones stay in the store by its ordinary rules.
const PINNED: usize = 16;

/// Messages from this size on are restored off the event loop, in bytes.
const LARGE: usize = 256 * 1024;

/// What is read at a time, in bytes: a connection that says nothing takes no more.
const READ: usize = 16 * 1024;

/// One side, as messages.
type Socket = WebSocketStream<Metered<TokioIo<Upgraded>>>;

/// A WebSocket whose handshake is done.
pub(super) struct Relay {
    outward: Outward,
    inward: Inward,
    state: Arc<State>,
}

/// What both ways know.
struct State {
    tunnel: Arc<Tunnel>,
    /// The message that was let out last, and the policy it was scanned under.
    latest: Mutex<(RequestRef, [u8; 32])>,
    /// When either side was heard last.
    heard: Mutex<Instant>,
    /// What its turns go on from at the provider.
    joining: Mutex<Joining>,
    /// Whether a response is still to come, or to end.
    awaiting: watch::Sender<bool>,
}

impl State {
    fn joining(&self) -> MutexGuard<'_, Joining> {
        self.joining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits until neither side was heard for `idle`.
    async fn silence(&self, idle: Duration) {
        loop {
            let end = *self.heard.lock().unwrap_or_else(PoisonError::into_inner) + idle;
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep_until(end.into()).await;
        }
    }

    /// Waits until the process is told to end, and the response that comes in is whole.
    async fn leave(&self) {
        ended(self.tunnel.proxy.ending.subscribe()).await;
        // The sender is here.
        let _ = self.awaiting.subscribe().wait_for(|awaiting| !awaiting).await;
    }
}

impl Relay {
    /// A connection of `tunnel`, opened by a request for `path`.
    pub(super) fn new(tunnel: Arc<Tunnel>, path: String, mut inward: Inward) -> Self {
        inward.stream = true;
        let state = Arc::new(State {
            tunnel,
            latest: Mutex::new((inward.at, inward.policy_hash)),
            heard: Mutex::new(Instant::now()),
            joining: Mutex::default(),
            awaiting: watch::Sender::new(false),
        });
        let outward = Outward {
            path,
            scope: inward.scope,
            ids: inward.ids.clone(),
            pins: VecDeque::with_capacity(PINNED),
            state: Arc::clone(&state),
        };
        Self { outward, inward, state }
    }

    /// Passes messages until either side ends it, something must not pass, the kill switch is
    /// armed, or the process ends.
    pub(super) async fn run(self, client: Upgraded, upstream: Upgraded) {
        let Self { mut outward, inward, state } = self;
        let (idle, cap) = (inward.idle, inward.cap);
        let (client, asked) = socket(client, Role::Server, cap, &state).await;
        let (upstream, told) = socket(upstream, Role::Client, cap.min(EVENT_MAX), &state).await;
        let (to_client, mut from_client) = client.split();
        let (to_upstream, mut from_upstream) = upstream.split();
        let (mut to_client, mut to_upstream) = (Outlet::new(to_client), Outlet::new(to_upstream));
        let restorer = MessageRestorer::new();
        let mut answers = Answers { inward, restorer, state: Arc::clone(&state) };
        let end = tokio::select! {
            biased;
            cause = state.tunnel.armed() => End::Refused(Stop::Recorded(cause)),
            end = outward.pass(&mut from_client, &asked, &mut to_upstream) => end,
            end = answers.pass(&mut from_upstream, &told, &mut to_client) => end,
            () = state.silence(idle) => End::Idle,
            () = state.leave() => End::Leaving,
        };
        let whole = to_client.is_between();
        if let (Some(client), Some(upstream)) =
            (to_client.reunite(from_client), to_upstream.reunite(from_upstream))
        {
            // The values stay until the last word is said.
            let session = &outward.ids.session;
            ending::part(&state.tunnel, session, end, (client, whole), upstream).await;
        }
        drop(outward);
    }
}

/// One side of a connection, and the meter on it.
async fn socket(stream: Upgraded, role: Role, most: usize, state: &State) -> (Socket, Meter) {
    let meter = Meter::new(state.tunnel.proxy.memory.clone(), most);
    let stream = Metered::new(TokioIo::new(stream), meter.clone());
    let config = WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(0)
        .max_frame_size(Some(most))
        .max_message_size(Some(most))
        .accept_unmasked_frames(false);
    (WebSocketStream::from_raw_socket(stream, role, Some(config)).await, meter)
}

/// The way of the client's messages.
struct Outward {
    path: String,
    scope: Scope,
    ids: Ids,
    pins: VecDeque<Option<Pin>>,
    state: Arc<State>,
}

/// A client's control frame is masked; its head takes this many bytes.
const MASKED_HEAD: usize = 6;

/// The same of a provider's.
const HEAD: usize = 2;

impl Outward {
    async fn pass(
        &mut self,
        from: &mut SplitStream<Socket>,
        meter: &Meter,
        to: &mut Outlet,
    ) -> End {
        loop {
            let message = match from.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    return ending::unread(&error, Side::Client, &self.state.tunnel);
                }
                None => return End::Gone(Side::Client),
            };
            self.state.hear();
            let passed = match message {
                Message::Text(text) => self.letter(text.into(), meter.taken(), to).await,
                Message::Ping(payload) => {
                    meter.passed(payload.len() + MASKED_HEAD);
                    // Without the payload, which nobody scans.
                    to.ping().await.map_err(|Gone| End::Gone(Side::Provider))
                }
                Message::Pong(payload) => {
                    meter.passed(payload.len() + MASKED_HEAD);
                    Ok(())
                }
                Message::Close(frame) => return End::Closed(Side::Client, frame),
                // Frames on their own are only ever sent.
                Message::Binary(_) | Message::Frame(_) => Err(refused(Cause::Media)),
            };
            match passed {
                Ok(()) => {}
                Err(End::Gone(side)) => return ending::settled(side).await,
                Err(end) => return end,
            }
        }
    }

    /// Passes one message: what a request's body is elsewhere.
    async fn letter(
        &mut self,
        text: Bytes,
        held: Option<Held>,
        to: &mut Outlet,
    ) -> Result<(), End> {
        let watch = Stopwatch::start();
        let (set, fit) = self.fit(text).await.map_err(refused)?;
        let proxy = &self.state.tunnel.proxy;
        let policy_hash = set.config.policy.hash();
        let at =
            self.state.tunnel.record(&self.ids, &fit, policy_hash).await.map_err(End::Refused)?;
        let mut recorded = Recorded::new(proxy, at);
        // Armed while the line was written: it has not left yet.
        proxy.armed().map_err(|cause| End::Refused(Stop::Recorded(cause)))?;
        *self.state.latest.lock().unwrap_or_else(PoisonError::into_inner) = (at, policy_hash);
        if self.pins.len() >= PINNED {
            self.pins.pop_front();
        }
        self.pins.push_back(fit.pin);
        self.state.awaiting.send_replace(true);
        recorded.left = Sent::Partial;
        proxy.counters.held_up(watch.read());
        to.text(fit.body).await.map_err(|Gone| End::Gone(Side::Provider))?;
        recorded.ended(Sent::All, None);
        add(&proxy.counters.forwarded, 1);
        drop(held);
        Ok(())
    }

    /// A message as it may leave, under what is in force now.
    async fn fit(&mut self, text: Bytes) -> Result<(Arc<InForce>, Fit), Cause> {
        let tunnel = &self.state.tunnel;
        let (set, host) = tunnel.admit()?;
        if !host.websocket {
            return Err(Cause::WebSocketOff);
        }
        tunnel.ready(&set)?;
        let dialect = Dialect::of(host.handler, &self.path);
        let make = |text| {
            let (scope, media) = (self.scope, Media::Json);
            let kind = Kind { scope, dialect, media, is_signed: false };
            outward::make_fit(&tunnel.proxy, &set, kind, text)
        };
        let fit = match make(text.clone()).await {
            // What this connection keeps for earlier messages makes way.
            Err(Cause::StoreFull) if !self.pins.is_empty() => {
                self.pins.clear();
                make(text).await?
            }
            fit => fit?,
        };
        let claims = || Claims::of(dialect, &self.path, &fit.body);
        let pin = fit.pin.as_ref();
        self.state.joining().ask(&tunnel.proxy, tunnel.host().as_str(), pin, claims);
        Ok((set, fit))
    }
}

fn refused(cause: Cause) -> End {
    End::Refused(Stop::Unrecorded(cause))
}

/// The way of the provider's messages.
struct Answers {
    inward: Inward,
    restorer: MessageRestorer,
    state: Arc<State>,
}

impl Answers {
    async fn pass(
        &mut self,
        from: &mut SplitStream<Socket>,
        meter: &Meter,
        to: &mut Outlet,
    ) -> End {
        loop {
            let message = match from.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    return ending::unread(&error, Side::Provider, &self.state.tunnel);
                }
                // Cut: not flushed, so that half a placeholder never looks like the end.
                None => return End::Gone(Side::Provider),
            };
            self.state.hear();
            let passed = match message {
                Message::Text(text) => self.answer(text.into(), meter.taken(), to).await,
                Message::Ping(payload) => {
                    meter.passed(payload.len() + HEAD);
                    to.ping().await.map_err(|Gone| End::Gone(Side::Client))
                }
                Message::Pong(payload) => {
                    meter.passed(payload.len() + HEAD);
                    Ok(())
                }
                Message::Close(frame) => match self.flush(to).await {
                    Ok(()) => Err(End::Closed(Side::Provider, frame)),
                    Err(end) => Err(end),
                },
                Message::Binary(_) | Message::Frame(_) => Err(unfit(Cause::UpstreamBinary)),
            };
            match passed {
                Ok(()) => {}
                Err(End::Gone(side)) => return ending::settled(side).await,
                Err(end) => return end,
            }
        }
    }

    /// Passes one message: what an event of a stream is elsewhere.
    async fn answer(
        &mut self,
        text: Bytes,
        held: Option<Held>,
        to: &mut Outlet,
    ) -> Result<(), End> {
        let since = Instant::now();
        let (proxy, scope) = (Arc::clone(&self.inward.proxy), self.inward.scope);
        let mut restorer = std::mem::take(&mut self.restorer);
        let large = text.len() >= LARGE;
        let joined = {
            let mut joining = self.state.joining();
            if memchr::memmem::find(&text, b"response.created").is_some() {
                joining.hear(&proxy, &self.inward.host, &text);
            }
            joining.joined().clone()
        };
        let restore = move || {
            let resolver = proxy.store.resolver(scope, Instant::now());
            let messages = restorer.push(text.into(), &resolver.with(&joined));
            (restorer, messages)
        };
        let (restorer, messages) = off_loop(large, restore).await.map_err(unfit)?;
        self.restorer = restorer;
        let messages = messages.map_err(|error| unfit(self.inward.failed(error)))?;
        self.release(messages, held, since, to).await
    }

    /// Delivers what is still held back: the provider says no more.
    async fn flush(&mut self, to: &mut Outlet) -> Result<(), End> {
        let restorer = std::mem::take(&mut self.restorer);
        let messages = {
            let store = &self.inward.proxy.store;
            let joined = self.state.joining().joined().clone();
            let resolver = store.resolver(self.inward.scope, Instant::now());
            restorer.finish(&resolver.with(&joined))
        };
        let messages = messages.map_err(|error| unfit(self.inward.failed(error)))?;
        self.release(messages, None, Instant::now(), to).await
    }

    /// Records what was restored, and only then sends it.
    async fn release(
        &mut self,
        messages: Messages,
        held: Option<Held>,
        since: Instant,
        to: &mut Outlet,
    ) -> Result<(), End> {
        let Messages { texts, restored, unknown, thinking, ends } = messages;
        let mut held = held.unwrap_or_else(|| self.inward.proxy.memory.hold());
        let size: usize = texts.iter().map(Vec::len).sum();
        if size > LARGE {
            held.reach(size).await.map_err(|_| unfit(Cause::Overload))?;
        }
        let latest = *self.state.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if (self.inward.at, self.inward.policy_hash) != latest {
            (self.inward.at, self.inward.policy_hash) = latest;
            self.inward.parts = 0;
        }
        let done = Restored { bytes: Vec::new(), restored, unknown, thinking };
        self.inward.release(done).await.map_err(unfit)?;
        self.inward.proxy.counters.inward.observe(since.elapsed());
        for text in texts {
            to.text(text.into()).await.map_err(|Gone| End::Gone(Side::Client))?;
        }
        if ends {
            self.state.awaiting.send_replace(false);
        }
        Ok(())
    }
}

/// What keeps an answer from the client is on no line of its own: its request is.
fn unfit(cause: Cause) -> End {
    End::Refused(Stop::Recorded(cause))
}
