//! Server-sent events (WHATWG HTML, section 9.2), restored event by event.
//!
//! An event in which nothing changes passes byte for byte, as do comments, pings, `id:`, `retry:`,
//! whatever ends the lines, and events nobody here has heard of.

use std::borrow::Cow;
use std::ops::Range;

use super::event::{Lanes, Tail};
use super::scan::Scanner;
use super::tree::Tree;
use super::{Resolve, RestoreError, Restored};

/// Largest event, in bytes. A snapshot carries a whole answer, images included.
pub const EVENT_MAX: usize = 32 * 1024 * 1024;

/// Most lines of an event. What is kept of each is longer than the shortest of them.
const LINES_MAX: usize = 256 * 1024;

/// Most lanes that may hold something back at a time.
pub const LANES_MAX: usize = 256;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Restores an event stream as it arrives.
pub struct SseRestorer {
    lanes: Lanes,
    /// Bytes of the event being received, and during a call of the events before it.
    buffer: Vec<u8>,
    /// The complete lines of the event being received.
    lines: Vec<Line>,
    /// Where its next line starts.
    line: usize,
    /// Where the search for that line's end goes on.
    searched: usize,
    /// What ended the last line; a carriage return may yet get its line feed.
    ended: &'static [u8],
    /// What ended the line before that one, which is certain: it ends the lines written here, so
    /// that they do not depend on where the stream was cut.
    newline: &'static [u8],
    /// Whether events come with names.
    named: bool,
    begun: bool,
}

/// One line: its content from `start` to `end`, and what ends it up to `next`.
#[derive(Debug, Clone, Copy)]
struct Line {
    start: usize,
    end: usize,
    next: usize,
}

impl Default for SseRestorer {
    fn default() -> Self {
        Self::new()
    }
}

