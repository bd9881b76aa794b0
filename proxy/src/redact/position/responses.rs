//! OpenAI Responses, over HTTP and as WebSocket messages.

use super::{Class, Fields, Position, arguments, protocol, text};

/// A request.
pub(super) static ROOT: Position = text("responses.other").named(&[
    ("type", protocol("responses.type")),
    ("model", protocol("responses.model")),
    ("instructions", text("responses.instructions")),
    ("input", text("responses.input").by_type(ITEM, ITEMS)),
    // What a conversation is made of.
    ("items", text("responses.input").by_type(ITEM, ITEMS)),
    ("previous_response_id", protocol("responses.previous_response_id")),
    ("conversation", protocol("responses.conversation").named(ID)),
    ("tools", text("responses.tools").named(TOOL)),
    ("tool_choice", protocol("responses.tool_choice").named(TOOL)),
    (
        "text",
        text("responses.text").named(&[("format", text("responses.text.format").named(FORMAT))]),
    ),
    ("reasoning", text("responses.reasoning").named(REASONING)),
    ("include", protocol("responses.include")),
    ("service_tier", protocol("responses.service_tier")),
    ("truncation", protocol("responses.truncation")),
    ("prompt", text("responses.prompt").named(ID)),
]);

static ID: Fields = &[("id", protocol("responses.id"))];

static REASONING: Fields = &[
    ("effort", protocol("responses.reasoning.effort")),
    ("summary", protocol("responses.reasoning.summary")),
];

static FORMAT: Fields = &[
    ("type", protocol("responses.text.format.type")),
    ("name", protocol("responses.text.format.name")),
];

static TOOL: Fields = &[
    ("type", protocol("responses.tools.type")),
    ("name", protocol("responses.tools.name")),
    ("description", text("responses.tools.description")),
    ("parameters", text("responses.tools.parameters")),
];

/// What every item has. One without a type is a message.
static ITEM: Fields = &[
    ("type", protocol("responses.input.type")),
    ("id", protocol("responses.input.id")),
    ("status", protocol("responses.input.status")),
    ("role", protocol("responses.input.role")),
    ("content", text("responses.input.content").by_type(PART, PARTS)),
];

static ITEMS: &[(&str, Fields)] = &[
    (
        "function_call",
        &[
            ("call_id", protocol("responses.function_call.call_id")),
            ("name", protocol("responses.function_call.name")),
            ("arguments", arguments("responses.function_call.arguments")),
        ],
    ),
    ("function_call_output", OUTPUT),
    (
        "custom_tool_call",
        &[
            ("call_id", protocol("responses.custom_tool_call.call_id")),
            ("name", protocol("responses.custom_tool_call.name")),
            ("namespace", protocol("responses.custom_tool_call.namespace")),
            ("input", text("responses.custom_tool_call.input")),
        ],
    ),
    ("custom_tool_call_output", OUTPUT),
    ("local_shell_call", &[("call_id", protocol("responses.local_shell_call.call_id"))]),
    ("local_shell_call_output", OUTPUT),
    ("computer_call", &[("call_id", protocol("responses.computer_call.call_id"))]),
    ("computer_call_output", OUTPUT),
    (
        "mcp_call",
        &[
            ("name", protocol("responses.mcp_call.name")),
            ("server_label", protocol("responses.mcp_call.server_label")),
            ("arguments", arguments("responses.mcp_call.arguments")),
            ("output", text("responses.mcp_call.output")),
        ],
    ),
    ("reasoning", ENCRYPTED),
    ("compaction", ENCRYPTED),
    ("additional_tools", &[("tools", text("responses.additional_tools.tools").named(TOOL))]),
];

static OUTPUT: Fields = &[
    ("call_id", protocol("responses.call_output.call_id")),
    ("output", text("responses.call_output.output").by_type(PART, PARTS)),
];

static ENCRYPTED: Fields =
    &[("encrypted_content", Position::new(Class::Opaque, "responses.reasoning.encrypted_content"))];

static PART: Fields = &[("type", protocol("responses.content.type"))];

static PARTS: &[(&str, Fields)] =
    &[("input_image", MEDIA_PART), ("computer_screenshot", MEDIA_PART), ("input_file", MEDIA_PART)];

static MEDIA_PART: Fields = &[
    ("image_url", Position::new(Class::DataUrl, "responses.content.image_url")),
    ("file_data", Position::new(Class::DataUrl, "responses.content.file_data")),
    ("file_id", protocol("responses.content.file_id")),
    ("detail", protocol("responses.content.detail")),
];
