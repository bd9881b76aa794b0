//! A request's way out, up to the point where the log allows it: scanned, rewritten, its values
//! kept for the answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::http::request::Parts;
use protocol::append::{Event, Redaction, RequestRef};

use super::head;
use super::{Ids, off_loop};
use crate::dialect::Dialect;
use crate::hosts::Permitted;
use crate::proxy::Proxy;
use crate::redact::{self, Context, Finding, Media, Redacted, Refusal, ThinkingMemory};
use crate::reply::Cause;
use crate::setup::InForce;
use crate::store::{CREDENTIAL_HEADERS, Pin, Scope, Store, StoreError, ThoughtsOf};

/// Bodies from this size on are scanned off the event loop, in bytes.
const LARGE: usize = 256 * 1024;

/// A request that may leave once its line is in the log.
pub(super) struct Fit {
    /// The body to send.
    pub(super) body: Bytes,
    /// What was replaced in it.
    pub(super) findings: Vec<Finding>,
    /// Whose placeholders these are.
    pub(super) scope: Scope,
    /// Keeps the values for the answer; `None` where there are none.
    pub(super) pin: Option<Pin>,
}

/// Scans a request's head.
///
/// # Errors
///
/// [`Cause::HeaderHit`].
pub(super) fn scan_head(proxy: &Proxy, set: &InForce, head: &Parts) -> Result<(), Cause> {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let method = head.method.as_str();
    redact::scan_head(
        &set.config.policy,
        &proxy.store.known_to_all(),
        method,
        target,
        headers,
        &CREDENTIAL_HEADERS,
    )
    .map_err(|_| Cause::HeaderHit)
}

/// Scans and rewrites a body, and keeps what was replaced.
///
/// # Errors
///
/// Why it may not leave.
pub(super) async fn redact(
    proxy: &Arc<Proxy>,
    set: &Arc<InForce>,
    host: &Permitted,
    head: &Parts,
    body: Bytes,
) -> Result<Fit, Cause> {
    let header = |name| head.headers.get(name).map(hyper::header::HeaderValue::as_bytes);
    let scope = Scope::of(&proxy.key, host.host.as_str(), header);
    if body.is_empty() {
        return Ok(Fit { body, findings: Vec::new(), scope, pin: None });
    }
    let media = head::media(&head.headers)?;
    let dialect = Dialect::of(host.handler, head.uri.path());
    let is_signed = head::is_signed(&head.headers);
    make_fit(proxy, set, Kind { scope, dialect, media, is_signed }, body).await
}

/// What a body is, and whose.
pub(super) struct Kind {
    /// Whose placeholders go into it.
    pub(super) scope: Scope,
    /// Its shape.
    pub(super) dialect: Dialect,
    /// What it is made of.
    pub(super) media: Media,
    /// Whether it is signed over its bytes.
    pub(super) is_signed: bool,
}

/// Scans and rewrites a body of this kind, and keeps what was replaced.
///
/// # Errors
///
/// Why it may not leave.
pub(super) async fn make_fit(
    proxy: &Arc<Proxy>,
    set: &Arc<InForce>,
    kind: Kind,
    body: Bytes,
) -> Result<Fit, Cause> {
    let Kind { scope, dialect, media, is_signed } = kind;
    let large = body.len() >= LARGE;
    let scan = {
        let (proxy, set) = (Arc::clone(proxy), Arc::clone(set));
        move || {
            let thinking = Remembered(proxy.thoughts.of(scope));
            let policy = &set.config.policy;
            let known = proxy.store.known(scope, Instant::now());
            let key = &proxy.key;
            let context = Context { policy, known: &known, key, dialect, thinking: &thinking };
            fit(&proxy.store, scope, &context, &media, &body, is_signed)
        }
    };
    off_loop(large, scan).await?
}

