//! Where a text may spell a known value.
//!
//! A few windows of each spelling are entered by a keyed hash, side by side, so that a text needs to
//! be probed only at every few bytes. A filter that needs no lock answers nearly all probes; the
//! table behind it names the values, and whoever asks compares those with the text. Neither holds
//! plaintext.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use region::LockGuard;
use zeroize::Zeroize;

use super::spelling::{Spelled, Spelling};
use crate::placeholder::Tag;

/// Bytes of a window.
const WINDOW: usize = 6;

/// Most bytes from one probe of a text to the next, and most windows of a spelling.
const STRIDE: usize = 8;

/// Shortest spelling that can be entered.
pub(super) const SPELLING_MIN: usize = WINDOW;

/// How far into a spelling its windows are looked for.
const REACH: usize = 512;

/// Answers without a lock whether a window of text may be one of a known value's.
pub(super) struct Filter {
    key: HashKey,
    words: Box<[AtomicU64]>,
    /// Bytes from one probe to the next; none where nothing is known.
    stride: AtomicUsize,
    /// Whether JSON may spell all windows of some value otherwise.
    is_elusive: AtomicBool,
}

/// The two halves of the hash's key, in memory of their own that is not written to swap: with them,
/// hashes of short windows could be turned back.
struct HashKey {
    // Fields are dropped in this order: unlocked before freed.
    _lock: Option<LockGuard>,
    halves: Box<[u64; 2]>,
}

/// A window's keyed hash.
#[derive(Clone, Copy)]
pub(super) struct Hash(u64);

impl Hash {
    fn of(window: u64, [low, high]: [u64; 2]) -> Self {
        let product = u128::from(window ^ low) * u128::from(high | 1);
        let [a, b] = [product & u128::from(u64::MAX), product >> 64]
            .map(|half| u64::try_from(half).unwrap_or_default());
        Self(a ^ b)
    }

    /// Which word of the filter, and which bucket of the table.
    fn word(self) -> u16 {
        let [.., low, high] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// What the table tells windows of one word apart by.
    fn check(self) -> u32 {
        let [a, b, c, d, ..] = self.0.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

/// The bits of its word that a window sets.
fn bits(check: u32) -> u64 {
    [check, check >> 6, check >> 12].into_iter().fold(0, |bits, at| bits | 1 << (at & 63))
}

impl Filter {
    pub(super) fn new() -> Self {
        let mut halves = Box::new([0; 2]);
        let lock = region::lock(halves.as_ptr(), size_of_val(&*halves)).ok();
        for half in &mut *halves {
            *half = getrandom::u64().expect("the kernel gives randomness at any time");
        }
        Self {
            key: HashKey { _lock: lock, halves },
            words: (0..=u16::MAX).map(|_| AtomicU64::new(0)).collect(),
            stride: AtomicUsize::new(0),
            is_elusive: AtomicBool::new(false),
        }
    }

    /// Whether no value is known.
    pub(super) fn is_idle(&self) -> bool {
        self.stride.load(Ordering::Acquire) == 0
    }

    /// Whether JSON may spell all windows of some value otherwise.
    pub(super) fn is_elusive(&self) -> bool {
        self.is_elusive.load(Ordering::Acquire)
    }

    /// Calls `visit` with each place of `text` where a window may stand, until that returns an
    /// error.
    pub(super) fn probe<E>(
        &self,
        text: &[u8],
        mut visit: impl FnMut(usize, Hash) -> Result<(), E>,
    ) -> Result<(), E> {
        let stride = self.stride.load(Ordering::Acquire);
        if stride == 0 {
            return Ok(());
        }
        let key = *self.key.halves;
        let mut at = 0;
        while let Some(bytes) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            let hash = Hash::of(u64::from_le_bytes(*bytes) & WINDOW_MASK, key);
            if self.may_hold(hash) {
                visit(at, hash)?;
            }
            at += stride;
        }
        while let Some(window) = text.get(at..at + WINDOW) {
            let hash = hash(window, key);
            if self.may_hold(hash) {
                visit(at, hash)?;
            }
            at += stride;
        }
        Ok(())
    }

    /// A keyed hash of all of `text`, by which values that share a window are told apart.
    pub(super) fn whole(&self, text: &[u8]) -> u32 {
        whole(text, *self.key.halves)
    }

    fn may_hold(&self, hash: Hash) -> bool {
        let bits = bits(hash.check());
        self.words[usize::from(hash.word())].load(Ordering::Relaxed) & bits == bits
    }
}

/// The hash of the window that `text` begins with, which is at least as long.
fn hash(text: &[u8], key: [u64; 2]) -> Hash {
    let mut bytes = [0; 8];
    bytes[..WINDOW].copy_from_slice(&text[..WINDOW]);
    Hash::of(u64::from_le_bytes(bytes), key)
}

fn whole(text: &[u8], [low, high]: [u64; 2]) -> u32 {
    let mut state = low;
    for chunk in text.chunks(8) {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        let Hash(next) = Hash::of(u64::from_le_bytes(bytes), [state, high]);
        state = next.rotate_left(23);
    }
    Hash(state).check()
}

/// Whose window it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// That of the value with this tag that was tokenized before.
    Sticky(Tag),
    /// That of the value that an operator registered under this number.
    Registered(u32),
}

/// A window of a spelling.
#[derive(Clone, Copy)]
pub(super) struct Window {
    check: u32,
    /// How far into the spelling it stands.
    pub(super) offset: u32,
    /// Bytes of the spelling.
    pub(super) length: u32,
    /// The hash of the spelling: see [`Filter::whole`].
    pub(super) whole: u32,
    pub(super) owner: Owner,
    pub(super) spelling: Spelling,
}

impl Window {
    /// Values that are alike are mostly so in their lengths: which of a crowd a text spells is found
    /// by its hash, not by asking for each.
    fn order(&self) -> (u32, u32, u32, u32) {
        (self.check, self.offset, self.length, self.whole)
    }
}

/// What has to be taken out of the table with a value.
#[derive(Default)]
pub(super) struct Footprint {
    words: Vec<u16>,
    stride: usize,
    is_elusive: bool,
}

/// All windows of all known values. It is behind a lock, the filter is not.
#[derive(Default)]
pub(super) struct Table {
    /// Each in the order of [`Window::order`].
    buckets: HashMap<u16, Vec<Window>>,
    /// How many values ask for each stride.
    strides: [usize; STRIDE + 1],
    elusive: usize,
}

impl Table {
    /// The windows with `hash`, in order of their places and lengths, then of `whole`.
    pub(super) fn windows(&self, hash: Hash) -> &[Window] {
        let bucket = self.buckets.get(&hash.word()).map_or(&[][..], Vec::as_slice);
        let start = bucket.partition_point(|window| window.check < hash.check());
        let rest = &bucket[start..];
        &rest[..rest.partition_point(|window| window.check == hash.check())]
    }

