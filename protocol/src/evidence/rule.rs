//! Rules of single fields: how a Rust value is spelled in a line, and which spellings are taken.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::canonical::{Entry, MAX_INT, Value};
use super::hex;
use super::note::{VerifierKey, is_key_name};
use super::timestamp::Timestamp;

/// How values of type `T` are spelled. `None` from either side means: outside the rule.
pub(crate) trait Rule<T> {
    fn write(value: &T) -> Option<Value<'_>>;
    fn read(value: Value<'_>) -> Option<T>;
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> T;
}

/// An object with a closed set of fields.
pub(crate) trait Record: Sized {
    fn write<'a>(&'a self, into: &mut Vec<Entry<'a>>) -> Result<(), &'static str>;
    fn read(fields: &mut Fields<'_>) -> Result<Self, &'static str>;
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> Self;
}

/// The fields of an object, each taken once.
pub(crate) struct Fields<'a>(pub(crate) Vec<Entry<'a>>);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, key: &'static str) -> Result<Value<'a>, &'static str> {
        let at = self.0.iter().position(|(name, _)| name == key).ok_or(key)?;
        Ok(self.0.swap_remove(at).1)
    }

    /// The field `key` under rule `R`.
    pub(crate) fn read<R: Rule<T>, T>(&mut self, key: &'static str) -> Result<T, &'static str> {
        R::read(self.take(key)?).ok_or(key)
    }

    /// Refuses fields nobody took.
    pub(crate) fn end(self) -> Result<(), &'static str> {
        if self.0.is_empty() { Ok(()) } else { Err("unknown field") }
    }
}

/// Adds field `key` under rule `R`.
pub(crate) fn put<'a, R: Rule<T>, T>(
    into: &mut Vec<Entry<'a>>,
    key: &'static str,
    value: &'a T,
) -> Result<(), &'static str> {
    into.push((Cow::Borrowed(key), R::write(value).ok_or(key)?));
    Ok(())
}

fn text(value: Value<'_>) -> Option<Cow<'_, str>> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

/// An integer from `MIN` up.
pub(crate) struct Int<const MIN: u64 = 0>;

impl<const MIN: u64> Rule<u64> for Int<MIN> {
    fn write(value: &u64) -> Option<Value<'_>> {
        (MIN..=MAX_INT).contains(value).then_some(Value::Int(*value))
    }
    fn read(value: Value<'_>) -> Option<u64> {
        if let Value::Int(int) = value { (int >= MIN).then_some(int) } else { None }
    }
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> u64 {
        MIN + dice.below(MAX_INT - MIN + 1)
    }
}

impl Rule<u16> for Int {
    fn write(value: &u16) -> Option<Value<'_>> {
        Some(Value::Int(u64::from(*value)))
    }
    fn read(value: Value<'_>) -> Option<u16> {
        if let Value::Int(int) = value { u16::try_from(int).ok() } else { None }
    }
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> u16 {
        u16::try_from(dice.below(1 << 16)).unwrap()
    }
}

/// `true` or `false`.
pub(crate) struct Flag;

impl Rule<bool> for Flag {
    fn write(value: &bool) -> Option<Value<'_>> {
        Some(Value::Bool(*value))
    }
    fn read(value: Value<'_>) -> Option<bool> {
        if let Value::Bool(flag) = value { Some(flag) } else { None }
    }
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> bool {
        dice.below(2) == 1
    }
}

/// Bytes in lower-case hexadecimal.
pub(crate) struct Hex;

impl<const N: usize> Rule<[u8; N]> for Hex {
    fn write(value: &[u8; N]) -> Option<Value<'_>> {
        Some(Value::Text(hex::encode(value).into()))
    }
    fn read(value: Value<'_>) -> Option<[u8; N]> {
        hex::decode(&text(value)?)
    }
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> [u8; N] {
        dice.bytes()
    }
}

/// Bytes in padded standard base64 (RFC 4648 section 4), unused bits zero.
pub(crate) struct Base64;

impl<const N: usize> Rule<[u8; N]> for Base64 {
    fn write(value: &[u8; N]) -> Option<Value<'_>> {
        Some(Value::Text(STANDARD.encode(value).into()))
    }
    fn read(value: Value<'_>) -> Option<[u8; N]> {
        STANDARD.decode(text(value)?.as_bytes()).ok()?.try_into().ok()
    }
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> [u8; N] {
        dice.bytes()
    }
}

