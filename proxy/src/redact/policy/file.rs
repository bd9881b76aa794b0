//! The pattern file as it is written: see [`super`].

use serde::Deserialize;
use serde_saphyr::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) patterns: Vec<Spanned<Entry>>,
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
    pub(super) forms: Vec<Spanned<FormEntry>>,
    #[serde(default)]
    pub(super) examples: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) counterexamples: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FormEntry {
    pub(super) literals: Vec<String>,
    pub(super) regex: String,
    pub(super) lead: Option<LeadEntry>,
    #[serde(default = "alphanumeric")]
    pub(super) left: String,
    #[serde(default = "alphanumeric")]
    pub(super) right: String,
    pub(super) body: Option<BodyEntry>,
}

#[derive(Deserialize)]
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

fn alphanumeric() -> String {
    "A-Za-z0-9".to_owned()
}
