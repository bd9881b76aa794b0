//! `frameworks.json`: what each tag on a line means, and which tags each type of line has.
//!
//! The tags are the specification's; some of its numbers are reused between editions of a
//! framework with another meaning, so each tag names the edition it is taken from.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::body::Body;
use super::canonical::{self, Entry, Value};

/// The table: tag, framework, edition, title. Ascending by tag.
const TABLE: &[[&str; 4]] = &[
    ["EU-AI-Act-Art-12", "EU AI Act", "Regulation (EU) 2024/1689", "Record-keeping"],
    [
        "EU-AI-Act-Art-13",
        "EU AI Act",
        "Regulation (EU) 2024/1689",
        "Transparency and provision of information to deployers",
    ],
    [
        "EU-AI-Act-Art-15",
        "EU AI Act",
        "Regulation (EU) 2024/1689",
        "Accuracy, robustness and cybersecurity",
    ],
    ["MITRE-ATLAS-T0048", "MITRE ATLAS", "AML.T0048", "External Harms"],
    ["NIST-800-53-AC-4", "NIST SP 800-53", "Revision 5", "Information Flow Enforcement"],
    ["NIST-800-53-AU-10", "NIST SP 800-53", "Revision 5", "Non-repudiation"],
    ["NIST-800-53-AU-11", "NIST SP 800-53", "Revision 5", "Audit Record Retention"],
    ["NIST-800-53-AU-12", "NIST SP 800-53", "Revision 5", "Audit Record Generation"],
    [
        "NIST-800-53-AU-5",
        "NIST SP 800-53",
        "Revision 5",
        "Response to Audit Logging Process Failures",
    ],
    ["NIST-800-53-AU-8", "NIST SP 800-53", "Revision 5", "Time Stamps"],
    ["NIST-800-53-AU-9", "NIST SP 800-53", "Revision 5", "Protection of Audit Information"],
    [
        "NIST-800-53-SC-12",
        "NIST SP 800-53",
        "Revision 5",
        "Cryptographic Key Establishment and Management",
    ],
    [
        "OWASP-LLM-02",
        "OWASP Top 10 for LLM Applications",
        "2025 (LLM02)",
        "Sensitive Information Disclosure",
    ],
    [
        "OWASP-LLM-06",
        "OWASP Top 10 for LLM Applications",
        "1.1, 2023 (LLM06)",
        "Sensitive Information Disclosure",
    ],
    ["SOC2-CC4.1", "AICPA Trust Services Criteria", "2017", "Ongoing and separate evaluations"],
    [
        "SOC2-CC4.2",
        "AICPA Trust Services Criteria",
        "2017",
        "Evaluation and communication of deficiencies",
    ],
    ["SOC2-CC7.2", "AICPA Trust Services Criteria", "2017", "Monitoring for anomalies"],
    ["SOC2-CC7.3", "AICPA Trust Services Criteria", "2017", "Evaluation of security events"],
    ["SOC2-CC8.1", "AICPA Trust Services Criteria", "2017", "Change management"],
    ["SOC2-CC9.2", "AICPA Trust Services Criteria", "2017", "Vendor and business partner risk"],
];

