//! Bodies that are text and nothing else: `text/plain`, untyped, provider error pages.

use super::scan::{Place, Rest, Scanner};
use super::{Resolve, RestoreError, Restored};

/// Restores a whole text.
///
/// # Errors
///
/// [`RestoreError::NotText`] where a plaintext is not UTF-8.
pub fn restore(body: Vec<u8>, resolve: &dyn Resolve) -> Result<Restored, RestoreError> {
    let mut scanner = Scanner::new(resolve);
    let edits = scanner.scan(&body, Place::TEXT, Rest::None)?;
    let bytes = if edits.replaced.is_empty() { body } else { edits.apply(&body) };
    Ok(scanner.into_restored(bytes))
}

/// Restores a text as it arrives. Holds back less than [`super::grammar::SPELT_MAX`] bytes.
#[derive(Debug, Default)]
pub struct TextRestorer {
    held: Vec<u8>,
}

impl TextRestorer {
    /// A restorer at the start of a body.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and returns all that is decided.
    ///
    /// # Errors
    ///
    /// As [`restore`].
    pub fn push(&mut self, chunk: &[u8], resolve: &dyn Resolve) -> Result<Restored, RestoreError> {
        self.held.extend_from_slice(chunk);
        let mut scanner = Scanner::new(resolve);
        let edits = scanner.scan(&self.held, Place::TEXT, Rest::Follows)?;
        let bytes = edits.apply(&self.held);
        self.held.drain(..edits.held);
        Ok(scanner.into_restored(bytes))
    }

    /// Returns what was held back: the body has ended.
    ///
    /// # Errors
    ///
    /// As [`restore`].
    pub fn finish(self, resolve: &dyn Resolve) -> Result<Restored, RestoreError> {
        restore(self.held, resolve)
    }
}
