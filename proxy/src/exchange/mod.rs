//! The life of one request, inside a tunnel to a permitted host.
//!
//! Admitted, read, scanned, rewritten, kept, recorded, sent; answered, restored, recorded,
//! released. Whatever does not get from one step to the next is refused, and never sent later.

mod answer;
mod claims;
pub(crate) mod head;
mod intake;
mod inward;
mod joining;
mod outward;
mod socket;

pub(crate) use outward::cause;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::EXPECT;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, Uri};
use protocol::append::{Event, Refusal, RequestRef, Sent};
use protocol::names::HostName;
use tokio::task::JoinHandle;

pub(crate) use self::answer::Answer;
use self::claims::Claims;
use self::intake::{Coming, Unread};
use self::inward::Inward;
use self::joining::Joining;
use self::outward::Fit;
use crate::counters::{SESSION_HEADER, Session, Stopwatch, add};
use crate::dialect::Dialect;
use crate::encoding::Limit;
use crate::hosts::Permitted;
use crate::memory::Held;
use crate::proxy::Proxy;
use crate::record::{AppendError, Record};
use crate::reply::Cause;
use crate::setup::InForce;
use crate::upstream::{Outgoing, Progress};

/// How long a request's body may take, which comes from this machine and holds room meanwhile.
const UPLOAD: Duration = Duration::from_secs(120);

/// The inside of a CONNECT.
#[derive(Debug)]
pub(crate) struct Tunnel {
    proxy: Arc<Proxy>,
    host: HostName,
    /// Without TLS: everything is refused.
    plain: bool,
    /// What the connection became when it left HTTP.
    followed: Mutex<Option<JoinHandle<()>>>,
}

/// A request's ids, for log lines.
#[derive(Debug, Clone)]
struct Ids {
    request: Option<String>,
    session: Session,
}

/// Why a request ended before its answer.
enum Stop {
    /// It has no number yet, and no line.
    Unrecorded(Cause),
    /// Its line is in the log.
    Recorded(Cause),
}

impl From<Cause> for Stop {
    fn from(cause: Cause) -> Self {
        Self::Unrecorded(cause)
    }
}

impl Tunnel {
    /// The inside of a CONNECT to `host`, within TLS.
    pub(crate) fn new(proxy: Arc<Proxy>, host: HostName) -> Self {
        Self { proxy, host, plain: false, followed: Mutex::default() }
    }

    /// The inside of a CONNECT to `host` in which the client speaks no TLS.
    pub(crate) fn plain(proxy: Arc<Proxy>, host: HostName) -> Self {
        Self { proxy, host, plain: true, followed: Mutex::default() }
    }

    /// The process this belongs to.
    pub(crate) fn proxy(&self) -> &Arc<Proxy> {
        &self.proxy
    }

    /// The host of the CONNECT.
    pub(crate) fn host(&self) -> &HostName {
        &self.host
    }

