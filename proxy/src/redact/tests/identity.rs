//! I4: bytes outside replaced spans stay, whatever they are.

use proptest::prelude::*;

use super::*;

/// Stands for a secret in a template; no encoder touches it.
const MARK: char = '\u{e000}';

/// The content of a JSON string: text, escapes of every kind, lone surrogates, a mark now and then.
fn content() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ -!#-\\[\\]-~é密😀]{0,12}".prop_map(|text| text.replace(char::is_alphanumeric, "z")),
        1 => prop::sample::select(vec![
            "\\n", "\\t", "\\\"", "\\\\", "\\/", "\\b", "\\u00e9", "\\ud83d\\ude00", "\\ud83d", "\\udc00",
            "\\u0000", "\\u001b[32m", "\\u003c", "\\\\n", "{", "[", "\\\\\\\"",
        ]).prop_map(str::to_owned),
        2 => Just(format!(" {MARK} ")),
        1 => Just(format!("\\n{MARK},")),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn space() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,2}"
}

/// JSON text with arbitrary spacing and lexemes, keys included.
fn template() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "null",
            "true",
            "false",
            "0",
            "-0.0",
            "1E+5",
            "123456789012345678901234567890",
            "0.10"
        ])
        .prop_map(str::to_owned),
        content().prop_map(|content| format!("\"{content}\"")),
    ];
    leaf.prop_recursive(4, 48, 5, |inner| {
        let member = (content(), space(), space(), inner.clone());
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), space()).prop_map(|(elements, space)| {
                format!("[{space}{}]", elements.join(&format!("{space},{space}")))
            }),
            prop::collection::vec(member, 0..4).prop_map(|members| {
                let members: Vec<_> = members
                    .into_iter()
                    .map(|(key, before, behind, value)| {
                        format!("{before}\"{key}\"{behind}:{value}")
                    })
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
            inner.prop_map(|nested| serde_json::Value::from(nested).to_string()),
        ]
    })
}

/// Secrets that a text may hold between blanks: of one kind each, plain and encoded.
const SECRETS: [&str; 8] = [
    AWS,
    "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
    "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgbm90/2Ega2V5IGF0\n-----END PRIVATE KEY-----",
    "<pl:X:0123456789abcdef>",
    "QUtJQUlPU0ZPRE5ON0VYQU1QTEU=",
    "414b4941494f53464f444e4e374558414d504c45",
    "%41KIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
];

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(SECRETS.to_vec()).prop_map(str::to_owned),
        "[ -~é密😀\u{1}\n\t\u{2028}]{0,12}",
    ]
}

/// How many places there are to put a text at.
const PLACES: usize = 15;

/// A body with `text` at the place of this number.
fn place(at: usize, text: &str) -> (Dialect, serde_json::Value) {
    use serde_json::json;
    let arguments = json!({ "a": [text], "b": 1 }).to_string();
    let messages = |content: serde_json::Value| {
        (
            Dialect::AnthropicMessages,
            json!({ "messages": [{ "role": "user", "content": content }] }),
        )
    };
    let chat = |message: serde_json::Value| (Dialect::OpenAiChat, json!({ "messages": [message] }));
    let item = |item: serde_json::Value| (Dialect::OpenAiResponses, json!({ "input": [item] }));
    match at {
        0 => (Dialect::Generic, json!([[{ "a": text }], 1])),
        1 => messages(json!(text)),
        2 => messages(json!([{ "type": "text", "text": text }])),
        3 => messages(
            json!([{ "type": "tool_use", "id": "t", "name": "n", "input": { "a": text } }]),
        ),
        4 => messages(json!([{ "type": "tool_result", "tool_use_id": "t", "content": text }])),
        5 => (Dialect::AnthropicMessages, json!({ "system": text })),
        6 => chat(json!({ "role": "user", "content": text })),
        7 => {
            chat(json!({ "tool_calls": [{ "function": { "name": "n", "arguments": arguments } }] }))
        }
        8 => chat(json!({ "role": "tool", "content": [{ "type": "text", "text": text }] })),
        9 => item(json!({ "type": "function_call", "name": "n", "arguments": arguments })),
        10 => item(json!({ "type": "custom_tool_call", "name": "n", "input": text })),
        11 => item(json!({ "type": "function_call_output", "output": text })),
        12 => (Dialect::Completions, json!({ "prompt": [text] })),
        13 => (Dialect::Embeddings, json!({ "input": text })),
        _ => {
            let body = json!({ "messages": [{ "content": text }] });
            (Dialect::OpenAiFiles, json!({ "url": "/v1/chat/completions", "body": body }))
        }
    }
}

/// Chooses one of the many ways to write the same JSON.
struct Style<'s> {
    of: &'s [u8],
    at: usize,
}

