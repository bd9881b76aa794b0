//! A: lines and chain.

use super::*;

/// Index of the first redaction line of [`good`], and of the checkpoint line above it.
const EVENT: usize = 3;
const CHECKPOINT: usize = 9;

/// `good` with the line at [`EVENT`] replaced by raw bytes.
fn with_raw_line(raw: &[u8]) -> Dir {
    let lines = good();
    let log = [&bytes(&lines[..EVENT]), raw, b"\n", &bytes(&lines[EVENT + 1..])].concat();
    Dir::of_bytes(&log)
}

fn event() -> String {
    String::from_utf8(line::encode(&good()[EVENT]).unwrap()).unwrap()
}

/// What is said when the line at [`EVENT`] has `from` replaced by `to`.
fn said_of(from: &str, to: &str) -> (u8, &'static str) {
    let changed = event().replacen(from, to, 1);
    assert_ne!(changed, event(), "{from} is not in the line");
    let report = with_raw_line(changed.as_bytes()).check();
    assert_eq!(report.lines, EVENT as u64);
    report.said()
}

#[test]
fn a01_accepts_a_clean_log_that_ends_in_good_order() {
    let report = Dir::of(&good()).check();
    assert_eq!(report.said(), (0, ""));
    assert_eq!((report.lines, report.checkpoints, report.unsigned_tail), (15, 2, 0));
    assert_eq!(
        report.to_string(),
        "OK: 15 lines verified, 2 checkpoints valid; signed through seq 14, unsigned tail 0; \
         warnings: W_UNANCHORED"
    );
    assert_eq!(report.root, root(&good()));
}

#[test]
fn a03_names_the_line_after_a_flipped_byte() {
    let report = replaced(&good(), "\"req_no\":1", "\"req_no\":9").check();
    assert_eq!(report.said(), (1, "E_PREV_HASH"));
    assert_eq!(report.seq, Some(EVENT as u64 + 2));
    assert_eq!(
        report.to_string(),
        "FAIL: first failure at seq 5: prev_hash is not the hash of the line before \
         [E_PREV_HASH]\nverified up to 4 lines, 0 checkpoints"
    );
}

#[test]
fn a04_names_the_first_checkpoint_above_a_relinked_edit() {
    let mut lines = good();
    lines[EVENT] = Line { body: scan(1, 1).body, ..lines[EVENT].clone() };
    relink_only(&mut lines);
    let report = Dir::of(&lines).check();
    assert_eq!(report.said(), (1, "E_CHECKPOINT_ROOT"));
    assert_eq!(report.seq, Some(CHECKPOINT as u64 + 1));
}

#[test]
fn a05_refuses_swapped_lines() {
    let mut lines = good();
    lines.swap(EVENT, EVENT + 1);
    relink_only(&mut lines);
    let report = Dir::of(&lines).check();
    assert_eq!((report.said(), report.seq), ((1, "E_SEQ"), Some(EVENT as u64 + 1)));
}

#[test]
fn a06_refuses_swapped_and_renumbered_lines_by_their_root() {
    let mut lines = good();
    lines.swap(EVENT + 1, EVENT + 2);
    relink(&mut lines);
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_CHECKPOINT_ROOT"));
}

#[test]
fn a07_refuses_a_deleted_line_relinked_or_not() {
    let mut lines = good();
    lines.remove(EVENT + 1);
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_SEQ"));
    relink(&mut lines);
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_CHECKPOINT_SIZE"));
    // Where the attacker corrects the size too, only the root is left to tell.
    at_checkpoint(&mut lines, CHECKPOINT - 1, |checkpoint| checkpoint.tree_size -= 1);
    relink(&mut lines);
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_CHECKPOINT_ROOT"));
}

#[test]
fn a08_refuses_an_inserted_line() {
    let mut lines = good();
    lines.insert(EVENT, outcome(3));
    at_checkpoint(&mut lines, CHECKPOINT + 1, |checkpoint| checkpoint.tree_size += 1);
    relink(&mut lines);
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_CHECKPOINT_ROOT"));
}

#[test]
fn a09_refuses_a_repeated_line() {
    let mut lines = good();
    lines.insert(EVENT, lines[EVENT].clone());
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_SEQ"));
}

