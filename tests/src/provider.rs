//! A model provider on loopback: real TLS under its own CA, scripted answers, and a memory.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use crate::shape::Shape;
use crate::socket::{self, Say, Speech};

/// The hosts a provider answers for.
pub const HOSTS: [&str; 4] =
    ["api.anthropic.com", "api.openai.com", "api.deepseek.com", "openrouter.ai"];

/// A request as the provider saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// HTTP version, as `HTTP/1.1`.
    pub version: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Seen {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("bodies of these stories are UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("bodies of these stories are JSON")
    }
}

/// One step of a streamed answer.
#[derive(Debug, Clone)]
pub enum Step {
    /// Send these bytes as one chunk.
    Send(Bytes),
    /// Wait until the story says go.
    Wait(Arc<Notify>),
    /// Be silent for a while.
    Pause(Duration),
    /// Cut the connection.
    HangUp,
}

impl Step {
    /// A chunk.
    pub fn send(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Send(Bytes::from(bytes.into()))
    }
}

/// A scripted answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 0 for none at all.
    status: u16,
    headers: Vec<(String, String)>,
    steps: Vec<Step>,
    whole: bool,
    talk: Option<Talk>,
}

/// What a provider says to each message of a WebSocket.
#[derive(Clone)]
struct Talk(Arc<Speech>);

impl std::fmt::Debug for Talk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Talk")
    }
}

impl Answer {
    /// A WebSocket, on which `talk` is said to each text message.
    pub fn socket(talk: impl Fn(&str) -> Vec<Say> + Send + Sync + 'static) -> Self {
        let talk = Some(Talk(Arc::new(talk)));
        Self { status: 101, headers: Vec::new(), steps: Vec::new(), whole: false, talk }
    }

    /// None: the connection is cut instead, or of HTTP/2 the stream.
    pub fn none() -> Self {
        Self { status: 0, headers: Vec::new(), steps: Vec::new(), whole: false, talk: None }
    }

    /// One JSON body.
    pub fn json(value: &Value) -> Self {
        Self::whole("application/json", value.to_string().into_bytes())
    }

    /// One body of `content_type`.
    pub fn whole(content_type: &str, body: Vec<u8>) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type".into(), content_type.into())],
            steps: vec![Step::send(body)],
            whole: true,
            talk: None,
        }
    }

    /// A server-sent event stream, chunk by chunk.
    pub fn stream(steps: Vec<Step>) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type".into(), "text/event-stream; charset=utf-8".into())],
            steps,
            whole: false,
            talk: None,
        }
    }

    /// The same with another status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same with this header, in place of any of that name.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// A connection that was accepted.
pub type Tls = tokio_rustls::server::TlsStream<TcpStream>;

type Script = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

/// A model provider on loopback.
pub struct Provider {
    address: SocketAddr,
    ca_pem: String,
    memory: Memory,
    over: watch::Sender<bool>,
}

/// What a provider remembers.
#[derive(Clone, Default)]
struct Memory {
    seen: Arc<Mutex<Vec<Seen>>>,
    heard: Arc<Mutex<Vec<String>>>,
    /// Not even that.
    none: bool,
}

impl Memory {
    fn see(&self, seen: &Seen) {
        if !self.none {
            self.seen.lock().expect("no story panics while it holds this").push(seen.clone());
        }
    }
}

