//! Batches: a line of an uploaded file is a request to the URL that it names.

use super::{Fields, Position, chat, plain, protocol, responses, text};

/// A line of a file, or the request that makes a batch of one.
pub(super) static ROOT: Position = text("batch.other").by_url(
    &[
        ("custom_id", protocol("batch.custom_id")),
        ("method", protocol("batch.method")),
        ("url", protocol("batch.url")),
        ("body", text("batch.body")),
        ("input_file_id", protocol("batch.input_file_id")),
        ("endpoint", protocol("batch.endpoint")),
        ("completion_window", protocol("batch.completion_window")),
    ],
    URLS,
);

static URLS: &[(&str, Fields)] = &[
    ("/v1/chat/completions", &[("body", chat::ROOT)]),
    ("/v1/responses", &[("body", responses::ROOT)]),
    ("/v1/completions", &[("body", plain::COMPLETIONS)]),
    ("/v1/embeddings", &[("body", plain::EMBEDDINGS)]),
];
