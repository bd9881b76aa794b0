//! The answer's way back: read in the form it has, restored, recorded, released.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use protocol::append::{Event, RequestRef};

use super::answer::{Aborted, Answer, Source};
use super::intake::{self, Coming, Unread};
use super::joining::Joining;
use super::{Ids, head};
use crate::encoding::Limit;
use crate::killswitch::Cut;
use crate::memory::Held;
use crate::proxy::Proxy;
use crate::reply::Cause;
use crate::restore::sse::SseRestorer;
use crate::restore::text::TextRestorer;
use crate::restore::{Form, Resolve, RestoreError, Restored, json};
use crate::store::{Pin, Scope};

/// JSON from this size on is restored off the event loop, in bytes.
const LARGE: usize = 256 * 1024;

/// What the way back needs to know of the request.
pub(super) struct Inward {
    /// The process.
    pub(super) proxy: Arc<Proxy>,
    /// The request.
    pub(super) at: RequestRef,
    /// Its host.
    pub(super) host: String,
    /// Whose placeholders these are.
    pub(super) scope: Scope,
    /// Its ids on log lines.
    pub(super) ids: Ids,
    /// The policy it was scanned under.
    pub(super) policy_hash: [u8; 32],
    /// Keeps its values in the store until the answer has ended.
    pub(super) _pin: Option<Pin>,
    /// What it goes on from at the provider, and what may go on from it.
    pub(super) joining: Joining,
    /// Silence before the exchange is given up.
    pub(super) idle: Duration,
    /// Largest body that is held whole, in bytes.
    pub(super) cap: usize,
    /// Whether the answer turned out to be a stream.
    pub(super) stream: bool,
    /// Detokenization lines so far.
    pub(super) parts: u32,
}

impl Inward {
    /// The answer for the client. `bodiless`: it is to a HEAD.
    ///
    /// # Errors
    ///
    /// What keeps it from the client, as long as nothing of it was sent.
    pub(super) async fn answer(
        mut self,
        response: Response<Incoming>,
        bodiless: bool,
    ) -> Result<Response<Answer>, Cause> {
        let (mut parts, body) = response.into_parts();
        if parts.status.is_informational() {
            // Interim answers were passed over: what is left is a change of protocol.
            return Err(Cause::Upstream("it switched protocols unasked"));
        }
        self.joining.answered(parts.status.is_success());
        let none = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bodiless || none || body.is_end_stream() {
            parts.headers = head::inward(parts.headers, false);
            return Ok(respond(parts, Answer::empty()));
        }
        if !head::came_plain(&parts.headers) {
            return Err(Cause::UpstreamEncoding);
        }
        let codings = head::codings(&parts.headers).map_err(|_| Cause::UpstreamEncoding)?;
        let mut body = Coming::new(body, &codings, Limit::Piece(self.cap));
        let declared = parts.headers.get(CONTENT_TYPE).cloned();
        let declared = declared.as_ref().and_then(|value: &HeaderValue| value.to_str().ok());
        // A stream's head goes out before its first event; anything else is told by its start.
        let start = match Form::of(declared, b"") {
            Form::Sse => Bytes::new(),
            _ => self.first(&mut body).await?,
        };
        let form = Form::of(declared, &start);
        self.stream = form == Form::Sse;
        let rewritten = form != Form::Opaque || !codings.is_empty();
        parts.headers = head::inward(parts.headers, rewritten);
        let answer = match form {
            // Blanks in front keep a connection alive while a model thinks (S7): they pass.
            Form::Json if !start.is_empty() && is_blank(&start) => {
                self.flow(body, start, Lane::Json(Vec::new()))
            }
            Form::Json => Answer::Whole(self.json(&mut body, &start).await?),
            Form::Sse => self.flow(body, start, Lane::Sse(SseRestorer::new())),
            Form::Text => self.flow(body, start, Lane::Text(TextRestorer::new())),
            Form::Opaque => self.flow(body, start, Lane::Opaque),
        };
        Ok(respond(parts, answer))
    }

    async fn first(&self, body: &mut Coming<Incoming>) -> Result<Bytes, Cause> {
        // A coding may need several pieces before anything comes out.
        loop {
            match body.next(self.idle).await.map_err(unread)? {
                None => return Ok(Bytes::new()),
                Some(piece) if piece.is_empty() => {}
                Some(piece) => return Ok(piece),
            }
        }
    }

