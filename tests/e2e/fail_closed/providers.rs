//! Faults of a provider.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use harness::agent::Agent;
use harness::provider::{Answer, Provider, Step, last_text};
use harness::raw::{Raw, RawProvider, Reply, post};
use harness::secrets;
use harness::shape::SHAPES;
use harness::socket::{Say, open};
use harness::waterwall::Waterwall;
use serde_json::json;

use super::page::row;
use super::{HOST, PATH, send, start_edited};

const HOSTS: &str = "etc/permitted_hosts.yaml";

#[tokio::test(flavor = "multi_thread")]
async fn upstream_certificate_bad() {
    let provider = Provider::echo().await;
    let waterwall = start_edited(&provider, "", HOSTS, |text| {
        text.lines()
            .filter(|line| !line.contains("extra_root"))
            .fold(String::new(), |all, line| all + line + "\n")
    });
    let reply = send(&waterwall).await;
    row("upstream_certificate_bad").holds_inside(&waterwall, &reply);
    assert!(reply.text().contains("certificate") && provider.seen().is_empty(), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_unreachable() {
    let provider = Provider::echo().await;
    // A port that was free a moment ago.
    let dead = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let waterwall = start_edited(&provider, "", HOSTS, |text| {
        text.replace(&provider.address().to_string(), &dead.to_string())
    });
    let reply = send(&waterwall).await;
    row("upstream_unreachable").holds_inside(&waterwall, &reply);
    assert!(
        !reply.text().contains(&dead.to_string()),
        "an address is nobody's business: {reply:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_reset_before_headers() {
    let provider = Provider::echo().await;
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-le"] {
        let rude = RawProvider::start(answer).await;
        let mut waterwall = Waterwall::lay_out(&provider, "");
        std::fs::write(waterwall.path("etc/rude.pem"), rude.ca_pem()).expect("a file");
        super::edit(&waterwall, HOSTS, |text| {
            let (here, there) = (provider.address().to_string(), rude.address().to_string());
            text.replace(&here, &there).replace("provider-ca.pem", "rude.pem")
        });
        waterwall.up();
        row("upstream_reset_before_headers").holds_inside(&waterwall, &send(&waterwall).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_reset_within_json() {
    let provider = Provider::start(|_| {
        let half = Step::send("{\"content\": [{\"text\": \"half");
        Answer::stream(vec![half, Step::HangUp]).header("content-type", "application/json")
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    row("upstream_reset_within_json").holds_inside(&waterwall, &send(&waterwall).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_reset_within_a_stream() {
    let row = row("upstream_reset_within_a_stream");
    let provider = Provider::start(|seen| {
        let events = SHAPES[0].text_stream(&[&last_text(&seen.json()), "never said"]);
        let mut steps: Vec<Step> = events.into_iter().take(4).map(Step::send).collect();
        steps.push(Step::HangUp);
        Answer::stream(steps)
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let bytes = post(HOST, PATH, &SHAPES[0].streaming(secrets::AWS).to_string());
    let reply = Raw::new(&waterwall).send(HOST, bytes).await;
    // The cut may overtake what was sent before it, the head included.
    assert!(!reply.complete && !reply.text().contains("message_stop"), "{reply:?}");
    row.is_on_record(&waterwall);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_undecodable() {
    let provider = Provider::start(|_| {
        Answer::whole("application/json", b"{}".to_vec()).header("content-encoding", "gzip")
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    row("upstream_undecodable").holds_inside(&waterwall, &send(&waterwall).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_binary() {
    let row = row("upstream_binary");
    let provider =
        Provider::start(|_| Answer::socket(|_| vec![Say::Binary(b"<pl:".to_vec())])).await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::http1(&waterwall);
    let mut client = open(&agent, "https://api.openai.com/v1/responses").await;
    client.say(Say::event(&json!({"type": "response.create"}))).await.expect("it is taken");
    client.is_refused(&row.code, row.close()).await;
    row.is_on_record(&waterwall);
}

/// A provider that answers the second request by having a tool use what stood in the first.
async fn remembering(stream: bool) -> Provider {
    let first = Arc::new(Mutex::new(None));
    Provider::start(move |seen| {
        let mut first = first.lock().expect("no story panics while it holds this");
        let Some(old) = first.clone() else {
            *first = Some(last_text(&seen.json()));
            return Answer::json(&json!({"content": []}));
        };
        if stream {
            let arguments = json!({"cmd": old}).to_string();
            let events = SHAPES[0].tool_stream(&[&arguments]);
            return Answer::stream(events.into_iter().map(Step::send).collect());
        }
        let tool = json!({"type": "tool_use", "id": "t", "name": "n", "input": {"cmd": old}});
        Answer::json(&json!({"content": [tool]}))
    })
    .await
}

/// The answer that names the placeholder of a value that had to make room.
async fn answer_with_a_value_that_is_gone(waterwall: &Waterwall, stream: bool) -> Reply {
    assert_eq!(send(waterwall).await.status, 200);
    let text = secrets::GITHUB;
    let body = if stream { SHAPES[0].streaming(text) } else { SHAPES[0].request(text) };
    Raw::new(waterwall).send(HOST, post(HOST, PATH, &body.to_string())).await
}

/// S9: no tool runs with a placeholder for an argument.
#[tokio::test(flavor = "multi_thread")]
async fn restore_failed_in_tool_input() {
    let provider = remembering(false).await;
    let waterwall = Waterwall::start_with(&provider, "redaction:\n  store_entries: 1\n");
    let reply = answer_with_a_value_that_is_gone(&waterwall, false).await;
    row("restore_failed_in_tool_input").holds_inside(&waterwall, &reply);
}

/// S9, in a stream.
#[tokio::test(flavor = "multi_thread")]
async fn restore_failed_within_a_stream() {
    let row = row("restore_failed_within_a_stream");
    let provider = remembering(true).await;
    let waterwall = Waterwall::start_with(&provider, "redaction:\n  store_entries: 1\n");
    let reply = answer_with_a_value_that_is_gone(&waterwall, true).await;
    let text = reply.text();
    assert!(reply.status == 200 && !reply.complete && !text.contains("message_stop"), "{text}");
    let (_, event) = text.rsplit_once("event: error\ndata: ").expect("an error event");
    let event: serde_json::Value = serde_json::from_str(event.trim_end()).expect("JSON");
    assert_eq!((&event["type"], &event["error"]["code"]), (&"error".into(), &json!(row.code)));
    assert!(!text.contains("<pl:"), "{text}");
    row.is_on_record(&waterwall);
    // By HTTP/2 the event arrives before the reset, too.
    let url = SHAPES[0].url();
    let mut answer = Agent::new(&waterwall).post(url, &SHAPES[0].streaming(secrets::GITHUB)).await;
    let mut heard = Vec::new();
    let ended = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => heard.extend_from_slice(&chunk),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    let text = String::from_utf8_lossy(&heard);
    assert!(!ended && text.contains(&row.code) && !text.contains("message_stop"), "{text}");
}
