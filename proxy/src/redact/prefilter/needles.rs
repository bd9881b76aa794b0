//! Many needles in one pass: some bytes of the text are compared with all needles at once, by the
//! halves of each byte, in a bit of a vector's lane per bucket of needles (Teddy, after Langdale).
//! A bucket of needles that differ much lets much through. So needles that are alike share one.

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch, u8x64};

use super::super::bits::{BLOCK, Tail, blocks, places};
use super::super::form::Exhausted;
use super::buckets::{WINDOW, clustered};
use super::{Announced, Plan};

/// Takes a place and what a needle there announces.
pub(super) type Visit<'v> = &'v mut dyn FnMut(usize, &[Announced]) -> Result<(), Exhausted>;

/// Needles that one pass searches for.
pub(super) struct Needles {
    needles: Vec<Vec<u8>>,
    /// Per needle, what it announces.
    announced: Vec<Vec<Announced>>,
    /// Per eight buckets, which needles each holds.
    members: Vec<[Vec<usize>; BITS]>,
    tables: Vec<Tables>,
    beginnings: Beginnings,
    level: Level,
}

/// Whether a needle may begin with certain bytes. No is certain, and soon said.
struct Beginnings([u64; 1 << (HASH - 6)]);

impl Beginnings {
    fn of(needles: &[Vec<u8>]) -> Self {
        let mut set = Self([0; _]);
        for needle in needles {
            // What a short needle does not ask for may be anything.
            let ends: Vec<[u8; 2]> = match needle[..] {
                [] => Vec::new(),
                [_] => (0..=u8::MAX).flat_map(|a| (0..=u8::MAX).map(move |b| [a, b])).collect(),
                [_, second] => (0..=u8::MAX).map(|third| [second, third]).collect(),
                [_, second, third, ..] => vec![[second, third]],
            };
            for [second, third] in ends {
                let bit = Self::bit(u32::from_le_bytes([needle[0], second, third, 0]));
                set.0[bit / 64] |= 1 << (bit % 64);
            }
        }
        set
    }

