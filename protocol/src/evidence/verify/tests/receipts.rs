//! D: receipts.

use super::*;
use crate::evidence::merkle::{Tree, node_hash};
use crate::evidence::tlog_proof::TlogProof;

fn tree(lines: &[Line]) -> Tree {
    let mut tree = Tree::new();
    lines.iter().for_each(|line| tree.append(leaf_hash(&line::encode(line).unwrap())));
    tree
}

/// The receipt of `lines[index]` from the tree of all of them.
fn receipt(lines: &[Line], index: usize) -> TlogProof {
    let size = lines.len() as u64;
    TlogProof {
        leaf: line::encode(&lines[index]).unwrap(),
        index: index as u64,
        hashes: tree(lines).inclusion_proof(index as u64, size).unwrap(),
        checkpoint: note(lines),
    }
}

fn options() -> ReceiptOptions {
    ReceiptOptions {
        pinned: PinnedKey::Named(vkey(ORIGIN, &log_key())),
        origin: None,
        line_type: Some("redaction".into()),
    }
}

fn said(proof: &TlogProof) -> (u8, &'static str) {
    said_with(proof, &options())
}

fn said_with(proof: &TlogProof, options: &ReceiptOptions) -> (u8, &'static str) {
    said_of(&proof.to_string(), options)
}

fn said_of(proof: &str, options: &ReceiptOptions) -> (u8, &'static str) {
    let report = verify_receipt(proof.as_bytes(), options);
    assert_eq!(report.line.is_some(), report.verdict == Verdict::Ok);
    (report.verdict.exit_code(), report.code.unwrap_or_default())
}

/// Index of a redaction in [`good`].
const REDACTION: usize = 3;

#[test]
fn d01_accepts_receipts_of_any_size_and_place() {
    for size in [1usize, 2, 7, 8, 255, 256, 257] {
        let mut lines: Vec<Line> = (1..=size as u64).map(redaction).collect();
        relink(&mut lines);
        let mut places = vec![0, size / 2, size - 1];
        places.dedup();
        for index in places {
            let report = verify_receipt(receipt(&lines, index).to_string().as_bytes(), &options());
            assert_eq!(report.code, None, "{index} of {size}");
            assert_eq!(report.line.as_ref(), Some(&lines[index]));
            let said = format!("OK: redaction line {} is in the tree of size {size}", index + 1);
            assert!(report.to_string().starts_with(&said), "{report}");
        }
    }
}

#[test]
fn d01_stays_below_three_kibibytes() {
    let lines = good();
    let deep = TlogProof { hashes: vec![[0; 32]; 30], ..receipt(&lines, REDACTION) };
    assert!(deep.to_string().len() < 3 * 1024, "a billion lines");
}

#[test]
fn d02_refuses_a_changed_leaf() {
    let mut proof = receipt(&good(), REDACTION);
    let text = String::from_utf8(proof.leaf).unwrap();
    proof.leaf = text.replacen("AWS_KEY", "AWS_KEZ", 1).into_bytes();
    assert_eq!(said(&proof), (1, "E_INCLUSION"));
}

#[test]
fn d03_refuses_every_damaged_proof() {
    let good = receipt(&good(), REDACTION);
    for index in [good.index - 1, good.index + 1] {
        assert_eq!(said(&TlogProof { index, ..good.clone() }), (1, "E_INCLUSION"));
    }
    let damaged = |change: fn(&mut Vec<Hash>)| {
        let mut proof = good.clone();
        change(&mut proof.hashes);
        assert_ne!(proof, good);
        said(&proof)
    };
    let changes: [fn(&mut Vec<Hash>); 5] = [
        |hashes| hashes.truncate(hashes.len() - 1),
        |hashes| *hashes = hashes[1..].to_vec(),
        |hashes| hashes.push([0; 32]),
        |hashes| hashes.swap(0, 1),
        |hashes| hashes[1][5] ^= 0x10,
    ];
    for change in changes {
        assert_eq!(damaged(change), (1, "E_INCLUSION"));
    }
}

#[test]
fn d04_refuses_a_genuine_checkpoint_that_excludes_the_line() {
    let lines = good();
    let mut proof = receipt(&lines, REDACTION);
    proof.checkpoint = note(&lines[..REDACTION]);
    assert_eq!(said(&proof), (1, "E_INCLUSION"));
}

