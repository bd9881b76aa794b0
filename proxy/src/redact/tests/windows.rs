//! S: what is found around suspicions is what a search of the whole string finds.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::Value;

use super::catalogue::{BEFORE, BEHIND};
use super::*;
use crate::placeholder::{Secret, Sticky};
use crate::redact::detect::Detector;
use crate::redact::scan::{Scope, Span};
use crate::redact::window::Content;
use crate::store;

/// What an operator registered and what was tokenized before.
const KNOWN: [&str; 3] = [
    "correct-horse-battery",
    "8kZq2mPv7Xw4Ty9Lr3Nb-a-rather-long-one-that-reaches-over-more-than-one-block-of-the-text-8kZq2mPv7Xw4Ty9Lr3Nb",
    "Zq81mPv7_Xw4Ty9Lr3Nb",
];

fn knowing() -> &'static store::Store {
    static STORE: OnceLock<Arc<store::Store>> = OnceLock::new();
    STORE.get_or_init(|| {
        let limits = store::Limits { ttl: Duration::from_secs(1 << 20), ..Default::default() };
        let store = Arc::new(store::Store::new(limits));
        for value in &KNOWN[..2] {
            store.register(Kind::new("REGISTERED").unwrap(), value.as_bytes(), 0).unwrap();
        }
        let minted = Minted {
            kind: Kind::new("STICKY").unwrap(),
            tag: key().tag(KNOWN[2].as_bytes()),
            plaintext: Secret::new(KNOWN[2].as_bytes().to_vec()),
            sticky: Sticky::Everywhere,
        };
        drop(store.pin(scope(), &[minted], Instant::now()).unwrap());
        store
    })
}

fn scope() -> store::Scope {
    store::Scope::of(&key(), "api.example", |_| None)
}

/// What a search around the suspicions in `raw`, the content of a string, finds, and what a search
/// of the whole does, both in its offsets.
fn both(policy: &Policy, raw: &str) -> (Option<Vec<Span>>, Vec<Span>) {
    let known = knowing().known(scope(), Instant::now());
    let detector = Detector::new(policy, &known);
    let mut fuel = Fuel::of(1 << 20);
    // Its neighbours are strings as well.
    let text = format!("[\"{AWS}\",\"{raw}\",\"{AWS}\"]");
    let start = AWS.len() + 5;
    let end = start + raw.len();
    let suspected = detector.suspicions(text.as_bytes(), &mut fuel).unwrap();
    let content = Content { text: text.as_bytes(), start, end, suspected: &suspected };
    let around = detector.around(content, &mut fuel).unwrap();
    let decoded = json::decode(raw.as_bytes());
    let mut to_raw = json::ToRaw::new(raw.as_bytes());
    let whole = detector.spans(&decoded, Scope::Text, &mut fuel).unwrap().into_iter();
    let whole = whole.map(|Span { range, label }| {
        let range = to_raw.range(walk::to_characters(&decoded, range));
        Span { range: start + range.start..start + range.end, label }
    });
    (around, whole.collect())
}

/// Each example and counterexample of the built-in set that is written in one line.
fn examples() -> &'static [String] {
    static EXAMPLES: OnceLock<Vec<String>> = OnceLock::new();
    EXAMPLES.get_or_init(|| {
        let lines = include_str!("../../../policy/patterns.yaml").lines();
        let quoted =
            |line: &str| Some(line.strip_prefix("      - '")?.strip_suffix('\'')?.to_owned());
        lines
            .filter_map(quoted)
            .map(|example| example.replace("''", "'").replace(['«', '»'], ""))
            .collect()
    })
}

/// Key blocks of every end.
const KEYS: [&str; 6] = [
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF0PbnGy0AHB7MhgHcTz6sE2I+abc\nAbCdEf==\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\\nMIIEowIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF0PbnGy0AHB7MhgHcTz6sE2I+abc\\nAbCdEf==",
    "-----BEGIN EC PRIVATE KEY-----",
    "-----END EC PRIVATE KEY-----",
    "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: \"x\"\nMIIEowIBAAKCAQEA0Z3VS5JJcds3xfn\n---- END SSH2 ENCRYPTED PRIVATE KEY ----",
    "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 1\nMIIEowIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF0PbnGy0AHB7MhgHcTz6sE2I+abc\n",
];

