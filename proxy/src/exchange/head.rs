//! Header rules, both ways. Pure.

use std::collections::HashSet;

use hyper::body::Body;
use hyper::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, Entry,
    HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Method, Request, Version};
use protocol::names::HostName;

use crate::encoding::{self, Coding};
use crate::hosts;
use crate::redact::{Media, NotTaken, media_type};
use crate::reply::Cause;

/// Bodies whose digest would no longer hold (RFC 9530, RFC 3230, RFC 2616 section 14.15).
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Meant for one connection only (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Checks that nothing in a CONNECT to `port` of `host` contradicts that, and that no body comes
/// with it.
///
/// # Errors
///
/// The cause to refuse it with.
pub(crate) fn check_connect<B: Body>(
    request: &Request<B>,
    host: &HostName,
    port: u16,
) -> Result<(), Cause> {
    let mut named = request.headers().get_all(HOST).iter();
    let agrees =
        |value: &HeaderValue| value.to_str().is_ok_and(|text| hosts::same_target(text, host, port));
    if !named.next().is_none_or(agrees) {
        return Err(Cause::Protocol("the Host header of the CONNECT names another host"));
    }
    if named.next().is_some() {
        return Err(Cause::Protocol("the CONNECT has two Host headers"));
    }
    if !request.body().is_end_stream() {
        return Err(Cause::Protocol("a CONNECT has no body"));
    }
    Ok(())
}

/// Checks that a request inside the tunnel is for `host`, and one we forward.
///
/// # Errors
///
/// The cause to refuse it with.
pub(crate) fn check<B>(request: &Request<B>, host: &HostName) -> Result<(), Cause> {
    if request.method() == Method::CONNECT {
        return Err(Cause::Protocol("a CONNECT inside a CONNECT is not forwarded"));
    }
    if request.version() < Version::HTTP_11 {
        return Err(Cause::Protocol("in HTTP/1.0 an answer that was cut would look complete"));
    }
    let mut named = request.headers().get_all(HOST).iter();
    let header = named.next();
    if named.next().is_some() {
        return Err(Cause::Protocol("the request has two Host headers"));
    }
    let authority = request.uri().authority().map(|a| a.as_str());
    if header.is_none() && authority.is_none() {
        return Err(Cause::Protocol("the request names no host"));
    }
    let header_agrees =
        header.is_none_or(|value| value.to_str().is_ok_and(|text| hosts::same_host(text, host)));
    if !header_agrees || !authority.is_none_or(|text| hosts::same_host(text, host)) {
        return Err(Cause::Protocol("Host or :authority is not the host of the CONNECT"));
    }
    if request.uri().scheme_str().is_some_and(|scheme| scheme != "https") {
        return Err(Cause::Protocol("the request is for another scheme than https"));
    }
    Ok(())
}

/// Whether a request asks to leave HTTP, in either version's way (RFC 6455, RFC 8441).
pub(crate) fn wants_upgrade<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(UPGRADE)
        || request.headers().contains_key("sec-websocket-key")
        || request.extensions().get::<hyper::ext::Protocol>().is_some()
}

/// What the body of a request is, from its headers: JSON where no media type is given.
///
/// # Errors
///
/// The cause to refuse it with: charsets and types that are not scanned.
pub(crate) fn media(headers: &HeaderMap) -> Result<Media, Cause> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = types.next() else { return Ok(Media::Json) };
    if types.next().is_some() {
        return Err(Cause::Protocol("the request has two Content-Type headers"));
    }
    media_type(value.to_str().map_err(|_| Cause::Media)?).map_err(|not| match not {
        NotTaken::Charset => Cause::Charset,
        NotTaken::Type => Cause::Media,
    })
}

/// The content codings of a body, in the order they were applied.
///
/// # Errors
///
/// [`Cause::Encoding`] where they are not known.
pub(crate) fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, Cause> {
    let values = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
    encoding::codings(values).map_err(|_| Cause::Encoding)
}

