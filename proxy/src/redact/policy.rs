//! The pattern set in force: the built-in one, and what an operator's file changes in it.
//!
//! A pattern file holds, each of them optional,
//!
//! - `classes`: `{generic: off}` switches every pattern of the class off;
//! - `encoded`: `{base64, hex, percent}`, which encodings are looked into (`true` each), and `bytes`,
//!   the longest run of them that is (16 to 1048576, 65536 by default);
//! - `media`: the media types that may pass unread where their magic bytes agree; it must be known
//!   what those are;
//! - `patterns`, a list of:
//!   - `type`: the placeholder's TYPE, `[A-Z0-9_]{1,40}`. A type of the built-in set is overridden.
//!   - `description`: for people.
//!   - `action`: `tokenize` (default), `block` (refuse the request) or `off`. It may stand alone
//!     beside a type of the built-in set, which keeps its forms.
//!   - `class`: `structured` (default; its shape alone proves a secret, so that it also counts in
//!     URLs, headers and protocol fields) or `generic`.
//!   - `forms`: the shapes the type takes; the only one may stand beside the type. Each has
//!     - `regex`: decides; ASCII, linear time, no look-around;
//!     - `literals`: what announces a match; a match starts with one of them. They may be left out
//!       where they follow from the expression;
//!     - `lead`: `{of, min, max}`, where bytes of the match stand in front of the literal;
//!     - `context`: an expression that the match stands right behind and is no part of; the literals
//!       announce it then;
//!     - `left`, `right`: bytes that may not stand beside a match, `A-Za-z0-9` by default; `left`
//!       stands in front of a context, and is empty there by default;
//!     - `next`: bytes of which one must stand right behind a match;
//!     - `body: pem` or `putty`: the match runs on over a private key block;
//!     - `validate`: a checksum or structure by which some tokens of the type can be told. It never
//!       rejects; one that cannot hold by chance accepts a token whatever stands beside it;
//!     - `filter`, `entropy`, `require`: only of class `generic`; what a value must look like (see
//!       [`Filter`](super::entropy::Filter)), least bits per byte, and a check that must hold.
//!   - `examples`: each is matched from end to end, or from `«` to `»`, and there is at least one;
//!   - `counterexamples`: none of them holds a match.

use std::fmt;
use std::thread;

use sha2::{Digest, Sha256};

use super::media::has_magic;
use super::scan::{Member, Scanner};
use crate::placeholder::{Kind, Sticky};

mod canonical;
mod error;
mod file;
mod spec;

pub use error::{PolicyError, Reason};

use file::{Action, Class, EncodedEntry, File, Switch};
use spec::{Spec, refuse_repeated_expressions};

/// A compiled pattern set.
pub struct Policy {
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) scanner: Scanner,
    encoded: Encoded,
    media: Vec<String>,
    canonical: Vec<u8>,
    hash: [u8; 32],
}

/// What a match means.
pub(crate) struct Pattern {
    pub(crate) kind: Kind,
    pub(crate) blocks: bool,
    /// Whether a value of it is found again where its shape does not show.
    pub(crate) sticky: Sticky,
    /// What it is, for people.
    description: String,
}

/// How much speaks for a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// It has the shape of its type.
    Shape,
    /// Its checksum or inner structure is that of its type, too.
    Checked,
}

/// Which encodings are looked into for secrets, one level deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// Base64 and base64url.
    pub base64: bool,
    /// Hexadecimal.
    pub hex: bool,
    /// Percent-encoding.
    pub percent: bool,
    /// Longest run looked into, in bytes.
    pub bytes: usize,
}

impl Default for Encoded {
    fn default() -> Self {
        Self { base64: true, hex: true, percent: true, bytes: 64 * 1024 }
    }
}

impl Policy {
    /// The built-in set.
    ///
    /// # Errors
    ///
    /// None in a released build; a test holds it.
    pub fn built_in() -> Result<Self, PolicyError> {
        Self::load(None)
    }

    /// The built-in set, changed by an extension file: its name, for errors, and its text.
    ///
    /// # Errors
    ///
    /// Where the file, or a pattern of it, is refused: file, line and reason.
    pub fn load(extension: Option<(&str, &str)>) -> Result<Self, PolicyError> {
        let mut set = Set::read(BUILT_IN_NAME, BUILT_IN)?;
        if let Some((file, text)) = extension {
            set.extend(Set::read(file, text)?)?;
        }
        set.compile(Trial::ByExample)
    }

