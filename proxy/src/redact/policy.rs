//! The pattern set in force: the built-in one, and what an operator's file changes in it.
//!
//! A pattern file holds `patterns`, a list of:
//!
//! - `type`: the placeholder's TYPE, `[A-Z0-9_]{1,40}`. A type of the built-in set is overridden.
//! - `description`: for people.
//! - `action`: `tokenize` (default), `block` (refuse the request) or `off`.
//! - `class`: `structured` (default; its shape alone proves a secret, so that it also counts in
//!   URLs, headers and protocol fields) or `generic`.
//! - `forms`: the shapes the type takes, each with
//!   - `literals`: what announces a match; a match starts with one of them;
//!   - `lead`: `{of, min, max}`, where bytes of the match stand in front of the literal;
//!   - `regex`: decides; ASCII, linear time, no look-around;
//!   - `left`, `right`: bytes that may not stand beside a match, `A-Za-z0-9` by default;
//!   - `body: pem`: the match runs on over a PEM block.
//! - `examples`: each is matched from end to end, and there is at least one;
//! - `counterexamples`: none of them holds a match.

use std::collections::HashMap;
use std::fmt;

use serde_json::json;
use serde_saphyr::Spanned;
use sha2::{Digest, Sha256};

use super::boundary::Bytes;
use super::form::{Body, Form, FormError, Fuel, Lead, Parts};
use super::scan::{Member, Scanner, Scope};
use crate::placeholder::Kind;

mod file;

use file::{Action, BodyEntry, Class, Entry, File, FormEntry};

/// A compiled pattern set.
pub struct Policy {
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) scanner: Scanner,
    canonical: Vec<u8>,
    hash: [u8; 32],
}

/// What a match means.
pub(crate) struct Pattern {
    pub(crate) kind: Kind,
    pub(crate) blocks: bool,
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
        let mut specs = read(BUILT_IN_NAME, BUILT_IN)?;
        if let Some((file, text)) = extension {
            for spec in read(file, text)? {
                if spec.entry.kind == LITERAL {
                    return Err(spec.fault(Reason::Reserved));
                }
                match specs.iter().position(|known| known.entry.kind == spec.entry.kind) {
                    Some(known) => specs[known] = spec,
                    None => specs.push(spec),
                }
            }
        }
        specs.retain(|spec| spec.entry.action != Action::Off);
        Self::compile(specs)
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

    fn compile(specs: Vec<Spec>) -> Result<Self, PolicyError> {
        let canonical = canonical(&specs);
        let mut patterns = Vec::with_capacity(specs.len());
        let mut members = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            let kind = Kind::new(&spec.entry.kind).ok_or_else(|| spec.fault(Reason::Type))?;
            patterns.push(Pattern { kind, blocks: spec.entry.action == Action::Block });
            members.extend(spec.members(index)?);
        }
        refuse_repeated_expressions(&specs)?;
        let scanner = Scanner::new(members).map_err(|error| PolicyError {
            file: BUILT_IN_NAME.to_owned(),
            line: 0,
            reason: Reason::Literals(error.to_string()),
        })?;
        let hash = Sha256::digest(&canonical).into();
        Ok(Self { patterns, scanner, canonical, hash })
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("patterns", &self.patterns.len()).finish_non_exhaustive()
    }
}

/// Why a pattern file is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The file's name.
    pub file: String,
    /// Line, from 1; 0 where it is the file as a whole.
    pub line: u64,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong with a pattern file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// `left`, `right` or `lead.of` is no set of printable ASCII.
    Boundary,
    /// A counterexample holds a match.
    Counterexample,
    /// The file says the same type twice, or two types the same expression.
    Duplicate,
    /// An example is not matched from end to end.
    Example,
    /// `lead` is not 1 ≤ min ≤ max ≤ 64.
    Lead,
    /// A literal is empty or not ASCII, or there are too many.
    Literals(String),
    /// The expression matches the empty string.
    MatchesEmpty,
    /// A pattern that is not off needs forms and an example.
    Missing,
    /// The expression does not compile within the limits.
    Regex(String),
    /// The type is Waterwall's own.
    Reserved,
    /// It is not the YAML expected here.
    Syntax(String),
    /// The type is not `[A-Z0-9_]{1,40}`.
    Type,
    /// The expression matches text that starts with none of its literals.
    Unannounced,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boundary => f.write_str("not a set of printable ASCII"),
            Self::Counterexample => f.write_str("counterexample is matched"),
            Self::Duplicate => f.write_str("type or expression is given twice"),
            Self::Example => f.write_str("example is not matched from end to end"),
            Self::Lead => f.write_str("lead must be 1 ≤ min ≤ max ≤ 64"),
            Self::Literals(why) => write!(f, "literals: {why}"),
            Self::MatchesEmpty => f.write_str("expression matches the empty string"),
            Self::Missing => f.write_str("forms and at least one example are required"),
            Self::Regex(why) => write!(f, "expression: {why}"),
            Self::Reserved => f.write_str("type is reserved"),
            Self::Syntax(why) => f.write_str(why),
            Self::Type => f.write_str("type is not [A-Z0-9_]{1,40}"),
            Self::Unannounced => {
                f.write_str("expression matches text that starts with none of the literals")
            }
        }
    }
}

impl std::error::Error for PolicyError {}

