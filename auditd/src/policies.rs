//! The effective policies that lines may name, each a file named by its own hash.

use std::collections::HashSet;
use std::io;

use protocol::append;
use protocol::evidence::{chain, hex};

use crate::storage::{POLICIES, Storage, read_all, replace};

/// Hashes of the policies that are durably stored.
#[derive(Debug, Default)]
pub(crate) struct Policies(HashSet<[u8; 32]>);

impl Policies {
    /// The policies that an earlier process stored. A file that does not hold what its name says
    /// is as good as none: the proxy sends its policy again.
    ///
    /// # Errors
    ///
    /// When the folder or a file in it cannot be read.
    pub(crate) fn load<S: Storage>(storage: &S) -> io::Result<Self> {
        let mut known = HashSet::new();
        for name in storage.list(POLICIES)? {
            let Some(hash) = name.strip_suffix(".json").and_then(hex::decode::<32>) else {
                continue;
            };
            let file = storage.open(&format!("{POLICIES}/{name}"))?;
            let bytes = read_all(&file, append::CAP)?;
            if bytes.is_some_and(|bytes| chain::link(&bytes) == hash) {
                known.insert(hash);
            } else {
                tracing::warn!(name, "stored policy does not hold what its name says");
            }
        }
        Ok(Self(known))
    }

    /// Whether lines may name `hash`.
    pub(crate) fn holds(&self, hash: &[u8; 32]) -> bool {
        self.0.contains(hash)
    }

    /// Stores a policy durably; once is enough.
    ///
    /// # Errors
    ///
    /// When the disk refuses. Then no line may name it.
    pub(crate) fn store<S: Storage>(&mut self, storage: &S, canonical: &[u8]) -> io::Result<()> {
        let hash = chain::link(canonical);
        if self.holds(&hash) {
            return Ok(());
        }
        let name = format!("{POLICIES}/{}.json", hex::encode(&hash));
        replace(storage, &format!("{POLICIES}/tmp"), &name, canonical)?;
        self.0.insert(hash);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::storage::model::{Model, Trouble};

    #[test]
    fn a_stored_policy_is_there_under_its_hash_after_every_crash() {
        let (model, mut policies) = (Model::new(), Policies::default());
        policies.store(&model, b"{}").unwrap();
        assert!(policies.holds(&chain::link(b"{}")));
        let name = "policy/44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a.json";
        assert!(model.survivors().iter().all(|files| files[name] == b"{}"));
    }

    #[test]
    fn loads_what_is_stored_and_nothing_that_lies_about_its_hash() {
        let (model, mut policies) = (Model::new(), Policies::default());
        policies.store(&model, b"{}").unwrap();
        let mut files = model.files();
        files.insert(format!("policy/{}.json", "0".repeat(64)), b"{}".to_vec());
        files.insert("policy/tmp".into(), b"{".to_vec());
        let loaded = Policies::load(&Model::holding(&files)).unwrap();
        assert!(loaded.holds(&chain::link(b"{}")));
        assert!(!loaded.holds(&[0; 32]));
    }

    #[test]
    fn a_policy_that_was_not_stored_may_not_be_named() {
        for at in 0..5 {
            let (model, mut policies) = (Model::new(), Policies::default());
            model.arm(at, Trouble::Fail(Errno::ENOSPC));
            assert!(policies.store(&model, b"{}").is_err(), "operation {at}");
            assert!(!policies.holds(&chain::link(b"{}")));
        }
    }
}
