//! Requests that may not leave.

use harness::provider::Provider;
use harness::raw::{Raw, Reply, post, with_headers};
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::{Waterwall, eventually};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::page::row;
use super::{HOST, PATH};

const JSON: &str = "content-type: application/json\r\n";

/// Sends `bytes`, which must not arrive.
async fn kept(waterwall: &Waterwall, provider: &Provider, bytes: Vec<u8>) -> Reply {
    let reply = Raw::new(waterwall).send(HOST, bytes).await;
    assert!(provider.seen().is_empty());
    assert!(!reply.text().contains(secrets::AWS), "{reply:?}");
    reply
}

fn message(text: &str) -> String {
    SHAPES[0].request(text).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn body_over_the_cap() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start_with(&provider, "limits:\n  body_mib: 1\n");
    let text = format!("{} {}", "x".repeat(1 << 20), secrets::AWS);
    let plain = post(HOST, PATH, &message(&text));
    let small = harness::coding::encode(message(&text).as_bytes(), "gzip");
    let bomb = with_headers(HOST, PATH, &format!("{JSON}content-encoding: gzip\r\n"), &small);
    for bytes in [plain, bomb] {
        let reply = kept(&waterwall, &provider, bytes).await;
        row("body_over_the_cap").holds_inside(&waterwall, &reply);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn body_undecodable() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let body = message(secrets::AWS);
    for coding in ["made-up", "gzip", "gzip, made-up", "zstd"] {
        let lines = format!("{JSON}content-encoding: {coding}\r\n");
        let bytes = with_headers(HOST, PATH, &lines, body.as_bytes());
        let reply = kept(&waterwall, &provider, bytes).await;
        row("body_undecodable").holds_inside(&waterwall, &reply);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn body_not_utf_8() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let declared = "content-type: application/json; charset=utf-16\r\n";
    let body = [&b"{\"a\":\"\xff"[..], secrets::AWS.as_bytes(), b"\"}"].concat();
    for (lines, body) in [(declared, message(secrets::AWS).into_bytes()), (JSON, body)] {
        let reply = kept(&waterwall, &provider, with_headers(HOST, PATH, lines, &body)).await;
        row("body_not_utf_8").holds_inside(&waterwall, &reply);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn body_of_a_type_that_is_not_scanned() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let lines = "content-type: application/octet-stream\r\n";
    let bytes = with_headers(HOST, PATH, lines, secrets::AWS.as_bytes());
    let reply = kept(&waterwall, &provider, bytes).await;
    row("body_of_a_type_that_is_not_scanned").holds_inside(&waterwall, &reply);
}

#[tokio::test(flavor = "multi_thread")]
async fn body_unscannable() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let cut = format!("{{\"a\":\"{}\"", secrets::AWS);
    let deep = format!("{}\"{}\"{}", "[".repeat(200), secrets::AWS, "]".repeat(200));
    for body in [cut, deep] {
        let reply = kept(&waterwall, &provider, post(HOST, PATH, &body)).await;
        row("body_unscannable").holds_inside(&waterwall, &reply);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn body_costly_to_scan() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let body = "-eyJaaaaaaaaaa".repeat(100_000);
    let bytes = with_headers(HOST, PATH, "content-type: text/plain\r\n", body.as_bytes());
    let reply = kept(&waterwall, &provider, bytes).await;
    row("body_costly_to_scan").holds_inside(&waterwall, &reply);
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_in_the_head() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let query = format!("{PATH}?key={}", secrets::AWS);
    let lines = format!("{JSON}x-note: {}\r\n", secrets::AWS);
    for bytes in [post(HOST, &query, "{}"), with_headers(HOST, PATH, &lines, b"{}")] {
        let reply = kept(&waterwall, &provider, bytes).await;
        row("secret_in_the_head").holds_inside(&waterwall, &reply);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_in_a_protocol_position() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let mut body = SHAPES[0].request("hi");
    body["model"] = json!(secrets::AWS);
    let reply = kept(&waterwall, &provider, post(HOST, PATH, &body.to_string())).await;
    row("secret_in_a_protocol_position").holds_inside(&waterwall, &reply);
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_that_the_policy_blocks() {
    let provider = Provider::echo().await;
    let mut waterwall = Waterwall::lay_out(&provider, "");
    let pattern = "patterns:\n  - {type: AWS_ACCESS_KEY, action: block}\n";
    std::fs::write(waterwall.path("etc/patterns.yaml"), pattern).expect("the home can be written");
    waterwall.up();
    let reply = kept(&waterwall, &provider, post(HOST, PATH, &message(secrets::AWS))).await;
    row("secret_that_the_policy_blocks").holds_inside(&waterwall, &reply);
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_in_a_signed_request() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let lines = format!("{JSON}authorization: AWS4-HMAC-SHA256 Signature=0\r\n");
    let bytes = with_headers(HOST, PATH, &lines, message(secrets::AWS).as_bytes());
    let reply = kept(&waterwall, &provider, bytes).await;
    row("secret_in_a_signed_request").holds_inside(&waterwall, &reply);
}

#[tokio::test(flavor = "multi_thread")]
async fn websocket_off() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let upgrade = format!(
        "GET /v1/responses HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let reply = kept(&waterwall, &provider, upgrade.into_bytes()).await;
    row("websocket_off").holds_inside(&waterwall, &reply);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_contradict_each_other() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let reply = kept(&waterwall, &provider, post("api.openai.com", PATH, "{}")).await;
    row("names_that_contradict_each_other").holds_inside(&waterwall, &reply);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connect_to_a_name() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let raw = Raw::new(&waterwall);
    for target in ["127.0.0.1:443", "[::1]:443", "api.anthropic.com:8443"] {
        let (reply, _) = raw.connect(target).await;
        row("no_connect_to_a_name").holds_at_connect(&waterwall, &reply);
    }
    let reply = raw.say(format!("GET http://{HOST}/ HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    row("no_connect_to_a_name").holds_at_connect(&waterwall, &reply);
}

#[tokio::test(flavor = "multi_thread")]
async fn host_not_permitted() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let (reply, _) = Raw::new(&waterwall).connect("packages.example:443").await;
    row("host_not_permitted").holds_at_connect(&waterwall, &reply);
    let message = reply.json()["error"]["message"].to_string();
    for part in ["packages.example", "hosts:", "tunnel:", "permitted_hosts.yaml"] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_gone_within_its_body() {
    let row = row("client_gone_within_its_body");
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let bytes = post(HOST, PATH, &message(secrets::AWS));
    let raw = Raw::new(&waterwall);
    let target = format!("{HOST}:443");
    let mut tls = raw.tls(&target, HOST, &[]).await.expect("a handshake");
    tls.write_all(&bytes[..bytes.len() - 1]).await.expect("it is taken");
    tls.flush().await.expect("it is taken");
    eventually("its connection is there", || connections(&waterwall) == 1);
    drop(tls);
    eventually("its connection is gone", || connections(&waterwall) == 0);
    row.is_on_record(&waterwall);
    assert!(provider.seen().is_empty());
    assert!(waterwall.lines("redaction").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn client_gone_before_the_answer() {
    let row = row("client_gone_before_the_answer");
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    let script = go.clone();
    let provider = Provider::start(move |_| {
        let wait = harness::provider::Step::Wait(script.clone());
        harness::provider::Answer::stream(vec![wait])
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let raw = Raw::new(&waterwall);
    let target = format!("{HOST}:443");
    let mut tls = raw.tls(&target, HOST, &[]).await.expect("a handshake");
    tls.write_all(&post(HOST, PATH, &message(secrets::AWS))).await.expect("it is taken");
    tls.flush().await.expect("it is taken");
    eventually("it arrived", || provider.seen().len() == 1);
    drop(tls);
    row.is_on_record(&waterwall);
    eventually("its connection is gone", || connections(&waterwall) == 0);
    assert!(!provider.saw(secrets::AWS));
}

fn connections(waterwall: &Waterwall) -> u64 {
    let status = waterwall.status();
    status["proxy"]["counters"]["connections"].as_u64().expect("a count")
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_invalid_at_reload() {
    let row = row("policy_invalid_at_reload");
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let pattern = "patterns:\n  - {type: lower_case, regex: 'x{9}', examples: [xxxxxxxxx]}\n";
    std::fs::write(waterwall.path("etc/patterns.yaml"), pattern).expect("the home can be written");
    let reload = waterwall.ctl(&["reload"]);
    assert!(!reload.status.success());
    row.is_on_record(&waterwall);
    assert_eq!(super::send(&waterwall).await.status, 200);
    assert!(!provider.saw(secrets::AWS));
}
