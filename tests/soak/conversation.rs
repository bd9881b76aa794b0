//! A conversation as it grows, in the words of its API.

use harness::shape::Shape;
use serde_json::{Value, json};

use crate::turn::Plan;

/// Bytes of text after which a conversation ends.
const LONG: usize = 200_000;

/// What was said so far.
#[derive(Debug)]
pub(crate) struct Conversation {
    shape: Shape,
    said: Vec<Value>,
    length: usize,
}

impl Conversation {
    /// One in which nothing was said.
    pub(crate) fn new(shape: Shape) -> Self {
        Self { shape, said: Vec::new(), length: 0 }
    }

    /// Its API.
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Whether it is time for another one.
    pub(crate) fn is_long(&self) -> bool {
        self.length > LONG || self.said.len() > 60
    }

    /// The request of a user who says `text`, after all that was said before, or without it.
    pub(crate) fn request(&self, text: &str, whole: bool) -> Value {
        let mut request = self.shape.request(text);
        let list = if self.shape == Shape::Responses { "input" } else { "messages" };
        if whole && let Some(messages) = request[list].as_array_mut() {
            messages.splice(0..0, self.said.iter().cloned());
        }
        request
    }

    /// Takes in a turn that ended well.
    pub(crate) fn went_on(&mut self, plan: &Plan) {
        let (text, arguments) = (&plan.text, plan.arguments());
        self.length += 2 * text.len();
        self.said.push(json!({"role": "user", "content": text}));
        let id = format!("call_{}", self.said.len());
        let said = match (self.shape, plan.tool) {
            (Shape::Messages, true) => vec![
                json!({"role": "assistant", "content": [
                    {"type": "tool_use", "id": id, "name": "write", "input": arguments}]}),
                json!({"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": id, "content": text}]}),
            ],
            (Shape::Chat, true) => vec![
                json!({"role": "assistant", "tool_calls": [{"id": id, "type": "function",
                    "function": {"name": "write", "arguments": arguments.to_string()}}]}),
                json!({"role": "tool", "tool_call_id": id, "content": text}),
            ],
            (Shape::Responses, true) => vec![
                json!({"type": "function_call", "call_id": id, "name": "write",
                    "arguments": arguments.to_string()}),
                json!({"type": "function_call_output", "call_id": id, "output": text}),
            ],
            (_, false) => vec![json!({"role": "assistant", "content": text})],
        };
        self.said.extend(said);
    }
}
