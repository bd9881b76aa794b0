//! Which provider's shapes a body speaks.

use protocol::settings::Handler;

/// The shapes Waterwall knows by schema position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/v1/messages`, `/v1/messages/count_tokens`, batches of them.
    AnthropicMessages,
    /// `…/chat/completions`.
    OpenAiChat,
    /// `…/responses` and everything below it.
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
        let below = |name: &str| path.ends_with(name) || path.contains(&format!("{name}/"));
        match handler {
            Handler::None => Self::Generic,
            Handler::Anthropic | Handler::Openai if below("/messages") => Self::AnthropicMessages,
            Handler::Anthropic | Handler::Openai if path.ends_with("/chat/completions") => {
                Self::OpenAiChat
            }
            Handler::Anthropic | Handler::Openai if below("/responses") => Self::OpenAiResponses,
            Handler::Anthropic | Handler::Openai => Self::Generic,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_paths_agents_use() {
        for (handler, path, dialect) in [
            (Handler::Anthropic, "/v1/messages", Dialect::AnthropicMessages),
            (Handler::Anthropic, "/v1/messages/count_tokens", Dialect::AnthropicMessages),
            (Handler::Openai, "/api/v1/messages", Dialect::AnthropicMessages),
            (Handler::Openai, "/v1/chat/completions", Dialect::OpenAiChat),
            (Handler::Openai, "/beta/chat/completions", Dialect::OpenAiChat),
            (Handler::Openai, "/v1/responses", Dialect::OpenAiResponses),
            (Handler::Openai, "/v1/responses/resp_1/input_items", Dialect::OpenAiResponses),
            (Handler::Openai, "/v1/embeddings", Dialect::Generic),
            (Handler::None, "/v1/messages", Dialect::Generic),
        ] {
            assert_eq!(Dialect::of(handler, path), dialect, "{path}");
        }
    }
}
