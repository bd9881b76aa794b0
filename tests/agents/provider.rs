//! A provider stand-in that real agents can work with: it has each run a command, or edit a file,
//! that holds the placeholder it was sent, and then says so.
//!
//! `agents-provider CA_FILE SEEN_FILE SECRET` answers for the four default hosts on a free port,
//! writes its CA certificate to CA_FILE, prints its address, and appends a line of JSON for each
//! request and WebSocket message to SEEN_FILE. With `WITHOUT_TOOLS` set it only talks; with `BODIES`
//! set the lines hold the bodies, too.

#![expect(clippy::print_stdout, reason = "its output is the address")]

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex};

use harness::agent::events;
use harness::provider::{Answer, Provider, Seen, Step};
use harness::shape::Shape;
use harness::socket::Say;
use serde_json::{Value, json};

/// What is noted of whatever comes.
struct Notes {
    file: Mutex<File>,
    secret: String,
}

impl Notes {
    fn take(&self, what: &str, head: Value, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let line = json!({
            "what": what,
            "head": head,
            "bytes": bytes.len(),
            "placeholders": text.matches("<pl:").count(),
            "secrets": text.matches(&self.secret).count() + head.to_string().matches(&self.secret).count(),
            "body": text.chars().take(if std::env::var_os("BODIES").is_some() { usize::MAX } else { 0 }).collect::<String>(),
        });
        let mut file = self.file.lock().expect("nobody panics while it holds this");
        writeln!(file, "{line}").expect("the file can be written");
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(ca), Some(seen), Some(secret)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err(std::io::Error::other("usage: agents-provider CA_FILE SEEN_FILE SECRET"));
    };
    let notes = Arc::new(Notes { file: Mutex::new(File::create(seen)?), secret });
    let provider = Provider::start(move |seen| answer(&notes, seen)).await;
    std::fs::write(ca, provider.ca_pem())?;
    println!("{}", provider.address());
    std::future::pending().await
}

fn answer(notes: &Arc<Notes>, seen: &Seen) -> Answer {
    let header = |name| seen.headers.get(name).and_then(|value| value.to_str().ok());
    let head = json!({
        "method": seen.method,
        "path": seen.path,
        "version": seen.version,
        "agent": header("user-agent"),
        "upgrade": header("upgrade"),
        "encoding": header("content-encoding"),
        "accept_encoding": header("accept-encoding"),
    });
    notes.take("request", head, &seen.body);
    if seen.headers.contains_key("upgrade") {
        let notes = Arc::clone(notes);
        return Answer::socket(move |message| {
            notes.take("message", json!({}), message.as_bytes());
            let turn = serde_json::from_str(message).unwrap_or_default();
            turn_events(&turn).iter().map(Say::event).collect()
        });
    }
    let request = serde_json::from_slice(&seen.body).unwrap_or_default();
    match shape(&seen.path) {
        Some(_) if seen.method != "POST" => not_here(),
        Some(shape) => reply(shape, &request),
        None => not_here(),
    }
}

fn not_here() -> Answer {
    let error = json!({"type": "not_found_error", "message": "not here"});
    Answer::json(&json!({"type": "error", "error": error})).status(404)
}

/// Each agent has paths of its own.
fn shape(path: &str) -> Option<Shape> {
    let path = path.split('?').next()?;
    [
        ("/messages", Shape::Messages),
        ("/chat/completions", Shape::Chat),
        ("/responses", Shape::Responses),
    ]
    .into_iter()
    .find_map(|(end, shape)| path.ends_with(end).then_some(shape))
}

/// What the model does.
enum Doing {
    Say(String),
    /// Calls the tool of this name, with these arguments.
    Call(String, Value),
}

/// The first placeholder in a request.
fn placeholder(request: &Value) -> Option<String> {
    let text = request.to_string();
    let at = text.find("<pl:")?;
    let end = text[at..].find('>')?;
    Some(text[at..=at + end].to_owned())
}

