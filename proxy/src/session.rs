//! One connection of an agent: the CONNECT, and what follows it.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::mint::Refusal;
use protocol::names::HostName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::counters::add;
use crate::exchange::head;
use crate::hosts::{self, HTTPS, Verdict};
use crate::intercept;
use crate::listen::ended;
use crate::mint::MintError;
use crate::proxy::Proxy;
use crate::reply::Cause;
use crate::setup::InForce;
use crate::tunnel;

/// How long a client may take for the head of its CONNECT.
const HEAD: Duration = Duration::from_secs(10);

/// What a CONNECT leads to.
enum Next {
    /// TLS ends here.
    Intercept(HostName, Arc<rustls::ServerConfig>),
    /// Bytes pass.
    Tunnel(HostName, u16, TcpStream),
}

/// Serves one connection until it is done.
pub(crate) async fn serve(proxy: Arc<Proxy>, stream: TcpStream) {
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    // Over, and every copy of `tell` gone with it, before what may follow is waited for.
    first(proxy, stream, tell).await;
    // What follows a CONNECT counts as this connection too.
    if let Some(upgraded) = told.recv().await {
        let _ = upgraded.await;
    }
}

/// Serves what comes up to a CONNECT that is accepted, or until there is nothing more.
async fn first(proxy: Arc<Proxy>, stream: TcpStream, tell: tokio::sync::mpsc::Sender<Upgraded>) {
    let ending = proxy.ending.subscribe();
    let service = service_fn(move |request| {
        let (proxy, tell) = (Arc::clone(&proxy), tell.clone());
        async move { Ok::<_, Infallible>(answer(proxy, request, tell).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = ended(ending) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "agent connection failed");
    }
}

type Upgraded = tokio::task::JoinHandle<()>;

async fn answer(
    proxy: Arc<Proxy>,
    mut request: Request<Incoming>,
    tell: tokio::sync::mpsc::Sender<Upgraded>,
) -> Response<Full<Bytes>> {
    let next = match decide(&proxy, &request).await {
        Ok(next) => next,
        Err((cause, target)) => {
            let host = target.as_ref().map(HostName::as_str);
            let host = host.filter(|host| proxy.is_innocent(host));
            tracing::info!(code = cause.code(), host, "refused");
            proxy.refused(&cause, host, None);
            let status = proxy.setup.refusal_status(target.as_ref());
            return cause.answer(status).map(|body| Full::new(body.into()));
        }
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let task = tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            follow(proxy, next, TokioIo::new(upgraded)).await;
        }
    });
    // Full or closed cannot be: one connection has one CONNECT.
    let _ = tell.try_send(task);
    Response::new(Full::default())
}

async fn follow(proxy: Arc<Proxy>, next: Next, stream: TokioIo<hyper::upgrade::Upgraded>) {
    match next {
        Next::Intercept(host, config) => intercept::serve(proxy, host, config, stream).await,
        Next::Tunnel(host, port, upstream) => pass(&proxy, (&host, port), stream, upstream).await,
    }
}

/// Passes bytes until either side ends it, the kill switch is armed, a fault lasts, the host is no
/// tunnel any more, or the process ends.
async fn pass(
    proxy: &Proxy,
    (host, port): (&HostName, u16),
    stream: impl AsyncRead + AsyncWrite + Unpin,
    upstream: TcpStream,
) {
    let mut switch = proxy.switch.watch();
    tokio::select! {
        // What is armed comes before what would pass.
        biased;
        _ = switch.wait_for(|active| active.armed()) => {
            tracing::info!(%host, "tunnel closed: kill switch");
        }
        () = unlisted(proxy, host, port) => tracing::info!(%host, "tunnel closed: host table"),
        () = stays_faulty(proxy) => tracing::info!(%host, "tunnel closed: fault"),
        () = ended(proxy.ending.subscribe()) => {}
        passed = tunnel::pass(stream, upstream, host) => {
            match passed {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let cause = Cause::Protocol("what is in the tunnel is not TLS for its host");
                    tracing::info!(%host, code = cause.code(), "tunnel closed");
                    proxy.refused(&cause, Some(host.as_str()), None);
                }
                Err(error) => tracing::debug!(%host, %error, "tunnel ended"),
            }
        }
    }
}

/// Waits until the host table in force passes `host` through no more.
async fn unlisted(proxy: &Proxy, host: &HostName, port: u16) {
    let mut changes = proxy.setup.changes();
    loop {
        let set = proxy.setup.current();
        let verdict = set.map(|set| set.config.hosts.verdict(host, port));
        // Without any set it is a fault, for which there is some patience.
        if !matches!(verdict, Ok(Verdict::Tunnel | Verdict::Unlisted) | Err(_)) {
            return;
        }
        if changes.changed().await.is_err() {
            // The setup lives as long as the process.
            std::future::pending::<()>().await;
        }
    }
}