/// The headers to forward, for a body that is sent decoded and with a length of its own.
pub(crate) fn outward(mut headers: HeaderMap, host: &HostName) -> HeaderMap {
    drop_hop_by_hop(&mut headers);
    DIGESTS.iter().chain(&[EXPECT, CONTENT_LENGTH, CONTENT_ENCODING]).for_each(|name| {
        remove(&mut headers, name);
    });
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Ok(value) = HeaderValue::from_str(host.as_str()) {
        headers.insert(HOST, value);
    }
    headers
}

/// The response headers to pass on, for a body whose content codings were undone. `rewritten` drops
/// what describes the bytes of the body.
pub(crate) fn inward(mut headers: HeaderMap, rewritten: bool) -> HeaderMap {
    drop_hop_by_hop(&mut headers);
    remove(&mut headers, &CONTENT_ENCODING);
    if rewritten {
        DIGESTS.iter().for_each(|name| remove(&mut headers, name));
        remove(&mut headers, &CONTENT_LENGTH);
    }
    headers
}

/// Whether a response was coded for transfer in no other way than in chunks.
pub(crate) fn came_plain(headers: &HeaderMap) -> bool {
    let plain_transfer = |value: &HeaderValue| {
        let mut codings = value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
        codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"chunked"))
    };
    headers.get_all(TRANSFER_ENCODING).iter().all(plain_transfer)
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: HashSet<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .collect();
    HOP_BY_HOP.iter().chain(&named).for_each(|name| remove(headers, name));
}

fn remove(headers: &mut HeaderMap, name: &HeaderName) {
    if let Entry::Occupied(entry) = headers.entry(name) {
        entry.remove_entry_mult();
    }
}

/// Whether a request is signed over its bytes (AWS Signature 4, RFC 9421).
pub(crate) fn is_signed(headers: &HeaderMap) -> bool {
    let aws = |value: &HeaderValue| value.as_bytes().starts_with(b"AWS4-HMAC-");
    headers.get_all("authorization").iter().any(aws) || headers.contains_key("signature-input")
}

