//! Whole bodies and streams of the three shapes, as a client sees them.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::sse::SseRestorer;
use super::{Resolution, Resolve, RestoreError, Restored};
use crate::placeholder::{Kind, SessionKey, Tag, spell};

mod bodies;
mod lanes;
mod messages;
mod streams;

/// Everything that makes escaping hard (T4).
const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMIIEv\"quoted\"\\back\\\\slash\ttab\r\n\u{1}é😀\u{2028}</script>&amp;%3C\n-----END PRIVATE KEY-----\n";

const TOKEN: &str = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";

#[derive(Default)]
struct Known {
    values: HashMap<(String, Tag), String>,
    gone: HashSet<(String, Tag)>,
}

impl Known {
    fn mint(&mut self, kind: &str, plaintext: &str) -> String {
        let tag = SessionKey::new([7; 32]).tag(plaintext.as_bytes());
        self.values.insert((kind.to_owned(), tag), plaintext.to_owned());
        spell(&Kind::new(kind).unwrap(), tag)
    }

    fn bury(&mut self, kind: &str, plaintext: &str) -> String {
        let spelt = self.mint(kind, plaintext);
        let tag = SessionKey::new([7; 32]).tag(plaintext.as_bytes());
        self.values.remove(&(kind.to_owned(), tag));
        self.gone.insert((kind.to_owned(), tag));
        spelt
    }
}

impl Resolve for Known {
    fn resolve(&self, kind: &str, tag: Tag, out: &mut Vec<u8>) -> Resolution {
        let key = (kind.to_owned(), tag);
        match self.values.get(&key) {
            Some(plaintext) => {
                out.extend_from_slice(plaintext.as_bytes());
                Resolution::Known
            }
            None if self.gone.contains(&key) => Resolution::Gone,
            None => Resolution::Unknown,
        }
    }
}

/// The stream that a client gets when these chunks arrive.
fn through<'c>(
    chunks: impl IntoIterator<Item = &'c [u8]>,
    known: &Known,
) -> Result<Restored, RestoreError> {
    let mut restorer = SseRestorer::new();
    let mut all = Restored::default();
    let mut add = |part: Restored| {
        all.bytes.extend(part.bytes);
        all.restored += part.restored;
        all.unknown += part.unknown;
        all.thinking.extend(part.thinking);
    };
    for chunk in chunks {
        add(restorer.push(chunk, known)?);
    }
    add(restorer.finish(known)?);
    Ok(all)
}

/// The events of a stream as their consumers see them: name, and data parsed where it is JSON.
///
/// Written apart from the code under test: whole streams only, `\n`, `\r\n` and `\r` made equal.
fn events(stream: &[u8]) -> Vec<(Option<String>, Value)> {
    let text = String::from_utf8(stream.to_vec()).unwrap();
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    text.split("\n\n")
        .filter_map(|block| {
            let field = |name: &'static str| {
                block.lines().filter_map(move |line| {
                    let value = line.strip_prefix(name)?.strip_prefix(':')?;
                    Some(value.strip_prefix(' ').unwrap_or(value).to_owned())
                })
            };
            let data: Vec<String> = field("data").collect();
            let joined = data.join("\n");
            let value = serde_json::from_str(&joined).unwrap_or(Value::String(joined));
            (!data.is_empty()).then(|| (field("event").next(), value))
        })
        .collect()
}
