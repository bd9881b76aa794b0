//! WebSocket messages: each one event of a stream that has no other framing.
//!
//! What holds of events in [`super::sse`] holds here: a message in which nothing changes passes byte
//! for byte, and lanes go on from one message to the next.

use super::event::{Lanes, Rewritten};
use super::lane;
use super::scan::Scanner;
use super::tree::Tree;
use super::{Resolve, RestoreError, ThinkingRecord};

/// Restores the text messages of one connection, in their order.
#[derive(Default)]
pub struct MessageRestorer {
    lanes: Lanes,
}

/// Messages for the client, and what was done to make them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Messages {
    /// What the client may now be sent, one message each: tails that were held back first.
    pub texts: Vec<Vec<u8>>,
    /// As for [`super::Restored`].
    pub restored: u64,
    /// As for [`super::Restored`].
    pub unknown: u64,
    /// As for [`super::Restored`].
    pub thinking: Vec<ThinkingRecord>,
    /// Whether the message said that a response is over.
    pub ends: bool,
}

impl std::fmt::Debug for MessageRestorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MessageRestorer")
    }
}

impl MessageRestorer {
    /// A restorer at the start of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next message, and returns it with what has to go out before it.
    ///
    /// After an error the connection has to be closed.
    ///
    /// # Errors
    ///
    /// Any [`RestoreError`].
    pub fn push(&mut self, text: Vec<u8>, resolve: &dyn Resolve) -> Result<Messages, RestoreError> {
        let mut scanner = Scanner::new(resolve);
        let Rewritten { tails, data } = self.lanes.event(&text, &mut scanner)?;
        let ends = ends(&text);
        let mut texts: Vec<Vec<u8>> = tails.into_iter().map(|tail| tail.data).collect();
        texts.push(data.unwrap_or(text));
        Ok(Messages { ends, ..messages(texts, scanner) })
    }

    /// Returns what was held back, in messages of its own: the provider has closed the connection.
    ///
    /// # Errors
    ///
    /// Any [`RestoreError`].
    pub fn finish(mut self, resolve: &dyn Resolve) -> Result<Messages, RestoreError> {
        let mut scanner = Scanner::new(resolve);
        let tails = self.lanes.finish(&mut scanner)?;
        Ok(messages(tails.into_iter().map(|tail| tail.data).collect(), scanner))
    }
}

fn messages(texts: Vec<Vec<u8>>, scanner: Scanner<'_>) -> Messages {
    let done = scanner.into_restored(Vec::new());
    Messages {
        texts,
        restored: done.restored,
        unknown: done.unknown,
        thinking: done.thinking,
        ends: false,
    }
}

/// Whether a message is an event that ends all lanes.
fn ends(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 3] = [b"\"response.", b"\"error\"", b"\"message_stop\""];
    // Deltas are most of a stream, and need no second look.
    if memchr::memmem::find(text, b".delta\"").is_some()
        || !WORDS.iter().any(|word| memchr::memmem::find(text, word).is_some())
    {
        return false;
    }
    let Ok(tree) = Tree::read(text) else { return false };
    tree.roots().next().is_some_and(|root| lane::ends_response(&tree, root))
}