#[test]
fn a10_refuses_equal_numbers() {
    let mut lines = good();
    lines.iter_mut().for_each(|line| line.seq = 1);
    relink_only(&mut lines);
    let report = Dir::of(&lines).check();
    assert_eq!((report.said(), report.seq), ((1, "E_SEQ"), Some(2)));
}

#[test]
fn a11_refuses_a_space_after_a_colon() {
    assert_eq!(said_of("\"seq\":", "\"seq\": "), (1, "E_CANONICAL"));
}

#[test]
fn a12_refuses_unsorted_keys() {
    assert_eq!(said_of("\"v\":2}", "\"aa\":1}"), (1, "E_CANONICAL"));
}

#[test]
fn a13_refuses_a_duplicate_key() {
    assert_eq!(said_of("\"v\":2}", "\"v\":2,\"v\":2}"), (1, "E_CANONICAL"));
}

#[test]
fn a14_refuses_other_escapes() {
    for spelled in ["\\u0041WS_KEY", "A\\/WS", "\\u001F"] {
        assert_eq!(said_of("AWS_KEY", spelled), (1, "E_CANONICAL"), "{spelled}");
    }
}

#[test]
fn a15_refuses_other_numbers() {
    for spelled in ["1.0", "1e3", "-0", "9007199254740992"] {
        let changed = said_of("\"req_no\":1", &format!("\"req_no\":{spelled}"));
        assert_eq!(changed, (1, "E_CANONICAL"), "{spelled}");
    }
}

#[test]
fn a16_refuses_bad_text() {
    assert_eq!(said_of("messages", "\\ud800"), (1, "E_CANONICAL"));
    assert_eq!(said_of("messages", "\u{7f}"), (1, "E_CANONICAL"));
    assert_eq!(said_of("{\"boot\"", "\u{feff}{\"boot\""), (1, "E_CANONICAL"));
    let mut raw = event().into_bytes();
    let at = raw.windows(8).position(|window| window == b"messages").unwrap();
    raw[at] = 0xff;
    assert_eq!(with_raw_line(&raw).check().said(), (1, "E_CANONICAL"));
}

#[test]
fn a17_refuses_crlf_and_blank_lines() {
    let log = String::from_utf8(bytes(&good())).unwrap();
    let crlf = Dir::of_bytes(log.replace('\n', "\r\n").as_bytes());
    assert_eq!(crlf.check().said(), (1, "E_CANONICAL"));
    assert_eq!(with_raw_line(b"").check().said(), (1, "E_CANONICAL"));
    let blank_first = Dir::of_bytes(format!("\n{log}").as_bytes());
    assert_eq!(blank_first.check().said(), (1, "E_CANONICAL"));
}

#[test]
fn a18_refuses_what_the_schema_does_not_name() {
    assert_eq!(said_of("\"redaction\"", "\"reduction\""), (1, "E_SCHEMA"));
    assert_eq!(said_of("\"v\":2}", "\"v\":2,\"w\":2}"), (1, "E_SCHEMA"));
    assert_eq!(said_of("\"request_id\":null,", ""), (1, "E_SCHEMA"));
    assert_eq!(said_of("\"request_id\":null", "\"request_id\":1"), (1, "E_SCHEMA"));
}

#[test]
fn refuses_a_redaction_count_that_is_not_the_sum() {
    assert_eq!(said_of("\"redaction_count\":2", "\"redaction_count\":3"), (1, "E_SCHEMA"));
}

/// Gives `left` bytes of `x` and fails the test when asked for far more than a line.
struct Endless {
    left: u64,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let given = buffer.len().min(usize::try_from(self.left).unwrap());
        buffer[..given].fill(b'x');
        self.left -= given as u64;
        assert!(self.left > (1 << 30) - (1 << 20), "reads on past the limit");
        Ok(given)
    }
}

struct EndlessLine;

impl Source for EndlessLine {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(vec![ACTIVE.to_owned()])
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        Ok((name == ACTIVE).then(|| Box::new(Endless { left: 1 << 30 }) as Box<dyn Read>))
    }
}

