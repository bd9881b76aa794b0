//! Inside a CONNECT to a permitted host: TLS ends here, and HTTP/1.1 or HTTP/2 is spoken.

use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use protocol::names::HostName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use crate::exchange::Tunnel;
use crate::listen::ended;
use crate::mint::names_host;
use crate::proxy::Proxy;
use crate::reply::Cause;
use crate::tunnel::{self, Opening, Rewound};

/// How long a client may take for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long an HTTP/1.1 connection may wait for the head of its next request.
const IDLE: Duration = Duration::from_secs(300);

/// How long an HTTP/2 connection may take to say that it still lives, which it is asked as often as
/// one of HTTP/1.1 may be idle: one that never says anything would keep its place for good.
const PONG: Duration = Duration::from_secs(60);

/// Largest head of a request, in bytes.
const HEAD_MAX: usize = 64 * 1024;

/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 128;

/// Serves what follows a CONNECT to `host`, whose certificate is in `config`.
pub(crate) async fn serve(
    proxy: Arc<Proxy>,
    host: HostName,
    config: Arc<rustls::ServerConfig>,
    mut stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) {
    let (opening, first) = tunnel::opening(&mut stream).await;
    if first.is_empty() {
        // It had its time, and said nothing in it.
        return;
    }
    let stream = Rewound::new(first, stream);
    match opening {
        Opening::Tls { sni } => {
            if !names_host(sni.as_deref(), &host) {
                let cause = Cause::Protocol("the TLS server name is not the host of the CONNECT");
                proxy.refused(&cause, Some(host.as_str()), None);
            }
            // With another name in it, the handshake fails with an alert: nobody is certified.
            let accepting = TlsAcceptor::from(config).accept(stream);
            match tokio::time::timeout(HANDSHAKE, accepting).await {
                Ok(Ok(tls)) => {
                    let h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
                    http(Tunnel::new(proxy, host), tls, h2).await;
                }
                Ok(Err(error)) => tracing::debug!(%host, %error, "handshake with agent failed"),
                Err(_) => tracing::debug!(%host, "handshake with agent took too long"),
            }
        }
        Opening::NotTls => http(Tunnel::plain(proxy, host), stream, false).await,
    }
}

/// Serves the version that was negotiated. Waiting for the client to show which one it speaks
/// would be waiting without end for one that never says anything.
async fn http(
    tunnel: Tunnel,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    h2: bool,
) {
    let tunnel = Arc::new(tunnel);
    let ending = tunnel.proxy().ending.subscribe();
    let service = {
        let tunnel = Arc::clone(&tunnel);
        service_fn(move |request| {
            let tunnel = Arc::clone(&tunnel);
            async move { tunnel.serve(request).await }
        })
    };
    let server = auto::Builder::new(TokioExecutor::new());
    let mut server = if h2 { server.http2_only() } else { server.http1_only() };
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(HEAD_MAX)
        .half_close(false)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(IDLE))
        .keep_alive_timeout(PONG)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX))
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(1024 * 1024);
    let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = ended(ending) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(host = %tunnel.host(), %error, "agent connection failed inside the tunnel");
    }
    // What follows an upgrade counts as this connection too.
    tunnel.followed().await;
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_speaks_http2_and_says_nothing_more_makes_way() {
        let dir = tempfile::tempdir().unwrap();
        let proxy = Arc::new(Proxy::for_tests(dir.path()));
        let host = HostName::normalise("api.anthropic.com").unwrap();
        let (mut agent, ours) = tokio::io::duplex(64 * 1024);
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        agent.write_all(preface).await.unwrap();
        // The clock is wound on whenever everybody waits.
        let served = http(Tunnel::new(proxy, host), ours, true);
        tokio::time::timeout(2 * (IDLE + PONG), served).await.unwrap();
    }
}
