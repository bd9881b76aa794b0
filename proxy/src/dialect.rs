//! Which provider's shapes a body speaks.

use protocol::settings::Handler;

/// The shapes Waterwall knows by schema position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/v1/messages`, `/v1/messages/count_tokens`, batches of them.
    AnthropicMessages,
    /// `…/completions` without chat, and `/v1/complete`.
    Completions,
    /// `…/embeddings`.
    Embeddings,
    /// `…/chat/completions`.
    OpenAiChat,
    /// `…/files`, `…/batches`: files of requests, one a line.
    OpenAiFiles,
    /// `…/responses` and everything below it, `…/conversations`.
    OpenAiResponses,
    /// Any other body: every string is text.
    Generic,
}

impl Dialect {
    /// The dialect of requests to `path` (no query) on a host with `handler`.
    ///
    /// The path decides before the handler: OpenRouter serves `/v1/messages` on a host whose
    /// handler is `openai`.
    #[must_use]
    pub fn of(handler: Handler, path: &str) -> Self {
        let path = path.trim_end_matches('/');
        let ends = |name: &str| path.ends_with(name);
        let below = |name: &str| ends(name) || path.contains(&format!("{name}/"));
        if handler == Handler::None {
            Self::Generic
        } else if below("/messages") {
            Self::AnthropicMessages
        } else if ends("/chat/completions") {
            Self::OpenAiChat
        } else if below("/responses") || below("/conversations") {
            Self::OpenAiResponses
        } else if ends("/completions") || ends("/complete") {
            Self::Completions
        } else if ends("/embeddings") {
            Self::Embeddings
        } else if handler == Handler::Openai && (ends("/files") || ends("/batches")) {
            Self::OpenAiFiles
        } else {
            Self::Generic
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i8_knows_the_paths_agents_use() {
        for (handler, path, dialect) in [
            (Handler::Anthropic, "/v1/messages", Dialect::AnthropicMessages),
            (Handler::Anthropic, "/v1/messages/count_tokens", Dialect::AnthropicMessages),
            (Handler::Anthropic, "/v1/messages/batches", Dialect::AnthropicMessages),
            (Handler::Anthropic, "/v1/complete", Dialect::Completions),
            (Handler::Anthropic, "/v1/files", Dialect::Generic),
            (Handler::Openai, "/api/v1/messages", Dialect::AnthropicMessages),
            (Handler::Openai, "/v1/chat/completions", Dialect::OpenAiChat),
            (Handler::Openai, "/beta/chat/completions", Dialect::OpenAiChat),
            (Handler::Openai, "/v1/responses", Dialect::OpenAiResponses),
            (Handler::Openai, "/v1/responses/resp_1/input_items", Dialect::OpenAiResponses),
            (Handler::Openai, "/v1/conversations/conv_1/items", Dialect::OpenAiResponses),
            (Handler::Openai, "/v1/completions", Dialect::Completions),
            (Handler::Openai, "/beta/completions/", Dialect::Completions),
            (Handler::Openai, "/v1/embeddings", Dialect::Embeddings),
            (Handler::Openai, "/v1/files", Dialect::OpenAiFiles),
            (Handler::Openai, "/v1/batches", Dialect::OpenAiFiles),
            (Handler::Openai, "/v1/images/edits", Dialect::Generic),
            (Handler::Openai, "/v1/audio/transcriptions", Dialect::Generic),
            (Handler::Openai, "/v1beta/models/gemini:generateContent", Dialect::Generic),
            (Handler::None, "/v1/messages", Dialect::Generic),
        ] {
            assert_eq!(Dialect::of(handler, path), dialect, "{path}");
        }
    }
}
