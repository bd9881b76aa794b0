//! Searches the content of a JSON string only around what is suspicious in it, and decodes no more
//! than that.
//!
//! What is found so is what a search of the whole finds. Each match is announced by a literal; where
//! no escape hides one, the spelling of each literal of a match holds a suspicion (see
//! [`Scanner::suspicions`](super::scan::Scanner::suspicions)), and a known value is suspicious from
//! end to end. Only those are looked at. In front of its literal, a match depends on no more than
//! [`BEFORE`] bytes, and each window has as many. How far it depends on what stands behind is not
//! known beforehand; but a search that came to the end of its window says so, and gets a larger one.

use std::ops::Range;

use super::detect::{Detector, Suspected};
use super::form::{Exhausted, Fuel};
use super::json::{ToRaw, decode_to};
use super::policy::LEAD_MAX;
use super::scan::{Scope, Span};
use super::walk::to_characters;

/// The content of a string.
#[derive(Clone, Copy)]
pub(crate) struct Content<'t> {
    /// What it is part of.
    pub(crate) text: &'t [u8],
    /// Where it starts and ends.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// What of the text is suspicious.
    pub(crate) suspected: &'t Suspected,
}

impl Detector<'_> {
    /// The spans to replace in `content`, in offsets of its text, in order and apart. `None` where
    /// only a search of the whole can tell.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] where the text is made to be costly.
    pub(crate) fn around(
        &self,
        content: Content<'_>,
        fuel: &mut Fuel,
    ) -> Result<Option<Vec<Span>>, Exhausted> {
        if content.suspected.is_hidden_in(content.start..content.end) {
            return Ok(None);
        }
        let mut found: Vec<Span> = Vec::new();
        let mut window = Window::default();
        let mut from = content.start;
        while let Some(first) = content.suspected.first_in(&(from..content.end)) {
            let Some((spans, last)) = self.in_window(&mut window, content, first, fuel)? else {
                return Ok(None);
            };
            from = last;
            let mut to_raw = ToRaw::new(&content.text[window.raw.clone()]);
            let mut behind = 0;
            for Span { range, label } in spans {
                let range = to_characters(&window.text, range);
                if range.start < behind {
                    return Ok(None);
                }
                behind = range.end;
                let range = to_raw.range(range);
                let range = window.raw.start + range.start..window.raw.start + range.end;
                // What two windows hold is for neither to name.
                if found.last().is_some_and(|last| range.start < last.range.end) {
                    return Ok(None);
                }
                found.push(Span { range, label });
            }
        }
        Ok(Some(found))
    }

    /// The spans that `first`, which is suspicious, and what is so near it announce, in offsets of
    /// the decoded `window`, and where to go on looking.
    fn in_window(
        &self,
        window: &mut Window,
        content: Content<'_>,
        first: Range<usize>,
        fuel: &mut Fuel,
    ) -> Result<Option<(Vec<Span>, usize)>, Exhausted> {
        let front = content.cut_before(first.start.saturating_sub(self.spelling_max()));
        let mut reach = REACH;
        loop {
            let (last, behind, end) = content.suspicious_up_to(first.end, reach);
            window.fill(content, front..behind, end);
            // Those in front of what is looked at are counted.
            if window.is_cut && window.front().iter().all(|byte| *byte == b'\\') {
                return Ok(None);
            }
            fuel.has_seen_end();
            let core = window.core.clone();
            let spans = self.announced(&window.text, core, Scope::Text, fuel)?;
            if end == content.end || !fuel.has_seen_end() {
                return Ok(Some((spans, last)));
            }
            reach *= 8;
        }
    }
}

/// A decoded stretch of a string's content.
#[derive(Default)]
struct Window {
    text: Vec<u8>,
    /// What of the text is looked at for its own sake.
    core: Range<usize>,
    /// Where it stands.
    raw: Range<usize>,
    /// Whether something stands in front of it.
    is_cut: bool,
}

impl Window {
    /// Makes it the window around `core` that reaches up to `end`.
    fn fill(&mut self, content: Content<'_>, core: Range<usize>, end: usize) {
        let mut before = BEFORE;
        loop {
            let start = content.cut_before(core.start.saturating_sub(before));
            self.text.clear();
            decode_to(&mut self.text, &content.text[start..core.start]);
            self.raw = start..end;
            self.is_cut = start > content.start;
            if !self.is_cut || self.text.len() >= BEFORE {
                break;
            }
            before *= 2;
        }
        let first = self.text.len();
        decode_to(&mut self.text, &content.text[core.start..core.end]);
        self.core = first..self.text.len();
        decode_to(&mut self.text, &content.text[core.end..end]);
    }

    fn front(&self) -> &[u8] {
        &self.text[..self.core.start]
    }
}

impl Content<'_> {
    /// The end of what is suspicious up to `reach` bytes behind each other, from `last` on; where
    /// to cut behind that, and where to cut that far behind it.
    fn suspicious_up_to(&self, mut last: usize, reach: usize) -> (usize, usize, usize) {
        let mut behind = self.cut_behind(last);
        let mut end = self.cut_behind(behind.saturating_add(reach));
        while let Some(next) = self.suspected.first_in(&(last..end)) {
            last = next.end;
            if last > behind {
                behind = self.cut_behind(last);
                end = self.cut_behind(behind.saturating_add(reach));
            }
        }
        (last, behind, end)
    }

    /// The last place up to `at` where it can be cut, or its start.
    fn cut_before(&self, at: usize) -> usize {
        (self.start + 1..=at).rev().find(|at| self.can_cut(*at)).unwrap_or(self.start)
    }

    /// The first place from `at` on where it can be cut, or its end.
    fn cut_behind(&self, at: usize) -> usize {
        (at..self.end).find(|at| self.can_cut(*at)).unwrap_or(self.end)
    }

    /// Whether `at` stands between two characters and well behind any escape.
    fn can_cut(&self, at: usize) -> bool {
        let before = &self.text[self.start.max(at.saturating_sub(ESCAPE))..at];
        self.text[at] & 0xC0 != 0x80 && memchr::memchr(b'\\', before).is_none()
    }
}

/// How far in front of its literal a match can depend on the text, in decoded bytes: its longest
/// lead, and more than is looked at in front of that to tell whether it starts freely and whether
/// it tears an escape.
const BEFORE: usize = LEAD_MAX + 64;

/// How far behind what is suspicious a window reaches at first, in bytes.
const REACH: usize = 160;

/// The longest spelling of a character, in bytes: two escapes.
const ESCAPE: usize = 12;