/// How long an open tunnel waits between two looks for a fault, of which each asks auditd.
const LOOK: Duration = Duration::from_millis(500);

/// Waits for a fault that lasts for as long as a line may take: a daemon that is replaced is back
/// before that, and the log is not open either while the line of an agent that hung up is on its
/// way.
async fn stays_faulty(proxy: &Proxy) {
    let patience = proxy.setup.fixed().append;
    let mut since = None;
    loop {
        tokio::time::sleep(LOOK).await;
        since = proxy.fault().await.map(|_| since.unwrap_or_else(Instant::now));
        if since.is_some_and(|since| since.elapsed() >= patience) {
            return;
        }
    }
}

type Refused = (Cause, Option<HostName>);

/// Kill switch first, then the configuration, then the host table.
///
/// Armed or faulty, hosts that the CA covers are refused inside the tunnel, where agents show the
/// message; all others here.
async fn decide(proxy: &Arc<Proxy>, request: &Request<Incoming>) -> Result<Next, Refused> {
    if request.method() != Method::CONNECT {
        return Err((Cause::NotConnect, None));
    }
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let Some((host, port)) = authority.and_then(hosts::target) else {
        return Err((Cause::Target, None));
    };
    if let Err(cause) = head::check_connect(request, &host, port) {
        return Err((cause, Some(host)));
    }
    let armed = proxy.armed();
    let set = match proxy.setup.current() {
        Ok(set) => set,
        Err(error) => {
            let covered = proxy.mint.names().iter().any(|name| name == host.as_str());
            let cause = armed.err().unwrap_or_else(|| Cause::Config(error.to_string()));
            return if covered && port == HTTPS {
                intercept(proxy, host).await
            } else {
                Err((cause, Some(host)))
            };
        }
    };
    let verdict = set.config.hosts.verdict(&host, port);
    if verdict == Verdict::Permitted {
        return intercept(proxy, host).await;
    }
    if let Err(cause) = armed {
        return Err((cause, Some(host)));
    }
    match verdict {
        Verdict::Tunnel => tunnel(proxy, &set, host, port).await,
        Verdict::Unlisted => {
            add(&proxy.counters.unlisted, 1);
            tunnel(proxy, &set, host, port).await
        }
        Verdict::Port => Err((Cause::Target, Some(host))),
        Verdict::Permitted | Verdict::Refused => Err((proxy.not_permitted(&host), Some(host))),
    }
}

async fn intercept(proxy: &Arc<Proxy>, host: HostName) -> Result<Next, Refused> {
    match proxy.mint.config(&host).await {
        Ok(config) => Ok(Next::Intercept(host, config)),
        Err(MintError::Refused(Refusal::NameNotPermitted | Refusal::KeyNotAccepted)) => {
            Err((Cause::Certificate, Some(host)))
        }
        Err(_) => Err((Cause::Signer, Some(host))),
    }
}

async fn tunnel(proxy: &Proxy, set: &InForce, host: HostName, port: u16) -> Result<Next, Refused> {
    if let Some(fault) = proxy.fault().await {
        return Err((fault, Some(host)));
    }
    match set.upstreams.tcp(&host, port).await {
        Ok(stream) => Ok(Next::Tunnel(host, port, stream)),
        Err(error) => {
            tracing::info!(%host, %error, "no tunnel");
            Err((Cause::Upstream(error.text()), Some(host)))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::killswitch::{Mover, Source};

    #[tokio::test]
    async fn a_fault_that_lasts_closes_an_open_tunnel() {
        let dir = tempfile::tempdir().unwrap();
        // It has no configuration, which is a fault.
        let proxy = Proxy::for_tests(dir.path());
        tokio::time::pause();
        let start = Instant::now();
        stays_faulty(&proxy).await;
        assert!(start.elapsed() >= proxy.setup.fixed().append);
    }

    #[tokio::test]
    async fn arming_the_kill_switch_closes_an_open_tunnel_at_both_ends() {
        let dir = tempfile::tempdir().unwrap();
        let proxy = Arc::new(Proxy::for_tests(dir.path()));
        let host = HostName::normalise("auth.openai.com").unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut provider, _) = listener.accept().await.unwrap();
        let (mut agent, ours) = tokio::io::duplex(64 * 1024);
        let passing = tokio::spawn({
            let proxy = Arc::clone(&proxy);
            async move { pass(&proxy, (&host, HTTPS), ours, upstream).await }
        });
        let hello = tunnel::tests::hello("auth.openai.com");
        agent.write_all(&hello).await.unwrap();
        let mut seen = vec![0; hello.len()];
        provider.read_exact(&mut seen).await.unwrap();
        proxy.switch.arm(Source::Http, Mover { actor: "uid:1000", reason: None });
        passing.await.unwrap();
        assert_eq!(agent.read(&mut seen).await.unwrap(), 0);
        assert_eq!(provider.read(&mut seen).await.unwrap(), 0);
    }
}