impl Provider {
    /// Starts one that answers each request by `script`.
    pub async fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::serving(&[b"h2", b"http/1.1"], Memory::default(), script).await
    }

    /// The same without a memory, for stories that never end, and with its own `alpn`.
    pub async fn forgetful(
        alpn: &[&[u8]],
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::serving(alpn, Memory { none: true, ..Memory::default() }, script).await
    }

    async fn serving(
        alpn: &[&[u8]],
        memory: Memory,
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let script: Script = Arc::new(script);
        let remembering = memory.clone();
        let serve = move |stream| serve(stream, script.clone(), remembering.clone());
        Self::listening(alpn, memory, serve).await
    }

    /// Starts one that speaks TLS, agrees on `alpn`, and leaves the rest of each connection to
    /// `behave`, which may note in the list it is given what it was sent.
    pub async fn rogue<F: Future<Output = ()> + Send + 'static>(
        alpn: &[u8],
        behave: impl Fn(Tls, Arc<Mutex<Vec<String>>>) -> F + Send + Sync + 'static,
    ) -> Self {
        let memory = Memory::default();
        let heard = Arc::clone(&memory.heard);
        Self::listening(&[alpn], memory, move |stream| behave(stream, Arc::clone(&heard))).await
    }

    async fn listening<F: Future<Output = ()> + Send + 'static>(
        alpn: &[&[u8]],
        memory: Memory,
        serve: impl Fn(Tls) -> F + Send + Sync + 'static,
    ) -> Self {
        let (ca_pem, mut tls) = identity(&HOSTS);
        tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound listener has an address");
        let over = watch::Sender::new(false);
        let (serve, mut ended) = (Arc::new(serve), over.subscribe());
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = ended.wait_for(|over| *over) => break,
                };
                let Ok((stream, _)) = accepted else { break };
                let (acceptor, serve, mut ended) =
                    (acceptor.clone(), Arc::clone(&serve), ended.clone());
                tokio::spawn(async move {
                    stream.set_nodelay(true).expect("a fresh socket takes options");
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    tokio::select! {
                        () = serve(stream) => {}
                        _ = ended.wait_for(|over| *over) => {}
                    }
                });
            }
        });
        Self { address, ca_pem, memory, over }
    }

    /// Goes away, and its connections with it.
    pub fn leave(&self) {
        self.over.send_replace(true);
    }

    /// Starts one that sends each JSON request's text back in the shape of its API.
    pub async fn echo() -> Self {
        Self::start(echo).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate of its CA.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Everything it saw so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.memory.seen.lock().expect("no story panics while it holds this").clone()
    }

    /// Every WebSocket message it was sent so far: text as it is, what closed one as `close CODE REASON`,
    /// pings as `ping PAYLOAD`.
    pub fn heard(&self) -> Vec<String> {
        self.memory.heard.lock().expect("no story panics while it holds this").clone()
    }

    /// The request it saw last.
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("the provider saw a request")
    }

    /// Whether `needle` occurs anywhere in what it saw: method, path, headers, bodies, messages.
    pub fn saw(&self, needle: &str) -> bool {
        self.heard().iter().any(|message| message.contains(needle))
            || self.seen().iter().any(|seen| {
                seen.path.contains(needle)
                    || contains(&seen.body, needle.as_bytes())
                    || seen
                        .headers
                        .values()
                        .any(|value| contains(value.as_bytes(), needle.as_bytes()))
            })
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

async fn serve(stream: Tls, script: Script, memory: Memory) {
    let service = service_fn(move |request| answer(request, script.clone(), memory.clone()));
    // A client that hangs up, or an answer that does, ends the connection with an error.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    mut request: Request<Incoming>,
    script: Script,
    memory: Memory,
) -> Result<Response<BoxBody<Bytes, std::io::Error>>, std::io::Error> {
    let upgraded = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let seen = Seen {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        version: format!("{:?}", head.version),
        headers: head.headers,
        body,
    };
    memory.see(&seen);
    let mut answer = script(&seen);
    if answer.status == 0 {
        return Err(hung_up());
    }
    if let Some(Talk(talk)) = answer.talk.take() {
        socket::accept(&seen.headers, &mut answer.headers);
        tokio::spawn(async move {
            if let Ok(upgraded) = upgraded.await {
                let heard = (!memory.none).then_some(&*memory.heard);
                socket::serve(TokioIo::new(upgraded), &*talk, heard).await;
            }
        });
    }
    let status = StatusCode::from_u16(answer.status).expect("scripted statuses are valid");
    let mut response = Response::builder().status(status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    Ok(response.body(play(answer)).expect("scripted headers are valid"))
}

fn play(answer: Answer) -> BoxBody<Bytes, std::io::Error> {
    if answer.whole
        && let [Step::Send(body)] = answer.steps.as_slice()
    {
        return Full::new(body.clone()).map_err(|never| match never {}).boxed();
    }
    let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(1);
    tokio::spawn(async move {
        for step in answer.steps {
            match step {
                Step::Send(bytes) => {
                    if sender.send_data(bytes).await.is_err() {
                        return;
                    }
                    // Lets the chunk leave before the next one joins it.
                    tokio::task::yield_now().await;
                }
                Step::Wait(go) => go.notified().await,
                Step::Pause(time) => tokio::time::sleep(time).await,
                Step::HangUp => {
                    sender.abort(hung_up());
                    return;
                }
            }
        }
    });
    body.boxed()
}

fn hung_up() -> std::io::Error {
    std::io::Error::other("the story hangs up")
}

/// A CA of its own, in PEM, and TLS under it as all of `names`.
pub fn identity(names: &[&str]) -> (String, rustls::ServerConfig) {
    let ca_key = KeyPair::generate().expect("keys can be made");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).expect("a CA can be made");
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("keys can be made");
    let leaf = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())
        .expect("the hosts are names")
        .signed_by(&key, &issuer)
        .expect("a leaf can be made");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("the key fits the leaf");
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (ca_certificate.pem(), tls)
}

/// The text of a request's last message, in any of the three shapes.
pub fn last_text(body: &Value) -> String {
    let last = ["messages", "input"]
        .iter()
        .find_map(|list| body[*list].as_array()?.last().cloned())
        .unwrap_or(Value::Null);
    match &last["content"] {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            blocks.iter().filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().concat()
        }
        _ => body["input"].as_str().unwrap_or_default().to_owned(),
    }
}

fn echo(seen: &Seen) -> Answer {
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let text = last_text(&body);
    if body["stream"] == true
        && let Some(shape) = Shape::of(&seen.path)
    {
        return Answer::stream(shape.text_stream(&[&text]).into_iter().map(Step::send).collect());
    }
    let reply = if seen.path.contains("/messages") {
        serde_json::json!({
            "id": "msg_01", "type": "message", "role": "assistant", "model": "made-up",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}
        })
    } else if seen.path.contains("/responses") {
        serde_json::json!({
            "id": "resp_01", "object": "response", "status": "completed",
            "output": [{"type": "message", "id": "msg_01", "role": "assistant",
                        "content": [{"type": "output_text", "text": text, "annotations": []}]}]
        })
    } else if seen.path.contains("/chat/completions") {
        serde_json::json!({
            "id": "chatcmpl-01", "object": "chat.completion",
            "choices": [{"index": 0, "finish_reason": "stop",
                         "message": {"role": "assistant", "content": text}}]
        })
    } else {
        body
    };
    Answer::json(&reply)
}
