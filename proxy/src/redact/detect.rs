//! Everything that finds secrets in a text.

use std::ops::Range;

use super::encoded;
use super::form::{Exhausted, Fuel};
use super::json;
use super::known::{KnownSpan, KnownValues};
use super::policy::Policy;
use super::prefilter::escapes::hiding_escapes;
use super::scan::{Label, Scope, Span, union};
use super::suspicions::Suspicions;
use crate::placeholder::{Kind, Sticky};

/// What one request is searched with.
#[derive(Clone, Copy)]
pub(crate) struct Detector<'a> {
    policy: &'a Policy,
    known: &'a dyn KnownValues,
}

/// What is suspicious about one raw JSON text.
pub(crate) struct Suspected {
    /// Where a literal stands that may announce a match of a pattern.
    by_shape: Suspicions,
    /// All of what may spell a known value.
    by_value: Suspicions,
    /// What may hide something: encoded, or behind escapes.
    hidden: Suspicions,
    /// What is to be looked at for another reason.
    wanted: Suspicions,
}

impl Suspected {
    /// Whether nothing is, and nothing else is to be looked at.
    pub(crate) fn is_empty(&self) -> bool {
        self.all().into_iter().all(Suspicions::is_empty) && self.wanted.is_empty()
    }

    /// Has the containers looked into that hold `at`.
    pub(crate) fn want(&mut self, at: usize) {
        self.wanted.note(at);
    }

    /// Whether nothing in the part `range` is to be looked at.
    pub(crate) fn is_idle_in(&self, range: Range<usize>) -> bool {
        !self.any_in(&range) && !self.wanted.any_in(range)
    }

    /// Whether the part `range` may hold something to replace. No is certain; yes asks for a closer
    /// look.
    pub(crate) fn any_in(&self, range: &Range<usize>) -> bool {
        self.all().into_iter().any(|suspicions| suspicions.any_in(range.clone()))
    }

    /// Whether something may be hidden in the part `range`: encoded, or behind escapes.
    pub(crate) fn is_hidden_in(&self, range: Range<usize>) -> bool {
        self.hidden.any_in(range)
    }

    /// The first stretch of `range` that may spell a literal or a known value.
    pub(crate) fn first_in(&self, range: &Range<usize>) -> Option<Range<usize>> {
        let first = |suspicions: &Suspicions| suspicions.first_in(range.clone());
        let both = [&self.by_shape, &self.by_value].into_iter().filter_map(first);
        both.min_by_key(|stretch| stretch.start)
    }

    fn all(&self) -> [&Suspicions; 3] {
        [&self.by_shape, &self.by_value, &self.hidden]
    }
}

impl<'a> Detector<'a> {
    pub(crate) fn new(policy: &'a Policy, known: &'a dyn KnownValues) -> Self {
        Self { policy, known }
    }

    /// The spans to replace in decoded `text`, in order and apart: see
    /// [`Scanner::spans`](super::scan::Scanner::spans).
    ///
    /// # Errors
    ///
    /// [`Exhausted`] where the text is made to be costly.
    pub(crate) fn spans(
        &self,
        text: &[u8],
        scope: Scope,
        fuel: &mut Fuel,
    ) -> Result<Vec<Span>, Exhausted> {
        let mut spans = self.plain(text, scope, fuel)?;
        let mut hidden = self.hidden(text, fuel)?;
        hidden
            .extend(encoded::quoted(text, fuel, &mut |text, fuel| self.plain(text, scope, fuel))?);
        if hidden.is_empty() {
            return Ok(spans);
        }
        spans.extend(hidden);
        Ok(union(spans, |label| self.blocks(label)))
    }

