//! The admin endpoint: health for anybody on the machine, changes for who can read the token.

pub(crate) mod health;
mod metrics;
pub(crate) mod state;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap,
    HeaderValue, ORIGIN, WWW_AUTHENTICATE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use self::state::Audience;
use crate::killswitch::{Mover, REASON_MAX, Source};
use crate::listen::ended;
use crate::proxy::{Ending, Proxy};
use crate::setup::{Around, Refused, Reloaded};

/// Connections at once.
const CONNECTIONS: usize = 32;

/// How long one may stay.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between the word that the process ends and its end.
const PARTING: Duration = Duration::from_millis(100);

/// Largest request body, in bytes.
const BODY_MAX: usize = 16 * 1024;

/// What `run/admin.token` holds.
#[derive(Clone)]
pub(crate) struct Token([u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(hidden)")
    }
}

impl Token {
    /// The token's bytes.
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The token that `text`, 64 hexadecimal digits, spells.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.trim_ascii().as_bytes();
        let mut bytes = [0; 32];
        let spelt = digits.len() == 2 * bytes.len() && digits.iter().all(u8::is_ascii_hexdigit);
        if !spelt {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).ok()?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The bytes, for the control link's hello.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares without stopping at the first difference.
    fn is(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }
}

/// Serves the endpoint until the process ends.
pub(crate) async fn serve(proxy: Arc<Proxy>, listener: TcpListener, token: Option<Token>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let ending = proxy.ending.subscribe();
    let accept = async {
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (proxy, token) = (Arc::clone(&proxy), token.clone());
                    tokio::spawn(async move {
                        connection(proxy, stream, token).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "admin accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = ended(ending) => {}
    }
}

async fn connection(proxy: Arc<Proxy>, stream: TcpStream, token: Option<Token>) {
    let service = service_fn(move |request| {
        let (proxy, token) = (Arc::clone(&proxy), token.clone());
        async move { Ok::<_, Infallible>(answer(&proxy, request, token.as_ref()).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .max_buf_size(16 * 1024)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, served).await {
        tracing::debug!(%error, "admin connection failed");
    }
}

type Answer = Response<Full<Bytes>>;

async fn answer(proxy: &Proxy, request: Request<Incoming>, token: Option<&Token>) -> Answer {
    if let Err(text) = local(&request) {
        return error(StatusCode::FORBIDDEN, text);
    }
    let Some(endpoint) = Endpoint::at(request.uri().path()) else {
        return error(StatusCode::NOT_FOUND, "no such endpoint");
    };
    let methods = endpoint.methods();
    if !methods.contains(request.method()) {
        let mut refused = error(StatusCode::METHOD_NOT_ALLOWED, "this endpoint has another method");
        let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
        if let Ok(allow) = HeaderValue::from_str(&names.join(", ")) {
            refused.headers_mut().insert(ALLOW, allow);
        }
        return refused;
    }
    match endpoint {
        Endpoint::Health => {
            let (healthy, body) = state::health(proxy).await;
            json(if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &body)
        }
        Endpoint::State => {
            let audience = match holds(request.headers(), token) {
                true => Audience::Operator,
                false => Audience::Anybody,
            };
            json(StatusCode::OK, &state::state(proxy, audience).await)
        }
        Endpoint::Metrics => {
            let mut response = Response::new(Full::new(metrics::metrics(proxy).await.into()));
            let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
            response
        }
        Endpoint::KillSwitch | Endpoint::Reload => {
            if let Err((status, text)) = allowed(request.headers(), token) {
                let mut refused = error(status, text);
                if status == StatusCode::UNAUTHORIZED {
                    refused.headers_mut().insert(WWW_AUTHENTICATE, BEARER);
                }
                return refused;
            }
            change(proxy, endpoint, request).await
        }
    }
}

const BEARER: HeaderValue = HeaderValue::from_static("Bearer");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Health,
    State,
    Metrics,
    KillSwitch,
    Reload,
}

impl Endpoint {
    fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/healthz" => Self::Health,
            "/admin/state" => Self::State,
            "/metrics" => Self::Metrics,
            "/admin/killswitch" => Self::KillSwitch,
            "/admin/reload" => Self::Reload,
            _ => return None,
        })
    }

    fn methods(self) -> &'static [Method] {
        match self {
            Self::Health | Self::State | Self::Metrics => &[Method::GET, Method::HEAD],
            Self::KillSwitch | Self::Reload => &[Method::POST],
        }
    }
}

