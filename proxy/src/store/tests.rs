use super::*;
use crate::placeholder::{Secret, SessionKey, Sticky, spell};
use crate::restore::text;

mod known;

const MINUTE: Duration = Duration::from_secs(60);
const TTL: Duration = Duration::from_secs(240 * 60);

fn limits(entries: usize, blocks: usize) -> Limits {
    Limits { entries, bytes: blocks * 64, ..Limits::default() }
}

fn store(entries: usize, blocks: usize) -> Arc<Store> {
    Arc::new(Store::new(limits(entries, blocks)))
}

fn scope(client: &'static str) -> Scope {
    let header = |name| (name == "x-api-key").then_some(client.as_bytes());
    Scope::of(&SessionKey::new([1; 32]), "api.example", header)
}

fn minted(kind: &str, plaintext: &str) -> Minted {
    let key = SessionKey::new([2; 32]);
    Minted {
        kind: Kind::new(kind).unwrap(),
        tag: key.tag(plaintext.as_bytes()),
        plaintext: Secret::new(plaintext.as_bytes().to_vec()),
        sticky: Sticky::No,
    }
}

/// What the placeholder of `plaintext` resolves to.
fn ask(store: &Store, scope: Scope, kind: &str, plaintext: &str, now: Instant) -> Resolution {
    let mut out = b"before ".to_vec();
    let tag = minted(kind, plaintext).tag;
    let resolution = store.resolver(scope, now).resolve(kind, tag, &mut out);
    let expected = if resolution == Resolution::Known { plaintext } else { "" };
    assert_eq!(out, format!("before {expected}").as_bytes());
    resolution
}

fn keep(store: &Arc<Store>, scope: Scope, plaintext: &str, now: Instant) {
    drop(store.pin(scope, &[minted("KEY", plaintext)], now).unwrap());
}

#[test]
fn gives_back_exactly_what_was_kept() {
    let (store, now) = (store(10, 100), Instant::now());
    let long = "x".repeat(1000) + "é";
    keep(&store, scope("a"), &long, now);
    keep(&store, scope("a"), "", now);
    assert_eq!(ask(&store, scope("a"), "KEY", &long, now), Resolution::Known);
    assert_eq!(ask(&store, scope("a"), "KEY", "", now), Resolution::Known);
    assert_eq!(ask(&store, scope("a"), "KEY", "never kept", now), Resolution::Unknown);
}

#[test]
fn p5_the_type_is_part_of_the_placeholder() {
    let (store, now) = (store(10, 100), Instant::now());
    let values = [minted("KEY", "s"), minted("OTHER", "s"), minted("KEY", "s")];
    let pin = store.pin(scope("a"), &values, now).unwrap();
    assert_eq!(store.len(), 1);
    for (kind, resolution) in
        [("KEY", Resolution::Known), ("OTHER", Resolution::Known), ("LITERAL", Resolution::Unknown)]
    {
        assert_eq!(ask(&store, scope("a"), kind, "s", now), resolution);
    }
    drop(pin);
}

#[test]
fn p6_nothing_resolves_in_another_scope() {
    let (store, now) = (store(10, 100), Instant::now());
    keep(&store, scope("a"), "s", now);
    assert_eq!(ask(&store, scope("b"), "KEY", "s", now), Resolution::Unknown);
}

#[test]
fn p1_a_tag_with_another_plaintext_is_refused() {
    let (store, now) = (store(10, 100), Instant::now());
    let (mine, mut forged) = (minted("KEY", "mine"), minted("KEY", "forged"));
    forged.tag = mine.tag;
    let both = [mine.clone(), forged.clone()];
    assert_eq!(store.pin(scope("a"), &both, now).unwrap_err(), StoreError::Collision);
    assert!(store.is_empty());
    let pin = store.pin(scope("a"), &[mine], now).unwrap();
    let new = minted("KEY", "new");
    let refused = store.pin(scope("a"), &[new, forged.clone()], now).unwrap_err();
    assert_eq!(refused, StoreError::Collision);
    assert_eq!(store.len(), 1, "a refused request leaves nothing behind");
    assert_eq!(ask(&store, scope("a"), "KEY", "mine", now), Resolution::Known);
    drop(pin);
    // Another scope's tags are its own.
    drop(store.pin(scope("b"), &[forged], now).unwrap());
}

