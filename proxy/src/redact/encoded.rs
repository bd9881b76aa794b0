//! Finds secrets that a text spells in base64, hex or percent escapes, one level deep.
//!
//! Clean text has to cost next to nothing, so that nothing is decoded on suspicion. A run of base64
//! or hex digits is looked for by stepping over the text as far as the shortest run is long; within
//! one, the same step over the bytes it stands for looks for a stretch of printable ASCII as long
//! as the shortest secret. In what digits stand for that is not text, there is none: only such a
//! stretch is decoded and searched.

use std::ops::Range;

use memchr::{memchr, memmem};

use super::form::{Exhausted, Fuel};
use super::pem;
use super::policy::Encoded;
use super::runs::length_of_run;
use super::scan::Span;

mod hints;

/// Searches decoded text.
pub(crate) type Search<'s> = &'s mut dyn FnMut(&[u8], &mut Fuel) -> Result<Vec<Span>, Exhausted>;

/// The encoded runs of `text` in which `search` finds something, each to be replaced as a whole and
/// named after the longest secret in it; of percent escapes, what spells the secret.
///
/// In raw JSON too, runs are found where they stand, unless an escape hides one of their characters.
///
/// # Errors
///
/// [`Exhausted`] where the text is made to be costly.
pub(crate) fn find(
    text: &[u8],
    encoded: Encoded,
    fuel: &mut Fuel,
    search: Search<'_>,
) -> Result<Vec<Span>, Exhausted> {
    let mut finder = Finder { text, encoded, fuel, search, decoded: Vec::new(), found: Vec::new() };
    if encoded.base64 || encoded.hex {
        finder.runs()?;
    }
    if encoded.percent {
        finder.escapes()?;
    }
    Ok(finder.found)
}

/// What `search` finds in `text` once the escapes are read that JSON needs not have: `\/`, as PHP
/// writes it, and ASCII in hex. JSON may be quoted within other text, and is not read as JSON then.
///
/// # Errors
///
/// [`Exhausted`] where the text is made to be costly.
pub(crate) fn quoted(
    text: &[u8],
    fuel: &mut Fuel,
    search: Search<'_>,
) -> Result<Vec<Span>, Exhausted> {
    let first = [b"\\/".as_slice(), b"\\u00"].map(|escape| memmem::find(text, escape));
    let Some(first) = first.into_iter().flatten().min() else { return Ok(Vec::new()) };
    // In front of the first backslash of a run.
    let first = text[..first].iter().rposition(|byte| *byte != b'\\').map_or(0, |at| at + 1);
    let mut decoded = text[..first].to_vec();
    let mut at = first;
    while at < text.len() {
        let (length, byte) = unquoted(&text[at..]);
        decoded.push(byte);
        at += length;
    }
    fuel.burn(decoded.len())?;
    let (mut raw, mut read) = (first, first);
    let mut to_raw = |offset: usize| {
        if offset <= first {
            return offset;
        }
        while read < offset {
            raw += unquoted(&text[raw..]).0;
            read += 1;
        }
        raw
    };
    let spans = search(&decoded, fuel)?.into_iter();
    Ok(spans
        .map(|Span { range, label }| Span { range: to_raw(range.start)..to_raw(range.end), label })
        .collect())
}

/// The length of the spelling that starts `text`, and what it stands for: see [`quoted`].
fn unquoted(text: &[u8]) -> (usize, u8) {
    if text[0] != b'\\' {
        return (1, text[0]);
    }
    let slashes = text.iter().take(SLASHES_MAX).take_while(|byte| **byte == b'\\').count();
    match text[slashes..] {
        [b'/', ..] => (slashes + 1, b'/'),
        [b'u', b'0', b'0', high @ b'2'..=b'7', low, ..] if is(low, HEX) => {
            (slashes + 5, value(high) << 4 | value(low))
        }
        _ => (1, b'\\'),
    }
}

struct Finder<'t, 'f, 's> {
    text: &'t [u8],
    encoded: Encoded,
    fuel: &'f mut Fuel,
    search: Search<'s>,
    /// A stretch that was decoded.
    decoded: Vec<u8>,
    found: Vec<Span>,
}

