//! Connections to providers: resolved, dialled, verified, pooled.

mod connect;
mod dial;
mod outgoing;
mod race;
mod resolve;
mod trust;
mod via;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use protocol::append::Sent;
use protocol::names::HostName;
use tokio::net::TcpStream;
use tokio::sync::Notify;

pub(crate) use self::dial::{DialError, Limits};
use self::dial::{Dialler, Route};
pub(crate) use self::outgoing::{Outgoing, Progress};
pub(crate) use self::resolve::{Files, Resolver};
pub(crate) use self::trust::{BadRoot, Roots};
pub(crate) use self::via::{Bypass, Environment, Via, Way};
use crate::config::Config;
use crate::hosts::Upstream;

const HUNG_UP: &str = "it hung up before it answered";

const FLOOD: &str = "it sent interim answers without end";

/// Interim answers (1xx) that may come before the answer itself, of HTTP/1.1. One every second says
/// for as long as `first_byte` that it goes on; reading them without end would be work without end.
const INTERIM_MAX: usize = 1024;

/// How long an idle connection is kept for the next request.
const POOL_IDLE: Duration = Duration::from_secs(90);

/// Idle connections kept per host.
const POOL_PER_HOST: usize = 32;

/// How often a quiet HTTP/2 connection is asked whether it still lives.
const PING: Duration = Duration::from_secs(30);

/// How long it may take to say so.
const PONG: Duration = Duration::from_secs(20);

/// The upstreams of one configuration, and the connections to them.
#[derive(Debug, Clone)]
pub(crate) struct Upstreams {
    client: Client<Dialler, Outgoing>,
    dialler: Dialler,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoAnswer {
    /// For the client.
    pub(crate) text: &'static str,
    /// How much of the request left.
    pub(crate) sent: Sent,
}

impl Upstreams {
    /// The upstreams of `config`.
    ///
    /// # Errors
    ///
    /// The PEM file that holds a root which cannot be used: of a host, or `None` for all hosts'.
    pub(crate) fn new(
        config: &Config,
        roots: &Roots,
        resolver: Arc<Resolver>,
    ) -> Result<Self, (Option<String>, BadRoot)> {
        let everybody: Vec<&[u8]> = config.extra_roots.iter().map(Vec::as_slice).collect();
        let shared = roots.client(&everybody).map_err(|bad| (None, bad))?;
        let mut routes = HashMap::new();
        for entry in config.hosts.permitted() {
            let tls = match &entry.extra_root {
                None => Arc::clone(&shared),
                Some(extra) => {
                    let all = [everybody.as_slice(), &[extra.as_slice()]].concat();
                    let named = |bad| (Some(entry.host.to_string()), bad);
                    roots.client(&all).map_err(named)?
                }
            };
            routes.insert(entry.host.clone(), Route { to: entry.upstream.clone(), tls });
        }
        let (way, limits) = (Arc::clone(&config.way), config.dialling);
        let dialler = Dialler { resolver, routes: Arc::new(routes), way, limits };
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_PER_HOST)
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PONG)
            .http2_initial_stream_window_size(1024 * 1024)
            .build(dialler.clone());
        Ok(Self { client, dialler })
    }

    /// Sends a request and waits for the head of its answer. `progress` is its own.
    ///
    /// # Errors
    ///
    /// [`NoAnswer`], with how much of the request can have left.
    pub(crate) async fn send(
        &self,
        mut request: Request<Outgoing>,
        progress: &Progress,
    ) -> Result<Response<Incoming>, NoAnswer> {
        let flooded = flood(&mut request);
        let answered = tokio::select! {
            biased;
            () = flooded.notified() => {
                tracing::info!("upstream sends interim answers without end");
                return Err(NoAnswer { text: FLOOD, sent: progress.sent() });
            }
            answered = self.client.request(request) => answered,
        };
        answered.map_err(|error| {
            tracing::info!(error = %chain(&error), "no answer from upstream");
            NoAnswer { text: text(&error), sent: sent(&error, progress) }
        })
    }

    /// A TCP connection to `port` of `host` for a tunnel, through the proxy on the way if there is one.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub(crate) async fn tcp(&self, host: &HostName, port: u16) -> Result<TcpStream, DialError> {
        self.dialler.tcp(&Upstream::Name(host.clone(), port)).await
    }

    /// Sends a request to leave HTTP, on a connection of its own to `host`, and waits for the head
    /// of its answer. The request's target is its path and query.
    ///
    /// # Errors
    ///
    /// [`NoAnswer`].
    pub(crate) async fn upgrade(
        &self,
        host: &HostName,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, NoAnswer> {
        let session = self.dialler.http1(host).await.map_err(|error| {
            tracing::info!(%error, "no answer from upstream");
            NoAnswer { text: error.text(), sent: Sent::None }
        })?;
        let no_answer = |error: hyper::Error| {
            tracing::info!(error = %chain(&error), "no answer from upstream");
            NoAnswer { text: HUNG_UP, sent: Sent::All }
        };
        let (mut sender, connection) = http1::handshake(session).await.map_err(no_answer)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "upstream connection failed");
            }
        });
        sender.send_request(request).await.map_err(no_answer)
    }
}

/// Notified once `request` has drawn more interim answers than there may be.
fn flood<B>(request: &mut Request<B>) -> Arc<Notify> {
    let (notify, count) = (Arc::new(Notify::new()), AtomicUsize::new(0));
    let flooded = Arc::clone(&notify);
    hyper::ext::on_informational(request, move |_| {
        if count.fetch_add(1, Ordering::Relaxed) >= INTERIM_MAX {
            notify.notify_one();
        }
    });
    flooded
}

fn sent(error: &legacy::Error, progress: &Progress) -> Sent {
    if error.is_connect() { Sent::None } else { progress.sent() }
}

fn text(error: &legacy::Error) -> &'static str {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(dial) = error.downcast_ref::<DialError>() {
            return dial.text();
        }
        source = error.source();
    }
    HUNG_UP
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