    /// Waits for what the connection became when it left HTTP, if it did.
    pub(crate) async fn followed(&self) {
        let task = self.followed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // A task that panicked is over as well.
            let _ = task.await;
        }
    }

    /// Answers one request.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
    ) -> Result<Response<Answer>, Infallible> {
        let upgrade = head::wants_upgrade(&request).then(|| hyper::upgrade::on(&mut request));
        let (head, mut body) = request.into_parts();
        let expects = head.headers.contains_key(EXPECT);
        let ids = Ids::of(&self.proxy, &head);
        let answered = match upgrade {
            Some(client) => self.open(head, body.is_end_stream(), client, &ids).await,
            None => self.exchange(head, &mut body, &ids).await,
        };
        match answered {
            Ok(response) => Ok(response),
            Err(stop) => {
                // Who waits for a 100 (Continue) has sent nothing that had to be read away.
                if !expects {
                    intake::discard(body);
                }
                Ok(self.refuse(&stop, &ids))
            }
        }
    }

    fn refuse(&self, stop: &Stop, ids: &Ids) -> Response<Answer> {
        let status = self.proxy.setup.refusal_status(Some(&self.host));
        self.note(stop, &ids.session).answer(status).map(|body| Answer::Whole(body.into()))
    }

    /// Counts and records a refusal, as far as it is not on record yet.
    fn note<'s>(&self, stop: &'s Stop, session: &Session) -> &'s Cause {
        let (host, session) = (Some(self.host.as_str()), Some(session));
        let (cause, at) = match stop {
            Stop::Unrecorded(cause) => (cause, self.proxy.refused(cause, host, session)),
            Stop::Recorded(cause) => {
                self.proxy.counters.refuse(cause.code(), host, session);
                (cause, None)
            }
        };
        tracing::info!(code = cause.code(), host = %self.host, req_no = at.map(|a| a.req_no), "refused");
        cause
    }

    async fn exchange(
        &self,
        head: Parts,
        body: &mut Incoming,
        ids: &Ids,
    ) -> Result<Response<Answer>, Stop> {
        let mut watch = Stopwatch::start();
        let (set, _) = self.admit()?;
        let head = self.check(head)?;
        self.vet(&set, &head)?;
        watch.pause();
        let (bytes, held) = self.read(&head, body).await?;
        watch.resume();
        // A body may be long in coming: what is in force once it is here is what counts.
        let (now, host) = self.admit()?;
        if !Arc::ptr_eq(&now, &set) {
            self.vet(&now, &head)?;
        }
        let set = now;
        let fit = outward::redact(&self.proxy, &set, &host, &head, bytes).await?;
        let policy_hash = set.config.policy.hash();
        let at = self.record(ids, &fit, policy_hash).await?;
        let recorded = Recorded::new(&self.proxy, at);
        // Armed while the line was written: it has not left yet.
        self.proxy.armed().map_err(Stop::Recorded)?;
        let mut joining = Joining::default();
        let dialect = Dialect::of(host.handler, head.uri.path());
        joining.ask(&self.proxy, self.host.as_str(), fit.pin.as_ref(), || {
            Claims::of(dialect, head.uri.path(), &fit.body)
        });
        let inward = Inward {
            proxy: Arc::clone(&self.proxy),
            at,
            host: self.host.as_str().to_owned(),
            scope: fit.scope,
            ids: ids.clone(),
            policy_hash,
            _pin: fit.pin,
            joining,
            idle: set.config.idle,
            cap: self.cap(),
            stream: false,
            parts: 0,
        };
        let body = Outgoing::new(fit.body, held, self.proxy.switch.watch());
        self.proxy.counters.held_up(watch.read());
        self.forward(&set, head, body, recorded, inward).await.map_err(Stop::Recorded)
    }

    /// Kill switch first, then the configuration, then the host table, which may have changed since
    /// the CONNECT.
    fn admit(&self) -> Result<(Arc<InForce>, Arc<Permitted>), Cause> {
        self.proxy.armed()?;
        let set = self.proxy.setup.current().map_err(|error| Cause::Config(error.to_string()))?;
        let entry = set.config.hosts.entry(&self.host).cloned();
        let entry = entry.ok_or_else(|| self.proxy.not_permitted(&self.host))?;
        Ok((set, entry))
    }

    /// What can be told of a request before its body is there.
    fn vet(&self, set: &InForce, head: &Parts) -> Result<(), Cause> {
        outward::scan_head(&self.proxy, set, head)?;
        self.ready(set)
    }

    /// Whether the log can take a line under this set.
    fn ready(&self, set: &InForce) -> Result<(), Cause> {
        if set.is_recorded() && self.proxy.record.is_open() { Ok(()) } else { Err(Cause::Append) }
    }

    fn check(&self, head: Parts) -> Result<Parts, Cause> {
        if self.plain {
            return Err(Cause::Protocol("plain HTTP inside a CONNECT is not forwarded"));
        }
        let request = Request::from_parts(head, ());
        head::check(&request, &self.host)?;
        Ok(request.into_parts().0)
    }

    fn cap(&self) -> usize {
        let mib = usize::try_from(self.proxy.setup.fixed().limits.body_mib).unwrap_or(usize::MAX);
        mib.saturating_mul(1024 * 1024)
    }

    async fn read(
        &self,
        head: &Parts,
        body: &mut Incoming,
    ) -> Result<(Bytes, Option<Held>), Cause> {
        if body.is_end_stream() {
            return Ok((Bytes::new(), None));
        }
        // What would be refused unread is not read.
        head::media(&head.headers)?;
        let codings = head::codings(&head.headers)?;
        if !codings.is_empty() && head::is_signed(&head.headers) {
            return Err(Cause::Signed);
        }
        let mut coming = Coming::new(body, &codings, Limit::Whole(self.cap()));
        let read = coming.read(b"", self.cap(), None, &self.proxy.memory);
        let whole = tokio::time::timeout(UPLOAD, read).await.unwrap_or(Err(Unread::Cut));
        let whole = whole.map_err(|unread| match unread {
            Unread::TooLarge => {
                Cause::TooLarge { cap_mib: self.proxy.setup.fixed().limits.body_mib }
            }
            Unread::Overloaded => Cause::Overload,
            Unread::Corrupt => Cause::Encoding,
            Unread::Cut => Cause::Unparseable("it was cut"),
        })?;
        Ok((whole.bytes.into(), Some(whole.held)))
    }

    async fn record(
        &self,
        ids: &Ids,
        fit: &Fit,
        policy_hash: [u8; 32],
    ) -> Result<RequestRef, Stop> {
        let host = self.host.as_str();
        let line = |at| outward::line(at, host, ids, fit, policy_hash, self.proxy.hkey);
        let (counters, since) = (&self.proxy.counters, Instant::now());
        let at = self.proxy.record.let_out(line).await.map_err(|error| {
            // Auditd failed, or takes nothing: no line says more than that.
            Stop::Recorded(match error {
                AppendError::Refused(Refusal::UnsignedTail) => Cause::Signer,
                _ => Cause::Append,
            })
        })?;
        let is_clean = fit.findings.is_empty();
        let class = if is_clean { &counters.written } else { &counters.durable };
        class.observe(since.elapsed());
        counters.let_out(&ids.session, host, &fit.findings);
        Ok(at)
    }

    async fn forward(
        &self,
        set: &InForce,
        head: Parts,
        body: Outgoing,
        mut recorded: Recorded,
        inward: Inward,
    ) -> Result<Response<Answer>, Cause> {
        let bodiless = head.method == Method::HEAD;
        let mut request = outgoing(head, &self.host, body)?;
        let progress = Progress::of(&mut request);
        recorded.progress = Some(progress.clone());
        let sending = set.upstreams.send(request, &progress);
        let send = tokio::time::timeout(set.config.first_byte, sending);
        let answered = tokio::select! {
            biased;
            cause = self.stopped(&progress) => return Err(cause),
            answered = send => answered,
        };
        let response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(none)) => {
                recorded.ended(none.sent, None);
                return Err(Cause::Upstream(none.text));
            }
            Err(_) => return Err(Cause::Upstream("it did not answer in time")),
        };
        recorded.ended(progress.sent(), Some(response.status().as_u16()));
        add(&self.proxy.counters.forwarded, 1);
        self.proxy.counters.answered();
        let mut cut = self.proxy.switch.cut();
        tokio::select! {
            biased;
            active = cut.wait() => Err(Cause::Cut(active.names())),
            answer = inward.answer(response, bodiless) => answer,
        }
    }

    /// Waits for the kill switch to be armed over a request that has not left as a whole; over one
    /// that has, until its answer is to be cut, too.
    async fn stopped(&self, progress: &Progress) -> Cause {
        let mut switch = self.proxy.switch.watch();
        let armed = switch.wait_for(|active| active.armed()).await;
        // The sender lives as long as the process.
        let sources = armed.map(|active| active.names()).unwrap_or_default();
        if progress.sent() == Sent::All {
            return Cause::Cut(self.proxy.switch.cut().wait().await.names());
        }
        Cause::KillSwitch(sources)
    }
}

