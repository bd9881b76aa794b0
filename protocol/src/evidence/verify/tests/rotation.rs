//! G: key rotation and epochs.

use super::super::keys::rotation_text;
use super::*;
use crate::evidence::body::{KeyRotation, RotationReason};

fn new_key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn recovery_key() -> SigningKey {
    SigningKey::from_bytes(&[4; 32])
}

fn rotation(reason: RotationReason) -> KeyRotation {
    rotation_from(&log_key(), reason)
}

/// A rotation that the new key signed, whichever key it says it ends.
fn rotation_from(old: &SigningKey, reason: RotationReason) -> KeyRotation {
    let new_evidence = SigningKey::from_bytes(&[5; 32]);
    let mut rotation = KeyRotation {
        old_key_id: vkey(ORIGIN, old).id(),
        new_log_vkey: vkey(ORIGIN, &new_key()).to_string(),
        new_evidence_vkey: vkey(&format!("{ORIGIN}/evidence"), &new_evidence).to_string(),
        proof_of_possession: [0; 64],
        reason,
        endorsed_by: None,
    };
    let text = rotation_text(ORIGIN, &rotation);
    rotation.proof_of_possession = new_key().sign(text.as_bytes()).to_bytes();
    if reason == RotationReason::Compromise {
        rotation.endorsed_by = Some(recovery_key().sign(text.as_bytes()).to_bytes());
    }
    rotation
}

/// Index of the rotation line of [`rotated`].
const ROTATION: usize = 4;

/// A log that changes keys at line 5.
fn rotated_by(rotation: KeyRotation) -> Vec<Line> {
    let mut lines = vec![genesis(), start(), redaction(1), checkpoint(), line(rotation)];
    let Body::Genesis(genesis) = &mut lines[0].body else { panic!("no genesis") };
    genesis.recovery_vkey = Some(vkey(&format!("{ORIGIN}/recovery"), &recovery_key()).to_string());
    lines.extend([checkpoint(), checkpoint(), redaction(2), stop(), checkpoint()]);
    relink(&mut lines);
    sign_by_epoch(&mut lines, ROTATION + 2);
    lines
}

/// Signs checkpoint lines below index `change` with the old key, the others with the new one.
fn sign_by_epoch(lines: &mut [Line], change: usize) {
    for index in 0..lines.len() {
        let key = if index < change { log_key() } else { new_key() };
        if matches!(lines[index].body, Body::Checkpoint(_)) {
            let (size, root) = (index as u64, root(&lines[..index]));
            at_checkpoint(lines, index, |line| {
                (line.tree_size, line.chain_root_hash) = (size, root);
                line.signing_key_id = vkey(ORIGIN, &key).id();
                line.signature = key.sign(text_of(line).as_bytes()).to_bytes();
            });
        }
        if index + 1 < lines.len() {
            lines[index + 1].prev_hash = chain::link(&line::encode(&lines[index]).unwrap());
        }
    }
}

fn said(rotation: KeyRotation) -> (u8, &'static str) {
    Dir::of(&rotated_by(rotation)).check().said()
}

#[test]
fn g09_g12_accepts_a_rotation_whichever_key_is_pinned() {
    for reason in [RotationReason::Scheduled, RotationReason::Compromise] {
        let dir = Dir::of(&rotated_by(rotation(reason)));
        let first = dir.check();
        assert_eq!(first.said(), (0, ""));
        assert_eq!(first.key_ids.len(), 2);
        let newest = PinnedKey::Named(vkey(ORIGIN, &new_key()));
        assert_eq!(dir.check_with(|options| options.pinned = newest).said(), (0, ""));
    }
}

#[test]
fn g09_takes_a_head_at_the_rotation_by_both_keys_and_after_it_by_the_new_one() {
    let lines = rotated_by(rotation(RotationReason::Scheduled));
    let said = |size: usize, keys: &[SigningKey]| {
        let mut signed = note_by(&lines[..size], ORIGIN, &keys[0]).note;
        for key in &keys[1..] {
            signed.signatures.extend(note_by(&lines[..size], ORIGIN, key).note.signatures);
        }
        Dir::of(&lines).with(HEAD, signed.to_string().as_bytes()).check().said()
    };
    assert_eq!(said(ROTATION, &[log_key()]), (0, ""));
    assert_eq!(said(ROTATION + 1, &[log_key(), new_key()]), (0, ""));
    assert_eq!(said(ROTATION + 2, &[new_key()]), (0, ""));
    assert_eq!(said(ROTATION + 2, &[log_key()]), (1, "E_KEY_EPOCH"));
    assert_eq!(said(ROTATION, &[new_key()]), (1, "E_KEY_EPOCH"));
    assert_eq!(said(ROTATION + 2, &[log_key(), new_key()]), (1, "E_KEY_EPOCH"));
}

#[test]
fn g09_refuses_the_old_key_after_the_rotation() {
    let mut lines = rotated_by(rotation(RotationReason::Scheduled));
    at_checkpoint(&mut lines, 9, |line| {
        line.signing_key_id = vkey(ORIGIN, &log_key()).id();
        line.signature = log_key().sign(text_of(line).as_bytes()).to_bytes();
    });
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_KEY_EPOCH"));
}

/// A thief of the newest key re-signs an older line (the fault of CVE-2023-31439).
#[test]
fn g10_refuses_older_lines_signed_with_a_newer_key() {
    let mut lines = rotated_by(rotation(RotationReason::Scheduled));
    lines[2] = Line { body: scan(1, 1).body, ..lines[2].clone() };
    sign_by_epoch(&mut lines, 0);
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_KEY_EPOCH"));
    // Without the rotation line nothing tells whose key it is.
    lines.truncate(ROTATION);
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_UNKNOWN_KEY"));
}

#[test]
fn g11_refuses_a_rotation_without_possession_endorsement_or_handover() {
    let scheduled = || rotation(RotationReason::Scheduled);
    let refused = (1, "E_KEY_ROTATION");
    let no_possession = KeyRotation { proof_of_possession: [0; 64], ..scheduled() };
    assert_eq!(said(no_possession), refused);
    let compromise = rotation(RotationReason::Compromise);
    assert_eq!(said(KeyRotation { endorsed_by: None, ..compromise.clone() }), refused);
    assert_eq!(said(KeyRotation { endorsed_by: Some([0; 64]), ..compromise.clone() }), refused);
    // Signed as scheduled, passed off as endorsed compromise, and the reverse.
    assert_eq!(said(KeyRotation { reason: RotationReason::Scheduled, ..compromise }), refused);
    let not_in_force = rotation_from(&evidence_key(), RotationReason::Scheduled);
    assert_eq!(said(not_in_force), refused);
    let other = vkey("other", &new_key()).to_string();
    assert_eq!(said(KeyRotation { new_log_vkey: other, ..scheduled() }), refused);
    let mut no_handover = rotated_by(scheduled());
    no_handover.remove(ROTATION + 1);
    relink(&mut no_handover);
    sign_by_epoch(&mut no_handover, ROTATION);
    assert_eq!(Dir::of(&no_handover).check().said(), refused);
}