    /// The set whose [`Policy::canonical`] bytes these are.
    ///
    /// # Errors
    ///
    /// Where this build would not find the same with it.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, PolicyError> {
        let fault = |reason| PolicyError { file: CANONICAL_NAME.to_owned(), line: 0, reason };
        let text =
            str::from_utf8(bytes).map_err(|error| fault(Reason::Syntax(error.to_string())))?;
        let policy = Set::read(CANONICAL_NAME, text)?.compile(Trial::Waived)?;
        if policy.canonical != bytes {
            return Err(fault(Reason::Canonical));
        }
        Ok(policy)
    }

    /// SHA-256 of [`Policy::canonical`].
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The effective set as canonical JSON (keys sorted, no spaces), without descriptions and
    /// examples: two sets that find the same have the same bytes.
    #[must_use]
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// Types in the effective set.
    #[must_use]
    pub fn pattern_count(&self) -> usize {
        self.patterns.len()
    }

    /// Each type in force and what it is, in the order of [`Policy::canonical`].
    pub fn descriptions(&self) -> impl Iterator<Item = (&Kind, &str)> {
        self.patterns.iter().map(|pattern| (&pattern.kind, &*pattern.description))
    }

    /// How much speaks for `token`, of which a placeholder of `kind` was made.
    #[must_use]
    pub fn confidence(&self, kind: &Kind, token: &[u8]) -> Confidence {
        let of_kind = |member: &&Member| self.patterns[member.pattern].kind == *kind;
        let checked = self.scanner.members().iter().filter(of_kind);
        let is_checked = checked.map(|member| &member.form).any(|form| form.is_checked(token));
        if is_checked { Confidence::Checked } else { Confidence::Shape }
    }

    /// Which encodings are looked into.
    #[must_use]
    pub fn encoded(&self) -> Encoded {
        self.encoded
    }

    /// The media types that may pass unread where their magic bytes agree.
    #[must_use]
    pub fn media(&self) -> &[String] {
        &self.media
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("patterns", &self.patterns.len()).finish_non_exhaustive()
    }
}

/// Whether patterns must match their examples.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trial {
    ByExample,
    /// The canonical set has none.
    Waived,
}

/// A file, read.
struct Set {
    specs: Vec<Spec>,
    generic: Option<Switch>,
    encoded: Encoded,
    media: Vec<String>,
    /// What the file says of these, where it is one that changes another.
    changes: (EncodedEntry, bool),
}

impl Set {
    fn read(file: &str, text: &str) -> Result<Self, PolicyError> {
        let fault = |line, reason| PolicyError { file: file.to_owned(), line, reason };
        let options = serde_saphyr::options! { with_snippet: false };
        let parsed: File = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let line = error.location().map_or(0, |location| location.line());
            fault(line, Reason::Syntax(error.to_string()))
        })?;
        let expected = (file == CANONICAL_NAME).then_some(VERSION);
        if parsed.v != expected {
            return Err(fault(0, Reason::Canonical));
        }
        let mut specs: Vec<Spec> = Vec::with_capacity(parsed.patterns.len());
        for entry in parsed.patterns {
            let spec = Spec::new(file, entry.referenced.line(), entry.value)?;
            if specs.iter().any(|earlier| earlier.entry.kind == spec.entry.kind) {
                return Err(spec.fault(Reason::Duplicate));
            }
            specs.push(spec);
        }
        let bytes = parsed.encoded.bytes.as_ref();
        if let Some(bytes) = bytes.filter(|bytes| !ENCODED_BYTES.contains(&bytes.value)) {
            return Err(fault(bytes.referenced.line(), Reason::Encoded));
        }
        let media = parsed.media.as_deref().unwrap_or_default();
        if let Some(bad) = media.iter().find(|media| !is_media_type(&media.value)) {
            return Err(fault(bad.referenced.line(), Reason::Media));
        }
        if let Some(bad) = media.iter().find(|media| !has_magic(&media.value)) {
            return Err(fault(bad.referenced.line(), Reason::Magic));
        }
        Ok(Self {
            specs,
            generic: parsed.classes.generic,
            encoded: Encoded::default().with(&parsed.encoded),
            media: media.iter().map(|media| media.value.clone()).collect(),
            changes: (parsed.encoded, parsed.media.is_some()),
        })
    }

    fn extend(&mut self, extension: Self) -> Result<(), PolicyError> {
        for spec in extension.specs {
            if spec.entry.kind == LITERAL {
                return Err(spec.fault(Reason::Reserved));
            }
            match self.specs.iter_mut().find(|known| known.entry.kind == spec.entry.kind) {
                Some(known) if spec.is_bare() => known.entry.action = spec.entry.action,
                Some(known) => *known = spec,
                // A misspelt `action: off` would leave on what it was meant for.
                None if spec.is_bare() => return Err(spec.fault(Reason::Unknown)),
                None => self.specs.push(spec),
            }
        }
        self.generic = extension.generic.or(self.generic);
        let (encoded, says_media) = extension.changes;
        self.encoded = self.encoded.with(&encoded);
        if says_media {
            self.media = extension.media;
        }
        Ok(())
    }

    fn compile(self, trial: Trial) -> Result<Policy, PolicyError> {
        let Self { mut specs, generic, encoded, mut media, .. } = self;
        specs.retain(|spec| {
            let is_off = spec.entry.class == Class::Generic && generic == Some(Switch::Off);
            spec.entry.action != Action::Off && !is_off
        });
        let mut patterns = Vec::with_capacity(specs.len());
        let mut all = Vec::new();
        for compiled in side_by_side(&mut specs, trial)? {
            let (pattern, members) = compiled?;
            patterns.push(pattern);
            all.extend(members);
        }
        refuse_repeated_expressions(&specs)?;
        let scanner = Scanner::new(all);
        media.sort_unstable();
        media.dedup();
        let canonical = canonical::canonical(&specs, encoded, &media);
        let hash = Sha256::digest(&canonical).into();
        Ok(Policy { patterns, scanner, encoded, media, canonical, hash })
    }
}

