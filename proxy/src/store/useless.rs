//! Values that must not be registered, since they stand everywhere.

use super::registry::{NotRegistered, VALUE_MAX, VALUE_MIN};

/// Fewest digits of a number that can be registered: shorter ones are dates, times and sizes.
pub(super) const DIGITS_MIN: usize = 12;

/// Whether `value` is worth registering.
pub(super) fn check(value: &[u8]) -> Result<(), NotRegistered> {
    // A word is called one whatever its length.
    let lower = value.to_ascii_lowercase();
    if COMMON.iter().any(|common| common.as_bytes() == lower.trim_ascii()) {
        return Err(NotRegistered::Common);
    }
    if value.len() < VALUE_MIN {
        return Err(NotRegistered::Short);
    }
    if value.len() > VALUE_MAX {
        return Err(NotRegistered::Long);
    }
    let mut seen = value.to_vec();
    seen.sort_unstable();
    seen.dedup();
    let is_monotonous = seen.len() < 4;
    seen.clear();
    if is_monotonous {
        return Err(NotRegistered::Monotonous);
    }
    if value.len() < DIGITS_MIN && value.iter().all(u8::is_ascii_digit) {
        return Err(NotRegistered::Number);
    }
    let holds = |text: &str| memchr::memmem::find(text.as_bytes(), &lower).is_some();
    if PROTOCOL.iter().any(|text| holds(text)) {
        return Err(NotRegistered::Protocol);
    }
    if memchr::memmem::find(&lower, b"<pl:").is_some() {
        return Err(NotRegistered::Placeholder);
    }
    Ok(())
}

/// Lower case. What configuration files hold beside secrets, and what programs and people say.
const COMMON: &[&str] = &[
    "/bin/bash",
    "/bin/sh",
    "/dev/null",
    "/etc/hosts",
    "/etc/passwd",
    "/home",
    "/root",
    "/tmp",
    "/usr/bin",
    "/usr/bin/env",
    "/usr/local",
    "/usr/local/bin",
    "/var/log",
    "0.0.0.0",
    "127.0.0.1",
    "127.0.0.1:3000",
    "127.0.0.1:8000",
    "127.0.0.1:8080",
    "192.168.0.1",
    "192.168.1.1",
    "255.255.255.0",
    "255.255.255.255",
    "::1",
    "administrator",
    "anonymous",
    "api-key",
    "api_key",
    "application",
    "assistant",
    "authentication",
    "authorization",
    "changeme",
    "changeme123",
    "commit",
    "configuration",
    "container",
    "credentials",
    "database",
    "debug",
    "default",
    "dependencies",
    "description",
    "develop",
    "development",
    "disabled",
    "docker",
    "enabled",
    "environment",
    "example",
    "example.com",
    "exception",
    "false",
    "function",
    "github.com",
    "http://127.0.0.1",
    "http://localhost",
    "http://localhost:3000",
    "http://localhost:5000",
    "http://localhost:5173",
    "http://localhost:8000",
    "http://localhost:8080",
    "https://api.github.com",
    "https://example.com",
    "https://github.com",
    "https://localhost",
    "host.docker.internal",
    "information",
    "javascript",
    "kubernetes",
    "language",
    "localhost",
    "localhost:3000",
    "localhost:5432",
    "localhost:6379",
    "localhost:8000",
    "localhost:8080",
    "maintenance",
    "minioadmin",
    "mongodb",
    "node_modules",
    "null",
    "package.json",
    "parameters",
    "passphrase",
    "password",
    "password1",
    "password123",
    "placeholder",
    "postgres",
    "postgresql",
    "private",
    "private_key",
    "production",
    "properties",
    "python",
    "readme.md",
    "redis",
    "repository",
    "required",
    "response",
    "secret",
    "secret_key",
    "services",
    "settings",
    "staging",
    "standard",
    "sqlite",
    "testing",
    "true",
    "typescript",
    "undefined",
    "unknown",
    "us-east-1",
    "us-west-2",
    "eu-west-1",
    "eu-central-1",
    "user",
    "username",
    "utf-8",
    "verbose",
    "version",
    "warning",
    "your-api-key",
    "your_api_key",
];

