//! Randomness that is the same in every run, on every machine and in every version.

/// SplitMix64.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// A source of its own for everything that is called `name`, so that what is added elsewhere
    /// does not change what comes here.
    #[must_use]
    pub(super) fn named(seed: u64, name: &str) -> Self {
        let fnv = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, fnv))
    }

    /// 64 bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.bits()) * bound as u128;
        usize::try_from(wide >> 64).expect("it is below a usize")
    }

    /// A number from `least` to `most`.
    pub(super) fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most - least + 1)
    }

    /// One of `items`.
    pub(super) fn pick<'i, T>(&mut self, items: &'i [T]) -> &'i T {
        &items[self.below(items.len())]
    }

    /// `count` characters of `alphabet`.
    pub(super) fn of(&mut self, alphabet: &str, count: usize) -> String {
        (0..count).map(|_| char::from(*self.pick(alphabet.as_bytes()))).collect()
    }

    /// From `least` to `most` characters of `alphabet`.
    pub(super) fn some(&mut self, alphabet: &str, least: usize, most: usize) -> String {
        let count = self.between(least, most);
        self.of(alphabet, count)
    }

    /// `count` bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.bits().to_le_bytes()[0]).collect()
    }

    /// `count` words, as people write them.
    pub(super) fn words(&mut self, count: usize) -> String {
        let words: Vec<&str> = (0..count).map(|_| *self.pick(&WORDS)).collect();
        words.join(" ")
    }
}

/// Digits.
pub(super) const DIGITS: &str = "0123456789";
/// Letters of either case.
pub(super) const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Lower-case letters.
pub(super) const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
/// Letters and digits.
pub(super) const ALNUM: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Upper-case letters and digits.
pub(super) const UPPER: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// Lower-case letters and digits.
pub(super) const LOWER_DIGITS: &str = "0123456789abcdefghijklmnopqrstuvwxyz";
/// The alphabet of base64url.
pub(super) const URL64: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
/// The alphabet of base64.
pub(super) const BASE64: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/";
/// Lower-case hexadecimal digits.
pub(super) const HEX: &str = "0123456789abcdef";
/// The alphabet of base32.
pub(super) const BASE32: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

const WORDS: [&str; 48] = [
    "the", "request", "cache", "when", "a", "server", "returns", "file", "we", "should", "test",
    "before", "it", "is", "sent", "to", "queue", "worker", "and", "then", "log", "every", "line",
    "with", "its", "number", "please", "look", "at", "how", "this", "fails", "on", "retry",
    "after", "second", "build", "branch", "merged", "into", "main", "read", "config", "from",
    "folder", "parse", "value", "again",
];