/// One pattern of a file, and where it stands.
struct Spec {
    file: String,
    line: u64,
    entry: Entry,
}

fn read(file: &str, text: &str) -> Result<Vec<Spec>, PolicyError> {
    let options = serde_saphyr::options! { with_snippet: false };
    let parsed: File = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        PolicyError { file: file.to_owned(), line, reason: Reason::Syntax(error.to_string()) }
    })?;
    let mut specs: Vec<Spec> = Vec::with_capacity(parsed.patterns.len());
    for entry in parsed.patterns {
        let line = entry.referenced.line();
        let spec = Spec { file: file.to_owned(), line, entry: entry.value };
        if specs.iter().any(|earlier| earlier.entry.kind == spec.entry.kind) {
            return Err(spec.fault(Reason::Duplicate));
        }
        specs.push(spec);
    }
    Ok(specs)
}

impl Spec {
    fn fault(&self, reason: Reason) -> PolicyError {
        self.fault_at(self.line, reason)
    }

    fn fault_at(&self, line: u64, reason: Reason) -> PolicyError {
        PolicyError { file: self.file.clone(), line, reason }
    }

    /// The compiled forms, once they have passed their examples.
    fn members(&self, pattern: usize) -> Result<Vec<Member>, PolicyError> {
        if self.entry.forms.is_empty() || self.entry.examples.is_empty() {
            return Err(self.fault(Reason::Missing));
        }
        let alone = Scanner::new(self.compiled(pattern)?)
            .map_err(|error| self.fault(Reason::Literals(error.to_string())))?;
        let spans = |text: &str| {
            alone.spans(text.as_bytes(), Scope::Text, &mut Fuel::of(text.len())).unwrap_or_default()
        };
        for example in &self.entry.examples {
            let whole = 0..example.value.len();
            if !spans(&example.value).iter().any(|span| span.range == whole) {
                return Err(self.fault_at(example.referenced.line(), Reason::Example));
            }
        }
        for counterexample in &self.entry.counterexamples {
            if !spans(&counterexample.value).is_empty() {
                return Err(self.fault_at(counterexample.referenced.line(), Reason::Counterexample));
            }
        }
        Ok(alone.into_forms())
    }

    fn compiled(&self, pattern: usize) -> Result<Vec<Member>, PolicyError> {
        let scope = match self.entry.class {
            _ if self.entry.kind == LITERAL => Scope::Text,
            Class::Structured => Scope::Structured,
            Class::Generic => Scope::Text,
        };
        let member = |entry: &Spanned<FormEntry>| {
            let form = compile_form(&entry.value)
                .map_err(|reason| self.fault_at(entry.referenced.line(), reason))?;
            Ok(Member { form, pattern, scope })
        };
        self.entry.forms.iter().map(member).collect()
    }
}

fn compile_form(entry: &FormEntry) -> Result<Form, Reason> {
    let is_literal = |literal: &String| !literal.is_empty() && literal.is_ascii();
    if entry.literals.is_empty() || !entry.literals.iter().all(is_literal) {
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
    let parts = Parts {
        literals: entry.literals.clone(),
        lead,
        regex: &entry.regex,
        left: set(&entry.left)?,
        right: set(&entry.right)?,
        body: entry.body.map(|BodyEntry::Pem| Body::Pem),
    };
    Form::new(parts).map_err(|error| match error {
        FormError::MatchesEmpty => Reason::MatchesEmpty,
        FormError::Regex(why) => Reason::Regex(why),
        FormError::Unannounced => Reason::Unannounced,
    })
}

fn refuse_repeated_expressions(specs: &[Spec]) -> Result<(), PolicyError> {
    let mut seen = HashMap::new();
    for spec in specs {
        for form in &spec.entry.forms {
            if seen.insert(&form.value.regex, ()).is_some() {
                return Err(spec.fault_at(form.referenced.line(), Reason::Duplicate));
            }
        }
    }
    Ok(())
}

fn canonical(specs: &[Spec]) -> Vec<u8> {
    let form = |entry: &Spanned<FormEntry>| {
        let FormEntry { literals, regex, lead, left, right, body } = &entry.value;
        json!({
            "body": body.map(|BodyEntry::Pem| "pem"),
            "lead": lead.as_ref().map(|lead| json!({ "max": lead.max, "min": lead.min, "of": lead.of })),
            "left": left,
            "literals": literals,
            "regex": regex,
            "right": right,
        })
    };
    let pattern = |spec: &Spec| {
        json!({
            "action": if spec.entry.action == Action::Block { "block" } else { "tokenize" },
            "class": if spec.entry.class == Class::Generic { "generic" } else { "structured" },
            "forms": spec.entry.forms.iter().map(form).collect::<Vec<_>>(),
            "type": spec.entry.kind,
        })
    };
    // Values keep their members in a sorted map, and print without spaces.
    json!({ "patterns": specs.iter().map(pattern).collect::<Vec<_>>(), "v": 1 })
        .to_string()
        .into_bytes()
}

const BUILT_IN_NAME: &str = "built-in patterns";
const BUILT_IN: &str = include_str!("../../policy/patterns.yaml");

/// The type of placeholder-shaped text that a client sends: no pattern file may weaken it.
const LITERAL: &str = "LITERAL";

/// Longest lead: looking back is done byte by byte.
const LEAD_MAX: usize = 64;