#[test]
fn a19_refuses_long_lines_without_reading_them_whole() {
    let long = vec![b'x'; line::MAX_LINE + 1];
    assert_eq!(with_raw_line(&long).check().said(), (1, "E_LIMIT"));
    assert_eq!(with_raw_line(&long[1..]).check().said(), (1, "E_CANONICAL"));
    let pinned = PinnedKey::Named(vkey(ORIGIN, &log_key()));
    assert_eq!(verify_chain(&EndlessLine, &Options::new(pinned)).said(), (1, "E_LIMIT"));
}

#[test]
fn a20_refuses_deep_nesting() {
    assert_eq!(said_of("\"part\":[1,1]", "\"part\":[[[[1]]]]"), (1, "E_LIMIT"));
    assert_eq!(with_raw_line(&[b'['; 10_000]).check().said(), (1, "E_LIMIT"));
    assert_eq!(with_raw_line(&[b'['; 100_000]).check().said(), (1, "E_LIMIT"));
}

#[test]
fn a21_calls_an_empty_log_empty() {
    assert_eq!(Dir::of_bytes(b"").check().said(), (3, "E_EMPTY"));
    assert_eq!(Dir::of_bytes(b"\n").check().said(), (3, "E_EMPTY"));
    assert_eq!(Dir::of_bytes(b"\n\n").check().said(), (1, "E_CANONICAL"));
    assert_eq!(Dir::default().check().said(), (2, "E_NO_LOG"));
}

#[test]
fn a22_refuses_a_log_whose_start_is_cut_off() {
    assert_eq!(Dir::of(&good()[EVENT..]).check().said(), (1, "E_GENESIS"));
}

#[test]
fn refuses_a_second_genesis() {
    let mut lines = good();
    lines.insert(EVENT, genesis());
    sign(&mut lines);
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_GENESIS"));
}

#[test]
fn a23_refuses_a_first_line_with_a_predecessor() {
    let mut lines = good();
    lines[0].prev_hash = [1; 32];
    let report = Dir::of(&lines).check();
    assert_eq!((report.said(), report.seq), ((1, "E_PREV_HASH"), Some(1)));
}

#[test]
fn a24_refuses_frameworks_that_are_missing_unsorted_or_unknown() {
    let tags = "[\"EU-AI-Act-Art-12\",\"EU-AI-Act-Art-13\"";
    assert_eq!(said_of("\"frameworks\"", "\"framework\""), (1, "E_SCHEMA"));
    assert_eq!(said_of(tags, "[\"EU-AI-Act-Art-13\",\"EU-AI-Act-Art-12\""), (1, "E_SCHEMA"));
    assert_eq!(said_of(tags, "[\"EU-AI-Act-Art-12\",\"EU-AI-Act-Art-99\""), (1, "E_FRAMEWORK"));
}

#[test]
fn warns_where_no_framework_table_matches() {
    for dir in [Dir::of(&good()).without(FRAMEWORKS), Dir::of(&good()).with(FRAMEWORKS, b"{}")] {
        let report = dir.check();
        assert_eq!(report.said(), (0, ""));
        assert!(report.warned().contains(&"W_FRAMEWORKS"));
    }
}

#[test]
fn a25_does_not_judge_another_version() {
    let report = replaced(&good(), "\"v\":2", "\"v\":3").check();
    assert_eq!(report.said(), (2, "E_VERSION"));
    assert!(report.to_string().starts_with("ERROR: unsupported version"));
}

#[test]
fn a26_warns_of_a_repeated_salt() {
    let mut lines = good();
    lines[EVENT].salt = lines[EVENT + 1].salt;
    resign(&mut lines);
    let report = Dir::of(&lines).check();
    assert_eq!(report.said(), (0, ""));
    assert!(report.warned().contains(&"W_SALT_REUSE"));
    assert_eq!(Dir::of(&lines).check_with(|options| options.strict = true).verdict.exit_code(), 3);
}

#[test]
fn a27_names_request_numbers_that_no_line_accounts_for() {
    let mut lines = good();
    lines[CHECKPOINT + 2] = scan(9, 9);
    sign(&mut lines);
    let report = Dir::of(&lines).check();
    assert_eq!(report.said(), (1, "E_REQ_GAP"));
    assert_eq!(report.reason, "inst a1a1a1a1a1a1a1a1 lacks req_no 7 to 8");
}