/// A time.
pub(crate) struct Time;

impl Rule<Timestamp> for Time {
    fn write(value: &Timestamp) -> Option<Value<'_>> {
        Some(Value::Text(value.to_string().into()))
    }
    fn read(value: Value<'_>) -> Option<Timestamp> {
        Timestamp::parse(&text(value)?)
    }
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> Timestamp {
        Timestamp::from_ms(dice.below(253_402_300_800_000)).unwrap()
    }
}

/// Rules of strings: what a string must be like, and an example.
macro_rules! text_rules {
    ($($(#[$meta:meta])* $name:ident($text:ident, $dice:ident): $test:expr, like $sample:expr;)*) => {
        $(
            $(#[$meta])*
            pub(crate) struct $name;

            impl $name {
                pub(crate) fn allows($text: &str) -> bool {
                    $test
                }
            }

            impl Rule<String> for $name {
                fn write(value: &String) -> Option<Value<'_>> {
                    Self::allows(value).then(|| Value::Text(Cow::Borrowed(value)))
                }
                fn read(value: Value<'_>) -> Option<String> {
                    text(value).filter(|text| Self::allows(text)).map(Cow::into_owned)
                }
                #[cfg(test)]
                fn sample($dice: &mut Dice) -> String {
                    $sample
                }
            }
        )*
    };
}

text_rules! {
    /// Words of an operator or a program: at most 200 bytes.
    Prose(text, dice): text.len() <= 200,
        like dice.pick(&["", "why \"not\"\n", "\u{1}\\ \u{e9}\u{2028}\u{1f512}", "waterwall/1"]);
    /// A client's identifier, or its replacement.
    Ident(text, dice): within(text, 64, |b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
        like dice.pick(&["req_01.A-b", "x-0123456789abcdef"]);
    /// A pattern type.
    Kind(text, dice): within(text, 40, is_kind_byte),
        like dice.pick(&["AWS_ACCESS_KEY", "LITERAL", "T0"]);
    /// A tag of the framework table.
    Tag(text, dice): within(text, 64, |b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
        like dice.pick(&["SOC2-CC7.2", "EU-AI-Act-Art-12"]);
    /// A host name or address, with or without port, or its replacement.
    Host(text, dice):
        within(text, 253, |b| b.is_ascii_alphanumeric() || b"._:[]-".contains(&b)),
        like dice.pick(&["api.anthropic.com", "[::1]:443"]);
    /// A file's base name.
    FileName(text, dice):
        within(text, 64, |b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
        like dice.pick(&["proxy.000000000001-000000000042.jsonl"]);
    /// A log's name, and so a key's.
    Origin(text, dice): is_key_name(text),
        like dice.pick(&["waterwall.local/00112233445566778899aabbccddeeff", "a"]);
    /// A C2SP verifier key.
    Vkey(text, dice): VerifierKey::parse(text).is_ok(),
        like VerifierKey::new("waterwall.local/ab", dice.bytes()).unwrap().to_string();
    /// One of the kill switch's sources.
    Source(text, dice): ["config", "sigusr1", "sentinel", "http"].contains(&text),
        like dice.pick(&["config", "sigusr1", "sentinel", "http"]);
}

fn within(text: &str, most: usize, allowed: impl Fn(u8) -> bool) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_kind_byte(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_')
}

/// `null`, or what `R` allows.
pub(crate) struct Nullable<R>(std::marker::PhantomData<R>);

impl<T, R: Rule<T>> Rule<Option<T>> for Nullable<R> {
    fn write(value: &Option<T>) -> Option<Value<'_>> {
        value.as_ref().map_or(Some(Value::Null), R::write)
    }
    fn read(value: Value<'_>) -> Option<Option<T>> {
        if value == Value::Null { Some(None) } else { R::read(value).map(Some) }
    }
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> Option<T> {
        (dice.below(2) == 1).then(|| R::sample(dice))
    }
}

/// A list of what `R` allows.
pub(crate) struct Each<R>(std::marker::PhantomData<R>);

impl<T, R: Rule<T>> Rule<Vec<T>> for Each<R> {
    fn write(value: &Vec<T>) -> Option<Value<'_>> {
        value.iter().map(R::write).collect::<Option<_>>().map(Value::List)
    }
    fn read(value: Value<'_>) -> Option<Vec<T>> {
        if let Value::List(items) = value { items.into_iter().map(R::read).collect() } else { None }
    }
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> Vec<T> {
        (0..dice.below(4)).map(|_| R::sample(dice)).collect()
    }
}

/// Tags, strictly ascending.
pub(crate) struct SortedTags;

impl Rule<Vec<String>> for SortedTags {
    fn write(value: &Vec<String>) -> Option<Value<'_>> {
        value.is_sorted_by(|a, b| a < b).then(|| Each::<Tag>::write(value)).flatten()
    }
    fn read(value: Value<'_>) -> Option<Vec<String>> {
        Each::<Tag>::read(value).filter(|tags| tags.is_sorted_by(|a, b| a < b))
    }
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> Vec<String> {
        let tags: std::collections::BTreeSet<_> = Each::<Tag>::sample(dice).into_iter().collect();
        tags.into_iter().collect()
    }
}

/// First and last of a range, both from 1 up and in order; also a part's number and the parts.
pub(crate) struct Range;

impl Rule<(u64, u64)> for Range {
    fn write((first, last): &(u64, u64)) -> Option<Value<'_>> {
        let ordered = 1 <= *first && first <= last && *last <= MAX_INT;
        ordered.then(|| Value::List(vec![Value::Int(*first), Value::Int(*last)]))
    }
    fn read(value: Value<'_>) -> Option<(u64, u64)> {
        let Value::List(items) = value else { return None };
        match items.as_slice() {
            [Value::Int(first @ 1..), Value::Int(last)] if first <= last => Some((*first, *last)),
            _ => None,
        }
    }
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> (u64, u64) {
        let first = 1 + dice.below(1000);
        (first, first + dice.below(1000))
    }
}

/// Counts by pattern type.
pub(crate) struct Counts;

impl Rule<BTreeMap<String, u64>> for Counts {
    fn write(value: &BTreeMap<String, u64>) -> Option<Value<'_>> {
        let entry = |(kind, count): (&'_ String, &u64)| {
            (Kind::allows(kind) && *count <= MAX_INT)
                .then(|| (Cow::Owned(kind.clone()), Value::Int(*count)))
        };
        value.iter().map(entry).collect::<Option<_>>().map(Value::Object)
    }
    fn read(value: Value<'_>) -> Option<BTreeMap<String, u64>> {
        let Value::Object(entries) = value else { return None };
        let entry = |(kind, count): Entry<'_>| match count {
            Value::Int(count) => Some((kind.into_owned(), count)),
            _ => None,
        };
        entries.into_iter().map(entry).collect()
    }
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> BTreeMap<String, u64> {
        (0..dice.below(4)).map(|_| (Kind::sample(dice), dice.below(100))).collect()
    }
}