/// Rewrites a body and keeps what was replaced. A value that is known from now on may also stand
/// where no pattern says so, in front of the place that gave it away: then once more.
fn fit(
    store: &Arc<Store>,
    scope: Scope,
    context: &Context<'_>,
    media: &Media,
    came: &Bytes,
    is_signed: bool,
) -> Result<Fit, Cause> {
    let is_raw = matches!(media, Media::Json | Media::JsonLines | Media::Text);
    let mut first: Option<Pin> = None;
    loop {
        let Redacted { body, findings, minted, .. } =
            redact::redact(context, media.clone(), came.clone())
                .map_err(|refusal| cause(&refusal))?;
        if is_signed && body != came {
            return Err(Cause::Signed);
        }
        if minted.is_empty() {
            return Ok(Fit { body, findings, scope, pin: None });
        }
        let pin = store.pin(scope, &minted, Instant::now()).map_err(|error| match error {
            StoreError::Collision => Cause::Collision,
            StoreError::Full => Cause::StoreFull,
        })?;
        // What a form holds is not to be seen in its raw bytes.
        let may_hold_more = !is_raw || context.known.suspects(&body);
        if first.is_some() || !pin.has_learnt() || !may_hold_more {
            return Ok(Fit { body, findings, scope, pin: Some(pin) });
        }
        // Held until the second is there, so that what was learnt cannot leave in between.
        first = Some(pin);
    }
}

struct Remembered<'t>(ThoughtsOf<'t>);

impl ThinkingMemory for Remembered<'_> {
    fn provider_text(&self, signature: &str, restored_hash: &[u8; 32]) -> Option<String> {
        self.0.provider_text(signature, restored_hash)
    }
}

/// What the client is told.
pub(crate) fn cause(refusal: &Refusal) -> Cause {
    match refusal {
        Refusal::Charset => Cause::Charset,
        Refusal::Collision { .. } => Cause::Collision,
        Refusal::Costly => Cause::Costly,
        Refusal::Malformed(what) => Cause::Unparseable(what.text()),
        Refusal::Media => Cause::Media,
        Refusal::PolicyBlock { .. } => Cause::PolicyBlock,
        Refusal::ProtocolPosition { .. } => Cause::ProtocolPosition,
        Refusal::Unparseable { .. } => Cause::Unparseable("it is not well-formed JSON"),
    }
}

/// The line that lets a request out.
pub(super) fn line(
    at: RequestRef,
    host: &str,
    ids: &Ids,
    fit: &Fit,
    policy_hash: [u8; 32],
    hkey: [u8; 8],
) -> Event {
    let host = host.to_owned();
    if fit.findings.is_empty() {
        return Event::ScanClean { at, host, policy_hash };
    }
    let redactions = fit.findings.iter().map(|finding| Redaction {
        kind: finding.kind.as_str().to_owned(),
        hmac8: finding.tag.0,
        rule: finding.rule.to_owned(),
        count: finding.count,
    });
    Event::Redaction {
        at,
        host,
        request_id: ids.request.clone(),
        session_id: Some(ids.session.id.clone()),
        redactions: redactions.collect(),
        policy_hash,
        hkey,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placeholder::{Kind as Type, Minted, Secret, SessionKey, Sticky};
    use crate::redact::{NothingKnown, Policy};
    use crate::store::Limits;

    /// Two values of one tag are 2^64 tries under a key that nobody knows, so that no daemon can be
    /// brought to it from outside: another value is put where the tag leads.
    #[test]
    fn collision() {
        let key = SessionKey::new([7; 32]);
        let policy = Policy::built_in().unwrap();
        let store = Arc::new(Store::new(Limits::default()));
        let scope = Scope::of(&key, "api.example", |_| None);
        let text = "AKIAIOSFODNN7EXAMPLE";
        let other = Minted {
            kind: Type::new("AWS_ACCESS_KEY").unwrap(),
            tag: key.tag(text.as_bytes()),
            plaintext: Secret::new(b"another value".to_vec()),
            sticky: Sticky::No,
        };
        let thoughts = crate::store::Thoughts::new(64);
        let thinking = Remembered(thoughts.of(scope));
        let context = Context {
            policy: &policy,
            known: &NothingKnown,
            key: &key,
            dialect: Dialect::Generic,
            thinking: &thinking,
        };
        let body = Bytes::from(format!("{{\"a\":\"{text}\"}}"));
        let fit = || fit(&store, scope, &context, &Media::Json, &body, false).map(drop);
        let held = store.pin(scope, &[other], Instant::now()).unwrap();
        assert_eq!(fit(), Err(Cause::Collision));
        drop(held);
        // Not in flight any more, but what it was restored as is still told.
        assert_eq!(fit(), Err(Cause::Collision));
    }
}