/// Whether the last thing said is what a tool said.
fn is_after_a_tool(request: &Value) -> bool {
    let last = |list: &str| request[list].as_array().and_then(|list| list.last()).cloned();
    let last = last("messages").or_else(|| last("input")).unwrap_or_default();
    last["role"] == "tool"
        || last["type"].as_str().is_some_and(|kind| kind.ends_with("_output"))
        || last["content"].to_string().contains("\"tool_result\"")
}

fn doing(request: &Value) -> Doing {
    let Some(placeholder) = placeholder(request) else {
        return Doing::Say("Hello".into());
    };
    let done = Doing::Say(format!("All done with {placeholder}."));
    if is_after_a_tool(request) || std::env::var_os("WITHOUT_TOOLS").is_some() {
        return done;
    }
    if request.to_string().contains("SEARCH/REPLACE") {
        let fence = "```";
        return Doing::Say(format!(
            "The key is {placeholder}.\n\nout.txt\n{fence}\n<<<<<<< SEARCH\n=======\n{placeholder}\n>>>>>>> REPLACE\n{fence}\n"
        ));
    }
    let command = format!("echo '{placeholder}' > out.txt; cat out.txt");
    let names = tools(request);
    let has = |name: &str| names.iter().any(|known| known == name);
    match ["Bash", "bash"].into_iter().find(|name| has(name)) {
        Some(name) => {
            Doing::Call(name.into(), json!({"command": command, "description": "Write a file"}))
        }
        None => done,
    }
}

fn tools(request: &Value) -> Vec<String> {
    let tools = request["tools"].as_array().into_iter().flatten();
    tools
        .filter_map(|tool| tool["name"].as_str().or_else(|| tool["function"]["name"].as_str()))
        .map(String::from)
        .collect()
}

/// Cut inside the placeholder, so that somebody has to join it again.
fn pieces(text: &str) -> Vec<&str> {
    let at = text.find("<pl:").map_or(text.len() / 2, |at| at + 9);
    if text.is_char_boundary(at) { vec![&text[..at], &text[at..]] } else { vec![text] }
}

fn reply(shape: Shape, request: &Value) -> Answer {
    let doing = doing(request);
    if request["stream"] != true {
        return Answer::json(&whole(shape, &doing));
    }
    let events = match &doing {
        Doing::Say(text) => shape.text_stream(&pieces(text)),
        Doing::Call(name, arguments) => {
            let arguments = arguments.to_string();
            let events = shape.tool_stream(&pieces(&arguments)).into_iter();
            // The stream of stories, as a tool call of this agent's.
            events
                .map(|event| {
                    event
                        .replace("\"name\":\"write\"", &format!("\"name\":\"{name}\""))
                        .replace("\"end_turn\"", "\"tool_use\"")
                        .replace("\"finish_reason\":\"stop\"", "\"finish_reason\":\"tool_calls\"")
                })
                .collect()
        }
    };
    let events: Vec<String> = if shape == Shape::Responses { begun(&events) } else { events };
    Answer::stream(events.into_iter().map(Step::send).collect())
}

/// A stream of Responses with all that the SDKs' own helpers build on: an item begins empty, and its
/// parts are announced; without a status, OpenCode takes the end of a call for none.
fn begun(stream: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    let done = events(&stream.concat())
        .into_iter()
        .find(|event| event["type"] == "response.output_item.done");
    let mut done = done.map(|mut event| event["item"].take()).unwrap_or_default();
    done["status"] = json!("completed");
    for event in stream {
        let Some(mut value) = events(event).pop() else { continue };
        if value["type"] == "response.created" {
            value["response"] = response("resp_1", &json!([]));
            value["response"]["status"] = json!("in_progress");
        }
        if value["type"] == "response.completed" {
            value["response"] = response("resp_1", &json!([done]));
        }
        let is_message = value["item"]["type"] == "message";
        if value["type"] == "response.output_item.done" {
            value["item"] = done.clone();
        }
        let begins = value["type"] == "response.output_item.added";
        if begins {
            value["item"] = done.clone();
            value["item"]["status"] = json!("in_progress");
            value["item"][if is_message { "content" } else { "arguments" }] =
                if is_message { json!([]) } else { json!("") };
        }
        all.push(value);
        if begins && is_message {
            let part = json!({"type": "output_text", "text": "", "annotations": []});
            all.push(json!({"type": "response.content_part.added", "item_id": "msg_1",
                "output_index": 0, "content_index": 0, "part": part}));
        }
    }
    all.iter_mut().enumerate().for_each(|(number, event)| event["sequence_number"] = json!(number));
    all.iter()
        .map(|event| {
            format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())
        })
        .collect()
}

