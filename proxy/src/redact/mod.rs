//! Outward: secrets become placeholders. Pure: bytes in, bytes and findings out.
//!
//! A body is checked as a whole (UTF-8, strict JSON). One pass over its raw bytes then tells
//! whether anything in it can be a secret; where not, it goes out as it came. Otherwise a walk over
//! its decoded strings finds the spans to replace, and only those bytes change.

use std::ops::Range;

use bytes::Bytes;
use protocol::append::BlockReason;

mod automaton;
mod bits;
mod boundary;
mod detect;
mod encoded;
mod entropy;
mod form;
mod head;
pub(crate) mod json;
mod known;
mod media;
mod multipart;
mod pem;
mod policy;
mod position;
mod prefilter;
mod quote;
mod runs;
mod scan;
mod splice;
mod suspicions;
mod text;
mod tokenize;
mod urlencoded;
mod validate;
mod walk;
mod window;

pub use form::Exhausted;
pub use head::{HeadHit, Place, scan_head};
pub use json::Fault;
pub use known::{KnownSpan, KnownValues, NothingKnown};
pub use media::{NotTaken, media_type};
pub(crate) use policy::LITERAL;
pub use policy::{Confidence, Encoded, Policy, PolicyError, Reason};
use prefilter::escapes::hiding_escapes;
pub use scan::{Hit, Scope};

use crate::dialect::Dialect;
use crate::placeholder::{Kind, Minted, SessionKey, Tag};
use detect::Detector;
use form::Fuel;
use splice::{Replacement, splice};
use tokenize::Ledger;
use walk::Walk;

/// What redaction depends on besides the body.
pub struct Context<'a> {
    /// The pattern set in force.
    pub policy: &'a Policy,
    /// Secrets whatever their shape.
    pub known: &'a dyn KnownValues,
    /// Makes the placeholders.
    pub key: &'a SessionKey,
    /// The body's shape.
    pub dialect: Dialect,
    /// Signed thinking that was restored for this client.
    pub thinking: &'a dyn ThinkingMemory,
}

/// Remembers the provider's own text of signed thinking blocks that were restored.
pub trait ThinkingMemory {
    /// The text as the provider sent it, of the block with `signature` whose restored text has
    /// the SHA-256 `restored_hash`.
    fn provider_text(&self, signature: &str, restored_hash: &[u8; 32]) -> Option<String>;
}

/// What a body is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// Something else, of this type (lower case): passes where the type is allowed and the bytes
    /// begin as it says.
    Binary(String),
    /// `application/x-www-form-urlencoded`.
    Form,
    /// One JSON value.
    Json,
    /// One JSON value per line.
    JsonLines,
    /// Parts between delimiters.
    Multipart {
        /// What the delimiters are made of.
        boundary: String,
        /// Whether each part is a field of a form.
        is_form: bool,
    },
    /// Text without structure.
    Text,
}

/// A body that may leave, once its findings are recorded.
#[derive(Debug)]
pub struct Redacted {
    /// The body: the one that came, uncopied, where nothing was found.
    pub body: Bytes,
    /// What was replaced, in the order of the body.
    pub findings: Vec<Finding>,
    /// What the response may have restored, one entry per placeholder.
    pub minted: Vec<Minted>,
    /// Each stretch of the body that came which was replaced, in order.
    pub replaced: Vec<Replaced>,
}

/// A stretch of a body that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Where it stood, in bytes of the body that came.
    pub range: Range<usize>,
    /// Index of the finding it is an occurrence of; `None` where a provider's own thinking text was
    /// put back, and for the length of a part.
    pub finding: Option<usize>,
}

/// How often one value was replaced under one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The placeholder's TYPE.
    pub kind: Kind,
    /// The placeholder's HMAC8.
    pub tag: Tag,
    /// The dialect's rule for the position, never the concrete path.
    pub rule: &'static str,
    /// Occurrences.
    pub count: u64,
}

