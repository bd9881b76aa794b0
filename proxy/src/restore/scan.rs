//! One text, its placeholders, and what replaces them.

use std::ops::Range;

use super::grammar::{self, Reading};
use super::{Resolution, Resolve, RestoreError, Restored, ThinkingRecord};

/// What a string is, as far as restoring goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// How many JSON strings this text is the source of: 1 for a tool's `arguments`.
    pub(super) layers: u8,
    /// Whether a tool will act on it.
    pub(super) tool: bool,
}

impl Place {
    pub(super) const TEXT: Self = Self { layers: 0, tool: false };
    /// A tool's input as text: freeform input, code, a leaf of an input object.
    pub(super) const TOOL: Self = Self { layers: 0, tool: true };
    /// A tool's input as JSON inside a string.
    pub(super) const ARGUMENTS: Self = Self { layers: 1, tool: true };
}

/// Whether more of a text may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// A placeholder begun at the end may go on.
    Follows,
    /// This is all.
    None,
}

/// What to change in a text.
#[derive(Debug)]
pub(super) struct Edits {
    /// Spans to replace, in order.
    pub(super) replaced: Vec<(Range<usize>, Vec<u8>)>,
    /// Where the tail starts that cannot be decided yet; the text's length if all of it can.
    pub(super) held: usize,
}

impl Edits {
    /// The decided part of `text`, with everything replaced.
    pub(super) fn apply(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut done = 0;
        for (span, with) in &self.replaced {
            out.extend_from_slice(&text[done..span.start]);
            out.extend_from_slice(with);
            done = span.end;
        }
        out.extend_from_slice(&text[done..self.held]);
        out
    }
}

/// Most plaintext that one body, or one piece of a stream, is given, in bytes. A placeholder is
/// short and what it stands for may be long: a provider that repeats one could fill all memory.
const PLAINTEXT_MAX: usize = 64 * 1024 * 1024;

/// Looks placeholders up and keeps count.
pub(super) struct Scanner<'r> {
    resolve: &'r dyn Resolve,
    /// Plaintext that may still be given, in bytes.
    room: usize,
    restored: u64,
    unknown: u64,
    pub(super) thinking: Vec<ThinkingRecord>,
}

impl<'r> Scanner<'r> {
    pub(super) fn new(resolve: &'r dyn Resolve) -> Self {
        Self { resolve, room: PLAINTEXT_MAX, restored: 0, unknown: 0, thinking: Vec::new() }
    }

    pub(super) fn into_restored(self, bytes: Vec<u8>) -> Restored {
        let Self { restored, unknown, thinking, .. } = self;
        Restored { bytes, restored, unknown, thinking }
    }

    /// Finds what to replace in `text`.
    ///
    /// Reading is left to right and never looks behind, so a text restores alike in one piece and
    /// in many.
    pub(super) fn scan(
        &mut self,
        text: &[u8],
        place: Place,
        rest: Rest,
    ) -> Result<Edits, RestoreError> {
        let mut replaced = Vec::new();
        let mut at = 0;
        while let Some(opener) = grammar::next_opener(text, at) {
            at = opener + 1;
            match grammar::read(text, opener) {
                Reading::Unfinished if rest == Rest::Follows => {
                    return Ok(Edits { replaced, held: opener });
                }
                Reading::Nothing | Reading::Unfinished => {}
                Reading::Damaged => self.unknown += 1,
                Reading::Whole(found) => {
                    at = found.span.end;
                    if let Some(plaintext) = self.look_up(text, &found, place)? {
                        replaced.push((found.span, plaintext));
                    }
                }
            }
        }
        Ok(Edits { replaced, held: text.len() })
    }

    fn look_up(
        &mut self,
        text: &[u8],
        found: &grammar::Found,
        place: Place,
    ) -> Result<Option<Vec<u8>>, RestoreError> {
        let kind = str::from_utf8(&text[found.kind.clone()]).map_err(|_| RestoreError::NotText)?;
        let mut plaintext = Vec::new();
        match self.resolve.resolve(kind, found.tag, &mut plaintext) {
            Resolution::Gone if place.tool => Err(RestoreError::Gone),
            Resolution::Gone | Resolution::Unknown => {
                self.unknown += 1;
                Ok(None)
            }
            Resolution::Known => {
                self.restored += 1;
                let plaintext = str::from_utf8(&plaintext).map_err(|_| RestoreError::NotText)?;
                let mut out = Vec::with_capacity(plaintext.len());
                grammar::write(found.spelling, place.layers, plaintext, &mut out);
                self.room = self.room.checked_sub(out.len()).ok_or(RestoreError::TooLarge)?;
                Ok(Some(out))
            }
        }
    }
}
