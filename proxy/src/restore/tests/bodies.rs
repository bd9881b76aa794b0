use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::text::{self, TextRestorer};
use super::super::{json as body, thinking};
use super::*;

fn restored(value: &Value, known: &Known) -> Value {
    let out = body::restore(value.to_string().into_bytes(), known).unwrap();
    serde_json::from_slice(&out.bytes).unwrap()
}

/// Bodies of the three shapes with `inside` wherever a model can put text. `Value`s parsed from
/// `arguments` stand beside them under the pointer given.
fn shapes(inside: &str) -> Vec<Value> {
    let source = json!({"file": "a.pem", "content": inside}).to_string();
    vec![
        json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
               "stop_sequence": inside, "content": [
            {"type": "text", "text": inside, "citations": [{"cited_text": inside}]},
            {"type": "tool_use", "id": "toolu_1", "name": "Write",
             "input": {"content": inside, "name": inside, "id": inside, "type": inside,
                       "nested": [{"signature": inside, "arguments": inside}]}},
            {"type": "web_search_tool_result", "tool_use_id": "srv_1",
             "content": [{"type": "web_search_result", "title": inside}]},
        ]}),
        json!({"id": "chatcmpl-1", "object": "chat.completion", "choices": [
            {"index": 0, "finish_reason": "tool_calls", "message": {
                "role": "assistant", "content": inside, "refusal": inside, "reasoning": inside,
                "reasoning_content": inside, "audio": {"transcript": inside},
                "tool_calls": [
                    {"id": "call_1", "type": "function",
                     "function": {"name": "write", "arguments": source}},
                    {"id": "call_2", "type": "custom", "custom": {"name": "p", "input": inside}}],
                "function_call": {"name": "write", "arguments": source}}}]}),
        json!({"id": "resp_1", "object": "response", "output": [
            {"type": "message", "content": [{"type": "output_text", "text": inside}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": inside}]},
            {"type": "function_call", "call_id": "c1", "name": "write", "arguments": source},
            {"type": "mcp_call", "id": "m1", "name": "w", "arguments": source, "output": inside},
            {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch",
             "input": format!("*** Begin Patch\n+{inside}\n*** End Patch")},
            {"type": "local_shell_call", "action": {"type": "exec", "command": ["echo", inside]}}],
            "metadata": {"name": inside, "id": inside}}),
    ]
}

#[test]
fn t1_t4_t7_json_of_all_shapes_parses_back_exactly() {
    let mut known = Known::default();
    for (kind, secret) in [("PEM_BLOCK", PEM), ("GITHUB_TOKEN", TOKEN)] {
        let placeholder = known.mint(kind, secret);
        for (sent, wanted) in shapes(&placeholder).iter().zip(shapes(secret)) {
            assert_eq!(restored(sent, &known), wanted);
        }
    }
}

#[test]
fn t6_an_encoder_that_escapes_angle_brackets_changes_nothing() {
    let mut known = Known::default();
    let placeholder = known.mint("PEM_BLOCK", PEM);
    for (sent, wanted) in shapes(&placeholder).iter().zip(shapes(PEM)) {
        let sent = sent.to_string().replace('<', r"\u003c").replace('>', r"\u003E");
        let out = body::restore(sent.into_bytes(), &known).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&out.bytes).unwrap(), wanted);
    }
}

#[test]
fn i10_every_byte_around_a_replacement_stays() {
    let mut known = Known::default();
    let token = known.mint("GITHUB_TOKEN", TOKEN);
    let body = |inside: &str| {
        format!(
            " {{ \"a\\u00e9\" : [1.0e+2, -0.0,\"\\u00E9\\/{inside}\\n\\ud83d\\ude00\"],\r\n\t\
             \"{inside}\":null,\"a\":1,\"a\":\"x{inside}{inside}y\" }}\n"
        )
    };
    let out = body::restore(body(&token).into_bytes(), &known).unwrap();
    assert_eq!(String::from_utf8(out.bytes).unwrap(), body(TOKEN));
    assert_eq!((out.restored, out.unknown), (4, 0));
}

#[test]
fn t8_ids_names_and_opaque_fields_go_as_they_are() {
    let mut known = Known::default();
    let token = known.mint("GITHUB_TOKEN", TOKEN);
    let kept = json!([
        {"type": "tool_use", "id": token, "name": token, "input": {}},
        {"type": "mcp_tool_use", "id": token, "name": token, "server_name": token, "input": {}},
        {"type": "mcp_tool_result", "tool_use_id": token, "content": []},
        {"type": "function_call", "id": token, "call_id": token, "name": token, "arguments": "{}"},
        {"tool_calls": [{"id": token, "function": {"name": token, "arguments": "{}"}}]},
        {"type": "response.function_call_arguments.done", "item_id": token, "name": token},
        {"type": "redacted_thinking", "data": token},
        {"type": "reasoning", "encrypted_content": token, "summary": []},
        {"type": "web_search_result", "encrypted_content": token},
        {"type": "signature_delta", "signature": token},
    ]);
    assert_eq!(restored(&kept, &known), kept);
    // The same names elsewhere are text.
    let text = json!({"signature": token, "data": token, "encrypted_content": token,
                      "name": token, "id": token});
    let wanted = json!({"signature": TOKEN, "data": TOKEN, "encrypted_content": TOKEN,
                        "name": TOKEN, "id": TOKEN});
    assert_eq!(restored(&text, &known), wanted);
}