/// An object of its own.
pub(crate) struct Nested;

impl<T: Record> Rule<T> for Nested {
    fn write(value: &T) -> Option<Value<'_>> {
        let mut entries = Vec::new();
        value.write(&mut entries).ok()?;
        Some(Value::object(entries))
    }
    fn read(value: Value<'_>) -> Option<T> {
        let Value::Object(entries) = value else { return None };
        let mut fields = Fields(entries);
        let record = T::read(&mut fields).ok()?;
        fields.end().ok().map(|()| record)
    }
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> T {
        T::sample(dice)
    }
}

/// One word of a closed list.
pub(crate) struct Word;

/// A closed list of words.
pub(crate) trait Words: Copy + 'static {
    const ALL: &'static [Self];
    fn word(self) -> &'static str;
}

impl<T: Words> Rule<T> for Word {
    fn write(value: &T) -> Option<Value<'_>> {
        Some(Value::Text(Cow::Borrowed(value.word())))
    }
    fn read(value: Value<'_>) -> Option<T> {
        let text = text(value)?;
        T::ALL.iter().copied().find(|word| word.word() == text)
    }
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> T {
        T::ALL[usize::try_from(dice.below(T::ALL.len() as u64)).unwrap()]
    }
}

/// Chance from a seed, for samples.
#[cfg(test)]
pub(crate) struct Dice(pub(crate) u64);

#[cfg(test)]
impl Dice {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| u8::try_from(self.below(256)).unwrap())
    }

    fn pick(&mut self, from: &[&str]) -> String {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()].to_owned()
    }
}
