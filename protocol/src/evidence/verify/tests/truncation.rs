//! C: truncation, rollback, fork.

use super::*;
use crate::evidence::body::Predecessor;
use crate::evidence::high_water::Head;

#[test]
fn c01_knows_a_cut_log_by_its_head() {
    let lines = good();
    let report = Dir::of(&lines[..10]).with(HEAD, &head(&lines)).check();
    assert_eq!(report.said(), (1, "E_BEHIND_HEAD"));
    assert_eq!(report.reason, "head.note is of size 15, the log has 10 lines");
}

#[test]
fn knows_an_emptied_log_by_its_head() {
    let report = Dir::of_bytes(b"").with(HEAD, &head(&good())).check();
    assert_eq!(report.said(), (1, "E_BEHIND_HEAD"));
}

#[test]
fn c02_does_not_call_a_log_whole_whose_end_is_not_proven() {
    for kept in [10, 11, 14] {
        let report = Dir::of(&good()[..kept]).check();
        assert_eq!(report.said(), (3, "E_NO_HEAD"), "{kept}");
    }
}

#[test]
fn c03_c04_knows_a_rolled_back_log_by_the_signers_state() {
    let lines = good();
    let note = head(&lines);
    let signer =
        |options: &mut Options| options.signer_state = Some(SignerState::Note(note.clone()));
    let cut = Dir::of(&lines[..10]);
    assert_eq!(cut.check_with(signer).said(), (1, "E_BEHIND_SIGNER"));
    let with_old_head = cut.with(HEAD, &head(&lines[..10]));
    assert_eq!(with_old_head.check_with(signer).said(), (1, "E_BEHIND_SIGNER"));
    assert_eq!(Dir::of(&lines).check_with(signer).said(), (0, ""));
}

/// 4.17.7: the signer's folder, too. A log cut back to where it once ended in good order looks
/// whole to everybody else.
#[test]
fn c03_knows_a_cut_log_by_the_signers_high_water_mark() {
    let lines = good();
    let mark = |size: usize| {
        let head = Head { size: size as u64, root: root(&lines[..size]) };
        move |options: &mut Options| options.signer_state = Some(SignerState::Head(head))
    };
    for kept in [10, 14] {
        let cut = Dir::of(&lines[..kept]).with(HEAD, &head(&lines[..10]));
        assert_eq!(cut.check_with(mark(15)).said(), (1, "E_BEHIND_SIGNER"));
    }
    for signed in [0, 1, 12, 15] {
        assert_eq!(Dir::of(&lines).check_with(mark(signed)).said(), (0, ""), "{signed}");
    }
    let other = |options: &mut Options| {
        options.signer_state = Some(SignerState::Head(Head { size: 12, root: [7; 32] }));
    };
    assert_eq!(Dir::of(&lines).check_with(other).said(), (1, "E_FORK"));
}

#[test]
fn c05_knows_a_rolled_back_log_by_an_anchor() {
    let lines = good();
    let anchor = |options: &mut Options| options.anchors = vec![head(&lines)];
    let cut = Dir::of(&lines[..10]).with(HEAD, &head(&lines[..10]));
    assert_eq!(cut.check_with(anchor).said(), (1, "E_BEHIND_ANCHOR"));
    let whole = Dir::of(&lines).check_with(anchor);
    assert_eq!((whole.said(), whole.anchored_sizes), ((0, ""), vec![15]));
    assert!(whole.warnings.is_empty());
}

/// The documented limit: nothing local can tell.
#[test]
fn c06_accepts_a_whole_rollback_that_nobody_else_knows_of() {
    let lines = good();
    let report = Dir::of(&lines[..10]).with(HEAD, &head(&lines[..10])).check();
    assert_eq!(report.said(), (0, ""));
    assert_eq!(report.warned(), ["W_UNANCHORED"]);
    assert_eq!(report.signed_ts, Some(lines[9].ts));
}

#[test]
fn c07_knows_a_rewritten_log_by_an_anchor() {
    let old = good();
    let mut rewritten = old.clone();
    rewritten[3] = scan(1, 1);
    sign(&mut rewritten);
    let dir = Dir::of(&rewritten);
    assert_eq!(dir.check().said(), (0, ""));
    let report = dir.check_with(|options| options.anchors = vec![head(&old[..12])]);
    assert_eq!((report.said(), report.seq), ((1, "E_FORK"), Some(12)));
    let signer = dir.check_with(|options| {
        options.signer_state = Some(SignerState::Note(head(&old[..12])));
    });
    assert_eq!(signer.said(), (1, "E_FORK"));
}

