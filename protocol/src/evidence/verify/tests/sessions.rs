//! D13, D14: session manifests against the lines they are about.

use super::*;
use crate::evidence::body::{EndedBy, Fingerprint, Manifest};

const SESSION: &str = "session-1";

fn of_session(mut line: Line, session: &str) -> Line {
    match &mut line.body {
        Body::Redaction(redaction) => redaction.session_id = Some(session.into()),
        Body::Detokenization(restored) => restored.session_id = Some(session.into()),
        _ => panic!("no line of a session"),
    }
    line
}

fn restored(req_no: u64, unknown_placeholders: u64) -> Line {
    line(Detokenization {
        host: "api.anthropic.com".into(),
        inst: INST,
        req_no,
        request_id: None,
        session_id: Some(SESSION.into()),
        detok_count: 1,
        unknown_placeholders,
        stream: false,
        part: 1,
        policy_hash: [10; 32],
    })
}

/// The totals of the log below.
fn totals() -> Manifest {
    Manifest {
        session_id: Some(SESSION.into()),
        started_ts: Timestamp::from_ms(0).unwrap(),
        ended_ts: Timestamp::from_ms(0).unwrap(),
        ended_by: EndedBy::Idle,
        request_count: 3,
        redaction_total: 4,
        types_seen: [("AWS_KEY".to_owned(), 4)].into(),
        unknown_placeholder_count: 5,
        chain_seq_range: (3, 8),
        policy_hashes: vec![[9; 32], [10; 32]],
        behavioral_fingerprint: Fingerprint {
            avg_redactions_milli: 1333,
            unknown_placeholder_count: 5,
            request_count: 3,
        },
    }
}

/// Lines 3 to 8 hold three requests of a session, and one of another.
fn log(manifests: &[Manifest]) -> Vec<Line> {
    let mut lines = vec![genesis(), start()];
    lines.extend([
        of_session(redaction(1), SESSION),
        of_session(redaction(2), "session-2"),
        restored(1, 2),
        of_session(redaction(3), SESSION),
        scan(4, 4),
        restored(4, 3),
    ]);
    lines.extend(manifests.iter().cloned().map(line));
    lines.extend([stop(), checkpoint()]);
    sign(&mut lines);
    lines
}

fn said(manifests: &[Manifest]) -> (u8, &'static str) {
    Dir::of(&log(manifests)).check().said()
}

#[test]
fn accepts_a_manifest_whose_totals_are_those_of_its_lines() {
    assert_eq!(said(&[totals()]), (0, ""));
    assert_eq!(said(&[Manifest { chain_seq_range: (1, 8), ..totals() }]), (0, ""));
}

#[test]
fn d13_refuses_any_total_that_is_wrong_by_one() {
    let changes: [fn(&mut Manifest); 9] = [
        |manifest| manifest.request_count += 1,
        |manifest| manifest.redaction_total -= 1,
        |manifest| *manifest.types_seen.get_mut("AWS_KEY").unwrap() += 1,
        |manifest| manifest.types_seen.extend([("OTHER".into(), 0)]),
        |manifest| manifest.unknown_placeholder_count += 1,
        |manifest| manifest.policy_hashes.truncate(1),
        |manifest| manifest.behavioral_fingerprint.avg_redactions_milli += 1,
        |manifest| manifest.behavioral_fingerprint.request_count -= 1,
        |manifest| manifest.behavioral_fingerprint.unknown_placeholder_count -= 1,
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut manifest = totals();
        change(&mut manifest);
        assert_eq!(said(&[manifest]), (1, "E_MANIFEST_COUNT"), "change {index}");
    }
    let report = Dir::of(&log(&[Manifest { redaction_total: 5, ..totals() }])).check();
    assert_eq!(report.seq, Some(9));
    assert!(report.reason.starts_with("redaction_total"), "{}", report.reason);
}

#[test]
fn d14_refuses_a_range_beyond_the_log_or_not_of_all_its_lines() {
    for range in [(3, 9), (3, 100), (4, 8), (3, 7)] {
        let manifest = Manifest { chain_seq_range: range, ..totals() };
        assert_eq!(said(&[manifest]), (1, "E_MANIFEST_RANGE"), "{range:?}");
    }
}

#[test]
fn refuses_to_count_lines_twice_and_takes_a_session_that_goes_on() {
    assert_eq!(said(&[totals(), totals()]), (1, "E_MANIFEST_RANGE"));
    let empty = Manifest {
        request_count: 0,
        redaction_total: 0,
        types_seen: BTreeMap::new(),
        unknown_placeholder_count: 0,
        chain_seq_range: (9, 9),
        policy_hashes: Vec::new(),
        behavioral_fingerprint: Fingerprint {
            avg_redactions_milli: 0,
            unknown_placeholder_count: 0,
            request_count: 0,
        },
        ..totals()
    };
    assert_eq!(said(&[totals(), empty.clone()]), (0, ""));
    let unknown = Manifest { session_id: Some("never-seen".into()), ..empty };
    assert_eq!(said(&[totals(), unknown]), (0, ""));
}

/// Two sessions at once do not count for each other.
#[test]
fn keeps_sessions_apart() {
    let other = Manifest {
        session_id: Some("session-2".into()),
        request_count: 1,
        redaction_total: 2,
        types_seen: [("AWS_KEY".to_owned(), 2)].into(),
        unknown_placeholder_count: 0,
        chain_seq_range: (4, 4),
        policy_hashes: vec![[9; 32]],
        behavioral_fingerprint: Fingerprint {
            avg_redactions_milli: 2000,
            unknown_placeholder_count: 0,
            request_count: 1,
        },
        ..totals()
    };
    assert_eq!(said(&[totals(), other]), (0, ""));
}
