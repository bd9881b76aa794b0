//! The seal link: checkpoints, signed by a witness that saves before it signs, and manifests.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use protocol::evidence::bundle::Statement;
use protocol::evidence::checkpoint::Checkpoint;
use protocol::evidence::hex;
use protocol::evidence::merkle::Hash;
use protocol::seal::{Refusal, Reply, Status};

use crate::clock::Now;
use crate::heads::{Head, Heads};
use crate::journal::Journal;
use crate::keys::NamedKey;
use crate::limit::Window;
use crate::witness;

/// What is asked to be signed.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) old_size: u64,
    pub(crate) head: Head,
    pub(crate) proof: Vec<Hash>,
    pub(crate) in_log: bool,
}

/// The witness and its log key.
pub(crate) struct Seal {
    log: NamedKey,
    evidence: NamedKey,
    heads: Heads,
    signed: Journal,
    /// Trees that checkpoint lines are of, the newest last.
    in_log: VecDeque<Head>,
    calls: Window,
}

impl Seal {
    /// # Errors
    ///
    /// When what was signed before cannot be read back.
    pub(crate) fn new(
        log: NamedKey,
        evidence: NamedKey,
        heads: Heads,
        mut signed: Journal,
    ) -> io::Result<Self> {
        let in_log = signed.last_lines(REMEMBERED)?.iter().filter_map(|it| head_of(it)).collect();
        Ok(Self { log, evidence, heads, signed, in_log, calls: Window::new(CALLS, PER) })
    }

    /// Signs the checkpoint, or says why not.
    ///
    /// The new head is on the disk before its signature exists, so that no crash makes the signer
    /// forget what it signed. What is signed is composed here, from the fields and the signer's
    /// own origin.
    ///
    /// # Errors
    ///
    /// When the head or its line could not be saved: nothing was signed, and nothing further may
    /// be before the files are read anew.
    pub(crate) fn sign(&mut self, ask: &Ask, now: Now) -> io::Result<Reply> {
        if !self.calls.admits(now.monotonic) {
            return Ok(Reply::Refused(Refusal::RateLimited));
        }
        let head = match witness::next(self.heads.head(), ask.old_size, ask.head, &ask.proof) {
            Ok(head) => head,
            Err(refusal) => return Ok(Reply::Refused(refusal)),
        };
        if head != self.heads.head() {
            self.heads.save(head)?;
        }
        if ask.in_log {
            let Head { size, root } = head;
            self.signed.append(&format!(
                "{} checkpoint {size} {}",
                now.unix,
                hex::encode(&root)
            ))?;
            self.remember(head);
        }
        let origin = self.log.verifier().name().to_owned();
        let text = Checkpoint { origin, size: head.size, root: head.root }.text();
        Ok(Reply::Signed {
            signature: self.log.sign(&text).to_vec(),
            key_id: self.log.verifier().id(),
        })
    }

    fn remember(&mut self, head: Head) {
        self.in_log.push_back(head);
        if self.in_log.len() > REMEMBERED {
            self.in_log.pop_front();
        }
    }

    /// Signs the statement that a bundle of the tree `head` has the manifest `sha256`, or says why
    /// not. The text is composed here; the evidence key signs no other.
    ///
    /// # Errors
    ///
    /// As for [`Seal::sign`].
    pub(crate) fn sign_manifest(
        &mut self,
        sha256: [u8; 32],
        head: Head,
        now: Now,
    ) -> io::Result<Reply> {
        if !self.calls.admits(now.monotonic) {
            return Ok(Reply::Refused(Refusal::RateLimited));
        }
        if !self.in_log.contains(&head) {
            return Ok(Reply::Refused(Refusal::NotSigned));
        }
        let line = format!("{} manifest {} {}", now.unix, head.size, hex::encode(&sha256));
        self.signed.append(&line)?;
        let origin = self.log.verifier().name().to_owned();
        Ok(Reply::Signed {
            signature: self.evidence.sign(&Statement { origin, sha256 }.text()).to_vec(),
            key_id: self.evidence.verifier().id(),
        })
    }

    /// What the signer holds, within the same rate.
    pub(crate) fn status(&mut self, now: Now) -> Reply {
        if !self.calls.admits(now.monotonic) {
            return Reply::Refused(Refusal::RateLimited);
        }
        let Head { size, root } = self.heads.head();
        Reply::Status(Status {
            origin: self.log.verifier().name().to_owned(),
            size,
            root,
            log_vkey: self.log.verifier().to_string(),
            evidence_vkey: self.evidence.verifier().to_string(),
            recovery_vkey: None,
        })
    }
}

