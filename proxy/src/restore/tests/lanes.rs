//! Every lane of the three shapes, cut everywhere.

use serde_json::{Value, json};

use super::super::grammar::SPELT_MAX;
use super::*;

/// One lane of one shape: how a stream carries a text in pieces, and where a client reads it.
struct Case {
    name: &'static str,
    /// The text is the source of a JSON object.
    arguments: bool,
    before: Vec<Value>,
    piece: fn(&str) -> Value,
    after: Vec<Value>,
    /// Where a piece is, in events like those of `piece`.
    at: &'static str,
    /// The event before which everything must have been delivered.
    stop: &'static str,
}

fn block(kind: &'static str, start: Value, piece: fn(&str) -> Value, at: &'static str) -> Case {
    let mut message = json!({"id": "msg_1", "type": "message", "role": "assistant", "content": []});
    message["model"] = json!("claude");
    Case {
        name: kind,
        arguments: at.ends_with("json"),
        before: vec![
            json!({"type": "message_start", "message": message}),
            json!({"type": "content_block_start", "index": 3, "content_block": start}),
        ],
        piece,
        after: vec![
            json!({"type": "content_block_stop", "index": 3}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
            json!({"type": "message_stop"}),
        ],
        at,
        stop: "content_block_stop",
    }
}

fn anthropic() -> Vec<Case> {
    vec![
        block(
            "text",
            json!({"type": "text", "text": ""}),
            |text| {
                json!({"type": "content_block_delta", "index": 3,
                          "delta": {"type": "text_delta", "text": text}})
            },
            "/delta/text",
        ),
        block(
            "thinking",
            json!({"type": "thinking", "thinking": "", "signature": ""}),
            |text| {
                json!({"type": "content_block_delta", "index": 3,
                          "delta": {"type": "thinking_delta", "thinking": text}})
            },
            "/delta/thinking",
        ),
        block(
            "tool_use",
            json!({"type": "tool_use", "id": "toolu_1", "name": "Write", "input": {}}),
            |text| {
                json!({"type": "content_block_delta", "index": 3,
                          "delta": {"type": "input_json_delta", "partial_json": text}})
            },
            "/delta/partial_json",
        ),
        block(
            "mcp_tool_use",
            json!({"type": "mcp_tool_use", "id": "m", "name": "x", "server_name": "s", "input": {}}),
            |text| {
                json!({"index": 3, "type": "content_block_delta",
                          "delta": {"partial_json": text, "type": "input_json_delta"}})
            },
            "/delta/partial_json",
        ),
    ]
}

fn chunk(delta: Value, finish: Option<&str>) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000.0,
           "model": "gpt", "system_fingerprint": null,
           "choices": [{"index": 1, "delta": delta, "logprobs": null, "finish_reason": finish}]})
}

fn chat_case(name: &'static str, at: &'static str, piece: fn(&str) -> Value) -> Case {
    Case {
        name,
        arguments: at.ends_with("arguments"),
        before: vec![
            chunk(json!({"role": "assistant", "content": ""}), None),
            chunk(
                json!({"tool_calls": [{"index": 2, "id": "call_1", "type": "function",
                       "function": {"name": "f", "arguments": ""}}]}),
                None,
            ),
        ],
        piece,
        after: vec![
            chunk(json!({}), Some("stop")),
            json!({"id": "chatcmpl-1", "choices": [], "usage": {"total_tokens": 3}}),
            json!("[DONE]"),
        ],
        at,
        stop: "",
    }
}

fn chat() -> Vec<Case> {
    vec![
        chat_case("content", "/choices/0/delta/content", |text| {
            chunk(json!({"content": text}), None)
        }),
        chat_case("reasoning_content", "/choices/0/delta/reasoning_content", |text| {
            chunk(json!({"reasoning_content": text}), None)
        }),
        chat_case("reasoning", "/choices/0/delta/reasoning", |text| {
            chunk(json!({"reasoning": text}), None)
        }),
        chat_case("reasoning_details", "/choices/0/delta/reasoning_details/0/text", |text| {
            chunk(json!({"reasoning_details": [{"type": "reasoning.text", "text": text}]}), None)
        }),
        chat_case("refusal", "/choices/0/delta/refusal", |text| {
            chunk(json!({"refusal": text}), None)
        }),
        chat_case("transcript", "/choices/0/delta/audio/transcript", |text| {
            chunk(json!({"audio": {"transcript": text}}), None)
        }),
        chat_case("tool_calls", "/choices/0/delta/tool_calls/0/function/arguments", |text| {
            chunk(json!({"tool_calls": [{"index": 2, "function": {"arguments": text}}]}), None)
        }),
        chat_case("function_call", "/choices/0/delta/function_call/arguments", |text| {
            chunk(json!({"function_call": {"arguments": text}}), None)
        }),
        chat_case("custom tool", "/choices/0/delta/tool_calls/0/custom/input", |text| {
            chunk(json!({"tool_calls": [{"index": 0, "custom": {"input": text}}]}), None)
        }),
        chat_case("parts", "/choices/0/delta/content/0/text", |text| {
            chunk(json!({"content": [{"type": "text", "text": text}]}), None)
        }),
        chat_case(
            "completions",
            "/choices/0/text",
            |text| json!({"id": "cmpl", "choices": [{"index": 1, "text": text, "finish_reason": null}]}),
        ),
    ]
}