/// A browser's page must not reach this: all names the request gives are loopback's (DNS
/// rebinding), and no `Origin`.
fn local<B>(request: &Request<B>) -> Result<(), &'static str> {
    let headers = request.headers();
    if headers.contains_key(ORIGIN) {
        return Err("requests of web pages are refused");
    }
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err("one Host is needed, and it must be a loopback name");
    };
    let target = request.uri().authority().map(|authority| authority.as_str());
    let mut names = [Some(host.to_str().unwrap_or_default()), target].into_iter().flatten();
    if names.all(is_loopback) { Ok(()) } else { Err("Host must be a loopback name") }
}

/// Whether this is a loopback name, with or without a port.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Changes need the token, and JSON, which no form can send.
fn allowed(headers: &HeaderMap, token: Option<&Token>) -> Result<(), (StatusCode, &'static str)> {
    if !holds(headers, token) {
        let text = "the token in run/admin.token is needed";
        return Err((StatusCode::UNAUTHORIZED, text));
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let text = "Content-Type must be application/json";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    if headers.contains_key(CONTENT_ENCODING) {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "no Content-Encoding is taken here"));
    }
    Ok(())
}

/// Whether the request comes with the token.
fn holds(headers: &HeaderMap, token: Option<&Token>) -> bool {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.split_once(' '));
    let bearer = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let given = bearer.and_then(|(_, text)| Token::parse(text));
    matches!((given, token), (Some(given), Some(token)) if token.is(&given))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    action: Action,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Arm,
    Disarm,
}

/// What a reload is asked for with: nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Again {}

async fn change(proxy: &Proxy, endpoint: Endpoint, request: Request<Incoming>) -> Answer {
    let body = match Limited::new(request.into_body(), BODY_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(failed) if failed.is::<LengthLimitError>() => {
            return error(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 16 KiB");
        }
        Err(_) => return error(StatusCode::BAD_REQUEST, "the body was cut"),
    };
    if endpoint == Endpoint::Reload {
        if !body.is_empty() && serde_json::from_slice::<Again>(&body).is_err() {
            return error(StatusCode::BAD_REQUEST, "the body must be empty, or {}");
        }
        return match reloaded(proxy, "http").await {
            Ok(reloaded) => json(StatusCode::OK, &json!({ "status": in_words(reloaded) })),
            Err(refused) => error(StatusCode::INTERNAL_SERVER_ERROR, &refused.to_string()),
        };
    }
    let Ok(Move { action, reason }) = serde_json::from_slice(&body) else {
        let text = r#"the body must be {"action":"arm"|"disarm","reason":TEXT}"#;
        return error(StatusCode::BAD_REQUEST, text);
    };
    let moved = switch(proxy, matches!(action, Action::Arm), "http", reason.as_deref()).await;
    match moved {
        Ok(sources) => {
            let status = if sources.is_empty() { "disarmed" } else { "armed" };
            json(StatusCode::OK, &json!({ "status": status, "sources_active": sources }))
        }
        Err(Unmoved::Reason) => error(StatusCode::BAD_REQUEST, REASON_TEXT),
        Err(Unmoved::Log) => error(StatusCode::SERVICE_UNAVAILABLE, LOG_TEXT),
    }
}

fn in_words(reloaded: Reloaded) -> &'static str {
    match reloaded {
        Reloaded::InForce => "in force",
        Reloaded::Unchanged => "unchanged",
        Reloaded::Restart => "restarting",
    }
}

/// Why the kill switch was not moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmoved {
    /// The reason does not fit on a line.
    Reason,
    /// The log did not take the clearing.
    Log,
}

/// For [`Unmoved::Reason`].
pub(crate) const REASON_TEXT: &str =
    "the reason must be at most 200 bytes, without control characters";

/// For [`Unmoved::Log`].
pub(crate) const LOG_TEXT: &str =
    "the evidence log did not accept the clearing, so the kill switch stays armed";