#[test]
fn d05_d06_refuses_other_types_unless_asked_for() {
    let mut lines = good();
    lines.insert(5, line(Body::sample("manifest", &mut crate::evidence::rule::Dice(5))));
    sign(&mut lines);
    for (index, line_type) in [(4, "detokenization"), (5, "manifest")] {
        let proof = receipt(&lines, index);
        assert_eq!(said(&proof), (1, "E_RECEIPT_TYPE"));
        for asked in [Some(line_type.to_owned()), None] {
            let options = ReceiptOptions { line_type: asked, ..options() };
            assert_eq!(said_with(&proof, &options), (0, ""));
        }
    }
}

#[test]
fn d07_refuses_a_node_passed_off_as_a_leaf() {
    let lines = good();
    let hashes = |index: usize| leaf_hash(&line::encode(&lines[index]).unwrap());
    let mut proof = receipt(&lines, REDACTION);
    proof.leaf = [&[1], hashes(0).as_slice(), &hashes(1)].concat();
    assert_ne!(leaf_hash(&proof.leaf), node_hash(&hashes(0), &hashes(1)), "leaves are apart");
    assert_eq!(said(&proof), (1, "E_CANONICAL"));
}

#[test]
fn d08_refuses_a_receipt_of_another_log_of_the_same_key() {
    let lines = good();
    let mut proof = receipt(&lines, REDACTION);
    let stated = checkpoint::Checkpoint {
        origin: "waterwall.local/other".into(),
        ..proof.checkpoint.checkpoint.clone()
    };
    let signature = log_key().sign(stated.text().as_bytes()).to_bytes();
    proof.checkpoint = stated.signed(&vkey("waterwall.local/other", &log_key()), &signature);
    assert_eq!(said(&proof), (1, "E_ORIGIN"));
    // A bare key has no name; then only the auditor can say which log he means.
    let bare = PinnedKey::Bare(log_key().verifying_key().to_bytes());
    let bare = ReceiptOptions { pinned: bare, ..options() };
    assert_eq!(said_with(&proof, &bare), (0, ""));
    let named = ReceiptOptions { origin: Some(ORIGIN.into()), ..bare };
    assert_eq!(said_with(&proof, &named), (1, "E_ORIGIN"));
}

#[test]
fn d09_refuses_other_forms() {
    let good = receipt(&good(), REDACTION).to_string();
    let without = good.lines().filter(|line| !line.starts_with("extra"));
    let without: String = without.flat_map(|line| [line, "\n"]).collect();
    assert_eq!(said_of(&without, &options()), (1, "E_PROOF_FORMAT"));
    assert_eq!(said_of(&good.replace("extra ", "extra %"), &options()), (1, "E_PROOF_FORMAT"));
    assert_eq!(said_of("", &options()), (1, "E_PROOF_FORMAT"));
    assert_eq!(said_of(&good.replace('\u{2014}', "-"), &options()), (1, "E_NOTE"));
}

#[test]
fn refuses_receipts_of_another_key_or_with_a_wrong_signature() {
    let lines = good();
    let mut proof = receipt(&lines, REDACTION);
    proof.checkpoint = note_by(&lines, ORIGIN, &evidence_key());
    assert_eq!(said(&proof), (1, "E_UNKNOWN_KEY"));
    proof.checkpoint = note(&lines);
    proof.checkpoint.note.signatures[0].signature[3] ^= 1;
    assert_eq!(said(&proof), (1, "E_SIGNATURE"));
    let mut identity = [0; 32];
    identity[0] = 1;
    let weak = ReceiptOptions { pinned: PinnedKey::Bare(identity), ..options() };
    assert_eq!(said_with(&proof, &weak), (1, "E_SIGNATURE"));
}

/// The tree may hold a line anywhere; only at its own number is it that line of the log.
#[test]
fn refuses_a_line_that_stands_at_another_place_than_it_says() {
    let mut lines = good();
    lines[REDACTION].seq = 9;
    assert_eq!(said(&receipt(&lines, REDACTION)), (1, "E_SEQ"));
}

#[test]
fn does_not_judge_a_line_of_another_version() {
    let mut proof = receipt(&good(), REDACTION);
    let text = String::from_utf8(proof.leaf).unwrap();
    proof.leaf = text.replace("\"v\":2}", "\"v\":3}").into_bytes();
    assert_eq!(said(&proof), (2, "E_VERSION"));
}
