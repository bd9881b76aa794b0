//! Which values an id of a provider's stands for: those of the exchange it was handed out in.
//!
//! A provider keeps conversations, files and batches under ids, and a later request names one
//! instead of sending all of it again. That request may come with another credential (an OAuth
//! token that was refreshed), hence in another scope; with the id go the placeholders of what is
//! kept under it, and no others.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Key;
use crate::placeholder::SessionKey;

/// Most ids that are remembered.
const IDS: usize = 8192;

/// Most values that are remembered over all ids; one id's count once for each.
const VALUES: usize = 65_536;

/// Most values of one id: the latest ones.
pub(crate) const VALUES_OF_ONE: usize = 1024;

/// Values by where they are kept, of whatever scopes. Says nothing of what they are.
#[derive(Clone, Default)]
pub struct Joined(Arc<[Key]>);

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Joined({} values)", self.0.len())
    }
}

impl Joined {
    /// These values, of which the latest are kept.
    pub(super) fn of(keys: impl IntoIterator<Item = Key>) -> Self {
        Self::default().and_all(keys)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These and the `other` ones, which are later.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        if other.is_empty() { self.clone() } else { self.and_all(other.0.iter().copied()) }
    }

    /// Where values are kept.
    pub(super) fn keys(&self) -> &[Key] {
        &self.0
    }

    fn and_all(&self, keys: impl IntoIterator<Item = Key>) -> Self {
        let mut seen: HashSet<Key> = self.0.iter().copied().collect();
        let mut all = self.0.to_vec();
        all.extend(keys.into_iter().filter(|key| seen.insert(*key)));
        let surplus = all.len().saturating_sub(VALUES_OF_ONE);
        Self(all[surplus..].into())
    }
}

/// Values by the ids that stand for them. Ids are kept as keyed hashes.
pub struct Bindings {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    bound: HashMap<[u8; 32], Bound>,
    /// By when they were last used.
    order: BTreeMap<u64, [u8; 32]>,
    turn: u64,
    values: usize,
}

struct Bound {
    joined: Joined,
    turn: u64,
}

impl fmt::Debug for Bindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bindings({} ids)", self.inner().bound.len())
    }
}

impl Default for Bindings {
    fn default() -> Self {
        Self::new()
    }
}

impl Bindings {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: Mutex::default() }
    }

    /// Whether no id stands for anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner().bound.is_empty()
    }

    /// `host` handed out `id` in an exchange with these values. What it stood for, it still does.
    pub fn bind(&self, key: &SessionKey, host: &str, id: &str, values: &Joined) {
        if values.is_empty() {
            return;
        }
        let name = name(key, host, id);
        let mut inner = self.inner();
        let known = inner.take(&name).unwrap_or_default();
        inner.put(name, known.and(values));
        while inner.bound.len() > IDS || inner.values > VALUES {
            let Some((_, oldest)) = inner.order.first_key_value() else { break };
            let oldest = *oldest;
            inner.take(&oldest);
        }
    }

    /// What `id` stands for, if it is one that `host` handed out.
    #[must_use]
    pub fn named(&self, key: &SessionKey, host: &str, id: &str) -> Option<Joined> {
        let name = name(key, host, id);
        let mut inner = self.inner();
        let joined = inner.take(&name)?;
        inner.put(name, joined.clone());
        Some(joined)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing that runs under the lock can leave it half done and unwind.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn take(&mut self, name: &[u8; 32]) -> Option<Joined> {
        let Bound { joined, turn } = self.bound.remove(name)?;
        self.order.remove(&turn);
        self.values -= joined.0.len();
        Some(joined)
    }

    fn put(&mut self, name: [u8; 32], joined: Joined) {
        self.turn += 1;
        self.values += joined.0.len();
        self.order.insert(self.turn, name);
        self.bound.insert(name, Bound { joined, turn: self.turn });
    }
}

fn name(key: &SessionKey, host: &str, id: &str) -> [u8; 32] {
    // Neither a host name nor an id can hold a NUL.
    key.digest(&[b"id\0", host.as_bytes(), b"\0", id.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placeholder::Tag;
    use crate::store::Scope;

    const HOST: &str = "api.openai.com";

    fn key() -> SessionKey {
        SessionKey::new([1; 32])
    }

    fn scope(credential: &'static str) -> Scope {
        Scope::of(&key(), HOST, |name| (name == "authorization").then_some(credential.as_bytes()))
    }

    fn value(credential: &'static str, number: usize) -> Key {
        let number = u64::try_from(number).unwrap();
        (scope(credential), Tag(number.to_be_bytes()))
    }

    fn values(credential: &'static str, numbers: std::ops::Range<usize>) -> Joined {
        Joined::of(numbers.map(|number| value(credential, number)))
    }

    #[test]
    fn an_id_stands_for_what_it_was_handed_out_with_at_that_host_alone() {
        let bindings = Bindings::new();
        assert!(bindings.is_empty());
        bindings.bind(&key(), HOST, "resp_a", &values("one", 0..2));
        let named = |host, id| bindings.named(&key(), host, id).map(|it| it.keys().to_vec());
        assert_eq!(named(HOST, "resp_a"), Some(values("one", 0..2).keys().to_vec()));
        assert_eq!(named(HOST, "resp_b"), None);
        assert_eq!(named("api.anthropic.com", "resp_a"), None);
    }

    #[test]
    fn an_id_without_values_takes_no_room() {
        let bindings = Bindings::new();
        bindings.bind(&key(), HOST, "resp_a", &Joined::default());
        assert!(bindings.is_empty());
    }

    #[test]
    fn values_gather_under_an_id_of_several_exchanges() {
        let bindings = Bindings::new();
        bindings.bind(&key(), HOST, "conv_a", &values("one", 0..2));
        bindings.bind(&key(), HOST, "conv_a", &values("two", 1..3));
        let all = bindings.named(&key(), HOST, "conv_a").unwrap();
        assert_eq!(all.keys().len(), 4);
        assert_eq!(all.and(&values("one", 0..2)).keys().len(), 4);
    }

    #[test]
    fn memory_is_bounded_and_what_was_used_last_stays() {
        let bindings = Bindings::new();
        bindings.bind(&key(), HOST, "resp_used", &values("one", 0..1));
        for number in 0..IDS {
            bindings.bind(&key(), HOST, &format!("resp_{number}"), &values("one", 0..1));
            assert!(bindings.named(&key(), HOST, "resp_used").is_some());
        }
        assert!(bindings.named(&key(), HOST, "resp_0").is_none());
        assert_eq!(bindings.inner().bound.len(), IDS);
        let many = values("two", 0..2 * VALUES_OF_ONE);
        assert_eq!(many.keys().len(), VALUES_OF_ONE);
        assert_eq!(many.keys().last(), Some(&value("two", 2 * VALUES_OF_ONE - 1)));
        for number in 0..2 * VALUES / VALUES_OF_ONE {
            bindings.bind(&key(), HOST, &format!("file-{number}"), &many);
        }
        let inner = bindings.inner();
        assert!(inner.values <= VALUES && inner.order.len() == inner.bound.len());
    }
}
