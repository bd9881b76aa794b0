//! I12: bodies that are neither JSON nor a prompt: files, forms, batches.

use harness::agent::Agent;
use harness::provider::{Answer, Provider};
use harness::secrets;
use harness::waterwall::Waterwall;
use reqwest::Response;
use serde_json::{Value, json};

const FILES: &str = "https://api.openai.com/v1/files";
const BOUNDARY: &str = "----made-up-boundary-0123456789";

/// One that answers as a provider of files does.
async fn takes_files() -> Provider {
    Provider::start(|_| Answer::json(&json!({"id": "file-1", "object": "file"}))).await
}

/// A multipart body with one file of `content_type`.
fn upload(name: &str, content_type: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
         --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: {content_type}\r\n\r\n"
    );
    [head.as_bytes(), content, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat()
}

async fn send(agent: &Agent, url: &str, content_type: &str, body: Vec<u8>) -> Response {
    let request = agent.client().post(url).header("content-type", content_type).body(body);
    request.send().await.expect("an answer comes")
}

async fn send_file(agent: &Agent, name: &str, content_type: &str, content: &[u8]) -> Response {
    let multipart = format!("multipart/form-data; boundary={BOUNDARY}");
    send(agent, FILES, &multipart, upload(name, content_type, content)).await
}

