//! The seal link: checkpoints, signed by a witness that saves before it signs.

use std::io;
use std::time::Duration;

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
    /// Of the evidence key only the public half is told here.
    evidence_vkey: String,
    heads: Heads,
    signed: Journal,
    calls: Window,
}

impl Seal {
    pub(crate) fn new(log: NamedKey, evidence_vkey: String, heads: Heads, signed: Journal) -> Self {
        Self { log, evidence_vkey, heads, signed, calls: Window::new(CALLS, PER) }
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
        }
        let origin = self.log.verifier().name().to_owned();
        let text = Checkpoint { origin, size: head.size, root: head.root }.text();
        Ok(Reply::Signed {
            signature: self.log.sign(&text).to_vec(),
            key_id: self.log.verifier().id(),
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
            evidence_vkey: self.evidence_vkey.clone(),
            recovery_vkey: None,
        })
    }
}

/// One line for every checkpoint that a log line holds: `UNIX-SECONDS checkpoint SIZE ROOT`.
pub(crate) const SIGNED_LOG: &str = "signed.log";

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
            let heads = Heads::open(&self.vault).unwrap();
            Seal::new(log, String::new(), heads, Journal::open(&self.vault, SIGNED_LOG).unwrap())
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

    /// A full device stands in for any disk that does not save.
    #[test]
    fn signs_nothing_that_it_could_not_log() {
        let bench = Bench::new();
        let [tree, _] = forked();
        let mut seal = bench.start();
        seal.signed = Journal::to(std::fs::File::options().write(true).open("/dev/full").unwrap());
        seal.sign(&ask(&tree, 0, 3, true), NOW).unwrap_err();
    }
}