/// Why a body may not leave. Holds no text of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is not UTF-8.
    Charset,
    /// Two plaintexts have one tag.
    Collision {
        /// The later one's type.
        kind: Kind,
        /// Where the later one stands.
        rule: &'static str,
    },
    /// It is made to be costly to scan.
    Costly,
    /// It is not the form or multipart body it says it is, or structured in a way that hides text.
    Malformed(Malformed),
    /// It, or a part of it, is binary and not of an allowed type, or not what its type says.
    Media,
    /// A pattern with action `block` matched.
    PolicyBlock {
        /// The pattern's type.
        kind: Kind,
        /// Where it matched.
        rule: &'static str,
    },
    /// A secret stands where rewriting would break the request.
    ProtocolPosition {
        /// Its type.
        kind: Kind,
        /// Where it stands.
        rule: &'static str,
    },
    /// It is not JSON.
    Unparseable {
        /// What is wrong.
        fault: Fault,
        /// At which byte.
        at: usize,
    },
}

/// What is wrong with a body of some structure besides JSON's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// What could be a delimiter stands where none can be.
    Boundary,
    /// A percent sign without two hex digits.
    Escape,
    /// A multipart body in a part of one.
    Nested,
    /// JSON in more strings than are looked into spells characters that need it not by escapes.
    Nesting,
    /// A part that is encoded, or says something else of its bytes.
    PartEncoding,
    /// A part whose headers cannot be read, or do not name its field.
    PartHead,
    /// The last delimiter is missing.
    Unclosed,
}

impl Malformed {
    /// It, for people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Boundary => "its multipart boundary stands where no part begins or ends",
            Self::Escape => "it is a form with a percent sign that escapes nothing",
            Self::Nested => "a part of it is multipart itself",
            Self::Nesting => "JSON in five strings in each other hides what it says in escapes",
            Self::PartEncoding => "a part of it is encoded",
            Self::PartHead => "a part of it has headers that cannot be read",
            Self::Unclosed => "it is multipart without an end",
        }
    }
}

impl Refusal {
    /// The reason on the log line.
    #[must_use]
    pub fn reason(&self) -> BlockReason {
        match self {
            Self::Charset => BlockReason::Charset,
            Self::Collision { .. } => BlockReason::Collision,
            Self::Costly => BlockReason::Overload,
            Self::PolicyBlock { .. } => BlockReason::PolicyBlock,
            Self::ProtocolPosition { .. } => BlockReason::ProtocolPosition,
            Self::Malformed(_) | Self::Media | Self::Unparseable { .. } => BlockReason::Unparseable,
        }
    }
}

impl From<Exhausted> for Refusal {
    fn from(Exhausted: Exhausted) -> Self {
        Self::Costly
    }
}

/// Checks that `body` is UTF-8 and, where it is JSON, well-formed.
///
/// # Errors
///
/// The [`Refusal`] of a body that is not, or that is no text.
pub fn validate(media: &Media, body: &[u8]) -> Result<(), Refusal> {
    if !text::is_utf8(body) {
        return Err(Refusal::Charset);
    }
    match media {
        Media::Json => check(body, 0),
        Media::JsonLines => lines(body).try_for_each(|(at, line)| check(line, at)),
        // Text that holds NUL may be in UTF-16.
        Media::Text if memchr::memchr(0, body).is_some() => Err(Refusal::Charset),
        Media::Form | Media::Text => Ok(()),
        Media::Binary(_) | Media::Multipart { .. } => Err(Refusal::Media),
    }
}

/// Whether the patterns of `policy` are certain to find nothing in a raw body: the one pass over
/// its bytes that most bodies get, besides [`validate`].
///
/// # Errors
///
/// [`Exhausted`] where the body is made to be costly.
pub fn is_clean(policy: &Policy, body: &[u8]) -> Result<bool, Exhausted> {
    Ok(hiding_escapes(body).is_empty()
        && policy.scanner.suspicions(body, &mut Fuel::of(body.len()))?.is_empty())
}