    /// What of `value` is a secret because it is assigned to `name`, as a member of an object is.
    ///
    /// # Errors
    ///
    /// As for [`Detector::spans`].
    pub(crate) fn assigned(
        &self,
        name: &[u8],
        value: &[u8],
        fuel: &mut Fuel,
    ) -> Result<Option<Span>, Exhausted> {
        // A form may nest its names: `user[password]`.
        let name = name.strip_suffix(b"]").unwrap_or(name);
        // Written as JSON does, or a quote in it would seem to end it.
        let value = json::encode(&String::from_utf8_lossy(value));
        let assignment = [b"\"", name, b"\": \"", value.as_bytes(), b"\""].concat();
        let start = assignment.len() - value.len() - 1;
        let spans = self.policy.scanner.spans(&assignment, Scope::Text, fuel)?;
        let of_value = |span: &Span| span.range.start == start;
        Ok(spans.into_iter().find(of_value).and_then(|Span { range, label }| {
            let found = value.as_bytes().get(..range.end - start)?;
            Some(Span { range: 0..json::decode(found).len(), label })
        }))
    }

    /// What stands in `text` as it is.
    ///
    /// # Errors
    ///
    /// As for [`Detector::spans`].
    pub(crate) fn plain(
        &self,
        text: &[u8],
        scope: Scope,
        fuel: &mut Fuel,
    ) -> Result<Vec<Span>, Exhausted> {
        self.announced(text, 0..text.len(), scope, fuel)
    }

    /// Of what [`Detector::plain`] finds, what literals announce that start in `range`, and known
    /// values that do.
    ///
    /// # Errors
    ///
    /// As for [`Detector::spans`].
    pub(crate) fn announced(
        &self,
        text: &[u8],
        range: Range<usize>,
        scope: Scope,
        fuel: &mut Fuel,
    ) -> Result<Vec<Span>, Exhausted> {
        let mut spans = self.policy.scanner.spans_announced(text, range.clone(), scope, fuel)?;
        let mut known = Vec::new();
        self.known.find(text, scope, &mut known)?;
        known.retain(|known| range.contains(&known.range.start));
        if known.is_empty() {
            return Ok(spans);
        }
        let named = |KnownSpan { range, kind }| Span { range, label: Label::Known(kind) };
        spans.extend(known.into_iter().map(named));
        Ok(union(spans, |label| self.blocks(label)))
    }

    /// What stands in `text` encoded.
    fn hidden(&self, text: &[u8], fuel: &mut Fuel) -> Result<Vec<Span>, Exhausted> {
        encoded::find(text, self.policy.encoded(), fuel, &mut |text, fuel| {
            let mut spans = self.plain(text, Scope::Structured, fuel)?;
            // A run is named after one of what is in it. What blocks may not hide behind the rest.
            if spans.iter().any(|span| self.blocks(&span.label)) {
                spans.retain(|span| self.blocks(&span.label));
            }
            Ok(spans)
        })
    }

    /// Where raw JSON may hold something to replace.
    ///
    /// # Errors
    ///
    /// As for [`Detector::spans`].
    pub(crate) fn suspicions(&self, raw: &[u8], fuel: &mut Fuel) -> Result<Suspected, Exhausted> {
        let by_shape = self.policy.scanner.suspicions(raw, fuel)?;
        let mut hidden = hiding_escapes(raw);
        self.hidden(raw, fuel)?.into_iter().for_each(|span| hidden.note_all(span.range));
        let mut by_value = Suspicions::default();
        self.known.suspect(raw, &mut |range| by_value.note_all(range));
        Ok(Suspected { by_shape, by_value, hidden, wanted: Suspicions::default() })
    }

    /// How far behind the start of a literal, in raw JSON, its suspicion may stand.
    pub(crate) fn spelling_max(&self) -> usize {
        self.policy.scanner.spelling_max()
    }

    /// The TYPE of a span's placeholder.
    pub(crate) fn kind<'l>(&'l self, label: &'l Label) -> &'l Kind {
        match label {
            Label::Pattern(index) => &self.policy.patterns[*index].kind,
            Label::Known(kind) => kind,
        }
    }

    /// Where else the value of a span is a secret.
    pub(crate) fn sticky(&self, label: &Label) -> Sticky {
        match label {
            Label::Pattern(index) => self.policy.patterns[*index].sticky,
            Label::Known(_) => Sticky::No,
        }
    }

    /// Whether a span refuses the request.
    pub(crate) fn blocks(&self, label: &Label) -> bool {
        match label {
            Label::Pattern(index) => self.policy.patterns[*index].blocks,
            Label::Known(_) => false,
        }
    }
}
