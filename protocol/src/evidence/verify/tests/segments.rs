//! C: segments, debris, pruning, tiles.

use sha2::{Digest, Sha256};

use super::*;
use crate::evidence::body::{Prune, Recovery, Rotation};

fn name(first: u64, last: u64) -> String {
    ClosedName { first, last }.to_string()
}

fn rotation(first: u64, last: u64) -> Line {
    line(Rotation { closed_file: name(first, last), next_first_seq: last + 1 })
}

/// Lines 1–6, 7–12, 13–16 and 17–19, each segment but the last closed by a `rotation`.
fn rotated() -> Vec<Line> {
    let mut lines = vec![genesis(), start(), redaction(1), scan(2, 2), outcome(2), rotation(1, 6)];
    lines.extend([checkpoint(), scan(3, 3), scan(4, 4), scan(5, 5), scan(6, 6), rotation(7, 12)]);
    lines.extend([checkpoint(), scan(7, 7), scan(8, 8), rotation(13, 16)]);
    lines.extend([checkpoint(), stop(), checkpoint()]);
    sign(&mut lines);
    lines
}

fn in_segments(lines: &[Line]) -> Dir {
    Dir::default()
        .with(FRAMEWORKS, &frameworks::json())
        .with(&name(1, 6), &bytes(&lines[..6]))
        .with(&name(7, 12), &bytes(&lines[6..12]))
        .with(&name(13, 16), &bytes(&lines[12..16]))
        .with(ACTIVE, &bytes(&lines[16..]))
}

#[test]
fn a02_accepts_a_log_of_several_segments() {
    let report = in_segments(&rotated()).check();
    assert_eq!(report.said(), (0, ""));
    assert_eq!((report.segments, report.lines, report.checkpoints), (4, 19, 4));
    assert_eq!(report.root, root(&rotated()));
}

#[test]
fn c13_c17_names_the_lines_of_a_missing_segment() {
    let dir = in_segments(&rotated()).without(&name(7, 12));
    let report = dir.check();
    assert_eq!((report.said(), report.seq), ((1, "E_SEGMENT_GAP"), Some(7)));
    assert_eq!(report.reason, "lines 7 to 12 are missing");
    let first = in_segments(&rotated()).without(&name(1, 6)).check();
    assert_eq!(
        (first.said(), first.reason.as_str()),
        ((1, "E_SEGMENT_GAP"), "lines 1 to 6 are missing")
    );
    let last = in_segments(&rotated()).without(&name(13, 16)).check();
    assert_eq!(last.reason, "lines 13 to 16 are missing");
}

#[test]
fn c14_knows_missing_last_segments_by_the_head() {
    let lines = rotated();
    let dir = in_segments(&lines).with(HEAD, &head(&lines[..16])).with(ACTIVE, b"");
    assert_eq!(dir.check().said(), (0, ""));
    assert_eq!(dir.without(&name(13, 16)).check().said(), (1, "E_BEHIND_HEAD"));
}

#[test]
fn c15_refuses_segments_whose_names_lie() {
    let lines = rotated();
    let swapped = in_segments(&lines)
        .with(&name(1, 6), &bytes(&lines[6..12]))
        .with(&name(7, 12), &bytes(&lines[..6]));
    assert_eq!(swapped.check().said(), (1, "E_SEGMENT_NAME"));
    let twice = in_segments(&lines).with(&name(2, 6), &bytes(&lines[1..6]));
    assert_eq!(twice.check().said(), (1, "E_SEGMENT_NAME"));
    let malformed = in_segments(&lines).with("proxy.1-6.jsonl", b"");
    assert_eq!(malformed.check().said(), (1, "E_SEGMENT_NAME"));
    let renamed = in_segments(&lines)
        .without(&name(7, 12))
        .with(&name(7, 9), &bytes(&lines[6..9]))
        .with(&name(10, 12), &bytes(&lines[9..12]));
    assert_eq!(renamed.check().said(), (1, "E_SEGMENT_NAME"));
}