    async fn json(&mut self, body: &mut Coming<Incoming>, start: &[u8]) -> Result<Bytes, Cause> {
        let memory = self.proxy.memory.clone();
        let whole = body.read(start, self.cap, Some(self.idle), &memory).await.map_err(unread)?;
        let since = Instant::now();
        let intake::Whole { bytes, mut held } = whole;
        let (proxy, scope) = (Arc::clone(&self.proxy), self.scope);
        let large = bytes.len() >= LARGE;
        let (mut joining, host) = (std::mem::take(&mut self.joining), self.host.clone());
        let restore = move || {
            joining.hear(&proxy, &host, &bytes);
            let resolver = proxy.store.resolver(scope, Instant::now());
            json::restore(bytes, &resolver.with(joining.joined()))
        };
        let restored = super::off_loop(large, restore).await?;
        let restored = restored.map_err(|error| self.failed(error))?;
        held.reach(restored.bytes.len()).await.map_err(|_| Cause::Overload)?;
        let released = self.release(restored).await?;
        self.proxy.counters.inward.observe(since.elapsed());
        // A client may take its time to read.
        Ok(held.keep(released))
    }

    fn flow(self, body: Coming<Incoming>, start: Bytes, lane: Lane) -> Answer {
        let held = self.proxy.memory.hold();
        let (start, cut) = (Some(start), self.proxy.switch.cut());
        Answer::from_source(Flow { inward: self, body, start, lane, held, cut, failed: false })
    }

    /// Records what was restored, and only then gives out the bytes.
    pub(super) async fn release(&mut self, restored: Restored) -> Result<Bytes, Cause> {
        for thought in restored.thinking {
            self.proxy.thoughts.remember(self.scope, thought);
        }
        if restored.restored + restored.unknown > 0 {
            let (counters, session) = (&self.proxy.counters, &self.ids.session);
            counters.came_back(session, &self.host, restored.restored, restored.unknown);
            self.parts += 1;
            let line = self.line(restored.restored, restored.unknown);
            self.proxy.record.append(line).await.map_err(|_| Cause::Append)?;
        }
        Ok(restored.bytes.into())
    }

    fn line(&self, detok_count: u64, unknown_placeholders: u64) -> Event {
        Event::Detokenization {
            at: self.at,
            host: self.host.clone(),
            request_id: self.ids.request.clone(),
            session_id: Some(self.ids.session.id.clone()),
            detok_count,
            unknown_placeholders,
            stream: self.stream,
            part: self.parts,
            policy_hash: self.policy_hash,
        }
    }

    pub(super) fn failed(&self, error: RestoreError) -> Cause {
        tracing::warn!(host = self.host, req_no = self.at.req_no, %error, "answer not restored");
        Cause::Restore
    }
}

/// The upstream hung up, or fell silent, inside its answer.
const CUT: Cause = Cause::Upstream("it hung up in the middle of its answer");

fn unread(unread: Unread) -> Cause {
    match unread {
        Unread::TooLarge => Cause::Restore,
        Unread::Overloaded => Cause::Overload,
        Unread::Corrupt => Cause::UpstreamEncoding,
        Unread::Cut => CUT,
    }
}

fn respond(parts: hyper::http::response::Parts, answer: Answer) -> Response<Answer> {
    let mut response = Response::new(answer);
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    if let Some(phrase) = parts.extensions.get::<hyper::ext::ReasonPhrase>() {
        response.extensions_mut().insert(phrase.clone());
    }
    response
}

fn is_blank(json: &[u8]) -> bool {
    json.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
}

/// What a stream may hold back beside the room that bodies share, in bytes: all but snapshots are
/// below it.
const ALLOWANCE: usize = 1024 * 1024;

/// How a body is restored as it arrives.
enum Lane {
    Sse(SseRestorer),
    Text(TextRestorer),
    /// All but the blanks in front is held back to the end.
    Json(Vec<u8>),
    Opaque,
}

impl Lane {
    fn push(&mut self, piece: Bytes, resolve: &dyn Resolve) -> Result<Restored, RestoreError> {
        match self {
            Self::Sse(restorer) => restorer.push(&piece, resolve),
            Self::Text(restorer) => restorer.push(&piece, resolve),
            Self::Json(body) if !(body.is_empty() && is_blank(&piece)) => {
                body.extend_from_slice(&piece);
                Ok(Restored::default())
            }
            Self::Json(_) | Self::Opaque => {
                Ok(Restored { bytes: piece.into(), ..Restored::default() })
            }
        }
    }

