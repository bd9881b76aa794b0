use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::sse::EVENT_MAX;
use super::super::thinking;
use super::*;

pub(super) fn sse(events: &[Value]) -> Vec<u8> {
    events
        .iter()
        .flat_map(|event| match event["type"].as_str() {
            Some(name) => format!("event: {name}\ndata: {event}\n\n").into_bytes(),
            None => format!("data: {event}\n\n").into_bytes(),
        })
        .collect()
}

/// One Responses answer as Codex gets it, everything said up to four times.
pub(super) fn response(pieces: &[&str]) -> Vec<Value> {
    let whole = pieces.concat();
    let source = json!({ "k": "@" }).to_string();
    let (open, close) = source.split_once('@').unwrap();
    let item = |text: &str| {
        json!([{"type": "message", "id": "m", "content": [{"type": "output_text", "text": text}]},
               {"type": "function_call", "id": "f", "call_id": "c", "name": "n",
                "arguments": format!("{open}{text}{close}")},
               {"type": "custom_tool_call", "id": "x", "call_id": "d", "name": "exec",
                "input": format!("await f(\"{text}\")")}])
    };
    let mut events = vec![json!({"type": "response.created", "response": {"id": "r"}})];
    for (output, (field, prefix, suffix, done)) in [
        ("output_text", "", "", "text"),
        ("function_call_arguments", open, close, "arguments"),
        ("custom_tool_call_input", "await f(\"", "\")", "input"),
    ]
    .into_iter()
    .enumerate()
    {
        let head = [prefix].into_iter().chain(pieces.iter().copied()).chain([suffix]);
        for (number, piece) in head.enumerate() {
            events.push(json!({"type": format!("response.{field}.delta"), "item_id": "i",
                "output_index": output, "content_index": 0, "delta": piece,
                "sequence_number": number}));
        }
        let mut last = json!({"type": format!("response.{field}.done"), "item_id": "i",
            "output_index": output, "content_index": 0});
        last[done] = json!(format!("{prefix}{whole}{suffix}"));
        events.push(last);
        events.push(json!({"type": "response.output_item.done", "output_index": output,
            "item": item(&whole)[output]}));
    }
    let finished = json!({"id": "r", "status": "completed", "output": item(&whole)});
    events.push(json!({"type": "response.completed", "response": finished}));
    events
}

#[test]
fn s6_snapshots_equal_the_joined_deltas() {
    let mut known = Known::default();
    for (kind, secret) in [("PEM_BLOCK", PEM), ("GITHUB_TOKEN", TOKEN)] {
        let placeholder = known.mint(kind, secret);
        // As a last piece, an opening that leads nowhere.
        for (cut, end) in (0..=placeholder.len()).map(|cut| (cut, "")).chain([(7, "<pl:")]) {
            let (head, tail) = placeholder.split_at(cut);
            let out = through([&*sse(&response(&[head, tail, end]))], &known).unwrap();
            let got = events(&out.bytes);
            let joined = |output: usize| -> String {
                got.iter()
                    .filter(|(_, event)| event["output_index"] == output)
                    .filter_map(|(_, event)| event["delta"].as_str().map(str::to_owned))
                    .collect()
            };
            let named = |name: &str| {
                got.iter().map(|(_, event)| event).filter(|e| e["type"] == name).collect::<Vec<_>>()
            };
            let items = &named("response.completed")[0]["response"]["output"];
            let arguments: Value = serde_json::from_str(&joined(1)).unwrap();
            assert_eq!(joined(0), format!("{secret}{end}"));
            assert_eq!(arguments["k"], format!("{secret}{end}"));
            assert_eq!(joined(2), format!("await f(\"{secret}{end}\")"));
            assert_eq!(named("response.output_text.done")[0]["text"], joined(0));
            assert_eq!(named("response.function_call_arguments.done")[0]["arguments"], joined(1));
            assert_eq!(named("response.custom_tool_call_input.done")[0]["input"], joined(2));
            for (output, done) in named("response.output_item.done").into_iter().enumerate() {
                assert_eq!(done["item"], items[output]);
            }
            assert_eq!(items[0]["content"][0]["text"], joined(0));
            assert_eq!(items[1]["arguments"], joined(1));
            assert_eq!(items[2]["input"], joined(2));
        }
    }
}

