//! APIs whose requests are a text and what to do with it: legacy completions, embeddings.

use super::{Position, protocol, text};

/// `/v1/completions` and `/v1/complete`.
pub(super) static COMPLETIONS: Position = text("completions.other").named(&[
    ("model", protocol("completions.model")),
    ("prompt", text("completions.prompt")),
    ("suffix", text("completions.suffix")),
]);

/// `/v1/embeddings`.
pub(super) static EMBEDDINGS: Position = text("embeddings.other").named(&[
    ("model", protocol("embeddings.model")),
    ("input", text("embeddings.input")),
    ("encoding_format", protocol("embeddings.encoding_format")),
]);
