//! Plaintexts by placeholder, and signed thinking, per scope. Time is a value.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::placeholder::{Kind, Minted, Tag};
use crate::restore::{Resolution, Resolve};

mod arena;
mod bindings;
mod index;
mod known;
mod registry;
mod scope;
mod spelling;
#[cfg(test)]
mod tests;
mod thinking;
mod useless;

pub use bindings::{Bindings, Joined};

use arena::{Arena, Slot, blocks_for};
use index::Filter;
use known::Known;
pub use known::KnownOf;
pub(crate) use registry::VALUE_MIN;
pub use registry::{NotRegistered, Registered};
pub use scope::{CREDENTIAL_HEADERS, Scope};
pub use thinking::{Thoughts, ThoughtsOf};

/// What a store may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most values.
    pub entries: usize,
    /// Most plaintext, in bytes; values take whole 64-byte blocks of it.
    pub bytes: usize,
    /// How long a value stays after its last use.
    pub ttl: Duration,
    /// How many values that left are remembered as gone.
    pub tombstones: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 10_000,
            bytes: 4 << 20,
            ttl: Duration::from_secs(4 * 60 * 60),
            tombstones: 100_000,
        }
    }
}

/// Why a request's values cannot be kept. The request must not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    /// Two plaintexts of one scope have the same HMAC8 (P1).
    Collision,
    /// What requests in flight hold leaves no room.
    Full,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Collision => "two values have the same placeholder",
            Self::Full => "plaintext store is full",
        })
    }
}

impl std::error::Error for StoreError {}

/// Plaintexts by scope, TYPE and HMAC8.
pub struct Store {
    limits: Limits,
    hasher: RandomState,
    filter: Filter,
    inner: Mutex<Inner>,
}

type Key = (Scope, Tag);

struct Inner {
    arena: Arena,
    entries: HashMap<Key, Entry>,
    /// Unpinned entries by when they were last used.
    idle: BTreeMap<u64, Key>,
    turn: u64,
    /// The latest time heard of: time does not run backwards.
    now: Option<Instant>,
    pinned_blocks: usize,
    known: Known,
    tombstones: HashSet<u64>,
    oldest_tombstones: VecDeque<u64>,
}

struct Entry {
    slot: Slot,
    kinds: Vec<Kind>,
    pins: usize,
    used: Instant,
    turn: u64,
}

/// Keeps a request's values in the store until it is dropped: hold it until the response has ended.
#[must_use]
pub struct Pin {
    store: Arc<Store>,
    keys: Vec<Key>,
    has_learnt: bool,
}

impl Pin {
    /// Its values, for requests that go on from this one.
    #[must_use]
    pub fn values(&self) -> Joined {
        Joined::of(self.keys.iter().copied())
    }

    /// Whether a value is a secret to this client from now on that was none to it before, wherever
    /// no pattern says so.
    #[must_use]
    pub fn has_learnt(&self) -> bool {
        self.has_learnt
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.store.inner().unpin(&self.keys);
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({} values)", self.keys.len())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({} values)", self.len())
    }
}

