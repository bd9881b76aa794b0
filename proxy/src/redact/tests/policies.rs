//! The pattern set and the files that change it.

use sha2::{Digest, Sha256};

use super::*;

const ACME: &str = "patterns:
- type: ACME_KEY
  forms:
    - literals: [acme_]
      regex: 'acme_[a-z0-9]{12}'
  examples: [acme_0123456789ab]
  counterexamples: [acme_0123]
";

fn load(text: &str) -> Result<Policy, PolicyError> {
    Policy::load(Some(("patterns.yaml", text)))
}

fn refused(text: &str) -> (u64, Reason) {
    let error = load(text).unwrap_err();
    assert_eq!(error.file, "patterns.yaml");
    assert!(error.to_string().starts_with(&format!("patterns.yaml:{}: ", error.line)));
    (error.line, error.reason)
}

fn redacted(policy: &Policy, text: &str) -> String {
    text_of(&run_with(policy, &Forgets, Dialect::Generic, Media::Text, text).unwrap())
}

#[test]
fn an_extension_adds_overrides_and_switches_off() {
    let count = policy().pattern_count();
    let added = load(ACME).unwrap();
    assert_eq!(added.pattern_count(), count + 1);
    assert_eq!(redacted(&added, "acme_0123456789ab"), placeholder("ACME_KEY", "acme_0123456789ab"));

    let off = load("patterns: [{type: AWS_ACCESS_KEY, action: off}]").unwrap();
    assert_eq!(off.pattern_count(), count - 1);
    assert_eq!(redacted(&off, AWS), AWS);

    let other = ACME.replace("ACME_KEY", "AWS_ACCESS_KEY");
    let overridden = load(&other).unwrap();
    assert_eq!(overridden.pattern_count(), count);
    assert_eq!(redacted(&overridden, AWS), AWS);
    assert_ne!(redacted(&overridden, "acme_0123456789ab"), "acme_0123456789ab");
}

#[test]
fn refuses_a_faulty_file_by_line_and_reason() {
    let with = |from: &str, to: &str| refused(&ACME.replace(from, to));
    assert_eq!(with("ACME_KEY", "acme-key"), (2, Reason::Type));
    assert_eq!(with("[acme_0123456789ab]", "[acme_0]"), (6, Reason::Example));
    assert_eq!(with("[acme_0123]", "[x acme_0123456789ab x]"), (7, Reason::Counterexample));
    assert_eq!(with("'acme_[a-z0-9]{12}'", "'(acme_)?'"), (4, Reason::MatchesEmpty));
    assert_eq!(with("'acme_[a-z0-9]{12}'", "'acme_.{12}|secret'"), (4, Reason::Unannounced));
    assert_eq!(with("  examples: [acme_0123456789ab]\n", ""), (2, Reason::Missing));
    assert_eq!(with("ACME_KEY", "LITERAL"), (2, Reason::Reserved));
    assert_eq!(with("      regex", "      left: 'é'\n      regex"), (4, Reason::Boundary));
    assert_eq!(
        with("      regex", "      lead: {of: a, min: 2, max: 1}\n      regex"),
        (4, Reason::Lead)
    );
    assert!(matches!(with("[acme_]\n", "['']\n"), (4, Reason::Literals(_))));
    assert!(matches!(with("acme_[a-z0-9]{12}", "acme_("), (4, Reason::Regex(_))));
    assert!(matches!(with("acme_[a-z0-9]{12}", "acme_(?:a{900}b?){900}"), (4, Reason::Regex(_))));
    assert!(matches!(with("  forms", "  colour: red\n  forms"), (_, Reason::Syntax(_))));
    assert!(matches!(refused("patterns: [").1, Reason::Syntax(_)));
    let twice = format!("{ACME}{}", ACME.trim_start_matches("patterns:\n"));
    assert_eq!(refused(&twice), (8, Reason::Duplicate));
    assert_eq!(refused(&twice.replacen("ACME_KEY", "ACME", 1)), (10, Reason::Duplicate));
}

#[test]
fn the_hash_is_of_the_canonical_set_and_ignores_what_finds_nothing() {
    let plain = load(ACME).unwrap();
    let digest: [u8; 32] = Sha256::digest(plain.canonical()).into();
    assert_eq!(plain.hash(), digest);
    let described =
        load(&ACME.replace("  forms", "  description: the key of acme\n  forms")).unwrap();
    assert_eq!(described.hash(), plain.hash());
    assert_ne!(policy().hash(), plain.hash());
    assert_ne!(load(&ACME.replace("{12}", "{12,}")).unwrap().hash(), plain.hash());
}

#[test]
fn the_canonical_set_is_sorted_dense_json() {
    let text = str::from_utf8(policy().canonical()).unwrap();
    assert!(text.starts_with(r#"{"patterns":[{"action":"tokenize","class":"structured","forms":[{"body":null,"lead":null,"left":"","literals":["<pl""#), "{text}");
    assert!(!text.contains("examples") && !text.contains("description"));
    let parsed: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(parsed.to_string(), text);
}

#[test]
fn the_compiled_set_is_small() {
    let bytes = policy().scanner.memory();
    assert!(bytes < 2 << 20, "{bytes}");
}

#[test]
fn the_documentation_lists_the_built_in_types_and_no_others() {
    let set: serde_json::Value =
        serde_saphyr::from_str(include_str!("../../../policy/patterns.yaml")).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let types = set["patterns"].as_array().unwrap().iter();
    let expected: Vec<_> = types
        .map(|pattern| {
            format!("| `{}` | {} |", text(&pattern["type"]), text(&pattern["description"]))
        })
        .collect();
    let shown: Vec<_> = include_str!("../../../../docs/redaction.md")
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    assert_eq!(shown, expected);
}