/// A header value fit for a log line: short, of characters that ids have. Others are left out.
pub(crate) fn loggable(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    ((1..=128).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostName {
        HostName::normalise("api.openai.com").unwrap()
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    fn request(uri: &str, pairs: &[(&'static str, &'static str)]) -> Request<()> {
        let mut request = Request::builder().uri(uri).body(()).unwrap();
        *request.headers_mut() = headers(pairs);
        request
    }

    #[test]
    fn names_inside_the_tunnel_must_agree_with_it() {
        let fine = [("host", "API.OpenAI.com:443")];
        assert_eq!(check(&request("/v1", &fine), &host()), Ok(()));
        assert_eq!(check(&request("https://api.openai.com./v1", &[]), &host()), Ok(()));
        for (uri, pairs) in [
            ("/v1", &[][..]),
            ("/v1", &[("host", "api.anthropic.com")]),
            ("/v1", &[("host", "api.openai.com:80")]),
            ("https://api.anthropic.com/", &[("host", "api.openai.com")]),
            ("http://api.openai.com/", &[("host", "api.openai.com")]),
        ] {
            let refused = check(&request(uri, pairs), &host());
            assert!(matches!(refused, Err(Cause::Protocol(_))), "{uri} {pairs:?}");
        }
    }

    #[test]
    fn a_nested_connect_is_refused_and_an_upgrade_noticed() {
        let mut nested = request("/", &[("host", "api.openai.com")]);
        *nested.method_mut() = Method::CONNECT;
        assert!(matches!(check(&nested, &host()), Err(Cause::Protocol(_))));
        let upgrade = [("host", "api.openai.com"), ("upgrade", "websocket")];
        assert!(wants_upgrade(&request("/", &upgrade)));
        assert!(wants_upgrade(&request("/", &[("sec-websocket-key", "x")])));
        assert!(!wants_upgrade(&request("/", &[("connection", "close")])));
    }

    #[test]
    fn a_version_in_which_a_cut_looks_like_an_end_is_refused() {
        let mut old = request("/v1", &[("host", "api.openai.com")]);
        *old.version_mut() = Version::HTTP_10;
        assert!(matches!(check(&old, &host()), Err(Cause::Protocol(_))));
    }

    #[test]
    fn takes_only_media_that_is_scanned() {
        let media = |text| media(&headers(&[("content-type", text)]));
        assert_eq!(media("application/json; charset=UTF-8"), Ok(Media::Json));
        assert_eq!(media("application/json; charset=\"utf-8\";"), Ok(Media::Json));
        assert_eq!(media("application/merge-patch+json"), Ok(Media::Json));
        assert_eq!(media("application/x-ndjson"), Ok(Media::JsonLines));
        assert_eq!(media("Text/Plain"), Ok(Media::Text));
        assert_eq!(media("text/csv"), Ok(Media::Text));
        assert_eq!(media("application/x-www-form-urlencoded"), Ok(Media::Form));
        let boundary = "aB'c".to_owned();
        let form = Media::Multipart { boundary, is_form: true };
        assert_eq!(media("multipart/form-data; boundary=aB'c"), Ok(form));
        // Whether it may pass is for the policy to say.
        assert_eq!(media("Image/PNG"), Ok(Media::Binary("image/png".into())));
        assert_eq!(media("application/json; charset=utf-16"), Err(Cause::Charset));
        assert_eq!(media("application/json; charset=utf-8; charset=utf-16"), Err(Cause::Media));
        for other in ["multipart/form-data", "multipart/digest; boundary=x", "text", "a b", "*/*/*"]
        {
            assert_eq!(media(other), Err(Cause::Media), "{other}");
        }
    }

    #[test]
    fn i6_refuses_a_content_coding_that_is_not_undone() {
        let codings = |value| codings(&headers(&[("content-encoding", value)]));
        assert_eq!(codings("identity"), Ok(vec![]));
        assert_eq!(codings("gzip, br"), Ok(vec![Coding::Gzip, Coding::Brotli]));
        assert_eq!(codings("gzip, x"), Err(Cause::Encoding));
    }

    #[test]
    fn drops_what_belongs_to_one_connection_and_what_would_no_longer_hold() {
        let sent = outward(
            headers(&[
                ("connection", "close, x-hop"),
                ("x-hop", "1"),
                ("te", "trailers"),
                ("proxy-authorization", "Basic x"),
                ("expect", "100-continue"),
                ("content-digest", "sha-256=:x:"),
                ("content-length", "7"),
                ("accept-encoding", "gzip"),
                ("x-api-key", "k"),
            ]),
            &host(),
        );
        let mut names: Vec<&str> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-encoding", "host", "x-api-key"]);
        assert_eq!(sent["accept-encoding"], "identity");
    }

    #[test]
    fn a_rewritten_answer_loses_its_length_and_digest() {
        let answer = [("content-length", "7"), ("digest", "x"), ("request-id", "r")];
        let names: Vec<HeaderName> = inward(headers(&answer), true).keys().cloned().collect();
        assert_eq!(names, ["request-id"]);
        assert_eq!(inward(headers(&answer), false).len(), 3);
    }

    #[test]
    fn notices_an_answer_compressed_for_transfer() {
        assert!(came_plain(&headers(&[("transfer-encoding", "chunked")])));
        assert!(!came_plain(&headers(&[("transfer-encoding", "gzip, chunked")])));
    }

    #[test]
    fn knows_requests_signed_over_their_bytes() {
        assert!(is_signed(&headers(&[("authorization", "AWS4-HMAC-SHA256 Credential=x")])));
        assert!(is_signed(&headers(&[("signature-input", "sig=()")])));
        assert!(!is_signed(&headers(&[("authorization", "Bearer x")])));
    }

    #[test]
    fn only_ids_are_logged() {
        let headers = headers(&[("x-request-id", "req_1-a"), ("x-other", "a b")]);
        assert_eq!(loggable(&headers, "x-request-id").as_deref(), Some("req_1-a"));
        assert_eq!(loggable(&headers, "x-other"), None);
    }
}