#[test]
fn the_least_recently_used_leaves_first_and_is_known_to_be_gone() {
    let (store, now) = (store(2, 100), Instant::now());
    keep(&store, scope("a"), "one", now);
    keep(&store, scope("a"), "two", now);
    assert_eq!(ask(&store, scope("a"), "KEY", "one", now), Resolution::Known);
    keep(&store, scope("a"), "three", now);
    for (plaintext, resolution) in
        [("one", Resolution::Known), ("two", Resolution::Gone), ("three", Resolution::Known)]
    {
        assert_eq!(ask(&store, scope("a"), "KEY", plaintext, now), resolution, "{plaintext}");
    }
    assert_eq!(ask(&store, scope("b"), "KEY", "two", now), Resolution::Unknown);
    assert_eq!(ask(&store, scope("a"), "OTHER", "two", now), Resolution::Unknown);
    keep(&store, scope("a"), "two", now);
    assert_eq!(ask(&store, scope("a"), "KEY", "two", now), Resolution::Known);
}

#[test]
fn values_live_from_their_last_use() {
    let (store, start) = (store(10, 100), Instant::now());
    keep(&store, scope("a"), "idle", start);
    keep(&store, scope("a"), "used", start);
    let later = start + TTL - MINUTE;
    assert_eq!(ask(&store, scope("a"), "KEY", "used", later), Resolution::Known);
    let after = start + TTL + MINUTE;
    assert_eq!(ask(&store, scope("a"), "KEY", "idle", after), Resolution::Gone);
    assert_eq!(ask(&store, scope("a"), "KEY", "used", after), Resolution::Known);
    assert_eq!(store.len(), 1, "the expired value is not only hidden");
    // A clock read late by another task does not bring anything back, nor forward.
    assert_eq!(ask(&store, scope("a"), "KEY", "idle", start), Resolution::Gone);
    assert_eq!(ask(&store, scope("a"), "KEY", "used", start), Resolution::Known);
    let last = after + TTL - MINUTE;
    assert_eq!(ask(&store, scope("a"), "KEY", "used", last), Resolution::Known);
    assert_eq!(ask(&store, scope("a"), "KEY", "used", last + TTL + MINUTE), Resolution::Gone);
}

#[test]
fn a_pinned_value_neither_expires_nor_makes_room() {
    let (store, now) = (store(2, 100), Instant::now());
    let pin = store.pin(scope("a"), &[minted("KEY", "mine")], now).unwrap();
    let again = store.pin(scope("a"), &[minted("KEY", "mine")], now).unwrap();
    drop(again);
    for other in ["one", "two", "three"] {
        keep(&store, scope("b"), other, now);
    }
    let later = now + TTL * 2;
    assert_eq!(ask(&store, scope("b"), "KEY", "three", later), Resolution::Gone);
    drop(pin);
    assert_eq!(ask(&store, scope("a"), "KEY", "mine", later + TTL - MINUTE), Resolution::Known);
    assert_eq!(ask(&store, scope("a"), "KEY", "mine", later + TTL * 3), Resolution::Gone);
}

#[test]
fn a_request_that_does_not_fit_is_refused_whole() {
    let (store, now) = (store(3, 8), Instant::now());
    keep(&store, scope("a"), "old", now);
    let pin = store.pin(scope("a"), &[minted("KEY", &"x".repeat(64 * 6))], now).unwrap();
    let big = [minted("KEY", "small"), minted("KEY", &"y".repeat(65))];
    assert_eq!(store.pin(scope("a"), &big, now).unwrap_err(), StoreError::Full);
    let many: Vec<Minted> = ["1", "2", "3"].map(|text| minted("KEY", text)).into();
    assert_eq!(store.pin(scope("a"), &many, now).unwrap_err(), StoreError::Full);
    assert_eq!(ask(&store, scope("a"), "KEY", "old", now), Resolution::Known);
    // What is asked for may not be counted as room, and nobody makes room in vain.
    keep(&store, scope("b"), "other", now);
    let with_old = [minted("KEY", "old"), minted("KEY", &"z".repeat(65))];
    assert_eq!(store.pin(scope("a"), &with_old, now).unwrap_err(), StoreError::Full);
    assert_eq!(ask(&store, scope("b"), "KEY", "other", now), Resolution::Known);
    drop(pin);
    drop(store.pin(scope("a"), &big, now).unwrap());
    assert_eq!(ask(&store, scope("a"), "KEY", "small", now), Resolution::Known);
}

