//! Values that are found again.

use proptest::prelude::*;

use super::*;
use crate::redact::{self, Exhausted, KnownSpan, KnownValues};

const SECRET: &str = "kq8Zr-0tYw3xLp7N";

fn kind(name: &str) -> Kind {
    Kind::new(name).unwrap()
}

/// The stretches of `text` that are known to be secrets, each once, with their TYPE.
fn found_in(known: &KnownOf<'_>, scope: redact::Scope, text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    known.find(text.as_bytes(), scope, &mut found).unwrap();
    found.sort_by_key(|span| (span.range.start, span.range.end));
    found.dedup();
    let told = |span: KnownSpan| (text[span.range].to_owned(), span.kind.as_str().to_owned());
    found.into_iter().map(told).collect()
}

fn finds(store: &Store, scope: Scope, text: &str) -> Vec<(String, String)> {
    found_in(&store.known(scope, Instant::now()), redact::Scope::Text, text)
}

fn pairs(found: &[(&str, &str)]) -> Vec<(String, String)> {
    found.iter().map(|(text, kind)| ((*text).to_owned(), (*kind).to_owned())).collect()
}

fn stick(store: &Arc<Store>, scope: Scope, kind: &str, text: &str, sticky: Sticky) -> Pin {
    let value = Minted { sticky, ..minted(kind, text) };
    store.pin(scope, &[value], Instant::now()).unwrap()
}

#[test]
fn p1_a_tokenized_value_is_found_again_in_any_context_under_its_first_type() {
    let store = store(10, 100);
    let text = format!("x{SECRET}y, {SECRET}");
    assert_eq!(finds(&store, scope("a"), &text), pairs(&[]));
    let first = stick(&store, scope("a"), "ONE", SECRET, Sticky::Everywhere);
    let again = stick(&store, scope("a"), "TWO", SECRET, Sticky::Everywhere);
    assert!(first.has_learnt() && !again.has_learnt());
    assert_eq!(finds(&store, scope("a"), &text), pairs(&[(SECRET, "ONE"), (SECRET, "ONE")]));
}

#[test]
fn a_value_is_found_in_json_in_strings() {
    let store = store(10, 100);
    let value = "line one \"quoted\"\nline\\two";
    drop(stick(&store, scope("a"), "KEY", value, Sticky::Everywhere));
    let mut text = value.to_owned();
    for _ in 0..2 {
        let quoted = serde_json::to_string(&text).unwrap();
        text = quoted[1..quoted.len() - 1].to_owned();
        assert_eq!(finds(&store, scope("a"), &quoted), pairs(&[(&text, "KEY")]));
    }
}

#[test]
fn what_only_its_context_made_a_secret_is_one_for_its_own_client_alone() {
    let store = store(10, 100);
    let text = format!("x{SECRET}y");
    drop(stick(&store, scope("a"), "GENERIC", SECRET, Sticky::InScope));
    assert_eq!(finds(&store, scope("a"), &text), pairs(&[(SECRET, "GENERIC")]));
    assert_eq!(finds(&store, scope("b"), &text), pairs(&[]));
    drop(stick(&store, scope("c"), "SHAPE", SECRET, Sticky::Everywhere));
    for (client, kind) in [("a", "GENERIC"), ("b", "SHAPE"), ("c", "SHAPE")] {
        assert_eq!(finds(&store, scope(client), &text), pairs(&[(SECRET, kind)]));
    }
}

#[test]
fn only_what_is_sticky_and_long_is_found_again() {
    let store = store(10, 100);
    drop(stick(&store, scope("a"), "KEY", SECRET, Sticky::No));
    drop(stick(&store, scope("a"), "KEY", &SECRET[..15], Sticky::Everywhere));
    assert_eq!(finds(&store, scope("a"), SECRET), pairs(&[]));
    assert_eq!(store.inner().known.windows(), 0);
}

#[test]
fn tokenized_values_do_not_count_where_nothing_can_be_replaced() {
    let store = store(10, 100);
    drop(stick(&store, scope("a"), "KEY", SECRET, Sticky::Everywhere));
    let known = store.known(scope("a"), Instant::now());
    assert_eq!(found_in(&known, redact::Scope::Structured, SECRET), pairs(&[]));
    store.register(kind("REGISTERED"), SECRET.as_bytes(), 0).unwrap();
    let registered = pairs(&[(SECRET, "REGISTERED")]);
    assert_eq!(found_in(&known, redact::Scope::Structured, SECRET), registered);
    assert_eq!(found_in(&store.known_to_all(), redact::Scope::Structured, SECRET), registered);
}