#[test]
fn s9_gone_in_tool_input_refuses_the_body_and_elsewhere_passes() {
    let mut known = Known::default();
    let gone = known.bury("GITHUB_TOKEN", TOKEN);
    let source = json!({ "k": gone }).to_string();
    for tool in [
        json!({"type": "tool_use", "input": {"a": [gone]}}),
        json!({"type": "tool_use", "input": {(gone.clone()): 1}}),
        json!({"message": {"tool_calls": [{"function": {"name": "f", "arguments": source}}]}}),
        json!({"type": "custom_tool_call", "input": gone}),
        json!({"type": "local_shell_call", "action": {"command": [gone]}}),
    ] {
        let out = body::restore(tool.to_string().into_bytes(), &known);
        assert_eq!(out, Err(RestoreError::Gone), "{tool}");
    }
    let text = json!({"type": "text", "text": gone}).to_string().into_bytes();
    let out = body::restore(text.clone(), &known).unwrap();
    assert_eq!((out.bytes, out.restored, out.unknown), (text, 0, 1));
}

#[test]
fn i1_a_signed_thinking_block_is_remembered_with_the_providers_text() {
    let mut known = Known::default();
    let pem = known.mint("PEM_BLOCK", PEM);
    let block = json!({"content": [
        {"type": "thinking", "thinking": format!("hm {pem}"), "signature": "c2ln"},
        {"signature": "b3RoZXI=", "thinking": "no secret", "type": "thinking"},
        {"type": "thinking", "thinking": format!("unsigned {pem}"), "signature": ""},
    ]});
    let out = body::restore(block.to_string().into_bytes(), &known).unwrap();
    let expected: Vec<_> = [
        ("c2ln", format!("hm {pem}"), format!("hm {PEM}")),
        ("b3RoZXI=", "no secret".to_owned(), "no secret".to_owned()),
    ]
    .iter()
    .filter_map(|(signature, provider, client)| {
        thinking::record(signature.as_bytes(), provider.as_bytes(), client.as_bytes())
    })
    .collect();
    assert_eq!(out.thinking, expected);
    assert_eq!(expected.len(), 2);
    assert_ne!(expected[0].restored_hash, expected[1].restored_hash);
}

#[test]
fn bodies_in_lines_are_restored_line_by_line() {
    let mut known = Known::default();
    let pem = known.mint("PEM_BLOCK", PEM);
    let line = |inside: &str| {
        let source = json!({ "k": inside }).to_string();
        json!({"result": {"message": {"tool_calls": [{"function": {"arguments": source}}]}}})
            .to_string()
    };
    let lines = |inside: &str| format!("{}\n{}\n", line(inside), line("x"));
    let out = body::restore(lines(&pem).into_bytes(), &known).unwrap();
    let parse = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    assert_eq!(parse(str::from_utf8(&out.bytes).unwrap()), parse(&lines(PEM)));
}

#[test]
fn a_body_that_is_not_json_is_refused_only_where_it_may_hold_a_placeholder() {
    let mut known = Known::default();
    let token = known.mint("GITHUB_TOKEN", TOKEN);
    for bad in [format!("{{\"a\":\"{token}\""), format!("oops {token}"), "[\"<pl:".to_owned()] {
        let out = body::restore(bad.into_bytes(), &known);
        assert_eq!(out, Err(RestoreError::Malformed));
    }
    for odd in
        ["", "{\"signature\"", "upstream <b>timed out</b>", "{\"a\":\"\\q\u{0}\"}", "\u{feff}{}"]
    {
        let out = body::restore(odd.as_bytes().to_vec(), &known).unwrap();
        assert_eq!(out.bytes, odd.as_bytes());
    }
}

#[test]
fn a_plaintext_that_is_not_text_is_never_written() {
    struct Binary;
    impl Resolve for Binary {
        fn resolve(&self, _: &str, _: Tag, out: &mut Vec<u8>) -> Resolution {
            out.extend_from_slice(b"\xff\xfe");
            Resolution::Known
        }
    }
    let placeholder = Known::default().mint("GITHUB_TOKEN", TOKEN);
    let sent = json!([placeholder]).to_string().into_bytes();
    assert_eq!(body::restore(sent, &Binary), Err(RestoreError::NotText));
}

