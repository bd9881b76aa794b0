//! The pattern file as it is written: see [`super`].

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::redact::entropy::Filter;
use crate::redact::validate::Check;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Only in the canonical set: its version.
    pub(super) v: Option<u64>,
    #[serde(default)]
    pub(super) classes: Classes,
    #[serde(default)]
    pub(super) encoded: EncodedEntry,
    pub(super) media: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) patterns: Vec<Spanned<Entry>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Classes {
    pub(super) generic: Option<Switch>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Switch {
    On,
    Off,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct EncodedEntry {
    pub(super) base64: Option<bool>,
    pub(super) hex: Option<bool>,
    pub(super) percent: Option<bool>,
    pub(super) bytes: Option<Spanned<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) action: Action,
    #[serde(default)]
    pub(super) class: Class,
    #[serde(default)]
    forms: Vec<Spanned<FormEntry>>,
    #[serde(default)]
    pub(super) examples: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) counterexamples: Vec<Spanned<String>>,
    // The only form, written without a list.
    literals: Option<Vec<String>>,
    regex: Option<String>,
    lead: Option<LeadEntry>,
    context: Option<String>,
    left: Option<String>,
    right: Option<String>,
    next: Option<String>,
    body: Option<BodyEntry>,
    validate: Option<Check>,
    filter: Option<Filter>,
    entropy: Option<f32>,
    require: Option<Check>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct FormEntry {
    /// Empty where they are to be derived from the expression.
    #[serde(default)]
    pub(super) literals: Vec<String>,
    pub(super) regex: String,
    pub(super) lead: Option<LeadEntry>,
    pub(super) context: Option<String>,
    pub(super) left: Option<String>,
    pub(super) right: Option<String>,
    pub(super) next: Option<String>,
    pub(super) body: Option<BodyEntry>,
    pub(super) validate: Option<Check>,
    pub(super) filter: Option<Filter>,
    pub(super) entropy: Option<f32>,
    pub(super) require: Option<Check>,
}

impl FormEntry {
    /// What may not stand in front: by default no letter or digit, but anything in front of a
    /// context, which is mostly the end of a name.
    pub(super) fn left(&self) -> &str {
        let default = if self.context.is_some() { "" } else { ALPHANUMERIC };
        self.left.as_deref().unwrap_or(default)
    }

    /// What may not stand behind.
    pub(super) fn right(&self) -> &str {
        self.right.as_deref().unwrap_or(ALPHANUMERIC)
    }

    /// Whether it says anything of a value beyond its shape.
    pub(super) fn is_choosy(&self) -> bool {
        self.filter.is_some() || self.entropy.is_some() || self.require.is_some()
    }
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct LeadEntry {
    pub(super) of: String,
    pub(super) min: usize,
    pub(super) max: usize,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(super) enum BodyEntry {
    Pem,
    Putty,
    Quoted,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    #[default]
    Tokenize,
    Block,
    Off,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Class {
    #[default]
    Structured,
    Generic,
}

/// The forms of an entry that has its only one beside its type and others in a list.
pub(super) struct Torn;

impl BodyEntry {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pem => "pem",
            Self::Putty => "putty",
            Self::Quoted => "quoted",
        }
    }
}

impl Entry {
    /// The forms with their lines, however they are written; `line` is the entry's own.
    pub(super) fn forms(&self, line: u64) -> Result<Vec<(u64, FormEntry)>, Torn> {
        let own = FormEntry {
            literals: self.literals.clone().unwrap_or_default(),
            regex: self.regex.clone().unwrap_or_default(),
            lead: self.lead.clone(),
            context: self.context.clone(),
            left: self.left.clone(),
            right: self.right.clone(),
            next: self.next.clone(),
            body: self.body,
            validate: self.validate,
            filter: self.filter,
            entropy: self.entropy,
            require: self.require,
        };
        let is_blank = self.literals.is_none()
            && own.lead.is_none()
            && own.context.is_none()
            && own.left.is_none()
            && own.right.is_none()
            && own.next.is_none()
            && own.body.is_none()
            && own.validate.is_none()
            && !own.is_choosy();
        match &self.regex {
            Some(_) if self.forms.is_empty() => Ok(vec![(line, own)]),
            None if is_blank => Ok(self
                .forms
                .iter()
                .map(|form| (form.referenced.line(), form.value.clone()))
                .collect()),
            _ => Err(Torn),
        }
    }
}

const ALPHANUMERIC: &str = "A-Za-z0-9";
