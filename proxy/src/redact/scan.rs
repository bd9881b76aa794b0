//! Finds secrets in decoded text: a fast search for the literals of all forms, then each form's own
//! automaton where its literal stands.

use std::ops::Range;

use super::form::{Exhausted, Form, Fuel};
use super::prefilter::{self, Prefilter};
use super::suspicions::Suspicions;
use crate::placeholder::Kind;

mod reference;

pub use reference::Hit;

/// Which patterns count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Text,
    /// Only those whose shape alone proves a secret.
    Structured,
}

/// A stretch of text to replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) range: Range<usize>,
    /// What it is named after.
    pub(crate) label: Label,
}

/// What found a stretch of text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Label {
    /// The pattern of this index.
    Pattern(usize),
    /// A known value, under the TYPE it is known by. Among equals a pattern comes first: what it
    /// named before the value was known keeps its name.
    Known(Kind),
}

/// The compiled forms of a policy.
pub(crate) struct Scanner {
    forms: Vec<Member>,
    prefilter: Prefilter,
    /// Longest spelling in JSON of a literal that holds what it escapes.
    spelling_max: usize,
}

/// A form and the pattern it belongs to.
pub(crate) struct Member {
    pub(crate) form: Form,
    pub(crate) pattern: usize,
    pub(crate) scope: Scope,
    /// Whether a match refuses the request.
    pub(crate) blocks: bool,
    /// Whether a keyword announces it, so that a match of proven shape goes before it.
    pub(crate) is_generic: bool,
}

impl Scanner {
    /// Prepares the search for the literals of `forms`.
    pub(crate) fn new(forms: Vec<Member>) -> Self {
        let prefilter = Prefilter::new(forms.iter().map(|member| &member.form));
        let literals = forms.iter().flat_map(|member| &member.form.literals);
        let is_escaped = |literal: &&String| literal.bytes().any(prefilter::is_escaped);
        let longest = literals.filter(is_escaped).map(String::len).max().unwrap_or(0);
        Self { forms, prefilter, spelling_max: longest.saturating_mul(ESCAPE) }
    }

    /// How far behind the start of a literal, in raw JSON, its suspicion may stand.
    pub(crate) fn spelling_max(&self) -> usize {
        self.spelling_max
    }

    /// The spans to replace in `text`, in order and without overlap: overlapping matches become
    /// their union: see [`union`].
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
        self.spans_announced(text, 0..text.len(), scope, fuel)
    }

    /// Of what [`Scanner::spans`] finds, what literals announce that start in `range`.
    ///
    /// # Errors
    ///
    /// As for [`Scanner::spans`].
    pub(crate) fn spans_announced(
        &self,
        text: &[u8],
        range: Range<usize>,
        scope: Scope,
        fuel: &mut Fuel,
    ) -> Result<Vec<Span>, Exhausted> {
        let mut matches = Vec::new();
        let mut generic = Vec::new();
        self.prefilter.each(text, |at, form, _| {
            let member = &self.forms[form];
            let counts = scope == Scope::Text || member.scope == Scope::Structured;
            if !counts || !range.contains(&at) {
                return Ok(());
            }
            if let Some(range) = member.form.match_at(text, at, fuel)? {
                let found = if member.is_generic { &mut generic } else { &mut matches };
                found.push(Span { range, label: Label::Pattern(member.pattern) });
            }
            Ok(())
        })?;
        // What its shape proves also knows where it ends; what a keyword announces only guesses.
        if !matches.is_empty() && !generic.is_empty() {
            let shaped = union(matches.clone(), |_| false);
            generic
                .retain(|guess| self.blocks(&guess.label) || !overlaps_any(&shaped, &guess.range));
        }
        matches.append(&mut generic);
        Ok(union(matches, |label| self.blocks(label)))
    }

    /// Whether a match named `label` refuses the request.
    fn blocks(&self, label: &Label) -> bool {
        let of_label = |member: &Member| Label::Pattern(member.pattern) == *label;
        self.forms.iter().any(|member| member.blocks && of_label(member))
    }

    /// Where raw JSON may hold a literal that announces something to replace. A string without a
    /// suspicion and without one of [`hiding_escapes`](super::prefilter::escapes::hiding_escapes) is clean; one with asks for a closer look.
    /// Where there is no such escape, the spelling of each literal that announces a match holds a
    /// suspicion.
    ///
    /// # Errors
    ///
    /// As for [`Scanner::spans`].
    pub(crate) fn suspicions(&self, raw: &[u8], fuel: &mut Fuel) -> Result<Suspicions, Exhausted> {
        let mut suspicions = Suspicions::default();
        self.prefilter.each(raw, |at, form, is_literal| {
            if !is_literal || self.forms[form].form.may_match_raw(raw, at, fuel)? {
                suspicions.note(at);
            }
            Ok(())
        })?;
        Ok(suspicions)
    }

    /// The forms.
    pub(crate) fn members(&self) -> &[Member] {
        &self.forms
    }

    /// Bytes of memory the forms and automata take.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.forms.iter().map(|member| member.form.memory()).sum::<usize>()
            + self.prefilter.memory()
    }
}

