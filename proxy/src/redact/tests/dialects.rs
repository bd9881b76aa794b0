//! I8, I9, T5, T7, P4, P7, P8: further APIs, shapes nobody knows yet, and what stands in the way.

use super::*;

const OTHER_TEXT: &[(Dialect, &str, &str)] = &[
    (Dialect::Completions, "completions.prompt", r#"{"model":"m","prompt":"@"}"#),
    (Dialect::Completions, "completions.prompt", r#"{"prompt":["a","@"]}"#),
    (Dialect::Completions, "completions.suffix", r#"{"suffix":"@"}"#),
    (Dialect::Completions, "completions.other", r#"{"stop_sequences":["@"]}"#),
    (Dialect::Completions, "completions.other", r#"{"metadata":{"user_id":"@"}}"#),
    (Dialect::Embeddings, "embeddings.input", r#"{"input":"@","model":"m"}"#),
    (Dialect::Embeddings, "embeddings.input", r#"{"input":["@"],"encoding_format":"float"}"#),
    (Dialect::Embeddings, "embeddings.other", r#"{"user":"@"}"#),
    (
        Dialect::OpenAiFiles,
        "chat.messages.content",
        r#"{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":[{"role":"user","content":"@"}]}}"#,
    ),
    (
        Dialect::OpenAiFiles,
        "responses.function_call.arguments",
        r#"{"body":{"input":[{"type":"function_call","arguments":"{\"a\":\"@\"}"}]},"url":"/v1/responses"}"#,
    ),
    (Dialect::OpenAiFiles, "embeddings.input", r#"{"url":"/v1/embeddings","body":{"input":"@"}}"#),
    (
        Dialect::OpenAiFiles,
        "completions.prompt",
        r#"{"url":"/v1/completions","body":{"prompt":"@"}}"#,
    ),
    (Dialect::OpenAiFiles, "batch.body", r#"{"url":"/v1/made/up","body":{"model":"@"}}"#),
    (Dialect::OpenAiFiles, "batch.other", r#"{"metadata":{"note":"@"},"input_file_id":"file-1"}"#),
    (
        Dialect::OpenAiResponses,
        "responses.input.content",
        r#"{"items":[{"type":"message","role":"user","content":[{"type":"input_text","text":"@"}]}]}"#,
    ),
];

#[test]
fn i8_completions_embeddings_batches_and_conversations_are_walked_as_what_they_are() {
    for (dialect, rule, template) in OTHER_TEXT {
        let redacted = run(*dialect, Media::JsonLines, &template.replace('@', AWS)).unwrap();
        assert_eq!(text_of(&redacted), template.replace('@', &placeholder("AWS_ACCESS_KEY", AWS)));
        assert_eq!(redacted.findings[0].rule, *rule, "{template}");
    }
    for (dialect, rule, template) in [
        (Dialect::Completions, "completions.model", r#"{"model":"@"}"#),
        (Dialect::Embeddings, "embeddings.model", r#"{"model":"@"}"#),
        (Dialect::OpenAiFiles, "batch.custom_id", r#"{"custom_id":"@"}"#),
        (Dialect::OpenAiFiles, "batch.url", r#"{"url":"/v1/@"}"#),
        (Dialect::OpenAiFiles, "batch.input_file_id", r#"{"input_file_id":"@"}"#),
        (
            Dialect::OpenAiFiles,
            "chat.model",
            r#"{"url":"/v1/chat/completions","body":{"model":"@"}}"#,
        ),
        (
            Dialect::OpenAiFiles,
            "responses.function_call.call_id",
            r#"{"url":"/v1/responses","body":{"input":[{"type":"function_call","call_id":"@"}]}}"#,
        ),
    ] {
        let refused = run(dialect, Media::JsonLines, &template.replace('@', AWS)).unwrap_err();
        let kind = Kind::new("AWS_ACCESS_KEY").unwrap();
        assert_eq!(refused, Refusal::ProtocolPosition { kind, rule }, "{template}");
    }
}

#[test]
fn i8_one_placeholder_stands_for_a_value_wherever_it_is_sent() {
    let own = placeholder("AWS_ACCESS_KEY", AWS);
    for dialect in [
        Dialect::AnthropicMessages,
        Dialect::Completions,
        Dialect::Embeddings,
        Dialect::OpenAiChat,
        Dialect::OpenAiFiles,
        Dialect::OpenAiResponses,
        Dialect::Generic,
    ] {
        let sent = run(dialect, Media::Json, &format!("{{\"note\":\"{AWS}\"}}")).unwrap();
        assert_eq!(text_of(&sent), format!("{{\"note\":\"{own}\"}}"));
    }
}

#[test]
fn i9_what_nobody_knows_yet_passes_and_is_scanned() {
    let own = placeholder("AWS_ACCESS_KEY", AWS);
    for (dialect, template) in [
        (
            Dialect::AnthropicMessages,
            r#"{"messages":[{"role":"made_up","content":"@","made_up":{"type":"x"}}]}"#,
        ),
        (
            Dialect::AnthropicMessages,
            r#"{"messages":[{"role":"system","content":[{"type":"made_up","data":["@",1]}]}]}"#,
        ),
        (
            Dialect::OpenAiChat,
            r#"{"messages":[{"role":"critic","content":[{"type":"made_up","made_up":{"url":"@"}}]}],"made_up":[null]}"#,
        ),
        (
            Dialect::OpenAiResponses,
            r#"{"input":[{"type":"made_up_call","action":{"command":["echo","@"]}}],"made_up":{"@":true}}"#,
        ),
        (Dialect::OpenAiFiles, r#"{"url":"/v2/made/up","body":{"@":["@"]}}"#),
    ] {
        let sent = run(dialect, Media::Json, &template.replace('@', AWS)).unwrap();
        assert_eq!(text_of(&sent), template.replace('@', &own));
        let clean = run(dialect, Media::Json, template).unwrap();
        assert_eq!(text_of(&clean), template);
    }
}

#[test]
fn t7_a_freeform_tools_input_keeps_its_shape() {
    let patch = "*** Begin Patch\n*** Update File: .env\n@@\n-KEY=\n+KEY=SECRET\n*** End Patch\n";
    let body = |secret: &str| {
        serde_json::json!({ "input": [
            { "type": "additional_tools", "tools": [{ "type": "custom", "name": "apply_patch", "description": secret }] },
            { "type": "custom_tool_call", "call_id": "call_1", "name": "apply_patch", "namespace": "functions",
              "input": patch.replace("SECRET", secret) },
            { "type": "custom_tool_call", "call_id": "call_2", "name": "exec",
              "input": format!("await tools.exec_command({{cmd: \"curl -H 'x: {secret}'\"}})") },
            { "type": "custom_tool_call_output", "call_id": "call_2", "output": format!("{{\"out\":\"{secret}\"}}") },
        ], "previous_response_id": "resp_1" })
        .to_string()
    };
    let sent = run(Dialect::OpenAiResponses, Media::Json, &body(AWS)).unwrap();
    assert_eq!(text_of(&sent), body(&placeholder("AWS_ACCESS_KEY", AWS)));
}

#[test]
fn t5_json_is_looked_for_in_four_strings_in_each_other_and_may_hide_nothing_below_that() {
    let nested = |text: &str, levels: usize| {
        (0..levels).fold(format!("[\"{text}\"]"), |inner, _| serde_json::json!([inner]).to_string())
    };
    for levels in 0..7 {
        let clear = nested(&format!("\\u003c{AWS}\\u003e \\u2019 \\n"), levels);
        let sent = run(Dialect::Generic, Media::Json, &clear).unwrap();
        assert_eq!(sent.findings.len(), 1, "{levels}");
        // Only who reads the innermost JSON sees these.
        for hidden in [r"\u0041KIAIOSFODNN7EXAMPLE", r"A\u004BIAIOSFODNN7EXAMPLE", r"a\/b"] {
            match run(Dialect::Generic, Media::Json, &nested(hidden, levels)) {
                Ok(sent) => {
                    assert!(levels <= 4);
                    assert_eq!(sent.findings.len(), usize::from(hidden.contains("EXAMPLE")));
                }
                refused => {
                    assert!(levels > 4);
                    assert_eq!(refused.unwrap_err(), Refusal::Malformed(Malformed::Nesting));
                }
            }
        }
    }
}

#[test]
fn p4_what_looks_like_a_placeholder_cannot_hide_a_secret() {
    for text in [
        format!("<pl:X:{AWS}>"),
        format!("<pl:{AWS}:0123456789abcdef>"),
        format!("<pl:X:0123456789abcdef{AWS}>").replace("fA", "f:A"),
        format!("<pl:X:0123456789abcdef>{AWS}"),
        format!("<pl:LITERAL:0123456789abcdef><{AWS}>"),
    ] {
        let sent = json(&serde_json::json!([text]).to_string());
        assert!(!sent.contains(AWS), "{text} {sent}");
    }
}

#[test]
fn p7_a_placeholder_that_is_sent_again_is_a_literal_and_never_another_ones_part() {
    let first = json(&format!("[\"{AWS}\"]"));
    let again = run(Dialect::Generic, Media::Json, &first).unwrap();
    let own = placeholder("AWS_ACCESS_KEY", AWS);
    assert_eq!(text_of(&again), format!("[\"{}\"]", placeholder("LITERAL", &own)));
    assert_eq!(again.minted[0].plaintext.expose(), own.as_bytes());
    // In one pass nothing that was put in is looked at: one finding for one secret.
    assert_eq!(
        run(Dialect::Generic, Media::Json, &format!("[\"{AWS}\"]")).unwrap().findings.len(),
        1
    );
}

#[test]
fn p8_secrets_that_overlap_leave_no_rest() {
    let token = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";
    for text in [
        format!("{token}{token}"),
        format!("{AWS}/{AWS}"),
        format!("-----BEGIN PRIVATE KEY-----\n{AWS}\n-----END PRIVATE KEY-----"),
    ] {
        let sent =
            run(Dialect::Generic, Media::Json, &serde_json::json!([text]).to_string()).unwrap();
        let left = text_of(&sent);
        assert!(!left.contains(AWS) && !left.contains("ghp_"), "{left}");
        assert_eq!(
            text_of(
                &run(Dialect::Generic, Media::Json, &serde_json::json!([text]).to_string())
                    .unwrap()
            ),
            left
        );
    }
}

#[test]
fn t3_keys_and_members_below_a_protocol_position_are_text() {
    let own = placeholder("AWS_ACCESS_KEY", AWS);
    for template in [r#"{"model":{"@":1}}"#, r#"{"model":{"a":["@"]}}"#] {
        let sent = run(Dialect::OpenAiChat, Media::Json, &template.replace('@', AWS)).unwrap();
        assert_eq!(text_of(&sent), template.replace('@', &own));
    }
    // An array is transparent.
    assert!(run(Dialect::OpenAiChat, Media::Json, &format!("{{\"model\":[\"{AWS}\"]}}")).is_err());
}