impl Finder<'_, '_, '_> {
    /// Looks into each run of digits that may spell something.
    fn runs(&mut self) -> Result<(), Exhausted> {
        let text = self.text;
        let mut done = 0;
        hints::each(text, &mut |place| {
            if place >= done {
                done = self.run_at(place, done)?;
            }
            Ok(())
        })
    }

    /// Looks into the run of digits around `place`, which starts at `from` at the earliest, and
    /// into what it goes on with in the next lines; returns where that ends.
    fn run_at(&mut self, place: usize, from: usize) -> Result<usize, Exhausted> {
        let text = self.text;
        let before = text[from..place].iter().rev().take_while(|byte| is(**byte, BASE64)).count();
        let start = place - before;
        let end = place + length_of_run(&text[place..]);
        let start = start + length_of_escape(text, start);
        if end < start + RUN_MIN {
            return Ok(end);
        }
        let lines = lines(text, start..end);
        if lines.len() > 1 {
            self.block(&lines)?;
            return Ok(lines.last().map_or(end, |line| line.end));
        }
        self.line(start..end)?;
        Ok(end)
    }

    /// Looks into the lines of a block that seems to be wrapped. The last one may be a word that has
    /// nothing to do with it, and so may each: what is joined to a secret hides where it ends.
    fn block(&mut self, lines: &[Range<usize>]) -> Result<(), Exhausted> {
        let known = self.found.len();
        self.joined(lines)?;
        if let [first @ .., last] = lines
            && self.found.len() == known
        {
            self.joined(first)?;
            if self.found.len() > known {
                return self.line(last.clone());
            }
            lines.iter().try_for_each(|line| self.line(line.clone()))?;
        }
        Ok(())
    }

    fn joined(&mut self, lines: &[Range<usize>]) -> Result<(), Exhausted> {
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return Ok(()) };
        let mut digits = Vec::new();
        for line in lines {
            let line = without_padding(&self.text[line.clone()]);
            let room = self.encoded.bytes - digits.len();
            digits.extend_from_slice(&line[..line.len().min(room)]);
        }
        self.run(&digits, |_| first.start..last.end)
    }

    fn line(&mut self, Range { start, end }: Range<usize>) -> Result<(), Exhausted> {
        let text = self.text;
        let digits = without_padding(&text[start..end]);
        if digits.len() < RUN_MIN {
            return Ok(());
        }
        let end = start + digits.len();
        let padding = text[end..].iter().take(2).take_while(|byte| **byte == b'=').count();
        let digits = &digits[..digits.len().min(self.encoded.bytes)];
        self.run(digits, |hex| match hex {
            Some(hex) => start + hex.start..start + hex.end,
            None => start..end + padding,
        })
    }

    /// Looks into the base64 `digits` and the hex digits among them. `place` says where in the text
    /// they stand, or a part of them that is hex.
    fn run(
        &mut self,
        digits: &[u8],
        place: impl Fn(Option<Range<usize>>) -> Range<usize>,
    ) -> Result<(), Exhausted> {
        // Where a word is joined to a run, the run starts later, at an offset that is not known.
        let is_hex = digits.iter().all(|digit| is(*digit, HEX));
        let offsets = match digits.len() {
            // Nothing but hex digits is no base64 of text.
            _ if is_hex || !self.encoded.base64 => 0,
            0..=SHORT_RUN => 4,
            _ => 1,
        };
        for offset in 0..offsets {
            let digits = &digits[offset..];
            if !may_be_ascii(digits) {
                continue;
            }
            let length = digits.len() * 3 / 4;
            let byte = |at: usize| base64_byte(digits, at);
            if self.printable(length, byte, || place(None))? {
                return Ok(());
            }
            // UTF-16, as PowerShell takes it, in either order of its bytes.
            for first in 0..2 {
                let unit = |at: usize| match byte(2 * at + first + 1) {
                    0 => byte(2 * at + first),
                    _ => 0,
                };
                if self.printable((length - first) / 2, unit, || place(None))? {
                    return Ok(());
                }
            }
        }
        let mut from = 0;
        while self.encoded.hex {
            let is_hex = |at: usize| is(digits[at], HEX);
            let Some(start) = window(digits.len(), from, HEX_MIN, is_hex) else { break };
            let rest = digits[start + HEX_MIN..].iter().take_while(|digit| is(**digit, HEX));
            let end = start + HEX_MIN + rest.count();
            from = end;
            for offset in 0..2 {
                let hex = &digits[start + offset..end];
                let byte = |at: usize| value(hex[2 * at]) << 4 | value(hex[2 * at + 1]);
                if self.printable(hex.len() / 2, byte, || place(Some(start..end)))? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Searches the printable stretches among `length` bytes; whether there is something in one.
    fn printable(
        &mut self,
        length: usize,
        byte: impl Fn(usize) -> u8,
        place: impl Fn() -> Range<usize>,
    ) -> Result<bool, Exhausted> {
        let mut from = 0;
        while let Some(start) = window(length, from, SECRET_MIN, |at| is(byte(at), PRINTABLE)) {
            self.decoded.clear();
            self.decoded.extend((start..length).map(&byte).take_while(|byte| is(*byte, PRINTABLE)));
            from = start + self.decoded.len();
            self.fuel.burn(self.decoded.len())?;
            let spans = (self.search)(&self.decoded, self.fuel)?;
            if let Some(longest) = spans.into_iter().max_by_key(|span| span.range.len()) {
                self.found.push(Span { range: place(), label: longest.label });
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Looks into each word that holds a percent escape.
    fn escapes(&mut self) -> Result<(), Exhausted> {
        let text = self.text;
        let mut from = 0;
        while let Some(at) = memchr(b'%', &text[from..]).map(|at| from + at) {
            if !is_escape(&text[at..]) {
                from = at + 1;
                continue;
            }
            let reach = self.encoded.bytes / 2;
            let before = text[from.max(at.saturating_sub(reach))..at].iter().rev();
            let start = at - before.take_while(|byte| is(**byte, WORD)).count();
            let after = text[at..].iter().take(reach);
            let end = at + after.take_while(|byte| is(**byte, WORD)).count();
            // In front of the first escape, or there would be another one.
            self.word((start + length_of_escape(text, start)).min(at)..end)?;
            from = end;
        }
        Ok(())
    }

    fn word(&mut self, word: Range<usize>) -> Result<(), Exhausted> {
        let text = &self.text[word.clone()];
        self.decoded.clear();
        let mut at = 0;
        while at < text.len() {
            let (length, byte) = escaped(&text[at..]);
            self.decoded.push(byte);
            at += length;
        }
        // As a form says it, a blank is a plus.
        if memmem::find(text, b"+PRIVATE+KEY").is_some() {
            self.decoded.iter_mut().filter(|byte| **byte == b'+').for_each(|byte| *byte = b' ');
        }
        self.fuel.burn(self.decoded.len())?;
        if self.decoded.len() < SECRET_MIN {
            return Ok(());
        }
        let spans = (self.search)(&self.decoded, self.fuel)?;
        let (mut raw, mut decoded) = (0, 0);
        let mut to_raw = |offset: usize| {
            while decoded < offset {
                raw += escaped(&text[raw..]).0;
                decoded += 1;
            }
            raw
        };
        for Span { range, label } in spans {
            let plain = range.len();
            let range = word.start + to_raw(range.start)..word.start + to_raw(range.end);
            // Without an escape in it, it stands there in clear.
            if range.len() > plain {
                self.found.push(Span { range, label });
            }
        }
        Ok(())
    }
}

fn without_padding(line: &[u8]) -> &[u8] {
    let padding = line.iter().rev().take_while(|byte| **byte == b'=').count();
    &line[..line.len() - padding]
}

/// Whether base64 `digits` may stand for [`SECRET_MIN`] ASCII bytes in a row. No is certain.
fn may_be_ascii(digits: &[u8]) -> bool {
    let (quads, _) = digits.as_chunks::<4>();
    // Of three bytes that are ASCII, the upper bits are 0.
    let is_ascii = |quad: usize| {
        let value = |nth: usize| VALUES[usize::from(quads[quad][nth])];
        (value(0) & 0x20) | (value(1) & 0x08) | (value(2) & 0x02) == 0
    };
    window(quads.len(), 0, QUADS_MIN, is_ascii).is_some()
}

/// The first offset from `from` at which `length` holds `min` neighbours that are all `wanted`.
/// Looks at one in `min` where few are.
fn window(length: usize, from: usize, min: usize, wanted: impl Fn(usize) -> bool) -> Option<usize> {
    let mut start = from;
    loop {
        let end = start + min;
        if end > length {
            return None;
        }
        match (start..end).rev().find(|at| !wanted(*at)) {
            None => return Some(start),
            Some(other) => start = other + 1,
        }
    }
}

/// How much of the run that starts at `start` belongs to an escape: the letter of `\n`, the digits
/// of `\u0020` or `%20`.
fn length_of_escape(text: &[u8], start: usize) -> usize {
    match (&text[..start], &text[start..]) {
        ([.., b'\\'], [b'u', ..]) => 5,
        ([.., b'\\'], [b'n' | b'r' | b't' | b'b' | b'f', ..]) => 1,
        ([.., b'%'], _) if is_escape(&text[start - 1..]) => 2,
        _ => 0,
    }
}

/// The lines of the block that the run `first` begins, where it is wrapped.
fn lines(text: &[u8], first: Range<usize>) -> Vec<Range<usize>> {
    let width = first.len();
    let behind = &text[first.end..];
    let escapes = behind.iter().take_while(|byte| **byte == b'\\').count();
    let breaks = match behind[escapes..] {
        [b'n' | b'r', ..] | [b'u', b'0', b'0', b'0', b'a' | b'A' | b'd' | b'D', ..] => escapes > 0,
        [b'\n' | b'\r', ..] => escapes == 0,
        _ => false,
    };
    if width < LINE_MIN || !width.is_multiple_of(4) || !breaks {
        return Vec::new();
    }
    let mut lines = vec![first.clone()];
    let mut end = first.end;
    loop {
        let mut start = skip_breaks(text, end);
        let padding = |at: usize| text[at..].iter().take(2).take_while(|b| **b == b'=').count();
        let digits = length_of_run(&text[start..]);
        let next = start + digits + padding(start + digits);
        // What starts a line may be a diff's plus, or a digit.
        if text[..start].ends_with(b"+") && (next - start + 1).is_multiple_of(4) {
            start -= 1;
        }
        if start == next || start <= end || next - start > width {
            return lines;
        }
        lines.push(start..next);
        if next - start < width || start + digits < next {
            return lines;
        }
        end = next;
    }
}

/// Where the next line starts behind the line break at `at`, also one spelt in hex.
fn skip_breaks(text: &[u8], mut at: usize) -> usize {
    loop {
        at = pem::skip_marks(text, at);
        let escapes = text[at..].iter().take_while(|byte| **byte == b'\\').count();
        match text[at + escapes..] {
            [b'u', b'0', b'0', b'0', b'a' | b'A' | b'd' | b'D', ..] => at += escapes + 5,
            _ => return at,
        }
    }
}

/// The byte at `at` of what base64 `digits` stand for.
fn base64_byte(digits: &[u8], at: usize) -> u8 {
    let quad = at / 3 * 4;
    let digit = |nth: usize| VALUES[usize::from(digits[quad + nth])];
    match at % 3 {
        0 => digit(0) << 2 | digit(1) >> 4,
        1 => digit(1) << 4 | digit(2) >> 2,
        _ => digit(2) << 6 | digit(3),
    }
}

fn is_escape(text: &[u8]) -> bool {
    matches!(text, [b'%', high, low, ..] if is(*high, HEX) && is(*low, HEX))
}

/// The length of the spelling that starts `text`, and what it stands for.
fn escaped(text: &[u8]) -> (usize, u8) {
    match text {
        [b'%', high, low, ..] if is(*high, HEX) && is(*low, HEX) => {
            (3, value(*high) << 4 | value(*low))
        }
        _ => (1, text[0]),
    }
}

/// The value of a hex digit.
fn value(digit: u8) -> u8 {
    (digit & 0xf) + if digit.is_ascii_digit() { 0 } else { 9 }
}

fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

const BASE64: u8 = 1;
const HEX: u8 = 2;
/// What stretches of text are made of.
const PRINTABLE: u8 = 4;
/// What URLs are made of.
const WORD: u8 = 8;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        let mut class = 0;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_') {
            class |= BASE64;
        }
        if byte.is_ascii_hexdigit() {
            class |= HEX;
        }
        if byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            class |= PRINTABLE;
        }
        let delimits =
            matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'`' | b'{' | b'}' | b'|' | b'\\' | b'^');
        if byte.is_ascii_graphic() && !delimits {
            class |= WORD;
        }
        classes[byte as usize] = class;
        if byte == u8::MAX {
            return classes;
        }
        byte += 1;
    }
}

