//! B: checkpoints and signatures.

use super::*;
use crate::evidence::note::NoteSignature;

/// Indexes of the two checkpoint lines of [`good`].
const FIRST: usize = 9;
const LAST: usize = 14;

/// What is said of a log whose last checkpoint line is changed.
fn said_of(change: impl FnOnce(&mut Checkpoint)) -> (u8, &'static str) {
    let mut lines = good();
    at_checkpoint(&mut lines, LAST, change);
    Dir::of(&lines).check().said()
}

/// What is said of the good log with `note` as its head.
fn said_of_head(note: &str) -> (u8, &'static str) {
    Dir::of(&good()).with(HEAD, note.as_bytes()).check().said()
}

#[test]
fn b01_refuses_a_flipped_signature_bit() {
    assert_eq!(said_of(|line| line.signature[0] ^= 1), (1, "E_SIGNATURE"));
    assert_eq!(said_of(|line| line.signature[63] ^= 0x10), (1, "E_SIGNATURE"));
}

#[test]
fn b02_refuses_a_moved_checkpoint_line() {
    let mut lines = good();
    lines.swap(FIRST, FIRST + 1);
    relink_only(&mut lines);
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_SEQ"));
    relink(&mut lines);
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_CHECKPOINT_SIZE"));
}

#[test]
fn b03_refuses_a_genuine_root_in_a_forged_log() {
    let mut lines = good();
    lines[3] = scan(1, 1);
    relink(&mut lines);
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_CHECKPOINT_ROOT"));
}

#[test]
fn b04_refuses_a_checkpoint_of_another_log_with_the_same_key() {
    let other = said_of(|line| {
        line.origin = "waterwall.local/other".into();
        line.signature = log_key().sign(text_of(line).as_bytes()).to_bytes();
    });
    assert_eq!(other, (1, "E_ORIGIN"));
}

#[test]
fn b05_refuses_a_size_that_is_not_its_place() {
    let resized = said_of(|line| {
        line.tree_size -= 1;
        line.signature = log_key().sign(text_of(line).as_bytes()).to_bytes();
    });
    assert_eq!(resized, (1, "E_CHECKPOINT_SIZE"));
}

#[test]
fn b06_calls_a_log_without_checkpoints_unproven() {
    let mut lines = good();
    lines.retain(|line| !matches!(line.body, Body::Checkpoint(_)));
    lines[3] = scan(1, 1);
    relink(&mut lines);
    let report = Dir::of(&lines).check();
    assert_eq!(report.said(), (3, "E_NO_CHECKPOINT"));
    assert!(report.to_string().starts_with("INCONCLUSIVE: "));
}

fn with_cadence(lines: u64, mut log: Vec<Line>) -> Vec<Line> {
    let Body::Genesis(genesis) = &mut log[0].body else { panic!("no genesis") };
    genesis.checkpoint_lines = lines;
    sign(&mut log);
    log
}

#[test]
fn b07_refuses_more_lines_between_checkpoints_than_declared() {
    assert_eq!(Dir::of(&with_cadence(9, good())).check().said(), (0, ""));
    let report = Dir::of(&with_cadence(8, good())).check();
    assert_eq!((report.said(), report.seq), ((1, "E_CADENCE"), Some(9)));
    let mut late = good();
    late.splice(FIRST + 1..FIRST + 1, (20..27).map(outcome));
    let late = with_cadence(9, late);
    let report = Dir::of(&late).check();
    assert_eq!((report.said(), report.seq), ((1, "E_CADENCE"), Some(20)));
    let torn = &bytes(&late)[..bytes(&late).len() - 1];
    assert_eq!(Dir::of_bytes(torn).check().said(), (1, "E_CADENCE"));
}

#[test]
fn b07_does_not_count_lines_where_nothing_is_signed_at_all() {
    let mut lines = good();
    lines.retain(|line| !matches!(line.body, Body::Checkpoint(_)));
    let lines = with_cadence(5, lines);
    assert_eq!(Dir::of(&lines).check().said(), (3, "E_NO_CHECKPOINT"));
    let report = Dir::of(&lines).with(HEAD, &head(&lines)).check();
    assert_eq!((report.said(), report.seq), ((1, "E_CADENCE"), Some(6)));
}

#[test]
fn b08_refuses_a_log_of_another_key() {
    let other = SigningKey::from_bytes(&[9; 32]);
    for pinned in [
        PinnedKey::Named(vkey(ORIGIN, &other)),
        PinnedKey::Bare(other.verifying_key().to_bytes()),
        PinnedKey::Named(vkey("other.example/log", &log_key())),
    ] {
        let report = Dir::of(&good()).check_with(|options| options.pinned = pinned);
        assert_eq!(report.said(), (1, "E_UNKNOWN_KEY"));
    }
    assert_eq!(said_of(|line| line.signing_key_id = [0; 4]), (1, "E_UNKNOWN_KEY"));
}

#[test]
fn takes_the_key_as_vkey_or_bare() {
    let bare = PinnedKey::Bare(log_key().verifying_key().to_bytes());
    assert_eq!(Dir::of(&good()).check_with(|options| options.pinned = bare).said(), (0, ""));
    let named = PinnedKey::parse(&format!("{}\n", vkey(ORIGIN, &log_key()))).unwrap();
    assert_eq!(named, PinnedKey::Named(vkey(ORIGIN, &log_key())));
    assert!(PinnedKey::parse("nonsense").is_err());
}

