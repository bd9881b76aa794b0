//! Values known to be secrets whatever their shape: what an operator registered, and what was
//! tokenized before and is still held.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::time::Instant;

use zeroize::Zeroizing;

use super::arena::{Arena, Slot};
use super::index::{Filter, Footprint, Hash, Owner, SPELLING_MIN, Table, Window};
use super::registry::{NotRegistered, Registered, Registry, VALUE_MIN};
use super::spelling::{self, Spelling};
use super::{Inner, Scope, Store};
use crate::placeholder::{Kind, Sticky, Tag};
use crate::redact::{self, Exhausted, KnownSpan, KnownValues};

/// Shortest tokenized value that is found again, in bytes.
pub(super) const STICKY_MIN: usize = 16;

/// How many bytes of known values may be compared for each byte of a text.
const COMPARED_MAX: usize = 64;

/// How many may be in any text, which may be but a part of one.
const COMPARED_LEAST: usize = 16 * 1024;

/// Most windows of known values that are told apart in raw JSON.
const CROWD: usize = 64;

/// Longest spelling of a byte in JSON.
const ESCAPE: usize = 6;

/// What a comparison costs that ends at once, in bytes compared.
const COMPARISON: usize = 16;

const _: () = assert!(SPELLING_MIN <= VALUE_MIN && VALUE_MIN <= STICKY_MIN);

/// All known values but their filter, which is read without the lock.
pub(super) struct Known {
    table: Table,
    sticky: HashMap<Tag, Holders>,
    pub(super) registry: Registry,
}

/// The scopes that hold a value. A tag is one value's in all of them: should two ever share it, the
/// later one is not found again.
struct Holders {
    footprint: Footprint,
    scopes: Vec<(Scope, Sticky)>,
}

impl Known {
    pub(super) fn new() -> Self {
        Self { table: Table::default(), sticky: HashMap::new(), registry: Registry::new() }
    }

    /// Finds `value` again from now on, as far as `scope` makes it `sticky`. True where it was not
    /// found there before.
    pub(super) fn hold(
        &mut self,
        filter: &Filter,
        (scope, tag): (Scope, Tag),
        value: &[u8],
        sticky: Sticky,
    ) -> bool {
        if sticky == Sticky::No || value.len() < STICKY_MIN {
            return false;
        }
        let holders = self.sticky.entry(tag).or_insert_with(|| Holders {
            footprint: self.table.enter(filter, Owner::Sticky(tag), &spelling::few(value)),
            scopes: Vec::new(),
        });
        let was_found = holders.is_found_by(Some(scope));
        match holders.scopes.iter_mut().find(|(holder, _)| *holder == scope) {
            Some((_, held)) => *held = sticky.max(*held),
            None => holders.scopes.push((scope, sticky)),
        }
        !was_found
    }

    /// `scope` does not hold the value any more.
    pub(super) fn let_go(&mut self, filter: &Filter, (scope, tag): (Scope, Tag)) {
        let Some(holders) = self.sticky.get_mut(&tag) else { return };
        holders.scopes.retain(|(holder, _)| *holder != scope);
        if holders.scopes.is_empty()
            && let Some(holders) = self.sticky.remove(&tag)
        {
            self.table.take_out(filter, Owner::Sticky(tag), &holders.footprint);
        }
    }

    #[cfg(test)]
    pub(super) fn windows(&self) -> usize {
        self.table.len()
    }
}

impl Holders {
    fn is_found_by(&self, scope: Option<Scope>) -> bool {
        self.holder_for(scope).is_some()
    }

    /// The scope whose value it is where a client of `scope` sends it: its own, else one where it
    /// is a secret by its shape.
    fn holder_for(&self, scope: Option<Scope>) -> Option<Scope> {
        let own = self.scopes.iter().find(|(holder, _)| Some(*holder) == scope);
        let any = || self.scopes.iter().find(|(_, sticky)| *sticky == Sticky::Everywhere);
        own.or_else(any).map(|(holder, _)| *holder)
    }
}

