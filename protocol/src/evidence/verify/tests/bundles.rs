//! E and C08–C10: bundles, made by whoever holds the keys that a case gives him.

use sha2::{Digest, Sha256};

use super::*;
use crate::evidence::archive::{Reader, Writer};
use crate::evidence::bundle::{
    BundleType, FileSum, KeyFile, MANIFEST, Manifest, NOTE, PREVIOUS_PROOF, PolicyFile, Previous,
    RANGE_LOG, RANGE_PROOF, Receipt, SUMS, Segment, Statement,
};
use crate::evidence::hex;
use crate::evidence::merkle::{Tree as Merkle, spans};
use crate::evidence::note::{Note, NoteSignature};
use crate::evidence::tlog_proof::TlogProof;

type Members = BTreeMap<String, Vec<u8>>;

/// A policy, whose hash the lines below name.
const POLICY: &[u8] = b"{\"patterns\":[]}";

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// [`good`], with a policy that exists.
fn log() -> Vec<Line> {
    let mut lines = good();
    for line in &mut lines {
        match &mut line.body {
            Body::PolicyChange(change) => change.new_policy_hash = sha256(POLICY),
            Body::Redaction(redaction) => redaction.policy_hash = sha256(POLICY),
            Body::Detokenization(restored) => restored.policy_hash = sha256(POLICY),
            Body::ScanClean(scan) => scan.policy_hash = sha256(POLICY),
            _ => {}
        }
    }
    resign(&mut lines);
    lines
}

/// A bundle before it is sealed.
#[derive(Clone)]
struct Draft {
    manifest: Manifest,
    members: Members,
    signer: SigningKey,
    signer_name: String,
}

fn tree(lines: &[Line]) -> Merkle {
    let mut tree = Merkle::new();
    lines.iter().for_each(|line| tree.append(leaf_hash(&line::encode(line).unwrap())));
    tree
}

fn base64_lines(hashes: &[Hash]) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    hashes.iter().flat_map(|hash| format!("{}\n", STANDARD.encode(hash)).into_bytes()).collect()
}

impl Draft {
    /// What every bundle of `lines` has; `within` are the lines it holds.
    fn new(bundle_type: BundleType, lines: &[Line], within: &[Line]) -> Self {
        let evidence = vkey(&format!("{ORIGIN}/evidence"), &evidence_key());
        let mut counts = BTreeMap::new();
        for line in within {
            *counts.entry(line.body.line_type().to_owned()).or_default() += 1;
        }
        let policy = format!("policy/{}.json", hex::encode(&sha256(POLICY)));
        let keys = [("log", vkey(ORIGIN, &log_key())), ("evidence", evidence.clone())];
        let mut members = Members::from([
            (HEAD.to_owned(), head(lines)),
            (FRAMEWORKS.to_owned(), frameworks::json()),
            (policy.clone(), POLICY.to_vec()),
        ]);
        let key_file = |(name, key): &(&str, VerifierKey)| KeyFile {
            name: key.name().to_owned(),
            key_id: key.id(),
            file: format!("keys/{name}.vkey"),
        };
        let manifest = Manifest {
            bundle_type,
            origin: ORIGIN.into(),
            ts_exported: Timestamp::from_ms(1_700_000_100_000).unwrap(),
            since: None,
            until: None,
            seq_range: (within[0].seq, within[within.len() - 1].seq),
            tree_size: lines.len() as u64,
            root: root(lines),
            first_boundary_hash: Some(within[0].prev_hash)
                .filter(|_| bundle_type != BundleType::Selection),
            counts,
            chain: Vec::new(),
            receipts: Vec::new(),
            policies: vec![PolicyFile { policy_hash: sha256(POLICY), file: policy }],
            keys: keys.iter().map(key_file).collect(),
            anchors: Vec::new(),
            previous: None,
            files: Vec::new(),
            signing_key_id: evidence.id(),
            software: "test".into(),
        };
        for (name, key) in keys {
            members.insert(format!("keys/{name}.vkey"), format!("{key}\n").into_bytes());
        }
        let signer_name = evidence.name().to_owned();
        Self { manifest, members, signer: evidence_key(), signer_name }
    }