/// What names a value and opens a quote, or leaves that out.
const NAMES: [&str; 8] = [
    "password=\"",
    "DB_PASSWORD: '",
    "token = \\\"",
    "api_key: ",
    "client_secret`",
    "sk-",
    "eyJhbGciOi",
    "https://u:",
];

fn piece() -> impl Strategy<Value = String> {
    let of = |from: &'static [&'static str]| prop::sample::select(from).prop_map(str::to_owned);
    let example = prop::sample::select(examples());
    prop_oneof![
        6 => example.clone(),
        2 => (example, any::<prop::sample::Index>()).prop_map(|(example, at)| {
            let at = at.index(example.len() + 1);
            example[..example.floor_char_boundary(at)].to_owned()
        }),
        3 => of(BEFORE),
        3 => of(BEHIND),
        1 => of(&KEYS),
        2 => of(&NAMES),
        1 => of(&KNOWN),
        // What is near enough to be in one window, what is not, and what a match may run on over.
        4 => (of(&[" ", "word ", "\n", "\t12\t", "\\", "\\n", "\"", "a", "A7", "é", "密", "x\"y\\", "\u{1}", "😀", "."]), 0_usize..400)
            .prop_map(|(of, length)| of.repeat(length / of.len())),
        2 => "[ -~é密\n]{0,40}",
        1 => "[A-Za-z0-9_-]{20,300}",
    ]
}

/// `text` as the content of a JSON string; `style` 1 and 2 spell what is no ASCII by escapes, 3 now
/// and then anything.
fn spelt(text: &str, style: u8) -> String {
    let mut raw = String::new();
    for (at, char) in text.chars().enumerate() {
        let must = match style {
            1 | 2 => !char.is_ascii(),
            3 => at % 101 == 7,
            _ => false,
        };
        if must {
            let units = char.encode_utf16(&mut [0; 2]).to_vec();
            raw.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            let quoted = Value::from(char.to_string()).to_string();
            raw.push_str(&quoted[1..quoted.len() - 1]);
        }
    }
    raw
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_found_around_suspicions_is_what_the_whole_string_holds(
        pieces in prop::collection::vec(piece(), 1..14),
        style in 0_u8..12,
    ) {
        let raw = spelt(&pieces.concat(), style);
        let (around, whole) = both(policy(), &raw);
        if let Some(around) = around {
            prop_assert_eq!(around, whole, "{}", raw);
        }
    }
}

#[test]
fn what_stands_alone_in_a_long_string_needs_no_search_of_the_whole() {
    let prose = "Lines of text, as they come.\n".repeat(40);
    let mut found = 0;
    for example in examples() {
        let raw = spelt(&format!("{prose} {example} {prose}{example}\n{prose}"), 0);
        let (around, whole) = both(policy(), &raw);
        // Where something is encoded, the whole is searched.
        if let Some(around) = around {
            assert_eq!(around, whole, "{example}");
            found += usize::from(whole.len() > 1);
        }
    }
    assert!(found > 150, "{found}");
}

#[test]
fn a_match_that_starts_long_before_its_literal_is_in_one_window_with_it() {
    let (lead, digits) = ("ab".repeat(32), "1".repeat(8));
    let file = format!(
        "patterns:\n  - type: LONG\n    description: x\n    literals: [':']\n    regex: '[ab]{{60,64}}:1{{8}}'\n    lead: {{ of: ab, min: 60, max: 64 }}\n    left: 'ab0-9m'\n    right: ''\n    examples: ['{lead}:{digits}']\n"
    );
    let policy = Policy::load(Some(("x", &file))).unwrap_or_else(|error| panic!("{error}"));
    for offset in 0..130 {
        // What stands in front decides: the end of an escape does not belong to the word.
        for (before, found) in [(" ", 1), ("\u{1b}[38;5;100;48;5;200;1m", 1), ("mm", 0), ("\n", 1)]
        {
            let front = ". ".repeat(200) + &" ".repeat(offset);
            let text = format!("{front}{before}{lead}:{digits} {}", ". ".repeat(200));
            let (around, whole) = both(&policy, &spelt(&text, 0));
            assert_eq!(whole.len(), found, "{offset} {before:?}");
            assert_eq!(around, Some(whole), "{offset} {before:?}");
        }
    }
}