    fn has(&self, bytes: u32) -> bool {
        let bit = Self::bit(bytes);
        self.0[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// The bit of the first three `bytes`: multiplied by the golden ratio (Knuth, TAOCP 6.4).
    fn bit(bytes: u32) -> usize {
        ((bytes & 0x00ff_ffff).wrapping_mul(0x9e37_79b9) >> (u32::BITS - HASH)) as usize
    }
}

/// Per byte that is compared, in which of eight buckets a needle has its lower and upper half; each
/// table once per block of a vector.
struct Tables {
    low: [[u8; BLOCK]; WINDOW],
    high: [[u8; BLOCK]; WINDOW],
}

impl Needles {
    /// Prepares the search for all of `plan`.
    pub(super) fn compile(plan: Plan) -> Self {
        let (needles, mut announced): (Vec<Vec<u8>>, Vec<Vec<Announced>>) =
            plan.into_iter().unzip();
        // Literals of one form that begin alike announce the same.
        for announced in &mut announced {
            announced.sort_unstable();
            announced.dedup();
        }
        let octets = needles.len().div_ceil(NEEDLES_PER_OCTET).clamp(1, OCTETS_MAX);
        let buckets = clustered(&needles, octets * BITS);
        let (buckets, _) = buckets.as_chunks::<BITS>();
        let tables = buckets.iter().map(|buckets| Tables::of(buckets, &needles)).collect();
        let members = buckets.to_vec();
        let beginnings = Beginnings::of(&needles);
        Self { needles, announced, members, tables, beginnings, level: Level::new() }
    }

    /// Calls `visit` with each place a needle stands at and what it announces.
    pub(super) fn each(&self, text: &[u8], visit: Visit<'_>) -> Result<(), Exhausted> {
        dispatch!(self.level, simd => self.search(simd, text, visit))
    }

    #[inline(always)]
    fn search<S: Simd>(&self, simd: S, text: &[u8], visit: Visit<'_>) -> Result<(), Exhausted> {
        let mut lanes = [[0; BLOCK]; OCTETS_MAX];
        let tail = Tail::of(text);
        for (start, block) in blocks(text, &tail) {
            for lane in places(compare(simd, &self.tables, block, &mut lanes)) {
                let mut first = [0; WINDOW];
                first.copy_from_slice(&block[lane..lane + WINDOW]);
                if self.beginnings.has(u32::from_le_bytes(first)) && start + lane < text.len() {
                    self.verify(text, start + lane, lanes.map(|lanes| lanes[lane]), visit)?;
                }
            }
        }
        Ok(())
    }

    /// Visits the needles of `buckets` that stand at `at`.
    #[cold]
    #[inline(never)]
    fn verify(
        &self,
        text: &[u8],
        at: usize,
        buckets: [u8; OCTETS_MAX],
        visit: Visit<'_>,
    ) -> Result<(), Exhausted> {
        let rest = &text[at..];
        for (members, buckets) in self.members.iter().zip(buckets) {
            let members = places(buckets.into()).flat_map(|bucket| &members[bucket]);
            let mut here = members.filter(|member| rest.starts_with(&self.needles[**member]));
            here.try_for_each(|member| visit(at, &self.announced[*member]))?;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.tables.len() * size_of::<Tables>() + self.needles.iter().map(Vec::len).sum::<usize>()
    }
}

impl Tables {
    fn of(members: &[Vec<usize>; BITS], needles: &[Vec<u8>]) -> Self {
        let mut halves = [([0; 16], [0; 16]); WINDOW];
        for (bucket, members) in members.iter().enumerate() {
            for needle in members.iter().map(|member| &needles[*member]) {
                for (nth, (low, high)) in halves.iter_mut().enumerate() {
                    // What a short needle does not ask for may be anything.
                    let byte = needle.get(nth);
                    for half in 0..16 {
                        let is = |of: fn(u8) -> u8| byte.is_none_or(|byte| of(*byte) == half);
                        low[usize::from(half)] |= u8::from(is(|byte| byte & 15)) << bucket;
                        high[usize::from(half)] |= u8::from(is(|byte| byte >> 4)) << bucket;
                    }
                }
            }
        }
        let spread = |table: [u8; 16]| std::array::from_fn(|at| table[at % 16]);
        Self { low: halves.map(|(low, _)| spread(low)), high: halves.map(|(_, high)| spread(high)) }
    }
}

/// A bit for each place of a block where something gets through, and in `lanes`, per eight buckets,
/// which of them each got through.
#[inline(always)]
fn compare<S: Simd>(
    simd: S,
    tables: &[Tables],
    block: &[u8; BLOCK + WINDOW - 1],
    lanes: &mut [[u8; BLOCK]; OCTETS_MAX],
) -> u64 {
    let mut halves = [(u8x64::splat(simd, 0), u8x64::splat(simd, 0)); WINDOW];
    for (nth, halves) in halves.iter_mut().enumerate() {
        let bytes = u8x64::from_slice(simd, &block[nth..nth + BLOCK]);
        *halves = (bytes & 15, bytes >> 4);
    }
    let mut any = u8x64::splat(simd, 0);
    for (tables, lanes) in tables.iter().zip(lanes) {
        let mut passed = u8x64::splat(simd, 0xff);
        for ((low, high), (lows, highs)) in halves.iter().zip(tables.low.iter().zip(&tables.high)) {
            passed &= u8x64::from_slice(simd, lows).swizzle_dyn_within_blocks(*low);
            passed &= u8x64::from_slice(simd, highs).swizzle_dyn_within_blocks(*high);
        }
        passed.store_slice(lanes);
        any |= passed;
    }
    !any.simd_eq(0).to_bitmask()
}

/// Buckets that one byte has bits for.
const BITS: usize = 8;

/// Bits of the hash of a beginning.
const HASH: u32 = 13;

/// Needles for which eight buckets are enough.
const NEEDLES_PER_OCTET: usize = 90;

/// Most times eight buckets: more needles share them.
const OCTETS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compiled(needles: &[Vec<u8>]) -> Needles {
        let announced =
            |form| vec![Announced { form, literal: 0, is_literal: true, quotes: [None; 2] }];
        let numbered = needles.iter().enumerate();
        Needles::compile(numbered.map(|(form, needle)| (needle.clone(), announced(form))).collect())
    }

    fn found(needles: &Needles, text: &[u8]) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let all = needles.each(text, &mut |at, announced| {
            found.extend(announced.iter().map(|announced| (at, announced.form)));
            Ok(())
        });
        assert_eq!(all, Ok(()));
        found.sort_unstable();
        found
    }

    #[test]
    fn any_number_of_needles_is_found_each_where_it_stands() {
        for count in [0_usize, 1, 8, 28, 29, 64, 112, 113, 500] {
            let needles: Vec<Vec<u8>> =
                (0..count).map(|n| format!("q{n:03}z").into_bytes()).collect();
            let text = needles.join(&b"q0"[..]);
            let expected: Vec<_> = (0..count).map(|n| (n * 7, n)).collect();
            assert_eq!(found(&compiled(&needles), &text), expected);
        }
    }

    proptest! {
        #[test]
        fn every_processor_finds_what_a_comparison_at_every_byte_finds(
            needles in proptest::collection::hash_set(r"[ab\x00\x80-\xff]{1,6}", 1..40),
            text in r"([ab\x00\x80-\xff]{0,20}[xyz]{0,9}){0,20}",
        ) {
            let needles: Vec<Vec<u8>> = needles.into_iter().map(String::into_bytes).collect();
            let mut expected = Vec::new();
            for at in 0..text.len() {
                for (form, needle) in needles.iter().enumerate() {
                    if text.as_bytes()[at..].starts_with(needle) {
                        expected.push((at, form));
                    }
                }
            }
            let mut compiled = compiled(&needles);
            let best = compiled.level;
            for level in [best, Level::baseline()] {
                compiled.level = level;
                prop_assert_eq!(&found(&compiled, text.as_bytes()), &expected);
            }
        }
    }
}