#[test]
fn a_value_that_left_the_store_is_not_found_again() {
    let (store, start) = (store(2, 100), Instant::now());
    let keep = |text: &str, now| {
        let value = Minted { sticky: Sticky::Everywhere, ..minted("KEY", text) };
        drop(store.pin(scope("a"), &[value], now).unwrap());
    };
    let finds = |text: &str, now| {
        let known = store.known(scope("b"), now);
        !found_in(&known, redact::Scope::Text, text).is_empty()
    };
    let values = ["aB3dE5gH7jK9mN1p", "qR2tU4wX6zA8cD0f", "gH1jK3mN5pQ7sT9v"];
    values.iter().for_each(|value| keep(value, start));
    assert_eq!(values.map(|value| finds(value, start)), [false, true, true], "evicted");
    assert_eq!(values.map(|value| finds(value, start + TTL + MINUTE)), [false; 3], "expired");
    assert_eq!((store.inner().known.windows(), store.filter.is_idle()), (0, true));
}

#[test]
fn a_value_of_two_clients_is_found_until_both_let_go() {
    let (store, start) = (store(9, 100), Instant::now());
    let later = start + TTL - MINUTE;
    let value = || [Minted { sticky: Sticky::Everywhere, ..minted("KEY", SECRET) }];
    drop(store.pin(scope("a"), &value(), start).unwrap());
    drop(store.pin(scope("b"), &value(), later).unwrap());
    let finds =
        |now| !found_in(&store.known(scope("c"), now), redact::Scope::Text, SECRET).is_empty();
    assert!(finds(start + TTL + MINUTE) && !finds(later + TTL + MINUTE));
}

#[test]
fn q4_a_registered_value_is_found_in_every_spelling_and_no_more_once_removed() {
    let store = store(10, 100);
    let value = "pa\"s/s wörd?>\n&1";
    let id = store.register(kind("REGISTERED"), value.as_bytes(), 7).unwrap();
    let spelt = spelling::all(value.as_bytes());
    assert!(spelt.len() > 15);
    for spelled in &spelt {
        let own = str::from_utf8(&spelled.bytes).unwrap();
        for text in [own.to_owned(), format!("in: {own}, and on"), format!("{own}{own}")] {
            let found = finds(&store, scope("a"), &text);
            assert!(found.iter().any(|(found, _)| found.contains(own)), "{text}");
        }
    }
    let listed = store.registered();
    let expected =
        Registered { id, kind: kind("REGISTERED"), added: 7, hits: spelt.len() as u64 * 3 };
    assert_eq!(listed, [expected]);
    assert_eq!(store.registered_as(value.as_bytes()), Some(id));
    assert!(store.unregister(id) && !store.unregister(id));
    assert_eq!((store.registered_count(), store.inner().known.windows()), (0, 0));
    assert!(finds(&store, scope("a"), value).is_empty() && store.filter.is_idle());
}

#[test]
fn a_short_value_does_not_hide_long_ones_nor_its_removal() {
    let store = store(10, 100);
    let long = "hunter2-and-more-of-it";
    store.register(kind("LONG"), long.as_bytes(), 0).unwrap();
    let short = store.register(kind("SHORT"), b"hunter2x", 0).unwrap();
    let text = (0..9).map(|gap| format!("{long}{}hunter2x", " ".repeat(gap))).collect::<String>();
    assert_eq!(finds(&store, scope("a"), &text).len(), 18);
    store.unregister(short);
    assert_eq!(finds(&store, scope("a"), &text).len(), 9);
}

#[test]
fn registering_says_why_not() {
    let store = store(10, 100);
    let register = |value: &str| store.register(kind("K"), value.as_bytes(), 0);
    assert_eq!(register("hunter2hunter2"), Ok(1));
    assert_eq!(register("hunter2hunter2"), Err(NotRegistered::Again(1)));
    assert_eq!(register("localhost"), Err(NotRegistered::Common));
    for number in 0..999 {
        register(&format!("value number {number:03}")).unwrap();
    }
    assert_eq!(register("one too many"), Err(NotRegistered::Full));
    store.unregister(1);
    assert_eq!(register("one too many"), Ok(1001), "numbers are not used again");
    assert!(!finds(&store, scope("a"), "here is value number 567.").is_empty());
}

