//! Walks a body's places and finds what to replace at each.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;
use sha2::{Digest, Sha256};

use super::detect::{Detector, Suspected};
use super::form::Fuel;
use super::json::{self, Ends, ToRaw, decode, end_of_scalar};
use super::position::{Class, Fields, Members, Position};
use super::scan::{Label, Scope, Span, union};
use super::splice::Replacement;
use super::tokenize::Ledger;
use super::window::Content;
use super::{Context, Malformed, Refusal, media, pem};

/// Replace `range` by `by`.
struct Edit {
    range: Range<usize>,
    by: By,
}

/// What comes instead.
enum By {
    /// A placeholder for what stands there; which spelling of it that is, is not settled yet.
    Placeholder { label: Label, rule: &'static str },
    /// This.
    Settled(Settled),
}

/// A text that comes instead, and which finding it is an occurrence of.
struct Settled {
    text: String,
    finding: Option<usize>,
}

/// One body's walk.
pub(crate) struct Walk<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) detector: Detector<'a>,
    pub(crate) ledger: Ledger<'a>,
    pub(crate) fuel: Fuel,
    /// The key that the last string left open.
    pub(crate) open_key: Option<OpenKey>,
}

/// A key of which a string holds the beginning and no end: the next strings may be its lines.
pub(crate) struct OpenKey {
    label: Label,
    /// How many strings more may be something else.
    patience: u32,
}

/// Where in a body the walk is.
#[derive(Clone, Copy)]
enum Place {
    /// At a place of the dialect's schema; where it is a member, with its object's offset.
    At(&'static Position, Option<usize>),
    /// Below a place whose members are all text.
    Free(&'static str),
}

/// One JSON text.
#[derive(Clone, Copy)]
struct Document<'t> {
    text: &'t [u8],
    ends: &'t Ends<'t>,
    /// How many strings it is nested in.
    level: u32,
    /// Whether a secret is what its decoded strings say. Where a string only happens to hold JSON,
    /// the secret is what that string says, escapes and all: the model will repeat it so.
    is_exact: bool,
    /// What of it may hold a secret.
    suspected: &'t Suspected,
}

impl Walk<'_> {
    /// The replacements that make the checked JSON at `start` of `text` fit to leave; `suspected`
    /// is about all of `text`.
    pub(crate) fn json(
        &mut self,
        text: &[u8],
        start: usize,
        suspected: &Suspected,
        root: &'static Position,
    ) -> Result<Vec<Replacement>, Refusal> {
        let mut edits = Vec::new();
        let start = json::skip_space(text, start);
        let ends = &Ends::new(text, start);
        let document = Document { text, ends, level: 0, is_exact: true, suspected };
        self.value(document, start, Place::At(root, None), &mut edits)?;
        self.settle(text, edits)
    }

    /// The replacements for plain text, which may be JSON that does not say so.
    pub(crate) fn plain(
        &mut self,
        text: &[u8],
        rule: &'static str,
    ) -> Result<Vec<Replacement>, Refusal> {
        let edits = self.inside(text, 0, false, rule)?;
        self.settle(text, edits)
    }

    /// The replacements for one field of a form, in offsets of `name=value`.
    pub(crate) fn field(
        &mut self,
        name: &[u8],
        value: &[u8],
        rule: &'static str,
    ) -> Result<Vec<Replacement>, Refusal> {
        let pair = [name, b"=", value].concat();
        let behind = name.len() + 1;
        let mut edits = self.inside(name, 1, false, rule)?;
        let mut inside = self.inside(value, 1, false, rule)?;
        inside.iter_mut().for_each(|edit| {
            edit.range = edit.range.start + behind..edit.range.end + behind;
        });
        edits.append(&mut inside);
        // What a name says of its value counts too.
        for Span { mut range, label } in self.detector.spans(&pair, Scope::Text, &mut self.fuel)? {
            if range.end > behind {
                range.start = range.start.max(behind);
            } else {
                range.end = range.end.min(name.len());
            }
            edits.push(Edit { range, by: By::Placeholder { label, rule } });
        }
        let edits = self.united(&pair, edits, rule)?;
        self.settle(&pair, edits)
    }

