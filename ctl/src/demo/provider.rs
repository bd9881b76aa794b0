//! A model provider on loopback: TLS under its own CA, Anthropic Messages and OpenAI Chat. It says
//! back what it was told, as text and as a tool call, and remembers every byte.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::story::Trouble;

/// The hosts it answers for, and the shapes they speak.
pub(super) const HOSTS: [(&str, &str); 2] =
    [("api.anthropic.com", "anthropic"), ("api.openai.com", "openai")];

/// A model provider on loopback.
pub(super) struct Provider {
    address: SocketAddr,
    ca_pem: String,
    memory: Memory,
}

#[derive(Clone, Default)]
struct Memory {
    bodies: Arc<Mutex<Vec<Bytes>>>,
    /// A stream stops in its middle until the agent has seen its beginning.
    go_on: Arc<Notify>,
}

impl Provider {
    pub(super) async fn start() -> Result<Self, Trouble> {
        let (ca_pem, tls) = identity()?;
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let memory = Memory::default();
        let shared = memory.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, acceptor.clone(), shared.clone()));
            }
        });
        Ok(Self { address, ca_pem, memory })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Every request body so far.
    pub(super) fn seen(&self) -> Vec<Bytes> {
        self.memory.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets the stream that waits go on.
    pub(super) fn go_on(&self) {
        self.memory.go_on.notify_one();
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, memory: Memory) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Ok(stream) = tls.accept(stream).await else { return };
    let service = service_fn(move |request| answer(request, memory.clone()));
    // A connection that is cut shows as a failed check at the agent's end.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(
    request: Request<Incoming>,
    memory: Memory,
) -> Result<Response<Body>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    memory.bodies.lock().unwrap_or_else(PoisonError::into_inner).push(body.clone());
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = told.pointer("/messages/0/content").and_then(Value::as_str).unwrap_or_default();
    let (kind, body) = match (path.as_str(), told["stream"] == true) {
        ("/v1/messages", true) => ("text/event-stream", stream(messages_events(text), memory)),
        ("/v1/messages", false) => ("application/json", whole(&messages_answer(text))),
        _ => ("application/json", whole(&chat_answer(text))),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    Ok(response)
}

fn whole(value: &Value) -> Body {
    Full::new(Bytes::from(value.to_string())).boxed()
}

/// Sends the first half, waits for the word, sends the rest.
fn stream(events: Vec<Value>, memory: Memory) -> Body {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(async move {
        let middle = events.len() / 2;
        for (index, event) in events.into_iter().enumerate() {
            if index == middle {
                memory.go_on.notified().await;
            }
            let name = event["type"].as_str().unwrap_or_default();
            let text = format!("event: {name}\ndata: {event}\n\n");
            if sender.send_data(text.into()).await.is_err() {
                return;
            }
        }
    });
    body.boxed()
}

fn messages_answer(text: &str) -> Value {
    json!({
        "id": "msg_demo", "type": "message", "role": "assistant", "model": "demo",
        "content": [
            { "type": "text", "text": text },
            { "type": "tool_use", "id": "toolu_demo", "name": "bash",
              "input": { "command": text } },
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": { "input_tokens": 1, "output_tokens": 1 },
    })
}

fn chat_answer(text: &str) -> Value {
    json!({
        "id": "chatcmpl-demo", "object": "chat.completion", "created": 0, "model": "demo",
        "choices": [{ "index": 0, "finish_reason": "tool_calls", "message": {
            "role": "assistant", "content": text,
            "tool_calls": [{ "id": "call_demo", "type": "function", "function": {
                "name": "bash", "arguments": json!({ "command": text }).to_string(),
            } }],
        } }],
        "usage": { "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 },
    })
}

/// Text and tool input in pieces so small that every placeholder is cut several times.
fn messages_events(text: &str) -> Vec<Value> {
    let mut message = messages_answer(text);
    message["content"] = json!([]);
    message["stop_reason"] = Value::Null;
    let tool = json!({ "type": "tool_use", "id": "toolu_demo", "name": "bash", "input": {} });
    let input = json!({ "command": text }).to_string();

    let mut events = vec![json!({ "type": "message_start", "message": message })];
    events.push(block_start(0, json!({ "type": "text", "text": "" })));
    for piece in pieces(text) {
        events.push(block_delta(0, json!({ "type": "text_delta", "text": piece })));
    }
    events.push(block_stop(0));
    events.push(block_start(1, tool));
    for piece in pieces(&input) {
        events.push(block_delta(1, json!({ "type": "input_json_delta", "partial_json": piece })));
    }
    events.push(block_stop(1));
    events.push(json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" },
                        "usage": { "output_tokens": 1 } }));
    events.push(json!({ "type": "message_stop" }));
    events
}

fn block_start(index: u8, block: Value) -> Value {
    json!({ "type": "content_block_start", "index": index, "content_block": block })
}

fn block_delta(index: u8, delta: Value) -> Value {
    json!({ "type": "content_block_delta", "index": index, "delta": delta })
}

fn block_stop(index: u8) -> Value {
    json!({ "type": "content_block_stop", "index": index })
}

fn pieces(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(PIECE).map(|piece| piece.iter().collect()).collect()
}

fn identity() -> Result<(String, rustls::ServerConfig), Trouble> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = ca.self_signed(&ca_key)?;
    let key = KeyPair::generate()?;
    let names: Vec<String> = HOSTS.iter().map(|(host, _)| (*host).to_owned()).collect();
    let leaf = CertificateParams::new(names)?.signed_by(&key, &Issuer::new(ca, ca_key))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((certificate.pem(), tls))
}

const PIECE: usize = 5;