macro_rules! item_case {
    ($name:literal, $arguments:literal) => {
        Case {
            name: $name,
            arguments: $arguments,
            before: vec![json!({"type": "response.created", "sequence_number": 0, "response": {}})],
            piece: |text| {
                json!({"type": concat!("response.", $name, ".delta"), "item_id": "it_1",
                       "output_index": 2, "content_index": 1, "sequence_number": 4, "delta": text})
            },
            after: vec![
                json!({"type": concat!("response.", $name, ".done"), "item_id": "it_1",
                       "output_index": 2, "content_index": 1, "sequence_number": 5}),
                json!({"type": "response.completed", "response": {"id": "r", "output": []}}),
            ],
            at: "/delta",
            stop: concat!("response.", $name, ".done"),
        }
    };
}

fn responses() -> Vec<Case> {
    vec![
        item_case!("output_text", false),
        item_case!("refusal", false),
        item_case!("reasoning_summary_text", false),
        item_case!("reasoning_text", false),
        item_case!("audio_transcript", false),
        item_case!("custom_tool_call_input", false),
        item_case!("code_interpreter_call_code", false),
        item_case!("function_call_arguments", true),
        item_case!("mcp_call_arguments", true),
    ]
}

fn all_cases() -> Vec<Case> {
    anthropic().into_iter().chain(chat()).chain(responses()).collect()
}

impl Case {
    fn stream(&self, pieces: &[&str], newline: &str) -> Vec<u8> {
        let pieces = pieces.iter().map(|piece| (self.piece)(piece));
        let mut out = String::new();
        for event in self.before.iter().cloned().chain(pieces).chain(self.after.iter().cloned()) {
            if let Some(name) = event["type"].as_str() {
                out += &format!("event: {name}{newline}");
            }
            match event.as_str() {
                Some(done) => out += &format!("data: {done}{newline}{newline}"),
                None => out += &format!("data: {event}{newline}{newline}"),
            }
        }
        out.into_bytes()
    }

    /// What a client joins from its events; `until` stops at the lane's stop event.
    fn joined(&self, stream: &[u8]) -> String {
        let mut joined = String::new();
        for (name, event) in events(stream) {
            if let Some(name) = name {
                assert_eq!(event["type"], name, "{}: name and type disagree", self.name);
            }
            let finished = event.pointer("/choices/0/finish_reason").is_some_and(|f| !f.is_null());
            if event["type"] == self.stop || finished {
                break;
            }
            joined += event.pointer(self.at).and_then(Value::as_str).unwrap_or_default();
        }
        joined
    }

    /// A text with `placeholder` in it, and how it must come out.
    fn text(&self, placeholder: &str, plaintext: &str) -> (String, String) {
        if self.arguments {
            let source = |inside: &str| json!({"command": "é", "key": inside}).to_string();
            (source(placeholder), source(plaintext))
        } else {
            (format!("a <é> {placeholder}& z"), format!("a <é> {plaintext}& z"))
        }
    }
}

/// Ends of characters within `text`.
fn cuts(text: &str) -> impl Iterator<Item = usize> {
    (0..=text.len()).filter(|at| text.is_char_boundary(*at))
}

#[test]
fn s1_a_placeholder_cut_anywhere_over_events_is_restored_in_every_lane() {
    let mut known = Known::default();
    let placeholder = known.mint("PEM_BLOCK", PEM);
    for case in all_cases() {
        let (text, expected) = case.text(&placeholder, PEM);
        for cut in cuts(&text) {
            let (head, tail) = text.split_at(cut);
            let out = through([&*case.stream(&[head, tail], "\n")], &known).unwrap();
            let joined = case.joined(&out.bytes);
            if case.arguments {
                let parsed: Value = serde_json::from_str(&joined).unwrap();
                assert_eq!(parsed["key"], PEM, "{} cut at {cut}", case.name);
            } else {
                assert_eq!(joined, expected, "{} cut at {cut}", case.name);
            }
            assert_eq!((out.restored, out.unknown), (1, 0), "{} cut at {cut}", case.name);
        }
    }
}