fn png() -> Vec<u8> {
    [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\r\n--"[..], &[0, 0xff, 0x80, 7].repeat(1000)].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn i12_a_file_of_text_reaches_the_provider_redacted() {
    let provider = takes_files().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    for content_type in ["text/plain", "text/x-python", "application/octet-stream"] {
        let text = format!("KEY = '{}' # é\r\n\n{}\n", secrets::AWS, secrets::PEM);
        let answer = send_file(&agent, "a.py", content_type, text.as_bytes()).await;
        assert!(answer.status().is_success(), "{content_type}");
        let seen = provider.last();
        assert_eq!(seen.headers["content-length"], seen.body.len().to_string());
        let placeholders: Vec<&str> =
            seen.text().match_indices("<pl:").map(|(at, _)| &seen.text()[at..]).collect();
        assert_eq!(placeholders.len(), 2);
        let spelt = |at: usize| &placeholders[at][..=placeholders[at].find('>').expect("an end")];
        let expected = text.replace(secrets::AWS, spelt(0)).replace(secrets::PEM, spelt(1));
        assert_eq!(seen.body, upload("a.py", content_type, expected.as_bytes()));
    }
    assert!(!provider.saw(secrets::AWS) && !provider.saw(secrets::PEM_LINE));
    let verdict = waterwall.verify_chain();
    assert_eq!(verdict.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn i8_i12_a_batch_of_requests_reaches_the_provider_redacted() {
    let provider = takes_files().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let chat = json!({"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body":
        {"model": "m", "messages": [{"role": "user", "content": secrets::GITHUB}]}});
    let responses = json!({"custom_id": "2", "method": "POST", "url": "/v1/responses", "body":
        {"model": "m", "input": [{"type": "reasoning", "encrypted_content": format!("c2ln{}", "QUtJ".repeat(30))},
        {"type": "function_call", "call_id": "c", "name": "n", "arguments": json!({"a": secrets::PEM}).to_string()}]}});
    let batch = format!("{chat}\n{responses}\n");
    let answer = send_file(&agent, "a.jsonl", "application/octet-stream", batch.as_bytes()).await;
    assert!(answer.status().is_success());
    let seen = provider.last();
    let lines: Vec<Value> =
        seen.text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let arguments = &lines[1]["body"]["input"][1]["arguments"];
    let arguments: Value = serde_json::from_str(arguments.as_str().expect("text")).expect("JSON");
    for replaced in [&lines[0]["body"]["messages"][0]["content"], &arguments["a"]] {
        assert!(replaced.as_str().is_some_and(|text| text.starts_with("<pl:")), "{replaced}");
    }
    assert_eq!(lines[1]["body"]["input"][0], responses["body"]["input"][0]);
    let rules: Vec<Value> =
        waterwall.lines("redaction").iter().map(|line| line["redactions"].clone()).collect();
    assert!(format!("{rules:?}").contains("chat.messages.content"), "{rules:?}");

    // A model's name cannot be replaced, here as in a request of its own.
    let batch = batch.replace("\"model\":\"m\"", &format!("\"model\":\"{}\"", secrets::AWS));
    let answer = send_file(&agent, "a.jsonl", "application/jsonl", batch.as_bytes()).await;
    assert_eq!(answer.headers()["x-waterwall-error"], "waterwall-protocol-position");
    assert!(!provider.saw(secrets::AWS) && !provider.saw(secrets::GITHUB));
}

#[tokio::test(flavor = "multi_thread")]
async fn i12_a_picture_passes_byte_for_byte_and_an_archive_does_not() {
    let provider = takes_files().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    assert!(send_file(&agent, "a.png", "image/png", &png()).await.status().is_success());
    assert_eq!(provider.last().body, upload("a.png", "image/png", &png()));
    assert!(send(&agent, FILES, "image/png", png()).await.status().is_success());
    assert_eq!(provider.last().body, png());

    let zip = b"PK\x03\x04\x14\0\0\0\x08\0\xff\xfe\x01";
    for (name, content_type, content, status, code) in [
        ("a.zip", "application/zip", &zip[..], 415, "waterwall-media-unsupported"),
        ("a.bin", "application/octet-stream", zip, 415, "waterwall-media-unsupported"),
        // Nor one that says it is a picture, or text.
        ("a.png", "image/png", zip, 415, "waterwall-media-unsupported"),
        ("a.txt", "text/plain", zip, 415, "waterwall-charset-unsupported"),
        (secrets::AWS, "text/plain", b"x", 502, "waterwall-protocol-position"),
        ("a", "multipart/mixed; boundary=x", b"x", 502, "waterwall-body-unparseable"),
        ("a", "application/json", b"{", 502, "waterwall-body-unparseable"),
    ] {
        let answer = send_file(&agent, name, content_type, content).await;
        assert_eq!(answer.status(), status, "{name} {content_type}");
        assert_eq!(answer.headers()["x-waterwall-error"], code, "{name} {content_type}");
        assert!(!answer.text().await.expect("a body").contains(secrets::AWS));
    }
    let cut = upload("a.txt", "text/plain", secrets::AWS.as_bytes());
    let multipart = format!("multipart/form-data; boundary={BOUNDARY}");
    let answer = send(&agent, FILES, &multipart, cut[..cut.len() - 6].to_vec()).await;
    assert_eq!(answer.headers()["x-waterwall-error"], "waterwall-body-unparseable");
    let answer = send(&agent, FILES, "multipart/form-data", cut).await;
    assert_eq!(answer.headers()["x-waterwall-error"], "waterwall-media-unsupported");
    assert_eq!(provider.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn i12_a_form_reaches_the_provider_redacted() {
    let provider = takes_files().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let escaped: String = secrets::GITHUB.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let body = format!("grant=a+b%21&code={escaped}&note={}", secrets::AWS);
    let url = "https://api.openai.com/oauth/token";
    let answer = send(&agent, url, "application/x-www-form-urlencoded", body.into()).await;
    assert!(answer.status().is_success());
    let seen = provider.last();
    let fields: Vec<&str> = seen.text().split('&').collect();
    assert_eq!(fields[0], "grant=a+b%21");
    assert!(fields[1].starts_with("code=%3Cpl%3AGITHUB_TOKEN%3A"), "{}", fields[1]);
    assert!(fields[2].starts_with("note=%3Cpl%3AAWS_ACCESS_KEY%3A"), "{}", fields[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn q2_an_encoded_secret_never_arrives_and_comes_back_as_it_was() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let hex: String = secrets::GITHUB.bytes().map(|byte| format!("{byte:02x}")).collect();
    // `user:` and AWS's example.
    let text = format!("Basic dXNlcjpBS0lBSU9TRk9ETk43RVhBTVBMRQ== and {hex}");
    for shape in harness::shape::SHAPES {
        let answer = agent.post_json(shape.url(), &shape.request(&text)).await;
        assert!(shape.text_of(&answer).ends_with(&text));
    }
    assert!(!provider.saw("dXNlcjpBS0lBSU9TRk9ETk43RVhBTVBMRQ") && !provider.saw(&hex));
}
