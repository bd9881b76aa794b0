//! The only place where a cause becomes bytes that a client sees.
//!
//! The body has the shape of the providers' own errors, so that agents show it; the stable code is
//! in the body and in `x-waterwall-error`. No request text and no secret is ever in a reply.

use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use protocol::append::BlockReason;
use protocol::names::HostName;

use crate::hosts;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The kill switch is armed, by these sources.
    KillSwitch(Vec<String>),
    /// The same, over an answer that was coming back.
    Cut(Vec<String>),
    /// The configuration is invalid: file, line and key.
    Config(String),
    /// The evidence log does not take lines.
    Append,
    /// The signer cannot be reached, or has been away too long.
    Signer,
    /// The signer does not certify this host.
    Certificate,
    /// The host is not in the host table.
    HostNotPermitted {
        /// The host; `None` where its name may not be said.
        host: Option<HostName>,
    },
    /// What was asked for is no `host:port` that is handled.
    Target,
    /// Not a CONNECT, at the proxy's own port.
    NotConnect,
    /// A tunnel inside the tunnel, plain HTTP inside it, or names that contradict each other.
    Protocol(&'static str),
    /// A WebSocket upgrade.
    WebSocketOff,
    /// The body is not what its type says, or nothing that can be scanned.
    Unparseable(&'static str),
    /// The body is over the cap.
    TooLarge {
        /// The cap, in MiB.
        cap_mib: u32,
    },
    /// A content coding that is not known, or bytes that are not what it says.
    Encoding,
    /// A charset other than UTF-8.
    Charset,
    /// A media type that is not scanned.
    Media,
    /// Something secret-shaped in the URL or in a header.
    HeaderHit,
    /// Something secret-shaped where a placeholder would corrupt the request.
    ProtocolPosition,
    /// A pattern whose action is to block matched.
    PolicyBlock,
    /// Two secrets share a tag.
    Collision,
    /// The plaintext store is full.
    StoreFull,
    /// The request is signed over bytes that would change.
    Signed,
    /// The body is made to be costly to scan.
    Costly,
    /// Too much at once.
    Overload,
    /// The upstream could not be reached or verified, or hung up before it answered.
    Upstream(&'static str),
    /// The answer could not be restored safely.
    Restore,
    /// The upstream compressed its answer in a way that cannot be undone.
    UpstreamEncoding,
    /// The upstream sent a WebSocket message in which nothing can be restored.
    UpstreamBinary,
}

/// What a cause looks like from outside.
struct Face {
    status: StatusCode,
    code: &'static str,
    reason: &'static str,
    retry: bool,
    message: String,
}

impl Face {
    /// A provider's error, as both SDK families read it.
    fn error(&self) -> serde_json::Value {
        serde_json::json!({
            "type": "error",
            "error": {
                "type": self.code,
                "message": format!("Waterwall: {}", self.message),
                "code": self.code,
            },
        })
    }
}

impl Cause {
    /// The stable code.
    pub(crate) fn code(&self) -> &'static str {
        self.face(StatusCode::BAD_GATEWAY).code
    }

    /// The reason on the `block` line; `None` for the kill switch, which has its own line, and
    /// where auditd itself is what failed.
    pub(crate) fn block_reason(&self) -> Option<BlockReason> {
        Some(match self {
            Self::KillSwitch(_) | Self::Cut(_) | Self::Append | Self::Signer => return None,
            Self::Config(_) => BlockReason::ConfigError,
            Self::HostNotPermitted { .. } | Self::Certificate => BlockReason::NotPermitted,
            Self::Target | Self::NotConnect | Self::Protocol(_) => BlockReason::ProtocolError,
            Self::WebSocketOff => BlockReason::WebsocketOff,
            Self::Unparseable(_) | Self::Media => BlockReason::Unparseable,
            Self::TooLarge { .. } => BlockReason::TooLarge,
            Self::Encoding => BlockReason::UnsupportedEncoding,
            Self::Charset => BlockReason::Charset,
            Self::HeaderHit => BlockReason::HeaderHit,
            Self::ProtocolPosition => BlockReason::ProtocolPosition,
            Self::PolicyBlock => BlockReason::PolicyBlock,
            Self::Collision => BlockReason::Collision,
            Self::StoreFull => BlockReason::StoreFull,
            Self::Signed => BlockReason::SignedRequest,
            Self::Costly | Self::Overload => BlockReason::Overload,
            Self::Upstream(_) => BlockReason::UpstreamFailed,
            Self::Restore | Self::UpstreamEncoding | Self::UpstreamBinary => {
                BlockReason::RestoreFailed
            }
        })
    }

    /// The answer, with `closed` as the status of fail-closed causes (`refusal_status`).
    pub(crate) fn answer(&self, closed: StatusCode) -> Response<Vec<u8>> {
        let face = self.face(closed);
        let mut response = Response::new(face.error().to_string().into_bytes());
        *response.status_mut() = face.status;
        let headers: &mut HeaderMap = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ERROR_HEADER, HeaderValue::from_static(face.code));
        if !face.retry {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        // OpenCode shows the reason phrase instead of the body.
        let phrase = hyper::ext::ReasonPhrase::from_static(face.reason.as_bytes());
        response.extensions_mut().insert(phrase);
        response
    }

    /// The error event that ends a stream of this cause, in a shape both SDK families raise.
    pub(crate) fn event(&self) -> Vec<u8> {
        let body = self.answer(StatusCode::BAD_GATEWAY).into_body();
        [b"event: error\ndata: ".as_slice(), &body, b"\n\n"].concat()
    }

    /// The error event that ends a WebSocket of this cause: the answer's body with its status, by
    /// which Codex tells what to try again. `closed` as for [`Self::answer`].
    pub(crate) fn socket_event(&self, closed: StatusCode) -> String {
        let face = self.face(closed);
        let mut event = face.error();
        event["status"] = face.status.as_u16().into();
        event.to_string()
    }

    /// The code that a WebSocket of this cause is closed with (RFC 6455 section 7.4.1): too big,
    /// against the protocol, a fault of somebody's, or else against the policy.
    pub(crate) fn close_code(&self) -> u16 {
        match self {
            Self::TooLarge { .. } => 1009,
            Self::Protocol(_) => 1002,
            Self::Append
            | Self::Signer
            | Self::Config(_)
            | Self::Collision
            | Self::StoreFull
            | Self::Overload
            | Self::Upstream(_)
            | Self::Restore => 1011,
            _ => 1008,
        }
    }
}

impl Cause {
    fn face(&self, closed: StatusCode) -> Face {
        let (status, code, reason, retry) = self.fixed(closed);
        Face { status, code, reason, retry, message: self.message() }
    }

    fn fixed(&self, closed: StatusCode) -> (StatusCode, &'static str, &'static str, bool) {
        let bad = StatusCode::BAD_REQUEST;
        match self {
            Self::KillSwitch(_) | Self::Cut(_) => {
                (closed, "waterwall-killswitch-engaged", "Waterwall kill switch", false)
            }
            Self::Config(_) => (closed, "waterwall-config-error", "Waterwall config error", false),
            Self::Append => (closed, "waterwall-chain-append-failed", "Waterwall log down", true),
            Self::Signer => (closed, "waterwall-signer-unavailable", "Waterwall signer down", true),
            Self::Certificate => {
                (closed, "waterwall-certificate-refused", "Waterwall certificate refused", false)
            }
            Self::HostNotPermitted { .. } => (
                StatusCode::FORBIDDEN,
                "waterwall-host-not-permitted",
                "Waterwall host not permitted",
                false,
            ),
            Self::Target | Self::NotConnect | Self::Protocol(_) => {
                (bad, "waterwall-protocol-error", "Waterwall protocol error", false)
            }
            Self::WebSocketOff => (
                StatusCode::UPGRADE_REQUIRED,
                "waterwall-websocket-off",
                "Waterwall WebSocket off",
                false,
            ),
            Self::Unparseable(_) => {
                (closed, "waterwall-body-unparseable", "Waterwall body unparseable", false)
            }
            Self::TooLarge { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "waterwall-body-too-large",
                "Waterwall body too large",
                false,
            ),
            Self::Encoding => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "waterwall-encoding-unsupported",
                "Waterwall encoding unsupported",
                false,
            ),
            Self::Charset => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "waterwall-charset-unsupported",
                "Waterwall charset unsupported",
                false,
            ),
            Self::Media => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "waterwall-media-unsupported",
                "Waterwall media unsupported",
                false,
            ),
            Self::HeaderHit => (bad, "waterwall-header-hit", "Waterwall header hit", false),
            _ => self.fixed_late(closed),
        }
    }

    /// The causes that can only arise once a body was read.
    fn fixed_late(&self, closed: StatusCode) -> (StatusCode, &'static str, &'static str, bool) {
        let gateway = StatusCode::BAD_GATEWAY;
        match self {
            Self::ProtocolPosition => {
                (closed, "waterwall-protocol-position", "Waterwall protocol position", false)
            }
            Self::PolicyBlock => {
                (closed, "waterwall-policy-block", "Waterwall policy block", false)
            }
            Self::Collision => (closed, "waterwall-collision", "Waterwall collision", false),
            Self::StoreFull => (closed, "waterwall-store-full", "Waterwall store full", true),
            Self::Signed => (closed, "waterwall-signed-request", "Waterwall signed request", false),
            Self::Costly => (closed, "waterwall-body-costly", "Waterwall body costly", false),
            Self::Overload => {
                (StatusCode::SERVICE_UNAVAILABLE, "waterwall-overload", "Waterwall overload", true)
            }
            Self::UpstreamEncoding => {
                (gateway, "waterwall-upstream-encoding", "Waterwall upstream encoding", false)
            }
            Self::UpstreamBinary => {
                (gateway, "waterwall-upstream-binary", "Waterwall upstream binary", false)
            }
            Self::Restore => {
                (closed, "waterwall-restore-failed", "Waterwall restore failed", false)
            }
            _ => (gateway, "waterwall-upstream-failed", "Waterwall upstream failed", true),
        }
    }

    /// What is wrong and what to do about it.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::KillSwitch(sources) => format!(
                "the kill switch is armed ({}). Nothing was sent. Clear it with `waterwall-ctl \
                 killswitch disarm --reason TEXT`, or ask whoever armed it.",
                sources.join(", "),
            ),
            Self::Cut(sources) => format!(
                "the kill switch was armed ({}) after the request had left, and `cut_streams` in \
                 config.yaml cuts answers off then. Clear it with `waterwall-ctl killswitch disarm \
                 --reason TEXT`, or ask whoever armed it.",
                sources.join(", "),
            ),
            Self::Config(why) => format!(
                "the configuration is invalid, so nothing is sent: {why}. Correct it; it is read \
                 again by itself.",
            ),
            Self::HostNotPermitted { host: Some(host) } => not_permitted(host),
            Self::TooLarge { cap_mib } => format!(
                "the body is larger than {cap_mib} MiB, and what is not scanned is not sent. \
                 Shorten the conversation, or raise `limits.body_mib` in config.yaml.",
            ),
            Self::Protocol(what) => format!("{what}. Nothing was sent."),
            Self::Unparseable(what) => {
                format!("the body cannot be scanned: {what}. Nothing was sent.")
            }
            Self::Costly => "the body takes too much work to scan. Nothing was sent.".into(),
            Self::Upstream(what) => format!("the provider could not be reached: {what}."),
            fixed => fixed.text().to_owned(),
        }
    }

    fn text(&self) -> &'static str {
        match self {
            Self::Append => {
                "the evidence log does not accept lines at the moment, and what is not recorded is \
                 not sent. Look at `waterwall-ctl status`; try again once auditd is back."
            }
            Self::Signer => {
                "the signer cannot be reached, so nothing is sent. Look at `waterwall-ctl \
                 status`; try again once it is back."
            }
            Self::Certificate => {
                "the signer's CA does not cover this host. Run `waterwall-ctl regen-ca` after a \
                 change of permitted_hosts.yaml."
            }
            Self::Target => {
                "only DNS names on port 443 are connected to, and other ports where `tunnel:` in \
                 permitted_hosts.yaml names them as `- host:port`. Addresses are not."
            }
            Self::HostNotPermitted { .. } => {
                "this host is not permitted, and its name holds something that looks like a secret."
            }
            Self::NotConnect => {
                "this is a proxy for HTTPS: only CONNECT is answered here. Plain http:// is not \
                 forwarded."
            }
            Self::WebSocketOff => "WebSocket is not offered here; send the request by POST.",
            Self::Encoding => {
                "the request body's content coding is not known here, or its bytes are not what the \
                 coding says. gzip, deflate, br and zstd are taken, and nothing may follow."
            }
            Self::Charset => "the request body is not UTF-8. Send it as UTF-8.",
            Self::Media => {
                "what is not scanned is not sent: JSON, lines of it, text, forms and multipart are; \
                 binary passes where `media` in patterns.yaml lists what it is."
            }
            Self::HeaderHit => {
                "the URL or a header holds something that looks like a secret. Take it out; \
                 nothing was sent."
            }
            Self::ProtocolPosition => {
                "a model name, role, id, tool name, file name or picture holds something that \
                 looks like a secret, and cannot be replaced there. Take it out; nothing was sent."
            }
            Self::PolicyBlock => {
                "the policy blocks requests that hold this kind of secret. Nothing was sent."
            }
            Self::Collision => {
                "two secrets have the same placeholder. Nothing was sent; restart the proxy for a \
                 new key."
            }
            Self::StoreFull => {
                "no room is left for the secrets of requests in flight. Nothing was sent; try \
                 again, or raise `redaction.store_kib` in config.yaml."
            }
            Self::Signed => {
                "the request holds a secret and is signed over its bytes, which replacing it would \
                 break. Nothing was sent."
            }
            Self::Overload => "too many large bodies at once. Try again.",
            late => late.text_of_answers(),
        }
    }

    /// The causes that lie in an answer.
    fn text_of_answers(&self) -> &'static str {
        match self {
            Self::UpstreamEncoding => {
                "the provider compressed its answer, though asked not to, in a way that cannot be \
                 undone, so placeholders in it cannot be restored."
            }
            Self::UpstreamBinary => {
                "the provider sent a binary WebSocket message, in which no placeholder can be \
                 restored."
            }
            _ => "the provider's answer could not be restored safely.",
        }
    }
}