#[test]
fn s4_the_end_of_a_part_or_item_ends_its_lanes_and_no_other() {
    let known = Known::default();
    let delta = |kind: &str, output: usize, content: usize, text: &str| {
        json!({"type": format!("response.{kind}.delta"), "output_index": output,
               "content_index": content, "delta": text})
    };
    let open = vec![
        delta("output_text", 0, 0, "a<"),
        delta("output_text", 0, 1, "b<"),
        delta("function_call_arguments", 1, 0, "c<"),
    ];
    let tails = |end: Value| -> Vec<Value> {
        let stream = sse(&[open.clone(), vec![end]].concat());
        let out = SseRestorer::new().push(&stream, &known).unwrap();
        let tails = events(&out.bytes).split_off(open.len());
        let (_, tails) = tails.split_last().unwrap();
        tails.iter().map(|(_, event)| event.clone()).collect()
    };
    let part = json!({"type": "response.content_part.done", "output_index": 0, "content_index": 1});
    assert_eq!(tails(part), [delta("output_text", 0, 1, "<")]);
    let item = json!({"type": "response.output_item.done", "output_index": 0, "item": {}});
    let both = [delta("output_text", 0, 0, "<"), delta("output_text", 0, 1, "<")];
    assert_eq!(tails(item), both);
    let all = json!({"type": "response.incomplete", "response": {}});
    assert_eq!(tails(all).len(), 3);
}

#[test]
fn s2_data_over_several_lines_keeps_its_lines() {
    let mut known = Known::default();
    let token = known.mint("GITHUB_TOKEN", TOKEN);
    let stream = |inside: &str| {
        format!(
            "\u{feff}: hi\r\nid: 7\r\ndata:{{\"type\":\"note\",\r\nretry: 9\r\ndata: \"a\":\r\n\
             data:  [\"x{inside}\"]}}\r\nevent: note\r\n\r\n"
        )
    };
    let (sent, wanted) = (stream(&token), stream(TOKEN));
    assert_eq!(through([sent.as_bytes()], &known).unwrap().bytes, wanted.as_bytes());
    assert_eq!(through(sent.as_bytes().chunks(1), &known).unwrap().bytes, wanted.as_bytes());
}

#[test]
fn s2_what_is_written_anew_ends_its_lines_as_the_stream_does_wherever_it_is_cut() {
    let mut known = Known::default();
    let spelt = known.mint("PEM_BLOCK", PEM);
    let delta = |text: &str| json!({"choices": [{"index": 0, "delta": {"content": text}}]});
    let stop = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    for newline in ["\n", "\r\n", "\r"] {
        let stream = sse(&[delta(&spelt), delta("<pl:"), stop.clone()]);
        let stream = String::from_utf8(stream).unwrap().replace('\n', newline).into_bytes();
        let whole = through([&*stream], &known).unwrap();
        let ends = |text: &[u8]| String::from_utf8(text.to_vec()).unwrap().matches(newline).count();
        // The tail is an event of its own.
        assert_eq!(ends(&whole.bytes), ends(&stream) + 2, "{newline:?}");
        for at in 0..stream.len() {
            let cut = [&stream[..at], &stream[at..]];
            assert_eq!(through(cut, &known).unwrap(), whole, "{newline:?} {at}");
        }
        assert_eq!(through(stream.chunks(1), &known).unwrap(), whole, "{newline:?}");
    }
}

#[test]
fn s7_comments_and_pings_pass_at_once() {
    let known = Known::default();
    let mut restorer = SseRestorer::new();
    let delta = json!({"type": "content_block_delta", "index": 0,
                       "delta": {"type": "input_json_delta", "partial_json": "{\"a\":\"<pl:"}});
    restorer.push(&sse(&[delta]), &known).unwrap();
    for part in [": keep-alive\n", "\n", "event: ping\ndata: {\"type\": \"ping\"}\n\n", ":\r", "\n"]
    {
        assert_eq!(restorer.push(part.as_bytes(), &known).unwrap().bytes, part.as_bytes());
    }
}

#[test]
fn content_that_arrives_whole_is_restored_whole() {
    let mut known = Known::default();
    let pem = known.mint("PEM_BLOCK", PEM);
    let stream = |inside: &str| {
        vec![
            json!({"type": "content_block_start", "index": 0, "content_block": {
                "type": "web_search_tool_result", "tool_use_id": "t",
                "content": [{"type": "web_search_result", "title": inside}]}}),
            json!({"type": "content_block_start", "index": 1, "content_block": {
                "type": "tool_use", "id": "t", "name": "n", "input": {"id": inside}}}),
            json!({"type": "content_block_start", "index": 2, "content_block": {
                "type": "text", "text": inside}}),
            json!({"type": "content_block_delta", "index": 2, "delta": {
                "type": "citations_delta", "citation": {"cited_text": inside}}}),
            json!({"type": "message_delta", "delta": {"stop_sequence": inside}}),
            json!({"type": "something_new", "deep": {"er": [inside]}}),
            json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {
                "annotations": [{"url_citation": {"title": inside}}]}}]}),
        ]
    };
    let out = through([&*sse(&stream(&pem))], &known).unwrap();
    let got: Vec<Value> = events(&out.bytes).into_iter().map(|(_, event)| event).collect();
    assert_eq!(got, stream(PEM));
}

