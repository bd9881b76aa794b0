//! What several targets say: how bodies are compared, and who answers for placeholders.

use std::sync::OnceLock;

use bytes::Bytes;
use proxy::dialect::Dialect;
use proxy::placeholder::{Minted, SessionKey, Tag, spell};
use proxy::redact::{
    Context, Media, NothingKnown, Policy, Redacted, Refusal, Replaced, ThinkingMemory, redact,
};
use proxy::restore::{Resolution, Resolve};
use serde::de::IgnoredAny;

/// The built-in patterns, compiled once.
pub fn policy() -> &'static Policy {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    POLICY.get_or_init(|| Policy::built_in().expect("the built-in set is valid"))
}

/// The same key in every run, so that an input that fails once fails again.
pub fn key() -> SessionKey {
    SessionKey::new([7; 32])
}

/// A client that was never given any thinking.
pub struct Forgets;

impl ThinkingMemory for Forgets {
    fn provider_text(&self, _: &str, _: &[u8; 32]) -> Option<String> {
        None
    }
}

/// Knows a plaintext for every placeholder but those whose digest says otherwise.
pub struct Answers;

impl Resolve for Answers {
    fn resolve(&self, kind: &str, tag: Tag, out: &mut Vec<u8>) -> Resolution {
        match tag.0[0] {
            0xdd => Resolution::Gone,
            0xee => Resolution::Unknown,
            _ => {
                // Everything that makes escaping hard, but for the carriage return that plain
                // event data cannot carry.
                out.extend_from_slice(format!("{kind}\n\"q\"\\\t\u{1}é😀</s>&%3C").as_bytes());
                Resolution::Known
            }
        }
    }
}

/// Knows none.
pub struct Nobody;

impl Resolve for Nobody {
    fn resolve(&self, _: &str, _: Tag, _: &mut Vec<u8>) -> Resolution {
        Resolution::Unknown
    }
}

/// Whether `text` is one JSON value, as another parser sees it.
pub fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Whether `text` is JSON values one after another, and how many.
pub fn json_texts(text: &[u8]) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    values.try_fold(0, |count, value| value.ok().map(|_| count + 1))
}

/// Whether the JSON in `sent` says what the JSON in `came` does once each placeholder in it is
/// read as its plaintext, and every byte outside its strings is the same.
pub fn json_says_the_same(sent: &[u8], came: &[u8], minted: &[Minted]) -> bool {
    let (sent, came) = (pieces(sent), pieces(came));
    sent.len() == came.len()
        && sent.iter().zip(&came).all(|(sent, came)| match (sent, came) {
            (Piece::Outside(sent), Piece::Outside(came)) => sent == came,
            (Piece::String(sent), Piece::String(came)) => {
                sent == came || text_says_the_same(&unescaped(sent), &unescaped(came), minted)
            }
            _ => false,
        })
}

/// The same of text, or of the JSON that both texts are: a placeholder in there stands for what
/// the inner strings say.
pub fn text_says_the_same(sent: &[u8], came: &[u8], minted: &[Minted]) -> bool {
    substituted(sent, minted) == came
        || is_json(sent) && is_json(came) && json_says_the_same(sent, came, minted)
}

/// `text` with each minted placeholder replaced, in one pass: a plaintext may look like one.
pub fn substituted(text: &[u8], minted: &[Minted]) -> Vec<u8> {
    let spelt: Vec<(String, &[u8])> = minted
        .iter()
        .map(|minted| (spell(&minted.kind, minted.tag), minted.plaintext.expose()))
        .collect();
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match spelt.iter().find(|(spelt, _)| text[at..].starts_with(spelt.as_bytes())) {
            Some((spelt, plaintext)) => {
                out.extend_from_slice(plaintext);
                at += spelt.len();
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

#[derive(PartialEq)]
enum Piece<'t> {
    Outside(&'t [u8]),
    /// Without its quotes.
    String(&'t [u8]),
}

/// Valid JSON as its strings and what is between them.
fn pieces(json: &[u8]) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = json;
    while let Some(open) = rest.iter().position(|byte| *byte == b'"') {
        pieces.push(Piece::Outside(&rest[..open]));
        rest = &rest[open + 1..];
        let mut end = 0;
        while rest.get(end).is_some_and(|byte| *byte != b'"') {
            end += if rest[end] == b'\\' { 2 } else { 1 };
        }
        let end = end.min(rest.len());
        pieces.push(Piece::String(&rest[..end]));
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    pieces.push(Piece::Outside(rest));
    pieces
}

/// What the inside of a valid JSON string says; U+FFFD for half of a surrogate pair.
fn unescaped(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut units = Vec::new();
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        if let [b'\\', b'u', a, b, c, d, after @ ..] = rest {
            let digits = [*a, *b, *c, *d].map(char::from).iter().collect::<String>();
            units.push(u16::from_str_radix(&digits, 16).expect("the JSON was checked"));
            rest = after;
            continue;
        }
        out.extend(String::from_utf16_lossy(&units).bytes());
        units.clear();
        rest = match (first, tail) {
            (b'\\', [escape, after @ ..]) => {
                out.push(match escape {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'f' => 12,
                    plain => *plain,
                });
                after
            }
            _ => {
                out.push(*first);
                tail
            }
        };
    }
    out.extend(String::from_utf16_lossy(&units).bytes());
    out
}

/// What becomes of a body of `media`.
///
/// # Errors
///
/// Where it is refused.
pub fn run(dialect: Dialect, media: Media, body: &[u8]) -> Result<Redacted, Refusal> {
    let key = key();
    let context =
        Context { policy: policy(), known: &NothingKnown, key: &key, dialect, thinking: &Forgets };
    redact(&context, media, Bytes::copy_from_slice(body))
}

/// Panics where a byte of `came` changed that no finding, and no length of a part, accounts for.
pub fn only_the_replaced_changed(came: &[u8], sent: &Redacted) {
    let mut rest = &*sent.body;
    let mut from = 0;
    for Replaced { range, finding } in &sent.replaced {
        assert!(from <= range.start && range.start < range.end);
        rest = rest.strip_prefix(&came[from..range.start]).expect("what was not found stays");
        from = range.end;
        let Some(finding) = finding.map(|finding| &sent.findings[finding]) else {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            assert!(digits > 0 && came[range.clone()].iter().all(u8::is_ascii_digit));
            rest = &rest[digits..];
            continue;
        };
        let plain = spell(&finding.kind, finding.tag);
        let escaped = plain.replace('<', "%3C").replace(':', "%3A").replace('>', "%3E");
        rest = rest
            .strip_prefix(plain.as_bytes())
            .or_else(|| rest.strip_prefix(escaped.as_bytes()))
            .expect("a placeholder stands where something was replaced");
    }
    assert_eq!(rest, &came[from..]);
}

/// Panics where findings, placeholders and replaced stretches do not agree.
pub fn books_balance(sent: &Redacted) {
    for (index, finding) in sent.findings.iter().enumerate() {
        let named = |minted: &&Minted| (&minted.kind, minted.tag) == (&finding.kind, finding.tag);
        assert_eq!(sent.minted.iter().filter(named).count(), 1);
        let replaced = sent.replaced.iter().filter(|replaced| replaced.finding == Some(index));
        assert_eq!(replaced.count() as u64, finding.count);
    }
}
