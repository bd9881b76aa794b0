//! From a host name to a verified TLS session.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use protocol::names::HostName;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::connect;
use super::resolve::Resolver;
use super::via::{self, Refused, Via, Way};
use crate::hosts::{HTTPS, Upstream};

/// Why an upstream could not be reached.
#[derive(Debug)]
pub(crate) enum DialError {
    /// Not a host of the table.
    NoRoute,
    /// Its name has no address.
    Resolve(io::Error),
    /// Nobody answers there.
    Connect(io::Error),
    /// It is not who it should be, or speaks no TLS.
    Tls(io::Error),
    /// The proxy on the way does not lead there.
    Proxy(Refused),
    /// It took too long.
    TimedOut,
}

impl DialError {
    /// For the client: what went wrong, without addresses.
    pub(crate) fn text(&self) -> &'static str {
        match self {
            Self::NoRoute => "it is not in the host table",
            Self::Resolve(_) => "its name does not resolve",
            Self::Connect(_) => "it refused the connection",
            Self::Proxy(refused) => refused.text(),
            Self::Tls(_) => "its certificate could not be verified",
            Self::TimedOut => "it did not answer in time",
        }
    }
}

impl std::fmt::Display for DialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoRoute | Self::TimedOut => f.write_str(self.text()),
            Self::Proxy(refused) => refused.fmt(f),
            Self::Resolve(error) | Self::Connect(error) | Self::Tls(error) => {
                write!(f, "{}: {error}", self.text())
            }
        }
    }
}

impl std::error::Error for DialError {}

/// How one host is reached.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// Where to connect instead of the host itself.
    pub(crate) to: Option<Upstream>,
    /// Which roots it is verified against.
    pub(crate) tls: Arc<ClientConfig>,
}

/// Connects to the hosts of one configuration.
#[derive(Debug, Clone)]
pub(crate) struct Dialler {
    pub(super) resolver: Arc<Resolver>,
    pub(super) routes: Arc<HashMap<HostName, Route>>,
    pub(super) way: Arc<Way>,
    pub(super) limits: Limits,
}

/// How long the parts of a connection may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// From a name to a TCP connection; then once more for what a proxy on the way answers.
    pub(crate) connect: Duration,
    /// The TLS handshake.
    pub(crate) tls: Duration,
}

impl Dialler {
    async fn dial(self, uri: Uri) -> Result<Session, DialError> {
        let host = uri.host().and_then(|host| HostName::normalise(host).ok());
        let host = host.ok_or(DialError::NoRoute)?;
        let route = self.routes.get(&host).ok_or(DialError::NoRoute)?;
        self.session(&host, route).await
    }

    /// A session with `host` in which HTTP/1.1 is spoken, the version that can be left.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub(super) async fn http1(&self, host: &HostName) -> Result<Session, DialError> {
        let route = self.routes.get(host).ok_or(DialError::NoRoute)?;
        let mut tls = ClientConfig::clone(&route.tls);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let route = Route { to: route.to.clone(), tls: Arc::new(tls) };
        self.session(host, &route).await
    }

    async fn session(&self, host: &HostName, route: &Route) -> Result<Session, DialError> {
        let name = ServerName::try_from(host.as_str().to_owned());
        let name = name.map_err(|_| DialError::NoRoute)?;
        let own = || Upstream::Name(host.clone(), HTTPS);
        let tcp = self.tcp(&route.to.clone().unwrap_or_else(own)).await?;
        let connecting = TlsConnector::from(Arc::clone(&route.tls)).connect(name, tcp);
        let tls = tokio::time::timeout(self.limits.tls, connecting).await;
        let tls = tls.map_err(|_| DialError::TimedOut)?.map_err(DialError::Tls)?;
        Ok(Session(TokioIo::new(tls)))
    }

    /// A TCP connection to `target`, through the proxy on the way if there is one.
    ///
    /// # Errors
    ///
    /// [`DialError`].
    pub(super) async fn tcp(&self, target: &Upstream) -> Result<TcpStream, DialError> {
        match self.way.to(target) {
            None => self.reach(target).await,
            Some(via) => self.through(via, target).await,
        }
    }

    async fn reach(&self, target: &Upstream) -> Result<TcpStream, DialError> {
        let connecting = async {
            match target {
                Upstream::Address(address) => connect::to_address(*address).await,
                Upstream::Name(name, port) => connect::to_name(&self.resolver, name, *port).await,
            }
        };
        let connected = tokio::time::timeout(self.limits.connect, connecting).await;
        connected.map_err(|_| DialError::TimedOut)?
    }

    async fn through(&self, via: &Via, target: &Upstream) -> Result<TcpStream, DialError> {
        let mut stream = self.reach(&via.at).await.map_err(|error| {
            tracing::info!(%error, "no connection to the upstream proxy");
            DialError::Proxy(Refused::Away)
        })?;
        let asking = via::ask(&mut stream, via, target);
        let answered = tokio::time::timeout(self.limits.connect, asking).await;
        answered.unwrap_or(Err(Refused::Slow)).map_err(DialError::Proxy)?;
        Ok(stream)
    }
}

impl Service<Uri> for Dialler {
    type Response = Session;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Session, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}

/// A verified TLS session with an upstream.
#[derive(Debug)]
pub(crate) struct Session(TokioIo<TlsStream<TcpStream>>);

impl Connection for Session {
    fn connected(&self) -> Connected {
        let (_, tls) = self.0.inner().get_ref();
        let connected = Connected::new();
        if tls.alpn_protocol() == Some(b"h2") { connected.negotiated_h2() } else { connected }
    }
}

impl Read for Session {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Session {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
