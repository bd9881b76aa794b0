//! Replaces spans of a body; every other byte stays.

use std::ops::Range;

use crate::placeholder::PLAIN_MAX;

/// Replace the bytes of `range` by `text`.
pub(crate) struct Replacement {
    /// Where.
    pub(crate) range: Range<usize>,
    /// What comes there.
    pub(crate) text: String,
    /// Index of the finding this is an occurrence of; `None` where no secret stood there.
    pub(crate) finding: Option<usize>,
}

/// `text` with `replacements` made, which are in order and apart.
pub(crate) fn splice(text: &[u8], replacements: &[Replacement]) -> Vec<u8> {
    let room = replacements.len() * PLAIN_MAX;
    let mut out = Vec::with_capacity(text.len() + room);
    let mut copied = 0;
    for replacement in replacements {
        out.extend_from_slice(&text[copied..replacement.range.start]);
        out.extend_from_slice(replacement.text.as_bytes());
        copied = replacement.range.end;
    }
    out.extend_from_slice(&text[copied..]);
    out
}

/// Moves the replacements of a part of a text to where the part starts.
pub(crate) fn shift(
    replacements: Vec<Replacement>,
    by: usize,
) -> impl Iterator<Item = Replacement> {
    replacements.into_iter().map(move |Replacement { range, text, finding }| Replacement {
        range: range.start + by..range.end + by,
        text,
        finding,
    })
}