impl Style<'_> {
    fn choose(&mut self) -> u8 {
        self.at += 1;
        self.of[self.at % self.of.len()]
    }

    fn space(&mut self, out: &mut String) {
        out.push_str(["", "", "", " ", "\n\t", "\r\n"][usize::from(self.choose()) % 6]);
    }

    fn spell(&mut self, value: &serde_json::Value, out: &mut String) {
        self.space(out);
        match value {
            serde_json::Value::String(text) => self.string(text, out),
            serde_json::Value::Array(elements) => {
                for (at, element) in elements.iter().enumerate() {
                    out.push(if at == 0 { '[' } else { ',' });
                    self.spell(element, out);
                }
                out.push_str(if elements.is_empty() { "[]" } else { "]" });
            }
            serde_json::Value::Object(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    self.space(out);
                    self.string(key, out);
                    self.space(out);
                    out.push(':');
                    self.spell(value, out);
                }
                out.push('}');
            }
            other => out.push_str(&other.to_string()),
        }
        self.space(out);
    }

    fn string(&mut self, text: &str, out: &mut String) {
        // Most strings have few escapes that they do not need, some have nothing else.
        let rate = [0, 0, 10, 255][usize::from(self.choose()) % 4];
        out.push('"');
        for char in text.chars() {
            let plain = serde_json::Value::from(char.to_string()).to_string();
            match self.choose() {
                choice if choice < rate => {
                    char.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                        *out += &if choice % 2 == 0 {
                            format!("\\u{unit:04x}")
                        } else {
                            format!("\\u{unit:04X}")
                        };
                    });
                }
                choice if char == '/' && choice % 2 == 0 => out.push_str("\\/"),
                _ => out.push_str(&plain[1..plain.len() - 1]),
            }
        }
        out.push('"');
    }
}

/// `value` with the JSON in its strings read, as whoever takes it for arguments does.
fn deep(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::String(text) => match serde_json::from_str(text) {
            Ok(inner @ (serde_json::Value::Array(_) | serde_json::Value::Object(_))) => {
                deep(&inner)
            }
            _ => value.clone(),
        },
        serde_json::Value::Array(elements) => elements.iter().map(deep).collect(),
        serde_json::Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), deep(value))).collect()
        }
        other => other.clone(),
    }
}

/// Whether a string in `value`, or in the JSON in one, says `secret`.
fn says(value: &serde_json::Value, secret: &str) -> bool {
    match deep(value) {
        serde_json::Value::String(text) => text.contains(secret),
        serde_json::Value::Array(elements) => elements.iter().any(|value| says(value, secret)),
        serde_json::Value::Object(members) => {
            members.iter().any(|(key, value)| key.contains(secret) || says(value, secret))
        }
        _ => false,
    }
}

/// Knows what one request minted.
struct Back<'m>(&'m [Minted]);

impl crate::restore::Resolve for Back<'_> {
    fn resolve(&self, kind: &str, tag: Tag, out: &mut Vec<u8>) -> crate::restore::Resolution {
        let known = self.0.iter().find(|minted| minted.kind.as_str() == kind && minted.tag == tag);
        known.map_or(crate::restore::Resolution::Unknown, |minted| {
            out.extend_from_slice(minted.plaintext.expose());
            crate::restore::Resolution::Known
        })
    }
}