/// Overlapping matches as their union, named after the longest of them, among equals after the
/// earlier pattern; but one that `blocks` goes before all that do not.
pub(crate) fn union(mut matches: Vec<Span>, blocks: impl Fn(&Label) -> bool) -> Vec<Span> {
    matches.sort_by_key(|found| (found.range.start, found.range.end));
    let mut spans: Vec<Span> = Vec::new();
    let mut first = (false, 0);
    for found in matches {
        let rank = (blocks(&found.label), found.range.len());
        match spans.last_mut().filter(|span| found.range.start < span.range.end) {
            Some(span) => {
                span.range.end = span.range.end.max(found.range.end);
                if rank > first || (rank == first && found.label < span.label) {
                    first = rank;
                    span.label = found.label;
                }
            }
            None => {
                first = rank;
                spans.push(found);
            }
        }
    }
    spans
}

/// Whether `range` shares a byte with one of `spans`, which are in order and apart.
fn overlaps_any(spans: &[Span], range: &Range<usize>) -> bool {
    let from = spans.partition_point(|span| span.range.end <= range.start);
    spans.get(from).is_some_and(|span| span.range.start < range.end)
}

/// Longest spelling of a byte in JSON.
const ESCAPE: usize = 6;

#[cfg(test)]
mod tests {
    use super::super::boundary::Bytes;
    use super::super::form::Parts;
    use super::*;

    fn span(range: Range<usize>, pattern: usize) -> Span {
        Span { range, label: Label::Pattern(pattern) }
    }

    #[test]
    fn p8_overlaps_become_their_union_named_after_the_longest() {
        let matches = vec![span(5..20, 1), span(0..10, 0), span(18..21, 2)];
        assert_eq!(union(matches.clone(), |_| false), [span(0..21, 1)]);
        let blocks = |label: &Label| *label == Label::Pattern(2);
        assert_eq!(union(matches, blocks), [span(0..21, 2)]);
    }

    #[test]
    fn p8_among_equals_the_earlier_pattern_names_the_span() {
        assert_eq!(union(vec![span(0..10, 3), span(5..15, 1)], |_| false), [span(0..15, 1)]);
        assert_eq!(union(vec![span(0..10, 3), span(0..10, 1)], |_| false), [span(0..10, 1)]);
    }

    #[test]
    fn p8_touching_spans_stay_separate() {
        let touching = vec![span(0..10, 1), span(10..20, 0)];
        assert_eq!(union(touching.clone(), |_| false), touching);
    }

    #[test]
    fn literals_that_overlap_themselves_are_found_everywhere() {
        let form = |regex, literal: &str| {
            let parts =
                Parts { left: Bytes::parse("").unwrap(), ..Parts::plain(&[literal], regex) };
            Member {
                form: Form::new(parts).unwrap(),
                pattern: 0,
                scope: Scope::Text,
                blocks: false,
                is_generic: false,
            }
        };
        for (regex, literal) in [("xx[0-9]", "xx"), ("xyxy[0-9]", "xyxy")] {
            let scanner = Scanner::new(vec![form(regex, literal)]);
            let text = format!("{}1", &literal.repeat(3)[literal.len() / 2..]);
            let spans = scanner.spans(text.as_bytes(), Scope::Text, &mut Fuel::of(0)).unwrap();
            assert_eq!(spans, [span(text.len() - literal.len() - 1..text.len(), 0)]);
        }
    }
}