impl SseRestorer {
    /// A restorer at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self {
            lanes: Lanes::default(),
            buffer: Vec::new(),
            lines: Vec::new(),
            line: 0,
            searched: 0,
            ended: b"\n",
            newline: b"\n",
            named: false,
            begun: false,
        }
    }

    /// Takes the next bytes, cut anywhere, and returns everything that is decided.
    ///
    /// After an error the stream has to be aborted; what this call had decided before the fault is
    /// lost.
    ///
    /// # Errors
    ///
    /// Any [`RestoreError`].
    pub fn push(&mut self, chunk: &[u8], resolve: &dyn Resolve) -> Result<Restored, RestoreError> {
        let mut scanner = Scanner::new(resolve);
        let mut out = Vec::with_capacity(chunk.len() + 256);
        self.buffer.extend_from_slice(chunk);
        if !self.begun {
            if self.buffer.len() < BOM.len() && BOM.starts_with(&self.buffer) {
                return Ok(scanner.into_restored(out));
            }
            self.begun = true;
            self.line = if self.buffer.starts_with(BOM) { BOM.len() } else { 0 };
            self.searched = self.line;
        }
        let mut done = 0;
        while let Some(line) = self.next_line() {
            if self.lines.is_empty() {
                // A late line feed goes out with the event it ends, before any tail.
                out.extend_from_slice(&self.buffer[done..line.start]);
                done = line.start;
            }
            let comment = self.lines.is_empty() && self.buffer[line.start] == b':';
            if line.start == line.end {
                self.dispatch(done..line.next, &mut scanner, &mut out)?;
            } else if comment {
                out.extend_from_slice(&self.buffer[done..line.next]);
            } else {
                self.lines.push(line);
                continue;
            }
            done = line.next;
        }
        self.forget(done, &mut out);
        if self.buffer.len() > EVENT_MAX || self.lines.len() > LINES_MAX {
            return Err(RestoreError::TooLarge);
        }
        Ok(scanner.into_restored(out))
    }

    /// Bytes of an event that is not whole yet.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Returns what was held back, in events of its own, and any unfinished event: the stream has
    /// ended.
    ///
    /// # Errors
    ///
    /// Any [`RestoreError`].
    pub fn finish(mut self, resolve: &dyn Resolve) -> Result<Restored, RestoreError> {
        let mut scanner = Scanner::new(resolve);
        let (mut out, all) = (Vec::new(), self.buffer.len());
        self.newline = self.ended;
        if self.line < all {
            self.lines.push(Line { start: self.line, end: all, next: all });
        }
        // Some providers leave out the last blank line and some clients do not mind. Part of an
        // event means nothing to anybody: it passes as it is.
        let whole = self.data().is_some_and(|data| Tree::read(&data).is_ok());
        if whole {
            self.dispatch(0..all, &mut scanner, &mut out)?;
        }
        let tails = self.lanes.finish(&mut scanner)?;
        if whole && !tails.is_empty() {
            let lines = if self.line < all { 2 } else { 1 };
            out.extend(self.newline.repeat(lines));
        }
        self.write_tails(&tails, &mut out);
        if !whole {
            out.extend_from_slice(&self.buffer);
        }
        Ok(scanner.into_restored(out))
    }

    /// The next whole line. A line feed after the carriage return that ended the line before
    /// belongs to that end, also where it comes later.
    fn next_line(&mut self) -> Option<Line> {
        loop {
            let Some(found) = memchr::memchr2(b'\r', b'\n', &self.buffer[self.searched..]) else {
                self.searched = self.buffer.len();
                return None;
            };
            let (start, end) = (self.line, self.searched + found);
            if self.ended == b"\r" && end == start && self.buffer[end] == b'\n' {
                self.ended = b"\r\n";
                (self.line, self.searched) = (end + 1, end + 1);
                if let Some(previous) = self.lines.last_mut() {
                    previous.next = end + 1;
                }
                continue;
            }
            self.newline = self.ended;
            self.ended = match (self.buffer[end], self.buffer.get(end + 1)) {
                (b'\r', Some(b'\n')) => b"\r\n",
                (b'\r', _) => b"\r",
                _ => b"\n",
            };
            let next = end + self.ended.len();
            (self.line, self.searched) = (next, next);
            return Some(Line { start, end, next });
        }
    }

    /// Drops the first `done` bytes; a late line feed after them passes now.
    fn forget(&mut self, mut done: usize, out: &mut Vec<u8>) {
        if self.lines.is_empty() && self.line > done {
            out.extend_from_slice(&self.buffer[done..self.line]);
            done = self.line;
        }
        if done == 0 {
            return;
        }
        self.buffer.drain(..done);
        self.line -= done;
        self.searched -= done;
        for line in &mut self.lines {
            *line = Line { start: line.start - done, end: line.end - done, next: line.next - done };
        }
    }

    /// Where the value of `line` stands, if it is the field called `name`.
    fn field(&self, line: Line, name: &[u8]) -> Option<Range<usize>> {
        let value = self.buffer[line.start..line.end].strip_prefix(name)?;
        let value = match value {
            [b':', b' ', value @ ..] | [b':', value @ ..] => value,
            [] => value,
            _ => return None,
        };
        Some(line.end - value.len()..line.end)
    }

    fn data(&self) -> Option<Cow<'_, [u8]>> {
        let mut values = self.lines.iter().filter_map(|line| self.field(*line, b"data"));
        let mut data = Cow::Borrowed(&self.buffer[values.next()?]);
        for value in values {
            let joined = data.to_mut();
            joined.push(b'\n');
            joined.extend_from_slice(&self.buffer[value]);
        }
        Some(data)
    }

    /// Sends the event at `span`, whose lines are `self.lines`.
    fn dispatch(
        &mut self,
        span: Range<usize>,
        scanner: &mut Scanner<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), RestoreError> {
        let mut lanes = std::mem::take(&mut self.lanes);
        let rewritten = self.data().map(|data| lanes.event(&data, scanner)).transpose();
        self.lanes = lanes;
        let rewritten = rewritten?.unwrap_or_default();
        // A line feed can be sent as one more line of data; a carriage return cannot be sent.
        if rewritten.data.as_ref().is_some_and(|data| data.contains(&b'\r')) {
            return Err(RestoreError::NotText);
        }
        if !self.lines.is_empty() {
            self.named = self.lines.iter().any(|line| self.field(*line, b"event").is_some());
        }
        self.write_tails(&rewritten.tails, out);
        match rewritten.data {
            Some(data) => self.write_event(span, &data, out),
            None => out.extend_from_slice(&self.buffer[span]),
        }
        self.lines.clear();
        Ok(())
    }

    /// Writes the event at `span` with other data. A line break in `data` starts a line of its own.
    fn write_event(&self, span: Range<usize>, data: &[u8], out: &mut Vec<u8>) {
        let mut values = data.split(|byte| *byte == b'\n').peekable();
        let mut done = span.start;
        let lines: Vec<(Line, Range<usize>)> = self
            .lines
            .iter()
            .filter_map(|line| Some((*line, self.field(*line, b"data")?)))
            .collect();
        for (i, (line, value)) in lines.iter().enumerate() {
            out.extend_from_slice(&self.buffer[done..value.start]);
            out.extend_from_slice(values.next().unwrap_or_default());
            while i + 1 == lines.len() && values.peek().is_some() {
                out.extend_from_slice(self.newline);
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(values.next().unwrap_or_default());
            }
            done = line.end;
        }
        out.extend_from_slice(&self.buffer[done..span.end]);
    }

    fn write_tails(&self, tails: &[Tail], out: &mut Vec<u8>) {
        for tail in tails {
            if let Some(name) = tail.name.as_ref().filter(|_| self.named) {
                out.extend_from_slice(b"event: ");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(self.newline);
            }
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(&tail.data);
            out.extend_from_slice(self.newline);
            out.extend_from_slice(self.newline);
        }
    }
}
