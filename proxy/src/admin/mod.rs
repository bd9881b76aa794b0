//! The admin endpoint: health for anybody on the machine, changes for who can read the token.

pub(crate) mod state;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::killswitch::{Mover, REASON_MAX, Source};
use crate::listen::ended;
use crate::proxy::{Ending, Proxy};
use crate::setup::{Refused, Reloaded};

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
    if let Err(text) = local(request.headers()) {
        return error(StatusCode::FORBIDDEN, text);
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/healthz") => {
            let (healthy, body) = state::health(proxy);
            json(if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &body)
        }
        (&Method::GET, "/admin/state") => json(StatusCode::OK, &state::state(proxy)),
        (&Method::GET, "/metrics") => {
            let mut response = Response::new(Full::new(state::metrics(proxy).into()));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        (&Method::POST, "/admin/killswitch" | "/admin/reload") => {
            if let Err((status, text)) = allowed(request.headers(), token) {
                return error(status, text);
            }
            change(proxy, request).await
        }
        (_, "/healthz" | "/admin/state" | "/metrics" | "/admin/killswitch" | "/admin/reload") => {
            error(StatusCode::METHOD_NOT_ALLOWED, "this endpoint has another method")
        }
        _ => error(StatusCode::NOT_FOUND, "no such endpoint"),
    }
}

/// A browser's page must not reach this: `Host` names loopback (DNS rebinding), no `Origin`.
fn local(headers: &HeaderMap) -> Result<(), &'static str> {
    if headers.contains_key(ORIGIN) {
        return Err("requests of web pages are refused");
    }
    let host = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    if ["127.0.0.1", "localhost", "[::1]"].contains(&name) {
        Ok(())
    } else {
        Err("Host must be a loopback name")
    }
}

/// Changes need JSON, which no form can send, and the token.
fn allowed(headers: &HeaderMap, token: Option<&Token>) -> Result<(), (StatusCode, &'static str)> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let text = "Content-Type must be application/json";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let given = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .and_then(Token::parse);
    match (given, token) {
        (Some(given), Some(token)) if token.is(&given) => Ok(()),
        _ => Err((StatusCode::UNAUTHORIZED, "the token in run/admin.token is needed")),
    }
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

async fn change(proxy: &Proxy, request: Request<Incoming>) -> Answer {
    let reload = request.uri().path() == "/admin/reload";
    let Ok(body) = Limited::new(request.into_body(), BODY_MAX).collect().await else {
        return error(StatusCode::BAD_REQUEST, "the body is too large, or was cut");
    };
    if reload {
        return reloaded(proxy, "http").await.map_or_else(
            |text| error(StatusCode::INTERNAL_SERVER_ERROR, &text),
            |status| json(StatusCode::OK, &json!({ "status": status })),
        );
    }
    let Ok(Move { action, reason }) = serde_json::from_slice(&body.to_bytes()) else {
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

/// Reads the configuration again. What became of it, or why nothing changed.
pub(crate) async fn reloaded(proxy: &Proxy, actor: &str) -> Result<&'static str, String> {
    let outcome = proxy.setup.reload(&proxy.record, &proxy.switch, actor).await;
    match outcome {
        Ok(Reloaded::InForce) => Ok("in force"),
        Ok(Reloaded::Restart) => {
            let ending = proxy.ending.clone();
            tokio::spawn(async move {
                tokio::time::sleep(PARTING).await;
                ending.send_replace(Ending::Restart);
            });
            Ok("restarting")
        }
        Err(refused @ (Refused::Config(_) | Refused::Append(_))) => Err(refused.to_string()),
    }
}

fn json(status: StatusCode, body: &Value) -> Answer {
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
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

    #[test]
    fn answers_only_loopback_names_and_no_web_page() {
        for host in ["127.0.0.1", "127.0.0.1:8889", "localhost:1", "[::1]:8889", "[::1]"] {
            assert!(local(&headers(&[("host", host)])).is_ok(), "{host}");
        }
        for host in ["", "example.com:8889", "127.0.0.1.example.com", "localhost:x"] {
            assert!(local(&headers(&[("host", host)])).is_err(), "{host}");
        }
        let page = [("host", "127.0.0.1"), ("origin", "http://127.0.0.1")];
        assert!(local(&headers(&page)).is_err());
    }

    #[test]
    fn changes_need_the_token_and_json() {
        let token = Token::new([0xab; 32]);
        let bearer = format!("Bearer {}", "ab".repeat(32));
        let right = headers(&[("content-type", "application/json"), ("authorization", &bearer)]);
        assert!(allowed(&right, Some(&token)).is_ok());
        let status = |h: &HeaderMap, t| allowed(h, t).unwrap_err().0;
        let other = Token::new([0; 32]);
        assert_eq!(status(&right, None), 401);
        assert_eq!(status(&right, Some(&other)), 401);
        let form = headers(&[("content-type", "text/plain"), ("authorization", &bearer)]);
        assert_eq!(status(&form, Some(&token)), 415);
        let none = headers(&[("content-type", "application/json")]);
        assert_eq!(status(&none, Some(&token)), 401);
    }

    #[test]
    fn a_token_is_64_hexadecimal_digits() {
        assert_eq!(Token::parse(&format!("{}\n", "0f".repeat(32))).unwrap().0, [15; 32]);
        for bad in ["", "0f", &"zz".repeat(32), &"+f".repeat(32), &"0f".repeat(33)] {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
    }
}