    /// Enters the spellings of a value, each of at least [`SPELLING_MIN`] bytes.
    pub(super) fn enter(
        &mut self,
        filter: &Filter,
        owner: Owner,
        spellings: &[Spelled],
    ) -> Footprint {
        let key = *filter.key.halves;
        let mut footprint = Footprint { stride: STRIDE, ..Footprint::default() };
        for Spelled { spelling, bytes } in spellings {
            let chosen = self.choose(bytes, key);
            let (length, whole) = (narrow(bytes.len()), whole(bytes, key));
            for offset in chosen.start..chosen.start + chosen.count {
                let hash = hash(&bytes[offset..], key);
                let (check, offset, spelling) = (hash.check(), narrow(offset), *spelling);
                let window = Window { check, offset, length, whole, owner, spelling };
                let bucket = self.buckets.entry(hash.word()).or_default();
                let place = bucket.partition_point(|other| other.order() < window.order());
                bucket.insert(place, window);
                filter.words[usize::from(hash.word())].fetch_or(bits(check), Ordering::Relaxed);
                footprint.words.push(hash.word());
            }
            footprint.stride = footprint.stride.min(chosen.count);
            footprint.is_elusive |= chosen.is_elusive;
        }
        self.strides[footprint.stride] += 1;
        self.elusive += usize::from(footprint.is_elusive);
        self.publish(filter);
        footprint
    }

    /// Takes a value out again.
    pub(super) fn take_out(&mut self, filter: &Filter, owner: Owner, footprint: &Footprint) {
        for word in &footprint.words {
            let Some(bucket) = self.buckets.get_mut(word) else { continue };
            bucket.retain(|window| window.owner != owner);
            let left = bucket.iter().fold(0, |all, window| all | bits(window.check));
            filter.words[usize::from(*word)].store(left, Ordering::Relaxed);
            if bucket.is_empty() {
                self.buckets.remove(word);
            }
        }
        self.strides[footprint.stride] -= 1;
        self.elusive -= usize::from(footprint.is_elusive);
        self.publish(filter);
    }

    /// Windows in all.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buckets.values().map(Vec::len).sum()
    }

    fn publish(&self, filter: &Filter) {
        let shortest = self.strides.iter().position(|count| *count > 0).unwrap_or(0);
        filter.is_elusive.store(self.elusive > 0, Ordering::Release);
        filter.stride.store(shortest, Ordering::Release);
    }

    /// Which windows of a spelling to enter: such that JSON has but one spelling for, then such as
    /// few other values have, then such as are least monotonous.
    fn choose(&self, spelling: &[u8], key: [u64; 2]) -> Chosen {
        let spelling = &spelling[..spelling.len().min(REACH)];
        let count = STRIDE.min(spelling.len() + 1 - WINDOW);
        let stretch = count + WINDOW - 1;
        let crowds: Vec<usize> =
            spelling.windows(WINDOW).map(|window| self.windows(hash(window, key)).len()).collect();
        let merit = |start: usize| {
            let bytes = &spelling[start..start + stretch];
            let is_elusive = bytes.iter().any(|byte| is_elusive(*byte));
            let crowd: usize = crowds[start..start + count].iter().sum();
            let distinct = bytes.iter().fold([false; 256], |mut seen, byte| {
                seen[usize::from(*byte)] = true;
                seen
            });
            let alike = distinct.iter().filter(|seen| !**seen).count();
            (is_elusive, crowd, alike)
        };
        let best = (0..=spelling.len() - stretch).min_by_key(|start| merit(*start)).unwrap_or(0);
        Chosen { start: best, count, is_elusive: merit(best).0 }
    }
}

struct Chosen {
    start: usize,
    count: usize,
    is_elusive: bool,
}

/// Whether JSON must, may or usually does spell this byte in another way, other than by the escapes
/// that are looked for wherever raw JSON is searched.
fn is_elusive(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | ..b' ' | 0x7f..)
}

/// Offsets are within [`REACH`]; a length that does not fit is that of no text.
fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

const WINDOW_MASK: u64 = u64::MAX >> (64 - 8 * WINDOW);

impl Drop for HashKey {
    fn drop(&mut self) {
        self.halves.zeroize();
    }
}
