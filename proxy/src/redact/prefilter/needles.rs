//! Many needles in one pass. The search behind it compares some bytes of the text with all
//! needles at once, by the halves of each byte and in a few buckets; a bucket of needles that
//! differ much lets much through. So needles that are alike share one.

use aho_corasick::packed::{self, MatchKind};
use aho_corasick::{AhoCorasick, BuildError, Input, Span};

use super::super::form::Exhausted;
use super::{Announced, Plan};

/// Needles that one pass searches for.
pub(super) struct Needles {
    search: Search,
    /// Per needle, what it announces.
    announced: Vec<Vec<Announced>>,
}

enum Search {
    /// Vector code.
    Packed(packed::Searcher),
    /// Where the processor has none for it.
    Automaton(AhoCorasick),
}

impl Needles {
    /// The passes that search for all of `plan`, in which no needle starts with another.
    pub(super) fn compile(plan: Plan) -> Result<Vec<Self>, BuildError> {
        if plan.is_empty() {
            return Ok(Vec::new());
        }
        let (needles, mut announced): (Vec<Vec<u8>>, Vec<Vec<Announced>>) =
            plan.into_iter().unzip();
        // Literals of one form that begin alike announce the same.
        for announced in &mut announced {
            announced.sort_unstable();
            announced.dedup();
        }
        let passes = needles.len().div_ceil(NEEDLES_PER_PASS);
        // The search takes few buckets for few needles.
        let (buckets, room) = if needles.len() <= FEW { (8, 4) } else { (16, 8) };
        let mut buckets = clustered(&needles, passes * buckets, room);
        buckets.sort_by_key(|bucket| bucket.members.len());
        let pass = |first: usize| {
            let buckets = buckets.iter().skip(first).step_by(passes);
            let members: Vec<&[usize]> = buckets.map(|bucket| &bucket.members[..]).collect();
            let order = dealt(&members);
            let search = Search::new(order.iter().map(|needle| &needles[*needle]))?;
            let announced = order.iter().map(|needle| announced[*needle].clone()).collect();
            Ok(Self { search, announced })
        };
        (0..passes).map(pass).collect()
    }

    /// Calls `visit` with each place a needle stands at and what it announces.
    pub(super) fn each(
        &self,
        text: &[u8],
        mut visit: impl FnMut(usize, &[Announced]) -> Result<(), Exhausted>,
    ) -> Result<(), Exhausted> {
        let mut from = 0;
        while let Some((at, needle)) = self.search.find(text, from) {
            visit(at, &self.announced[needle])?;
            // Needles may overlap: the next one can start inside this one.
            from = at + 1;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        match &self.search {
            Search::Packed(packed) => packed.memory_usage(),
            Search::Automaton(automaton) => automaton.memory_usage(),
        }
    }
}

impl Search {
    fn new<'n>(needles: impl Iterator<Item = &'n Vec<u8>> + Clone) -> Result<Self, BuildError> {
        let packed = packed::Config::new()
            .match_kind(MatchKind::LeftmostFirst)
            .heuristic_pattern_limits(false)
            .builder()
            .extend(needles.clone())
            .build();
        Ok(match packed {
            Some(packed) => Self::Packed(packed),
            None => Self::Automaton(
                AhoCorasick::builder()
                    .match_kind(aho_corasick::MatchKind::LeftmostFirst)
                    .build(needles)?,
            ),
        })
    }

    /// The first needle at or behind `from`: where, and its number.
    fn find(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        let found = match self {
            Self::Packed(packed) => packed.find_in(text, Span { start: from, end: text.len() }),
            Self::Automaton(automaton) => automaton.find(Input::new(text).range(from..)),
        }?;
        Some((found.start(), found.pattern().as_usize()))
    }
}

/// Where the four bytes of `literal` start that are the rarest in text.
pub(super) fn rarest_window(literal: &[u8]) -> usize {
    let rarity = |window: &[u8]| window.iter().map(|byte| frequency(*byte)).product::<f32>();
    let windows = literal.windows(WINDOW.min(literal.len())).enumerate();
    let rarest = windows.min_by(|(_, a), (_, b)| rarity(a).total_cmp(&rarity(b)));
    rarest.map_or(0, |(at, _)| at)
}

/// Needles that are compared with the text together.
#[derive(Clone, Default)]
struct Bucket {
    members: Vec<usize>,
    /// Per byte compared, which lower and upper halves pass.
    halves: [(u16, u16); WINDOW],
}

impl Bucket {
    fn of(members: Vec<usize>, needles: &[Vec<u8>]) -> Self {
        let empty = Self { members, halves: [(0, 0); WINDOW] };
        let members = empty.members.clone();
        members.iter().fold(empty, |bucket, member| bucket.let_through(&needles[*member]))
    }

    fn let_through(mut self, needle: &[u8]) -> Self {
        for ((low, high), byte) in self.halves.iter_mut().zip(needle) {
            *low |= 1 << (byte & 15);
            *high |= 1 << (byte >> 4);
        }
        self
    }

    /// How often text gets through, by what is known of text in general.
    fn share(&self) -> f32 {
        let halves = self.halves.iter().filter(|(low, _)| *low != 0);
        halves.map(|(low, high)| passing(*low, *high)).product()
    }
}

/// The share of bytes that pass by their halves.
fn passing(low: u16, high: u16) -> f32 {
    let is_in = |set: u16, half: u8| set >> half & 1 == 1;
    let highs = (0..8_u8).filter(|half| is_in(high, *half));
    highs
        .flat_map(|high| {
            (0..16_u8).filter(|half| is_in(low, *half)).map(move |low| high << 4 | low)
        })
        .map(frequency)
        .sum()
}

