//! The bytes that `policy_hash` is taken of.

use serde_json::{Value, json};

use super::file::{BodyEntry, Class, FormEntry};
use super::spec::Spec;
use super::{Encoded, VERSION};
use crate::redact::entropy::Filter;
use crate::redact::validate::Check;

/// The effective set as JSON: keys sorted, no spaces, nothing that finds nothing.
pub(super) fn canonical(specs: &[Spec], encoded: Encoded, media: &[String]) -> Vec<u8> {
    let Encoded { base64, hex, percent, bytes } = encoded;
    // Values keep their members in a sorted map, and print without spaces.
    json!({
        "encoded": { "base64": base64, "bytes": bytes, "hex": hex, "percent": percent },
        "media": media,
        "patterns": specs.iter().map(pattern).collect::<Vec<_>>(),
        "v": VERSION,
    })
    .to_string()
    .into_bytes()
}

fn pattern(spec: &Spec) -> Value {
    json!({
        "action": if spec.blocks() { "block" } else { "tokenize" },
        "class": if spec.entry.class == Class::Generic { "generic" } else { "structured" },
        "forms": spec.forms.iter().map(|(_, entry)| form(entry)).collect::<Vec<_>>(),
        "type": spec.entry.kind,
    })
}

fn form(entry: &FormEntry) -> Value {
    let check = |check: Option<Check>| check.map(Check::name);
    json!({
        "body": entry.body.map(BodyEntry::name),
        "context": entry.context,
        "entropy": entry.entropy,
        "filter": entry.filter.map(Filter::name),
        "lead": entry
            .lead
            .as_ref()
            .map(|lead| json!({ "max": lead.max, "min": lead.min, "of": lead.of })),
        "left": entry.left(),
        "literals": entry.literals,
        "next": entry.next,
        "regex": entry.regex,
        "require": check(entry.require),
        "right": entry.right(),
        "validate": check(entry.validate),
    })
}