#[test]
fn b09_refuses_small_order_keys() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let report = Dir::of(&good()).check_with(|options| options.pinned = PinnedKey::Bare(identity));
    assert_eq!(report.said(), (1, "E_SIGNATURE"));
    // A log that names such a key itself, and "signs" with R = identity, S = 0.
    let mut lines = good();
    let weak = VerifierKey::new(ORIGIN, identity).unwrap();
    let Body::Genesis(genesis) = &mut lines[0].body else { panic!("no genesis") };
    genesis.log_vkey = weak.to_string();
    sign(&mut lines);
    for index in [FIRST, LAST] {
        at_checkpoint(&mut lines, index, |line| {
            line.signing_key_id = weak.id();
            line.signature = [0; 64];
            line.signature[0] = 1;
        });
    }
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_SIGNATURE"));
}

#[test]
fn b09_refuses_a_non_canonical_r() {
    // y = p + 1 spells the identity's y = 1 another way.
    let mut r = [0xff; 32];
    r[0] = 0xee;
    r[31] = 0x7f;
    let forged = said_of(|line| line.signature[..32].copy_from_slice(&r));
    assert_eq!(forged, (1, "E_SIGNATURE"));
}

#[test]
fn b10_takes_sixteen_signatures_and_refuses_a_thousand() {
    let mut signed = note(&good()).note;
    let witness = NoteSignature { name: "w".into(), key_id: [5; 4], signature: vec![0; 72] };
    signed.signatures.resize(16, witness.clone());
    assert_eq!(said_of_head(&signed.to_string()), (0, ""));
    signed.signatures.resize(1000, witness);
    assert_eq!(said_of_head(&signed.to_string()), (1, "E_LIMIT"));
}

#[test]
fn b11_refuses_an_invalid_signature_of_a_known_key_beside_a_valid_one() {
    let mut signed = note(&good()).note;
    let mut second = signed.signatures[0].clone();
    second.signature[5] ^= 4;
    signed.signatures.push(second);
    assert_eq!(said_of_head(&signed.to_string()), (1, "E_SIGNATURE"));
    signed.signatures.swap(0, 1);
    assert_eq!(said_of_head(&signed.to_string()), (1, "E_SIGNATURE"));
}

#[test]
fn b12_ignores_unknown_signatures_but_wants_a_known_one() {
    let mut signed = note(&good()).note;
    let unknown = NoteSignature { name: ORIGIN.into(), key_id: [5; 4], signature: vec![0; 64] };
    signed.signatures.push(unknown);
    assert_eq!(said_of_head(&signed.to_string()), (0, ""));
    signed.signatures.remove(0);
    assert_eq!(said_of_head(&signed.to_string()), (1, "E_UNKNOWN_KEY"));
}

#[test]
fn b13_refuses_every_other_spelling_of_a_note() {
    let good = String::from_utf8(head(&good())).unwrap();
    for bad in [
        good.replacen("\n\n", "\nextension\n\n", 1),
        good.replace('\n', "\r\n"),
        good.trim_end().to_owned(),
        good.replace('\u{2014}', "-"),
        good.replacen("\n15\n", "\n015\n", 1),
    ] {
        assert_ne!(bad, good);
        assert_eq!(said_of_head(&bad), (1, "E_NOTE"), "{bad:?}");
    }
}

#[test]
fn b14_refuses_a_bundle_note_as_a_checkpoint() {
    let text =
        format!("waterwall evidence manifest v1\n{ORIGIN}\n{}  MANIFEST.json\n", "0".repeat(64));
    let mut signed = note(&good()).note;
    signed.signatures[0].signature = log_key().sign(text.as_bytes()).to_bytes().to_vec();
    signed.text = text;
    assert_eq!(said_of_head(&signed.to_string()), (1, "E_NOTE"));
}

#[test]
fn b15_refuses_the_evidence_key_on_a_checkpoint() {
    let evidence = vkey(&format!("{ORIGIN}/evidence"), &evidence_key());
    let by_evidence = |line: &mut Checkpoint| {
        line.signature = evidence_key().sign(text_of(line).as_bytes()).to_bytes();
    };
    assert_eq!(said_of(by_evidence), (1, "E_KEY_ROLE"));
    let named = said_of(|line| {
        by_evidence(line);
        line.signing_key_id = evidence.id();
    });
    assert_eq!(named, (1, "E_KEY_ROLE"));
    let head = note_by(&good(), evidence.name(), &evidence_key()).note;
    assert_eq!(said_of_head(&head.to_string()), (1, "E_KEY_ROLE"));
    let pinned = PinnedKey::Bare(*evidence.key());
    let report = Dir::of(&good()).check_with(|options| options.pinned = pinned);
    assert_eq!(report.said(), (1, "E_KEY_ROLE"));
}

#[test]
fn refuses_keys_that_are_not_named_after_their_log() {
    let said = |change: fn(&mut Genesis)| {
        let mut lines = good();
        let Body::Genesis(genesis) = &mut lines[0].body else { panic!("no genesis") };
        change(genesis);
        sign(&mut lines);
        Dir::of(&lines).check().said()
    };
    let refused = (1, "E_GENESIS");
    assert_eq!(said(|g| g.log_vkey = vkey("o", &log_key()).to_string()), refused);
    assert_eq!(said(|g| g.evidence_vkey = vkey("o/evidence", &log_key()).to_string()), refused);
    assert_eq!(said(|g| g.recovery_vkey = Some(vkey("o", &log_key()).to_string())), refused);
}
