//! Values that are secrets whatever their shape.

use std::ops::Range;

use super::form::Exhausted;
use super::scan::Scope;
use crate::placeholder::Kind;

/// Values that are secrets whatever their shape: registered by the operator, or tokenized before.
pub trait KnownValues {
    /// Whether raw JSON may spell one of them. No is certain.
    fn suspects(&self, raw: &[u8]) -> bool;

    /// Calls `note` with each stretch of raw JSON that may spell one, of which none reaches beyond
    /// its stretch.
    fn suspect(&self, raw: &[u8], note: &mut dyn FnMut(Range<usize>));

    /// Adds each stretch of decoded `text` that spells one, in any of its spellings.
    /// [`Scope::Structured`]: registered values only.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] where the text is made to be costly.
    fn find(&self, text: &[u8], scope: Scope, found: &mut Vec<KnownSpan>) -> Result<(), Exhausted>;
}

/// A stretch of text that spells a known value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSpan {
    /// Where it stands.
    pub range: Range<usize>,
    /// The TYPE it is known by.
    pub kind: Kind,
}

/// Knows no value.
#[derive(Debug, Clone, Copy)]
pub struct NothingKnown;

impl KnownValues for NothingKnown {
    fn suspects(&self, _: &[u8]) -> bool {
        false
    }

    fn suspect(&self, _: &[u8], _: &mut dyn FnMut(Range<usize>)) {}

    fn find(&self, _: &[u8], _: Scope, _: &mut Vec<KnownSpan>) -> Result<(), Exhausted> {
        Ok(())
    }
}