#[test]
fn names_the_lines_missing_from_the_end_of_a_closed_segment() {
    let lines = rotated();
    let short = in_segments(&lines).with(&name(7, 12), &bytes(&lines[6..10]));
    let report = short.check();
    assert_eq!((report.said(), report.seq), ((1, "E_SEGMENT_GAP"), Some(11)));
    let whole = bytes(&lines[6..12]);
    let cut = in_segments(&lines).with(&name(7, 12), &whole[..whole.len() - 9]);
    assert_eq!(cut.check().said(), (1, "E_SEGMENT_GAP"));
}

#[test]
fn refuses_lines_after_a_rotation() {
    let mut lines = rotated();
    lines.insert(6, outcome(1));
    sign(&mut lines);
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_SEGMENT_NAME"));
}

/// A torn log: four lines and debris closed under their name, then a recovery.
fn recovered(debris: &[u8]) -> (Vec<Line>, Dir) {
    recovered_as(debris, |_| {})
}

/// As [`recovered`], with another declaration than the right one.
fn recovered_as(debris: &[u8], change: impl FnOnce(&mut Recovery)) -> (Vec<Line>, Dir) {
    let mut lines = vec![genesis(), start(), redaction(1), checkpoint()];
    sign(&mut lines);
    let kept = bytes(&lines);
    let mut recovery = Recovery {
        debris_file: name(1, 4),
        debris_offset: kept.len() as u64,
        debris_len: debris.len() as u64,
        debris_sha256: Sha256::digest(debris).into(),
        kept_seq: 4,
    };
    change(&mut recovery);
    lines.push(line(recovery));
    lines.extend([stop(), checkpoint()]);
    sign(&mut lines);
    let dir = Dir::default()
        .with(FRAMEWORKS, &frameworks::json())
        .with(&name(1, 4), &[&kept, debris].concat())
        .with(ACTIVE, &bytes(&lines[4..]));
    (lines, dir)
}

#[test]
fn f02_accepts_declared_debris() {
    for debris in [&b"{\"boot\":\"b0"[..], b"{", b"garbage\nmore", &[0; 40_000]] {
        let (_, dir) = recovered(debris);
        let report = dir.check();
        assert_eq!(report.said(), (0, ""));
        assert!(report.warned().contains(&"W_RECOVERED"), "{:?}", report.warned());
        let strict = dir.check_with(|options| options.strict = true);
        assert_eq!(strict.said(), (3, "W_RECOVERED"));
    }
}

#[test]
fn f06_refuses_debris_that_is_not_as_declared() {
    let (lines, dir) = recovered(b"{\"boot\":");
    let kept = bytes(&lines[..4]);
    for debris in [&b"{\"boot\";"[..], b"{\"boot\"", b"", b"{\"boot\":\n"] {
        let altered = dir.clone().with(&name(1, 4), &[&kept, debris].concat());
        assert_eq!(altered.check().said(), (1, "E_DEBRIS_HASH"));
    }
    let mut undeclared = lines.clone();
    undeclared.remove(4);
    sign(&mut undeclared);
    let dir = dir.with(ACTIVE, &bytes(&undeclared[4..]));
    assert_eq!(dir.check().said(), (1, "E_DEBRIS_HASH"));
}

#[test]
fn refuses_a_recovery_that_declares_something_else() {
    let changes: [fn(&mut Recovery); 5] = [
        |recovery| recovery.debris_file = ACTIVE.into(),
        |recovery| recovery.debris_offset += 1,
        |recovery| recovery.debris_len += 1,
        |recovery| recovery.debris_sha256 = [0; 32],
        |recovery| recovery.kept_seq -= 1,
    ];
    for change in changes {
        let (_, dir) = recovered_as(b"torn", change);
        assert_eq!(dir.check().said(), (1, "E_DEBRIS_HASH"));
    }
}