/// The request as it goes out: the bytes of its target as they came, its headers by the rules.
fn outgoing(head: Parts, host: &HostName, body: Outgoing) -> Result<Request<Outgoing>, Cause> {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let uri = Uri::builder().scheme("https").authority(host.as_str()).path_and_query(target);
    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() =
        uri.build().map_err(|_| Cause::Protocol("the request's target is malformed"))?;
    *request.headers_mut() = head::outward(head.headers, host);
    Ok(request)
}

impl Ids {
    fn of(proxy: &Proxy, head: &Parts) -> Self {
        let named = head::loggable(&head.headers, SESSION_HEADER);
        Self {
            request: head::loggable(&head.headers, "x-request-id"),
            session: Session::of(&proxy.key, &head.headers, named),
        }
    }
}

/// A request whose line is in the log: says what became of it, once, whatever happens.
struct Recorded {
    record: Record,
    at: RequestRef,
    /// Of its body, once that was handed over.
    progress: Option<Progress>,
    /// How much can have left, where there is no such body.
    left: Sent,
    said: bool,
}

impl Recorded {
    fn new(proxy: &Proxy, at: RequestRef) -> Self {
        let record = proxy.record.clone();
        Self { record, at, progress: None, left: Sent::None, said: false }
    }

    fn ended(mut self, sent: Sent, status: Option<u16>) {
        self.say(sent, status);
    }

    fn say(&mut self, sent: Sent, status: Option<u16>) {
        if !std::mem::replace(&mut self.said, true) {
            self.record.note(Event::Outcome { at: self.at, sent, status });
        }
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.say(self.progress.as_ref().map_or(self.left, Progress::sent), None);
    }
}

/// Runs `work` where it cannot hold up other exchanges, if it is `large`.
///
/// # Errors
///
/// [`Cause::Overload`] when the process is ending.
async fn off_loop<T: Send + 'static>(
    large: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Cause> {
    if !large {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| Cause::Overload)
}