impl Store {
    /// The values that are secrets to a client of `scope`, at `now`.
    pub fn known(&self, scope: Scope, now: Instant) -> KnownOf<'_> {
        self.inner().expire(self, now);
        KnownOf { store: self, scope: Some(scope), seen: RefCell::default() }
    }

    /// The registered values alone.
    pub fn known_to_all(&self) -> KnownOf<'_> {
        // What was registered before is seen by what follows.
        drop(self.inner());
        KnownOf { store: self, scope: None, seen: RefCell::default() }
    }

    /// Makes `value` a secret of TYPE `kind` from now on; `added` in seconds since 1970. Returns
    /// the number it is registered under.
    ///
    /// # Errors
    ///
    /// Why it is not registered.
    pub fn register(&self, kind: Kind, value: &[u8], added: u64) -> Result<u32, NotRegistered> {
        let mut inner = self.inner();
        let Known { table, registry, .. } = &mut inner.known;
        registry.add(table, &self.filter, kind, value, added)
    }

    /// Forgets a registered value; false where there is none of this number.
    pub fn unregister(&self, id: u32) -> bool {
        let mut inner = self.inner();
        let Known { table, registry, .. } = &mut inner.known;
        registry.remove(table, &self.filter, id)
    }

    /// The number that `value` is registered under.
    #[must_use]
    pub fn registered_as(&self, value: &[u8]) -> Option<u32> {
        self.inner().known.registry.id_of(value)
    }

    /// The registered values, the oldest first.
    #[must_use]
    pub fn registered(&self) -> Vec<Registered> {
        self.inner().known.registry.list()
    }

    /// How many values are registered.
    #[must_use]
    pub fn registered_count(&self) -> usize {
        self.inner().known.registry.len()
    }
}

/// What is known to be a secret to one request. Which registered values it held is counted when it
/// is dropped.
pub struct KnownOf<'s> {
    store: &'s Store,
    scope: Option<Scope>,
    seen: RefCell<BTreeSet<u32>>,
}

impl KnownValues for KnownOf<'_> {
    fn suspects(&self, raw: &[u8]) -> bool {
        let filter = &self.store.filter;
        if filter.is_idle() {
            return false;
        }
        let is_window = |_, hash| {
            let inner = self.store.inner();
            if inner.known.table.windows(hash).is_empty() { Ok(()) } else { Err(()) }
        };
        filter.is_elusive() && memchr::memchr(b'\\', raw).is_some()
            || filter.probe(raw, is_window).is_err()
    }

    fn suspect(&self, raw: &[u8], note: &mut dyn FnMut(Range<usize>)) {
        let filter = &self.store.filter;
        if filter.is_idle() {
            return;
        }
        let all = 0..raw.len();
        if filter.is_elusive() && memchr::memchr(b'\\', raw).is_some() {
            return note(all);
        }
        let crowded = filter.probe(raw, |at, hash| {
            let inner = self.store.inner();
            let windows = inner.known.table.windows(hash);
            if windows.len() > CROWD {
                return Err(());
            }
            let ranges = windows.iter().filter_map(|window| range(at, window));
            let bounds = ranges.map(|range| (at - range.start, range.end - at));
            let reach = bounds.reduce(|(a, b), (c, d)| (a.max(c), b.max(d)));
            if let Some(reach) = reach {
                note(spelt_within(raw, at, reach));
            }
            Ok(())
        });
        if crowded.is_err() {
            note(all);
        }
    }

    fn find(
        &self,
        text: &[u8],
        scope: redact::Scope,
        found: &mut Vec<KnownSpan>,
    ) -> Result<(), Exhausted> {
        let mut fuel = text.len().saturating_mul(COMPARED_MAX).saturating_add(COMPARED_LEAST);
        self.store.filter.probe(text, |at, hash| {
            let inner = self.store.inner();
            let wanted = Wanted { scope: self.scope, with_sticky: scope == redact::Scope::Text };
            let candidates = Candidates { text, at, fuel: &mut fuel };
            candidates.compare(&self.store.filter, &inner, hash, |window| {
                let Some((kind, arena, slot)) = inner.value_of(window.owner, wanted) else {
                    return;
                };
                let Some(own) = spelt_at(text, at, window, arena, slot) else { return };
                if let Owner::Registered(id) = window.owner {
                    self.seen.borrow_mut().insert(id);
                }
                let range = window.spelling.widened(own, slot.len(), text);
                found.push(KnownSpan { range, kind: kind.clone() });
            })
        })
    }
}