    /// The replacement for `value` where its `name` tells that it is a secret.
    pub(crate) fn named(
        &mut self,
        name: &[u8],
        value: &[u8],
        rule: &'static str,
    ) -> Result<Vec<Replacement>, Refusal> {
        let span = self.detector.assigned(name, value, &mut self.fuel)?;
        let edit = |Span { range, label }| Edit { range, by: By::Placeholder { label, rule } };
        let edits = self.united(value, span.map(edit).into_iter().collect(), rule)?;
        self.settle(value, edits)
    }

    /// Walks the value at `at` and returns the offset behind it.
    fn value(
        &mut self,
        document: Document<'_>,
        at: usize,
        place: Place,
        edits: &mut Vec<Edit>,
    ) -> Result<usize, Refusal> {
        if let Some(end) = self.end_of_idle(document, at) {
            return Ok(end);
        }
        match document.text.get(at) {
            Some(b'"') => {
                let end = document.ends.of_string(at);
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
                let mut name = None;
                loop {
                    let element = match json::next_element(document.text, next) {
                        Ok(element) => element,
                        Err(end) => return Ok(end),
                    };
                    let found = edits.len();
                    next = self.value(document, element, place, edits)?;
                    let is_string = document.text[element] == b'"';
                    let string = is_string.then_some(element + 1..next - 1);
                    // A header or an option and its value.
                    if let (Some(name), Some(value)) = (&name, &string)
                        && edits.len() == found
                    {
                        self.pair(document, name, value, place, edits)?;
                    }
                    name = string;
                }
            }
            _ => {
                let end = end_of_scalar(document.text, at);
                // A number cannot become a placeholder, unless all of this is but text.
                if document.is_exact && self.suspects(document, at..end) {
                    self.refuse_secrets(&document.text[at..end], rule_of(place), Scope::Text)?;
                }
                Ok(end)
            }
        }
    }

    /// The end of the long container at `at`, where nothing in it is to be looked at.
    fn end_of_idle(&self, document: Document<'_>, at: usize) -> Option<usize> {
        let is_container = matches!(document.text.get(at), Some(b'{' | b'['));
        let end = document.ends.of_long(at).filter(|_| is_container && self.open_key.is_none())?;
        document.suspected.is_idle_in(at..end).then_some(end)
    }