fn whole(shape: Shape, doing: &Doing) -> Value {
    let usage = json!({"input_tokens": 1, "output_tokens": 1});
    match (shape, doing) {
        (Shape::Messages, doing) => {
            let (block, reason) = match doing {
                Doing::Say(text) => (json!({"type": "text", "text": text}), "end_turn"),
                Doing::Call(name, input) => (
                    json!({"type": "tool_use", "id": "toolu_1", "name": name, "input": input}),
                    "tool_use",
                ),
            };
            json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "made-up",
                "content": [block], "stop_reason": reason, "stop_sequence": null, "usage": usage})
        }
        (Shape::Chat, doing) => {
            let (message, reason) = match doing {
                Doing::Say(text) => (json!({"role": "assistant", "content": text}), "stop"),
                Doing::Call(name, arguments) => (
                    json!({"role": "assistant", "content": null, "tool_calls": [{"id": "call_1",
                        "type": "function",
                        "function": {"name": name, "arguments": arguments.to_string()}}]}),
                    "tool_calls",
                ),
            };
            json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1,
                "model": "made-up", "choices": [{"index": 0, "finish_reason": reason,
                "message": message}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})
        }
        (Shape::Responses, doing) => {
            let item = match doing {
                Doing::Say(text) => message(text),
                Doing::Call(name, arguments) => json!({"type": "function_call", "id": "fc_1",
                    "call_id": "call_1", "name": name, "status": "completed",
                    "arguments": arguments.to_string()}),
            };
            response("resp_1", &json!([item]))
        }
    }
}

fn message(text: &str) -> Value {
    json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

fn response(id: &str, output: &Value) -> Value {
    json!({"id": id, "object": "response", "created_at": 1, "model": "made-up",
        "status": "completed", "output": output, "parallel_tool_calls": true,
        "tool_choice": "auto", "tools": [],
        "usage": {"input_tokens": 1, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 1, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 2}})
}

/// What Codex is told over its WebSocket: code for its freeform tool, then a message.
fn turn_events(turn: &Value) -> Vec<Value> {
    let completed = |id: &str, output: &Value| json!({"type": "response.completed", "response": response(id, output)});
    let mut events = vec![json!({"type": "response.created", "response": {"id": "resp_1"}})];
    if turn["generate"] == false {
        events.push(completed("resp_0", &json!([])));
        return events;
    }
    let placeholder = placeholder(turn).unwrap_or_default();
    if is_after_a_tool(turn) || placeholder.is_empty() {
        let said = format!("All done with {placeholder}.");
        return self::events(&Shape::Responses.text_stream(&pieces(&said)).concat());
    }
    let code = format!(
        "const r = await tools.exec_command({{cmd: \"echo '{placeholder}' > out.txt; cat out.txt\"}}); text(r.output);"
    );
    let item = json!({"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1",
        "name": "exec", "status": "completed", "input": code});
    let mut begun = item.clone();
    begun["input"] = json!("");
    begun["status"] = json!("in_progress");
    events.push(json!({"type": "response.output_item.added", "output_index": 0, "item": begun}));
    for piece in pieces(&code) {
        events.push(json!({"type": "response.custom_tool_call_input.delta", "item_id": "ctc_1",
            "output_index": 0, "delta": piece}));
    }
    events.push(json!({"type": "response.custom_tool_call_input.done", "item_id": "ctc_1",
        "output_index": 0, "input": code}));
    events.push(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
    events.push(completed("resp_1", &json!([item])));
    events
}
