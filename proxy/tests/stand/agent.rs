//! An agent: CONNECT, TLS under the CA, requests by HTTP/1.1 or HTTP/2.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::HOST;

pub(crate) struct Agent {
    port: u16,
    ca: String,
}

/// An answer that was read whole, or as far as it came.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) code: Option<String>,
    pub(crate) body: String,
    /// Whether it ended as an answer should.
    pub(crate) complete: bool,
    pub(crate) headers: hyper::HeaderMap,
}

impl Agent {
    pub(crate) fn new(port: u16, ca: String) -> Self {
        Self { port, ca }
    }

    /// The status line and the body of a CONNECT's answer, and the connection.
    pub(crate) async fn connect(&self, target: &str) -> (u16, String, TcpStream) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.windows(4).any(|w| w == b"\r\n\r\n") {
            if stream.read_buf(&mut read).await.unwrap() == 0 {
                break;
            }
        }
        let text = String::from_utf8(read).unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        (status, text, stream)
    }

    pub(crate) async fn tls(
        &self,
        sni: &str,
        alpn: &[&[u8]],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let (status, text, stream) = self.connect(&format!("{HOST}:443")).await;
        assert_eq!(status, 200, "{text}");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from(sni.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// One request by HTTP/1.1.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Got {
        self.try_send(request).await.unwrap()
    }

    /// One request by HTTP/2.
    pub(crate) async fn send_h2(&self, request: Request<Full<Bytes>>) -> Got {
        self.try_send_h2(request).await.unwrap()
    }

    /// One request by HTTP/1.1; `None` where a cut overtakes even the head of the answer.
    pub(crate) async fn try_send(&self, request: Request<Full<Bytes>>) -> Option<Got> {
        let tls = self.tls(HOST, &[]).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
        tokio::spawn(connection);
        Some(got(sender.send_request(request).await.ok()?).await)
    }

    /// One request by HTTP/2, likewise.
    pub(crate) async fn try_send_h2(&self, request: Request<Full<Bytes>>) -> Option<Got> {
        let tls = self.tls(HOST, &[b"h2"]).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
                .await
                .unwrap();
        tokio::spawn(connection);
        Some(got(sender.send_request(request).await.ok()?).await)
    }

    /// JSON by POST.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Got {
        self.send(post(path, body)).await
    }
}

pub(crate) fn post(path: &str, body: &str) -> Request<Full<Bytes>> {
    Request::post(path)
        .header("host", HOST)
        .header("content-type", "application/json")
        .header("x-api-key", "sk-test")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap()
}

async fn got(response: Response<Incoming>) -> Got {
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    let mut complete = true;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(_) => {
                complete = false;
                break;
            }
        }
    }
    let code = head.headers.get("x-waterwall-error");
    Got {
        status: head.status,
        code: code.map(|code| code.to_str().unwrap().to_owned()),
        body: String::from_utf8_lossy(&bytes).into_owned(),
        complete,
        headers: head.headers,
    }
}

/// Asks the admin endpoint.
pub(crate) async fn get(port: u16, path: &str) -> (u16, String) {
    admin(port, &format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n")).await
}

/// Changes something at the admin endpoint.
pub(crate) async fn change(port: u16, path: &str, body: &str) -> (u16, String) {
    let (token, length) = (super::TOKEN, body.len());
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    admin(port, &(head + body)).await
}

async fn admin(port: u16, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    if stream.read_to_string(&mut text).await.is_err() || text.is_empty() {
        return (0, text);
    }
    (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
}
