//! OpenAI Chat Completions, as OpenAI, DeepSeek and OpenRouter speak it.

use super::{Class, Fields, Position, arguments, protocol, text};

/// A request.
pub(super) static ROOT: Position = text("chat.other").named(&[
    ("model", protocol("chat.model")),
    ("messages", text("chat.messages").named(MESSAGE)),
    ("tools", text("chat.tools").named(TOOL)),
    ("functions", text("chat.functions").named(FUNCTION)),
    ("tool_choice", protocol("chat.tool_choice").named(TOOL_CHOICE)),
    ("function_call", protocol("chat.function_call").named(NAME)),
    ("response_format", text("chat.response_format").named(RESPONSE_FORMAT)),
    ("service_tier", protocol("chat.service_tier")),
    ("reasoning_effort", protocol("chat.reasoning_effort")),
    ("modalities", protocol("chat.modalities")),
]);

static MESSAGE: Fields = &[
    ("role", protocol("chat.messages.role")),
    ("content", text("chat.messages.content").by_type(PART, PARTS)),
    ("tool_calls", text("chat.messages.tool_calls").named(TOOL_CALL)),
    ("tool_call_id", protocol("chat.messages.tool_call_id")),
    ("function_call", text("chat.messages.function_call").named(CALLED)),
    ("reasoning_details", text("chat.messages.reasoning_details").by_type(DETAIL, DETAILS)),
];

static PART: Fields = &[("type", protocol("chat.content.type"))];

static PARTS: &[(&str, Fields)] = &[
    (
        "image_url",
        &[(
            "image_url",
            Position::new(Class::DataUrl, "chat.content.image_url").named(&[
                ("url", Position::new(Class::DataUrl, "chat.content.image_url")),
                ("detail", protocol("chat.content.image_url.detail")),
            ]),
        )],
    ),
    (
        "input_audio",
        &[(
            "input_audio",
            text("chat.content.input_audio").named(&[
                ("data", Position::new(Class::Media("format"), "chat.content.input_audio.data")),
                ("format", protocol("chat.content.input_audio.format")),
            ]),
        )],
    ),
    (
        "file",
        &[(
            "file",
            text("chat.content.file").named(&[
                ("file_data", Position::new(Class::DataUrl, "chat.content.file.file_data")),
                ("file_id", protocol("chat.content.file.file_id")),
            ]),
        )],
    ),
];

static TOOL_CALL: Fields = &[
    ("id", protocol("chat.tool_calls.id")),
    ("type", protocol("chat.tool_calls.type")),
    ("function", text("chat.tool_calls.function").named(CALLED)),
    ("custom", text("chat.tool_calls.custom").named(NAME)),
];

static CALLED: Fields = &[
    ("name", protocol("chat.function.name")),
    ("arguments", arguments("chat.function.arguments")),
];

static TOOL: Fields = &[
    ("type", protocol("chat.tools.type")),
    ("function", text("chat.tools.function").named(FUNCTION)),
    ("custom", text("chat.tools.custom").named(NAME)),
];

static FUNCTION: Fields = &[
    ("name", protocol("chat.tools.name")),
    ("description", text("chat.tools.description")),
    ("parameters", text("chat.tools.parameters")),
];

static NAME: Fields = &[("name", protocol("chat.function.name"))];

static TOOL_CHOICE: Fields = &[
    ("type", protocol("chat.tool_choice.type")),
    ("function", protocol("chat.tool_choice.function").named(NAME)),
    ("custom", protocol("chat.tool_choice.custom").named(NAME)),
];

static RESPONSE_FORMAT: Fields = &[
    ("type", protocol("chat.response_format.type")),
    (
        "json_schema",
        text("chat.response_format.json_schema")
            .named(&[("name", protocol("chat.response_format.name"))]),
    ),
];

static DETAIL: Fields = &[
    ("type", protocol("chat.reasoning_details.type")),
    ("id", protocol("chat.reasoning_details.id")),
    ("format", protocol("chat.reasoning_details.format")),
];

static DETAILS: &[(&str, Fields)] = &[
    (
        "reasoning.encrypted",
        &[("data", Position::new(Class::Opaque, "chat.reasoning_details.data"))],
    ),
    (
        "reasoning.text",
        &[("signature", Position::new(Class::Opaque, "chat.reasoning_details.signature"))],
    ),
];
