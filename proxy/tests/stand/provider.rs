//! A provider with a CA of its own. The request's path says how it answers.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// What the provider saw.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) target: String,
    pub(crate) version: Version,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: String,
}

pub(crate) struct Provider {
    pub(crate) port: u16,
    /// Its CA, in PEM.
    pub(crate) root: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    raw: Arc<Mutex<Option<Raw>>>,
}

/// Bytes in place of an answer by HTTP's rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw {
    pub(crate) bytes: &'static str,
    /// Whether TLS says that this was all, before the connection goes.
    pub(crate) says_bye: bool,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([super::HOST.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &ca).unwrap();
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let tls = rustls::crypto::aws_lc_rs::default_provider();
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(tls))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], der)
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut old = tls.clone();
        old.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (acceptor, raw_acceptor) =
            (TlsAcceptor::from(Arc::new(tls)), TlsAcceptor::from(Arc::new(old)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let raw: Arc<Mutex<Option<Raw>>> = Arc::default();
        tokio::spawn({
            let (seen, raw) = (Arc::clone(&seen), Arc::clone(&raw));
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let raw = *raw.lock().unwrap();
                    match raw {
                        Some(raw) => {
                            drop(tokio::spawn(serve_raw(raw_acceptor.clone(), stream, raw)))
                        }
                        None => {
                            tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&seen)));
                        }
                    }
                }
            }
        });
        Self { port, root: ca.pem(), seen, raw }
    }

    /// From the next connection on, answers with this.
    pub(crate) fn answer_raw(&self, raw: Raw) {
        *self.raw.lock().unwrap() = Some(raw);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>) {
    let Ok(tls) = acceptor.accept(stream).await else { return };
    let service = service_fn(move |request| {
        let seen = Arc::clone(&seen);
        async move { Ok::<_, Infallible>(answer(request, &seen).await) }
    });
    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(tls), service).await;
}

async fn serve_raw(acceptor: TlsAcceptor, stream: TcpStream, raw: Raw) {
    let Ok(mut tls) = acceptor.accept(stream).await else { return };
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if tls.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let _ = tls.write_all(raw.bytes.as_bytes()).await;
    let _ = tls.flush().await;
    if raw.says_bye {
        let _ = tls.shutdown().await;
    }
}

type Answer = Response<BoxBody<Bytes, std::io::Error>>;

async fn answer(request: Request<Incoming>, seen: &Mutex<Vec<Seen>>) -> Answer {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let target = head.uri.path_and_query().unwrap().to_string();
    seen.lock().unwrap().push(Seen {
        target,
        version: head.version,
        headers: head.headers,
        body: body.clone(),
    });
    match head.uri.path() {
        "/v1/messages" => typed("application/json", whole(body)),
        "/stream" => typed("text/event-stream", events(&body, false)),
        "/cut" => typed("text/event-stream", events(&body, true)),
        "/cut-json" => typed("application/json", pieces(vec![Ok(body.into()), Err(())])),
        "/gzip" => {
            let mut response = typed("application/json", whole(body));
            response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
            response
        }
        "/text" => typed("text/plain", whole(body)),
        "/binary" => typed("image/png", whole("\u{89}PNG<pl:x>".into())),
        "/empty" => {
            let mut response = Response::new(whole(String::new()));
            *response.status_mut() = hyper::StatusCode::NO_CONTENT;
            response
        }
        _ => typed("application/json", whole("{}".into())),
    }
}

fn typed(kind: &'static str, body: BoxBody<Bytes, std::io::Error>) -> Answer {
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", kind.parse().unwrap());
    response
}

fn whole(body: String) -> BoxBody<Bytes, std::io::Error> {
    Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed()
}

/// The placeholder of the request, one character per event; then the end, or a cut.
fn events(body: &str, cut: bool) -> BoxBody<Bytes, std::io::Error> {
    let start = body.find("<pl:").unwrap_or(0);
    let end = body[start..].find('>').map_or(start, |end| start + end + 1);
    let mut all = vec![Ok(event(
        "content_block_start",
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    ))];
    all.extend(body[start..end].chars().map(|c| {
        let delta = serde_json::json!({
            "type": "content_block_delta",
            "index": 0,
            "delta": { "type": "text_delta", "text": c.to_string() },
        });
        Ok(event("content_block_delta", &delta.to_string()))
    }));
    if cut {
        all.push(Err(()));
    } else {
        let stop = r#"{"type":"content_block_stop","index":0}"#;
        all.push(Ok(event("content_block_stop", stop)));
        all.push(Ok(event("message_stop", r#"{"type":"message_stop"}"#)));
    }
    pieces(all)
}

fn event(name: &str, data: &str) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// Each piece on its own; an error cuts the connection or the stream.
fn pieces(all: Vec<Result<Bytes, ()>>) -> BoxBody<Bytes, std::io::Error> {
    let (tell, told) = mpsc::channel(1);
    tokio::spawn(async move {
        for piece in all {
            let _ = tell.send(piece.map_err(|()| std::io::Error::other("cut"))).await;
            tokio::task::yield_now().await;
        }
    });
    Pieces(told).boxed()
}

struct Pieces(mpsc::Receiver<Result<Bytes, std::io::Error>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