/// Makes `body` fit to leave.
///
/// # Errors
///
/// A [`Refusal`] where it cannot be fully parsed, scanned and rewritten; then nothing of it may
/// leave.
pub fn redact(context: &Context<'_>, media: Media, body: Bytes) -> Result<Redacted, Refusal> {
    let mut walk = Walk {
        context,
        detector: Detector::new(context.policy, context.known),
        ledger: Ledger::new(context.key),
        fuel: Fuel::of(body.len()),
        open_key: None,
    };
    let replacements = match &media {
        Media::Binary(essence) if binary(&mut walk, essence, &body)? => Vec::new(),
        Media::Binary(essence) if media::is_allowed(context.policy, essence) => {
            readable(&mut walk, &Media::Text, &body).map_err(|refusal| match refusal {
                Refusal::Charset => Refusal::Media,
                other => other,
            })?
        }
        Media::Binary(_) => return Err(Refusal::Media),
        Media::Multipart { boundary, is_form } => {
            multipart::replacements(&mut walk, boundary, *is_form, &body)?
        }
        readable => self::readable(&mut walk, readable, &body)?,
    };
    if replacements.is_empty() {
        return Ok(Redacted::untouched(body));
    }
    let body = splice(&body, &replacements).into();
    let (findings, minted) = walk.ledger.close();
    let replaced = replacements
        .into_iter()
        .map(|Replacement { range, finding, .. }| Replaced { range, finding })
        .collect();
    Ok(Redacted { body, findings, minted, replaced })
}

impl Redacted {
    fn untouched(body: Bytes) -> Self {
        Self { body, findings: Vec::new(), minted: Vec::new(), replaced: Vec::new() }
    }
}

/// The replacements for what is text of some kind, or a part that is.
///
/// # Errors
///
/// A [`Refusal`].
fn readable(walk: &mut Walk<'_>, media: &Media, body: &[u8]) -> Result<Vec<Replacement>, Refusal> {
    validate(media, body)?;
    if *media == Media::Form {
        return urlencoded::replacements(walk, body);
    }
    let mut suspected = walk.detector.suspicions(body, &mut walk.fuel)?;
    // Remembered thinking is put back whatever the patterns say of it.
    if walk.context.dialect == Dialect::AnthropicMessages {
        memchr::memmem::find_iter(body, b"\"signature\"").for_each(|at| suspected.want(at));
    }
    if suspected.is_empty() && walk.open_key.is_none() {
        return Ok(Vec::new());
    }
    let root = position::root(walk.context.dialect);
    match media {
        Media::Text => walk.plain(body, "text"),
        Media::JsonLines => {
            let mut replacements = Vec::new();
            for (at, _) in lines(body) {
                replacements.extend(walk.json(body, at, &suspected, root)?);
            }
            Ok(replacements)
        }
        _ => walk.json(body, 0, &suspected, root),
    }
}

/// Whether `body` is what passes unread: binary of an allowed type that begins as it says. A secret
/// that it holds in clear refuses, since nothing can be rewritten there.
///
/// # Errors
///
/// [`Refusal::ProtocolPosition`].
fn binary(walk: &mut Walk<'_>, essence: &str, body: &[u8]) -> Result<bool, Refusal> {
    if !media::is_allowed(walk.context.policy, essence) || !media::is_binary(essence, body) {
        return Ok(false);
    }
    walk.refuse_secrets(body, "binary", Scope::Structured)?;
    Ok(true)
}

fn check(text: &[u8], offset: usize) -> Result<(), Refusal> {
    json::check(text)
        .map_err(|json::Malformed { at, fault }| Refusal::Unparseable { fault, at: offset + at })
}

/// The lines that are not blank, with their offsets.
fn lines(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    body.split(|byte| *byte == b'\n').filter_map(move |line| {
        let start = at;
        at += line.len() + 1;
        (!line.trim_ascii().is_empty()).then_some((start, line))
    })
}

#[cfg(test)]
mod tests;
