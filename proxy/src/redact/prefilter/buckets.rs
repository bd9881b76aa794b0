//! Which needles share a bucket of the search.

/// Where the four bytes of `literal` start that are the rarest in text.
pub(super) fn rarest_window(literal: &[u8]) -> usize {
    let rarity = |window: &[u8]| window.iter().map(|byte| frequency(*byte)).product::<f32>();
    let windows = literal.windows(WINDOW.min(literal.len())).enumerate();
    let rarest = windows.min_by(|(_, a), (_, b)| rarity(a).total_cmp(&rarity(b)));
    rarest.map_or(0, |(at, _)| at)
}

/// Needles that are compared with the text together.
struct Bucket {
    members: Vec<usize>,
    halves: Halves,
}

/// Per byte compared, which lower and upper halves pass.
#[derive(Clone, Copy, Default)]
struct Halves([(u16, u16); WINDOW]);

impl Bucket {
    fn of(members: Vec<usize>, needles: &[Vec<u8>]) -> Self {
        let mut bucket = Self { members, halves: Halves::default() };
        bucket.forget(None, needles);
        bucket
    }

    /// Without the needle `gone`.
    fn forget(&mut self, gone: Option<usize>, needles: &[Vec<u8>]) {
        self.members.retain(|member| Some(*member) != gone);
        let all = Halves::default();
        self.halves = self.members.iter().fold(all, |all, member| all.with(&needles[*member]));
    }

    /// How much more text gets through with `needle`.
    fn added(&self, needle: &[u8]) -> f32 {
        let before = if self.members.is_empty() { 0.0 } else { self.halves.share() };
        self.halves.with(needle).share() - before
    }
}

impl Halves {
    /// What `needle` lets through, too.
    fn with(mut self, needle: &[u8]) -> Self {
        for (nth, (low, high)) in self.0.iter_mut().enumerate() {
            // What a short needle does not ask for may be anything.
            *low |= needle.get(nth).map_or(u16::MAX, |byte| 1 << (byte & 15));
            *high |= needle.get(nth).map_or(u16::MAX, |byte| 1 << (byte >> 4));
        }
        self
    }

    /// How often text gets through, by what is known of text in general.
    fn share(&self) -> f32 {
        self.0.iter().map(|(low, high)| passing(*low, *high)).product()
    }
}

/// The share of bytes that pass by their halves.
fn passing(low: u16, high: u16) -> f32 {
    let [few, many] = low.to_le_bytes().map(usize::from);
    (0..8)
        .filter(|half| high >> half & 1 == 1)
        .map(|half| LOW[half][0][few] + LOW[half][1][many])
        .sum()
}

/// Per upper half of a byte, how often it stands there with one of the first and of the second eight
/// lower halves, each set of those a number.
static LOW: [[[f32; 256]; 2]; 8] = {
    let mut sums = [[[0.0; 256]; 2]; 8];
    let mut byte = 0_u8;
    while byte.is_ascii() {
        let (high, side, bit) = (byte >> 4, byte >> 3 & 1, 1_usize << (byte & 7));
        let sums = &mut sums[high as usize][side as usize];
        let mut set = 0;
        while set < sums.len() {
            if set & bit != 0 {
                sums[set] += frequency(byte);
            }
            set += 1;
        }
        byte += 1;
    }
    sums
};

/// `needles`, sorted, in `count` buckets: neighbours together at first, then each where it lets the
/// least more through, until none moves.
pub(super) fn clustered(needles: &[Vec<u8>], count: usize) -> Vec<Vec<usize>> {
    let room = (needles.len() * CROWDED).div_ceil(count);
    let mut bucket_of: Vec<usize> =
        (0..needles.len()).map(|needle| needle * count / needles.len()).collect();
    let members = |bucket| {
        (0..needles.len()).filter(|needle| bucket_of[*needle] == bucket).collect::<Vec<_>>()
    };
    let mut buckets: Vec<Bucket> =
        (0..count).map(|bucket| Bucket::of(members(bucket), needles)).collect();
    for _ in 0..ROUNDS_MAX {
        let mut moved = false;
        for (index, needle) in needles.iter().enumerate() {
            let from = bucket_of[index];
            buckets[from].forget(Some(index), needles);
            let open = |(_, bucket): &(usize, &Bucket)| bucket.members.len() < room;
            let added = |(nth, bucket): (usize, &Bucket)| (nth, bucket.added(needle));
            let best = buckets.iter().enumerate().filter(open).map(added);
            let best = best.min_by(|(_, a), (_, b)| a.total_cmp(b));
            let to = best.map_or(from, |(bucket, _)| bucket);
            moved |= to != from;
            bucket_of[index] = to;
            buckets[to].members.push(index);
            buckets[to].halves = buckets[to].halves.with(needle);
        }
        if !moved {
            break;
        }
    }
    buckets.into_iter().map(|bucket| bucket.members).collect()
}

/// Roughly how often a byte stands in the prose, code and JSON that agents send.
const fn frequency(byte: u8) -> f32 {
    match byte {
        b' ' => 0.12,
        b'e' | b't' => 0.06,
        b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 0.045,
        b'l' | b'c' | b'd' | b'u' | b'p' | b'm' => 0.025,
        b'f' | b'h' | b'g' | b'y' | b'b' => 0.012,
        b'w' | b'v' | b'k' | b'x' => 0.006,
        b'0'..=b'9' | b'_' | b'-' | b'.' | b',' | b':' | b'/' | b'\\' | b'"' | b'(' | b')' => 0.01,
        b'j' | b'q' | b'z' => 0.001,
        b'A'..=b'Z' => 0.008,
        b'=' | b'<' | b'>' | b'{' | b'}' => 0.003,
        _ => 0.0005,
    }
}

/// Bytes of each needle that are compared at once.
pub(super) const WINDOW: usize = 4;

/// How many times as many needles as others a bucket may hold.
const CROWDED: usize = 2;

/// Most rounds of moving needles between buckets.
const ROUNDS_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needles_that_are_alike_share_a_bucket() {
        let needles: Vec<Vec<u8>> = ["aaa1", "aaa2", "zzz1", "zzz2"].map(Vec::from).to_vec();
        assert_eq!(clustered(&needles, 2), [[0, 1], [2, 3]]);
    }

    #[test]
    fn every_needle_is_in_one_bucket_and_none_is_crowded() {
        let needles: Vec<Vec<u8>> = (0..300).map(|n| format!("{n:03}").into_bytes()).collect();
        let buckets = clustered(&needles, 24);
        assert!(buckets.iter().all(|bucket| bucket.len() <= 300 / 24 * CROWDED + CROWDED));
        let mut members = buckets.concat();
        members.sort_unstable();
        assert_eq!(members, (0..300).collect::<Vec<_>>());
    }

    #[test]
    fn the_sums_of_frequencies_are_those_of_each_byte() {
        let (low, high) = (0b1010_0000_0110_0001, 0b1111_0101_1010_1100);
        let passes = |byte: &u8| low >> (byte & 15) & 1 == 1 && high >> (byte >> 4) & 1 == 1;
        let sum: f32 = (0..128).filter(passes).map(frequency).sum();
        assert!((passing(low, high) - sum).abs() < 1e-5);
    }

    #[test]
    fn the_rarest_bytes_of_a_literal_are_searched_for() {
        assert_eq!(rarest_window(b"aaaaa"), 0);
        assert!(rarest_window(b"secret_KEY") > 2);
        assert_eq!(rarest_window(b"abc"), 0);
    }
}
