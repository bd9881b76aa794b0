//! An agent that writes its own bytes: what no client library would send, and what none shows.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::provider::{HOSTS, identity};
use crate::waterwall::Waterwall;

/// How long a story waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// An agent that writes its own bytes.
#[derive(Debug, Clone)]
pub struct Raw {
    listen: SocketAddr,
    ca_pem: Vec<u8>,
}

/// An answer of HTTP/1.1, as far as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its status; 0 where not even a status line came.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body, without the framing.
    pub body: Vec<u8>,
    /// Whether the body ended as its framing says.
    pub complete: bool,
}

impl Raw {
    /// One that trusts `waterwall`'s CA alone.
    pub fn new(waterwall: &Waterwall) -> Self {
        Self { listen: waterwall.listen(), ca_pem: waterwall.ca_pem() }
    }

    /// What is answered to `bytes` on the proxy's own port.
    pub async fn say(&self, bytes: impl AsRef<[u8]>) -> Reply {
        let mut stream = TcpStream::connect(self.listen).await.expect("the proxy listens");
        // It may refuse and close before all of it was written.
        let _ = stream.write_all(bytes.as_ref()).await;
        Reply::read(&mut stream, false).await
    }

    /// A CONNECT to `target`: its answer, and the connection.
    pub async fn connect(&self, target: &str) -> (Reply, TcpStream) {
        let mut stream = TcpStream::connect(self.listen).await.expect("the proxy listens");
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("the proxy reads");
        let reply = Reply::read(&mut stream, true).await;
        (reply, stream)
    }

    /// TLS inside a CONNECT to `target`, for the server name `name`.
    ///
    /// # Errors
    ///
    /// When the handshake fails.
    pub async fn tls(
        &self,
        target: &str,
        name: &str,
        alpn: &[&[u8]],
    ) -> io::Result<TlsStream<TcpStream>> {
        let (reply, stream) = self.connect(target).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        handshake(stream, name, &self.ca_pem, alpn).await
    }

    /// What is answered to `bytes` inside a tunnel to `host`.
    pub async fn send(&self, host: &str, bytes: impl AsRef<[u8]>) -> Reply {
        let mut tls = self.tls(&format!("{host}:443"), host, &[]).await.expect("a handshake");
        let _ = tls.write_all(bytes.as_ref()).await;
        Reply::read(&mut tls, false).await
    }

    /// Everything that is answered to `bytes` inside a tunnel to `host`, until its end.
    pub async fn hear_out(&self, host: &str, bytes: impl AsRef<[u8]>) -> String {
        let mut tls = self.tls(&format!("{host}:443"), host, &[]).await.expect("a handshake");
        let _ = tls.write_all(bytes.as_ref()).await;
        let mut heard = Vec::new();
        // What came before a reset counts.
        let all = tls.read_to_end(&mut heard);
        let _ = tokio::time::timeout(PATIENCE, all).await.expect("the connection ends");
        String::from_utf8_lossy(&heard).into_owned()
    }
}

/// A TLS session as `name`, under the CA `ca_pem`, over `stream`.
///
/// # Errors
///
/// When the handshake fails.
pub async fn handshake(
    stream: TcpStream,
    name: &str,
    ca_pem: &[u8],
    alpn: &[&[u8]],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca_pem).expect("the CA is a certificate");
    roots.add(ca).expect("the CA can be trusted");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    tokio::time::timeout(PATIENCE, connecting).await.expect("a handshake ends")
}

/// A POST of JSON, in full.
pub fn post(host: &str, path: &str, body: &str) -> Vec<u8> {
    with_headers(host, path, "content-type: application/json\r\n", body.as_bytes())
}

