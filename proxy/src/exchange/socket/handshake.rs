//! The opening handshake (RFC 6455 section 4), both ways. Pure.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Version};
use protocol::names::HostName;

use crate::exchange::head;
use crate::reply::Cause;

const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
const EXTENSIONS: HeaderName = HeaderName::from_static("sec-websocket-extensions");
const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const PROTOCOL: HeaderName = HeaderName::from_static("sec-websocket-protocol");
const VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// What a server proves that it understood a key with.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A client's key, checked: it asked for a WebSocket as one does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    key: HeaderValue,
}

/// Reads a client's handshake.
///
/// # Errors
///
/// [`Cause::WebSocketOff`] for any other protocol, and [`Cause::Protocol`].
pub(super) fn asked(head: &Parts, bodiless: bool) -> Result<Asked, Cause> {
    if head.version != Version::HTTP_11 || !is_one(&head.headers, &UPGRADE, "websocket") {
        return Err(Cause::WebSocketOff);
    }
    let keys: Vec<&HeaderValue> = head.headers.get_all(KEY).iter().collect();
    let key = match keys[..] {
        [key] if STANDARD.decode(key).is_ok_and(|key| key.len() == 16) => key.clone(),
        _ => return Err(MALFORMED),
    };
    let fits = head.method == Method::GET
        && bodiless
        && lists(&head.headers, &CONNECTION, "upgrade")
        && is_one(&head.headers, &VERSION, "13");
    if fits { Ok(Asked { key }) } else { Err(MALFORMED) }
}

const MALFORMED: Cause = Cause::Protocol("the WebSocket handshake is not one of RFC 6455");

/// Headers of our own handshake with the provider, by the key `ours`. No extension is offered.
pub(super) fn outward(headers: HeaderMap, host: &HostName, ours: [u8; 16]) -> HeaderMap {
    let mut headers = head::outward(headers, host);
    headers.remove(EXTENSIONS);
    headers.remove(ACCEPT);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
    headers.insert(VERSION, HeaderValue::from_static("13"));
    if let Ok(key) = HeaderValue::try_from(STANDARD.encode(ours)) {
        headers.insert(KEY, key);
    }
    headers
}

/// Checks a provider's answer of 101 to our handshake, in which `offered` were the client's headers.
///
/// # Errors
///
/// [`Cause::Upstream`]: it is not an answer to that.
pub(super) fn verify<B>(
    answer: &Response<B>,
    ours: [u8; 16],
    offered: &HeaderMap,
) -> Result<(), Cause> {
    let headers = answer.headers();
    let accepts: Vec<&HeaderValue> = headers.get_all(ACCEPT).iter().collect();
    let accepted = matches!(accepts[..], [it] if *it == accept(STANDARD.encode(ours).as_bytes()));
    if !accepted
        || !is_one(headers, &UPGRADE, "websocket")
        || !lists(headers, &CONNECTION, "upgrade")
    {
        return Err(Cause::Upstream("its WebSocket handshake is not an answer to ours"));
    }
    if headers.contains_key(EXTENSIONS) {
        return Err(Cause::Upstream("it uses a WebSocket extension that was not offered"));
    }
    let mut chosen = headers.get_all(PROTOCOL).iter();
    match (chosen.next().map(HeaderValue::to_str), chosen.next()) {
        (None, _) => Ok(()),
        (Some(Ok(name)), None) if lists(offered, &PROTOCOL, name) => Ok(()),
        _ => Err(Cause::Upstream("it chose a WebSocket subprotocol that was not offered")),
    }
}

/// Headers of the answer of 101 to a client, out of those of the provider's.
pub(super) fn inward(headers: HeaderMap, asked: &Asked) -> HeaderMap {
    let mut headers = head::inward(headers, true);
    headers.remove(EXTENSIONS);
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
    headers.insert(ACCEPT, accept(asked.key.as_bytes()));
    headers
}

/// The answer that proves that `key` was understood.
fn accept(key: &[u8]) -> HeaderValue {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(GUID);
    // Base64 is always a header value.
    HeaderValue::try_from(STANDARD.encode(hash.finish())).unwrap_or(HeaderValue::from_static(""))
}