/// Lower case. What heads of requests, schemas of bodies and placeholders hold; a value that is part
/// of it would refuse or garble every request.
const PROTOCOL: &[&str] = &[
    "accept: application/json, text/event-stream, text/plain, */*",
    "accept-encoding: gzip, deflate, br, zstd, identity",
    "accept-language: en-us,en;q=0.9",
    "anthropic-beta: claude-code-20250219,interleaved-thinking-2025-05-14,prompt-caching-2024-07-31",
    "anthropic-dangerous-direct-browser-access: true",
    "anthropic-version: 2023-06-01",
    "authorization: bearer",
    "cache-control: no-cache, no-store, max-age=0",
    "chatgpt-account-id: originator: codex_cli_rs",
    "connection: keep-alive, upgrade, close",
    "content-disposition: form-data; name=\"file\"; filename=",
    "content-length: content-encoding: content-transfer-encoding:",
    "content-type: application/json; charset=utf-8",
    "content-type: application/x-www-form-urlencoded",
    "content-type: multipart/form-data; boundary=",
    "http/1.1 http/2.0",
    "https://api.anthropic.com/v1/messages/count_tokens?beta=true",
    "https://api.openai.com/v1/chat/completions",
    "https://api.openai.com/v1/responses",
    "https://chatgpt.com/backend-api/codex/responses",
    "/v1/embeddings /v1/completions /v1/models /v1/files /v1/batches",
    "idempotency-key: traceparent: tracestate: x-request-id: user-agent:",
    "openai-organization: openai-beta: openai-project: session_id: conversation_id:",
    "x-stainless-arch: x-stainless-lang: js x-stainless-os: linux x-stainless-package-version: \
     x-stainless-retry-count: x-stainless-runtime: node x-stainless-runtime-version: \
     x-stainless-timeout: x-stainless-helper-method: stream",
    "assistant developer messages system_prompt instructions temperature max_tokens \
     max_output_tokens max_completion_tokens top_logprobs parallel_tool_calls stop_sequences",
    "tool_use tool_use_id tool_result tool_choice tool_calls tool_call_id input_schema \
     json_schema response_format function_call function_call_output custom_tool_call \
     custom_tool_call_output arguments partial_json input_json_delta content_block_delta",
    "text_delta thinking_delta signature_delta redacted_thinking encrypted_content \
     reasoning_content reasoning_effort cache_control ephemeral metadata user_id",
    "message_start message_delta message_stop content_block_start content_block_stop \
     stop_reason end_turn input_tokens output_tokens cache_read_input_tokens \
     cache_creation_input_tokens service_tier",
    "previous_response_id prompt_cache_key store include stream stream_options include_usage",
    "input_text output_text input_image image_url media_type image/png image/jpeg image/webp \
     application/pdf base64 additionalproperties properties required description",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q4_what_stands_everywhere_cannot_be_registered() {
        for (value, why) in [
            ("true", NotRegistered::Common),
            ("localhost", NotRegistered::Common),
            ("Password", NotRegistered::Common),
            (" localhost\n", NotRegistered::Common),
            ("127.0.0.1", NotRegistered::Common),
            ("/usr/local/bin", NotRegistered::Common),
            ("", NotRegistered::Short),
            ("s3cr3t!", NotRegistered::Short),
            ("aaaaaaaaaaaaaaaaaaaaaaaa", NotRegistered::Monotonous),
            ("xyxyxyxyxyxyxyxy", NotRegistered::Monotonous),
            ("20261120", NotRegistered::Number),
            ("17636400123", NotRegistered::Number),
            ("application/json", NotRegistered::Protocol),
            ("anthropic", NotRegistered::Protocol),
            ("api.openai.com", NotRegistered::Protocol),
            ("tool_result", NotRegistered::Protocol),
            ("x <pl:AWS_ACCESS_KEY:", NotRegistered::Placeholder),
        ] {
            assert_eq!(check(value.as_bytes()), Err(why), "{value}");
        }
        assert_eq!(check(&b"abcdefgh".repeat(VALUE_MAX / 8 + 1)), Err(NotRegistered::Long));
        for value in
            ["hunter2hunter2", "correct horse", "4929123412341234", "P@ssw0rd!", "localhost-key"]
        {
            assert_eq!(check(value.as_bytes()), Ok(()), "{value}");
        }
    }

    #[test]
    fn the_lists_are_in_the_case_they_are_compared_in() {
        for text in COMMON.iter().chain(PROTOCOL) {
            assert_eq!(*text, text.to_ascii_lowercase());
        }
    }
}