    /// Bytes held back.
    fn held(&self) -> usize {
        match self {
            Self::Sse(restorer) => restorer.held(),
            Self::Json(body) => body.len(),
            Self::Text(_) | Self::Opaque => 0,
        }
    }

    fn finish(self, resolve: &dyn Resolve) -> Result<Restored, RestoreError> {
        match self {
            Self::Sse(restorer) => restorer.finish(resolve),
            Self::Text(restorer) => restorer.finish(resolve),
            Self::Json(body) => json::restore(body, resolve),
            Self::Opaque => Ok(Restored::default()),
        }
    }
}

/// A body that is restored as it arrives.
struct Flow {
    inward: Inward,
    body: Coming<Incoming>,
    start: Option<Bytes>,
    lane: Lane,
    /// Room for what the lane holds back.
    held: Held,
    /// When the kill switch ends it.
    cut: Cut,
    /// The client was told why; what is left is to cut the answer.
    failed: bool,
}

impl Source for Flow {
    async fn next(mut self) -> (Option<Self>, Option<Result<Bytes, Aborted>>) {
        if self.failed {
            return (None, Some(Err(Aborted)));
        }
        loop {
            let next = async {
                match self.start.take() {
                    Some(start) => Ok(Some(start)),
                    None => self.body.next(self.inward.idle).await,
                }
            };
            let piece = tokio::select! {
                biased;
                active = self.cut.wait() => {
                    return self.fail(&Cause::Cut(active.names()));
                }
                piece = next => piece,
            };
            let released = match piece {
                // Cut: not flushed, so that half a placeholder never looks like the end.
                Err(_) => return (None, Some(Err(Aborted))),
                Ok(None) => return self.end().await,
                Ok(Some(piece)) => {
                    let since = Instant::now();
                    let restored = self.restore(piece).await;
                    self.inward.proxy.counters.inward.observe(since.elapsed());
                    restored
                }
            };
            match released {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return (Some(self), Some(Ok(bytes))),
                Err(cause) => return self.fail(&cause),
            }
        }
    }
}

impl Flow {
    async fn restore(&mut self, piece: Bytes) -> Result<Bytes, Cause> {
        if let Lane::Opaque = self.lane {
            return Ok(piece);
        }
        let Inward { proxy, host, scope, joining, .. } = &mut self.inward;
        if let Lane::Sse(_) = self.lane {
            joining.hear_piece(proxy, host, &piece);
        }
        let resolver = proxy.store.resolver(*scope, Instant::now());
        let restored = self.lane.push(piece, &resolver.with(joining.joined()));
        let restored = restored.map_err(|error| self.inward.failed(error))?;
        match self.lane.held() {
            large if large > self.inward.cap => return Err(Cause::Restore),
            large if large > ALLOWANCE => {
                self.held.reach(large).await.map_err(|_| Cause::Overload)?;
            }
            _ => self.held = self.inward.proxy.memory.hold(),
        }
        self.inward.release(restored).await
    }

    async fn end(mut self) -> (Option<Self>, Option<Result<Bytes, Aborted>>) {
        let lane = std::mem::replace(&mut self.lane, Lane::Opaque);
        let streams = matches!(lane, Lane::Sse(_));
        let restored = {
            let Inward { proxy, host, scope, joining, .. } = &mut self.inward;
            if let Lane::Json(body) = &lane {
                joining.hear(proxy, host, body);
            }
            let resolver = proxy.store.resolver(*scope, Instant::now());
            lane.finish(&resolver.with(joining.joined()))
        };
        let released = match restored {
            Ok(restored) => self.inward.release(restored).await,
            Err(error) => Err(self.inward.failed(error)),
        };
        match released {
            Ok(bytes) => (None, Some(Ok(bytes))),
            Err(cause) if streams => {
                self.failed = true;
                (Some(self), Some(Ok(cause.event().into())))
            }
            Err(_) => (None, Some(Err(Aborted))),
        }
    }

    /// A stream says why it ends; any other body is just cut.
    fn fail(mut self, cause: &Cause) -> (Option<Self>, Option<Result<Bytes, Aborted>>) {
        let Inward { proxy, host, ids, .. } = &self.inward;
        proxy.counters.refuse(cause.code(), Some(host), Some(&ids.session));
        if let Lane::Sse(_) = self.lane {
            self.failed = true;
            return (Some(self), Some(Ok(cause.event().into())));
        }
        (None, Some(Err(Aborted)))
    }
}