#[test]
fn text_in_any_two_pieces_restores_as_in_one() {
    let mut known = Known::default();
    let (pem, token) = (known.mint("PEM_BLOCK", PEM), known.mint("GITHUB_TOKEN", TOKEN));
    let sent = format!("é {pem}<{token}> &lt;pl: {token} <pl:GITHUB_TOKEN:0");
    let wanted = format!("é {PEM}<{TOKEN}> &lt;pl: {TOKEN} <pl:GITHUB_TOKEN:0");
    let whole = text::restore(sent.clone().into_bytes(), &known).unwrap();
    assert_eq!((whole.bytes.as_slice(), whole.restored), (wanted.as_bytes(), 3));
    for cut in 0..=sent.len() {
        let mut restorer = TextRestorer::new();
        let mut out = restorer.push(&sent.as_bytes()[..cut], &known).unwrap().bytes;
        out.extend(restorer.push(&sent.as_bytes()[cut..], &known).unwrap().bytes);
        out.extend(restorer.finish(&known).unwrap().bytes);
        assert_eq!(out, wanted.as_bytes(), "cut at {cut}");
    }
}

proptest! {
    /// Minting and restoring are inverse, for any secret, in text and in nested JSON (T4).
    #[test]
    fn restoring_undoes_minting(
        secrets in prop::collection::vec("\\PC{1,40}|[\\x00-\\x7f]{1,40}", 1..4),
        between in "[^<&%\\\\]{0,20}",
    ) {
        let mut known = Known::default();
        let (mut sent, mut original) = (between.clone(), between.clone());
        for secret in &secrets {
            sent += &(known.mint("ANY_1", secret) + &between);
            original += &(secret.clone() + &between);
        }
        let out = text::restore(sent.clone().into_bytes(), &known).unwrap();
        prop_assert_eq!(out.bytes, original.as_bytes());
        for (sent, wanted) in shapes(&sent).iter().zip(shapes(&original)) {
            prop_assert_eq!(restored(sent, &known), wanted);
        }
    }

    /// What holds no placeholder goes byte for byte, JSON or not.
    #[test]
    fn anything_else_passes_as_it_is(bytes in any::<Vec<u8>>(), text in "\\PC{0,60}") {
        let known = Known::default();
        prop_assert_eq!(&text::restore(bytes.clone(), &known).unwrap().bytes, &bytes);
        let json = json!({"a": [text], "arguments": "{}"}).to_string().into_bytes();
        prop_assert_eq!(&body::restore(json.clone(), &known).unwrap().bytes, &json);
    }
}

/// P4: whatever restoring would take for a placeholder is hidden from it on the way out, in every
/// spelling, and comes back as it was.
#[test]
fn p4_placeholder_shaped_text_of_the_client_round_trips() {
    use crate::dialect::Dialect;
    use crate::redact::{Context, Media, NothingKnown, Policy, ThinkingMemory, redact};

    struct NoThinking;
    impl ThinkingMemory for NoThinking {
        fn provider_text(&self, _: &str, _: &[u8; 32]) -> Option<String> {
            None
        }
    }
    let mut known = Known::default();
    let ours = known.mint("GITHUB_TOKEN", TOKEN);
    let policy = Policy::built_in().unwrap();
    let context = Context {
        policy: &policy,
        known: &NothingKnown,
        key: &SessionKey::new([7; 32]),
        dialect: Dialect::OpenAiChat,
        thinking: &NoThinking,
    };
    for (open, colon, close) in [
        ("<", ":", ">"),
        (r"\u003c", ":", r"\u003e"),
        (r"\u003C", ":", ">"),
        (r"\\u003c", ":", r"\\u003e"),
        ("&lt;", ":", "&gt;"),
        ("&lt;", ":", ">"),
        ("%3C", "%3A", "%3E"),
        ("%3c", ":", "%3e"),
    ] {
        let spelt = ours.replace('<', open).replace(':', colon).replace('>', close);
        let text = format!("a {spelt} z");
        assert_ne!(text::restore(text.clone().into_bytes(), &known).unwrap().restored, 0);
        let sent = json!({"messages": [{"role": "user", "content": text}]}).to_string();
        let out = redact(&context, Media::Json, sent.into()).unwrap();
        let outside: Value = serde_json::from_slice(&out.body).unwrap();
        let outside = outside["messages"][0]["content"].as_str().unwrap().to_owned();
        let mut mine = Known::default();
        for minted in &out.minted {
            let plaintext = String::from_utf8(minted.plaintext.expose().to_vec()).unwrap();
            mine.values.insert((minted.kind.as_str().to_owned(), minted.tag), plaintext);
        }
        mine.values.extend(known.values.clone());
        let back = text::restore(outside.into_bytes(), &mine).unwrap();
        assert_eq!(String::from_utf8(back.bytes).unwrap(), text);
    }
}

#[test]
fn a_provider_that_repeats_a_long_secret_cannot_fill_memory() {
    let mut known = Known::default();
    let placeholder = known.mint("PEM_BLOCK", &"x".repeat(1 << 20));
    let repeated = |count| json!([placeholder.repeat(count)]).to_string().into_bytes();
    assert_eq!(body::restore(repeated(64), &known).unwrap().restored, 64);
    assert_eq!(body::restore(repeated(65), &known), Err(RestoreError::TooLarge));
}