#[test]
fn refuses_a_recovery_from_nothing() {
    let (lines, _) = recovered(b"x");
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_DEBRIS_HASH"));
}

#[test]
fn calls_debris_that_nobody_declared_yet_a_torn_tail() {
    let (_, dir) = recovered(b"{\"boot\":");
    assert_eq!(dir.clone().without(ACTIVE).check().said(), (3, "E_TORN_TAIL"));
    assert_eq!(dir.with(ACTIVE, b"").check().said(), (3, "E_TORN_TAIL"));
}

#[test]
fn f07_refuses_a_valid_line_declared_as_debris() {
    let mut hidden = vec![genesis(), start(), redaction(1), checkpoint(), redaction(2)];
    sign(&mut hidden);
    let (_, dir) = recovered(&bytes(&hidden[4..]));
    assert_eq!(dir.check().said(), (1, "E_DEBRIS_VALID_LINE"));
}

fn tiles(lines: &[Line]) -> Vec<u8> {
    lines.iter().flat_map(|line| leaf_hash(&line::encode(line).unwrap())).collect()
}

/// [`rotated`], its first segment pruned, which a line in the last one says.
fn pruned() -> (Vec<Line>, Dir) {
    let mut lines = rotated();
    let prune = Prune { first_kept_seq: 7, reason: "age".into(), actor: "timer".into() };
    lines.insert(17, line(prune));
    sign(&mut lines);
    let dir =
        in_segments(&lines).without(&name(1, 6)).with("tile/0/000.p/10", &tiles(&lines[..10]));
    (lines, dir)
}

#[test]
fn c16_accepts_a_pruned_log_that_says_so() {
    let (lines, dir) = pruned();
    let report = dir.check();
    assert_eq!(report.said(), (0, ""));
    assert!(report.warned().contains(&"W_PRUNED"));
    assert_eq!((report.first_seq, report.lines, report.root), (7, 14, root(&lines)));
    let bare = PinnedKey::Bare(log_key().verifying_key().to_bytes());
    let unnamed = dir.check_with(|options| options.pinned = bare.clone());
    assert_eq!(unnamed.said(), (2, "E_NO_ORIGIN"));
    let with_head = dir.with(HEAD, &head(&lines));
    assert_eq!(with_head.check_with(|options| options.pinned = bare).said(), (0, ""));
}

#[test]
fn c16_c17_refuses_a_pruned_log_that_does_not_say_so_or_whose_tiles_lie() {
    let (lines, dir) = pruned();
    assert_eq!(dir.clone().without("tile/0/000.p/10").check().said(), (1, "E_SEGMENT_GAP"));
    let mut lying = tiles(&lines[..10]);
    lying[0] ^= 1;
    assert_eq!(dir.with("tile/0/000.p/10", &lying).check().said(), (1, "E_CHECKPOINT_ROOT"));
    let silent = rotated();
    let dir =
        in_segments(&silent).without(&name(1, 6)).with("tile/0/000.p/6", &tiles(&silent[..6]));
    assert_eq!(dir.check().said(), (1, "E_SEGMENT_GAP"));
}

#[test]
fn c18_does_not_trust_a_tile_of_a_log_that_is_all_there() {
    let mut lines = good()[..13].to_vec();
    lines.extend((0..300).map(|req_no| outcome(1000 + req_no)));
    lines.extend([stop(), checkpoint()]);
    sign(&mut lines);
    let mut tile = tiles(&lines[..256]);
    let dir = Dir::of(&lines).with("tile/0/000", &tile);
    assert!(!dir.check().warned().contains(&"W_TILE_REBUILT"));
    tile[77] ^= 1;
    let report = dir.with("tile/0/000", &tile).check();
    assert_eq!(report.said(), (0, ""));
    assert!(report.warned().contains(&"W_TILE_REBUILT"));
}
