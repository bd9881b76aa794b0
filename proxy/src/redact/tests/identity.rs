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