#[test]
fn s1_one_character_per_event_is_restored_in_every_lane() {
    let mut known = Known::default();
    let placeholder = known.mint("GITHUB_TOKEN", TOKEN);
    for case in all_cases() {
        let (text, expected) = case.text(&placeholder, TOKEN);
        let ends: Vec<usize> = cuts(&text).collect();
        let pieces: Vec<&str> = ends.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        let out = through([&*case.stream(&pieces, "\r\n")], &known).unwrap();
        assert_eq!(case.joined(&out.bytes), expected, "{}", case.name);
    }
}

#[test]
fn s2_transport_chunks_cut_anywhere_change_nothing() {
    let mut known = Known::default();
    let placeholder = known.mint("PEM_BLOCK", PEM);
    for (case, newline) in all_cases().iter().zip(["\n", "\r\n", "\r"].into_iter().cycle()) {
        let (text, _) = case.text(&placeholder, PEM);
        let middle = text.find("pl:").unwrap();
        let stream = case.stream(&[&text[..middle], &text[middle..]], newline);
        let whole = through([&*stream], &known).unwrap();
        assert_eq!(whole.restored, 1, "{}", case.name);
        for cut in 0..=stream.len() {
            let cut = through([&stream[..cut], &stream[cut..]], &known).unwrap();
            assert_eq!(cut, whole, "{}", case.name);
        }
        assert_eq!(through(stream.chunks(1), &known).unwrap(), whole, "{}", case.name);
    }
}

#[test]
fn s3_a_lane_holds_back_only_what_may_become_a_placeholder() {
    let mut known = Known::default();
    let placeholder = known.mint(&"A".repeat(40), TOKEN);
    for case in all_cases().iter().filter(|case| !case.arguments) {
        let text = format!("hello {placeholder}");
        let mut restorer = SseRestorer::new();
        let (mut sent, mut seen) = (0, Vec::new());
        seen.extend(restorer.push(&case.stream_head(), &known).unwrap().bytes);
        for piece in text.chars() {
            let event = case.event(&piece.to_string());
            seen.extend(restorer.push(event.as_bytes(), &known).unwrap().bytes);
            sent += 1;
            let got = case.joined(&seen).len();
            let open = text[..sent].rfind('<').unwrap_or(sent);
            if sent < text.len() {
                assert_eq!(got, open, "{}: all before the opening bracket is out", case.name);
                assert!(sent - got < SPELT_MAX);
            }
        }
        assert_eq!(case.joined(&seen), format!("hello {TOKEN}"), "out with its last character");
    }
}

#[test]
fn s4_a_tail_that_never_becomes_a_placeholder_is_flushed_before_the_stop() {
    let known = Known::default();
    for case in all_cases() {
        for tail in ["<", "<pl:GITHUB_TOKEN:0123", "x &lt;pl:", r"a \\u003cp", "%3Cpl%3AK%3"] {
            let out = through([&*case.stream(&["so ", tail], "\n")], &known).unwrap();
            assert_eq!(case.joined(&out.bytes), format!("so {tail}"), "{}", case.name);
        }
    }
}

#[test]
fn s4_nothing_is_lost_where_a_stream_just_ends() {
    let known = Known::default();
    for case in all_cases() {
        let mut stream = case.stream_head();
        stream.extend(case.event("end <pl:A").bytes());
        let out = through([&*stream], &known).unwrap();
        assert_eq!(case.joined(&out.bytes), "end <pl:A", "{}", case.name);
        // The last blank line is missing as well.
        let out = through([&stream[..stream.len() - 1]], &known).unwrap();
        assert_eq!(case.joined(&out.bytes), "end <pl:A", "{}", case.name);
    }
}

impl Case {
    fn event(&self, piece: &str) -> String {
        let event = (self.piece)(piece);
        match event["type"].as_str() {
            Some(name) => format!("event: {name}\ndata: {event}\n\n"),
            None => format!("data: {event}\n\n"),
        }
    }

    fn stream_head(&self) -> Vec<u8> {
        let head = Self { after: Vec::new(), before: self.before.clone(), ..*self };
        head.stream(&[], "\n")
    }
}

