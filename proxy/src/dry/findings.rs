//! What was found and where, without what it was.

use std::io::{self, Write};
use std::ops::Range;

use memchr::{memchr, memchr_iter, memmem};
use serde_json::{Value, json};

use crate::placeholder::{Minted, spell};
use crate::redact::json::pointer::{Pointer, pointers};
use crate::redact::{Confidence, Finding, Media, Policy, Redacted, Replaced};

/// How places in a body are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// By JSON Pointer.
    Json,
    /// By line, and JSON Pointer in it.
    JsonLines,
    /// By field.
    Form,
    /// By part, and line in it.
    Multipart {
        /// What stands between the parts.
        delimiter: Vec<u8>,
    },
    /// By line and column.
    Text,
    /// Not at all: nothing in it is replaced.
    Binary,
}

impl Layout {
    /// That of a body of `media`.
    pub(super) fn of(media: &Media) -> Self {
        match media {
            Media::Json => Self::Json,
            Media::JsonLines => Self::JsonLines,
            Media::Form => Self::Form,
            Media::Multipart { boundary, .. } => {
                Self::Multipart { delimiter: format!("--{boundary}").into_bytes() }
            }
            Media::Text => Self::Text,
            Media::Binary(_) => Self::Binary,
        }
    }

    /// What the body is called.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::JsonLines => "JSON lines",
            Self::Form => "form",
            Self::Multipart { .. } => "multipart",
            Self::Text => "text",
            Self::Binary => "binary",
        }
    }
}

/// One replaced stretch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Located {
    kind: String,
    confidence: &'static str,
    rule: &'static str,
    path: String,
    span: Range<usize>,
}

/// Where each replaced stretch of `body` stands. Names on the way there are as they left: a key
/// may be a secret too.
pub(super) fn locate(
    policy: &Policy,
    layout: &Layout,
    body: &[u8],
    sent: &Redacted,
) -> Vec<Located> {
    let paths: Vec<String> = match layout {
        Layout::Json => {
            let places = pointers(&sent.body, &offsets_sent(sent));
            places.into_iter().map(path).collect()
        }
        Layout::JsonLines => in_lines(&sent.body, &offsets_sent(sent)),
        Layout::Form => {
            let ends: Vec<usize> = memchr_iter(b'&', body).collect();
            let field = |at: usize| ends.partition_point(|end| *end < at) + 1;
            starts(sent).map(|at| format!("field {}", field(at))).collect()
        }
        Layout::Multipart { delimiter } => in_parts(body, delimiter, starts(sent)),
        Layout::Text | Layout::Binary => {
            let mut lines = Lines::new(body);
            starts(sent).map(|at| lines.place(at)).collect()
        }
    };
    let confidences: Vec<&str> =
        sent.findings.iter().map(|finding| confidence(policy, finding, sent)).collect();
    let located = |(replaced, path): (&Replaced, String)| {
        let index = replaced.finding?;
        let Finding { kind, rule, .. } = &sent.findings[index];
        let (kind, span) = (kind.as_str().to_owned(), replaced.range.clone());
        Some(Located { kind, confidence: confidences[index], rule, path, span })
    };
    sent.replaced.iter().zip(paths).filter_map(located).collect()
}

/// How much speaks for what was found.
fn confidence(policy: &Policy, finding: &Finding, sent: &Redacted) -> &'static str {
    let is_its = |minted: &&Minted| minted.tag == finding.tag && minted.kind == finding.kind;
    let minted = sent.minted.iter().find(is_its);
    match minted.map(|minted| policy.confidence(&finding.kind, minted.plaintext.expose())) {
        Some(Confidence::Checked) => "checked",
        Some(Confidence::Shape) | None => "shape",
    }
}

/// Where each replaced stretch starts in the body that came.
fn starts(sent: &Redacted) -> impl Iterator<Item = usize> {
    sent.replaced.iter().map(|replaced| replaced.range.start)
}

/// Where each placeholder starts in the body that leaves.
fn offsets_sent(sent: &Redacted) -> Vec<usize> {
    let (mut came, mut left) = (0, 0);
    let offset = |replaced: &Replaced| {
        let at = left + (replaced.range.start - came);
        let length = replaced.finding.map_or(replaced.range.len(), |finding| {
            let finding = &sent.findings[finding];
            spell(&finding.kind, finding.tag).len()
        });
        (came, left) = (replaced.range.end, at + length);
        at
    };
    sent.replaced.iter().map(offset).collect()
}

/// Lines of JSON: the line, then the place in it.
fn in_lines(body: &[u8], offsets: &[usize]) -> Vec<String> {
    let mut paths = Vec::with_capacity(offsets.len());
    let mut start = 0;
    for (line, number) in body.split(|byte| *byte == b'\n').zip(1_u64..) {
        let end = start + line.len();
        let here = offsets[paths.len()..].iter().take_while(|offset| **offset <= end);
        let here: Vec<usize> = here.map(|offset| offset - start).collect();
        if !here.is_empty() {
            let places = pointers(line, &here).into_iter();
            paths.extend(places.map(|place| format!("line {number}: {}", path(place))));
        }
        start = end + 1;
    }
    paths
}

