//! What the engine finds of the corpus, and what it takes for a secret that is none.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use proxy::dialect::Dialect;
use proxy::placeholder::SessionKey;
use proxy::redact::{Context, Media, NothingKnown, Policy, Redacted, ThinkingMemory, redact};
use serde_json::json;

use super::{Difficulty, Group, Sample, benign, samples};

/// Hits among so many.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rate {
    /// How many were found as a whole.
    pub hits: usize,
    /// Of how many.
    pub of: usize,
}

impl Rate {
    fn count(&mut self, hit: bool) {
        self.hits += usize::from(hit);
        self.of += 1;
    }

    /// The share of hits.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    pub fn share(self) -> f64 {
        self.hits as f64 / self.of.max(1) as f64
    }
}

/// Text of one kind without secrets, and what was replaced in it.
#[derive(Debug, Clone)]
pub struct Clean {
    /// The kind.
    pub name: &'static str,
    /// Bytes.
    pub length: usize,
    /// How often each TYPE was seen in it.
    pub replaced: BTreeMap<String, usize>,
}

impl Clean {
    /// Replacements in it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.replaced.values().sum()
    }

    /// Replacements per million bytes.
    #[must_use]
    pub fn per_mb(&self) -> f64 {
        per_mb(self.count(), self.length)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn per_mb(count: usize, length: usize) -> f64 {
    count as f64 * 1e6 / length.max(1) as f64
}

/// How the engine did.
#[derive(Debug, Clone, Default)]
pub struct Score {
    /// Secrets of which every byte was replaced.
    pub recall: BTreeMap<(Group, Difficulty), Rate>,
    /// The same per type and difficulty.
    pub types: BTreeMap<(Group, &'static str, Difficulty), Rate>,
    /// Secrets replaced that were replaced exactly, with nothing beside them.
    pub exact: BTreeMap<(Group, Difficulty), Rate>,
    /// Replacements in bodies with a secret that touched it.
    pub precision: Rate,
    /// Secrets of published types that were named after their type.
    pub named: Rate,
    /// What was not found: type, source, surroundings, carrier.
    pub misses: Vec<[&'static str; 4]>,
    /// Text without secrets.
    pub clean: Vec<Clean>,
}

impl Score {
    /// Replacements per million bytes of text without secrets.
    #[must_use]
    pub fn false_per_mb(&self) -> f64 {
        let count = self.clean.iter().map(Clean::count).sum();
        per_mb(count, self.clean.iter().map(|clean| clean.length).sum())
    }
}

struct Nothing;

impl ThinkingMemory for Nothing {
    fn provider_text(&self, _: &str, _: &[u8; 32]) -> Option<String> {
        None
    }
}

/// Runs the engine under `policy` over the corpus of `seed`.
///
/// # Panics
///
/// Where a body is refused: none of them may be.
#[must_use]
pub fn score(policy: &Policy, seed: u64, rounds: usize, clean_bytes: usize) -> Score {
    let mut score = Score::default();
    for sample in samples(seed, rounds) {
        score.add(policy, sample);
    }
    score.misses.sort_unstable();
    score.clean = benign::KINDS.iter().map(|kind| clean(policy, kind, seed, clean_bytes)).collect();
    score
}

impl Score {
    fn add(&mut self, policy: &Policy, sample: Sample) {
        let Sample { shape, difficulty, place, body } = sample;
        let range = body.range();
        let text = body.secret.text();
        let sent = run(policy, body.dialect, body.media, text.into_bytes())
            .unwrap_or_else(|refusal| panic!("{} in {place:?}: {refusal}", shape.name));
        let found = covers(&sent, &range);
        let key = (shape.group, difficulty);
        self.recall.entry(key).or_default().count(found);
        self.types.entry((shape.group, shape.name, difficulty)).or_default().count(found);
        let mut exact = false;
        for replaced in &sent.replaced {
            let touches = replaced.range.start < range.end && range.start < replaced.range.end;
            self.precision.count(touches);
            exact |= replaced.range == range;
            if let (true, Some(finding), Group::Published) =
                (touches, replaced.finding, shape.group)
            {
                self.named.count(sent.findings[finding].kind.as_str() == shape.name);
            }
        }
        if found {
            self.exact.entry(key).or_default().count(exact);
        } else {
            self.misses.push([shape.name, shape.source, place.0, place.1]);
        }
    }
}

/// Whether every byte of `range` was replaced.
fn covers(sent: &Redacted, range: &Range<usize>) -> bool {
    let mut at = range.start;
    for replaced in &sent.replaced {
        if replaced.range.start <= at && at < replaced.range.end {
            at = replaced.range.end;
        }
    }
    at >= range.end
}

fn clean(policy: &Policy, kind: &benign::Kind, seed: u64, length: usize) -> Clean {
    let text = kind.text(seed, length);
    let mut replaced = BTreeMap::new();
    let mut rest = &*text;
    let mut as_json = false;
    while !rest.is_empty() {
        let cut = (PIECE.min(rest.len())..=rest.len())
            .find(|at| rest.is_char_boundary(*at))
            .unwrap_or(rest.len());
        let end = rest[..cut].rfind('\n').filter(|_| cut < rest.len()).map_or(cut, |at| at + 1);
        let (piece, more) = rest.split_at(end);
        rest = more;
        let sent = if as_json {
            let message = json!({ "role": "user", "content": piece });
            let body = json!({ "model": "m", "messages": [message] }).to_string();
            run(policy, Dialect::AnthropicMessages, Media::Json, body.into_bytes())
        } else {
            run(policy, Dialect::Generic, Media::Text, piece.as_bytes().to_vec())
        };
        as_json = !as_json;
        let sent = sent.unwrap_or_else(|refusal| panic!("{}: {refusal}", kind.name));
        for finding in sent.replaced.iter().filter_map(|replaced| replaced.finding) {
            let kind = sent.findings[finding].kind.as_str().to_owned();
            *replaced.entry(kind).or_default() += 1;
        }
    }
    Clean { name: kind.name, length: text.len(), replaced }
}

/// A body of text without secrets.
const PIECE: usize = 48 * 1024;

fn run(policy: &Policy, dialect: Dialect, media: Media, body: Vec<u8>) -> Result<Redacted, String> {
    let key = SessionKey::new([7; 32]);
    let context = Context { policy, key: &key, dialect, thinking: &Nothing, known: &NothingKnown };
    redact(&context, media, Bytes::from(body)).map_err(|refusal| format!("{refusal:?}"))
}