#[test]
fn q4_many_values_alike_do_not_make_their_texts_costly() {
    let store = store(10, 100);
    let urls: Vec<String> =
        (0..300).map(|n| format!("https://internal-host.corp.example/{n:04}/x")).collect();
    for url in &urls {
        store.register(kind("URL"), url.as_bytes(), 0).unwrap();
    }
    assert_eq!(finds(&store, scope("a"), &urls.join("\n")).len(), 300);
    assert_eq!(finds(&store, scope("a"), &urls[7].repeat(500)).len(), 500);
}

#[test]
fn a_text_made_to_be_compared_without_end_is_given_up() {
    let store = store(10, 4000);
    let value = format!("{}!", "abcdefghijklmno".repeat(4000));
    drop(stick(&store, scope("a"), "KEY", &value, Sticky::Everywhere));
    let text = "abcdefghijklmno".repeat(20_000);
    let known = store.known(scope("a"), Instant::now());
    let found = known.find(text.as_bytes(), redact::Scope::Text, &mut Vec::new());
    assert_eq!(found, Err(Exhausted));
}

#[test]
fn nothing_printable_shows_a_known_value() {
    let store = store(10, 100);
    let id = store.register(kind("K"), SECRET.as_bytes(), 0);
    let known = store.known(scope("a"), Instant::now());
    let again = store.register(kind("K"), SECRET.as_bytes(), 0).unwrap_err();
    let shown = format!("{store:?} {id:?} {known:?} {:?} {again} {again:?}", store.registered());
    assert!(!shown.contains(&SECRET[..6]), "{shown}");
}

fn value() -> impl Strategy<Value = String> {
    r#"[abé"\\/\n<x]{2,4}[a-c0-9"\\é ]{14,40}"#
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The windows that are probed miss nothing that a search for each spelling finds.
    #[test]
    fn q4_finds_what_a_plain_search_finds(
        tokenized in prop::collection::vec(value(), 1..4),
        registered in "[a-c]{2}[a-d0-9\"\\\\é/ ]{6,12}x",
        gaps in prop::collection::vec("[ab\"é ]{0,9}", 30),
    ) {
        let store = store(10, 100);
        let pins: Vec<Pin> = tokenized
            .iter()
            .map(|value| stick(&store, scope("a"), "KEY", value, Sticky::Everywhere))
            .collect();
        let is_registered = store.register(kind("K"), registered.as_bytes(), 0).is_ok();
        let mut spelt: Vec<spelling::Spelled> =
            tokenized.iter().flat_map(|value| spelling::few(value.as_bytes())).collect();
        if is_registered {
            spelt.extend(spelling::all(registered.as_bytes()));
        }
        let mut text = String::new();
        for (gap, spelled) in gaps.iter().zip(spelt.iter().cycle()) {
            text.push_str(gap);
            text.push_str(str::from_utf8(&spelled.bytes).unwrap());
        }
        let known = store.known(scope("a"), Instant::now());
        let mut found = Vec::new();
        known.find(text.as_bytes(), redact::Scope::Text, &mut found).unwrap();
        for spelled in &spelt {
            for at in memchr::memmem::find_iter(text.as_bytes(), &**spelled.bytes) {
                let is_covered = |span: &KnownSpan| {
                    span.range.start <= at && at + spelled.bytes.len() <= span.range.end
                };
                prop_assert!(found.iter().any(is_covered), "{:?} at {at} of {text}", spelled.spelling);
            }
        }
        drop(pins);
    }

    /// Where something is found in a text, raw JSON of it is suspicious.
    #[test]
    fn t5_raw_json_of_a_text_with_a_known_value_is_suspicious(
        value in value(),
        before in "[ab\"é\\\\ ]{0,9}",
        all_escaped in any::<bool>(),
    ) {
        let store = store(10, 100);
        let pin = stick(&store, scope("a"), "KEY", &value, Sticky::Everywhere);
        let known = store.known(scope("a"), Instant::now());
        let mut raw = serde_json::to_string(&format!("{before}{value}")).unwrap();
        if all_escaped {
            raw = raw.replace('é', r"\u00E9");
        }
        prop_assert!(known.suspects(raw.as_bytes()), "{raw}");
        prop_assert!(!store.known_to_all().suspects(b"nothing of all this, but a long text"));
        drop(pin);
    }
}