/// The tree that a line of `signed.log` is of, where it is about a checkpoint.
fn head_of(line: &str) -> Option<Head> {
    let mut words = line.split(' ').skip(1);
    if words.next()? != "checkpoint" {
        return None;
    }
    let (size, root) = (words.next()?.parse().ok()?, hex::decode(words.next()?)?);
    Some(Head { size, root })
}

/// One line for every checkpoint that a log line holds: `UNIX-SECONDS checkpoint SIZE ROOT`; and for
/// every manifest: `UNIX-SECONDS manifest SIZE SHA256`.
pub(crate) const SIGNED_LOG: &str = "signed.log";

/// For so many checkpoint lines back a bundle's manifest is signed: more than a million lines of a
/// busy log, so that a long export is not overtaken.
const REMEMBERED: usize = 4096;

/// Calls in any span of [`PER`].
const CALLS: usize = 200;

const PER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ed25519_dalek::pkcs8::DecodePrivateKey;
    use proptest::prelude::*;
    use protocol::evidence::merkle::{Tree, leaf_hash};
    use protocol::evidence::note::VerifierKey;

    use super::*;
    use crate::heads::tests::{crash_while_saving, vault};
    use crate::keys;
    use crate::vault::{LOG_MODE, NewFile, Vault};

    const NOW: Now = Now { monotonic: Duration::ZERO, unix: 1_800_000_000 };

    struct Bench {
        _home: tempfile::TempDir,
        vault: Vault,
        key: zeroize::Zeroizing<String>,
    }

    impl Bench {
        fn new() -> Self {
            let (home, vault) = vault();
            let log = NewFile { name: SIGNED_LOG, mode: LOG_MODE, bytes: Vec::new().into() };
            vault.commit(&[log]).unwrap();
            Self { _home: home, vault, key: keys::generate().unwrap() }
        }

        fn start(&self) -> Seal {
            let signing = ed25519_dalek::SigningKey::from_pkcs8_pem(&self.key).unwrap();
            let log = NamedKey::new("log.example", signing).unwrap();
            let evidence = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
            let evidence = NamedKey::new("log.example/evidence", evidence).unwrap();
            let heads = Heads::open(&self.vault).unwrap();
            let signed = Journal::open(&self.vault, SIGNED_LOG).unwrap();
            Seal::new(log, evidence, heads, signed).unwrap()
        }
    }

    /// Two logs that are one up to 10 leaves and different from there on.
    fn forked() -> [Tree; 2] {
        [0u8, 1].map(|fork| {
            let mut tree = Tree::new();
            for leaf in 0..40u8 {
                tree.append(leaf_hash(&[leaf, if leaf < 10 { 0 } else { fork }]));
            }
            tree
        })
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// Ask for a size of one of the logs, with its true proof from a claimed size.
        Ask { fork: usize, old: Option<u64>, new: u64, in_log: bool },
        /// Die after so many bytes of the state for such a request are written, and start again.
        Crash { fork: usize, new: u64, at: usize },
        /// Die between requests, and start again.
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0usize..2, prop::option::weighted(0.2, 0u64..40), 0u64..=40, any::<bool>())
                .prop_map(|(fork, old, new, in_log)| Step::Ask { fork, old, new, in_log }),
            2 => (0usize..2, 0u64..=40, 0usize..200)
                .prop_map(|(fork, new, at)| Step::Crash { fork, new, at }),
            1 => Just(Step::Restart),
        ]
    }

    fn ask(tree: &Tree, old: u64, new: u64, in_log: bool) -> Ask {
        let head = Head { size: new, root: tree.root_at(new).unwrap() };
        let proof = tree.consistency_proof(old, new).unwrap_or_default();
        Ask { old_size: old, head, proof, in_log }
    }

    /// What one signer ever signed: roots by size. Every signature must be over the checkpoint
    /// text of exactly that size and root, under the signer's own origin (G08).
    #[derive(Default)]
    struct Signed(BTreeMap<u64, Hash>);

    impl Signed {
        fn note(&mut self, key: &VerifierKey, head: Head, signature: &[u8]) {
            let text = format!("log.example\n{}\n{}\n", head.size, base64(&head.root));
            assert!(key.verifies(text.as_bytes(), signature.try_into().unwrap()));
            let root = *self.0.entry(head.size).or_insert(head.root);
            assert_eq!(root, head.root, "two roots for size {}", head.size);
            assert_eq!(self.0.last_key_value(), Some((&head.size, &head.root)), "went back");
        }
    }

    fn base64(root: &Hash) -> String {
        let text = Checkpoint { origin: "x".into(), size: 0, root: *root }.text();
        text.lines().nth(2).unwrap().to_owned()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn neither_callers_nor_crashes_get_two_roots_for_one_size(
            steps in prop::collection::vec(step(), 1..40),
        ) {
            let bench = Bench::new();
            let trees = forked();
            let mut seal = bench.start();
            let key = seal.log.verifier().clone();
            let mut signed = Signed::default();
            for step in steps {
                match step {
                    Step::Ask { fork, old, new, in_log } => {
                        let old = old.unwrap_or(seal.heads.head().size);
                        let ask = ask(&trees[fork], old, new, in_log);
                        let reply = seal.sign(&ask, NOW).unwrap();
                        if let Reply::Signed { signature, .. } = reply {
                            signed.note(&key, ask.head, &signature);
                        }
                    }
                    Step::Crash { fork, new, at } => {
                        let old = seal.heads.head();
                        let ask = ask(&trees[fork], old.size, new, true);
                        if let Ok(head) = witness::next(old, old.size, ask.head, &ask.proof) {
                            crash_while_saving(&seal.heads, head, at);
                        }
                        drop(seal);
                        seal = bench.start();
                    }
                    Step::Restart => {
                        drop(seal);
                        seal = bench.start();
                    }
                }
            }
        }
    }

    #[test]
    fn logs_a_checkpoint_only_when_a_log_line_will_hold_it() {
        let bench = Bench::new();
        let [tree, _] = forked();
        let mut seal = bench.start();
        seal.sign(&ask(&tree, 0, 3, false), NOW).unwrap();
        seal.sign(&ask(&tree, 3, 5, true), NOW).unwrap();
        let log = std::fs::read_to_string(bench.vault.path(SIGNED_LOG)).unwrap();
        let root = hex::encode(&tree.root_at(5).unwrap());
        assert_eq!(log, format!("1800000000 checkpoint 5 {root}\n"));
    }

    #[test]
    fn refuses_the_call_after_the_200th_within_a_second() {
        let bench = Bench::new();
        let [tree, _] = forked();
        let mut seal = bench.start();
        for call in 0..200 {
            let now = Now { monotonic: Duration::from_millis(call * 4), ..NOW };
            let reply = seal.sign(&ask(&tree, if call == 0 { 0 } else { 3 }, 3, false), now);
            assert!(matches!(reply.unwrap(), Reply::Signed { .. }));
        }
        let at = |ms| Now { monotonic: Duration::from_millis(ms), ..NOW };
        let limited = Reply::Refused(Refusal::RateLimited);
        assert_eq!(seal.status(at(999)), limited);
        assert_eq!(seal.sign(&ask(&tree, 3, 4, false), at(999)).unwrap(), limited);
        assert_eq!(seal.heads.head().size, 3);
        assert!(matches!(seal.status(at(1000)), Reply::Status(_)));
    }

    /// G08: the evidence key signs that a manifest has a hash, for trees whose checkpoint stands in
    /// the log, also after a restart; and nothing else.
    #[test]
    fn signs_manifests_of_trees_that_checkpoint_lines_are_of_and_of_no_other() {
        let bench = Bench::new();
        let [tree, other] = forked();
        let head = |tree: &Tree, size| Head { size, root: tree.root_at(size).unwrap() };
        let mut seal = bench.start();
        seal.sign(&ask(&tree, 0, 12, true), NOW).unwrap();
        seal.sign(&ask(&tree, 12, 20, false), NOW).unwrap();
        for _ in 0..2 {
            let not_signed = Reply::Refused(Refusal::NotSigned);
            for head in [head(&tree, 11), head(&tree, 20), head(&other, 12)] {
                assert_eq!(seal.sign_manifest([5; 32], head, NOW).unwrap(), not_signed);
            }
            let reply = seal.sign_manifest([5; 32], head(&tree, 12), NOW).unwrap();
            let Reply::Signed { signature, key_id } = reply else { panic!("{reply:?}") };
            let text = format!(
                "waterwall evidence manifest v1\nlog.example\n{}  MANIFEST.json\n",
                "05".repeat(32)
            );
            let key = seal.evidence.verifier();
            assert!(key.verifies(text.as_bytes(), signature.as_slice().try_into().unwrap()));
            assert_eq!(key_id, key.id());
            drop(seal);
            seal = bench.start();
        }
        let log = std::fs::read_to_string(bench.vault.path(SIGNED_LOG)).unwrap();
        assert_eq!(log.lines().filter(|line| line.contains(" manifest 12 0505")).count(), 2);
    }

    /// A full device stands in for any disk that does not save.
    #[test]
    fn signs_nothing_that_it_could_not_log() {
        let bench = Bench::new();
        let [tree, _] = forked();
        let mut seal = bench.start();
        seal.signed = Journal::to(std::fs::File::options().write(true).open("/dev/full").unwrap());
        seal.sign(&ask(&tree, 0, 3, true), NOW).unwrap_err();
        seal.remember(Head { size: 3, root: tree.root_at(3).unwrap() });
        seal.sign_manifest([5; 32], seal.in_log[0], NOW).unwrap_err();
    }
}
