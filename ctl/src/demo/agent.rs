//! An agent: speaks HTTPS to its provider through CONNECT, and trusts Waterwall's CA alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::story::Trouble;

/// An agent behind Waterwall.
pub(super) struct Agent {
    proxy: SocketAddr,
    tls: TlsConnector,
}

/// A reply, to be read piece by piece.
pub(super) struct Reply {
    response: Response<Incoming>,
}

impl Agent {
    pub(super) fn new(proxy: SocketAddr, ca_pem: &[u8]) -> Result<Self, Trouble> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem)?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { proxy, tls: TlsConnector::from(Arc::new(tls)) })
    }

    /// Sends `prompt` to `path` of `host`, in the shape both APIs share.
    pub(super) async fn ask(
        &self,
        host: &str,
        path: &str,
        prompt: &str,
        stream: bool,
    ) -> Result<Reply, Trouble> {
        let body = json!({
            "model": "demo", "max_tokens": 64, "stream": stream,
            "messages": [{ "role": "user", "content": prompt }],
        });
        let request = Request::post(path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-api-key", "made-up")
            .body(Full::new(Bytes::from(body.to_string())))?;
        let stream = within(self.connect(host)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Reply { response: within(async { Ok(sender.send_request(request).await?) }).await? })
    }

    /// The proxy's answer to CONNECT, for a host that may be refused.
    pub(super) async fn connect_status(&self, host: &str) -> Result<u16, Trouble> {
        Ok(within(self.send_connect(host)).await?.status().as_u16())
    }

    async fn connect(
        &self,
        host: &str,
    ) -> Result<TlsStream<TokioIo<hyper::upgrade::Upgraded>>, Trouble> {
        let response = self.send_connect(host).await?;
        if !response.status().is_success() {
            return Err(format!("CONNECT was answered {}", response.status()).into());
        }
        let tunnel = hyper::upgrade::on(response).await?;
        let name = ServerName::try_from(host.to_owned())?;
        Ok(self.tls.connect(name, TokioIo::new(tunnel)).await?)
    }

    async fn send_connect(&self, host: &str) -> Result<Response<Incoming>, Trouble> {
        let stream = TcpStream::connect(self.proxy).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        let authority = format!("{host}:443");
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri(&authority)
            .header(header::HOST, &authority)
            .body(Empty::<Bytes>::new())?;
        Ok(sender.send_request(request).await?)
    }
}

impl Reply {
    /// The stable code of a refusal.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.response.headers().get("x-waterwall-error")?.to_str().ok()
    }

    /// Reads events until one of them brings something at `pointer`.
    pub(super) async fn until(&mut self, pointer: &str) -> Result<Vec<u8>, Trouble> {
        let mut events = Vec::new();
        while joined(&events, pointer).is_empty() {
            let piece = self.next().await?.ok_or("the stream ended before that")?;
            events.extend_from_slice(&piece);
        }
        Ok(events)
    }

    /// This reply, unless it is a refusal.
    pub(super) async fn accepted(mut self) -> Result<Self, Trouble> {
        if self.response.status().is_success() {
            return Ok(self);
        }
        let status = self.response.status();
        let body = self.rest().await?;
        Err(format!("refused with {status}: {}", String::from_utf8_lossy(&body)).into())
    }

    /// All that is left.
    pub(super) async fn rest(&mut self) -> Result<Vec<u8>, Trouble> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        let frame = within(async { Ok(self.response.frame().await.transpose()?) }).await?;
        Ok(frame.map(|frame| frame.into_data().unwrap_or_default()))
    }
}

/// The strings at `pointer` in all events of a stream that have one, joined.
pub(super) fn joined(stream: &[u8], pointer: &str) -> String {
    String::from_utf8_lossy(stream)
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .filter_map(|event| event.pointer(pointer)?.as_str().map(str::to_owned))
        .collect()
}

/// Nothing here takes long unless something is broken.
async fn within<T>(work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    match timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => Err("no answer within 8 s".into()),
    }
}

const PATIENCE: Duration = Duration::from_secs(8);