#[test]
fn s5_interleaved_lanes_never_mix() {
    let mut known = Known::default();
    let token = known.mint("GITHUB_TOKEN", TOKEN);
    let pem = known.mint("PEM_BLOCK", PEM);
    let (a, b) = (token.split_at(9), pem.split_at(14));
    let block = |index: usize, text: &str| {
        format!(
            "data: {}\n\n",
            json!({"type": "content_block_delta", "index": index,
                   "delta": {"type": "text_delta", "text": text}})
        )
    };
    let stream = [block(0, a.0), block(1, b.0), block(0, a.1), block(1, b.1)].concat();
    let out = through([stream.as_bytes()], &known).unwrap();
    let joined = |index: usize| -> String {
        events(&out.bytes)
            .iter()
            .filter(|(_, event)| event["index"] == index)
            .filter_map(|(_, event)| event["delta"]["text"].as_str().map(str::to_owned))
            .collect()
    };
    assert_eq!((joined(0).as_str(), joined(1).as_str()), (TOKEN, PEM));
}

#[test]
fn s5_choices_tools_and_fields_in_one_chunk_are_lanes_of_their_own() {
    let mut known = Known::default();
    let token = known.mint("GITHUB_TOKEN", TOKEN);
    let event = |piece: &str| {
        let tools = json!([{"index": 0, "function": {"arguments": piece}},
                           {"index": 1, "function": {"arguments": piece}}]);
        let delta = json!({"content": piece, "refusal": piece, "tool_calls": tools});
        let choices = json!([{"index": 0, "delta": delta}, {"index": 1, "delta": delta}]);
        format!("data: {}\n\n", json!({"id": "c", "choices": choices}))
    };
    for cut in 0..=token.len() {
        let stream = event(&token[..cut]) + &event(&token[cut..]);
        let out = through([stream.as_bytes()], &known).unwrap();
        assert_eq!(out.restored, 8, "cut at {cut}");
        for choice in 0..2 {
            for at in [
                "content",
                "refusal",
                "tool_calls/0/function/arguments",
                "tool_calls/1/function/arguments",
            ] {
                let at = format!("/choices/{choice}/delta/{at}");
                let joined: String = events(&out.bytes)
                    .iter()
                    .filter_map(|(_, event)| event.pointer(&at)?.as_str().map(str::to_owned))
                    .collect();
                assert_eq!(joined, TOKEN, "{at} cut at {cut}");
            }
        }
    }
}

#[test]
fn t8_a_flushed_tail_repeats_neither_id_nor_name() {
    let known = Known::default();
    let first = chunk(
        json!({"role": "assistant", "tool_calls": [{"index": 0, "id": "call_9", "type": "function",
               "function": {"name": "run", "arguments": "{\"a\":\"<pl:"}}]}),
        None,
    );
    let stream = format!("data: {first}\n\ndata: {}\n\n", chunk(json!({}), Some("tool_calls")));
    let out = through([stream.as_bytes()], &known).unwrap();
    let text = String::from_utf8(out.bytes.clone()).unwrap();
    assert_eq!((text.matches("call_9").count(), text.matches("run").count()), (1, 1));
    let events = events(&out.bytes);
    assert_eq!(events.len(), 3);
    let tail = &events[1].1;
    assert_eq!(tail["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"], "<pl:");
    assert_eq!(tail["choices"][0]["index"], 1);
    assert_eq!(tail["created"], json!(1_700_000_000.0));
    assert_eq!(tail["choices"][0]["finish_reason"], Value::Null);
}

#[test]
fn a_finishing_chunk_that_carries_text_holds_nothing_back() {
    let known = Known::default();
    let stream = format!("data: {}\n\n", chunk(json!({"content": "5 <"}), Some("stop")));
    assert_eq!(through([stream.as_bytes()], &known).unwrap().bytes, stream.as_bytes());
}

#[test]
fn s7_a_delta_that_is_held_back_whole_still_goes_out() {
    let known = Known::default();
    let mut restorer = SseRestorer::new();
    let event = format!("data: {}\n\n", chunk(json!({"content": "<pl:"}), None));
    let out = restorer.push(event.as_bytes(), &known).unwrap();
    assert_eq!(out.bytes, event.replace("<pl:", "").as_bytes());
}

#[test]
fn s9_a_gone_placeholder_aborts_tool_input_and_passes_elsewhere() {
    let mut known = Known::default();
    let placeholder = known.bury("GITHUB_TOKEN", TOKEN);
    let tools = [
        "tool_use",
        "mcp_tool_use",
        "tool_calls",
        "function_call",
        "custom tool",
        "custom_tool_call_input",
        "code_interpreter_call_code",
        "function_call_arguments",
        "mcp_call_arguments",
    ];
    for case in all_cases() {
        let (text, _) = case.text(&placeholder, "");
        let out = through([&*case.stream(&[&text[..20], &text[20..]], "\n")], &known);
        if tools.contains(&case.name) {
            assert_eq!(out, Err(RestoreError::Gone), "{}", case.name);
        } else {
            let out = out.unwrap();
            assert_eq!(case.joined(&out.bytes), text, "{}", case.name);
            assert_eq!((out.restored, out.unknown), (0, 1), "{}", case.name);
        }
    }
}