/// Moves the `http` source. The sources active afterwards.
pub(crate) async fn switch(
    proxy: &Proxy,
    arm: bool,
    actor: &str,
    reason: Option<&str>,
) -> Result<Vec<String>, Unmoved> {
    let fits = |text: &str| text.len() <= REASON_MAX && !text.chars().any(char::is_control);
    if !reason.is_none_or(fits) {
        return Err(Unmoved::Reason);
    }
    let mover = Mover { actor, reason };
    if arm {
        return Ok(proxy.switch.arm(Source::Http, mover).names());
    }
    let cleared = proxy.switch.clear(Source::Http, mover).await;
    cleared.map(|sources| sources.names()).map_err(|_| Unmoved::Log)
}

/// Reads the configuration again.
///
/// # Errors
///
/// Why nothing changed.
pub(crate) async fn reloaded(proxy: &Proxy, actor: &str) -> Result<Reloaded, Refused> {
    let around = Around { record: &proxy.record, switch: &proxy.switch, mint: &proxy.mint };
    let reloaded = proxy.setup.reload(around, actor).await?;
    if reloaded == Reloaded::Restart {
        let ending = proxy.ending.clone();
        tokio::spawn(async move {
            tokio::time::sleep(PARTING).await;
            ending.send_replace(Ending::Restart);
        });
    }
    Ok(reloaded)
}

fn json(status: StatusCode, body: &Value) -> Answer {
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

fn error(status: StatusCode, text: &str) -> Answer {
    json(status, &json!({ "error": text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (hyper::header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn request(uri: &str, pairs: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri(uri).body(()).unwrap();
        *request.headers_mut() = headers(pairs);
        request
    }

    #[test]
    fn answers_only_loopback_names_and_no_web_page() {
        let of = |uri: &str, pairs: &[(&'static str, &str)]| local(&request(uri, pairs));
        for host in ["127.0.0.1", "127.0.0.1:8889", "LocalHost:1", "[::1]:8889", "[::1]"] {
            assert!(of("/healthz", &[("host", host)]).is_ok(), "{host}");
        }
        for host in ["", "example.com:8889", "127.0.0.1.example.com", "localhost:x"] {
            assert!(of("/healthz", &[("host", host)]).is_err(), "{host}");
        }
        let here = ("host", "127.0.0.1");
        assert!(of("/healthz", &[here, ("origin", "http://127.0.0.1")]).is_err());
        assert!(of("http://example.com/healthz", &[here]).is_err());
        assert!(of("http://localhost/healthz", &[here]).is_ok());
        assert!(of("/healthz", &[]).is_err());
        let mut two = request("/healthz", &[here]);
        two.headers_mut().append(HOST, HeaderValue::from_static("localhost"));
        assert!(local(&two).is_err());
    }

    #[test]
    fn changes_need_the_token_and_json() {
        let token = Token::new([0xab; 32]);
        let bearer = format!("Bearer {}", "ab".repeat(32));
        let json = ("content-type", "application/json");
        let right = headers(&[json, ("authorization", &bearer)]);
        assert!(allowed(&right, Some(&token)).is_ok());
        let lower = bearer.to_lowercase();
        assert!(allowed(&headers(&[json, ("authorization", &lower)]), Some(&token)).is_ok());
        let status = |h: &HeaderMap, t| allowed(h, t).unwrap_err().0;
        let other = Token::new([0; 32]);
        assert_eq!(status(&right, None), 401);
        assert_eq!(status(&right, Some(&other)), 401);
        let form = headers(&[("content-type", "text/plain"), ("authorization", &bearer)]);
        assert_eq!(status(&form, Some(&token)), 415);
        let coded = [json, ("authorization", bearer.as_str()), ("content-encoding", "gzip")];
        assert_eq!(status(&headers(&coded), Some(&token)), 415);
        assert_eq!(status(&headers(&[json]), Some(&token)), 401);
    }

    #[test]
    fn a_token_is_64_hexadecimal_digits() {
        assert_eq!(Token::parse(&format!("{}\n", "0f".repeat(32))).unwrap().0, [15; 32]);
        for bad in ["", "0f", &"zz".repeat(32), &"+f".repeat(32), &"0f".repeat(33)] {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
    }
}
