use std::io::{self, BufRead, BufReader, Read};

use super::report::{Failure, fail};
use crate::evidence::line::MAX_LINE;

/// Name of the segment that is still written to.
pub const ACTIVE: &str = "proxy.jsonl";

/// A closed segment: `proxy.<first>-<last>.jsonl`, both numbers of 12 digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClosedName {
    /// Number of its first line.
    pub first: u64,
    /// Number of its last line; bytes after that one are declared debris.
    pub last: u64,
}

impl ClosedName {
    /// The segment that `name` names.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (first, last) = name.strip_prefix("proxy.")?.strip_suffix(".jsonl")?.split_once('-')?;
        let parsed = Self { first: first.parse().ok()?, last: last.parse().ok()? };
        (1 <= parsed.first && parsed.first <= parsed.last && parsed.to_string() == name)
            .then_some(parsed)
    }
}

impl std::fmt::Display for ClosedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "proxy.{:012}-{:012}.jsonl", self.first, self.last)
    }
}

/// The closed segments among `names`, in order, and whether the active one is there.
pub(super) fn in_order(names: &[String]) -> Result<(Vec<ClosedName>, bool), Failure> {
    let mut closed = Vec::new();
    for name in names.iter().filter(|name| *name != ACTIVE) {
        if name.starts_with("proxy.") && name.ends_with(".jsonl") {
            let parsed = ClosedName::parse(name);
            let misnamed = || fail("E_SEGMENT_NAME", 1, "a segment's name is malformed");
            closed.push(parsed.ok_or_else(misnamed)?);
        }
    }
    closed.sort();
    Ok((closed, names.iter().any(|name| name == ACTIVE)))
}

/// What comes next in a segment.
pub(super) enum Piece<'a> {
    /// A line, without its LF.
    Line(&'a [u8]),
    /// More bytes without an LF than a line may have.
    TooLong(&'a [u8]),
    /// The last bytes, without an LF.
    Partial(&'a [u8]),
    /// Nothing.
    End,
}

/// Reads a segment line by line in bounded memory.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    held: Vec<u8>,
    /// Bytes before the piece given last.
    pub(super) offset: u64,
    consumed: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        let reader = BufReader::with_capacity(64 * 1024, reader);
        Self { reader, held: Vec::with_capacity(MAX_LINE + 1), offset: 0, consumed: 0 }
    }

    pub(super) fn next_piece(&mut self) -> io::Result<Piece<'_>> {
        self.held.clear();
        let limit = MAX_LINE as u64 + 1;
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut self.held)?;
        self.offset = self.consumed;
        self.consumed += read as u64;
        Ok(match self.held.split_last() {
            None => Piece::End,
            Some((b'\n', line)) => Piece::Line(line),
            Some(_) if read > MAX_LINE => Piece::TooLong(&self.held),
            Some(_) => Piece::Partial(&self.held),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_segment_names_and_refuses_others() {
        let name = ClosedName { first: 1, last: 42 };
        assert_eq!(name.to_string(), "proxy.000000000001-000000000042.jsonl");
        assert_eq!(ClosedName::parse(&name.to_string()), Some(name));
        for bad in ["proxy.1-42.jsonl", "proxy.000000000000-000000000001.jsonl", "proxy.jsonl"] {
            assert_eq!(ClosedName::parse(bad), None);
        }
        assert_eq!(ClosedName::parse("proxy.000000000002-000000000001.jsonl"), None);
    }
}