type Read = fn(&str) -> serde_json::Result<String>;

#[test]
fn t6_brackets_that_a_model_wrote_otherwise_are_restored_in_kind() {
    let mut known = Known::default();
    let plain = known.mint("PEM_BLOCK", PEM);
    let spelt = |open: &str, close: &str| plain.replace('<', open).replace('>', close);
    let cases: [(String, Read); 3] = [
        (spelt(r"\u003c", r"\u003e"), |text| serde_json::from_str(text)),
        (spelt(r"\u003C", ">"), |text| serde_json::from_str(text)),
        (spelt("&lt;", "&gt;"), |text| {
            let text = text.trim_matches('"').replace("&quot;", "\"");
            Ok(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
        }),
    ];
    for case in all_cases().iter().filter(|case| !case.arguments) {
        for (text, read) in &cases {
            for cut in 0..=text.len() {
                let (head, tail) = text.split_at(cut);
                let out = through([&*case.stream(&[head, tail], "\n")], &known).unwrap();
                let joined = format!("\"{}\"", case.joined(&out.bytes));
                assert_eq!(read(&joined).unwrap(), PEM, "{} {text} cut at {cut}", case.name);
            }
        }
        let percent = plain.replace('<', "%3C").replace(':', "%3A").replace('>', "%3E");
        let out = through([&*case.stream(&[&percent], "\n")], &known).unwrap();
        let joined = case.joined(&out.bytes);
        assert!(joined.starts_with("-----BEGIN%20PRIVATE%20KEY-----%0AMIIEv%22quoted"), "{joined}");
    }
    // Inside arguments an encoder's spelling is the JSON string's own.
    for case in all_cases().iter().filter(|case| case.arguments) {
        let text = format!(r#"{{"k":"{}"}}"#, spelt(r"\u003c", r"\u003e"));
        let out = through([&*case.stream(&[&text[..9], &text[9..]], "\n")], &known).unwrap();
        let parsed: Value = serde_json::from_str(&case.joined(&out.bytes)).unwrap();
        assert_eq!(parsed["k"], PEM, "{}", case.name);
    }
}

#[test]
fn p3_damaged_and_foreign_placeholders_pass_as_they_are() {
    let mut known = Known::default();
    let ours = known.mint("GITHUB_TOKEN", TOKEN);
    let digest = &ours[ours.len() - 17..ours.len() - 1];
    let texts = [
        ours.replace("GITHUB_TOKEN", "AWS_ACCESS_KEY"),
        ours.replace(digest, "0123456789abcdef"),
        ours.replace(digest, &digest.to_uppercase().replace(char::is_numeric, "A")),
        ours.replace(digest, &digest[..15]),
        ours.replace('>', " "),
        ours.replace("<pl", "<PL"),
        ours.replace("GITHUB_TOKEN", "github_token"),
        ours.replace(digest, &format!("{digest}0")),
    ];
    for case in all_cases().iter().filter(|case| !case.arguments) {
        for text in &texts {
            for cut in 0..=text.len() {
                let (head, tail) = text.split_at(cut);
                let out = through([&*case.stream(&[head, tail], "\n")], &known).unwrap();
                assert_eq!(case.joined(&out.bytes), *text, "{}", case.name);
                assert_eq!(out.restored, 0, "{text}");
            }
        }
        // What wraps a placeholder does not damage it.
        for wrap in ["`", "**", "\"", "(", "\\", "<"] {
            let text = format!("{wrap}{ours}{wrap}");
            let out = through([&*case.stream(&[&text], "\n")], &known).unwrap();
            assert_eq!(case.joined(&out.bytes), format!("{wrap}{TOKEN}{wrap}"));
        }
    }
}

#[test]
fn an_event_made_to_be_costly_is_refused() {
    let known = Known::default();
    let refused = |choices: Value| {
        let event = format!("data: {}\n\n", json!({"x": "<", "choices": choices}));
        through([event.as_bytes()], &known).map(drop) == Err(RestoreError::TooLarge)
    };
    let wide = |count| json!([{"index": 0, "delta": {"content": vec![json!({}); count]}}]);
    let many = |count| json!(vec![json!({"index": 0}); count]);
    assert!(!refused(wide(1000)) && !refused(many(256)));
    assert!(refused(wide(2000)) && refused(many(257)));
}