/// The tags of a line that says `body`, ascending.
#[must_use]
pub fn tags(body: &Body) -> &'static [&'static str] {
    match body {
        Body::Redaction(_) => &[
            "EU-AI-Act-Art-12",
            "EU-AI-Act-Art-13",
            "MITRE-ATLAS-T0048",
            "NIST-800-53-AC-4",
            "OWASP-LLM-02",
            "OWASP-LLM-06",
            "SOC2-CC7.2",
            "SOC2-CC9.2",
        ],
        Body::Detokenization(_) => &["OWASP-LLM-02", "SOC2-CC7.2"],
        Body::Block(_) => &["NIST-800-53-AC-4", "OWASP-LLM-02", "SOC2-CC7.2"],
        Body::ScanClean(_) => &["EU-AI-Act-Art-12", "NIST-800-53-AC-4", "SOC2-CC7.2"],
        Body::Outcome(_) => &["EU-AI-Act-Art-12", "NIST-800-53-AU-12"],
        Body::KillSwitch(_) => &["EU-AI-Act-Art-15", "SOC2-CC7.3"],
        Body::PolicyChange(_) | Body::PolicyRefused(_) => &["SOC2-CC8.1"],
        Body::Manifest(_) => &["EU-AI-Act-Art-12", "SOC2-CC4.1"],
        Body::VerifyInstall(_) => &["SOC2-CC4.2"],
        Body::Checkpoint(_) | Body::Anchor(_) => &["NIST-800-53-AU-10", "NIST-800-53-AU-9"],
        Body::KeyRotation(_) => &["NIST-800-53-SC-12"],
        Body::Rotation(_) | Body::Prune(_) => &["NIST-800-53-AU-11"],
        Body::Recovery(_) | Body::Disk(_) => &["NIST-800-53-AU-5"],
        Body::ClockStep(_) => &["NIST-800-53-AU-8"],
        Body::Genesis(_) | Body::Start(_) | Body::Stop(_) => &["NIST-800-53-AU-12"],
        Body::Export(_) => &["EU-AI-Act-Art-12", "SOC2-CC4.1"],
    }
}

/// The bytes of `frameworks.json`; canonical, without LF.
///
/// # Panics
///
/// Never: the table holds only text that has a canonical form.
#[must_use]
pub fn json() -> Vec<u8> {
    let row = |[tag, framework, edition, title]: &[&'static str; 4]| {
        let entries =
            [("edition", edition), ("framework", framework), ("tag", tag), ("title", title)];
        let entry = |(key, text): (&'static str, &&'static str)| -> Entry<'_> {
            (key.into(), Value::Text((*text).into()))
        };
        Value::Object(entries.into_iter().map(entry).collect())
    };
    let tags = Value::List(TABLE.iter().map(row).collect());
    canonical::write(&Value::object(vec![("tags".into(), tags), ("v".into(), Value::Int(1))]))
        .expect("the table has a canonical form")
}

/// SHA-256 of a `frameworks.json`, as `genesis` names it.
#[must_use]
pub fn hash(json: &[u8]) -> [u8; 32] {
    Sha256::digest(json).into()
}

/// The tags that a `frameworks.json` defines; `None` when the bytes are not such a table.
#[must_use]
pub fn defined(json: &[u8]) -> Option<BTreeSet<String>> {
    let Value::Object(table) = canonical::parse(json).ok()? else { return None };
    let [(tags_key, Value::List(rows)), (version_key, Value::Int(1))] = table.as_slice() else {
        return None;
    };
    if tags_key != "tags" || version_key != "v" {
        return None;
    }
    rows.iter().map(tag_of).collect()
}

fn tag_of(row: &Value<'_>) -> Option<String> {
    let Value::Object(row) = row else { return None };
    let keys_match =
        row.iter().map(|(key, _)| key.as_ref()).eq(["edition", "framework", "tag", "title"]);
    match (keys_match, row.get(2)) {
        (true, Some((_, Value::Text(tag)))) => Some(tag.clone().into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::rule::Dice;

    #[test]
    fn defines_every_tag_it_gives_in_order() {
        let defined = defined(&json()).unwrap();
        assert_eq!(defined.len(), TABLE.len());
        assert!(TABLE.is_sorted_by(|a, b| a[0] < b[0]));
        for line_type in Body::TYPES {
            let tags = tags(&Body::sample(line_type, &mut Dice(1)));
            assert!(tags.is_sorted_by(|a, b| a < b), "{line_type}");
            assert!(tags.iter().all(|tag| defined.contains(*tag)), "{line_type}");
        }
    }

    #[test]
    fn keeps_the_tags_of_the_specification_on_redactions() {
        let redaction = Body::sample("redaction", &mut Dice(1));
        assert_eq!(tags(&redaction).len(), 8);
    }

    #[test]
    fn takes_no_other_table() {
        assert_eq!(defined(b"{}"), None);
        assert_eq!(defined(br#"{"tags":[],"v":2}"#), None);
        assert_eq!(defined(br#"{"tags":[{"tag":"A"}],"v":1}"#), None);
        assert_eq!(defined(br#"{"tags":[],"v":1}"#), Some(BTreeSet::new()));
    }
}
