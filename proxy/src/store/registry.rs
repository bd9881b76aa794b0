//! Values that an operator registered, in memory alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::arena::{Arena, BLOCK, Slot, blocks_for};
use super::index::{Filter, Footprint, Owner, Table};
use super::{spelling, useless};
use crate::placeholder::Kind;

/// Most registered values.
pub(super) const VALUES_MAX: usize = 1000;

/// Shortest value that can be registered, in bytes.
pub(crate) const VALUE_MIN: usize = 8;

/// Longest value that can be registered, in bytes.
pub(super) const VALUE_MAX: usize = 16 * 1024;

/// Room for all of them, in bytes; each takes whole blocks of it.
const BYTES: usize = 512 * 1024;

/// What can be told of a registered value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its number, by which it can be removed.
    pub id: u32,
    /// The TYPE of its placeholders.
    pub kind: Kind,
    /// When it was registered, in seconds since 1970.
    pub added: u64,
    /// How many requests held it.
    pub hits: u64,
}

/// Why a value is not registered. It says nothing of the value that its owner does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRegistered {
    /// It is shorter than [`VALUE_MIN`].
    Short,
    /// It is longer than [`VALUE_MAX`].
    Long,
    /// It has fewer than four different bytes.
    Monotonous,
    /// It is a short number.
    Number,
    /// It is a word, a name or a path that occurs everywhere.
    Common,
    /// It is part of what every request says.
    Protocol,
    /// It holds what a placeholder begins with.
    Placeholder,
    /// It is registered, under this number.
    Again(u32),
    /// There are too many.
    Full,
}

impl fmt::Display for NotRegistered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => {
                write!(f, "shorter than {VALUE_MIN} bytes: it would be found where it is not meant")
            }
            Self::Long => write!(f, "longer than {VALUE_MAX} bytes"),
            Self::Monotonous => f.write_str("has fewer than four different characters"),
            Self::Number => write!(f, "a number of fewer than {} digits", useless::DIGITS_MIN),
            Self::Common => f.write_str("a word, host or path that occurs everywhere"),
            Self::Protocol => {
                f.write_str("part of what requests always say: all of them would be refused")
            }
            Self::Placeholder => f.write_str("holds the beginning of a placeholder"),
            Self::Again(id) => write!(f, "registered already, as {id}"),
            Self::Full => write!(f, "no room: at most {VALUES_MAX} values of {BYTES} bytes in all"),
        }
    }
}

impl std::error::Error for NotRegistered {}

/// All registered values.
pub(super) struct Registry {
    arena: Arena,
    values: BTreeMap<u32, Value>,
    last: u32,
}

struct Value {
    slot: Slot,
    kind: Kind,
    added: u64,
    hits: u64,
    footprint: Footprint,
}

impl Registry {
    pub(super) fn new() -> Self {
        Self { arena: Arena::new(BYTES), values: BTreeMap::new(), last: 0 }
    }

    pub(super) fn is_locked(&self) -> bool {
        self.arena.is_locked()
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Registers `value` from now on.
    pub(super) fn add(
        &mut self,
        table: &mut Table,
        filter: &Filter,
        kind: Kind,
        value: &[u8],
        added: u64,
    ) -> Result<u32, NotRegistered> {
        useless::check(value)?;
        if let Some(id) = self.id_of(value) {
            return Err(NotRegistered::Again(id));
        }
        let id = self.last.checked_add(1).ok_or(NotRegistered::Full)?;
        if self.values.len() == VALUES_MAX {
            return Err(NotRegistered::Full);
        }
        let slot = self.arena.put(value).ok_or(NotRegistered::Full)?;
        let footprint = table.enter(filter, Owner::Registered(id), &spelling::all(value));
        self.values.insert(id, Value { slot, kind, added, hits: 0, footprint });
        self.last = id;
        Ok(id)
    }

    /// Forgets the value with this number, if there is one.
    pub(super) fn remove(&mut self, table: &mut Table, filter: &Filter, id: u32) -> bool {
        let Some(value) = self.values.remove(&id) else { return false };
        table.take_out(filter, Owner::Registered(id), &value.footprint);
        self.arena.take_back(value.slot);
        true
    }

    /// The number of `value`.
    pub(super) fn id_of(&self, value: &[u8]) -> Option<u32> {
        let same = |held: &&Value| self.arena.holds(&held.slot, value);
        self.values.iter().find(|(_, held)| same(held)).map(|(id, _)| *id)
    }

    /// All of them, the oldest first.
    pub(super) fn list(&self) -> Vec<Registered> {
        let told = |(id, value): (&u32, &Value)| Registered {
            id: *id,
            kind: value.kind.clone(),
            added: value.added,
            hits: value.hits,
        };
        self.values.iter().map(told).collect()
    }

    /// Notes that a request held these.
    pub(super) fn hit(&mut self, seen: &BTreeSet<u32>) {
        for id in seen {
            if let Some(value) = self.values.get_mut(id) {
                value.hits += 1;
            }
        }
    }

    /// The TYPE and bytes of a value.
    pub(super) fn get(&self, id: u32) -> Option<(&Kind, &Arena, &Slot)> {
        self.values.get(&id).map(|value| (&value.kind, &self.arena, &value.slot))
    }
}

/// The arena must hold as many values as may be registered, were they short.
const _: () = assert!(VALUES_MAX * BLOCK <= BYTES && blocks_for(VALUE_MIN) == 1);