#[test]
fn pinned_values_never_outnumber_the_limit() {
    let (store, now) = (store(3, 100), Instant::now());
    let pin = store.pin(scope("a"), &[minted("KEY", "mine")], now).unwrap();
    keep(&store, scope("a"), "old", now);
    let too_many = ["old", "1", "2"].map(|text| minted("KEY", text));
    assert_eq!(store.pin(scope("a"), &too_many, now).unwrap_err(), StoreError::Full);
    let enough = store.pin(scope("a"), &too_many[..2], now).unwrap();
    assert_eq!(store.len(), 3);
    drop((pin, enough));
}

#[test]
fn only_so_many_tombstones_are_kept() {
    let limits = Limits { tombstones: 2, ..limits(1, 8) };
    let (store, now) = (Arc::new(Store::new(limits)), Instant::now());
    for plaintext in ["1", "2", "3", "4"] {
        keep(&store, scope("a"), plaintext, now);
    }
    for (plaintext, resolution) in
        [("1", Resolution::Unknown), ("2", Resolution::Gone), ("3", Resolution::Gone)]
    {
        assert_eq!(ask(&store, scope("a"), "KEY", plaintext, now), resolution);
    }
}

#[test]
fn what_is_minted_and_kept_is_restored() {
    let (store, now) = (store(10, 100), Instant::now());
    let value = minted("AWS_ACCESS_KEY", "AKIAIOSFODNN7EXAMPLE");
    let body = format!("key {}!", spell(&value.kind, value.tag)).into_bytes();
    let pin = store.pin(scope("a"), &[value], now).unwrap();
    let mine = text::restore(body.clone(), &store.resolver(scope("a"), now)).unwrap();
    assert_eq!((mine.bytes.as_slice(), mine.restored), (&b"key AKIAIOSFODNN7EXAMPLE!"[..], 1));
    let foreign = text::restore(body.clone(), &store.resolver(scope("b"), now)).unwrap();
    assert_eq!((foreign.bytes, foreign.unknown), (body, 1));
    drop(pin);
}

#[test]
fn nothing_printable_shows_a_plaintext() {
    let (store, now) = (store(10, 100), Instant::now());
    let pin = store.pin(scope("a"), &[minted("KEY", "hunter2")], now).unwrap();
    let shown = format!("{store:?} {pin:?} {:?}", store.resolver(scope("a"), now));
    assert!(!shown.contains("hunter2"), "{shown}");
}

mod model {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever happens, blocks and entries add up and nothing is both idle and pinned.
        #[test]
        fn the_books_balance(
            steps in prop::collection::vec((0_u8..4, 0_usize..12, 0_u64..200), 1..80),
        ) {
            let (store, start) = (store(5, 12), Instant::now());
            let (mut now, mut pins) = (start, Vec::new());
            for (step, value, minutes) in steps {
                let plaintext = "v".repeat(value * 40 + 1);
                now += MINUTE * u32::try_from(minutes).unwrap();
                match step {
                    0 => pins.extend(store.pin(scope("a"), &[minted("KEY", &plaintext)], now)),
                    1 => keep_if_room(&store, &plaintext, now),
                    2 => drop(pins.pop()),
                    _ => drop(ask(&store, scope("a"), "KEY", &plaintext, now)),
                }
                let inner = store.inner();
                let used: usize = inner.entries.values().map(|entry| entry.slot.blocks()).sum();
                let pinned = inner.entries.values().filter(|entry| entry.pins > 0);
                prop_assert_eq!(used + inner.arena.blocks_free(), inner.arena.blocks());
                prop_assert_eq!(
                    pinned.clone().map(|entry| entry.slot.blocks()).sum::<usize>(),
                    inner.pinned_blocks
                );
                prop_assert_eq!(pinned.count() + inner.idle.len(), inner.entries.len());
                prop_assert!(inner.entries.len() <= 5);
            }
            drop(pins);
            let inner = store.inner();
            prop_assert_eq!((inner.pinned_blocks, inner.idle.len()), (0, inner.entries.len()));
        }
    }

    fn keep_if_room(store: &Arc<Store>, plaintext: &str, now: Instant) {
        drop(store.pin(scope("a"), &[minted("KEY", plaintext)], now));
    }
}