type Compiled = Result<(Pattern, Vec<Member>), PolicyError>;

/// Compiles each of `specs`, half of them in another thread: a start waits for it.
fn side_by_side(specs: &mut [Spec], trial: Trial) -> Result<Vec<Compiled>, PolicyError> {
    let each = move |first: usize, specs: &mut [Spec]| -> Vec<Compiled> {
        let numbered = specs.iter_mut().enumerate();
        numbered.map(|(index, spec)| compile(spec, first + index, trial)).collect()
    };
    let middle = specs.len() / 2;
    let (front, back) = specs.split_at_mut(middle);
    thread::scope(|scope| {
        let front = thread::Builder::new().spawn_scoped(scope, move || each(0, front));
        let front = front.map_err(|error| PolicyError {
            file: BUILT_IN_NAME.to_owned(),
            line: 0,
            reason: Reason::Thread(error.to_string()),
        })?;
        let back = each(middle, back);
        let mut all = front.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        all.extend(back);
        Ok(all)
    })
}

fn compile(spec: &mut Spec, index: usize, trial: Trial) -> Compiled {
    let kind = Kind::new(&spec.entry.kind).ok_or_else(|| spec.fault(Reason::Type))?;
    let description = spec.entry.description.clone();
    let (blocks, sticky) = (spec.blocks(), spec.sticky());
    if spec.forms.is_empty() {
        return Err(spec.fault(Reason::Missing));
    }
    let members = spec.members(index)?;
    if trial == Trial::ByExample {
        spec.try_examples(&members)?;
    }
    Ok((Pattern { kind, blocks, sticky, description }, members))
}

impl Encoded {
    /// With what a file says of it.
    fn with(self, entry: &EncodedEntry) -> Self {
        Self {
            base64: entry.base64.unwrap_or(self.base64),
            hex: entry.hex.unwrap_or(self.hex),
            percent: entry.percent.unwrap_or(self.percent),
            bytes: entry.bytes.as_ref().map_or(self.bytes, |bytes| bytes.value),
        }
    }
}

fn is_media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        let plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$&^_.+-".contains(&byte)
        };
        !part.is_empty() && part.bytes().all(plain)
    };
    text.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

const BUILT_IN_NAME: &str = "built-in patterns";
const BUILT_IN: &str = include_str!("../../policy/patterns.yaml");

/// What errors call the bytes given to [`Policy::from_canonical`].
const CANONICAL_NAME: &str = "canonical set";

/// Version of the canonical form.
const VERSION: u64 = 2;

/// The type of placeholder-shaped text that a client sends: no pattern file may weaken it.
pub(crate) const LITERAL: &str = "LITERAL";

/// Longest lead: looking back is done byte by byte.
pub(crate) const LEAD_MAX: usize = 64;

/// What `encoded.bytes` may be.
const ENCODED_BYTES: std::ops::RangeInclusive<usize> = 16..=1 << 20;
