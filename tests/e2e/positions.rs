//! T2 and T3: no position of a request is a hiding place.

use harness::agent::Agent;
use harness::provider::Provider;
use harness::secrets;
use harness::shape::Shape;
use harness::waterwall::Waterwall;
use serde_json::{Value, json};

/// Sends `body` and demands that it arrives without `secret` and with a placeholder.
async fn is_covered(agent: &Agent, provider: &Provider, url: &str, what: &str, body: Value) {
    let answer = agent.post(url, &body).await;
    assert!(answer.status().is_success(), "{what}: {}", answer.text().await.unwrap_or_default());
    let seen = provider.last();
    assert!(!seen.text().contains(secrets::AWS), "{what}: {}", seen.text());
    assert!(seen.text().contains("<pl:AWS_ACCESS_KEY:"), "{what}: {}", seen.text());
}

#[expect(clippy::too_many_lines, reason = "a table of positions")]
#[tokio::test(flavor = "multi_thread")]
async fn t2_every_position_of_an_anthropic_request_is_covered() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let s = secrets::AWS;
    let user =
        |content: Value| json!({"model": "m", "messages": [{"role": "user", "content": content}]});
    let assistant = |content: Value| json!({"model": "m", "messages": [{"role": "assistant", "content": content}]});
    let with = |key: &str, value: Value| {
        let mut body = user(json!("hi"));
        body[key] = value;
        body
    };
    for (what, body) in [
        ("string content", user(json!(s))),
        ("text block", user(json!([{"type": "text", "text": s}]))),
        ("system string", with("system", json!(s))),
        ("system list", with("system", json!([{"type": "text", "text": s}]))),
        (
            "tool input",
            assistant(json!([{"type": "tool_use", "id": "t", "name": "n", "input": {"a": [s]}}])),
        ),
        // T3: a name that is protocol elsewhere is text in a tool's input.
        (
            "tool input under `user`",
            assistant(json!([{"type": "tool_use", "id": "t", "name": "n", "input": {"user": s}}])),
        ),
        (
            "tool input under `name`",
            assistant(json!([{"type": "tool_use", "id": "t", "name": "n", "input": {"name": s}}])),
        ),
        (
            "tool input under `model`",
            assistant(json!([{"type": "tool_use", "id": "t", "name": "n", "input": {"model": s}}])),
        ),
        (
            "tool input under `signature`",
            assistant(
                json!([{"type": "tool_use", "id": "t", "name": "n", "input": {"signature": s}}]),
            ),
        ),
        (
            "a key of a tool's input",
            assistant(json!([{"type": "tool_use", "id": "t", "name": "n", "input": {s: 1}}])),
        ),
        (
            "tool result string",
            user(json!([{"type": "tool_result", "tool_use_id": "t", "content": s}])),
        ),
        (
            "tool result list",
            user(
                json!([{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": s}]}]),
            ),
        ),
        (
            "tool result that is JSON",
            user(
                json!([{"type": "tool_result", "tool_use_id": "t", "content": json!({"out": format!("\n{s}")}).to_string()}]),
            ),
        ),
        (
            "mcp tool use",
            assistant(
                json!([{"type": "mcp_tool_use", "id": "t", "name": "n", "server_name": "s", "input": {"q": s}}]),
            ),
        ),
        (
            "mcp tool result",
            user(
                json!([{"type": "mcp_tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": s}]}]),
            ),
        ),
        (
            "server tool use",
            assistant(
                json!([{"type": "server_tool_use", "id": "t", "name": "web_search", "input": {"query": s}}]),
            ),
        ),
        (
            "code execution result",
            user(
                json!([{"type": "code_execution_tool_result", "tool_use_id": "t", "content": {"type": "code_execution_result", "stdout": s}}]),
            ),
        ),
        (
            "thinking of an unknown signature",
            assistant(json!([{"type": "thinking", "thinking": s, "signature": "c2ln"}])),
        ),
        (
            "tool description",
            with(
                "tools",
                json!([{"name": "n", "description": s, "input_schema": {"type": "object"}}]),
            ),
        ),
        (
            "tool schema",
            with(
                "tools",
                json!([{"name": "n", "input_schema": {"properties": {"p": {"default": s}}}}]),
            ),
        ),
        ("stop sequence", with("stop_sequences", json!([s]))),
        ("metadata user", with("metadata", json!({"user_id": s}))),
        (
            "document text",
            user(
                json!([{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": s}}]),
            ),
        ),
        (
            "base64 that is none",
            user(
                json!([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": s}}]),
            ),
        ),
        ("a block type nobody knows", user(json!([{"type": "novel", "payload": {"deep": s}}]))),
        ("a field nobody knows", with("novel", json!(s))),
    ] {
        is_covered(&agent, &provider, Shape::Messages.url(), what, body).await;
    }
}

#[expect(clippy::too_many_lines, reason = "a table of positions")]
#[tokio::test(flavor = "multi_thread")]
async fn t2_every_position_of_an_openai_request_is_covered() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let s = secrets::AWS;
    // The two characters `\n` right before a token defeated the original's word boundaries.
    let arguments = json!({"cmd": format!("export KEY=\n{s}")}).to_string();
    let chat = |message: Value| json!({"model": "m", "messages": [message]});
    let call =
        json!({"id": "c", "type": "function", "function": {"name": "n", "arguments": arguments}});
    for (what, body) in [
        ("content", chat(json!({"role": "user", "content": s}))),
        ("content parts", chat(json!({"role": "user", "content": [{"type": "text", "text": s}]}))),
        ("message name", chat(json!({"role": "tool", "tool_call_id": "c", "content": s}))),
        ("tool call arguments", chat(json!({"role": "assistant", "tool_calls": [call]}))),
        (
            "old function call",
            chat(
                json!({"role": "assistant", "function_call": {"name": "n", "arguments": arguments}}),
            ),
        ),
        ("reasoning", chat(json!({"role": "assistant", "content": "x", "reasoning_content": s}))),
        ("user", json!({"model": "m", "user": s, "messages": []})),
        (
            "tools",
            json!({"model": "m", "messages": [], "tools": [{"type": "function", "function": {"name": "n", "description": s}}]}),
        ),
        (
            "response format",
            json!({"model": "m", "messages": [], "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"description": s}}}}),
        ),
        ("stop", json!({"model": "m", "messages": [], "stop": [s]})),
    ] {
        is_covered(&agent, &provider, Shape::Chat.url(), what, body).await;
    }
    let input = |item: Value| json!({"model": "m", "input": [item]});
    for (what, body) in [
        ("input string", json!({"model": "m", "input": s})),
        ("instructions", json!({"model": "m", "instructions": s, "input": "x"})),
        (
            "message",
            input(
                json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": s}]}),
            ),
        ),
        (
            "function call",
            input(
                json!({"type": "function_call", "call_id": "c", "name": "n", "arguments": arguments}),
            ),
        ),
        (
            "function call output",
            input(json!({"type": "function_call_output", "call_id": "c", "output": s})),
        ),
        (
            "custom tool call",
            input(
                json!({"type": "custom_tool_call", "call_id": "c", "name": "exec", "input": format!("await tools.exec({{cmd: '{s}'}})")}),
            ),
        ),
        (
            "custom tool output",
            input(json!({"type": "custom_tool_call_output", "call_id": "c", "output": s})),
        ),
        (
            "additional tools",
            input(json!({"type": "additional_tools", "tools": [{"name": "n", "description": s}]})),
        ),
        (
            "reasoning summary",
            input(
                json!({"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": s}], "encrypted_content": "b3BhcXVl"}),
            ),
        ),
    ] {
        is_covered(&agent, &provider, Shape::Responses.url(), what, body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opaque_fields_pass_in_their_schema_places() {
    // I2, I3: signatures, encrypted reasoning and real images are nobody's secrets.
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let looks_like_a_key = format!("c2ln{}", secrets::AWS);
    let body = json!({"model": "m", "messages": [{"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm", "signature": looks_like_a_key},
        {"type": "redacted_thinking", "data": looks_like_a_key},
    ]}]});
    agent.post_json(Shape::Messages.url(), &body).await;
    assert_eq!(provider.last().json(), body);
    let body = json!({"model": "m", "input": [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": looks_like_a_key},
    ]});
    agent.post_json(Shape::Responses.url(), &body).await;
    assert_eq!(provider.last().json(), body);
}