/// A POST of `body` with these header lines besides `Host`, a credential and the length.
pub fn with_headers(host: &str, path: &str, lines: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nx-api-key: made-up-credential\r\n\
         {lines}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

impl Reply {
    /// Reads one answer; of a CONNECT that was accepted there is no body.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin), is_connect: bool) -> Self {
        let mut reading = Reading { stream, come: Vec::new() };
        let read = async {
            let head = reading.head().await;
            let mut reply = Self::of_head(&head);
            if !(is_connect && reply.status == 200) && reply.status != 0 {
                reading.body(&mut reply).await;
            }
            reply
        };
        tokio::time::timeout(PATIENCE, read).await.expect("an answer ends")
    }

    fn of_head(head: &str) -> Self {
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap_or_default().splitn(3, ' ');
        let status = first.nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let reason = first.next().unwrap_or_default().to_owned();
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers = lines.filter_map(header).collect();
        Self { status, reason, headers, body: Vec::new(), complete: status != 0 }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// Demands a refusal of this status and code, with the cause where agents look for it.
    pub fn is_refused(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.header("x-waterwall-error")),
            (status, Some(code)),
            "{self:?}"
        );
        let body = self.json();
        assert_eq!((&body["type"], &body["error"]["code"]), (&"error".into(), &code.into()));
        let message = body["error"]["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("Waterwall: ") && message.len() > 20, "{body}");
    }
}

/// What came of an answer so far.
struct Reading<'s, S> {
    stream: &'s mut S,
    come: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Reading<'_, S> {
    /// Whether more came.
    async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.come).await, Ok(length) if length > 0)
    }

    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            let at = self.come.windows(end.len()).position(|window| window == end);
            if let Some(at) = at {
                let taken = self.come.drain(..at + end.len()).collect::<Vec<u8>>();
                return Some(taken[..at].to_vec());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> (Vec<u8>, bool) {
        while self.come.len() < length {
            if !self.more().await {
                return (std::mem::take(&mut self.come), false);
            }
        }
        (self.come.drain(..length).collect(), true)
    }

    async fn head(&mut self) -> String {
        let head = self.until(b"\r\n\r\n").await.unwrap_or_default();
        String::from_utf8_lossy(&head).into_owned()
    }

    async fn body(&mut self, reply: &mut Reply) {
        let length = reply.header("content-length").and_then(|length| length.parse().ok());
        if let Some(length) = length {
            (reply.body, reply.complete) = self.exactly(length).await;
        } else if reply.header("transfer-encoding").is_some() {
            reply.complete = self.chunks(&mut reply.body).await;
        }
    }

    /// Whether the last chunk came.
    async fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let Some(size) = self.until(b"\r\n").await else { return false };
            let size = String::from_utf8_lossy(&size).into_owned();
            let Ok(size) = usize::from_str_radix(&size, 16) else { return false };
            let (piece, whole) = self.exactly(size).await;
            body.extend_from_slice(&piece);
            let ended = self.until(b"\r\n").await.is_some();
            if size == 0 || !whole || !ended {
                return size == 0 && whole && ended;
            }
        }
    }
}

/// A provider that says these bytes to whatever comes, and hangs up: what no HTTP library would say.
#[derive(Debug)]
pub struct RawProvider {
    address: SocketAddr,
    ca_pem: String,
}

impl RawProvider {
    /// Starts one. It speaks HTTP/1.1 alone.
    pub async fn start(answer: &'static [u8]) -> Self {
        let (ca_pem, mut tls) = identity(&HOSTS);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound listener has an address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut tls) = acceptor.accept(stream).await else { return };
                    let mut reading = Reading { stream: &mut tls, come: Vec::new() };
                    let head = reading.head().await.to_ascii_lowercase();
                    let length = head.split_once("content-length: ").map_or(0, |(_, rest)| {
                        rest.split("\r\n").next().and_then(|it| it.parse().ok()).unwrap_or(0)
                    });
                    reading.exactly(length).await;
                    // Nobody may be left to hear it.
                    let _ = tls.write_all(answer).await;
                    let _ = tls.flush().await;
                });
            }
        });
        Self { address, ca_pem }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate of its CA.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }
}
