//! The pattern set and the files that change it.

use sha2::{Digest, Sha256};

use super::*;
use crate::placeholder::Sticky;
use crate::redact::media::KNOWN;

const ACME: &str = "patterns:
- type: ACME_KEY
  forms:
    - literals: [acme_]
      regex: 'acme_[a-z0-9]{12}'
  examples: [acme_0123456789ab]
  counterexamples: [acme_0123]
";

const SETTINGS: &str = "
encoded: {hex: false, bytes: 4096}
media: [video/mp4, image/jpg]
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
fn an_action_alone_keeps_what_is_built_in() {
    let blocks = load("patterns: [{type: AWS_ACCESS_KEY, action: block}]").unwrap();
    assert_eq!(blocks.pattern_count(), policy().pattern_count());
    assert_ne!(blocks.hash(), policy().hash());
    let outcome = run_with(&blocks, &Forgets, Dialect::Generic, Media::Text, AWS);
    assert!(matches!(outcome, Err(Refusal::PolicyBlock { .. })));
    let same = load("patterns: [{type: AWS_ACCESS_KEY}]").unwrap();
    assert_eq!(same.hash(), policy().hash());
    for (text, reason) in [
        ("patterns: [{type: NO_SUCH, action: block}]", Reason::Unknown),
        ("patterns: [{type: NO_SUCH, action: off}]", Reason::Unknown),
        ("patterns: [{type: NO_SUCH}]", Reason::Unknown),
        ("patterns: [{type: aws_access_key, action: off}]", Reason::Unknown),
        ("patterns: [{type: AWS_ACCESS_KEY, examples: [x]}]", Reason::Missing),
        ("patterns: [{type: AWS_ACCESS_KEY, class: generic}]", Reason::Missing),
        ("patterns: [{type: LITERAL, action: block}]", Reason::Reserved),
    ] {
        assert_eq!(refused(text), (1, reason), "{text}");
    }
}

