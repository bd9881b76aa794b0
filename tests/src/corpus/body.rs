//! The request bodies around a text.

use std::ops::Range;

use proxy::dialect::Dialect;
use proxy::redact::Media;
use serde_json::Value;

use super::shape::Secret;

/// A body with a secret in it.
#[derive(Debug, Clone)]
pub(super) struct Body {
    /// What it is made of.
    pub(super) media: Media,
    /// Whose shape it has.
    pub(super) dialect: Dialect,
    /// Its text, in three parts.
    pub(super) secret: Secret,
}

impl Body {
    /// Where the secret stands.
    #[must_use]
    pub(super) fn range(&self) -> Range<usize> {
        let start = self.secret.before.len();
        start..start + self.secret.secret.len()
    }
}

/// A kind of body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Carrier {
    /// What it is.
    pub(super) name: &'static str,
    media: fn() -> Media,
    dialect: Dialect,
    /// How each part of the text is spelt.
    spell: fn(&str) -> String,
    before: &'static str,
    after: &'static str,
}

impl Carrier {
    /// This kind of body around `text`.
    #[must_use]
    pub(super) fn carry(&self, text: &Secret) -> Body {
        let spell = self.spell;
        Body {
            media: (self.media)(),
            dialect: self.dialect,
            secret: text.map(spell).within(self.before, self.after),
        }
    }
}

/// Bodies whose text is one JSON string at most.
pub(super) const PLAIN: [Carrier; 7] = [
    Carrier {
        name: "text",
        media: || Media::Text,
        dialect: Dialect::Generic,
        spell: str::to_owned,
        before: "",
        after: "",
    },
    Carrier {
        name: "Messages, content",
        media: || Media::Json,
        dialect: Dialect::AnthropicMessages,
        spell: once,
        before: r#"{"model":"m","max_tokens":64,"messages":[{"role":"user","content":""#,
        after: r#""}]}"#,
    },
    Carrier {
        name: "Messages, tool result",
        media: || Media::Json,
        dialect: Dialect::AnthropicMessages,
        spell: once,
        before: r#"{"model":"m","messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":""#,
        after: r#""}]}]}]}"#,
    },
    Carrier {
        name: "Chat, system",
        media: || Media::Json,
        dialect: Dialect::OpenAiChat,
        spell: once,
        before: r#"{"model": "m", "messages": [{"role": "system", "content": ""#,
        after: r#""}]}"#,
    },
    Carrier {
        name: "Responses, input",
        media: || Media::Json,
        dialect: Dialect::OpenAiResponses,
        spell: once,
        before: r#"{"model":"m","input":""#,
        after: r#"","stream":true}"#,
    },
    Carrier {
        name: "JSON lines",
        media: || Media::JsonLines,
        dialect: Dialect::Generic,
        spell: once,
        before: "{\"n\":1}\n{\"text\":\"",
        after: "\"}\n{\"n\":3}\n",
    },
    Carrier {
        name: "any other JSON",
        media: || Media::Json,
        dialect: Dialect::Generic,
        spell: once,
        before: r#"[1,{"a":{"b":[null,""#,
        after: r#""]}}]"#,
    },
];

/// Bodies that spell their text with more escapes than that.
pub(super) const ESCAPED: [Carrier; 9] = [
    Carrier {
        name: "JSON in a string",
        media: || Media::Json,
        dialect: Dialect::OpenAiChat,
        spell: twice,
        before: r#"{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"call_1","type":"function","function":{"name":"write","arguments":"{\"path\":\"a\",\"text\":\""#,
        after: r#"\"}"}}]}]}"#,
    },
    Carrier {
        name: "JSON in a string, two deep",
        media: || Media::Json,
        dialect: Dialect::Generic,
        spell: |text| once(&twice(text)),
        before: r#"{"a":"{\"b\":\"{\\\"c\\\":\\\""#,
        after: r#"\\\"}\"}"}"#,
    },
    Carrier {
        name: "JSON in a string, three deep",
        media: || Media::Json,
        dialect: Dialect::Generic,
        spell: |text| twice(&twice(text)),
        before: r#"{"a":"[\"[\\\"[\\\\\\\""#,
        after: r#"\\\\\\\"]\\\"]\"]"}"#,
    },
    Carrier {
        name: "every character escaped",
        media: || Media::Json,
        dialect: Dialect::AnthropicMessages,
        spell: units,
        before: r#"{"messages":[{"role":"user","content":""#,
        after: r#""}]}"#,
    },
    Carrier {
        name: "every character escaped, in a string",
        media: || Media::Json,
        dialect: Dialect::Generic,
        spell: |text| once(&units(text)),
        before: r#"{"a":"{\"b\":\""#,
        after: r#"\"}"}"#,
    },
    Carrier {
        name: "ASCII only",
        media: || Media::Json,
        dialect: Dialect::OpenAiResponses,
        spell: |text| ascii(&once(text)),
        before: r#"{"model":"m","input":[{"role":"user","content":""#,
        after: r#""}]}"#,
    },
    Carrier {
        name: "slashes and brackets escaped",
        media: || Media::Json,
        dialect: Dialect::Generic,
        spell: |text| {
            let escapes = [("/", "\\/"), ("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")];
            escapes.iter().fold(once(text), |text, (char, escape)| text.replace(char, escape))
        },
        before: r#"{"text":""#,
        after: r#""}"#,
    },
    Carrier {
        name: "object key",
        media: || Media::Json,
        dialect: Dialect::AnthropicMessages,
        spell: once,
        before: r#"{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"put","input":{""#,
        after: r#"":1}}]}]}"#,
    },
    Carrier {
        name: "JSON quoted in a line of a log",
        media: || Media::Json,
        dialect: Dialect::Generic,
        spell: twice,
        before: r#"{"text":"12:00:00 sent {\"v\":\""#,
        after: r#"\"} and got 200"}"#,
    },
];

/// The content of a JSON string that says `text`.
#[must_use]
pub(super) fn once(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn twice(text: &str) -> String {
    once(&once(text))
}

fn units(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
}

fn ascii(text: &str) -> String {
    let spell = |char: char| match char {
        char if char.is_ascii() => char.to_string(),
        char => units(char.encode_utf8(&mut [0; 4])),
    };
    text.chars().map(spell).collect()
}
