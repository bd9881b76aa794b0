//! Walks a body's places, finds what to replace at each, and splices.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::form::Fuel;
use super::json::{self, ToRaw, decode, end_of_scalar, end_of_string, end_of_value};
use super::position::{Class, Fields, Members, Position};
use super::scan::Scope;
use super::tokenize::Ledger;
use super::{Context, Refusal, media};

/// Replace `range` by `by`.
#[derive(Debug)]
pub(crate) struct Edit {
    range: Range<usize>,
    by: String,
}

/// One body's walk.
pub(crate) struct Walk<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) ledger: Ledger<'a>,
    pub(crate) fuel: Fuel,
}

/// Where in a body the walk is.
#[derive(Clone, Copy)]
enum Place {
    /// At a place of the dialect's schema; where it is a member, with its object's offset.
    At(&'static Position, Option<usize>),
    /// Below a place whose members are all text.
    Free(&'static str),
}

/// One JSON text, and how many strings it is nested in.
#[derive(Clone, Copy)]
struct Document<'t> {
    text: &'t [u8],
    level: u32,
}

impl Walk<'_> {
    /// The edits that make the checked JSON in `text` fit to leave.
    pub(crate) fn json(
        &mut self,
        text: &[u8],
        root: &'static Position,
    ) -> Result<Vec<Edit>, Refusal> {
        let mut edits = Vec::new();
        let start = json::skip_space(text, 0);
        self.value(Document { text, level: 0 }, start, Place::At(root, None), &mut edits)?;
        Ok(edits)
    }

    /// The edits for plain text.
    pub(crate) fn plain(&mut self, text: &[u8], rule: &'static str) -> Result<Vec<Edit>, Refusal> {
        self.matches(text, rule)
    }

    /// Walks the value at `at` and returns the offset behind it.
    fn value(
        &mut self,
        document: Document<'_>,
        at: usize,
        place: Place,
        edits: &mut Vec<Edit>,
    ) -> Result<usize, Refusal> {
        match document.text.get(at) {
            Some(b'"') => {
                let end = end_of_string(document.text, at);
                self.string(document, at + 1..end - 1, place, edits)?;
                Ok(end)
            }
            Some(b'{') => self.object(document, at, place, edits),
            Some(b'[') => {
                // An element is no member: it has no siblings to speak for it.
                let place = match place {
                    Place::At(position, _) => Place::At(position, None),
                    free @ Place::Free(_) => free,
                };
                let mut next = at + 1;
                loop {
                    match json::next_element(document.text, next) {
                        Ok(element) => next = self.value(document, element, place, edits)?,
                        Err(end) => return Ok(end),
                    }
                }
            }
            _ => {
                let end = end_of_scalar(document.text, at);
                // A number cannot become a placeholder.
                self.refuse_secrets(&document.text[at..end], rule_of(place), Scope::Text)?;
                Ok(end)
            }
        }
    }

    fn object(
        &mut self,
        document: Document<'_>,
        at: usize,
        place: Place,
        edits: &mut Vec<Edit>,
    ) -> Result<usize, Refusal> {
        let text = document.text;
        let (common, own) = fields(text, at, place);
        let other = Place::Free(rule_of(place));
        let mut next = at + 1;
        loop {
            let member = match json::next_member(text, next) {
                Ok(member) => member,
                Err(end) => return Ok(end),
            };
            let key = decode(&text[member.key.clone()]);
            let named = |fields: Fields| {
                fields
                    .iter()
                    .find(|(name, _)| name.as_bytes() == &*key)
                    .map(|(_, position)| position)
            };
            let place = match named(own).or_else(|| named(common)) {
                Some(position) => Place::At(position, Some(at)),
                None => {
                    self.text(document, member.key, rule_of(place), edits)?;
                    other
                }
            };
            next = self.value(document, member.value, place, edits)?;
        }
    }

    fn string(
        &mut self,
        document: Document<'_>,
        raw: Range<usize>,
        place: Place,
        edits: &mut Vec<Edit>,
    ) -> Result<(), Refusal> {
        let (position, object) = match place {
            Place::Free(rule) => return self.text(document, raw, rule, edits),
            Place::At(position, object) => (position, object),
        };
        let content = decode(&document.text[raw.clone()]);
        let sibling = |name| object.and_then(|object| member_text(document.text, object, name));
        let passes = match position.class {
            Class::Text => false,
            Class::Protocol => {
                return self.refuse_secrets(&content, position.rule, Scope::Structured);
            }
            Class::Opaque => is_ciphertext(&content),
            Class::Media(name) => sibling(name).is_some_and(|kind| media::agrees(&kind, &content)),
            Class::DataUrl => media::is_honest_data_url(&content),
            Class::Thinking => {
                let remembered = sibling("signature").and_then(|signature| {
                    let hash = Sha256::digest(&content).into();
                    self.context.thinking.provider_text(&signature, &hash)
                });
                if let Some(own) = &remembered
                    && own.as_bytes() != &*content
                {
                    edits.push(Edit { range: raw.clone(), by: json::encode(own) });
                }
                remembered.is_some()
            }
        };
        if passes { Ok(()) } else { self.text(document, raw, position.rule, edits) }
    }

