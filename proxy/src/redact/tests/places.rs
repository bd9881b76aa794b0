//! T2, T3, T8: which place of which dialect means what.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::*;

/// Bodies with `@` where a secret stands, and the rule it is recorded under.
const ANTHROPIC_TEXT: &[(&str, &str)] = &[
    ("anthropic.system", r#"{"system":"a @ b"}"#),
    ("anthropic.text.text", r#"{"system":[{"type":"text","text":"@"}]}"#),
    ("anthropic.messages.content", r#"{"messages":[{"role":"user","content":"@"}]}"#),
    (
        "anthropic.text.text",
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"@"}]}]}"#,
    ),
    (
        "anthropic.tool_use.input",
        r#"{"messages":[{"content":[{"type":"tool_use","id":"toolu_1","name":"bash","input":{"command":"@"}}]}]}"#,
    ),
    (
        "anthropic.tool_use.input",
        r#"{"messages":[{"content":[{"type":"tool_use","input":{"user":"@"}}]}]}"#,
    ),
    (
        "anthropic.tool_use.input",
        r#"{"messages":[{"content":[{"type":"tool_use","input":{"a":[{"name":{"model":"@"}}]}}]}]}"#,
    ),
    (
        "anthropic.tool_use.input",
        r#"{"messages":[{"content":[{"type":"tool_use","input":{"type":"@","id":"x","signature":"y"}}]}]}"#,
    ),
    (
        "anthropic.tool_use.input",
        r#"{"messages":[{"content":[{"type":"tool_use","input":{"@":1}}]}]}"#,
    ),
    (
        "anthropic.tool_use.input",
        r#"{"messages":[{"content":[{"type":"server_tool_use","id":"srvtoolu_1","input":{"query":"@"}}]}]}"#,
    ),
    (
        "anthropic.tool_use.input",
        r#"{"messages":[{"content":[{"type":"mcp_tool_use","id":"m","name":"n","input":{"x":"@"}}]}]}"#,
    ),
    (
        "anthropic.tool_result.content",
        r#"{"messages":[{"content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"@"}]}]}"#,
    ),
    (
        "anthropic.text.text",
        r#"{"messages":[{"content":[{"type":"tool_result","content":[{"type":"text","text":"@"}]}]}]}"#,
    ),
    (
        "anthropic.text.text",
        r#"{"messages":[{"content":[{"type":"mcp_tool_result","tool_use_id":"t","content":[{"type":"text","text":"@"}]}]}]}"#,
    ),
    (
        "anthropic.tool_result.content",
        r#"{"messages":[{"content":[{"type":"code_execution_tool_result","content":{"type":"code_execution_result","stdout":"@"}}]}]}"#,
    ),
    (
        "anthropic.tool_result.content",
        r#"{"messages":[{"content":[{"type":"bash_code_execution_tool_result","content":{"stderr":"@"}}]}]}"#,
    ),
    ("anthropic.tools", r#"{"tools":[{"name":"n","description":"@"}]}"#),
    (
        "anthropic.tools",
        r#"{"tools":[{"name":"n","input_schema":{"properties":{"name":{"default":"@"}}}}]}"#,
    ),
    ("anthropic.other", r#"{"stop_sequences":["x","@"]}"#),
    ("anthropic.other", r#"{"metadata":{"user_id":"@"}}"#),
    ("anthropic.other", r#"{"a_field_nobody_knows":{"model":["@"]}}"#),
    ("anthropic.other", r#"{"@":null}"#),
    ("anthropic.messages", r#"{"messages":[{"name":"@"}]}"#),
    (
        "anthropic.messages.content",
        r#"{"messages":[{"content":[{"type":"a_block_nobody_knows","data":"@","id":"@"}]}]}"#,
    ),
    (
        "anthropic.messages.content",
        r#"{"messages":[{"content":[{"type":"text","type":"redacted_thinking","data":"@"}]}]}"#,
    ),
    (
        "anthropic.thinking.thinking",
        r#"{"messages":[{"content":[{"type":"thinking","thinking":"@","signature":"c2ln"}]}]}"#,
    ),
    (
        "anthropic.thinking.signature",
        r#"{"messages":[{"content":[{"type":"thinking","thinking":"x","signature":"@"}]}]}"#,
    ),
    (
        "anthropic.source",
        r#"{"messages":[{"content":[{"type":"document","source":{"type":"text","data":"@"}}]}]}"#,
    ),
    (
        "anthropic.source.data",
        r#"{"messages":[{"content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"@"}}]}]}"#,
    ),
    (
        "anthropic.text.text",
        r#"{"messages":[{"content":[{"type":"document","source":{"type":"content","content":[{"type":"text","text":"@"}]}}]}]}"#,
    ),
    (
        "anthropic.messages.content",
        r#"{"requests":[{"custom_id":"1","params":{"messages":[{"content":"@"}]}}]}"#,
    ),
    ("anthropic.other", r#""@""#),
    ("anthropic.other", r#"["@"]"#),
];

const CHAT_TEXT: &[(&str, &str)] = &[
    ("chat.messages.content", r#"{"messages":[{"role":"system","content":"@"}]}"#),
    (
        "chat.messages.content",
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"@"}]}]}"#,
    ),
    ("chat.messages", r#"{"messages":[{"role":"user","name":"@"}]}"#),
    ("chat.messages", r#"{"messages":[{"role":"assistant","reasoning_content":"@"}]}"#),
    ("chat.messages", r#"{"messages":[{"role":"assistant","refusal":"@"}]}"#),
    (
        "chat.messages.content",
        r#"{"messages":[{"role":"tool","tool_call_id":"call_1","content":"@"}]}"#,
    ),
    (
        "chat.function.arguments",
        r#"{"messages":[{"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"user\":\"@\"}"}}]}]}"#,
    ),
    (
        "chat.function.arguments",
        r#"{"messages":[{"function_call":{"name":"f","arguments":"not json @"}}]}"#,
    ),
    (
        "chat.tool_calls.custom",
        r#"{"messages":[{"tool_calls":[{"type":"custom","custom":{"name":"x","input":"@"}}]}]}"#,
    ),
    (
        "chat.tools.description",
        r#"{"tools":[{"type":"function","function":{"name":"f","description":"@"}}]}"#,
    ),
    (
        "chat.tools.parameters",
        r#"{"tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"name":{"default":"@"}}}}}]}"#,
    ),
    (
        "chat.response_format.json_schema",
        r#"{"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"const":"@"}}}}"#,
    ),
    ("chat.other", r#"{"stop":["@"]}"#),
    ("chat.other", r#"{"user":"@"}"#),
    ("chat.other", r#"{"prediction":{"type":"content","content":"@"}}"#),
    (
        "chat.content.image_url",
        r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://example.com/@"}}]}]}"#,
    ),
    (
        "chat.content.image_url",
        r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,@"}}]}]}"#,
    ),
];

const RESPONSES_TEXT: &[(&str, &str)] = &[
    ("responses.input", r#"{"input":"@"}"#),
    ("responses.instructions", r#"{"instructions":"@"}"#),
    ("responses.input.content", r#"{"input":[{"role":"user","content":"@"}]}"#),
    (
        "responses.input.content",
        r#"{"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"@"}]}]}"#,
    ),
    (
        "responses.input.content",
        r#"{"input":[{"type":"message","content":[{"type":"output_text","text":"@"}]}]}"#,
    ),
    (
        "responses.function_call.arguments",
        r#"{"input":[{"type":"function_call","call_id":"c","name":"n","arguments":"{\"a\":[\"@\"]}"}]}"#,
    ),
    (
        "responses.call_output.output",
        r#"{"input":[{"type":"function_call_output","call_id":"c","output":"@"}]}"#,
    ),
    (
        "responses.call_output.output",
        r#"{"input":[{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"@"}]}]}"#,
    ),
    (
        "responses.custom_tool_call.input",
        r#"{"input":[{"type":"custom_tool_call","call_id":"c","name":"exec","input":"await tools.exec_command({cmd: \"echo @\"})"}]}"#,
    ),
    (
        "responses.call_output.output",
        r#"{"input":[{"type":"custom_tool_call_output","call_id":"c","output":"@"}]}"#,
    ),
    ("responses.mcp_call.output", r#"{"input":[{"type":"mcp_call","id":"m","output":"@"}]}"#),
    (
        "responses.input",
        r#"{"input":[{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"@"}]}]}"#,
    ),
    (
        "responses.reasoning.encrypted_content",
        r#"{"input":[{"type":"reasoning","encrypted_content":"@"}]}"#,
    ),
    (
        "responses.additional_tools.tools",
        r#"{"input":[{"type":"additional_tools","tools":[{"type":"custom","name":"exec","format":{"definition":"@"}}]}]}"#,
    ),
    (
        "responses.tools.description",
        r#"{"tools":[{"type":"function","name":"n","description":"@"}]}"#,
    ),
    (
        "responses.text.format",
        r#"{"text":{"format":{"type":"json_schema","name":"n","schema":{"const":"@"}}}}"#,
    ),
    ("responses.input", r#"{"input":[{"type":"item_nobody_knows","call_id":"@"}]}"#),
    ("responses.prompt", r#"{"prompt":{"id":"p","variables":{"id":"@"}}}"#),
    (
        "responses.content.image_url",
        r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,@"}]}]}"#,
    ),
];

#[test]
fn t2_t3_every_text_position_is_replaced_under_its_rule() {
    for (dialect, bodies) in [
        (Dialect::AnthropicMessages, ANTHROPIC_TEXT),
        (Dialect::OpenAiChat, CHAT_TEXT),
        (Dialect::OpenAiResponses, RESPONSES_TEXT),
    ] {
        for (rule, template) in bodies {
            let redacted = run(dialect, Media::Json, &template.replace('@', AWS)).unwrap();
            let expected = template.replace('@', &placeholder("AWS_ACCESS_KEY", AWS));
            assert_eq!(text_of(&redacted), expected);
            assert_eq!(redacted.findings.len(), 1, "{template}");
            assert_eq!(redacted.findings[0].rule, *rule, "{template}");
        }
    }
}

#[test]
fn t8_a_secret_in_a_protocol_position_refuses() {
    for (dialect, rule, template) in [
        (Dialect::AnthropicMessages, "anthropic.model", r#"{"model":"@"}"#),
        (Dialect::AnthropicMessages, "anthropic.messages.role", r#"{"messages":[{"role":"@"}]}"#),
        (
            Dialect::AnthropicMessages,
            "anthropic.block.type",
            r#"{"messages":[{"content":[{"type":"@"}]}]}"#,
        ),
        (
            Dialect::AnthropicMessages,
            "anthropic.tool_use.id",
            r#"{"messages":[{"content":[{"id":"@","type":"tool_use"}]}]}"#,
        ),
        (
            Dialect::AnthropicMessages,
            "anthropic.tool_use.name",
            r#"{"messages":[{"content":[{"type":"tool_use","name":"@"}]}]}"#,
        ),
        (
            Dialect::AnthropicMessages,
            "anthropic.tool_result.tool_use_id",
            r#"{"messages":[{"content":[{"type":"tool_result","tool_use_id":"@"}]}]}"#,
        ),
        (Dialect::AnthropicMessages, "anthropic.tools.name", r#"{"tools":[{"name":"@"}]}"#),
        (
            Dialect::AnthropicMessages,
            "anthropic.tool_choice.name",
            r#"{"tool_choice":{"type":"tool","name":"@"}}"#,
        ),
        (Dialect::OpenAiChat, "chat.model", r#"{"model":"@"}"#),
        (
            Dialect::OpenAiChat,
            "chat.messages.tool_call_id",
            r#"{"messages":[{"tool_call_id":"@"}]}"#,
        ),
        (
            Dialect::OpenAiChat,
            "chat.function.name",
            r#"{"messages":[{"tool_calls":[{"function":{"name":"@"}}]}]}"#,
        ),
        (Dialect::OpenAiChat, "chat.tools.name", r#"{"tools":[{"function":{"name":"@"}}]}"#),
        (
            Dialect::OpenAiResponses,
            "responses.previous_response_id",
            r#"{"previous_response_id":"@"}"#,
        ),
        (
            Dialect::OpenAiResponses,
            "responses.function_call.call_id",
            r#"{"input":[{"type":"function_call","call_id":"@"}]}"#,
        ),
        (Dialect::OpenAiResponses, "responses.tools.name", r#"{"tools":[{"name":"@"}]}"#),
    ] {
        let refused = run(dialect, Media::Json, &template.replace('@', AWS)).unwrap_err();
        let kind = Kind::new("AWS_ACCESS_KEY").unwrap();
        assert_eq!(refused, Refusal::ProtocolPosition { kind, rule }, "{template}");
    }
}

#[test]
fn t8_protocol_positions_do_not_mind_ordinary_ids() {
    let body = r#"{"model":"claude-sonnet-4-5-20250929","messages":[{"role":"assistant","content":[{"type":"tool_use","id":"toolu_01A09q90qw90lq917835lq9","name":"mcp__github__search","input":{}}]}]}"#;
    let redacted = run(Dialect::AnthropicMessages, Media::Json, body).unwrap();
    assert_eq!(text_of(&redacted), body);
}

#[test]
fn i3_a_token_that_is_all_of_an_opaque_position_is_no_ciphertext() {
    let token = format!("github_pat_{}_{}", "11ABCDEFG0abcdefghijkl", &"Zz01".repeat(15)[..59]);
    let body = r#"{"messages":[{"content":[{"data":"@","type":"redacted_thinking"}]}]}"#;
    let sent = run(Dialect::AnthropicMessages, Media::Json, &body.replace('@', &token)).unwrap();
    let own = placeholder("GITHUB_TOKEN", &token);
    assert_eq!(text_of(&sent), body.replace('@', &own));
}

#[test]
fn i3_opaque_positions_pass_and_only_they() {
    // Base64 that happens to hold a key between two boundaries.
    let blob = format!("{}+{AWS}/{}==", "Abc9".repeat(12), "Xyz7".repeat(12));
    let own = format!("AKIA{}", "ABCDEFGH2345WXYZ");
    for (dialect, body, passes) in [
        (
            Dialect::AnthropicMessages,
            r#"{"messages":[{"content":[{"type":"thinking","thinking":"x","signature":"@"}]}]}"#,
            true,
        ),
        (
            Dialect::AnthropicMessages,
            r#"{"messages":[{"content":[{"data":"@","type":"redacted_thinking"}]}]}"#,
            true,
        ),
        (
            Dialect::OpenAiResponses,
            r#"{"input":[{"type":"reasoning","encrypted_content":"@"}]}"#,
            true,
        ),
        (
            Dialect::OpenAiChat,
            r#"{"messages":[{"reasoning_details":[{"type":"reasoning.encrypted","data":"@"}]}]}"#,
            true,
        ),
        (
            Dialect::AnthropicMessages,
            r#"{"messages":[{"content":[{"type":"text","signature":"@"}]}]}"#,
            false,
        ),
        (
            Dialect::AnthropicMessages,
            r#"{"messages":[{"content":[{"type":"tool_use","input":{"type":"thinking","signature":"@"}}]}]}"#,
            false,
        ),
        (
            Dialect::AnthropicMessages,
            r#"{"messages":[{"content":[{"type":"tool_result","content":[{"type":"redacted_thinking","data":"@"}]}]}]}"#,
            false,
        ),
        (Dialect::AnthropicMessages, r#"{"signature":"@"}"#, false),
        (
            Dialect::OpenAiResponses,
            r#"{"input":[{"type":"message","encrypted_content":"@"}]}"#,
            false,
        ),
        (Dialect::Generic, r#"{"type":"thinking","signature":"@"}"#, false),
    ] {
        let sent = run(dialect, Media::Json, &body.replace('@', &blob)).unwrap();
        assert_eq!(text_of(&sent) == body.replace('@', &blob), passes, "{body}");
        let bare = run(dialect, Media::Json, &body.replace('@', &own)).unwrap();
        assert!(!text_of(&bare).contains(&own), "{body}");
    }
}

#[test]
fn i2_media_passes_only_as_what_it_says_it_is() {
    let png = format!("{}+{AWS}/AAAA", STANDARD.encode(b"\x89PNG\r\n\x1a\n1234"));
    for (dialect, body, passes) in [
        (
            Dialect::AnthropicMessages,
            r#"{"messages":[{"content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"@"}}]}]}"#,
            true,
        ),
        (
            Dialect::AnthropicMessages,
            r#"{"messages":[{"content":[{"type":"tool_result","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"@"}}]}]}]}"#,
            true,
        ),
        (
            Dialect::AnthropicMessages,
            r#"{"messages":[{"content":[{"type":"image","source":{"type":"base64","media_type":"image/gif","data":"@"}}]}]}"#,
            false,
        ),
        (
            Dialect::AnthropicMessages,
            r#"{"messages":[{"content":[{"type":"image","source":{"type":"base64","data":"@"}}]}]}"#,
            false,
        ),
        (
            Dialect::AnthropicMessages,
            r#"{"messages":[{"content":[{"type":"tool_use","input":{"type":"base64","media_type":"image/png","data":"@"}}]}]}"#,
            false,
        ),
        (
            Dialect::OpenAiChat,
            r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,@"}}]}]}"#,
            true,
        ),
        (
            Dialect::OpenAiChat,
            r#"{"messages":[{"content":[{"type":"text","text":"data:image/png;base64,@"}]}]}"#,
            false,
        ),
        (
            Dialect::OpenAiResponses,
            r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,@"}]}]}"#,
            true,
        ),
        (
            Dialect::OpenAiResponses,
            r#"{"input":[{"type":"function_call_output","output":[{"type":"input_image","image_url":"data:image/png;base64,@"}]}]}"#,
            true,
        ),
    ] {
        let body = body.replace('@', &png);
        let sent = run(dialect, Media::Json, &body).unwrap();
        assert_eq!(text_of(&sent) == body, passes, "{body}");
    }
}

struct Remembers(HashMap<(String, [u8; 32]), String>);

impl ThinkingMemory for Remembers {
    fn provider_text(&self, signature: &str, restored_hash: &[u8; 32]) -> Option<String> {
        self.0.get(&(signature.to_owned(), *restored_hash)).cloned()
    }
}

fn thinking(signature: &str, thinking: &str) -> String {
    serde_json::json!({ "messages": [{ "role": "assistant", "content": [
        { "type": "thinking", "thinking": thinking, "signature": signature },
        { "type": "text", "text": "done" },
    ]}]})
    .to_string()
}

#[test]
fn i1_signed_thinking_goes_back_as_the_provider_wrote_it() {
    let own =
        "The key x<pl:AWS_ACCESS_KEY:0123456789abcdef>y \"as\\is\"\n<pl:UNKNOWN:0123456789abcdef>";
    let restored = own.replace("<pl:AWS_ACCESS_KEY:0123456789abcdef>", AWS);
    let hash = Sha256::digest(&restored).into();
    let memory = Remembers([(("c2ln".to_owned(), hash), own.to_owned())].into());
    let send = |body: &str| {
        text_of(
            &run_with(policy(), &memory, Dialect::AnthropicMessages, Media::Json, body).unwrap(),
        )
    };
    assert_eq!(send(&thinking("c2ln", &restored)), thinking("c2ln", own));
    // Another signature, or another text under the same one, is text like any other.
    let unsigned = send(&thinking("b3RoZXI", &format!(" {AWS}")));
    assert_eq!(unsigned, thinking("b3RoZXI", &format!(" {}", placeholder("AWS_ACCESS_KEY", AWS))));
    let edited = send(&thinking("c2ln", &format!("{restored} {AWS}")));
    assert!(edited.contains("LITERAL") && edited.contains(&placeholder("AWS_ACCESS_KEY", AWS)));
}

#[test]
fn i1_thinking_that_held_no_placeholder_is_left_untouched() {
    let text = "About <pl:X:0123456789abcdef>, which nobody minted";
    let hash = Sha256::digest(text).into();
    let memory = Remembers([(("c2ln".to_owned(), hash), text.to_owned())].into());
    let body = thinking("c2ln", text);
    let sent = run_with(policy(), &memory, Dialect::AnthropicMessages, Media::Json, &body).unwrap();
    assert_eq!(text_of(&sent), body);
    assert!(sent.findings.is_empty());
}

#[test]
fn every_occurrence_of_a_duplicate_key_is_replaced() {
    let body = r#"{"messages":[{"content":"@","content":"@"}],"messages":[{"content":"@"}]}"#;
    let sent = run(Dialect::AnthropicMessages, Media::Json, &body.replace('@', AWS)).unwrap();
    assert_eq!(text_of(&sent), body.replace('@', &placeholder("AWS_ACCESS_KEY", AWS)));
}

#[test]
fn an_escaped_key_name_names_the_same_place() {
    let body = r#"{"mod\u0065l":"AKIAIOSFODNN7EXAMPLE"}"#;
    let refused = run(Dialect::AnthropicMessages, Media::Json, body);
    assert!(matches!(refused, Err(Refusal::ProtocolPosition { rule: "anthropic.model", .. })));
}

#[test]
fn json_lines_are_replaced_line_by_line() {
    let lines = "{\"a\":\"@\"}\r\n\n  {\"b\":[\"@\"]}\n\"@\"";
    let sent = run(Dialect::Generic, Media::JsonLines, &lines.replace('@', AWS)).unwrap();
    assert_eq!(text_of(&sent), lines.replace('@', &placeholder("AWS_ACCESS_KEY", AWS)));
}