#[test]
fn a_block_that_starts_with_text_goes_on_in_its_deltas() {
    let mut known = Known::default();
    let token = known.mint("GITHUB_TOKEN", TOKEN);
    let start = json!({"type": "content_block_start", "index": 0,
                       "content_block": {"type": "text", "text": token[..9]}});
    let delta = json!({"type": "content_block_delta", "index": 0,
                       "delta": {"type": "text_delta", "text": token[9..]}});
    let stop = json!({"type": "content_block_stop", "index": 0});
    let out = through([&*sse(&[start.clone(), delta, stop.clone()])], &known).unwrap();
    assert_eq!(events(&out.bytes)[1].1["delta"]["text"], TOKEN);
    let out = through([&*sse(&[start, stop])], &known).unwrap();
    let tail = events(&out.bytes)[1].clone();
    assert_eq!(tail.0.as_deref(), Some("content_block_delta"));
    assert_eq!(tail.1["delta"], json!({"type": "text_delta", "text": token[..9]}));
}

#[test]
fn i1_streamed_thinking_is_remembered_as_the_provider_wrote_it() {
    let mut known = Known::default();
    let pem = known.mint("PEM_BLOCK", PEM);
    let provider = format!("so {pem} and <pl");
    for cut in 0..=provider.len() {
        let (head, tail) = provider.split_at(cut);
        let delta =
            |delta: Value| json!({"type": "content_block_delta", "index": 0, "delta": delta});
        let out = through(
            [&*sse(&[
                json!({"type": "content_block_start", "index": 0,
                       "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
                delta(json!({"type": "thinking_delta", "thinking": head})),
                delta(json!({"type": "thinking_delta", "thinking": tail})),
                delta(json!({"type": "signature_delta", "signature": "c2ln"})),
                json!({"type": "content_block_stop", "index": 0}),
            ])],
            &known,
        )
        .unwrap();
        let client = format!("so {PEM} and <pl");
        let expected = thinking::record(b"c2ln", provider.as_bytes(), client.as_bytes()).unwrap();
        assert_eq!(out.thinking, [expected], "cut at {cut}");
    }
}

#[test]
fn data_that_is_not_json_is_text() {
    let mut known = Known::default();
    let token = known.mint("GITHUB_TOKEN", TOKEN);
    let lines = known.mint("PEM_BLOCK", "one\ntwo");
    let out =
        through([format!("data: a {token}\n\ndata:{lines}!\n\n").as_bytes()], &known).unwrap();
    assert_eq!(out.bytes, format!("data: a {TOKEN}\n\ndata:one\ndata: two!\n\n").as_bytes());
    let carriage = known.mint("PEM_BLOCK", "one\rtwo");
    let out = through([format!("data: {carriage}\n\n").as_bytes()], &known);
    assert_eq!(out, Err(RestoreError::NotText));
}

#[test]
fn broken_json_is_refused_only_where_it_may_hold_a_placeholder() {
    let mut known = Known::default();
    let token = known.mint("GITHUB_TOKEN", TOKEN);
    let out = through([format!("data: {{\"a\":\"{token}\"\n\n").as_bytes()], &known);
    assert_eq!(out, Err(RestoreError::Malformed));
    let odd = b"data: {\"a\":\"<b>\n\n";
    assert_eq!(through([&odd[..]], &known).unwrap().bytes, odd);
}

#[test]
fn an_event_past_the_bound_is_refused() {
    let known = Known::default();
    let mut restorer = SseRestorer::new();
    let chunk = vec![b'x'; EVENT_MAX / 4];
    restorer.push(b"data: ", &known).unwrap();
    let refused = (0..4).map(|_| restorer.push(&chunk, &known)).find_map(Result::err);
    assert_eq!(refused, Some(RestoreError::TooLarge));
}

#[test]
fn more_open_lanes_than_the_bound_are_refused() {
    let known = Known::default();
    let deltas: Vec<Value> = (0..300)
        .map(|index| {
            json!({"type": "content_block_delta", "index": index,
                            "delta": {"type": "text_delta", "text": "<"}})
        })
        .collect();
    assert_eq!(through([&*sse(&deltas)], &known), Err(RestoreError::TooLarge));
}

/// A small event must not become a large one, nor a large one many.
#[test]
fn an_event_of_many_lanes_and_long_members_is_refused_at_once() {
    let known = Known::default();
    let event = |lanes: usize| {
        let calls: Vec<Value> =
            (0..lanes).map(|i| json!({"index": i, "function": {"arguments": "<"}})).collect();
        let delta = json!({"tool_calls": calls});
        sse(&[json!({"id": "x".repeat(100_000), "choices": [{"index": 0, "delta": delta}]})])
    };
    assert_eq!(through([&*event(100_000)], &known), Err(RestoreError::TooLarge));
    let out = through([&*event(200)], &known).unwrap();
    assert_eq!(events(&out.bytes).len(), 201);
    assert!(out.bytes.len() < 200_000, "no tail repeats the long id");
}

/// Lines of streams that hold nothing to restore.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("data".to_owned()),
        Just("data: [DONE]".to_owned()),
        Just(": comment".to_owned()),
        Just("\u{feff}data: x".to_owned()),
        Just(r#"data: {"type":"content_block_stop","index":0}"#.to_owned()),
        Just(r#"data: {"type":"response.output_text.done","text":"5 < 6 \u00e9"}"#.to_owned()),
        Just(
            r#"data: {"choices":[{"delta":{"content":"\n<b>"},"finish_reason":"stop"}]}"#
                .to_owned()
        ),
        "[a-z]{0,5}:? ?[^\\r\\n<&%\\\\]{0,20}",
        "[^\\r\\n<&%\\\\]{0,12}".prop_map(|text| {
            let delta = json!({"type": "text_delta", "text": text});
            format!("data: {}", json!({"type": "content_block_delta", "delta": delta}))
        }),
    ]
}

proptest! {
    #[test]
    fn a_stream_without_placeholders_passes_byte_for_byte(
        lines in prop::collection::vec((line(), prop::sample::select(vec!["\n", "\r\n", "\r", "\n\n"])), 0..20),
        size in 1_usize..50,
    ) {
        let known = Known::default();
        let stream: String = lines.iter().flat_map(|(line, end)| [line.as_str(), end]).collect();
        let out = through(stream.as_bytes().chunks(size), &known).unwrap();
        prop_assert_eq!(String::from_utf8(out.bytes).unwrap(), stream);
    }

    #[test]
    fn a_stream_of_any_bytes_never_panics_and_cuts_do_not_matter(
        bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"\r\n:d<pl{}[]\"\\".to_vec())], 0..200),
        size in 1_usize..9,
    ) {
        let known = Known::default();
        let whole = through([&*bytes], &known);
        prop_assert_eq!(through(bytes.chunks(size), &known), whole);
    }

    /// A conversation in text deltas, its secrets minted and cut at random, joins to the original.
    #[test]
    fn s1_random_cuts_of_random_texts_restore(
        parts in prop::collection::vec("[ -~\\n é]{0,12}", 1..8),
        secret in "\\PC{1,30}",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        size in 1_usize..300,
    ) {
        let mut known = Known::default();
        let placeholder = known.mint("ANY", &secret);
        let (sent, original) = (parts.join(&placeholder), parts.join(&secret));
        let mut ends: Vec<usize> = cuts
            .iter()
            .map(|cut| cut.index(sent.len() + 1))
            .filter(|at| sent.is_char_boundary(*at))
            .chain([0, sent.len()])
            .collect();
        ends.sort_unstable();
        let deltas: Vec<Value> = ends
            .windows(2)
            .map(|ends| json!({"type": "response.output_text.delta", "output_index": 0,
                               "content_index": 0, "delta": sent[ends[0]..ends[1]]}))
            .collect();
        let out = through(sse(&deltas).chunks(size), &known).unwrap();
        let joined: String = events(&out.bytes)
            .iter()
            .filter_map(|(_, event)| event["delta"].as_str().map(str::to_owned))
            .collect();
        prop_assert_eq!(joined, original);
    }
}

#[test]
fn an_event_of_too_many_lines_is_refused_before_its_end() {
    let known = Known::default();
    let of = |lines: usize| through(["a\n".repeat(lines).as_bytes()], &known).map(drop);
    assert_eq!(of(200_000), Ok(()));
    assert_eq!(of(300_000), Err(RestoreError::TooLarge));
}