/// What to write where for a host that is in no list.
fn not_permitted(host: &HostName) -> String {
    let handler = hosts::likely_handler(host);
    let intercept = format!(
        "{host} is not a permitted host. To have it intercepted, add `- {{host: {host}, \
         sse_handler: {handler}}}` under `hosts:` in permitted_hosts.yaml and run `waterwall-ctl \
         regen-ca`"
    );
    if hosts::carries_model_traffic(host) {
        return format!("{intercept}. It serves models, so it is never passed through unread.");
    }
    format!("{intercept}; to pass it through unread, add `- {host}` under `tunnel:` there.")
}

const ERROR_HEADER: HeaderName = HeaderName::from_static("x-waterwall-error");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

#[cfg(test)]
mod tests {
    use super::*;

    fn json(cause: &Cause) -> serde_json::Value {
        serde_json::from_slice(cause.answer(StatusCode::BAD_GATEWAY).body()).unwrap()
    }

    #[test]
    fn the_code_is_in_the_header_and_where_both_sdk_families_look() {
        let cause = Cause::KillSwitch(vec!["http".into()]);
        let answer = cause.answer(StatusCode::BAD_GATEWAY);
        assert_eq!(answer.status(), 502);
        assert_eq!(answer.headers()["x-waterwall-error"], "waterwall-killswitch-engaged");
        assert_eq!(answer.headers()["x-should-retry"], "false");
        let body = json(&cause);
        assert_eq!(body["type"], "error");
        assert_eq!(body["error"]["code"], "waterwall-killswitch-engaged");
        assert!(body["error"]["message"].as_str().unwrap().contains("disarm"));
    }

