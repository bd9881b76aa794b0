//! The pattern file as it is written: see [`super`].

use serde::Deserialize;
use serde_saphyr::Spanned;

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
    #[serde(default, rename = "description")]
    _description: String,
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
    left: Option<String>,
    right: Option<String>,
    body: Option<BodyEntry>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct FormEntry {
    /// Empty where they are to be derived from the expression.
    #[serde(default)]
    pub(super) literals: Vec<String>,
    pub(super) regex: String,
    pub(super) lead: Option<LeadEntry>,
    #[serde(default = "alphanumeric")]
    pub(super) left: String,
    #[serde(default = "alphanumeric")]
    pub(super) right: String,
    pub(super) body: Option<BodyEntry>,
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

impl Entry {
    /// The forms with their lines, however they are written; `line` is the entry's own.
    pub(super) fn forms(&self, line: u64) -> Result<Vec<(u64, FormEntry)>, Torn> {
        let Self { literals, regex, lead, left, right, body, .. } = self;
        let listed = self.forms.iter().map(|form| (form.referenced.line(), form.value.clone()));
        match regex {
            Some(regex) if self.forms.is_empty() => {
                let form = FormEntry {
                    literals: literals.clone().unwrap_or_default(),
                    regex: regex.clone(),
                    lead: lead.clone(),
                    left: left.clone().unwrap_or_else(alphanumeric),
                    right: right.clone().unwrap_or_else(alphanumeric),
                    body: *body,
                };
                Ok(vec![(line, form)])
            }
            None if literals.is_none()
                && lead.is_none()
                && left.is_none()
                && right.is_none()
                && body.is_none() =>
            {
                Ok(listed.collect())
            }
            _ => Err(Torn),
        }
    }
}

fn alphanumeric() -> String {
    "A-Za-z0-9".to_owned()
}
