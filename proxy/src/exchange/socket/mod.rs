//! A WebSocket through the tunnel: admitted like any request, then passed message by message.

mod handshake;
mod metered;
mod relay;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use protocol::append::Sent;

use self::handshake::Asked;
use self::relay::Relay;
use super::inward::Inward;
use super::joining::Joining;
use super::outward::Fit;
use super::{Answer, Ids, Recorded, Stop, Tunnel};
use crate::counters::add;
use crate::reply::Cause;
use crate::setup::InForce;
use crate::store::Scope;

/// How long a provider may take to answer the handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);

impl Tunnel {
    /// Answers a request to leave HTTP, on the connection `client` once that has the answer. What
    /// follows an answer of 101 runs as a task of its own.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub(super) async fn open(
        self: &Arc<Self>,
        head: Parts,
        bodiless: bool,
        client: OnUpgrade,
        ids: &Ids,
    ) -> Result<Response<Answer>, Stop> {
        let (set, host) = self.admit()?;
        let head = self.check(head)?;
        if !host.websocket {
            return Err(Cause::WebSocketOff.into());
        }
        let asked = handshake::asked(&head, bodiless)?;
        self.vet(&set, &head)?;
        let header = |name| head.headers.get(name).map(hyper::header::HeaderValue::as_bytes);
        let scope = Scope::of(&self.proxy.key, host.host.as_str(), header);
        let fit = Fit { body: Bytes::new(), findings: Vec::new(), scope, pin: None };
        let policy_hash = set.config.policy.hash();
        let at = self.record(ids, &fit, policy_hash).await?;
        let recorded = Recorded::new(&self.proxy, at);
        // Armed while the line was written: it has not left yet.
        self.proxy.armed().map_err(Stop::Recorded)?;
        let inward = Inward {
            proxy: Arc::clone(&self.proxy),
            at,
            host: self.host.as_str().to_owned(),
            scope,
            ids: ids.clone(),
            policy_hash,
            _pin: None,
            joining: Joining::default(),
            idle: set.config.idle,
            cap: self.cap(),
            stream: false,
            parts: 0,
        };
        let came = Came { head, asked, client };
        self.shake(&set, came, recorded, inward).await.map_err(Stop::Recorded)
    }

    async fn shake(
        self: &Arc<Self>,
        set: &InForce,
        came: Came,
        mut recorded: Recorded,
        inward: Inward,
    ) -> Result<Response<Answer>, Cause> {
        let Came { head, asked, client } = came;
        let offered = head.headers.clone();
        let path = head.uri.path().to_owned();
        let mut ours = [0; 16];
        getrandom::fill(&mut ours).map_err(|_| Cause::Overload)?;
        let request = self.outgoing(head, ours)?;
        recorded.left = Sent::Partial;
        let send = set.upstreams.upgrade(&self.host, request);
        let answered = tokio::select! {
            biased;
            cause = self.armed() => return Err(cause),
            answered = tokio::time::timeout(HANDSHAKE.min(set.config.first_byte), send) => answered,
        };
        let mut response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(none)) => {
                recorded.ended(none.sent, None);
                return Err(Cause::Upstream(none.text));
            }
            Err(_) => return Err(Cause::Upstream("it did not answer in time")),
        };
        recorded.ended(Sent::All, Some(response.status().as_u16()));
        add(&self.proxy.counters.forwarded, 1);
        self.proxy.counters.answered();
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return inward.answer(response, false).await;
        }
        handshake::verify(&response, ours, &offered)?;
        let upstream = hyper::upgrade::on(&mut response);
        let headers = handshake::inward(std::mem::take(response.headers_mut()), &asked);
        let relay = Relay::new(Arc::clone(self), path, inward);
        let task = tokio::spawn(async move {
            // Either side may have gone meanwhile.
            if let (Ok(client), Ok(upstream)) = tokio::join!(client, upstream) {
                relay.run(client, upstream).await;
            }
        });
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Ok(handshake::switching(headers, Answer::empty()))
    }

    /// Our own handshake: the bytes of its target as they came, its headers by the rules.
    fn outgoing(&self, head: Parts, ours: [u8; 16]) -> Result<Request<Empty<Bytes>>, Cause> {
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let uri = target.parse();
        let mut request = Request::new(Empty::new());
        *request.uri_mut() =
            uri.map_err(|_| Cause::Protocol("the request's target is malformed"))?;
        *request.headers_mut() = handshake::outward(head.headers, &self.host, ours);
        Ok(request)
    }

    /// Waits for the kill switch to be armed.
    async fn armed(&self) -> Cause {
        let mut switch = self.proxy.switch.watch();
        let armed = switch.wait_for(|active| active.armed()).await;
        // The sender lives as long as the process.
        Cause::KillSwitch(armed.map(|active| active.names()).unwrap_or_default())
    }
}

/// What a client asked with.
struct Came {
    head: Parts,
    asked: Asked,
    /// Its connection, once it has the answer.
    client: OnUpgrade,
}
