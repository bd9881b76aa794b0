//! Messages restore as the same events do in a stream.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::message::{MessageRestorer, Messages};
use super::streams::{response, sse};
use super::*;

/// The messages that a client gets when the provider sends these and then closes.
fn over(sent: &[String], known: &Known) -> Result<Messages, RestoreError> {
    let mut restorer = MessageRestorer::new();
    let mut all = Messages::default();
    let mut add = |part: Messages| {
        all.texts.extend(part.texts);
        all.restored += part.restored;
        all.unknown += part.unknown;
        all.thinking.extend(part.thinking);
    };
    for text in sent {
        add(restorer.push(text.clone().into_bytes(), known)?);
    }
    add(restorer.finish(known)?);
    Ok(all)
}

fn spoken(events: &[Value]) -> Vec<String> {
    events.iter().map(Value::to_string).collect()
}

/// The data of a stream's events as it stands there, one line each.
fn data_of(stream: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8(stream.to_vec()).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(|d| d.into()).collect()
}

/// Demands that messages say what the stream of the same events says, byte for byte.
fn agrees_with_the_stream(events: &[Value], known: &Known) -> Messages {
    let stream = through([&*sse(events)], known).unwrap();
    let messages = over(&spoken(events), known).unwrap();
    assert_eq!(messages.texts, data_of(&stream.bytes));
    assert_eq!((messages.restored, messages.unknown), (stream.restored, stream.unknown));
    assert_eq!(messages.thinking, stream.thinking);
    messages
}

#[test]
fn i7_s1_every_cut_over_messages_restores_as_in_a_stream() {
    let mut known = Known::default();
    for (kind, secret) in [("PEM_BLOCK", PEM), ("GITHUB_TOKEN", TOKEN)] {
        let placeholder = known.mint(kind, secret);
        for (cut, end) in (0..=placeholder.len()).map(|cut| (cut, "")).chain([(7, "<pl:")]) {
            let (head, tail) = placeholder.split_at(cut);
            let events = response(&[head, tail, end]);
            let messages = agrees_with_the_stream(&events, &known);
            let got: Vec<Value> =
                messages.texts.iter().map(|text| serde_json::from_slice(text).unwrap()).collect();
            let joined: String = got
                .iter()
                .filter(|event| event["type"] == "response.output_text.delta")
                .filter_map(|event| event["delta"].as_str())
                .collect();
            assert_eq!(joined, format!("{secret}{end}"), "cut at {cut}");
            let last = got.last().unwrap();
            assert_eq!(last["response"]["output"][0]["content"][0]["text"], joined);
        }
    }
}

#[test]
fn s4_a_held_tail_goes_out_before_what_ends_its_lane_and_at_the_close() {
    let known = Known::default();
    let delta = |text: &str| {
        json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0,
            "delta": text})
    };
    let done = json!({"type": "response.completed", "response": {}});
    let mut restorer = MessageRestorer::new();
    let mut push = |event: &Value| restorer.push(event.to_string().into(), &known).unwrap();
    assert_eq!(push(&delta("a <pl:X")).texts, [delta("a ").to_string().into_bytes()]);
    let last = push(&done);
    let texts: Vec<Value> =
        last.texts.iter().map(|text| serde_json::from_slice(text).unwrap()).collect();
    assert_eq!(texts, [delta("<pl:X"), done]);
    assert!(last.ends);
    assert!(!push(&delta("b <")).ends);
    let tails = restorer.finish(&known).unwrap().texts;
    assert_eq!(serde_json::from_slice::<Value>(&tails[0]).unwrap(), delta("<"));
}

#[test]
fn only_the_last_event_of_a_response_ends_it() {
    let known = Known::default();
    let ends =
        |event: Value| MessageRestorer::new().push(event.to_string().into(), &known).unwrap().ends;
    for kind in ["response.completed", "response.failed", "response.incomplete", "error"] {
        assert!(ends(json!({"type": kind, "response": {}})), "{kind}");
    }
    assert!(!ends(json!({"type": "response.created", "response": {"error": null}})));
    assert!(!ends(json!({"type": "response.output_item.done", "item": {"error": "x"}})));
    assert!(!ends(json!([])));
}

#[test]
fn s9_a_gone_placeholder_in_tool_input_is_an_error_and_passes_in_text() {
    let mut known = Known::default();
    let gone = known.bury("AWS_ACCESS_KEY", "gone");
    let delta = |kind: &str| json!({"type": kind, "output_index": 0, "delta": gone});
    let tool = spoken(&[delta("response.custom_tool_call_input.delta")]);
    assert_eq!(over(&tool, &known), Err(RestoreError::Gone));
    let text = spoken(&[delta("response.output_text.delta")]);
    let passed = over(&text, &known).unwrap();
    assert_eq!((passed.texts[0].as_slice(), passed.unknown), (text[0].as_bytes(), 1));
}

#[test]
fn a_message_that_is_no_json_is_text_and_may_hold_any_line_end() {
    let mut known = Known::default();
    let placeholder = known.mint("ANY", "a\r\nb");
    let messages = over(&[format!("say {placeholder}")], &known).unwrap();
    assert_eq!(messages.texts, [b"say a\r\nb".to_vec()]);
}

proptest! {
    #[test]
    fn a_message_without_placeholders_passes_byte_for_byte(
        sent in prop::collection::vec("[ -~\\n\\t é{}\\[\\]\":,]{0,40}", 0..10),
    ) {
        // What starts as JSON and is none passes too, unless it may hold a placeholder.
        let sent: Vec<String> = sent.iter().map(|text| text.replace(['<', '\\', '&', '%'], "")).collect();
        let messages = over(&sent, &Known::default()).unwrap();
        prop_assert_eq!(messages.texts, sent.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>());
    }

    #[test]
    fn i7_random_cuts_of_random_texts_restore_as_in_a_stream(
        parts in prop::collection::vec("[ -~\\n é<]{0,12}", 1..6),
        secret in "[ -~é\\n]{1,30}",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut known = Known::default();
        let placeholder = known.mint("ANY", &secret);
        let sent = parts.join(&placeholder);
        let mut ends: Vec<usize> = cuts
            .iter()
            .map(|cut| cut.index(sent.len() + 1))
            .filter(|at| sent.is_char_boundary(*at))
            .chain([0, sent.len()])
            .collect();
        ends.sort_unstable();
        let pieces: Vec<&str> = ends.windows(2).map(|pair| &sent[pair[0]..pair[1]]).collect();
        let mut events: Vec<Value> = pieces
            .iter()
            .map(|piece| json!({"type": "response.output_text.delta", "output_index": 0,
                "content_index": 0, "delta": piece}))
            .collect();
        events.push(json!({"type": "response.output_text.done", "output_index": 0,
            "content_index": 0, "text": sent}));
        let messages = agrees_with_the_stream(&events, &known);
        let joined: String = messages
            .texts
            .iter()
            .map(|text| serde_json::from_slice::<Value>(text).unwrap())
            .filter_map(|event| event["delta"].as_str().map(str::to_owned))
            .collect();
        prop_assert_eq!(joined, parts.join(&secret));
    }

    #[test]
    fn messages_of_any_bytes_never_panic(
        sent in prop::collection::vec(prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"d<pl{}[]\"\\:,".to_vec())], 0..80), 0..6),
    ) {
        let known = Known::default();
        let mut restorer = MessageRestorer::new();
        for text in sent {
            if restorer.push(text, &known).is_err() {
                return Ok(());
            }
        }
        let _ = restorer.finish(&known);
    }
}