/// Values of base64 digits, of both alphabets.
const VALUES: [u8; 256] = values();

const fn values() -> [u8; 256] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = [0; 256];
    let mut value = 0;
    while value < 64_u8 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values[b'-' as usize] = 62;
    values[b'_' as usize] = 63;
    values
}

/// The shortest secret that is looked for, in bytes: an AWS access key id.
const SECRET_MIN: usize = 20;

/// The base64 digits it takes.
const RUN_MIN: usize = (SECRET_MIN * 4).div_ceil(3);

/// How many quads of base64 digits it fills, wherever it starts in the first.
const QUADS_MIN: usize = (SECRET_MIN - 2) / 3;

/// The hex digits it takes. More than [`RUN_MIN`], so that every run of them is one of base64.
const HEX_MIN: usize = SECRET_MIN * 2;

/// Most backslashes of an escape: of JSON in four strings.
const SLASHES_MAX: usize = 16;

/// Longest run that is read from all four of its first digits.
const SHORT_RUN: usize = 4096;

/// Shortest line of a block that is wrapped.
const LINE_MIN: usize = 40;

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::super::scan::Label;
    use super::*;

    const SECRET: &str = "AKIAIOSFODNN7EXAMPLE";

    /// What is found in `text`, each time by what it decodes to.
    fn found(text: &str) -> Vec<String> {
        let mut search = |text: &[u8], _: &mut Fuel| {
            let at = memmem::find_iter(text, SECRET).map(|at| at..at + SECRET.len());
            Ok(at.map(|range| Span { range, label: Label::Pattern(0) }).collect())
        };
        let spans = find(text.as_bytes(), Encoded::default(), &mut Fuel::of(0), &mut search);
        spans.unwrap().into_iter().map(|span| text[span.range].to_owned()).collect()
    }

    fn hex(text: &str) -> String {
        text.bytes().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn q2_finds_what_is_encoded_and_takes_the_whole_run() {
        for before in ["", "x", "yz", "user:", "{\"key\":\"", "密"] {
            for after in ["", "\n", ":p", "\"}"] {
                let plain = format!("{before}{SECRET}{after}");
                let runs = [
                    STANDARD.encode(&plain),
                    STANDARD_NO_PAD.encode(&plain),
                    URL_SAFE.encode(&plain),
                    URL_SAFE_NO_PAD.encode(&plain),
                    hex(&plain),
                    hex(&plain).to_uppercase(),
                ];
                for run in runs {
                    for (left, right) in [
                        ("", ""),
                        (" ", " "),
                        ("key=", "&a=b"),
                        ("{\"a\":\"", "\"}"),
                        ("\\n", "\\n"),
                        ("\\u0020", "\\"),
                        ("%20", "%20"),
                        ("Basic ", ","),
                        ("'", "'"),
                        ("é", "é"),
                    ] {
                        assert_eq!(found(&format!("{left}{run}{right}")), [&*run], "{left} {run}");
                    }
                }
            }
        }
        let numbers = hex(SECRET);
        assert_eq!(found(&format!("0x{numbers}, 0X{numbers};")), [&*numbers, &*numbers]);
    }

    #[test]
    fn q2_finds_a_run_that_something_is_joined_to() {
        let run = STANDARD.encode(format!("key: {SECRET}\n"));
        for joined in ["a", "ab", "abc", "/api/", "token_", "x-"] {
            assert_eq!(found(&format!("{joined}{run}")), [format!("{joined}{run}")]);
        }
        assert_eq!(found(&format!("f{}f", hex(SECRET))), [format!("f{}f", hex(SECRET))]);
    }

    #[test]
    fn q2_finds_percent_escapes_and_takes_what_they_spell() {
        let every: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert_eq!(found(&format!("?a={every}&b=%20")), [&*every]);
        assert_eq!(found("a=%41KIAIOSFODNN7EXAMPLE;"), ["%41KIAIOSFODNN7EXAMPLE"]);
        assert_eq!(found("x%3DAKIAIOSFODNN7EXAMPL%45%20"), ["AKIAIOSFODNN7EXAMPL%45"]);
        // What stands there in clear is for others to find.
        assert!(found(&format!("%20{SECRET}%")).is_empty());
    }

    #[test]
    fn q2_finds_what_is_wrapped() {
        let text = format!("{}{SECRET}{}", "line of text\n".repeat(9), "\nmore of it".repeat(7));
        for width in [40, 60, 64, 76] {
            for (encoded, is_hex) in [(STANDARD.encode(&text), false), (hex(&text), true)] {
                for joint in [
                    "\n",
                    "\r\n",
                    "\\n",
                    "\\\\n",
                    "\n    ",
                    "\n  12\t",
                    "\\n12\\t",
                    "\\n12\\u2192",
                    "\\u000d\\u000A  12\\t",
                    "\n12→",
                    "\n+",
                ] {
                    let lines: Vec<&str> = encoded
                        .as_bytes()
                        .chunks(width)
                        .map(|line| str::from_utf8(line).unwrap())
                        .collect();
                    let block = lines.join(joint);
                    for (left, right) in [("", ""), ("data: |\n ", "\nend of it"), ("\"", "\"")] {
                        let all = format!("{left}{block}{right}");
                        let found = found(&all);
                        assert_eq!(found.len(), 1, "{all}");
                        // A word that stands alone on the line behind cannot be told from a run.
                        assert!(is_hex || found[0].starts_with(&block), "{all}");
                        assert!(found[0].contains(lines[1]), "{all}");
                    }
                }
            }
        }
    }

    /// A search that, as many patterns do, wants to see where a secret ends.
    #[test]
    fn q2_a_word_on_the_next_line_hides_nothing() {
        let mut search = |text: &[u8], _: &mut Fuel| {
            let at = memmem::find(text, SECRET.as_bytes()).map(|at| at..at + SECRET.len());
            let ends =
                |range: &Range<usize>| !text.get(range.end).is_some_and(u8::is_ascii_graphic);
            let span = at.filter(ends).map(|range| Span { range, label: Label::Pattern(0) });
            Ok(span.into_iter().collect())
        };
        let [one, two] = [30, 100].map(|length| format!("{}{SECRET}", "x ".repeat(length / 2)));
        // Its end is a line's end, whether it takes one line or some.
        for (block, width) in [(STANDARD.encode(one), 200), (STANDARD.encode(two), 40)] {
            let lines: Vec<&str> =
                block.as_bytes().chunks(width).map(|line| str::from_utf8(line).unwrap()).collect();
            let block = lines.join("\n");
            for after in ["build", "build\n", "build the rest", "bui", "a", ""] {
                for joint in ["\n", "\r\n", "\\n"] {
                    let text = format!("key\n{block}{joint}{after}");
                    let spans =
                        find(text.as_bytes(), Encoded::default(), &mut Fuel::of(0), &mut search);
                    let spans = spans.unwrap();
                    assert_eq!(spans.len(), 1, "{text}");
                    assert!(text[spans[0].range.clone()].starts_with(&block), "{text}");
                }
            }
        }
    }

    /// Where blocks of the search begin among the lines is chance.
    #[test]
    fn q2_a_secret_that_a_line_break_cuts_is_found_wherever_the_lines_stand() {
        for bytes in [30, 45, 48, 57] {
            let width = bytes / 3 * 4;
            let secret = format!("{SECRET} and no more.");
            let bytes = [b"\xc3", &b"\xff".repeat(bytes - 6)[..], secret.as_bytes()].concat();
            let digits = STANDARD.encode(bytes);
            let (first, second) = digits.split_at(width);
            for offset in 0..=2 * 64 {
                let text = format!("{}{first}\n{second}", " ".repeat(offset));
                assert_eq!(found(&text), [text.trim_start()], "{offset}");
            }
        }
    }

    #[test]
    fn q2_reads_as_much_of_a_run_as_it_is_told_to() {
        let run = STANDARD.encode(format!("{}{SECRET}", "x ".repeat(40_000)));
        assert!(found(&run).is_empty());
        let run = STANDARD.encode(format!("{SECRET}{}", " x".repeat(40_000)));
        assert_eq!(found(&run), [&*run]);
    }

    #[test]
    fn q2_decodes_nothing_of_what_holds_no_text() {
        let mut search = |text: &[u8], _: &mut Fuel| -> Result<Vec<Span>, Exhausted> {
            panic!("{:?}", String::from_utf8_lossy(text))
        };
        for text in [
            "The quick brown fox jumps over the lazy dog, 100% of the time.",
            "sha512-v2kDEe57lecTulaDIuNTPy3Ry4gLGJ6Z1O3vE1krgXZNrsQ+LFTGHVxVjcXPs17LhbZVGedAJv8XZ1tvj5FvSg==",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "123e4567-e89b-12d3-a456-426614174000 123e4567-e89b-12d3-a456-426614174001",
            "src/main/java/com/example/application/SomeVeryLongClassNameFactoryBeanImpl.java",
            "a_rather_long_identifier_that_goes_on_and_on_and_on_and_on_and_on_and_on",
            "--------------------------------------------------------------------",
        ] {
            find(text.as_bytes(), Encoded::default(), &mut Fuel::of(0), &mut search).unwrap();
        }
    }

    #[test]
    fn what_is_switched_off_is_not_looked_into() {
        let all = format!("{} {} %41", STANDARD.encode(SECRET), hex(SECRET)) + &SECRET[1..];
        let off = Encoded { base64: false, hex: false, percent: false, ..Encoded::default() };
        for encoded in [
            off,
            Encoded { base64: true, ..off },
            Encoded { hex: true, ..off },
            Encoded { percent: true, ..off },
        ] {
            let mut search = |text: &[u8], _: &mut Fuel| {
                let at = memmem::find_iter(text, SECRET).map(|at| at..at + SECRET.len());
                Ok(at.map(|range| Span { range, label: Label::Pattern(0) }).collect())
            };
            let spans = find(all.as_bytes(), encoded, &mut Fuel::of(0), &mut search).unwrap();
            let on = [encoded.base64, encoded.hex, encoded.percent];
            assert_eq!(spans.len(), on.iter().filter(|on| **on).count());
        }
    }

    proptest! {
        #[test]
        fn finds_every_encoding_and_panics_on_nothing(
            before in any::<String>(),
            after in any::<String>(),
            left in r"[A-Za-z0-9+/=_%\\n \r\n-]{0,120}",
            right in r"[A-Za-z0-9+/=_%\\n \r\n-]{0,120}",
            form in 0..4,
        ) {
            let plain = format!("{before}{SECRET}{after}");
            let run = match form {
                0 => STANDARD.encode(&plain),
                1 => URL_SAFE_NO_PAD.encode(&plain),
                2 => hex(&plain),
                _ => plain.bytes().map(|byte| format!("%{byte:02X}")).collect(),
            };
            let text = format!(" {run} "); prop_assert!(!found(&text).is_empty());
            let text = format!("{left} {run} {right}"); prop_assert!(!found(&text).is_empty());
            found(&format!("{left}{run}{right}"));
        }
    }
}