    fn object(
        &mut self,
        document: Document<'_>,
        at: usize,
        place: Place,
        edits: &mut Vec<Edit>,
    ) -> Result<usize, Refusal> {
        let text = document.text;
        let (common, own) = self.fields(document, at, place)?;
        let other = Place::Free(rule_of(place));
        let mut next = at + 1;
        let mut name = None;
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
                    self.text(document, member.key.clone(), rule_of(place), false, edits)?;
                    other
                }
            };
            let (value, found) = (member.value, edits.len());
            next = self.value(document, value, place, edits)?;
            if !matches!(place, Place::Free(_)) || text.get(value) != Some(&b'"') {
                continue;
            }
            let string = value + 1..next - 1;
            if NAMES.contains(&&*key) {
                name = Some(string);
            } else if edits.len() == found {
                self.pair(document, &member.key, &string, place, edits)?;
                if let Some(name) = name.as_ref().filter(|_| VALUES.contains(&&*key))
                    && edits.len() == found
                {
                    self.pair(document, name, &string, place, edits)?;
                }
            }
        }
    }

    /// Rewrites the string content at `value` where that at `name`, which it belongs to, tells
    /// that it is a secret.
    fn pair(
        &mut self,
        document: Document<'_>,
        name: &Range<usize>,
        value: &Range<usize>,
        place: Place,
        edits: &mut Vec<Edit>,
    ) -> Result<(), Refusal> {
        let rule = match place {
            Place::Free(rule) => rule,
            Place::At(position, _) if position.class == Class::Text => position.rule,
            Place::At(..) => return Ok(()),
        };
        if !self.suspects(document, name.clone()) {
            return Ok(());
        }
        // One name may have any number of values.
        self.fuel.burn(name.len() + value.len())?;
        let name = decode(&document.text[name.clone()]);
        self.assigned(document, &name, value.clone(), rule, edits)
    }

    /// Rewrites the string content at `raw` where the member's `name` tells that it is a secret.
    fn assigned(
        &mut self,
        document: Document<'_>,
        name: &[u8],
        raw: Range<usize>,
        rule: &'static str,
        edits: &mut Vec<Edit>,
    ) -> Result<(), Refusal> {
        let decoded = decode(&document.text[raw.clone()]);
        let Some(Span { range, label }) = self.detector.assigned(name, &decoded, &mut self.fuel)?
        else {
            return Ok(());
        };
        let inside = vec![Edit { range, by: By::Placeholder { label, rule } }];
        let inside = self.united(&decoded, inside, rule)?;
        self.outward(document, raw, &decoded, inside, edits)
    }

    fn string(
        &mut self,
        document: Document<'_>,
        raw: Range<usize>,
        place: Place,
        edits: &mut Vec<Edit>,
    ) -> Result<(), Refusal> {
        let (position, object) = match place {
            Place::Free(rule) => return self.text(document, raw, rule, false, edits),
            Place::At(position, object) => (position, object),
        };
        // The provider's own thinking is put back whatever it holds. Anything else that raised no
        // suspicion stays as it is.
        let is_wanted = position.class == Class::Thinking || self.open_key.is_some();
        if !is_wanted && !self.suspects(document, raw.clone()) {
            return Ok(());
        }
        let content = || decode(&document.text[raw.clone()]);
        let passes = match position.class {
            Class::Text | Class::Json => false,
            Class::Protocol => {
                return self.refuse_secrets(&content(), position.rule, Scope::Structured);
            }
            Class::Opaque => is_ciphertext(&content()) && !self.is_secret(&content())?,
            Class::Media(name) => self.sibling(document, object, name)?.is_some_and(|media_type| {
                media::agrees(self.context.policy, &media_type, &content())
            }),
            Class::DataUrl => media::is_honest_data_url(self.context.policy, &content()),
            Class::Thinking => {
                let content = content();
                let remembered =
                    self.sibling(document, object, "signature")?.and_then(|signature| {
                        let hash = Sha256::digest(&content).into();
                        self.context.thinking.provider_text(&signature, &hash)
                    });
                if let Some(own) = &remembered
                    && own.as_bytes() != &*content
                {
                    edits.push(Edit {
                        range: raw.clone(),
                        by: By::Settled(Settled { text: json::encode(own), finding: None }),
                    });
                }
                remembered.is_some()
            }
        };
        if passes {
            return Ok(());
        }
        self.text(document, raw, position.rule, position.class == Class::Json, edits)
    }

    fn sibling(
        &mut self,
        document: Document<'_>,
        object: Option<usize>,
        name: &str,
    ) -> Result<Option<String>, Refusal> {
        object.map_or(Ok(None), |object| self.member_text(document, object, name))
    }

    /// Rewrites the string content at `raw`, or the JSON in it; `is_json` where the schema says
    /// that it is JSON.
    fn text(
        &mut self,
        document: Document<'_>,
        raw: Range<usize>,
        rule: &'static str,
        is_json: bool,
        edits: &mut Vec<Edit>,
    ) -> Result<(), Refusal> {
        if self.open_key.is_none() && !self.suspects(document, raw.clone()) {
            return Ok(());
        }
        if self.open_key.is_none() && !may_be_json(&document.text[raw.clone()]) {
            let Document { text, suspected, .. } = document;
            let content = Content { text, start: raw.start, end: raw.end, suspected };
            if let Some(spans) = self.detector.around(content, &mut self.fuel)? {
                return self.replace(document, raw, spans, rule, edits);
            }
        }
        let decoded = decode(&document.text[raw.clone()]);
        let is_exact = document.is_exact && is_json;
        let inside = self.inside(&decoded, document.level + 1, is_exact, rule)?;
        self.outward(document, raw, &decoded, inside, edits)
    }

    /// Replaces `spans`, in order and apart, of the string content at `raw`.
    fn replace(
        &mut self,
        document: Document<'_>,
        raw: Range<usize>,
        spans: Vec<Span>,
        rule: &'static str,
        edits: &mut Vec<Edit>,
    ) -> Result<(), Refusal> {
        if let Some(last) = spans.last() {
            let (secret, behind) = (last.range.clone(), last.range.end..raw.end);
            let rest = || decode(&document.text[behind]);
            self.may_leave_open(&decode(&document.text[secret]), rest, &last.label);
        }
        if let Some(span) = spans.iter().find(|span| self.detector.blocks(&span.label)) {
            let kind = self.detector.kind(&span.label).clone();
            return Err(Refusal::PolicyBlock { kind, rule });
        }
        for Span { range, label } in spans {
            let by = By::Placeholder { label, rule };
            let by = if document.is_exact {
                let secret = decode(&document.text[range.clone()]);
                By::Settled(self.settled(&secret, by)?)
            } else {
                by
            };
            edits.push(Edit { range, by });
        }
        Ok(())
    }

    /// Makes the edits `inside` the `decoded` string content at `raw` ones of `document`.
    fn outward(
        &mut self,
        document: Document<'_>,
        raw: Range<usize>,
        decoded: &[u8],
        mut inside: Vec<Edit>,
        edits: &mut Vec<Edit>,
    ) -> Result<(), Refusal> {
        if document.is_exact {
            let settled = self.settle(decoded, inside)?.into_iter();
            inside = settled
                .map(|Replacement { range, text, finding }| Edit {
                    range,
                    by: By::Settled(Settled { text, finding }),
                })
                .collect();
        }
        let mut to_raw = ToRaw::new(&document.text[raw.clone()]);
        edits.extend(inside.into_iter().map(|Edit { range, by }| {
            let range = to_raw.range(range);
            // A placeholder needs no escaping, however deep it stands.
            Edit { range: raw.start + range.start..raw.start + range.end, by }
        }));
        Ok(())
    }

    /// The edits to decoded text and to the JSON that it may be: see [`Document`] for `level` and
    /// `is_exact`.
    fn inside(
        &mut self,
        text: &[u8],
        level: u32,
        is_exact: bool,
        rule: &'static str,
    ) -> Result<Vec<Edit>, Refusal> {
        let mut edits = self.rest_of_key(text, rule)?;
        // Some skip a byte order mark.
        let mark = if text.starts_with(MARK) { MARK.len() } else { 0 };
        if level > NESTING_MAX {
            if hides(text) && is_json(&text[mark..]) {
                return Err(Refusal::Malformed(Malformed::Nesting));
            }
        } else if is_json(&text[mark..]) {
            let suspected = &self.detector.suspicions(text, &mut self.fuel)?;
            let start = json::skip_space(text, mark);
            let ends = &Ends::new(text, start);
            let document = Document { text, ends, level, is_exact, suspected };
            self.value(document, start, Place::Free(rule), &mut edits)?;
            if is_exact {
                return Ok(edits);
            }
        }
        // Text that happens to be JSON is text all the same: a key may be laid out over its lines.
        let spans = self.detector.spans(text, Scope::Text, &mut self.fuel)?;
        if let Some(Span { range, label }) = spans.last() {
            let rest = || Cow::Borrowed(&text[range.end..]);
            self.may_leave_open(&text[range.clone()], rest, label);
        }
        for Span { range, label } in spans {
            edits.push(Edit { range, by: By::Placeholder { label, rule } });
        }
        self.united(text, edits, rule)
    }

    /// Remembers a key that `secret` begins and nothing behind it ends.
    fn may_leave_open<'t>(
        &mut self,
        secret: &[u8],
        rest: impl FnOnce() -> Cow<'t, [u8]>,
        label: &Label,
    ) {
        if pem::is_open(secret) && rest().trim_ascii().is_empty() {
            self.open_key = Some(OpenKey { label: label.clone(), patience: PATIENCE });
        }
    }

    /// What of `text` belongs to a key that a string in front of it left open.
    fn rest_of_key(&mut self, text: &[u8], rule: &'static str) -> Result<Vec<Edit>, Refusal> {
        let Some(OpenKey { label, patience }) = self.open_key.take() else {
            return Ok(Vec::new());
        };
        let range = match pem::follows(text, &mut self.fuel)? {
            pem::Follows::Not => {
                self.open_key = patience.checked_sub(1).map(|patience| OpenKey { label, patience });
                return Ok(Vec::new());
            }
            pem::Follows::Ends(range) => range,
            pem::Follows::GoesOn(range) => {
                self.open_key = Some(OpenKey { label: label.clone(), patience: PATIENCE });
                range
            }
        };
        let edit = Edit { range, by: By::Placeholder { label, rule } };
        Ok(if edit.range.is_empty() { Vec::new() } else { vec![edit] })
    }

    /// Edits of `text` in order and apart: placeholders that overlap become one.
    fn united(
        &self,
        text: &[u8],
        edits: Vec<Edit>,
        rule: &'static str,
    ) -> Result<Vec<Edit>, Refusal> {
        let mut spans = Vec::new();
        let mut united = Vec::new();
        for Edit { range, by } in edits {
            match by {
                // Two that share a character overlap.
                By::Placeholder { label, .. } => {
                    spans.push(Span { range: to_characters(text, range), label });
                }
                settled @ By::Settled(_) => united.push(Edit { range, by: settled }),
            }
        }
        for Span { range, label } in union(spans, |label| self.detector.blocks(label)) {
            if self.detector.blocks(&label) {
                let kind = self.detector.kind(&label).clone();
                return Err(Refusal::PolicyBlock { kind, rule });
            }
            united.push(Edit { range, by: By::Placeholder { label, rule } });
        }
        Ok(united)
    }

    /// Takes what `text` says at each placeholder's range as the secret it stands for.
    fn settle(&mut self, text: &[u8], edits: Vec<Edit>) -> Result<Vec<Replacement>, Refusal> {
        let settle = |Edit { range, by }| {
            let Settled { text, finding } = self.settled(&text[range.clone()], by)?;
            Ok(Replacement { range, text, finding })
        };
        edits.into_iter().map(settle).collect()
    }

    /// What comes instead of `secret`.
    fn settled(&mut self, secret: &[u8], by: By) -> Result<Settled, Refusal> {
        match by {
            By::Settled(settled) => Ok(settled),
            By::Placeholder { label, rule } => {
                let (kind, sticky) = (self.detector.kind(&label), self.detector.sticky(&label));
                let (text, finding) = self.ledger.placeholder(kind, rule, secret, sticky)?;
                Ok(Settled { text, finding: Some(finding) })
            }
        }
    }

    /// The members listed for the object at `at`: those of all objects there, and those of its
    /// type.
    fn fields(
        &mut self,
        document: Document<'_>,
        at: usize,
        place: Place,
    ) -> Result<(Fields, Fields), Refusal> {
        let Place::At(position, _) = place else { return Ok((&[], &[])) };
        match position.members {
            Members::Free => Ok((&[], &[])),
            Members::Named(fields, others) => Ok((fields, others)),
            Members::ByTag { tag, common, types } => {
                let found = self.member_text(document, at, tag)?;
                let own = types.iter().find(|(name, _)| found.as_deref() == Some(*name));
                Ok((common, own.map_or(&[], |(_, fields)| *fields)))
            }
        }
    }

    /// The string member `name` of the object at `object`; `None` where there is not exactly one,
    /// since the provider may then read another than we do.
    fn member_text(
        &mut self,
        document: Document<'_>,
        object: usize,
        name: &str,
    ) -> Result<Option<String>, Refusal> {
        let text = document.text;
        let mut found = None;
        let mut next = object + 1;
        while let Ok(member) = json::next_member(text, next) {
            next = document.ends.of_value(member.value);
            if &*decode(&text[member.key]) != name.as_bytes() {
                continue;
            }
            if found.is_some() || text.get(member.value) != Some(&b'"') {
                return Ok(None);
            }
            let content = decode(&text[member.value + 1..next - 1]).into_owned();
            found = String::from_utf8(content).ok();
        }
        // An object of many members that each ask for a sibling would take quadratic time.
        self.fuel.burn(next - object)?;
        Ok(found)
    }

    /// Whether the raw part `range` of `document` may hold a secret.
    fn suspects(&self, document: Document<'_>, range: Range<usize>) -> bool {
        document.suspected.any_in(&range)
    }

    /// Whether all of `text` is one secret. That a ciphertext holds what looks like one will happen;
    /// that it is nothing else will not.
    fn is_secret(&mut self, text: &[u8]) -> Result<bool, Refusal> {
        let spans = self.detector.plain(text, Scope::Structured, &mut self.fuel)?;
        Ok(matches!(&spans[..], [Span { range, .. }] if *range == (0..text.len())))
    }

    /// Refuses `text` where it holds a secret.
    pub(crate) fn refuse_secrets(
        &mut self,
        text: &[u8],
        rule: &'static str,
        scope: Scope,
    ) -> Result<(), Refusal> {
        match self.detector.spans(text, scope, &mut self.fuel)?.first() {
            None => Ok(()),
            Some(span) => {
                let kind = self.detector.kind(&span.label).clone();
                Err(Refusal::ProtocolPosition { kind, rule })
            }
        }
    }
}

