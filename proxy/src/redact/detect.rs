//! Everything that finds secrets in a text.

use std::ops::Range;

use super::encoded;
use super::form::{Exhausted, Fuel};
use super::json;
use super::known::{KnownSpan, KnownValues};
use super::policy::Policy;
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
    /// Where a pattern may match.
    by_shape: Suspicions,
    /// Whether it may spell a known value.
    known: bool,
}

impl Suspected {
    /// Whether nothing is.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_shape.is_empty() && !self.known
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
        let mut spans = self.policy.scanner.spans(text, scope, fuel)?;
        let mut known = Vec::new();
        self.known.find(text, scope, &mut known)?;
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
        let mut by_shape = self.policy.scanner.suspicions(raw, fuel)?;
        self.hidden(raw, fuel)?
            .into_iter()
            .flat_map(|span| span.range)
            .for_each(|at| by_shape.note(at));
        Ok(Suspected { by_shape, known: self.known.suspects(raw) })
    }

    /// Whether the part `range` of the `raw` JSON that `suspected` is about may hold something to
    /// replace. No is certain; yes asks for a closer look.
    pub(crate) fn suspects(&self, suspected: &Suspected, raw: &[u8], range: Range<usize>) -> bool {
        suspected.by_shape.any_in(range.clone())
            || (suspected.known && self.known.suspects(&raw[range]))
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
