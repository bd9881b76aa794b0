//! Anthropic Messages, `count_tokens`, and batches of messages.

use super::{Class, Fields, Position, protocol, text};

/// A request, or a batch of them.
pub(super) static ROOT: Position = text("anthropic.other").named_in_either(REQUEST, BATCH);

static REQUEST: Fields = &[
    ("model", protocol("anthropic.model")),
    ("system", text("anthropic.system").by_type(BLOCK, BLOCKS)),
    ("messages", text("anthropic.messages").named(MESSAGE)),
    ("tools", text("anthropic.tools").named(TOOL)),
    ("tool_choice", protocol("anthropic.tool_choice").named(TOOL_CHOICE)),
    ("thinking", text("anthropic.thinking").named(TYPED)),
    (
        "container",
        protocol("anthropic.container").named(&[("id", protocol("anthropic.container"))]),
    ),
    ("service_tier", protocol("anthropic.service_tier")),
    ("anthropic_version", protocol("anthropic.anthropic_version")),
    ("anthropic_beta", protocol("anthropic.anthropic_beta")),
];

static BATCH: Fields = &[("requests", text("anthropic.requests").named(BATCH_ITEM))];

static BATCH_ITEM: Fields = &[
    ("custom_id", protocol("anthropic.requests.custom_id")),
    ("params", text("anthropic.other").named(REQUEST)),
];

static MESSAGE: Fields = &[
    ("role", protocol("anthropic.messages.role")),
    ("content", text("anthropic.messages.content").by_type(BLOCK, BLOCKS_OF_MESSAGES)),
];

static TYPED: Fields = &[("type", protocol("anthropic.type"))];

/// What every content block has.
static BLOCK: Fields = &[
    ("type", protocol("anthropic.block.type")),
    ("cache_control", text("anthropic.block.cache_control").named(TYPED)),
];

/// Content blocks that only a message has, besides [`BLOCKS`].
static BLOCKS_OF_MESSAGES: &[(&str, Fields)] = &[
    (
        "thinking",
        &[
            ("thinking", Position::new(Class::Thinking, "anthropic.thinking.thinking")),
            ("signature", Position::new(Class::Opaque, "anthropic.thinking.signature")),
        ],
    ),
    (
        "redacted_thinking",
        &[("data", Position::new(Class::Opaque, "anthropic.redacted_thinking.data"))],
    ),
    ("tool_use", TOOL_USE),
    ("server_tool_use", TOOL_USE),
    ("mcp_tool_use", TOOL_USE),
    ("tool_result", TOOL_RESULT),
    ("mcp_tool_result", TOOL_RESULT),
    ("web_search_tool_result", WEB_RESULT),
    ("web_fetch_tool_result", TOOL_RESULT),
    ("code_execution_tool_result", TOOL_RESULT),
    ("bash_code_execution_tool_result", TOOL_RESULT),
    ("text_editor_code_execution_tool_result", TOOL_RESULT),
    ("text", TEXT),
    ("image", IMAGE),
    ("document", DOCUMENT),
];

/// Content blocks that also stand in system prompts and tool results.
static BLOCKS: &[(&str, Fields)] = &[("text", TEXT), ("image", IMAGE), ("document", DOCUMENT)];

static TEXT: Fields = &[
    ("text", text("anthropic.text.text")),
    ("citations", text("anthropic.text.citations").by_type(TYPED, CITATIONS)),
];

static CITATIONS: &[(&str, Fields)] = &[(
    "web_search_result_location",
    &[("encrypted_index", Position::new(Class::Opaque, "anthropic.text.encrypted_index"))],
)];

static TOOL_USE: Fields = &[
    ("id", protocol("anthropic.tool_use.id")),
    ("name", protocol("anthropic.tool_use.name")),
    ("input", text("anthropic.tool_use.input")),
];

static TOOL_RESULT: Fields = &[
    ("tool_use_id", protocol("anthropic.tool_result.tool_use_id")),
    ("content", text("anthropic.tool_result.content").by_type(BLOCK, BLOCKS)),
];

static WEB_RESULT: Fields = &[
    ("tool_use_id", protocol("anthropic.tool_result.tool_use_id")),
    (
        "content",
        text("anthropic.web_search.content").by_type(
            BLOCK,
            &[(
                "web_search_result",
                &[(
                    "encrypted_content",
                    Position::new(Class::Opaque, "anthropic.web_search.encrypted_content"),
                )],
            )],
        ),
    ),
];

static DOCUMENT: Fields = &[(
    "source",
    text("anthropic.source").by_type(
        TYPED,
        &[
            BASE64,
            FILE,
            ("content", &[("content", text("anthropic.source.content").by_type(BLOCK, PARTS))]),
        ],
    ),
)];

/// What a document is made of: no further document.
static PARTS: &[(&str, Fields)] = &[("text", TEXT), ("image", IMAGE)];

static IMAGE: Fields = &[("source", text("anthropic.source").by_type(TYPED, &[BASE64, FILE]))];

const BASE64: (&str, Fields) = (
    "base64",
    &[
        ("media_type", protocol("anthropic.source.media_type")),
        ("data", Position::new(Class::Media("media_type"), "anthropic.source.data")),
    ],
);

const FILE: (&str, Fields) = ("file", &[("file_id", protocol("anthropic.source.file_id"))]);

static TOOL: Fields = &[
    ("name", protocol("anthropic.tools.name")),
    ("type", protocol("anthropic.tools.type")),
    ("cache_control", text("anthropic.tools.cache_control").named(TYPED)),
];

static TOOL_CHOICE: Fields = &[
    ("type", protocol("anthropic.tool_choice.type")),
    ("name", protocol("anthropic.tool_choice.name")),
];