proptest! {
    #[test]
    fn i4_only_secrets_change(template in template(), before in space(), behind in space()) {
        let template = format!("{before}{template}{behind}");
        let body = template.replace(MARK, AWS);
        let sent = run(Dialect::Generic, Media::Json, &body).unwrap();
        prop_assert_eq!(text_of(&sent), template.replace(MARK, &placeholder("AWS_ACCESS_KEY", AWS)));
        let count: u64 = sent.findings.iter().map(|finding| finding.count).sum();
        prop_assert_eq!(usize::try_from(count).unwrap(), template.matches(MARK).count());
    }

    #[test]
    fn i4_substituting_back_is_the_identity(text in r"(\PC|\n|AKIAIOSFODNN7EXAMPLE|<pl:X:0123456789abcdef>|ghp_[a-z]{36}| ){0,12}") {
        let body = serde_json::Value::from(text.as_str()).to_string();
        let sent = run(Dialect::Generic, Media::Json, &body).unwrap();
        let mut back = text_of(&sent);
        for minted in &sent.minted {
            let spelt = spell(&minted.kind, minted.tag);
            back = back.replace(&spelt, str::from_utf8(minted.plaintext.expose()).unwrap());
        }
        prop_assert_eq!(back, body);
    }

    #[test]
    fn t4_p4_redacting_and_restoring_is_the_identity(
        pieces in prop::collection::vec(piece(), 1..5),
        levels in 0_usize..=4,
        at in 0_usize..PLACES,
        style in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let text = format!(" {} ", pieces.join(" "));
        let nested = (0..levels).fold(text.clone(), |inner, level| match level % 2 {
            0 => serde_json::json!({ "k": inner, "n": 1.0 }).to_string(),
            _ => serde_json::json!([inner]).to_string(),
        });
        let (dialect, value) = place(at, &nested);
        let mut body = String::new();
        Style { of: &style, at: 0 }.spell(&value, &mut body);
        let sent = run(dialect, Media::Json, &body);
        if sent.as_ref().is_err_and(|refusal| *refusal == Refusal::Malformed(Malformed::Nesting)) {
            // One string deeper than is looked, what text says in escapes cannot be told.
            prop_assert!(levels == 4 && ["\\/", "\\u00"].iter().any(|hides| text.contains(hides)));
            return Ok(());
        }
        let sent = sent.unwrap();
        let outside: serde_json::Value = serde_json::from_slice(&sent.body).unwrap();
        for secret in SECRETS.iter().filter(|secret| pieces.iter().any(|piece| piece == **secret)) {
            prop_assert!(!says(&outside, secret), "{secret} {outside}");
        }
        // What is outside the replaced stretches stays, and each of those became one placeholder.
        let mut rest = text_of(&sent);
        let mut from = 0;
        for Replaced { range, .. } in &sent.replaced {
            let kept = &body[from..range.start];
            prop_assert!(rest.starts_with(kept));
            rest.drain(..kept.len());
            let spelt = rest.find('>').unwrap();
            prop_assert!(rest.starts_with("<pl:") && spelt < crate::placeholder::PLAIN_MAX);
            rest.drain(..=spelt);
            from = range.end;
        }
        prop_assert_eq!(&rest, &body[from..]);
        let back = crate::restore::json::restore(sent.body.to_vec(), &Back(&sent.minted)).unwrap();
        let back: serde_json::Value = serde_json::from_slice(&back.bytes).unwrap();
        prop_assert_eq!(deep(&back), deep(&value));
    }

    #[test]
    fn i4_a_growing_conversation_keeps_its_prefix(
        turns in prop::collection::vec(prop::collection::vec(piece(), 1..4), 2..6),
        style in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        // Every message is spelt in its own way, but the same in each turn.
        let messages: Vec<String> = turns.iter().enumerate().map(|(at, pieces)| {
            let input = serde_json::json!({ "command": pieces.join(" "), "at": at });
            let content = match at % 3 {
                0 => serde_json::json!(pieces.join(" ")),
                1 => serde_json::json!([{ "type": "tool_use", "id": "toolu_1", "name": "bash", "input": input }]),
                _ => serde_json::json!([{ "type": "tool_result", "tool_use_id": "toolu_1", "content": input.to_string() }]),
            };
            let mut spelt = String::new();
            Style { of: &style, at }.spell(&serde_json::json!({ "role": "user", "content": content }), &mut spelt);
            spelt
        }).collect();
        let send = |count: usize| {
            let body = format!("{{\"model\":\"m\", \"messages\": [{}", messages[..count].join(","));
            text_of(&run(Dialect::AnthropicMessages, Media::Json, &format!("{body}]}}")).unwrap())
        };
        for count in 1..messages.len() {
            let before = send(count);
            let after = send(count + 1);
            let prefix = before.strip_suffix("]}").unwrap();
            prop_assert!(after.starts_with(prefix));
        }
    }

    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), text in r#"[\[{"\\u0041d8,:}\]AKI.s-]{0,48}"#) {
        let key = key();
        for dialect in [Dialect::AnthropicMessages, Dialect::OpenAiResponses] {
            let context = Context { policy: policy(), known: &NothingKnown, key: &key, dialect, thinking: &Forgets };
            for media in [Media::Json, Media::JsonLines, Media::Text] {
                let _ = redact(&context, media.clone(), bytes.clone().into());
                let _ = redact(&context, media, text.clone().into());
            }
        }
    }
}

#[test]
fn i4_a_clean_body_is_the_one_that_came() {
    let body = Bytes::from_static(br#"{ "b":1.0, "a" : [ "\u00e9" ,"x"] }"#);
    let key = key();
    let context = Context {
        policy: policy(),
        known: &NothingKnown,
        key: &key,
        dialect: Dialect::OpenAiChat,
        thinking: &Forgets,
    };
    let sent = redact(&context, Media::Json, body.clone()).unwrap();
    assert_eq!((sent.body.as_ptr(), sent.body.len()), (body.as_ptr(), body.len()));
}

#[test]
fn i4_a_turns_prefix_is_the_turn_before() {
    let turn = |count: usize| {
        let messages: Vec<_> = (0..count)
            .map(|at| serde_json::json!({ "role": "user", "content": format!("{at} {AWS} ghp_{at:036}") }))
            .collect();
        let body = serde_json::json!({ "messages": messages }).to_string();
        text_of(&run(Dialect::AnthropicMessages, Media::Json, &body).unwrap())
    };
    for count in 1..6 {
        let before = turn(count);
        assert!(turn(count + 1).starts_with(before.strip_suffix("]}").unwrap()));
    }
}