    #[test]
    fn refusal_status_moves_fail_closed_causes_and_no_others() {
        let closed = StatusCode::BAD_REQUEST;
        assert_eq!(Cause::Append.answer(closed).status(), 400);
        assert_eq!(Cause::Upstream("refused").answer(closed).status(), 502);
        assert_eq!(Cause::TooLarge { cap_mib: 64 }.answer(closed).status(), 413);
    }

    #[test]
    fn an_unlisted_host_is_told_the_line_to_add() {
        let message = |host: &str| {
            let host = Some(HostName::normalise(host).unwrap());
            json(&Cause::HostNotPermitted { host })["error"]["message"].to_string()
        };
        let said = message("example.com");
        assert!(said.contains("- {host: example.com, sse_handler: none}"), "{said}");
        assert!(
            said.contains("permitted_hosts.yaml") && said.contains("`- example.com`"),
            "{said}"
        );
        // A tunnel to it would be refused by the configuration.
        let said = message("api.groq.com");
        assert!(said.contains("sse_handler: openai") && !said.contains("tunnel:"), "{said}");
    }

    #[test]
    fn a_text_with_quotes_stays_json() {
        let cause = Cause::Config("config.yaml:3: unknown key \"lis\\ten\"".into());
        let message = json(&cause)["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("unknown key \"lis\\ten\""));
    }

    #[test]
    fn an_error_event_is_one_event() {
        let event = String::from_utf8(Cause::Restore.event()).unwrap();
        assert!(event.starts_with("event: error\ndata: {") && event.ends_with("}\n\n"));
        assert_eq!(event.matches('\n').count(), 3);
    }

    #[test]
    fn a_websocket_gets_the_event_with_its_status_and_the_code_of_the_fault() {
        let cause = Cause::KillSwitch(vec!["http".into()]);
        let event: serde_json::Value =
            serde_json::from_str(&cause.socket_event(StatusCode::BAD_REQUEST)).unwrap();
        assert_eq!((&event["type"], &event["status"]), (&"error".into(), &400.into()));
        assert_eq!(event["error"], json(&cause)["error"]);
        for (cause, code) in [
            (cause, 1008),
            (Cause::Media, 1008),
            (Cause::TooLarge { cap_mib: 1 }, 1009),
            (Cause::Append, 1011),
        ] {
            assert_eq!(cause.close_code(), code, "{cause:?}");
        }
    }

    #[test]
    fn the_runbook_explains_every_code() {
        let (source, _) = include_str!("reply.rs").split_once("#[cfg(test)]").unwrap();
        let is_name = |text: &&str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        let codes = source.split('"').filter_map(|text| text.strip_prefix("waterwall-"));
        let codes: Vec<&str> = codes.filter(is_name).collect();
        assert!(codes.len() > 20, "{codes:?}");
        for code in codes {
            assert!(include_str!("../../docs/runbook.md").contains(&format!("-{code}`")), "{code}");
        }
    }

    /// The cause after `cause`: one that is not on the way through all of them does not compile.
    fn after(cause: &Cause) -> Option<Cause> {
        let text = || "config.yaml:1".to_owned();
        Some(match cause {
            Cause::KillSwitch(_) => Cause::Cut(Vec::new()),
            Cause::Cut(_) => Cause::Config(text()),
            Cause::Config(_) => Cause::Append,
            Cause::Append => Cause::Signer,
            Cause::Signer => Cause::Certificate,
            Cause::Certificate => Cause::HostNotPermitted { host: None },
            Cause::HostNotPermitted { .. } => Cause::Target,
            Cause::Target => Cause::NotConnect,
            Cause::NotConnect => Cause::Protocol("names differ"),
            Cause::Protocol(_) => Cause::WebSocketOff,
            Cause::WebSocketOff => Cause::Unparseable("it was cut"),
            Cause::Unparseable(_) => Cause::TooLarge { cap_mib: 64 },
            Cause::TooLarge { .. } => Cause::Encoding,
            Cause::Encoding => Cause::Charset,
            Cause::Charset => Cause::Media,
            Cause::Media => Cause::HeaderHit,
            Cause::HeaderHit => Cause::ProtocolPosition,
            Cause::ProtocolPosition => Cause::PolicyBlock,
            Cause::PolicyBlock => Cause::Collision,
            Cause::Collision => Cause::StoreFull,
            Cause::StoreFull => Cause::Signed,
            Cause::Signed => Cause::Costly,
            Cause::Costly => Cause::Overload,
            Cause::Overload => Cause::Upstream("it hung up"),
            Cause::Upstream(_) => Cause::Restore,
            Cause::Restore => Cause::UpstreamEncoding,
            Cause::UpstreamEncoding => Cause::UpstreamBinary,
            Cause::UpstreamBinary => return None,
        })
    }

    /// How the page of causes has to write this one: status, reason phrase, and whether to try again.
    fn written(cause: &Cause) -> [String; 3] {
        let [default, other] = [StatusCode::BAD_GATEWAY, StatusCode::BAD_REQUEST];
        let status = cause.answer(default).status();
        let moves = if cause.answer(other).status() == status { "" } else { "*" };
        let face = cause.face(default);
        let again = if face.retry { "yes" } else { "no" };
        [format!("{}{moves}", status.as_u16()), face.reason.to_owned(), again.to_owned()]
    }

    #[test]
    fn the_page_of_causes_says_of_every_cause_what_it_looks_like() {
        let page = include_str!("../../docs/fail-closed.md");
        let rows: Vec<Vec<&str>> = page
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
            .filter(|cells: &Vec<&str>| cells.len() == 10)
            .collect();
        let mut codes = Vec::new();
        let mut next = Some(Cause::KillSwitch(vec!["http".into()]));
        while let Some(cause) = next {
            let own: Vec<_> = rows.iter().filter(|cells| cells[5] == cause.code()).collect();
            assert!(!own.is_empty(), "{} has no row", cause.code());
            for cells in own {
                let is_alone = cells[4].starts_with("close ") || cells[4] == "event";
                // Without a configuration there is no `refusal_status`.
                let is_default = cells[5] == "waterwall-config-error" && cells[4] == "502";
                let [status, reason, again] = written(&cause);
                let status = if is_default { status.trim_end_matches('*') } else { &status };
                let is_said = [cells[4], cells[6], cells[7]] == [status, &reason, &again];
                assert!(is_alone || is_said, "{cells:?} {status} {reason} {again}");
                if let Some(close) = cells[4].strip_prefix("close ") {
                    assert_eq!(close, cause.close_code().to_string(), "{cells:?}");
                }
            }
            codes.push(cause.code());
            next = after(&cause);
        }
        for cells in rows.iter().filter(|cells| !cells[5].is_empty()) {
            assert!(codes.contains(&cells[5]), "{cells:?} is no cause");
        }
    }

    #[test]
    fn causes_in_which_the_log_fails_have_no_block_line() {
        assert_eq!(Cause::Append.block_reason(), None);
        assert_eq!(Cause::Charset.block_reason(), Some(BlockReason::Charset));
    }
}
