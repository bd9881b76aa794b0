//! The provider: answers with what it was told, as wrongly as it was told to, and looks out for secrets.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use harness::agent::events;
use harness::coding;
use harness::provider::{Answer, Seen, Step, last_text};
use harness::shape::Shape;
use harness::socket::Say;
use serde_json::{Value, json};

use crate::secret::Marks;
use crate::turn::Fault;

/// What a provider noticed.
#[derive(Debug)]
pub(crate) struct Lookout {
    marks: Marks,
    /// Plaintext, with what stood around it.
    pub(crate) leaks: Mutex<Vec<String>>,
    /// Requests and messages that came.
    pub(crate) came: AtomicU64,
    /// Those of them that held placeholders.
    pub(crate) masked: AtomicU64,
}

impl Lookout {
    pub(crate) fn new() -> Self {
        Self {
            marks: Marks::new(),
            leaks: Mutex::default(),
            came: AtomicU64::new(0),
            masked: AtomicU64::new(0),
        }
    }

    fn look(&self, bytes: &[u8]) {
        if let Some(around) = self.marks.find(bytes) {
            self.leaks.lock().expect("nobody panics while it holds this").push(around);
        }
    }

    fn count(&self, body: &str) {
        self.came.fetch_add(1, Ordering::Relaxed);
        self.masked.fetch_add(u64::from(has_ours(body)), Ordering::Relaxed);
    }

    /// The answer to a request.
    pub(crate) fn answer(&self, seen: &Seen) -> Answer {
        self.look(seen.path.as_bytes());
        self.look(&seen.body);
        for value in seen.headers.values() {
            self.look(value.as_bytes());
        }
        let body = String::from_utf8_lossy(&seen.body);
        self.count(&body);
        let request: Value = serde_json::from_str(&body).unwrap_or_default();
        let Some(shape) = Shape::of(&seen.path) else {
            return Answer::json(&json!({"error": {"message": "no such path"}})).status(404);
        };
        answer(shape, &request)
    }

    /// What is said to a message.
    pub(crate) fn talk(&self, message: &str) -> Vec<Say> {
        self.look(message.as_bytes());
        self.count(message);
        talk(&serde_json::from_str(message).unwrap_or_default())
    }
}

/// Whether `body` holds a placeholder: `<pl:TYPE:` and hex digits, which no text of a client does.
fn has_ours(body: &str) -> bool {
    body.match_indices("<pl:").any(|(at, _)| {
        let mut parts = body[at + 4..].split(':');
        let kind = parts.next().unwrap_or_default();
        let tag = parts.next().unwrap_or_default();
        kind.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit())
            && tag.bytes().take_while(u8::is_ascii_hexdigit).count() == 16
    })
}

fn fault(request: &Value) -> Fault {
    Fault::of(request["x_soak"]["fault"].as_str().unwrap_or_default())
}

/// The pieces that `text` comes in.
fn pieces<'t>(request: &Value, text: &'t str) -> Vec<&'t str> {
    let cuts = request["x_soak"]["cuts"].as_array().into_iter().flatten();
    let mut cuts: Vec<usize> = cuts
        .filter_map(|cut| usize::try_from(cut.as_u64()?).ok())
        .map(|cut| (0..=text.len() * cut / 1000).rev().find(|at| text.is_char_boundary(*at)))
        .map(|cut| cut.unwrap_or(0))
        .collect();
    cuts.sort_unstable();
    cuts.push(text.len());
    let mut from = 0;
    cuts.iter().map(|cut| &text[std::mem::replace(&mut from, *cut)..*cut]).collect()
}

/// The events that say what the request's last message said.
fn said(shape: Shape, request: &Value) -> Vec<String> {
    let text = last_text(request);
    if request["x_soak"]["tool"] == true {
        let arguments = json!({"cmd": text}).to_string();
        shape.tool_stream(&pieces(request, &arguments))
    } else {
        shape.text_stream(&pieces(request, &text))
    }
}

fn answer(shape: Shape, request: &Value) -> Answer {
    match fault(request) {
        Fault::NoAnswer => Answer::none(),
        Fault::Status => {
            let message = format!("cannot take {}", last_text(request));
            Answer::json(&json!({"error": {"type": "overloaded_error", "message": message}}))
                .status(if request["x_soak"]["pause"].as_u64() > Some(100) { 503 } else { 529 })
        }
        Fault::Garbage if request["stream"] == true => Answer::stream(
            ["data: {\"half", "\n\n\0\u{7f}event::: <pl:AWS_ACC", "\ndata\n\ndata: [DONE]\n\n"]
                .map(Step::send)
                .to_vec(),
        ),
        Fault::Garbage => Answer::whole("application/json", b"<html>no JSON <pl:AWS_ACC".to_vec()),
        fault if request["stream"] == true => stream(fault, shape, request),
        fault => whole(fault, shape, request),
    }
}