#[test]
fn a28_refuses_a_request_that_two_lines_account_for() {
    let mut lines = good();
    lines[CHECKPOINT + 2] = scan(6, 7);
    sign(&mut lines);
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_DUP_EVENT"));
}

#[test]
fn a29_takes_half_a_last_line_only_from_a_living_log() {
    let lines = good();
    let log = bytes(&lines);
    let dir = Dir::of_bytes(&log[..log.len() - 1]).with(HEAD, &head(&lines[..13]));
    assert_eq!(dir.check().said(), (3, "E_TORN_TAIL"));
    let live = dir.check_with(|options| options.live = true);
    assert_eq!(live.said(), (0, ""));
    assert!(live.warned().contains(&"W_PARTIAL_TAIL"));
    assert_eq!((live.lines, live.signed_size, live.unsigned_tail), (14, 13, 1));
}

#[test]
fn g13_warns_of_a_wall_clock_that_steps_back() {
    let mut lines = good();
    lines[EVENT].ts = Timestamp::from_ms(0).unwrap();
    resign(&mut lines);
    let report = Dir::of(&lines).check();
    assert_eq!(report.said(), (0, ""));
    assert!(report.warned().contains(&"W_CLOCK_STEP"));
}

#[test]
fn g14_refuses_up_ms_that_runs_backwards_within_one_boot() {
    let mut lines = good();
    lines[EVENT].up_ms = 0;
    resign(&mut lines);
    assert_eq!(Dir::of(&lines).check().said(), (1, "E_CLOCK"));
    for line in &mut lines[EVENT..] {
        line.boot = [0xb1; 8];
    }
    resign(&mut lines);
    assert_eq!(Dir::of(&lines).check().said(), (0, ""));
}

#[test]
fn b16_warns_of_a_long_silence() {
    let mut lines = good();
    for line in &mut lines[EVENT..] {
        line.up_ms += 300_001;
    }
    resign(&mut lines);
    let report = Dir::of(&lines).check();
    assert_eq!(report.said(), (0, ""));
    assert!(report.warned().contains(&"W_IDLE_GAP"));
}

/// A redaction of two parts whose second one is missing, before what else the log says.
fn half_a_redaction(then: Vec<Line>) -> Dir {
    let mut half = redaction(6);
    let Body::Redaction(first) = &mut half.body else { panic!("no redaction") };
    first.part = (1, 2);
    let mut lines = good();
    lines.splice(CHECKPOINT + 1..CHECKPOINT + 4, std::iter::once(half).chain(then));
    sign(&mut lines);
    Dir::of(&lines)
}

#[test]
fn a27_misses_a_part_unless_the_writer_was_interrupted_after_it() {
    assert_eq!(half_a_redaction(vec![]).check().said(), (1, "E_REQ_GAP"));
    let mut unclean = start();
    let Body::Start(again) = &mut unclean.body else { panic!("no start") };
    again.clean = false;
    let interrupted = half_a_redaction(vec![unclean.clone()]).check();
    assert_eq!(interrupted.said(), (0, ""));
    assert!(interrupted.warned().contains(&"W_REQ_TAIL"));
    let went_on = half_a_redaction(vec![unclean, scan(7, 7)]).check();
    assert_eq!(went_on.said(), (1, "E_REQ_GAP"));
}

#[test]
fn refuses_a_second_outcome_or_part_of_an_answer() {
    for index in [4, 5] {
        let mut lines = good();
        lines.insert(index, lines[index].clone());
        sign(&mut lines);
        assert_eq!(Dir::of(&lines).check().said(), (1, "E_DUP_EVENT"));
    }
}

#[test]
fn refuses_an_anchor_of_a_tree_that_was_not_there_yet() {
    let anchor = |tree_size| {
        let mut lines = good();
        lines.insert(
            EVENT,
            line(crate::evidence::body::Anchor {
                kind: crate::evidence::body::AnchorKind::Manual,
                tree_size,
                root: [0; 32],
                evidence_sha256: [0; 32],
                name: "notary".into(),
            }),
        );
        sign(&mut lines);
        Dir::of(&lines).check().said()
    };
    assert_eq!(anchor(EVENT as u64), (0, ""));
    assert_eq!(anchor(EVENT as u64 + 1), (1, "E_ANCHOR"));
}
