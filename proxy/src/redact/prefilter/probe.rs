//! A literal of one byte is everywhere. What must stand at a distance from it is not: a probe
//! looks at both at once, for a block of the text at a time, in loops that become vector code.

use std::ops::RangeInclusive;

use super::super::form::{Exhausted, Form};

/// Finds a byte that has a certain sign beside it.
pub(super) struct Probe {
    byte: u8,
    sign: Sign,
}

/// What must stand beside the byte.
enum Sign {
    /// Bytes of this range, `near` and `far` in front of it.
    Before { of: RangeInclusive<u8>, near: usize, far: usize },
    /// The same byte again, this far behind it or one further.
    Again(usize),
}

impl Probe {
    /// The probe for a literal of `form`; `None` where that is longer than a byte or has no sign.
    pub(super) fn of(form: &Form, literal: &str) -> Option<Self> {
        let &[byte] = literal.as_bytes() else { return None };
        let again = || Some(Sign::Again(form.distance_to_next(byte)?));
        let before = || {
            let lead = form.lead.as_ref().filter(|lead| lead.min > 1)?;
            Some(Sign::Before { of: lead.of.as_range()?, near: 1, far: lead.min })
        };
        Some(Self { byte, sign: before().or_else(again)? })
    }

    /// Calls `visit` with each place of the byte that may have the sign.
    pub(super) fn each(
        &self,
        text: &[u8],
        mut visit: impl FnMut(usize) -> Result<(), Exhausted>,
    ) -> Result<(), Exhausted> {
        let mut everywhere = |start: usize, end: usize| {
            memchr::memchr_iter(self.byte, &text[start..end]).try_for_each(|at| visit(start + at))
        };
        let first = match self.sign {
            Sign::Before { far, .. } => far.min(text.len()),
            Sign::Again(_) => 0,
        };
        everywhere(0, first)?;
        let mut at = first;
        while let Some(may_be) = self.may_be_in_block(text, at) {
            if may_be {
                everywhere(at, at + BLOCK)?;
            }
            at += BLOCK;
        }
        everywhere(at, text.len())
    }

    /// Whether the byte and its sign may be in the block at `at`; `None` where the text is too
    /// short to tell.
    fn may_be_in_block(&self, text: &[u8], at: usize) -> Option<bool> {
        let block = |at: usize| text.get(at..)?.first_chunk::<BLOCK>();
        let here = block(at)?;
        Some(match &self.sign {
            Sign::Before { of, near, far } => {
                let (near, far) = (block(at - near)?, block(at - far)?);
                let (first, span) = (*of.start(), of.end() - of.start());
                let is_in = |byte: u8| u8::from(byte.wrapping_sub(first) <= span);
                any(|at| u8::from(here[at] == self.byte) & is_in(near[at]) & is_in(far[at]))
            }
            Sign::Again(distance) => {
                let (next, after) = (block(at + distance)?, block(at + distance + 1)?);
                let is = |byte: u8| u8::from(byte == self.byte);
                any(|at| is(here[at]) & (is(next[at]) | is(after[at])))
            }
        })
    }
}

/// Whether `sign` is not 0 somewhere in a block; without an early exit, and by bytes, so that it
/// becomes vector code.
fn any(sign: impl Fn(usize) -> u8) -> bool {
    (0..BLOCK).fold(0, |any, at| any | sign(at)) != 0
}

/// Bytes looked at together.
const BLOCK: usize = 64;
