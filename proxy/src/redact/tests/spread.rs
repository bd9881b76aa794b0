//! S: secrets of which one string holds the name or the beginning and the next ones the rest.

use serde_json::{Value, json};

use super::*;

const SECRET: &str = "iHhZBzQKhL7xIedo99CPidqkHpC5S5hw";

/// A key as a list of lines.
const LINES: [&str; 5] = [
    "-----BEGIN RSA PRIVATE KEY-----",
    "MIIEowIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF0PbnGy0AHB7MhgHcTz6sE2I+abc",
    "QIIEowIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF0PbnGy0AHB7MhgHcTz6sE2I+abc",
    "AbCdEf==",
    "-----END RSA PRIVATE KEY-----",
];

/// Asserts that nothing of the key's body leaves in `body`.
fn hides_the_key(dialect: Dialect, media: Media, body: &str) {
    let sent = text_of(&run(dialect, media, body).unwrap());
    for line in &LINES[1..4] {
        assert!(!sent.contains(&line[..6]), "{sent}");
    }
}

#[test]
fn p1_a_key_that_is_a_list_of_lines_is_covered_to_its_end() {
    let blocks = LINES.map(|line| json!({ "type": "text", "text": line }));
    let arguments = json!({ "lines": LINES }).to_string();
    let message = |content: Value| json!({ "messages": [{ "role": "user", "content": content }] });
    for (dialect, body) in [
        (Dialect::Generic, json!(LINES)),
        (Dialect::Generic, json!(LINES.map(|line| format!("{line}\n")))),
        (Dialect::Generic, json!(LINES.map(|line| json!({ "number": 1, "text": line })))),
        (Dialect::Generic, json!({ "a": LINES[0], "b": LINES[1], "c": LINES[2], "d": LINES[3] })),
        (Dialect::Generic, json!([arguments])),
        (Dialect::AnthropicMessages, message(json!(blocks))),
        (
            Dialect::AnthropicMessages,
            message(
                json!([{ "type": "tool_use", "id": "t", "name": "n", "input": { "lines": LINES } }]),
            ),
        ),
        (
            Dialect::OpenAiChat,
            json!({ "messages": [{ "tool_calls": [{ "function": { "arguments": arguments } }] }] }),
        ),
    ] {
        hides_the_key(dialect, Media::Json, &body.to_string());
    }
    let lines = LINES.map(|line| json!({ "line": line }).to_string());
    hides_the_key(Dialect::Generic, Media::JsonLines, &lines.join("\n"));
    hides_the_key(Dialect::Generic, Media::Form, &LINES.map(|line| format!("l={line}")).join("&"));
    let part =
        |line: &str| format!("--b\r\nContent-Disposition: form-data; name=\"l\"\r\n\r\n{line}\r\n");
    let media = Media::Multipart { boundary: "b".to_owned(), is_form: true };
    hides_the_key(Dialect::Generic, media, &format!("{}--b--\r\n", LINES.map(part).concat()));
}

#[test]
fn p1_only_what_looks_like_its_lines_follows_a_key_without_end() {
    let key = "-----BEGIN RSA PRIVATE KEY-----";
    let rest =
        json!(["text", "crates/protocol/src/evidence/verify", "That was it.", "ephemeral", 1]);
    let body = json!([key, rest]).to_string();
    assert_eq!(json(&body), body.replace(key, &placeholder("PEM_BLOCK", key)));
    // Far behind, and behind the end, a line of base64 is nothing special.
    let far = json!([key, vec!["word"; 13], LINES[1]]).to_string();
    assert_eq!(json(&far), far.replace(key, &placeholder("PEM_BLOCK", key)));
    let ended = json!([key, LINES[4], LINES[1]]).to_string();
    assert_eq!(json(&ended), ended.replace(key, &placeholder("PEM_BLOCK", key)));
}

#[test]
fn p10_a_name_in_one_string_announces_the_value_in_the_next() {
    let spelt = placeholder("GENERIC_SECRET", SECRET);
    for body in [
        json!({ "env": [{ "name": "API_KEY", "value": SECRET }] }),
        json!({ "env": [{ "Key": "API_TOKEN", "Value": SECRET, "Source": "x" }] }),
        json!([["accept", "text/html"], ["x-api-key", SECRET]]),
        json!({ "argv": ["run", "--token", SECRET, "-v"] }),
        json!([json!({ "name": "API_KEY", "value": SECRET }).to_string()]),
        json!([format!("  - name: API_KEY\n    value: {SECRET}\n")]),
        json!([format!("<env name=\"API_KEY\" value=\"{SECRET}\"/>")]),
    ] {
        let body = body.to_string();
        assert_eq!(json(&body), body.replace(SECRET, &spelt));
    }
    for body in [
        json!({ "env": [{ "name": "PATH_NAME", "value": SECRET }] }),
        json!({ "env": [{ "name": "API_KEY", "value": "your-key-here" }] }),
        json!({ "env": [{ "name": "API_KEY" }, { "value": SECRET }] }),
        json!(["API_KEY", "word", SECRET]),
    ] {
        assert_eq!(json(&body.to_string()), body.to_string());
    }
}

#[test]
fn p10_a_quoted_value_is_covered_to_its_closing_quote() {
    for value in
        ["Tr0ub4\"dor\\&3 zz9", "a\"Tr0ub4dor3", "Tr0ub4dor\\", "Zq7made\nmore", "a'b\"c`d9!"]
    {
        let whole = placeholder("GENERIC_PASSWORD", value);
        let object = json!({ "password": value, "x": 1 });
        let expected = json!({ "password": whole, "x": 1 });
        assert_eq!(json(&object.to_string()), expected.to_string());
        // As text, the secret is what the text says.
        let spelt = json::encode(value);
        let whole = placeholder("GENERIC_PASSWORD", &spelt);
        let line = |value: &str| format!("log {{\"password\": \"{value}\", \"x\": \"y\"}}");
        let text = json!([line(&spelt)]).to_string();
        assert_eq!(json(&text), json!([line(&whole)]).to_string());
    }
    let path = json!([{ "pwd": "C:\\Users\\me7" }, "PWD=\"C:\\Users\\me7\""]).to_string();
    assert_eq!(json(&path), path);
}

#[test]
fn p10_a_fields_name_announces_its_value_in_a_form_of_parts() {
    let media = || Media::Multipart { boundary: "b".to_owned(), is_form: true };
    let body = |name: &str, value: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n--b--\r\n"
        )
    };
    for (name, value, kind) in [
        ("api_key", SECRET, "GENERIC_SECRET"),
        ("user[password]", "hunter2\"x", "GENERIC_PASSWORD"),
    ] {
        let sent = run(Dialect::Generic, media(), &body(name, value)).unwrap();
        assert_eq!(text_of(&sent), body(name, &placeholder(kind, value)));
    }
    for (name, value) in [("note", SECRET), ("token", "your-token"), ("password", "")] {
        let sent = run(Dialect::Generic, media(), &body(name, value)).unwrap();
        assert_eq!(text_of(&sent), body(name, value));
    }
}