fn rule_of(place: Place) -> &'static str {
    match place {
        Place::At(position, _) => position.rule,
        Place::Free(rule) => rule,
    }
}

/// Whether `text` is a JSON object, array or string.
fn is_json(text: &[u8]) -> bool {
    let trimmed = text.trim_ascii();
    matches!(trimmed, [b'{', .., b'}'] | [b'[', .., b']'] | [b'"', .., b'"'])
        && json::check(text).is_ok()
}

/// Whether the raw `content` of a string may stand for what [`is_json`]. No is certain, as long as
/// no escape spells a bracket or quote of it that needs none.
fn may_be_json(content: &[u8]) -> bool {
    let mut rest = content;
    loop {
        rest = match rest {
            [b' ', rest @ ..]
            | [b'\\', b'n' | b'r' | b't' | b'f', rest @ ..]
            | [0xef, 0xbb, 0xbf, rest @ ..] => rest,
            [b'\\', b'u', ..] => return true,
            [b'{' | b'[', ..] | [b'\\', b'"', ..] => break,
            _ => return false,
        }
    }
    loop {
        rest = match rest {
            [rest @ .., b' '] | [rest @ .., b'\\', b'n' | b'r' | b't' | b'f'] => rest,
            [.., b'}' | b']' | b'"' | b'\\'] | [.., b'\\', b'u', _, _, _, _] => return true,
            _ => return false,
        }
    }
}