/// The answer of 101.
pub(super) fn switching<B>(headers: HeaderMap, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    response
}

/// Whether `name` stands once, and says `token` and nothing else.
fn is_one(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
    matches!(values[..], [value] if value.as_bytes().trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether `token` is among the values of `name`.
fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .any(|listed| listed.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    const FINE: [(&str, &str); 5] = [
        ("host", "api.openai.com"),
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    fn head(pairs: &[(&'static str, &'static str)]) -> Parts {
        let mut request = Request::get("/v1/responses").body(()).unwrap();
        *request.headers_mut() = headers(pairs);
        request.into_parts().0
    }

    #[test]
    fn proves_the_key_as_the_standard_shows() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn takes_a_handshake_and_no_other_upgrade() {
        assert!(asked(&head(&FINE), true).is_ok());
        assert_eq!(asked(&head(&FINE), false), Err(MALFORMED));
        for (number, name, value, cause) in [
            (1, "upgrade", "h2c", Cause::WebSocketOff),
            (1, "upgrade", "websocket, h2c", Cause::WebSocketOff),
            (2, "connection", "keep-alive", MALFORMED),
            (3, "sec-websocket-version", "8", MALFORMED),
            (4, "sec-websocket-key", "c2hvcnQ=", MALFORMED),
        ] {
            let mut pairs = FINE;
            pairs[number] = (name, value);
            assert_eq!(asked(&head(&pairs), true), Err(cause), "{name}: {value}");
        }
        let mut post = head(&FINE);
        post.method = Method::POST;
        assert_eq!(asked(&post, true), Err(MALFORMED));
    }

    #[test]
    fn i7_no_extension_is_offered_and_the_key_is_ours() {
        let offered = [
            &FINE[..],
            &[
                ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
                ("sec-websocket-protocol", "realtime"),
                ("openai-beta", "responses_websockets=2026-02-06"),
            ],
        ]
        .concat();
        let host = HostName::normalise("api.openai.com").unwrap();
        let sent = outward(headers(&offered), &host, [7; 16]);
        assert!(!sent.contains_key(EXTENSIONS));
        assert_eq!(sent[KEY], STANDARD.encode([7; 16]).as_str());
        assert_eq!(sent[PROTOCOL], "realtime");
        assert_eq!(sent["openai-beta"], "responses_websockets=2026-02-06");
        assert_eq!(sent[UPGRADE], "websocket");
    }

    #[test]
    fn an_answer_must_be_to_our_own_handshake() {
        let proof = accept(STANDARD.encode([7; 16]).as_bytes());
        let mut fine = headers(&[("upgrade", "websocket"), ("connection", "upgrade")]);
        fine.insert(ACCEPT, proof);
        let offered = headers(&[("sec-websocket-protocol", "one, two")]);
        let of = |headers: HeaderMap| verify(&switching(headers, ()), [7; 16], &offered);
        assert_eq!(of(fine.clone()), Ok(()));
        let with = |name: &'static str, value: &'static str| {
            let mut headers = fine.clone();
            headers.insert(name, HeaderValue::from_static(value));
            of(headers)
        };
        assert_eq!(with("sec-websocket-protocol", "two"), Ok(()));
        for (name, value) in [
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("sec-websocket-extensions", "permessage-deflate"),
            ("sec-websocket-protocol", "three"),
            ("upgrade", "h2c"),
            ("connection", "close"),
        ] {
            assert!(matches!(with(name, value), Err(Cause::Upstream(_))), "{name}: {value}");
        }
    }

    #[test]
    fn a_client_gets_the_proof_of_its_own_key_and_the_headers_of_the_provider() {
        let asked = asked(&head(&FINE), true).unwrap();
        let theirs = [("sec-websocket-accept", "x"), ("openai-model", "m"), ("upgrade", "x")];
        let answer = inward(headers(&theirs), &asked);
        assert_eq!(answer[ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(answer["openai-model"], "m");
        assert_eq!(answer[UPGRADE], "websocket");
    }
}