/// `needles`, sorted, in `count` buckets with room for `room` each: neighbours together at first,
/// then each where it lets the least more through, until none moves.
fn clustered(needles: &[Vec<u8>], count: usize, room: usize) -> Vec<Bucket> {
    let mut bucket_of: Vec<usize> =
        (0..needles.len()).map(|needle| needle * count / needles.len()).collect();
    let members = |bucket_of: &[usize], bucket| {
        (0..needles.len()).filter(|needle| bucket_of[*needle] == bucket).collect::<Vec<_>>()
    };
    let mut buckets: Vec<Bucket> =
        (0..count).map(|bucket| Bucket::of(members(&bucket_of, bucket), needles)).collect();
    for _ in 0..ROUNDS_MAX {
        let mut moved = false;
        for (index, needle) in needles.iter().enumerate() {
            let from = bucket_of[index];
            let mut others = buckets[from].members.clone();
            others.retain(|member| *member != index);
            buckets[from] = Bucket::of(others, needles);
            let added = |bucket: &Bucket| {
                bucket.clone().let_through(needle).share() - bucket.share_if_any()
            };
            let best = buckets
                .iter()
                .enumerate()
                .filter(|(_, bucket)| bucket.members.len() < room)
                .map(|(bucket, content)| (bucket, added(content)))
                .min_by(|(_, a), (_, b)| a.total_cmp(b));
            let to = best.map_or(from, |(bucket, _)| bucket);
            moved |= to != from;
            bucket_of[index] = to;
            let mut content = std::mem::take(&mut buckets[to]).let_through(needle);
            content.members.push(index);
            buckets[to] = content;
        }
        if !moved {
            break;
        }
    }
    buckets
}

impl Bucket {
    fn share_if_any(&self) -> f32 {
        if self.members.is_empty() { 0.0 } else { self.share() }
    }
}

/// The needles in the order that puts each into its bucket: the search deals them out like cards.
/// A shorter bucket gets its first needle again.
fn dealt(buckets: &[&[usize]]) -> Vec<usize> {
    let buckets: Vec<&[usize]> =
        buckets.iter().copied().filter(|bucket| !bucket.is_empty()).collect();
    let rounds = buckets.iter().map(|bucket| bucket.len()).max().unwrap_or(0);
    (0..rounds)
        .flat_map(|round| {
            buckets.iter().map(move |bucket| bucket.get(round).copied().unwrap_or(bucket[0]))
        })
        .collect()
}

/// Roughly how often a byte stands in the prose, code and JSON that agents send.
fn frequency(byte: u8) -> f32 {
    match byte {
        b' ' => 0.12,
        b'e' | b't' => 0.06,
        b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 0.045,
        b'l' | b'c' | b'd' | b'u' | b'p' | b'm' => 0.025,
        b'f' | b'h' | b'g' | b'y' | b'b' => 0.012,
        b'w' | b'v' | b'k' | b'x' => 0.006,
        b'0'..=b'9' | b'_' | b'-' | b'.' | b',' | b':' | b'/' | b'\\' | b'"' | b'(' | b')' => 0.01,
        b'j' | b'q' | b'z' => 0.001,
        b'A'..=b'Z' | b'=' | b'<' | b'>' | b'{' | b'}' => 0.003,
        _ => 0.0005,
    }
}

/// Bytes of each needle that are compared at once.
const WINDOW: usize = 4;

/// Needles that one pass searches for: it takes 128 at most, and some buckets stay short.
const NEEDLES_PER_PASS: usize = 112;

/// Up to this many needles, the search takes fewer buckets and is twice as fast.
const FEW: usize = 28;

/// Most rounds of moving needles between buckets.
const ROUNDS_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(needles: &[String]) -> Plan {
        let announced = |form| vec![Announced { form, literal: 0, is_literal: true }];
        needles
            .iter()
            .enumerate()
            .map(|(form, needle)| (needle.clone().into_bytes(), announced(form)))
            .collect()
    }

    #[test]
    fn any_number_of_needles_is_found_each_where_it_stands() {
        for count in [1_usize, 8, 28, 29, 64, 112, 113, 500] {
            let needles: Vec<String> = (0..count).map(|n| format!("q{n:03}z")).collect();
            let passes = Needles::compile(plan(&needles)).unwrap();
            assert_eq!(passes.len(), count.div_ceil(NEEDLES_PER_PASS));
            let text = needles.join("q0");
            let mut found = Vec::new();
            for pass in &passes {
                pass.each(text.as_bytes(), |at, announced| {
                    found.push((at, announced[0].form));
                    Ok(())
                })
                .unwrap();
            }
            found.sort_unstable();
            let expected: Vec<_> = (0..count).map(|n| (n * 7, n)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn needles_that_are_alike_share_a_bucket() {
        let needles: Vec<Vec<u8>> = ["aaa1", "aaa2", "zzz1", "zzz2"].map(Vec::from).to_vec();
        let buckets = clustered(&needles, 2, 4);
        let members: Vec<&[usize]> = buckets.iter().map(|bucket| &bucket.members[..]).collect();
        assert_eq!(members, [&[0, 1], &[2, 3]]);
        assert_eq!(dealt(&members), [0, 2, 1, 3]);
        assert_eq!(dealt(&[&[5, 6, 7], &[], &[8]]), [5, 8, 6, 8, 7, 8]);
    }

    #[test]
    fn the_rarest_bytes_of_a_literal_are_searched_for() {
        assert_eq!(rarest_window(b"aaaaa"), 0);
        assert!(rarest_window(b"secret_KEY") > 2);
        assert_eq!(rarest_window(b"abc"), 0);
    }
}
