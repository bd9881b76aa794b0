//! What a body is where nobody says.

use super::Fault as Failure;
use crate::dialect::Dialect;
use crate::redact::json::{self, MemberAt};
use crate::redact::{Fault, Media, NotTaken, media_type};

/// The media that an operator names: a short name, or what a `Content-Type` would say.
///
/// # Errors
///
/// [`Failure::Usage`](super::Fault::Usage) where the proxy takes no such body.
pub(super) fn named(name: &str) -> Result<Media, Failure> {
    let full = match name {
        "json" => "application/json",
        "jsonl" => "application/x-ndjson",
        "text" => "text/plain",
        "form" => "application/x-www-form-urlencoded",
        full => full,
    };
    let not_taken = |why: &str| Failure::Usage(format!("--media {name}: {why}"));
    if !full.contains('/') {
        return Err(not_taken("neither json, jsonl, text, form nor a media type"));
    }
    media_type(full).map_err(|not| match not {
        NotTaken::Charset => not_taken("only UTF-8 is scanned"),
        NotTaken::Type => not_taken("not a media type that is scanned"),
    })
}

/// JSON, JSON lines, or else text.
pub(super) fn media(body: &[u8]) -> Media {
    let fault = match json::check(body) {
        Ok(()) => return Media::Json,
        Err(malformed) => malformed.fault,
    };
    let mut lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    // A bare number or word on a line is text as well.
    let is_line = |line: &[u8]| starts_like_json(line) && json::check(line).is_ok();
    if lines.next().is_some_and(is_line) && lines.all(is_line) {
        return Media::JsonLines;
    }
    // What was cut, or is but nearly JSON, is meant as JSON: say what is wrong with it.
    let is_cut = matches!(fault, Fault::End | Fault::Depth);
    match starts_like_json(body) && (is_cut || ends_like_json(body)) {
        true => Media::Json,
        false => Media::Text,
    }
}

fn starts_like_json(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
}

fn ends_like_json(body: &[u8]) -> bool {
    matches!(
        (body.trim_ascii_start().first(), body.trim_ascii_end().last()),
        (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']'))
    )
}

/// Whose request a JSON body is, by the names of its members.
pub(super) fn dialect(body: &[u8]) -> Dialect {
    if json::check(body).is_err() {
        return Dialect::Generic;
    }
    let has = |name: &str| member(body, 0, name).is_some();
    if let Some(messages) = member(body, 0, "messages") {
        let is_theirs = |role: &[u8]| matches!(role, b"system" | b"developer" | b"tool");
        let of_chat = roles(body, messages).iter().any(|role| is_theirs(role));
        // Anthropic demands `max_tokens`, and keeps the system prompt out of the messages.
        return match has("system") || has("max_tokens") && !of_chat {
            true => Dialect::AnthropicMessages,
            false => Dialect::OpenAiChat,
        };
    }
    let of_responses = ["instructions", "previous_response_id", "store", "reasoning", "tools"];
    // Embeddings have an input too.
    match has("input") && of_responses.iter().any(|name| has(name)) {
        true => Dialect::OpenAiResponses,
        false => Dialect::Generic,
    }
}

/// Where the value of the member `name` starts, of the object at or behind `at` in checked JSON.
fn member(body: &[u8], at: usize, name: &str) -> Option<usize> {
    let at = json::skip_space(body, at);
    let mut next = (body.get(at) == Some(&b'{')).then_some(at + 1)?;
    while let Ok(MemberAt { key, value }) = json::next_member(body, next) {
        if &*json::decode(&body[key]) == name.as_bytes() {
            return Some(value);
        }
        next = json::end_of_value(body, value);
    }
    None
}

/// The roles of the messages in the list at `at`.
fn roles(body: &[u8], at: usize) -> Vec<Vec<u8>> {
    let mut roles = Vec::new();
    if body.get(at) != Some(&b'[') {
        return roles;
    }
    let mut next = at + 1;
    while let Ok(element) = json::next_element(body, next) {
        next = json::end_of_value(body, element);
        let role = member(body, element, "role").filter(|role| body.get(*role) == Some(&b'"'));
        roles.extend(role.map(|role| {
            let content = role + 1..json::end_of_string(body, role) - 1;
            json::decode(&body[content]).into_owned()
        }));
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_json_from_lines_and_text() {
        for (body, guessed) in [
            (r#"{"a":1}"#, Media::Json),
            ("[1,\n2]", Media::Json),
            ("\"a\"", Media::Json),
            ("{\"a\":1}\n{\"a\":2}\n\n", Media::JsonLines),
            ("{\"a\":1,}", Media::Json),
            ("{\"a\":", Media::Json),
            ("{\"a\":1}\n{\"a\":", Media::Text),
            ("plain", Media::Text),
            ("1\n2\n", Media::Text),
            ("[section]\nkey = 1\n", Media::Text),
            ("", Media::Text),
        ] {
            assert_eq!(media(body.as_bytes()), guessed, "{body}");
        }
    }

    #[test]
    fn tells_whose_request_it_is() {
        for (body, guessed) in [
            (r#"{"max_tokens":1,"messages":[{"role":"user"}]}"#, Dialect::AnthropicMessages),
            (r#"{"system":"s","messages":[]}"#, Dialect::AnthropicMessages),
            (r#"{"messages":[{"role":"user"}]}"#, Dialect::OpenAiChat),
            (r#"{"max_tokens":1,"messages":[{"role":"system"}]}"#, Dialect::OpenAiChat),
            (r#"{"input":"a","instructions":"b"}"#, Dialect::OpenAiResponses),
            (r#"{"input":"a","model":"text-embedding-3-large"}"#, Dialect::Generic),
            (r#"{"messages":7}"#, Dialect::OpenAiChat),
            ("[]", Dialect::Generic),
            ("{", Dialect::Generic),
        ] {
            assert_eq!(dialect(body.as_bytes()), guessed, "{body}");
        }
    }
}