    fn segment(&mut self, name: &str, lines: &[Line]) {
        let bytes = bytes(lines);
        let checkpoints = lines.iter().filter(|it| matches!(it.body, Body::Checkpoint(_))).count();
        self.manifest.chain.push(Segment {
            file: name.into(),
            sha256: sha256(&bytes),
            size: bytes.len() as u64,
            first_seq: lines[0].seq,
            last_seq: lines[lines.len() - 1].seq,
            lines: lines.len() as u64,
            checkpoints: checkpoints as u64,
        });
        self.members.insert(name.into(), bytes);
    }

    fn receipt(&mut self, lines: &[Line], index: u64) {
        let proof = TlogProof {
            leaf: line::encode(&lines[usize::try_from(index).unwrap()]).unwrap(),
            index,
            hashes: tree(lines).inclusion_proof(index, lines.len() as u64).unwrap(),
            checkpoint: note(lines),
        };
        let (file, bytes) =
            (format!("receipts/{:012}.tlog-proof", index + 1), proof.to_string().into_bytes());
        let sha256 = sha256(&bytes);
        self.manifest.receipts.push(Receipt { file: file.clone(), sha256, seq: index + 1 });
        self.members.insert(file, bytes);
    }

    fn full(lines: &[Line]) -> Self {
        let mut draft = Self::new(BundleType::Full, lines, lines);
        draft.segment("log/proxy.jsonl", lines);
        draft
    }

    /// Lines `from..to` by index.
    fn range(lines: &[Line], from: usize, to: usize) -> Self {
        let mut draft = Self::new(BundleType::Range, lines, &lines[from..to]);
        draft.segment(RANGE_LOG, &lines[from..to]);
        draft.receipt(lines, 0);
        draft.range_proof(lines, from as u64, to as u64);
        draft
    }

    fn range_proof(&mut self, lines: &[Line], from: u64, to: u64) {
        let (before, after) = spans::outside(from, to, lines.len() as u64).unwrap();
        let hashes = tree(lines).roots(&[before, after].concat()).unwrap();
        self.members.insert(RANGE_PROOF.into(), base64_lines(&hashes));
    }

    fn selection(lines: &[Line], indexes: &[usize]) -> Self {
        let within: Vec<Line> = indexes.iter().map(|index| lines[*index].clone()).collect();
        let mut draft = Self::new(BundleType::Selection, lines, &within);
        indexes.iter().for_each(|index| draft.receipt(lines, *index as u64));
        draft
    }

