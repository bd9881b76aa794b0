//! Sentences about whole bodies.

use super::*;
use crate::placeholder::spell;

mod catalogue;
mod dialects;
mod encoded;
mod identity;
mod known;
mod multipart;
mod places;
mod policies;
mod published;
mod refusals;
mod spread;
mod windows;

const AWS: &str = "AKIAIOSFODNN7EXAMPLE";

struct Forgets;

impl ThinkingMemory for Forgets {
    fn provider_text(&self, _: &str, _: &[u8; 32]) -> Option<String> {
        None
    }
}

fn key() -> SessionKey {
    SessionKey::new([7; 32])
}

fn policy() -> &'static Policy {
    static POLICY: std::sync::OnceLock<Policy> = std::sync::OnceLock::new();
    POLICY.get_or_init(|| Policy::built_in().unwrap_or_else(|error| panic!("{error}")))
}

fn run_with(
    policy: &Policy,
    thinking: &dyn ThinkingMemory,
    dialect: Dialect,
    media: Media,
    body: &str,
) -> Result<Redacted, Refusal> {
    let key = key();
    let context = Context { policy, known: &NothingKnown, key: &key, dialect, thinking };
    redact(&context, media, body.to_owned().into())
}

fn run(dialect: Dialect, media: Media, body: &str) -> Result<Redacted, Refusal> {
    run_with(policy(), &Forgets, dialect, media, body)
}

/// What a body of any other JSON becomes.
fn json(body: &str) -> String {
    text_of(&run(Dialect::Generic, Media::Json, body).unwrap())
}

/// What plain text becomes.
fn plain(body: &str) -> String {
    text_of(&run(Dialect::Generic, Media::Text, body).unwrap())
}

fn text_of(redacted: &Redacted) -> String {
    String::from_utf8(redacted.body.to_vec()).unwrap()
}

/// The placeholder of `plaintext` as `kind`.
fn placeholder(kind: &str, plaintext: &str) -> String {
    spell(&Kind::new(kind).unwrap(), key().tag(plaintext.as_bytes()))
}

#[test]
fn redaction_and_restoration_name_no_runtime() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut open = vec![source.join("redact"), source.join("restore")];
    let (own, mut read) = (file!().rsplit('/').next().unwrap(), 0);
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        } else if !path.ends_with(own) {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains("tokio") && !text.contains("hyper"), "{}", path.display());
            read += 1;
        }
    }
    assert!(read > 10);
}