impl Store {
    /// An empty store. Its memory is taken, and locked where the system allows, at once.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let inner = Inner {
            arena: Arena::new(limits.bytes),
            entries: HashMap::new(),
            idle: BTreeMap::new(),
            turn: 0,
            now: None,
            pinned_blocks: 0,
            known: Known::new(),
            tombstones: HashSet::new(),
            oldest_tombstones: VecDeque::new(),
        };
        let hasher = RandomState::new();
        Self { limits, hasher, filter: Filter::new(), inner: Mutex::new(inner) }
    }

    /// Whether the plaintext memory is locked: the system cannot write it to swap.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        let inner = self.inner();
        inner.arena.is_locked() && inner.known.registry.is_locked()
    }

    /// How many values are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner().entries.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps all of a request's values, new and old, or none.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the store is then as it was.
    pub fn pin(
        self: &Arc<Self>,
        scope: Scope,
        values: &[Minted],
        now: Instant,
    ) -> Result<Pin, StoreError> {
        let mut inner = self.inner();
        inner.expire(self, now);
        let mut fresh: HashMap<Tag, &Minted> = HashMap::new();
        let mut known: HashSet<Key> = HashSet::new();
        for value in values {
            let plaintext = value.plaintext.expose();
            let same = match inner.entries.get(&(scope, value.tag)) {
                Some(entry) => {
                    known.insert((scope, value.tag));
                    inner.arena.holds(&entry.slot, plaintext)
                }
                None => fresh.entry(value.tag).or_insert(value).plaintext.expose() == plaintext,
            };
            if !same {
                return Err(StoreError::Collision);
            }
        }
        if !inner.could_hold(&known, &fresh, self.limits.entries) {
            return Err(StoreError::Full);
        }
        let mut keys: Vec<Key> = known.into_iter().collect();
        inner.hold(&keys);
        for (tag, value) in fresh {
            if let Err(error) = inner.insert(self, (scope, tag), value.plaintext.expose()) {
                inner.unpin(&keys);
                return Err(error);
            }
            keys.push((scope, tag));
        }
        let mut has_learnt = false;
        for value in values {
            let key = (scope, value.tag);
            inner.name(&key, &value.kind);
            let Minted { plaintext, sticky, .. } = value;
            has_learnt |= inner.known.hold(&self.filter, key, plaintext.expose(), *sticky);
        }
        drop(inner);
        Ok(Pin { store: Arc::clone(self), keys, has_learnt })
    }

    /// What placeholders of `scope` stand for, at `now`.
    #[must_use]
    pub fn resolver(&self, scope: Scope, now: Instant) -> Resolver<'_> {
        Resolver { store: self, scope, now, joined: &[] }
    }

    fn tombstone(&self, (scope, tag): &Key, kind: &str) -> u64 {
        self.hasher.hash_one((scope, tag, kind))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing that runs under the lock can leave it half done and unwind; a poisoned lock
        // would otherwise take every later request down with it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Drops what has not been used for the time to live.
    fn expire(&mut self, store: &Store, now: Instant) -> Instant {
        let now = self.now.map_or(now, |latest| latest.max(now));
        self.now = Some(now);
        while let Some((_, key)) = self.idle.first_key_value() {
            let fresh = self
                .entries
                .get(key)
                .is_some_and(|entry| now.saturating_duration_since(entry.used) <= store.limits.ttl);
            if fresh {
                break;
            }
            self.evict_oldest(store);
        }
        now
    }

    fn evict_oldest(&mut self, store: &Store) {
        let Some((_, key)) = self.idle.pop_first() else { return };
        let Some(entry) = self.entries.remove(&key) else { return };
        self.known.let_go(&store.filter, key);
        self.arena.take_back(entry.slot);
        for kind in entry.kinds {
            let tombstone = store.tombstone(&key, kind.as_str());
            if self.tombstones.insert(tombstone) {
                self.oldest_tombstones.push_back(tombstone);
            }
        }
        while self.oldest_tombstones.len() > store.limits.tombstones {
            if let Some(oldest) = self.oldest_tombstones.pop_front() {
                self.tombstones.remove(&oldest);
            }
        }
    }

    /// Whether everything fits once all that is neither pinned nor asked for has left.
    fn could_hold(
        &self,
        known: &HashSet<Key>,
        fresh: &HashMap<Tag, &Minted>,
        entries: usize,
    ) -> bool {
        let idle = known.iter().filter_map(|key| self.entries.get(key)).filter(|e| e.pins == 0);
        let (claimed, claimed_blocks) =
            idle.fold((0, 0), |(n, blocks), entry| (n + 1, blocks + entry.slot.blocks()));
        let needed: usize =
            fresh.values().map(|value| blocks_for(value.plaintext.expose().len())).sum();
        let pinned = self.entries.len() - self.idle.len();
        pinned + claimed + fresh.len() <= entries
            && self.pinned_blocks + claimed_blocks + needed <= self.arena.blocks()
    }

    fn hold(&mut self, keys: &[Key]) {
        for key in keys {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            if entry.pins == 0 {
                self.idle.remove(&entry.turn);
                self.pinned_blocks += entry.slot.blocks();
            }
            entry.pins += 1;
        }
    }

    fn unpin(&mut self, keys: &[Key]) {
        let now = self.now;
        for key in keys {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            entry.pins -= 1;
            if entry.pins == 0 {
                self.turn += 1;
                entry.turn = self.turn;
                entry.used = now.unwrap_or(entry.used);
                self.idle.insert(self.turn, *key);
                self.pinned_blocks -= entry.slot.blocks();
            }
        }
    }

    /// Adds a value, pinned once, in place of as many idle ones as it takes.
    fn insert(&mut self, store: &Store, key: Key, plaintext: &[u8]) -> Result<(), StoreError> {
        while !self.idle.is_empty()
            && (self.entries.len() >= store.limits.entries
                || self.arena.blocks_free() < blocks_for(plaintext.len()))
        {
            self.evict_oldest(store);
        }
        let slot = self.arena.put(plaintext).ok_or(StoreError::Full)?;
        let used = self.now.ok_or(StoreError::Full)?;
        self.pinned_blocks += slot.blocks();
        self.entries.insert(key, Entry { slot, kinds: Vec::new(), pins: 1, used, turn: 0 });
        Ok(())
    }

    fn name(&mut self, key: &Key, kind: &Kind) {
        if let Some(entry) = self.entries.get_mut(key)
            && !entry.kinds.contains(kind)
        {
            entry.kinds.push(kind.clone());
        }
    }

    fn touch(&mut self, key: &Key, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.used = now;
        if entry.pins == 0 {
            self.idle.remove(&entry.turn);
            self.turn += 1;
            entry.turn = self.turn;
            self.idle.insert(self.turn, *key);
        }
    }
}

/// Resolves one scope's placeholders.
#[derive(Debug)]
pub struct Resolver<'s> {
    store: &'s Store,
    scope: Scope,
    now: Instant,
    joined: &'s [Key],
}

impl<'s> Resolver<'s> {
    /// Resolves these values besides the scope's own.
    #[must_use]
    pub fn with(self, joined: &'s Joined) -> Self {
        Self { joined: joined.keys(), ..self }
    }
}

impl Resolve for Resolver<'_> {
    fn resolve(&self, kind: &str, tag: Tag, out: &mut Vec<u8>) -> Resolution {
        let joined = self.joined.iter().copied().filter(|(_, joined)| *joined == tag);
        let mut inner = self.store.inner();
        let now = inner.expire(self.store, self.now);
        let mut resolution = Resolution::Unknown;
        for key in std::iter::once((self.scope, tag)).chain(joined) {
            match inner.entries.get(&key) {
                Some(entry) if entry.kinds.iter().any(|known| known.as_str() == kind) => {
                    out.extend(inner.arena.parts(&entry.slot).flatten());
                    inner.touch(&key, now);
                    return Resolution::Known;
                }
                _ if inner.tombstones.contains(&self.store.tombstone(&key, kind)) => {
                    resolution = Resolution::Gone;
                }
                _ => {}
            }
        }
        resolution
    }
}