impl Drop for KnownOf<'_> {
    fn drop(&mut self) {
        let seen = self.seen.get_mut();
        if !seen.is_empty() {
            self.store.inner().known.registry.hit(seen);
        }
    }
}

impl fmt::Debug for KnownOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KnownOf({:?})", self.scope)
    }
}

/// Which values count.
#[derive(Clone, Copy)]
struct Wanted {
    scope: Option<Scope>,
    with_sticky: bool,
}

/// The values that a place of a text may spell.
struct Candidates<'t> {
    text: &'t [u8],
    at: usize,
    fuel: &'t mut usize,
}

impl Candidates<'_> {
    /// Calls `visit` with each window at this place whose spelling the text has by its hash.
    fn compare(
        self,
        filter: &Filter,
        inner: &Inner,
        hash: Hash,
        mut visit: impl FnMut(&Window),
    ) -> Result<(), Exhausted> {
        let mut burn = |bytes: usize| -> Result<(), Exhausted> {
            *self.fuel = self.fuel.checked_sub(bytes).ok_or(Exhausted)?;
            Ok(())
        };
        let mut left = inner.known.table.windows(hash);
        while let Some(first) = left.first() {
            let shape = |window: &Window| (window.offset, window.length);
            let alike = left.partition_point(|window| shape(window) == shape(first));
            let (alike, others) = left.split_at(alike);
            left = others;
            let spelt = range(self.at, first).and_then(|range| self.text.get(range));
            burn(COMPARISON + spelt.map_or(0, |spelt| spelt.len() / 8))?;
            let Some(whole) = spelt.map(|spelt| filter.whole(spelt)) else { continue };
            let start = alike.partition_point(|window| window.whole < whole);
            for window in alike[start..].iter().take_while(|window| window.whole == whole) {
                burn(window.length as usize)?;
                visit(window);
            }
        }
        Ok(())
    }
}

/// What of raw JSON holds, in whatever way it spells that, what stands up to `before` and `behind`
/// bytes around `at`.
fn spelt_within(raw: &[u8], at: usize, (before, behind): (usize, usize)) -> Range<usize> {
    let around = |length: usize| {
        at.saturating_sub(before.saturating_mul(length))
            ..at.saturating_add(behind.saturating_mul(length)).min(raw.len())
    };
    let plain = around(1);
    match memchr::memchr(b'\\', &raw[plain.clone()]) {
        None => plain,
        Some(_) => around(ESCAPE),
    }
}

/// Where the spelling stands whose window is at `at`.
fn range(at: usize, window: &Window) -> Option<Range<usize>> {
    let start = at.checked_sub(window.offset as usize)?;
    Some(start..start.checked_add(window.length as usize)?)
}

/// Where `text` spells the value, if it does where its window at `at` says.
fn spelt_at(
    text: &[u8],
    at: usize,
    window: &Window,
    arena: &Arena,
    slot: &Slot,
) -> Option<Range<usize>> {
    let range = range(at, window)?;
    let own = text.get(range.clone())?;
    let is_spelt = if window.spelling == Spelling::Raw {
        arena.holds(slot, own)
    } else {
        let mut value = Zeroizing::new(Vec::with_capacity(slot.len()));
        value.extend(arena.parts(slot).flatten());
        window.spelling.of(&value)[..] == *own
    };
    is_spelt.then_some(range)
}

impl Inner {
    /// The TYPE and bytes of a value, where it counts.
    fn value_of(&self, owner: Owner, wanted: Wanted) -> Option<(&Kind, &Arena, &Slot)> {
        match owner {
            Owner::Registered(id) => self.known.registry.get(id),
            Owner::Sticky(_) if !wanted.with_sticky => None,
            Owner::Sticky(tag) => {
                let scope = self.known.sticky.get(&tag)?.holder_for(wanted.scope)?;
                let entry = self.entries.get(&(scope, tag))?;
                Some((entry.kinds.first()?, &self.arena, &entry.slot))
            }
        }
    }
}