fn stream(fault: Fault, shape: Shape, request: &Value) -> Answer {
    let events = said(shape, request);
    let coded = request["x_soak"]["coding"] == "gzip" && fault != Fault::Slow;
    let mut steps: Vec<Step> = if coded {
        coding::gzip_pieces(&events).into_iter().map(Step::send).collect()
    } else {
        events.into_iter().map(Step::send).collect()
    };
    match fault {
        Fault::Cut => {
            let pause = request["x_soak"]["pause"].as_u64().and_then(|at| at.try_into().ok());
            // Never all of it.
            steps.truncate(pause.unwrap_or(0) % (steps.len() - 1));
            steps.push(Step::HangUp);
        }
        Fault::Corrupt => {
            steps.truncate(2);
            steps.push(Step::send([0xff; 40]));
        }
        Fault::Slow => {
            let pause = Duration::from_millis(request["x_soak"]["pause"].as_u64().unwrap_or(0));
            steps = steps.into_iter().flat_map(|step| [step, Step::Pause(pause)]).collect();
        }
        _ => {}
    }
    let answer = Answer::stream(steps);
    if coded || fault == Fault::Corrupt {
        answer.header("content-encoding", "gzip")
    } else {
        answer
    }
}

fn whole(fault: Fault, shape: Shape, request: &Value) -> Answer {
    let text = last_text(request);
    let arguments = json!({"cmd": text});
    let body = match (shape, request["x_soak"]["tool"] == true) {
        (Shape::Messages, false) => json!({"content": [{"type": "text", "text": text}]}),
        (Shape::Messages, true) => json!({"content": [{"type": "tool_use", "id": "toolu_1",
            "name": "write", "input": arguments}]}),
        (Shape::Chat, false) => json!({"choices": [{"index": 0, "message": {"content": text}}]}),
        (Shape::Chat, true) => json!({"choices": [{"index": 0, "message": {"tool_calls": [{
            "id": "call_1", "type": "function",
            "function": {"name": "write", "arguments": arguments.to_string()}}]}}]}),
        (Shape::Responses, false) => json!({"output": [{"type": "message", "id": "msg_1",
            "content": [{"type": "output_text", "text": text}]}]}),
        (Shape::Responses, true) => json!({"output": [{"type": "function_call", "id": "fc_1",
            "call_id": "call_1", "name": "write", "arguments": arguments.to_string()}]}),
    };
    let body = body.to_string().into_bytes();
    let codings = request["x_soak"]["coding"].as_str();
    let bytes = codings.map_or_else(|| body.clone(), |codings| coding::encode(&body, codings));
    let half = bytes.len() / 2;
    let answer = match fault {
        Fault::Cut => Answer::stream(vec![Step::send(&bytes[..half]), Step::HangUp]),
        Fault::Slow => {
            let pause = Duration::from_millis(request["x_soak"]["pause"].as_u64().unwrap_or(0));
            let (start, rest) = bytes.split_at(half);
            Answer::stream(vec![Step::send(start), Step::Pause(pause), Step::send(rest)])
        }
        Fault::Corrupt => Answer::whole("application/json", [&bytes[..half], b"\xff"].concat()),
        _ => Answer::whole("application/json", bytes),
    };
    let answer = answer.header("content-type", "application/json");
    match (codings, fault) {
        (Some(codings), _) => answer.header("content-encoding", codings),
        (None, Fault::Corrupt) => answer.header("content-encoding", "zstd"),
        (None, _) => answer,
    }
}

fn talk(turn: &Value) -> Vec<Say> {
    let events = events(&said(Shape::Responses, turn).concat());
    let mut says: Vec<Say> = events.iter().map(Say::event).collect();
    match fault(turn) {
        Fault::None | Fault::Slow => {}
        Fault::NoAnswer => says = vec![Say::HangUp],
        Fault::Cut => {
            says.truncate(3);
            says.push(Say::HangUp);
        }
        Fault::Status => {
            says.truncate(2);
            says.push(Say::Close(1011, "cannot".into()));
        }
        Fault::Garbage => {
            says.truncate(2);
            says.push(Say::Binary(vec![1, 2, 3]));
        }
        Fault::Corrupt => {
            says.truncate(2);
            // A text frame of reserved bits and no UTF-8.
            says.push(Say::Raw(vec![0xf1, 0x02, 0xff, 0xfe]));
        }
    }
    says
}
