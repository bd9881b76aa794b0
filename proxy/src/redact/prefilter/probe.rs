//! A literal of one byte is everywhere. What must stand at a distance from it is not: a probe
//! looks at both at once, for a block of the text at a time.

use std::ops::RangeInclusive;

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch, u8x64};

use super::super::bits::{BLOCK, Class, Halves, Tail, blocks, ends_of, high, joined, places};
use super::super::form::{Exhausted, Form};
use super::is_escaped;

/// Finds a byte that has a certain sign beside it.
pub(super) struct Probe {
    byte: u8,
    sign: Sign,
}

/// What must stand beside the byte.
enum Sign {
    /// Bytes of this range, right in front of it and this far.
    Before { of: RangeInclusive<u8>, far: usize },
    /// The same byte again, this far behind it or one further.
    Again(usize),
    /// That many bytes of this class, right behind it.
    Followed { by: Class, length: usize },
}

impl Probe {
    /// The probe for a literal of `form`; `None` where that is longer than a byte or has no sign.
    pub(super) fn of(form: &Form, literal: &str) -> Option<Self> {
        let &[byte] = literal.as_bytes() else { return None };
        let again = || Some(Sign::Again(form.distance_to_next(byte)?));
        let before = || {
            let lead = form.lead.as_ref().filter(|lead| lead.min > 1)?;
            Some(Sign::Before { of: lead.of.as_range()?, far: lead.min.min(FAR_MAX) })
        };
        let followed = || {
            let (by, length) = form.followers(&[byte])?;
            // What JSON spells with a backslash does not stand right behind it.
            let is_plain = (0..128).all(|of: u8| !by[usize::from(of)] || !is_escaped(of));
            let by = Class::of(&by);
            (length >= FOLLOWERS_MIN && is_plain).then_some(Sign::Followed { by, length })
        };
        Some(Self { byte, sign: before().or_else(again).or_else(followed)? })
    }

    /// Calls `visit` with each place of the byte that may have the sign.
    pub(super) fn each(
        &self,
        text: &[u8],
        visit: &mut dyn FnMut(usize) -> Result<(), Exhausted>,
    ) -> Result<(), Exhausted> {
        dispatch!(Level::new(), simd => self.search(simd, text, visit))
    }

    #[inline(always)]
    fn search<S: Simd>(
        &self,
        simd: S,
        text: &[u8],
        visit: &mut dyn FnMut(usize) -> Result<(), Exhausted>,
    ) -> Result<(), Exhausted> {
        let tail = Tail::of(text);
        let (mut last, mut last_beside) = (0, 0);
        for (start, block) in blocks(text, &tail) {
            let here = u8x64::from_slice(simd, block).simd_eq(self.byte).to_bitmask();
            let beside = self.beside(simd, block);
            let signs = self.signs(joined(last, here), joined(last_beside, beside));
            if signs != 0 {
                self.report(text, start, signs, visit)?;
            }
            (last, last_beside) = (here, beside);
        }
        Ok(())
    }

    /// Where the bytes of a block are that must stand beside the byte.
    #[inline(always)]
    fn beside<S: Simd>(&self, simd: S, block: &[u8; BLOCK]) -> u64 {
        match &self.sign {
            Sign::Before { of, .. } => {
                let bytes = u8x64::from_slice(simd, block) - *of.start();
                bytes.simd_le(of.end() - of.start()).to_bitmask()
            }
            Sign::Again(_) => 0,
            Sign::Followed { by, .. } => Halves::of(simd, block).bits(simd, by),
        }
    }

    /// The signs in the second of two blocks: where the byte is, and what must stand beside it.
    #[inline(always)]
    fn signs(&self, here: u128, beside: u128) -> u64 {
        match &self.sign {
            Sign::Before { far, .. } => high(here & beside << 1 & beside << *far),
            Sign::Again(distance) => high(here & (here << *distance | here << (*distance + 1))),
            Sign::Followed { length, .. } => {
                let first = here << *length;
                // Few pass when some of the bytes behind are looked at.
                match high(first & beside & beside << (length / 2)) {
                    0 => 0,
                    _ => high(first & ends_of(beside, 1, *length)),
                }
            }
        }
    }

    /// Visits what the `signs` in the block at `start` speak for.
    #[cold]
    #[inline(never)]
    fn report(
        &self,
        text: &[u8],
        start: usize,
        signs: u64,
        visit: &mut dyn FnMut(usize) -> Result<(), Exhausted>,
    ) -> Result<(), Exhausted> {
        for place in places(signs) {
            let at = start + place;
            match &self.sign {
                Sign::Before { .. } => visit(at)?,
                Sign::Followed { length, .. } => visit(at - *length)?,
                Sign::Again(distance) => {
                    let distance = *distance;
                    for before in [distance, distance + 1] {
                        let first = at.checked_sub(before);
                        if let Some(first) = first.filter(|first| text[*first] == self.byte) {
                            visit(first)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// How far a sign is looked for at most: within the block before.
const FAR_MAX: usize = 63;

/// Fewest bytes behind the byte that are a sign.
const FOLLOWERS_MIN: usize = 16;