#[test]
fn says_in_one_line_what_is_wrong_with_an_expression() {
    let why = |regex: &str| {
        let text = ACME.replace("acme_[a-z0-9]{12}", regex);
        load(&text).unwrap_err().to_string()
    };
    assert_eq!(why("acme_[a-z"), "patterns.yaml:4: expression: unclosed character class");
    let large = why("acme_(?:a{900}b?){900}");
    assert!(large.contains("limit of") && !large.contains('\n'), "{large}");
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
    assert!(text.starts_with(r#"{"encoded":{"base64":true,"bytes":65536,"hex":true,"percent":true},"media":["application/pdf","#), "{text}");
    assert!(text.contains(r#""patterns":[{"action":"tokenize","class":"structured","forms":[{"body":null,"context":null,"entropy":null,"filter":null,"lead":null,"left":"","literals":["<pl""#));
    assert!(!text.contains("examples") && !text.contains("description"));
    let parsed: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(parsed.to_string(), text);
}

#[test]
fn an_auditor_compiles_the_canonical_bytes_to_the_same_hash() {
    for set in [Policy::built_in().unwrap(), load(ACME).unwrap(), load(SETTINGS).unwrap()] {
        let again = Policy::from_canonical(set.canonical()).unwrap();
        assert_eq!((again.hash(), again.canonical()), (set.hash(), set.canonical()));
        assert_eq!((again.encoded(), again.media()), (set.encoded(), set.media()));
        assert_eq!(redacted(&again, AWS), redacted(&set, AWS));
    }
    let canonical = String::from_utf8(policy().canonical().to_vec()).unwrap();
    let not_ours = [
        canonical.replacen(":", ": ", 1),
        canonical.replace("\"v\":2", "\"v\":1"),
        canonical.replacen("\"sk-ant-api03-\"", "\"sk-ant-api04-\"", 1),
        ACME.to_owned(),
        "{".to_owned(),
        String::new(),
    ];
    for text in not_ours {
        assert!(Policy::from_canonical(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_file_says_what_is_looked_into_and_what_may_pass() {
    let built_in = policy();
    assert_eq!(built_in.encoded(), Encoded::default());
    assert!(built_in.media().contains(&"image/png".to_owned()));
    let settings = load(SETTINGS).unwrap();
    let encoded = Encoded { base64: true, hex: false, percent: true, bytes: 4096 };
    assert_eq!(settings.encoded(), encoded);
    assert_eq!(settings.media(), ["image/jpg", "video/mp4"]);
    assert_ne!(settings.hash(), built_in.hash());
    assert_eq!(refused("encoded: {\n bytes: 8}"), (2, Reason::Encoded));
    assert_eq!(refused("media:\n- image/png\n- Image/png"), (3, Reason::Media));
    assert_eq!(refused("media:\n- image/png\n- font/woff2"), (3, Reason::Magic));
    for known in KNOWN {
        assert_eq!(load(&format!("media: [{known}]")).unwrap().media(), [known]);
    }
    for unknown in ["encoded: {rot13: true}", "classes: {vague: off}", "colour: red", "v: 2"] {
        assert!(load(unknown).is_err(), "{unknown}");
    }
}

#[test]
fn a_class_is_switched_off_as_a_whole() {
    let generic = ACME.replace("  forms", "  class: generic\n  forms");
    let count = load(&generic).unwrap().pattern_count();
    let off = load(&format!("classes: {{generic: off}}\n{generic}")).unwrap();
    assert!(off.pattern_count() < count);
    assert_eq!(redacted(&off, "acme_0123456789ab"), "acme_0123456789ab");
    assert_ne!(redacted(&off, AWS), AWS);
}

#[test]
fn a_pattern_of_one_form_may_be_written_flat_and_without_literals() {
    let flat = "patterns:
- type: ACME_KEY
  regex: 'acme_[a-z0-9]{12}'
  examples: [acme_0123456789ab]
";
    assert_eq!(load(flat).unwrap().hash(), load(ACME).unwrap().hash());
    let vague = flat.replace("'acme_", "'[a-c]");
    assert!(matches!(refused(&vague), (2, Reason::Literals(_))));
    assert_eq!(refused(&ACME.replace("  examples", "  left: ''\n  examples")), (2, Reason::Torn));
}

#[test]
fn a_pattern_that_blocks_goes_before_a_longer_one_that_does_not() {
    let set = load(&format!("{ACME}- type: INNER\n  regex: '6789ab'\n  left: ''\n  action: block\n  examples: [6789ab]\n")).unwrap();
    let refused = run_with(&set, &Forgets, Dialect::Generic, Media::Text, "acme_0123456789ab");
    assert!(matches!(refused, Err(Refusal::PolicyBlock { kind, .. }) if kind.as_str() == "INNER"));
}

const NAMED: &str = "patterns:
- type: ACME_PIN
  class: generic
  context: 'acme_pin[ ]*=[ ]*'
  regex: '[a-z0-9]{6,}'
  filter: token
  entropy: 2
  examples: ['acme_pin = «x7k2q9»']
  counterexamples: ['acme_pin = xxxxxx', 'acme_pin = number']
";

#[test]
fn q6_a_keyword_announces_a_value_and_is_no_part_of_it() {
    let named = load(NAMED).unwrap();
    assert_eq!(
        redacted(&named, "acme_pin = x7k2q9; x7k2q9"),
        format!("acme_pin = {}; x7k2q9", placeholder("ACME_PIN", "x7k2q9"))
    );
    let sticky = |name: &str, set: &Policy| {
        set.patterns.iter().find(|pattern| pattern.kind.as_str() == name).unwrap().sticky
    };
    let of = |name| sticky(name, &named);
    assert_eq!((of("ACME_PIN"), of("AWS_ACCESS_KEY")), (Sticky::InScope, Sticky::Everywhere));
    assert_eq!((of("LITERAL"), of("GENERIC_PASSWORD")), (Sticky::No, Sticky::No));
    let with = |from: &str, to: &str| refused(&NAMED.replace(from, to));
    assert_eq!(with("generic", "structured"), (2, Reason::Choosy));
    assert_eq!(with("entropy: 2", "entropy: 9"), (2, Reason::Entropy));
    assert_eq!(with("'acme_pin = «", "'acme_pin «= "), (8, Reason::Example));
    assert_eq!(with("  filter", "  literals: [acme_pen]\n  filter"), (2, Reason::Unannounced));
    assert_eq!(with("'acme_pin[ ]*=[ ]*'", "'(?:acme_pin)?'"), (2, Reason::MatchesEmpty));
    for bad in ["filter: vague", "require: nothing", "validate: crc99", "next: é", "body: der"] {
        assert!(load(&NAMED.replace("filter: token", bad)).is_err(), "{bad}");
    }
}

#[test]
fn a_guess_yields_to_a_proven_shape_unless_it_blocks() {
    let named = load(NAMED.replace("[a-z0-9]{6,}", "[A-Za-z0-9-]{6,}").as_str()).unwrap();
    let id = "ASIANFRPYZ43TBIC367E";
    let text = format!("acme_pin = {id}-x7k2q9");
    let key = placeholder("AWS_ACCESS_KEY", id);
    assert_eq!(redacted(&named, &text), format!("acme_pin = {key}-x7k2q9"));
    let strict = NAMED.replace("[a-z0-9]{6,}", "[A-Za-z0-9-]{6,}") + "  action: block\n";
    let refused = run_with(&load(&strict).unwrap(), &Forgets, Dialect::Generic, Media::Text, &text);
    assert!(
        matches!(refused, Err(Refusal::PolicyBlock { kind, .. }) if kind.as_str() == "ACME_PIN")
    );
}

#[test]
fn confidence_grows_with_a_checksum_that_holds() {
    let of =
        |kind: &str, token: &str| policy().confidence(&Kind::new(kind).unwrap(), token.as_bytes());
    let valid = "ghp_".to_owned() + "0123456789abcdefghijABCDEFGHIJ" + "1aBcDe";
    assert_eq!(of("GITHUB_TOKEN", &valid), Confidence::Shape);
    assert_eq!(
        of("OPENAI_KEY", &format!("sk-{0}T3BlbkFJ{0}", "a1".repeat(10))),
        Confidence::Checked
    );
    assert_eq!(of("AWS_ACCESS_KEY", AWS), Confidence::Checked);
    assert_eq!(of("NO_SUCH_TYPE", AWS), Confidence::Shape);
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

/// Expressions are about bytes, so that two matches may meet within a character.
#[test]
fn matches_that_share_a_character_are_replaced_as_one() {
    let policy = load(
        r"patterns:
- type: FRONT
  forms: [{literals: [front], regex: 'front[^a]'}]
  examples: ['front_']
- type: BEHIND
  forms: [{literals: [front], context: 'front[^a]', regex: '[^a]{2}behind'}]
  examples: ['front_«__behind»']
",
    );
    let policy = policy.unwrap_or_else(|error| panic!("{error}"));
    for text in ["front\u{e9}_behind", "front\u{20ac}behind", " front\u{1f600}behind "] {
        let quoted = serde_json::to_string(text).unwrap();
        let escaped = quoted.replace('\u{e9}', "\\u00e9").replace('\u{20ac}', "\\u20ac");
        for (media, body) in
            [(Media::Text, text), (Media::Json, &*quoted), (Media::Json, &*escaped)]
        {
            let sent = run_with(&policy, &Forgets, Dialect::Generic, media, body).unwrap();
            for pair in sent.replaced.windows(2) {
                assert!(pair[0].range.end <= pair[1].range.start, "{body}");
            }
            assert!(!sent.replaced.is_empty() && str::from_utf8(&sent.body).is_ok(), "{body}");
        }
    }
}