/// Whether JSON as deep as it is looked for holds escapes that only whoever looked deeper would
/// see through: `\/`, and `\u0020` to `\u007f` but for `"&'<>`, which encoders escape.
fn hides(text: &[u8]) -> bool {
    let spells = |at: usize| match text.get(at + 4..at + 6) {
        Some([b'2', b'2' | b'6' | b'7'] | [b'3', b'c' | b'C' | b'e' | b'E']) => false,
        Some([digit, _]) => (b'2'..=b'7').contains(digit),
        _ => false,
    };
    memmem::find(text, b"\\/").is_some() || memmem::find_iter(text, b"\\u00").any(spells)
}

/// Whether `content` can be an encrypted or signed blob: long, and nothing but base64.
fn is_ciphertext(content: &[u8]) -> bool {
    let is_base64 = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=')
    };
    content.len() >= CIPHERTEXT_MIN && content.iter().all(is_base64)
}

/// `range`, widened to whole characters of UTF-8.
pub(crate) fn to_characters(text: &[u8], range: Range<usize>) -> Range<usize> {
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

/// U+FEFF.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// How many strings JSON is looked for in each other.
const NESTING_MAX: u32 = 4;

/// How many strings may stand between two lines of a key: keys, line numbers, types of blocks.
const PATIENCE: u32 = 12;

/// Members that name what stands in one of [`VALUES`] behind them, as in lists of variables.
const NAMES: &[&[u8]] = &[b"name", b"Name", b"key", b"Key"];
const VALUES: &[&[u8]] = &[b"value", b"Value"];

/// Shorter than any signature or ciphertext, longer than most keys.
const CIPHERTEXT_MIN: usize = 64;
