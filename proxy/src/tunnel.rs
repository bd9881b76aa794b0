//! A tunnel: bytes pass untouched, to the one name the tunnel is for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::mint::names_host;
use protocol::names::HostName;

/// How long a client may take for its first flight.
const FIRST_FLIGHT: Duration = Duration::from_secs(10);

/// Largest first flight: a ClientHello with post-quantum key shares is below 4 KiB.
const HELLO_MAX: usize = 32 * 1024;

/// What the first bytes inside a CONNECT are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// A ClientHello.
    Tls {
        /// The server name in it.
        sni: Option<String>,
    },
    /// Something else, or nothing.
    NotTls,
}

/// Reads a first flight, and tells what it is. The bytes are given back for whoever serves it.
pub(crate) async fn opening(stream: &mut (impl AsyncRead + Unpin)) -> (Opening, Vec<u8>) {
    let mut first = Vec::with_capacity(2048);
    let read = read_opening(stream, &mut first);
    let opening = tokio::time::timeout(FIRST_FLIGHT, read).await.unwrap_or(Opening::NotTls);
    (opening, first)
}

async fn read_opening(stream: &mut (impl AsyncRead + Unpin), first: &mut Vec<u8>) -> Opening {
    let mut hello = Hello::default();
    while first.len() < HELLO_MAX {
        let known = first.len();
        match stream.read_buf(first).await {
            Ok(0) | Err(_) => return Opening::NotTls,
            Ok(_) => {}
        }
        if let Some(opening) = hello.read(&first[known..]) {
            return opening;
        }
    }
    Opening::NotTls
}

/// A ClientHello as it arrives. Each byte is looked at once, however they are cut.
#[derive(Default)]
struct Hello(Acceptor);

impl Hello {
    /// What it is, with `more` of it; `None` until enough of it came.
    fn read(&mut self, mut more: &[u8]) -> Option<Opening> {
        while !more.is_empty() {
            if self.0.read_tls(&mut more).is_err() {
                return Some(Opening::NotTls);
            }
            match self.0.accept() {
                Ok(Some(accepted)) => {
                    let sni = accepted.client_hello().server_name().map(str::to_owned);
                    return Some(Opening::Tls { sni });
                }
                Ok(None) => {}
                Err(_) => return Some(Opening::NotTls),
            }
        }
        None
    }
}

/// Passes bytes both ways until both sides are done.
///
/// # Errors
///
/// When the first bytes are no ClientHello for `host`, or a socket fails.
pub(crate) async fn pass(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    mut upstream: TcpStream,
    host: &HostName,
) -> io::Result<()> {
    let (opening, first) = opening(&mut client).await;
    let own = matches!(&opening, Opening::Tls { sni: Some(sni) } if names_host(Some(sni), host));
    if !own {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not TLS for the tunnel's host"));
    }
    upstream.write_all(&first).await?;
    tokio::io::copy_bidirectional(&mut client, &mut upstream).await.map(drop)
}

/// A stream some of whose bytes were read already.
#[derive(Debug)]
pub(crate) struct Rewound<S> {
    first: Vec<u8>,
    taken: usize,
    stream: S,
}

impl<S> Rewound<S> {
    /// `stream`, with `first` in front of what is still to be read.
    pub(crate) fn new(first: Vec<u8>, stream: S) -> Self {
        Self { first, taken: 0, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = &self.first[self.taken..];
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = left.len().min(buf.remaining());
        buf.put_slice(&left[..length]);
        self.taken += length;
        if self.taken == self.first.len() {
            self.first = Vec::new();
            self.taken = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;

    pub(crate) fn hello(name: &'static str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = name.try_into().unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        wire
    }

    #[test]
    fn finds_the_server_name_however_the_hello_is_cut() {
        let wire = hello("auth.openai.com");
        let sni = Some("auth.openai.com".to_owned());
        for cut in 0..wire.len() {
            let mut hello = Hello::default();
            assert_eq!(hello.read(&wire[..cut]), None, "{cut}");
            assert_eq!(hello.read(&wire[cut..]), Some(Opening::Tls { sni: sni.clone() }), "{cut}");
        }
    }

    #[test]
    fn plain_http_is_no_tls() {
        let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(Hello::default().read(request), Some(Opening::NotTls));
    }

    #[tokio::test]
    async fn a_tunnel_carries_only_its_own_name() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let host = HostName::normalise("auth.openai.com").unwrap();
        for first in [hello("api.openai.com"), b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
            let (mut agent, proxy) = tokio::io::duplex(64 * 1024);
            agent.write_all(&first).await.unwrap();
            let upstream = TcpStream::connect(address).await.unwrap();
            let (mut accepted, _) = listener.accept().await.unwrap();
            assert!(pass(proxy, upstream, &host).await.is_err());
            let mut seen = Vec::new();
            accepted.read_to_end(&mut seen).await.unwrap();
            assert!(seen.is_empty());
        }
    }

    #[tokio::test]
    async fn the_first_flight_is_passed_on_unchanged() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut accepted, _) = listener.accept().await.unwrap();
        let host = HostName::normalise("auth.openai.com").unwrap();
        let (mut agent, proxy) = tokio::io::duplex(64 * 1024);
        let first = hello("auth.openai.com");
        agent.write_all(&first).await.unwrap();
        let passing = tokio::spawn(async move { pass(proxy, upstream, &host).await });
        let mut seen = vec![0; first.len()];
        accepted.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen, first);
        drop((agent, accepted));
        passing.await.unwrap().unwrap();
    }
}
