//! The three APIs, as requests and streams of them look on the wire.

use serde_json::{Value, json};

use crate::agent::events;

/// One of the three APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Anthropic Messages.
    Messages,
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Responses.
    Responses,
}

/// All three.
pub const SHAPES: [Shape; 3] = [Shape::Messages, Shape::Chat, Shape::Responses];

impl Shape {
    /// Where requests go.
    pub fn url(self) -> &'static str {
        match self {
            Self::Messages => "https://api.anthropic.com/v1/messages",
            Self::Chat => "https://api.openai.com/v1/chat/completions",
            Self::Responses => "https://api.openai.com/v1/responses",
        }
    }

    /// The shape that requests to `path`, with or without a query, speak.
    pub fn of(path: &str) -> Option<Self> {
        let path = path.split('?').next().unwrap_or(path);
        SHAPES.into_iter().find(|shape| shape.url().ends_with(path))
    }

    /// A request whose last message is `text`.
    pub fn request(self, text: &str) -> Value {
        let message = json!({"role": "user", "content": text});
        match self {
            Self::Messages => json!({"model": "made-up", "max_tokens": 64, "messages": [message]}),
            Self::Chat => json!({"model": "made-up", "messages": [message]}),
            Self::Responses => json!({"model": "made-up", "input": [message]}),
        }
    }

    /// The same, asking for a stream.
    pub fn streaming(self, text: &str) -> Value {
        let mut request = self.request(text);
        request["stream"] = json!(true);
        request
    }

    /// The text of an answer that is one JSON body.
    pub fn text_of(self, answer: &Value) -> &str {
        let pointer = match self {
            Self::Messages => "/content/0/text",
            Self::Chat => "/choices/0/message/content",
            Self::Responses => "/output/0/content/0/text",
        };
        answer.pointer(pointer).and_then(Value::as_str).expect("the answer holds text")
    }

    /// A stream whose text comes in `pieces`, one event each, snapshots included.
    pub fn text_stream(self, pieces: &[&str]) -> Vec<String> {
        let whole = pieces.concat();
        match self {
            Self::Messages => messages_stream(
                &json!({"type": "text", "text": ""}),
                pieces.iter().map(|piece| json!({"type": "text_delta", "text": piece})),
            ),
            Self::Chat => {
                chat_stream(pieces.iter().map(|piece| json!({"content": piece})).collect())
            }
            Self::Responses => {
                let part = json!({"type": "output_text", "text": whole, "annotations": []});
                let item = json!({"type": "message", "id": "msg_1", "role": "assistant", "content": [part]});
                let at = json!({"item_id": "msg_1", "output_index": 0, "content_index": 0});
                let done = with(&at, &json!({"type": "response.output_text.done", "text": whole}));
                responses_stream("response.output_text.delta", &at, pieces, &done, &item)
            }
        }
    }

    /// A stream that calls a tool whose JSON arguments come in `pieces`, snapshots included.
    pub fn tool_stream(self, pieces: &[&str]) -> Vec<String> {
        let whole = pieces.concat();
        match self {
            Self::Messages => messages_stream(
                &json!({"type": "tool_use", "id": "toolu_1", "name": "write", "input": {}}),
                pieces
                    .iter()
                    .map(|piece| json!({"type": "input_json_delta", "partial_json": piece})),
            ),
            Self::Chat => {
                let call =
                    |function: Value| json!({"tool_calls": [{"index": 0, "function": function}]});
                let mut deltas = vec![json!({"tool_calls": [{"index": 0, "id": "call_1",
                    "type": "function", "function": {"name": "write", "arguments": ""}}]})];
                deltas.extend(pieces.iter().map(|piece| call(json!({"arguments": piece}))));
                chat_stream(deltas)
            }
            Self::Responses => {
                let item = json!({"type": "function_call", "id": "fc_1", "call_id": "call_1",
                    "name": "write", "arguments": whole});
                let at = json!({"item_id": "fc_1", "output_index": 0});
                let done = with(
                    &at,
                    &json!({"type": "response.function_call_arguments.done", "arguments": whole}),
                );
                responses_stream(
                    "response.function_call_arguments.delta",
                    &at,
                    pieces,
                    &done,
                    &item,
                )
            }
        }
    }

    /// The text a client joins from a stream's deltas.
    pub fn joined_text(self, stream: &str) -> String {
        let pointer = match self {
            Self::Messages => "/delta/text",
            Self::Chat => "/choices/0/delta/content",
            Self::Responses => return deltas_of(stream, "response.output_text.delta"),
        };
        strings_at(stream, pointer)
    }

    /// The arguments a client joins from a stream's deltas.
    pub fn joined_arguments(self, stream: &str) -> String {
        let pointer = match self {
            Self::Messages => "/delta/partial_json",
            Self::Chat => "/choices/0/delta/tool_calls/0/function/arguments",
            Self::Responses => {
                return deltas_of(stream, "response.function_call_arguments.delta");
            }
        };
        strings_at(stream, pointer)
    }

    /// Every place where a stream says the whole text or the whole arguments again.
    pub fn snapshots(self, stream: &str) -> Vec<String> {
        let pointers = match self {
            Self::Messages | Self::Chat => return Vec::new(),
            Self::Responses => [
                "/text",
                "/arguments",
                "/item/content/0/text",
                "/item/arguments",
                "/response/output/0/content/0/text",
                "/response/output/0/arguments",
            ],
        };
        events(stream)
            .iter()
            .filter(|event| event["type"] != "response.output_item.added")
            .flat_map(|event| pointers.iter().filter_map(|pointer| event.pointer(pointer)))
            .filter_map(|value| value.as_str().map(String::from))
            .collect()
    }
}

