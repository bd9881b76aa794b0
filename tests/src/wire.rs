//! Both ends of an exchange byte by byte, for what client and server libraries keep to themselves.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::provider::{HOSTS, identity};
use crate::waterwall::Waterwall;

/// Only ever waited for this long in a story that fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A provider that speaks HTTP/1.1 in a story's own words.
pub struct RawProvider {
    address: SocketAddr,
    ca_pem: String,
}

impl RawProvider {
    /// Starts one that serves each connection by `story`.
    pub async fn start<F, S>(story: F) -> Self
    where
        F: Fn(Talk) -> S + Send + Sync + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        Self::start_with(b"http/1.1", story).await
    }

    /// Starts one that speaks HTTP/2, and answers each request by `answer`.
    pub async fn start_h2<F, S, B>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> S + Clone + Send + Sync + 'static,
        S: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        Self::start_with(b"h2", move |Talk(stream)| {
            let service = service_fn(answer.clone());
            async move {
                let server = http2::Builder::new(TokioExecutor::new());
                // An agent that hangs up ends the connection with an error.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await
    }

    async fn start_with<F, S>(alpn: &[u8], story: F) -> Self
    where
        F: Fn(Talk) -> S + Send + Sync + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let (ca_pem, mut tls) = identity(&HOSTS);
        tls.alpn_protocols = vec![alpn.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound listener has an address");
        let story = Arc::new(story);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, story) = (acceptor.clone(), Arc::clone(&story));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        story(Talk(stream)).await;
                    }
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

/// The provider's end of a connection.
pub struct Talk(server::TlsStream<TcpStream>);

impl Talk {
    /// Reads up to the end of a request's head.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8(head).expect("heads of these stories are text")
    }

    /// Reads a request whose body has a length: its head, and its body.
    pub async fn request(&mut self) -> (String, Vec<u8>) {
        let head = self.head().await;
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok()
        });
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body).await.expect("the body comes whole");
        (head, body)
    }

    /// Sends `text`.
    pub async fn say(&mut self, text: impl AsRef<[u8]>) {
        self.0.write_all(text.as_ref()).await.expect("it is read");
        self.0.flush().await.expect("it is read");
    }

    /// Says that it sends no more.
    pub async fn close(&mut self) {
        self.0.shutdown().await.expect("it is still there");
    }

    /// Reads what comes, to the end: how many bytes, and whether it ended as TLS ends.
    pub async fn drain(&mut self) -> (usize, bool) {
        let mut rest = Vec::new();
        let ended = self.0.read_to_end(&mut rest).await.is_ok();
        (rest.len(), ended)
    }
}

/// An agent's end of a connection to `host` through `waterwall`, in TLS with this ALPN.
pub async fn connect(waterwall: &Waterwall, host: &str, alpn: &[&[u8]]) -> Wire {
    let mut stream = TcpStream::connect(waterwall.listen()).await.expect("it listens");
    let connect = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n");
    stream.write_all(connect.as_bytes()).await.expect("it is read");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer comes whole"));
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(&waterwall.ca_pem()).expect("a certificate");
    roots.add(ca).expect("it can be a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(host.to_owned()).expect("hosts are names");
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await;
    Wire(stream.expect("it certifies the host"))
}

/// An agent's end of a connection.
pub struct Wire(pub client::TlsStream<TcpStream>);

impl Wire {
    /// Sends `text`.
    pub async fn say(&mut self, text: impl AsRef<[u8]>) {
        self.0.write_all(text.as_ref()).await.expect("it is read");
        self.0.flush().await.expect("it is read");
    }

    /// Reads up to where `end` was read, or the connection ends.
    pub async fn hear(&mut self, end: &str) -> String {
        let mut heard = Vec::new();
        let reading = async {
            while !heard.ends_with(end.as_bytes()) {
                match self.0.read_u8().await {
                    Ok(byte) => heard.push(byte),
                    Err(_) => break,
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("something comes");
        String::from_utf8_lossy(&heard).into_owned()
    }

    /// Reads to the end of the connection: what came, and whether it ended as TLS ends.
    pub async fn rest(&mut self) -> (String, bool) {
        let mut rest = Vec::new();
        let reading = self.0.read_to_end(&mut rest);
        let ended = tokio::time::timeout(PATIENCE, reading).await.expect("an end comes").is_ok();
        (String::from_utf8_lossy(&rest).into_owned(), ended)
    }
}
