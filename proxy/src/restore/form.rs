//! Which way a response body has to be restored.

/// How a response body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON text, or several after one another (JSONL): [`super::json`].
    Json,
    /// Server-sent events: [`super::sse`].
    Sse,
    /// Any other text: [`super::text`].
    Text,
    /// Images, audio, archives: passed as they are.
    Opaque,
}

impl Form {
    /// The form of a body declared as `content_type` (the header's value, if there is one) that
    /// starts with `start`; the first chunk is enough.
    ///
    /// A body that evidently is an event stream is read as one whatever it was declared as, unless
    /// as media (S11).
    #[must_use]
    pub fn of(content_type: Option<&str>, start: &[u8]) -> Self {
        let essence = content_type
            .and_then(|value| value.split(';').next())
            .map(|essence| essence.trim().to_ascii_lowercase())
            .unwrap_or_default();
        match essence.as_str() {
            "text/event-stream" => Self::Sse,
            essence if is_media(essence) => Self::Opaque,
            _ if starts_a_stream(start) => Self::Sse,
            essence if is_json(essence) => Self::Json,
            "" if matches!(trim(start).first(), Some(b'{' | b'[')) => Self::Json,
            _ => Self::Text,
        }
    }
}

fn is_json(essence: &str) -> bool {
    matches!(
        essence,
        "application/json"
            | "text/json"
            | "application/jsonl"
            | "application/x-jsonl"
            | "application/x-ndjson"
            | "application/ndjson"
    ) || essence.ends_with("+json")
}

fn is_media(essence: &str) -> bool {
    ["image/", "audio/", "video/", "font/"].iter().any(|prefix| essence.starts_with(prefix))
        && !essence.ends_with("+xml")
        || matches!(essence, "application/pdf" | "application/zip" | "application/gzip")
}

fn starts_a_stream(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    [b"data:".as_slice(), b"event:"].iter().any(|field| start.starts_with(field))
}

fn trim(start: &[u8]) -> &[u8] {
    start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s11_the_body_decides_where_its_type_does_not() {
        for (declared, start, form) in [
            (Some("text/event-stream; charset=utf-8"), "", Form::Sse),
            (Some("Text/Event-Stream"), "", Form::Sse),
            (Some("application/json"), "{}", Form::Json),
            (Some("application/problem+json"), "{}", Form::Json),
            (Some("application/json"), "event: message_start\n", Form::Sse),
            (Some("text/plain"), "data: {}\n", Form::Sse),
            (Some("text/plain"), "{", Form::Text),
            (None, " \n{", Form::Json),
            (None, "\u{feff}[", Form::Json),
            (None, "hello", Form::Text),
            (Some("text/html"), "<html>", Form::Text),
            (Some("application/octet-stream"), "x", Form::Text),
            (Some("image/png"), "data:", Form::Opaque),
            (Some("image/svg+xml"), "<svg>", Form::Text),
        ] {
            assert_eq!(Form::of(declared, start.as_bytes()), form, "{declared:?} {start}");
        }
    }
}