#[test]
fn refuses_anchors_that_are_forged_or_of_another_log() {
    let lines = good();
    let said = |anchor: Vec<u8>| {
        Dir::of(&lines).check_with(|options| options.anchors = vec![anchor]).said()
    };
    let forged = note_by(&lines, ORIGIN, &SigningKey::from_bytes(&[9; 32]));
    assert_eq!(said(forged.note.to_string().into_bytes()), (1, "E_UNKNOWN_KEY"));
    let mut flipped = note(&lines).note;
    flipped.signatures[0].signature[9] ^= 1;
    assert_eq!(said(flipped.to_string().into_bytes()), (1, "E_SIGNATURE"));
    let other = String::from_utf8(head(&lines)).unwrap().replacen(ORIGIN, "other", 1);
    assert_eq!(said(other.into_bytes()), (1, "E_ORIGIN"));
    assert_eq!(said(b"no note".to_vec()), (1, "E_NOTE"));
}

#[test]
fn c11_refuses_an_edit_between_the_last_checkpoint_and_the_head() {
    let mut lines = good();
    let head = head(&lines[..12]);
    lines.truncate(12);
    lines[11] = scan(7, 8);
    relink(&mut lines);
    assert_eq!(Dir::of(&lines).with(HEAD, &head).check().said(), (1, "E_HEAD_ROOT"));
}

#[test]
fn c12_calls_a_long_unsigned_tail_unproven() {
    let mut lines = good()[..13].to_vec();
    lines.extend((0..2000).map(|req_no| outcome(1000 + req_no)));
    let Body::Genesis(genesis) = &mut lines[0].body else { panic!("no genesis") };
    genesis.checkpoint_lines = 10_000;
    sign(&mut lines);
    let dir = |signed: usize| Dir::of(&lines).with(HEAD, &head(&lines[..signed]));
    assert_eq!(dir(13).check().said(), (3, "E_UNSIGNED_TAIL"));
    assert_eq!(dir(1012).check().said(), (3, "E_UNSIGNED_TAIL"));
    let within = dir(1013).check();
    assert_eq!((within.said(), within.unsigned_tail), ((0, ""), 1000));
    let more = dir(13).check_with(|options| options.max_unsigned_lines = 2000);
    assert_eq!(more.said(), (0, ""));
}

#[test]
fn refuses_a_start_line_of_a_log_that_lost_signed_lines() {
    let mut lines = good();
    let Body::Start(start) = &mut lines[1].body else { panic!("no start") };
    start.signer_size = 2;
    sign(&mut lines);
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_BEHIND_SIGNER"));
}

/// A log that names the first 12 lines of [`good`] as what was signed of its predecessor.
fn successor() -> Vec<Line> {
    let mut lines = good();
    let predecessor = Predecessor {
        origin: ORIGIN.into(),
        tree_size: 12,
        root: root(&lines[..12]),
        reason: "lost lines".into(),
    };
    let Body::Genesis(genesis) = &mut lines[0].body else { panic!("no genesis") };
    genesis.predecessor = Some(predecessor);
    sign(&mut lines);
    lines
}

#[test]
fn c19_warns_of_a_log_that_stands_in_for_another() {
    let dir = Dir::of(&successor());
    assert!(dir.check().warned().contains(&"W_PREDECESSOR"));
    let strict = dir.check_with(|options| options.strict = true);
    assert_eq!(strict.said(), (3, "W_PREDECESSOR"));
}

#[test]
fn c19_measures_the_old_log_by_what_its_successor_states() {
    let stated = Dir::of(&successor()).check().predecessor.unwrap();
    let said = |lines: &[Line], stated: &Predecessor| {
        let dir = Dir::of(lines).with(HEAD, &head(&lines[..10]));
        dir.check_with(|options| options.stated_by_successor = Some(stated.clone())).said()
    };
    assert_eq!(said(&good()[..12], &stated), (0, ""));
    assert_eq!(said(&good(), &stated), (0, ""));
    assert_eq!(said(&good()[..11], &stated), (1, "E_BEHIND_PREDECESSOR"));
    assert_eq!(said(&good(), &Predecessor { tree_size: 11, ..stated.clone() }), (1, "E_FORK"));
    let other = Predecessor { origin: "waterwall.local/other".into(), ..stated };
    assert_eq!(said(&good(), &other), (1, "E_ORIGIN"));
}