/// Parts of a multipart body: their number, then the line in them, headers included.
fn in_parts(body: &[u8], delimiter: &[u8], starts: impl Iterator<Item = usize>) -> Vec<String> {
    // A body that is taken holds nothing that looks like a delimiter and is none.
    let delimiters: Vec<usize> = memmem::find_iter(body, delimiter).collect();
    let mut number = 0;
    let mut part_start = 0;
    let mut lines = Lines::new(body);
    let place = |at: usize| {
        let part = delimiters.partition_point(|delimiter| *delimiter < at);
        if part != number {
            number = part;
            part_start = delimiters[part - 1];
            part_start += memchr(b'\n', &body[part_start..]).map_or(0, |end| end + 1);
            lines = Lines::new(&body[part_start..]);
        }
        format!("part {number}, {}", lines.place(at.saturating_sub(part_start)))
    };
    starts.map(place).collect()
}

fn path(Pointer { path, is_key }: Pointer) -> String {
    match (is_key, path.is_empty()) {
        (true, _) => path + " (key)",
        (false, true) => "(whole)".to_owned(),
        (false, false) => path,
    }
}

/// Counts lines and columns up to offsets that come in order.
pub(super) struct Lines<'b> {
    body: &'b [u8],
    counted: usize,
    line: usize,
    line_start: usize,
}

impl<'b> Lines<'b> {
    pub(super) fn new(body: &'b [u8]) -> Self {
        Self { body, counted: 0, line: 1, line_start: 0 }
    }

    /// Line and column of `offset`, from 1; columns are characters.
    pub(super) fn place(&mut self, offset: usize) -> String {
        let offset = offset.min(self.body.len());
        for at in memchr_iter(b'\n', &self.body[self.counted..offset]) {
            self.line += 1;
            self.line_start = self.counted + at + 1;
        }
        self.counted = offset;
        let before = &self.body[self.line_start..offset];
        let column = before.iter().filter(|byte| **byte & 0xC0 != 0x80).count() + 1;
        format!("line {}, column {column}", self.line)
    }
}

/// Writes `found` for people.
pub(super) fn table(out: &mut impl Write, found: &[Located]) -> io::Result<()> {
    if found.is_empty() {
        return writeln!(out, "nothing found");
    }
    let row = |Located { kind, confidence, rule, path, span }: &Located| {
        let span = format!("{}..{}", span.start, span.end);
        [kind.clone(), (*confidence).to_owned(), span, (*rule).to_owned(), printable(path)]
    };
    let head = ["TYPE", "CONFIDENCE", "SPAN", "RULE", "PATH"].map(str::to_owned);
    let rows: Vec<[String; 5]> = [head].into_iter().chain(found.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let [a, b, c, d] = [0, 1, 2, 3].map(width);
    for [kind, confidence, span, rule, path] in &rows {
        writeln!(out, "{kind:a$}  {confidence:b$}  {span:c$}  {rule:d$}  {path}")?;
    }
    Ok(())
}

/// A path comes from whoever wrote the body: what a terminal would obey is spelt out.
fn printable(path: &str) -> String {
    let spell = |char: char| match char {
        char if char.is_control() => char.escape_default().to_string(),
        char => char.to_string(),
    };
    path.chars().map(spell).collect()
}

/// Writes `found` for programs, as `findings` beside the members of `head`.
pub(super) fn json(out: &mut impl Write, mut head: Value, found: &[Located]) -> io::Result<()> {
    let findings = found.iter().map(|Located { kind, confidence, rule, path, span }| {
        let span = [span.start, span.end];
        json!({
            "confidence": confidence, "path": path, "rule": rule, "span": span, "type": kind,
        })
    });
    head["findings"] = findings.collect();
    writeln!(out, "{head:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_and_their_lines() {
        let body = b"--b\r\nX: 1\r\n\r\nabc\r\n--b\r\n\r\nd\r\ne f\r\n--b--\r\n";
        let at = |byte| memchr(byte, body).unwrap();
        let places = in_parts(body, b"--b", [at(b'c'), at(b'd'), at(b'f')].into_iter());
        let expected =
            ["part 1, line 3, column 3", "part 2, line 2, column 1", "part 2, line 3, column 3"];
        assert_eq!(places, expected);
    }

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let mut lines = Lines::new("a\né b\n\nc".as_bytes());
        let places = [0, 2, 5, 8].map(|at| lines.place(at));
        let expected =
            ["line 1, column 1", "line 2, column 1", "line 2, column 3", "line 4, column 1"];
        assert_eq!(places, expected);
    }
}