    /// Rewrites the string content at `raw`, or the JSON in it.
    fn text(
        &mut self,
        document: Document<'_>,
        raw: Range<usize>,
        rule: &'static str,
        edits: &mut Vec<Edit>,
    ) -> Result<(), Refusal> {
        let content = &document.text[raw.clone()];
        if !self.context.policy.scanner.suspects(content, &mut self.fuel)? {
            return Ok(());
        }
        let decoded = decode(content);
        let inner = if document.level < NESTING_MAX && is_json(&decoded) {
            let nested = Document { text: &decoded, level: document.level + 1 };
            let mut inner = Vec::new();
            let start = json::skip_space(&decoded, 0);
            self.value(nested, start, Place::Free(rule), &mut inner)?;
            inner
        } else {
            self.matches(&decoded, rule)?
        };
        let mut to_raw = ToRaw::new(content);
        edits.extend(inner.into_iter().map(|Edit { range, by }| {
            let range = to_raw.range(range);
            // A placeholder needs no escaping, however deep it stands.
            Edit { range: raw.start + range.start..raw.start + range.end, by }
        }));
        Ok(())
    }

    /// The edits that replace what the patterns find in decoded text.
    fn matches(&mut self, text: &[u8], rule: &'static str) -> Result<Vec<Edit>, Refusal> {
        let policy = self.context.policy;
        let mut edits = Vec::new();
        for span in policy.scanner.spans(text, Scope::Text, &mut self.fuel)? {
            let pattern = &policy.patterns[span.pattern];
            if pattern.blocks {
                return Err(Refusal::PolicyBlock { kind: pattern.kind.clone(), rule });
            }
            let range = to_characters(text, span.range);
            let by = self.ledger.placeholder(&pattern.kind, rule, &text[range.clone()])?;
            edits.push(Edit { range, by });
        }
        Ok(edits)
    }

    fn refuse_secrets(
        &mut self,
        text: &[u8],
        rule: &'static str,
        scope: Scope,
    ) -> Result<(), Refusal> {
        let policy = self.context.policy;
        match policy.scanner.spans(text, scope, &mut self.fuel)?.first() {
            None => Ok(()),
            Some(span) => {
                let kind = policy.patterns[span.pattern].kind.clone();
                Err(Refusal::ProtocolPosition { kind, rule })
            }
        }
    }
}

/// `text` with `edits` applied, which are in order and apart.
pub(crate) fn splice(text: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + edits.len() * crate::placeholder::PLAIN_MAX);
    let mut copied = 0;
    for edit in edits {
        out.extend_from_slice(&text[copied..edit.range.start]);
        out.extend_from_slice(edit.by.as_bytes());
        copied = edit.range.end;
    }
    out.extend_from_slice(&text[copied..]);
    out
}

/// Moves edits of a part of a text to where the part starts.
pub(crate) fn shift(edits: Vec<Edit>, by: usize) -> impl Iterator<Item = Edit> {
    edits
        .into_iter()
        .map(move |edit| Edit { range: edit.range.start + by..edit.range.end + by, by: edit.by })
}

fn rule_of(place: Place) -> &'static str {
    match place {
        Place::At(position, _) => position.rule,
        Place::Free(rule) => rule,
    }
}

/// The members listed for the object at `at`: those of all objects there, and those of its type.
fn fields(text: &[u8], at: usize, place: Place) -> (Fields, Fields) {
    let Place::At(position, _) = place else { return (&[], &[]) };
    match position.members {
        Members::Free => (&[], &[]),
        Members::Named(fields, others) => (fields, others),
        Members::ByType { common, types } => {
            let own = member_text(text, at, "type")
                .and_then(|found| types.iter().find(|(name, _)| *name == found));
            (common, own.map_or(&[], |(_, fields)| *fields))
        }
    }
}

/// The string member `name` of the object at `object`; `None` where there is not exactly one,
/// since the provider may then read another than we do.
fn member_text(text: &[u8], object: usize, name: &str) -> Option<String> {
    let mut found = None;
    let mut next = object + 1;
    while let Ok(member) = json::next_member(text, next) {
        next = end_of_value(text, member.value);
        if &*decode(&text[member.key]) != name.as_bytes() {
            continue;
        }
        if found.is_some() || text.get(member.value) != Some(&b'"') {
            return None;
        }
        let content = decode(&text[member.value + 1..next - 1]).into_owned();
        found = Some(String::from_utf8(content).ok()?);
    }
    found
}

/// Whether `text` is a JSON object, array or string.
fn is_json(text: &[u8]) -> bool {
    let trimmed = text.trim_ascii();
    matches!(trimmed, [b'{', .., b'}'] | [b'[', .., b']'] | [b'"', .., b'"'])
        && json::check(text).is_ok()
}

/// Whether `content` can be an encrypted or signed blob: long, and nothing but base64.
fn is_ciphertext(content: &[u8]) -> bool {
    let is_base64 = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=')
    };
    content.len() >= CIPHERTEXT_MIN && content.iter().all(is_base64)
}

/// `range`, widened to whole characters of UTF-8.
fn to_characters(text: &[u8], range: Range<usize>) -> Range<usize> {
    let inside = |at: usize| text.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    let Range { mut start, mut end } = range;
    while inside(start) {
        start -= 1;
    }
    while inside(end) {
        end += 1;
    }
    start..end
}

/// How many strings JSON is looked for in each other.
const NESTING_MAX: u32 = 4;

/// Shorter than any signature or ciphertext, longer than most keys.
const CIPHERTEXT_MIN: usize = 64;
