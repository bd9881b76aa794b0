//! What a string is, told by its place in a provider's schema and never by its name alone (T3).

use super::scan::Place;
use super::tree::{Id, Shape, Tree};

/// Where in a body a value stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    /// How its strings are restored.
    pub(super) place: Place,
    /// Inside data of the user's or a tool's own shape, where no name means anything to us.
    free: bool,
}

impl Context {
    pub(super) const BODY: Self = Self { place: Place::TEXT, free: false };

    const fn free(place: Place) -> Self {
        Self { place, free: true }
    }

    const fn fixed(place: Place) -> Self {
        Self { place, free: false }
    }
}

/// An object, as far as its members' meaning depends on it.
pub(super) struct Object<'t> {
    context: Context,
    kind: String,
    named: bool,
    /// The name it is a member by, itself or the array around it.
    role: &'t [u8],
}

impl<'t> Object<'t> {
    pub(super) fn read(tree: &Tree<'_>, id: Id, role: &'t [u8], context: Context) -> Self {
        let kind = tree.string(id, "type").unwrap_or_default();
        let kind = String::from_utf8_lossy(&kind).into_owned();
        Self { context, kind, named: tree.member(id, "name").is_some(), role }
    }

    /// Whether this is a thinking block that carries its provider's signature.
    pub(super) fn is_thinking(&self) -> bool {
        !self.context.free && self.kind == "thinking"
    }

    /// The context of the member called `key`, or `None` where it goes as it is: an identifier or
    /// name that the agent looks up (T8), or bytes that only the provider can read.
    pub(super) fn member(&self, key: &[u8], shape: Shape) -> Option<Context> {
        if self.context.free {
            return Some(self.context);
        }
        if shape == Shape::String && (self.is_identity(key) || self.is_opaque(key)) {
            return None;
        }
        Some(match key {
            b"arguments" if shape == Shape::String && self.has_arguments() => {
                Context::fixed(Place::ARGUMENTS)
            }
            b"partial_json" if self.kind == "input_json_delta" => Context::fixed(Place::ARGUMENTS),
            b"arguments" | b"input" | b"action" | b"actions" | b"operation" | b"code"
                if self.is_call() =>
            {
                Context::free(Place::TOOL)
            }
            b"metadata" | b"parsed" => Context::free(Place::TEXT),
            _ => Context::fixed(Place::TEXT),
        })
    }

    fn is_call(&self) -> bool {
        ["_use", "_call", "_request"].iter().any(|end| self.kind.ends_with(end))
            || matches!(self.kind.as_str(), "function" | "custom")
            || matches!(self.role, b"function" | b"function_call" | b"custom" | b"tool_calls")
            || self.is_response_event()
    }

    fn is_response_event(&self) -> bool {
        self.kind.starts_with("response.")
    }

    fn has_arguments(&self) -> bool {
        self.is_call() || self.named || self.kind.contains("arguments")
    }

    fn is_identity(&self, key: &[u8]) -> bool {
        let answers = ["_result", "_output"].iter().any(|end| self.kind.ends_with(end));
        (self.is_call() || answers)
            && matches!(
                key,
                b"id"
                    | b"name"
                    | b"call_id"
                    | b"tool_use_id"
                    | b"tool_call_id"
                    | b"item_id"
                    | b"server_name"
                    | b"server_label"
                    | b"namespace"
            )
    }

    fn is_opaque(&self, key: &[u8]) -> bool {
        match key {
            b"signature" => {
                matches!(self.kind.as_str(), "thinking" | "signature_delta" | "reasoning.text")
            }
            b"data" => matches!(self.kind.as_str(), "redacted_thinking" | "reasoning.encrypted"),
            b"encrypted_content" => {
                matches!(self.kind.as_str(), "reasoning" | "web_search_result")
                    || self.kind.starts_with("compaction")
            }
            b"encrypted_index" => self.kind == "web_search_result_location",
            _ => false,
        }
    }
}
