//! One pattern on its way from a file into the compiled set.

use std::collections::HashSet;
use std::ops::Range;

use super::file::{Action, BodyEntry, Class, Entry, FormEntry};
use super::{LEAD_MAX, LITERAL, PolicyError, Reason};
use crate::placeholder::Sticky;
use crate::redact::boundary::Bytes;
use crate::redact::form::{Body, Form, FormError, Fuel, Lead, Parts, Values};
use crate::redact::scan::{Label, Member, Scope, Span, union};

/// One pattern of a file, and where it stands.
pub(super) struct Spec {
    file: String,
    line: u64,
    pub(super) entry: Entry,
    /// With their lines.
    pub(super) forms: Vec<(u64, FormEntry)>,
}

impl Spec {
    pub(super) fn new(file: &str, line: u64, entry: Entry) -> Result<Self, PolicyError> {
        let mut spec = Self { file: file.to_owned(), line, entry, forms: Vec::new() };
        spec.forms = spec.entry.forms(line).map_err(|_| spec.fault(Reason::Torn))?;
        Ok(spec)
    }

    pub(super) fn fault(&self, reason: Reason) -> PolicyError {
        self.fault_at(self.line, reason)
    }

    fn fault_at(&self, line: u64, reason: Reason) -> PolicyError {
        PolicyError { file: self.file.clone(), line, reason }
    }

    /// Whether it says no more than what to do with the type.
    pub(super) fn is_bare(&self) -> bool {
        let Entry { class, examples, counterexamples, .. } = &self.entry;
        let is_plain = *class == Class::default();
        is_plain && self.forms.is_empty() && examples.is_empty() && counterexamples.is_empty()
    }

    pub(super) fn blocks(&self) -> bool {
        self.entry.action == Action::Block
    }

    /// Where a value of it is found again although its shape does not show.
    pub(super) fn sticky(&self) -> Sticky {
        let by_chance = self.forms.iter().any(|(_, form)| form.entropy.is_none());
        match self.entry.class {
            _ if self.entry.kind == LITERAL => Sticky::No,
            Class::Structured => Sticky::Everywhere,
            Class::Generic if by_chance => Sticky::No,
            Class::Generic => Sticky::InScope,
        }
    }

    /// The compiled forms, with the literals they were found to have.
    pub(super) fn members(&mut self, pattern: usize) -> Result<Vec<Member>, PolicyError> {
        let scope = match self.entry.class {
            _ if self.entry.kind == LITERAL => Scope::Text,
            Class::Structured => Scope::Structured,
            Class::Generic => Scope::Text,
        };
        let blocks = self.blocks();
        let mut members = Vec::with_capacity(self.forms.len());
        let is_generic = self.entry.class == Class::Generic;
        for (line, entry) in &self.forms {
            if !is_generic && entry.is_choosy() {
                return Err(self.fault_at(*line, Reason::Choosy));
            }
            let form = compile(entry).map_err(|reason| self.fault_at(*line, reason))?;
            members.push(Member { form, pattern, scope, blocks, is_generic });
        }
        for ((_, entry), member) in self.forms.iter_mut().zip(&members) {
            entry.literals.clone_from(&member.form.literals);
        }
        Ok(members)
    }

    /// Whether the forms pass the examples.
    pub(super) fn try_examples(&self, members: &[Member]) -> Result<(), PolicyError> {
        if self.entry.examples.is_empty() {
            return Err(self.fault(Reason::Missing));
        }
        for example in &self.entry.examples {
            let (text, secret) = marked(&example.value);
            if !spans(members, &text).iter().any(|span| span.range == secret) {
                return Err(self.fault_at(example.referenced.line(), Reason::Example));
            }
        }
        for counterexample in &self.entry.counterexamples {
            if !spans(members, &counterexample.value).is_empty() {
                return Err(self.fault_at(counterexample.referenced.line(), Reason::Counterexample));
            }
        }
        Ok(())
    }
}

/// What `members` find in an example, which is too short to build a search for.
fn spans(members: &[Member], text: &str) -> Vec<Span> {
    let text = text.as_bytes();
    let mut fuel = Fuel::of(text.len());
    let mut matches = Vec::new();
    for Member { form, pattern, .. } in members {
        let announced = (0..text.len()).filter(|at| {
            form.literals.iter().any(|literal| text[*at..].starts_with(literal.as_bytes()))
        });
        for at in announced {
            if let Ok(Some(range)) = form.match_at(text, at, &mut fuel) {
                matches.push(Span { range, label: Label::Pattern(*pattern) });
            }
        }
    }
    union(matches, |_| false)
}

/// An example without its marks, and where the secret in it stands: between `«` and `»`, or from end
/// to end.
fn marked(example: &str) -> (String, Range<usize>) {
    let parts = example.split_once('«').and_then(|(before, rest)| {
        let (secret, behind) = rest.split_once('»')?;
        Some((before, secret, behind))
    });
    let (before, secret, behind) = parts.unwrap_or(("", example, ""));
    let start = before.len();
    (format!("{before}{secret}{behind}"), start..start + secret.len())
}

fn compile(entry: &FormEntry) -> Result<Form, Reason> {
    let is_literal = |literal: &String| !literal.is_empty() && literal.is_ascii();
    if !entry.literals.iter().all(is_literal) {
        return Err(Reason::Literals("each must be ASCII and not empty".to_owned()));
    }
    let set = |text: &str| Bytes::parse(text).ok_or(Reason::Boundary);
    let lead = match &entry.lead {
        None => None,
        Some(lead) if lead.min == 0 || lead.min > lead.max || lead.max > LEAD_MAX => {
            return Err(Reason::Lead);
        }
        Some(lead) => Some(Lead { of: set(&lead.of)?, min: lead.min, max: lead.max }),
    };
    if entry.entropy.is_some_and(|least| !(0.0..=8.0).contains(&least)) {
        return Err(Reason::Entropy);
    }
    let surrounding = |text: &String| Bytes::parse_surrounding(text).ok_or(Reason::Boundary);
    let parts = Parts {
        literals: entry.literals.clone(),
        lead,
        context: entry.context.as_deref(),
        regex: &entry.regex,
        left: set(entry.left())?,
        right: set(entry.right())?,
        next: entry.next.as_ref().map(surrounding).transpose()?,
        body: entry.body.map(|body| match body {
            BodyEntry::Pem => Body::Pem,
            BodyEntry::Putty => Body::Putty,
            BodyEntry::Quoted => Body::Quoted,
        }),
        check: entry.validate,
        values: Values { filter: entry.filter, entropy: entry.entropy, require: entry.require },
    };
    Form::new(parts).map_err(|error| match error {
        FormError::MatchesEmpty => Reason::MatchesEmpty,
        FormError::Regex(why) => Reason::Regex(why),
        FormError::Unannounced => Reason::Unannounced,
        FormError::Underivable => {
            Reason::Literals("none of 3 bytes or more follow from the expression".to_owned())
        }
    })
}

/// Refuses a set in which two forms say the same.
pub(super) fn refuse_repeated_expressions(specs: &[Spec]) -> Result<(), PolicyError> {
    let mut seen = HashSet::new();
    for spec in specs {
        for (line, form) in &spec.forms {
            if !seen.insert((&form.context, &form.regex, &form.next)) {
                return Err(spec.fault_at(*line, Reason::Duplicate));
            }
        }
    }
    Ok(())
}