/// `text` cut in two after `at` bytes, where that is inside it and between characters.
pub fn cut(text: &str, at: usize) -> Vec<&str> {
    if text.is_char_boundary(at) && at < text.len() {
        let (left, right) = text.split_at(at);
        vec![left, right]
    } else {
        vec![text]
    }
}

fn strings_at(stream: &str, pointer: &str) -> String {
    events(stream).iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect()
}

fn deltas_of(stream: &str, kind: &str) -> String {
    let of_kind = events(stream).into_iter().filter(|event| event["type"] == kind);
    of_kind.filter_map(|event| event["delta"].as_str().map(String::from)).collect()
}

fn with(left: &Value, right: &Value) -> Value {
    let mut both = left.clone();
    for (key, value) in right.as_object().expect("events are objects") {
        both[key] = value.clone();
    }
    both
}

fn named(event: &Value) -> String {
    let name = event["type"].as_str().expect("named events have a type");
    format!("event: {name}\ndata: {event}\n\n")
}

fn messages_stream(block: &Value, deltas: impl Iterator<Item = Value>) -> Vec<String> {
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "content": [],
        "model": "made-up", "stop_reason": null, "usage": {"input_tokens": 1, "output_tokens": 1}});
    let mut events = vec![
        named(&json!({"type": "message_start", "message": message})),
        named(&json!({"type": "content_block_start", "index": 0, "content_block": block})),
        named(&json!({"type": "ping"})),
    ];
    events.extend(
        deltas.map(|delta| {
            named(&json!({"type": "content_block_delta", "index": 0, "delta": delta}))
        }),
    );
    events.push(named(&json!({"type": "content_block_stop", "index": 0})));
    events.push(named(&json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 2}})));
    events.push(named(&json!({"type": "message_stop"})));
    events
}

fn chat_stream(deltas: Vec<Value>) -> Vec<String> {
    let chunk = |delta: &Value, finish: Value| {
        let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
            "model": "made-up", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        format!("data: {chunk}\n\n")
    };
    let mut events = vec![chunk(&json!({"role": "assistant", "content": ""}), Value::Null)];
    events.extend(deltas.iter().map(|delta| chunk(delta, Value::Null)));
    events.push(chunk(&json!({}), json!("stop")));
    events.push("data: [DONE]\n\n".into());
    events
}

fn responses_stream(
    delta: &str,
    at: &Value,
    pieces: &[&str],
    done: &Value,
    item: &Value,
) -> Vec<String> {
    let response = |status: &str, output: Vec<&Value>| json!({"id": "resp_1", "object": "response", "status": status, "output": output});
    let mut events = vec![
        json!({"type": "response.created", "response": response("in_progress", vec![])}),
        json!({"type": "response.output_item.added", "output_index": 0,
               "item": {"type": item["type"], "id": item["id"], "status": "in_progress"}}),
    ];
    events.extend(pieces.iter().map(|piece| with(at, &json!({"type": delta, "delta": piece}))));
    events.push(done.clone());
    events.push(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
    events
        .push(json!({"type": "response.completed", "response": response("completed", vec![item])}));
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = json!(number);
    }
    events.iter().map(named).collect()
}
