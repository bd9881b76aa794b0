//! Everything that finds secrets in a text.

use super::form::{Exhausted, Fuel};
use super::policy::Policy;
use super::scan::{Label, Scope, Span};
use crate::placeholder::Kind;

/// What one request is searched with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Detector<'a> {
    policy: &'a Policy,
}

impl<'a> Detector<'a> {
    pub(crate) fn new(policy: &'a Policy) -> Self {
        Self { policy }
    }

    /// The spans to replace in decoded `text`, in order and apart: see
    /// [`Scanner::spans`](super::scan::Scanner::spans).
    ///
    /// # Errors
    ///
    /// [`Exhausted`] where the text is made to be costly.
    pub(crate) fn spans(
        &self,
        text: &[u8],
        scope: Scope,
        fuel: &mut Fuel,
    ) -> Result<Vec<Span>, Exhausted> {
        self.policy.scanner.spans(text, scope, fuel)
    }

    /// Whether raw JSON may hold something to replace. No is certain; yes asks for a closer look.
    ///
    /// # Errors
    ///
    /// As for [`Detector::spans`].
    pub(crate) fn suspects(&self, raw: &[u8], fuel: &mut Fuel) -> Result<bool, Exhausted> {
        self.policy.scanner.suspects(raw, fuel)
    }

    /// The TYPE of a span's placeholder.
    pub(crate) fn kind(&self, label: &Label) -> &'a Kind {
        match label {
            Label::Pattern(index) => &self.policy.patterns[*index].kind,
        }
    }

    /// Whether a span refuses the request.
    pub(crate) fn blocks(&self, label: &Label) -> bool {
        match label {
            Label::Pattern(index) => self.policy.patterns[*index].blocks,
        }
    }
}