    fn previous(mut self, lines: &[Line], size: u64) -> Self {
        let tree = tree(lines);
        let proof = tree.consistency_proof(size, lines.len() as u64).unwrap();
        self.members.insert(PREVIOUS_PROOF.into(), base64_lines(&proof));
        let root = tree.root_at(size).unwrap();
        self.manifest.previous = Some(Previous { tree_size: size, root });
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The members in their order, sealed.
    fn sealed(mut self) -> Vec<(String, Vec<u8>)> {
        let sum = |(name, bytes): (&String, &Vec<u8>)| FileSum {
            file: name.clone(),
            sha256: sha256(bytes),
            size: bytes.len() as u64,
        };
        self.manifest.files = self.members.iter().map(sum).collect();
        self.members.insert(SUMS.into(), self.manifest.sums().into_bytes());
        let json = self.manifest.encode().unwrap();
        let statement = Statement { origin: ORIGIN.into(), sha256: sha256(&json) };
        let note = self.note(&statement.text());
        let papers = [(NOTE.to_owned(), note), (MANIFEST.to_owned(), json)];
        papers.into_iter().chain(self.members).collect()
    }

    fn note(&self, text: &str) -> Vec<u8> {
        let key = vkey(&self.signer_name, &self.signer);
        let signature = self.signer.sign(text.as_bytes()).to_bytes().to_vec();
        let line = NoteSignature { name: self.signer_name.clone(), key_id: key.id(), signature };
        Note { text: text.to_owned(), signatures: vec![line] }.to_string().into_bytes()
    }

    fn archive(self) -> Vec<u8> {
        archive(&self.sealed())
    }

    fn said(self) -> (u8, &'static str) {
        said(&self.archive())
    }
}

fn archive(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    members.iter().for_each(|(name, bytes)| writer.member(name, bytes).unwrap());
    writer.finish().unwrap()
}

fn options() -> BundleOptions {
    let pinned = PinnedKey::Named(vkey(ORIGIN, &log_key()));
    BundleOptions { pinned, anchors: Vec::new(), previous: None, strict: false }
}

fn check(archive: &[u8], options: &BundleOptions) -> BundleReport {
    let open = || Ok(Box::new(archive) as Box<dyn Read>);
    verify_bundle(&open, options)
}

fn said(archive: &[u8]) -> (u8, &'static str) {
    said_with(archive, &options())
}

fn said_with(archive: &[u8], options: &BundleOptions) -> (u8, &'static str) {
    let report = check(archive, options);
    assert_eq!(report.head.is_some(), report.verdict == Verdict::Ok, "{report}");
    (report.verdict.exit_code(), report.code.unwrap_or_default())
}

/// One bundle of each kind.
fn one_of_each() -> [Draft; 3] {
    let lines = log();
    [Draft::full(&lines), Draft::range(&lines, 3, 11), Draft::selection(&lines, &[0, 3, 4])]
}

#[test]
fn e01_accepts_every_kind_and_says_what_it_proves() {
    let [full, range, selection] = one_of_each().map(|draft| check(&draft.archive(), &options()));
    assert_eq!(
        full.to_string(),
        "OK: 15 lines verified, 2 checkpoints valid; signed through seq 15, unsigned tail 0; \
         warnings: W_UNANCHORED"
    );
    assert_eq!(
        range.to_string(),
        "OK: 8 lines verified, 1 checkpoints valid; they are exactly lines 4 to 11 of 15; signed \
         through seq 15, unsigned tail 0; warnings: W_UNANCHORED"
    );
    assert!(
        selection.to_string().starts_with(
            "OK: 3 receipts valid in the tree of size 15; inclusion only, completeness not claimed"
        ),
        "{selection}"
    );
    for report in [full, range, selection] {
        assert_eq!(report.key_ids, [vkey(ORIGIN, &log_key()).id()]);
        assert_eq!(report.warnings.len(), 1);
    }
}

#[test]
fn e01_accepts_every_range_of_a_log() {
    let lines = log();
    for from in 0..lines.len() {
        for to in from + 1..=lines.len() {
            let report = check(&Draft::range(&lines, from, to).archive(), &options());
            assert_eq!(report.code, None, "{from}..{to}: {report}");
        }
    }
}

#[test]
fn e02_refuses_an_edited_manifest() {
    for draft in one_of_each() {
        let mut members = draft.sealed();
        let text = String::from_utf8(members[1].1.clone()).unwrap();
        members[1].1 = text.replace("\"software\":\"test\"", "\"software\":\"tost\"").into_bytes();
        assert_eq!(said(&archive(&members)), (1, "E_MANIFEST_HASH"));
    }
}

#[test]
fn e03_refuses_a_wrong_signature_and_an_absent_one() {
    for draft in one_of_each() {
        let good = draft.sealed();
        let with_note = |change: &dyn Fn(&mut Note)| {
            let mut members = good.clone();
            let mut note = Note::parse(&members[0].1).unwrap();
            change(&mut note);
            members[0].1 = note.to_string().into_bytes();
            said(&archive(&members))
        };
        assert_eq!(with_note(&|note| note.signatures[0].signature[9] ^= 1), (1, "E_SIGNATURE"));
        assert_eq!(with_note(&|note| note.signatures.clear()), (1, "E_MANIFEST_UNSIGNED"));
        let text = Note::parse(&good[0].1).unwrap().text;
        for unsigned in [text.clone(), format!("{text}\n")] {
            let mut members = good.clone();
            members[0].1 = unsigned.into_bytes();
            assert_eq!(said(&archive(&members)), (1, "E_MANIFEST_UNSIGNED"));
        }
        assert_eq!(said(&archive(&good[1..])), (1, "E_MANIFEST_UNSIGNED"));
    }
}

#[test]
fn e04_refuses_a_manifest_that_the_log_key_signed() {
    for draft in one_of_each() {
        for name in [ORIGIN.to_owned(), format!("{ORIGIN}/evidence")] {
            let by_log = draft.clone().with(|draft| {
                draft.signer = log_key();
                draft.signer_name = name;
            });
            assert_eq!(by_log.said(), (1, "E_KEY_ROLE"));
        }
        let by_stranger = draft.with(|draft| draft.signer = SigningKey::from_bytes(&[9; 32]));
        assert_eq!(by_stranger.said(), (1, "E_UNKNOWN_KEY"));
    }
}

#[test]
fn e05_e06_e07_names_files_that_are_missing_altered_or_unlisted() {
    for draft in one_of_each() {
        let good = draft.sealed();
        for index in 2..good.len() {
            let mut members = good.clone();
            let (name, _) = members.remove(index);
            let report = check(&archive(&members), &options());
            assert_eq!(report.code, Some("E_FILE_MISSING"), "{name}");
            assert!(report.reason.contains(&name), "{}", report.reason);
            let mut members = good.clone();
            members[index].1.push(b'\n');
            let report = check(&archive(&members), &options());
            assert_eq!(report.code, Some("E_FILE_HASH"), "{name}");
            assert!(report.reason.contains(&name), "{}", report.reason);
        }
        let mut members = good.clone();
        members.push(("zz/extra".into(), b"x".to_vec()));
        let report = check(&archive(&members), &options());
        assert_eq!(report.code, Some("E_FILE_UNLISTED"));
        assert!(report.reason.contains("zz/extra"));
    }
}

#[test]
fn e08_refuses_a_name_that_is_there_twice() {
    for draft in one_of_each() {
        let good = draft.sealed();
        for index in 0..good.len() {
            for (at, bytes) in [(index, b"bad".to_vec()), (index + 1, b"bad".to_vec())] {
                let mut members = good.clone();
                members.insert(at, (good[index].0.clone(), bytes));
                assert_eq!(said(&archive(&members)), (1, "E_ARCHIVE"), "{}", good[index].0);
            }
        }
        let mut swapped = good.clone();
        swapped.swap(3, 4);
        assert_eq!(said(&archive(&swapped)), (1, "E_ARCHIVE"));
    }
}

#[test]
fn e11_refuses_a_cut_or_continued_archive() {
    let [full, ..] = one_of_each();
    let good = full.archive();
    assert_eq!(said(&good[..good.len() - 1]), (1, "E_ARCHIVE"));
    assert_eq!(said(&[good.as_slice(), b"x"].concat()), (1, "E_ARCHIVE"));
    assert_eq!(said(&[good.clone(), good].concat()), (1, "E_ARCHIVE"));
    assert_eq!(said(b""), (1, "E_ARCHIVE"));
    assert_eq!(said(b"not gzip"), (1, "E_ARCHIVE"));
}

#[test]
fn e12_stops_at_a_bomb() {
    let zeros = vec![0; 40 * 1024 * 1024];
    let bomb = archive(&[
        (NOTE.into(), b"x".to_vec()),
        (MANIFEST.into(), b"x".to_vec()),
        ("a".into(), zeros),
    ]);
    assert_eq!(said(&bomb), (1, "E_LIMIT"));
    let papers = vec![b'x'; 5 * 1024 * 1024];
    assert_eq!(said(&archive(&[(NOTE.into(), papers)])), (1, "E_LIMIT"));
}

#[test]
fn e13_refuses_keys_and_signatures_that_were_all_replaced() {
    let stranger = BundleOptions {
        pinned: PinnedKey::Named(vkey(ORIGIN, &SigningKey::from_bytes(&[9; 32]))),
        ..options()
    };
    for draft in one_of_each() {
        assert_eq!(said_with(&draft.archive(), &stranger), (1, "E_UNKNOWN_KEY"));
    }
    for draft in one_of_each() {
        let key = vkey(&format!("{ORIGIN}/evidence"), &SigningKey::from_bytes(&[9; 32]));
        let misled = draft.with(|draft| {
            draft.members.insert("keys/evidence.vkey".into(), format!("{key}\n").into_bytes());
        });
        assert_eq!(misled.said(), (1, "E_UNKNOWN_KEY"));
    }
}

/// The rest of a log that was rewritten is the rewriter's; he signs what he likes but the head.
#[test]
fn e15_refuses_a_range_without_one_of_its_lines() {
    let lines = log();
    let mut forged = lines.clone();
    forged.remove(4);
    relink(&mut forged);
    let draft = Draft::range(&lines, 3, 8).with(|draft| {
        let within = &forged[3..7];
        draft.manifest.chain.clear();
        draft.segment(RANGE_LOG, within);
        draft.manifest.seq_range = (4, 7);
        draft.manifest.first_boundary_hash = Some(within[0].prev_hash);
        draft.manifest.counts.remove("detokenization");
    });
    assert_eq!(draft.said(), (1, "E_RANGE_PROOF"));
}

#[test]
fn e16_refuses_a_range_proof_with_a_hash_missing_or_extra() {
    let lines = log();
    let with_proof = |change: &dyn Fn(&mut Vec<u8>)| {
        let draft = Draft::range(&lines, 3, 8);
        draft.with(|draft| change(draft.members.get_mut(RANGE_PROOF).unwrap())).said()
    };
    let refused = (1, "E_RANGE_PROOF");
    assert_eq!(with_proof(&|_| {}), (0, ""));
    assert_eq!(with_proof(&|proof| proof.truncate(proof.len() - 45)), refused);
    assert_eq!(with_proof(&|proof| drop(proof.drain(..45))), refused);
    assert_eq!(with_proof(&|proof| proof.extend(base64_lines(&[[0; 32]]))), refused);
    assert_eq!(with_proof(&Vec::clear), refused);
    assert_eq!(with_proof(&|proof| proof.truncate(proof.len() - 1)), refused);
}

#[test]
fn e17_refuses_policies_that_are_not_what_lines_name() {
    for draft in one_of_each() {
        let other = draft.clone().with(|draft| {
            let file = draft.manifest.policies[0].file.clone();
            draft.members.insert(file, b"{}".to_vec());
        });
        assert_eq!(other.said(), (1, "E_POLICY_HASH"));
        let none = draft.with(|draft| {
            let policy = draft.manifest.policies.remove(0);
            draft.members.remove(&policy.file);
        });
        assert_eq!(none.said(), (1, "E_POLICY_MISSING"));
    }
}

#[test]
fn e18_refuses_a_manifest_that_miscounts_its_lines() {
    let changes: [fn(&mut Manifest); 3] = [
        |manifest| *manifest.counts.get_mut("redaction").unwrap() += 1,
        |manifest| manifest.counts.retain(|kind, _| kind != "redaction"),
        |manifest| manifest.counts.extend([("stop".to_owned(), 9)]),
    ];
    for draft in one_of_each() {
        for change in changes {
            let said = draft.clone().with(|draft| change(&mut draft.manifest)).said();
            assert_eq!(said, (1, "E_MANIFEST_COUNT"));
        }
    }
    let of_chain: [fn(&mut Segment); 4] = [
        |segment| segment.first_seq += 1,
        |segment| segment.last_seq += 1,
        |segment| segment.lines += 1,
        |segment| segment.checkpoints += 1,
    ];
    for draft in one_of_each().into_iter().take(2) {
        for change in of_chain {
            let said = draft.clone().with(|draft| change(&mut draft.manifest.chain[0])).said();
            assert_eq!(said, (1, "E_MANIFEST_COUNT"));
        }
        let boundary = draft.with(|draft| draft.manifest.first_boundary_hash = Some([1; 32]));
        assert_eq!(boundary.said(), (1, "E_MANIFEST_COUNT"));
    }
}

#[test]
fn e19_refuses_a_head_older_than_the_last_line() {
    let lines = log();
    let full = Draft::full(&lines).with(|draft| {
        draft.members.insert(HEAD.into(), head(&lines[..12]));
    });
    assert_eq!(full.said(), (1, "E_UNSIGNED_TAIL"));
    let other = Draft::range(&lines, 3, 8).with(|draft| {
        draft.members.insert(HEAD.into(), head(&lines[..12]));
    });
    assert_eq!(other.said(), (1, "E_HEAD_ROOT"));
}

#[test]
fn e23_wants_a_line_on_each_side_of_a_window_of_time() {
    let lines = log();
    let windowed = |from: usize, to: usize, since: usize, until: usize| {
        let draft = Draft::range(&lines, from, to);
        draft.with(|draft| {
            draft.manifest.since = Some(lines[since].ts);
            draft.manifest.until = Some(lines[until].ts);
        })
    };
    assert_eq!(windowed(3, 9, 4, 7).said(), (0, ""));
    assert_eq!(windowed(0, 15, 0, 14).said(), (0, ""), "the log has no lines beyond");
    assert_eq!(windowed(4, 9, 4, 7).said(), (1, "E_MANIFEST_RANGE"));
    assert_eq!(windowed(3, 8, 4, 7).said(), (1, "E_MANIFEST_RANGE"));
    // Lines from before or after the window would show that nothing happened in it.
    assert_eq!(windowed(9, 13, 4, 7).said(), (1, "E_MANIFEST_RANGE"));
    assert_eq!(windowed(1, 4, 5, 7).said(), (1, "E_MANIFEST_RANGE"));
}

fn longer() -> Vec<Line> {
    let mut lines = log();
    lines.extend([start(), redaction(8), stop(), checkpoint()]);
    let Body::Redaction(redaction) = &mut lines[16].body else { panic!("no redaction") };
    redaction.policy_hash = sha256(POLICY);
    sign(&mut lines);
    lines
}

fn tree_of(lines: &[Line]) -> Tree {
    Tree { origin: ORIGIN.into(), size: lines.len() as u64, root: root(lines) }
}

#[test]
fn c08_tells_that_a_later_bundle_extends_an_earlier_one() {
    let (first, second) = (log(), longer());
    let earlier = check(&Draft::full(&first).archive(), &options()).tree.unwrap();
    assert_eq!(earlier, tree_of(&first));
    let options = BundleOptions { previous: Some(earlier), ..options() };
    for draft in [
        Draft::full(&second),
        Draft::full(&second).previous(&second, 15),
        Draft::range(&second, 3, 9).previous(&second, 15),
        Draft::selection(&second, &[0, 3]).previous(&second, 15),
        Draft::selection(&first, &[0, 3]),
    ] {
        let report = check(&draft.archive(), &options);
        assert_eq!(report.code, None, "{report}");
        let size = report.tree.as_ref().unwrap().size;
        let said = format!("consistent with previous (size 15→{size})");
        assert!(report.to_string().contains(&said), "{report}");
    }
    let bare = Draft::range(&second, 3, 9).archive();
    assert_eq!(said_with(&bare, &options), (3, "E_NO_CONSISTENCY"));
}

#[test]
fn c09_c10_tells_a_fork_and_a_step_back() {
    let (first, second) = (log(), longer());
    let with = |tree: Tree| BundleOptions { previous: Some(tree), ..options() };
    let mut forked = first.clone();
    let Body::Redaction(redaction) = &mut forked[3].body else { panic!("no redaction") };
    redaction.redactions[0].kind = "OTHER".into();
    resign(&mut forked);
    for draft in [
        Draft::full(&second),
        Draft::range(&second, 3, 9).previous(&second, 15),
        Draft::selection(&second, &[0, 3]).previous(&second, 15),
    ] {
        let archive = draft.archive();
        assert_eq!(said_with(&archive, &with(tree_of(&forked))), (1, "E_FORK"));
        let later = Tree { size: 20, ..tree_of(&second) };
        assert_eq!(said_with(&archive, &with(later)), (1, "E_BEHIND_PREVIOUS"));
        let other = Tree { origin: "other".into(), ..tree_of(&first) };
        assert_eq!(said_with(&archive, &with(other)), (1, "E_ORIGIN"));
    }
    for draft in [Draft::full(&first), Draft::selection(&first, &[0, 3])] {
        assert_eq!(said_with(&draft.archive(), &with(tree_of(&forked))), (1, "E_FORK"));
    }
    let lying = Draft::range(&second, 3, 9).previous(&second, 15).with(|draft| {
        draft.manifest.previous = Some(Previous { tree_size: 15, root: root(&forked) });
    });
    assert_eq!(lying.said(), (1, "E_FORK"));
}

/// A receipt must be of its own line and proven by the bundle's own head.
#[test]
fn refuses_receipts_that_are_not_what_the_manifest_says() {
    let lines = log();
    let no_genesis = Draft::selection(&lines, &[3, 4]);
    assert_eq!(no_genesis.said(), (1, "E_GENESIS"));
    let swapped = Draft::selection(&lines, &[0, 3, 4]).with(|draft| {
        let name = |index: usize| format!("receipts/{:012}.tlog-proof", index + 1);
        let bytes = draft.members[&name(3)].clone();
        draft.manifest.receipts[2].sha256 = sha256(&bytes);
        draft.members.insert(name(4), bytes);
    });
    assert_eq!(swapped.said(), (1, "E_SEQ"));
    let older = Draft::selection(&lines, &[0, 3, 4]).with(|draft| {
        let mut old = Draft::selection(&lines[..12], &[3]);
        let (name, bytes) = old.members.pop_last().unwrap();
        draft.manifest.receipts[1].sha256 = sha256(&bytes);
        draft.members.insert(name, bytes);
    });
    assert_eq!(older.said(), (1, "E_HEAD_ROOT"));
}

/// In a full bundle too, where the lines alone would do.
#[test]
fn refuses_a_forged_receipt_beside_all_the_lines() {
    let lines = log();
    let honest = Draft::full(&lines).with(|draft| draft.receipt(&lines, 3));
    assert_eq!(honest.said(), (0, ""));
    let forged = Draft::full(&lines).with(|draft| {
        draft.receipt(&lines, 3);
        let (_, bytes) = draft.members.iter_mut().find(|it| it.0.starts_with("receipts/")).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        let proof = TlogProof::parse(text.as_bytes()).unwrap();
        let leaf = line::encode(&lines[4]).unwrap();
        *bytes = TlogProof { leaf, ..proof }.to_string().into_bytes();
        draft.manifest.receipts[0].sha256 = sha256(bytes);
    });
    assert_eq!(forged.said(), (1, "E_INCLUSION"));
}

/// E07: what is listed, signed and yet verified by nobody.
#[test]
fn refuses_members_that_only_lie_beside_the_evidence() {
    for name in ["REPORT.txt", "receipts/000000000099.tlog-proof", "policy/other.json", "log/tail"]
    {
        for draft in one_of_each() {
            let draft = draft.with(|draft| {
                draft.members.insert(name.into(), b"all is well".to_vec());
            });
            assert_eq!(draft.said(), (1, "E_FILE_UNLISTED"), "{name}");
        }
    }
}

/// Whoever holds an old key could name it in a log of his own and hand it over to himself.
#[test]
fn wants_the_pinned_key_on_the_head_where_the_handover_is_not_shown() {
    let lines = log();
    let evidence = PinnedKey::Named(vkey(&format!("{ORIGIN}/evidence"), &evidence_key()));
    let wrong = BundleOptions { pinned: evidence, ..options() };
    for draft in [Draft::range(&lines, 3, 8), Draft::selection(&lines, &[0, 3])] {
        assert_eq!(said_with(&draft.archive(), &wrong), (1, "E_KEY_ROLE"));
    }
}

#[test]
fn refuses_lines_under_any_other_name_than_the_chain_says() {
    let lines = log();
    let hidden = Draft::full(&lines).with(|draft| {
        draft.members.insert("log/proxy.000000000016-000000000017.jsonl".into(), b"x\n".to_vec());
    });
    assert_eq!(hidden.said(), (1, "E_MANIFEST_COUNT"));
}

#[test]
fn compares_a_bundle_with_anchors() {
    let lines = log();
    let with = |anchor: Vec<u8>| BundleOptions { anchors: vec![anchor], ..options() };
    for draft in one_of_each() {
        let archive = draft.archive();
        assert_eq!(said_with(&archive, &with(head(&lines))), (0, ""));
        assert_eq!(said_with(&archive, &with(head(&lines[..12]))), (0, ""));
        assert_eq!(said_with(&archive, &with(head(&longer()))), (1, "E_BEHIND_ANCHOR"));
    }
}

/// Any byte of the tar stream that changes, changes the verdict.
#[test]
fn no_byte_of_a_bundle_may_change() {
    let [.., selection] = one_of_each();
    let members = selection.sealed();
    for index in 0..members.len() {
        for at in [0, members[index].1.len() / 2, members[index].1.len() - 1] {
            let mut changed = members.clone();
            changed[index].1[at] ^= 1;
            assert_ne!(said(&archive(&changed)).0, 0, "{} at {at}", members[index].0);
        }
    }
    let whole = archive(&members);
    let mut reader = Reader::new(whole.as_slice());
    assert_eq!(reader.next_member().unwrap().unwrap().name, NOTE);
}
