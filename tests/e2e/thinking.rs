//! Signed thinking: what the client saw restored goes back out as the provider wrote it (I1).

use harness::agent::{Agent, events};
use harness::provider::{Answer, Provider, Step, last_text};
use harness::secrets;
use harness::shape::Shape;
use harness::waterwall::Waterwall;
use serde_json::{Value, json};

const SIGNATURE: &str = "c2lnbmF0dXJlIG9mIHRoZSBwcm92aWRlcidzIG93biB0ZXh0";

fn thinking_stream(text: &str) -> Vec<Step> {
    let (left, right) = text.split_at(text.len() / 2);
    let delta = |delta: Value| {
        let event = json!({"type": "content_block_delta", "index": 0, "delta": delta});
        Step::send(format!("event: content_block_delta\ndata: {event}\n\n"))
    };
    let start = json!({"type": "content_block_start", "index": 0,
        "content_block": {"type": "thinking", "thinking": "", "signature": ""}});
    vec![
        Step::send(format!("event: content_block_start\ndata: {start}\n\n")),
        delta(json!({"type": "thinking_delta", "thinking": left})),
        delta(json!({"type": "thinking_delta", "thinking": right})),
        delta(json!({"type": "signature_delta", "signature": SIGNATURE})),
        Step::send(
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
        ),
        Step::send("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
    ]
}

/// The provider's own words: placeholder-shaped text it made up stands beside ours, and would be
/// taken for a client's forgery on the way back were the block not known.
fn words(seen: &str) -> String {
    format!("They gave me {seen}, not <pl:AWS_ACCESS_KEY:00000000deadbeef>; \u{e9}")
}

async fn next_turn(agent: &Agent, thinking: &str) {
    let block = json!({"type": "thinking", "thinking": thinking, "signature": SIGNATURE});
    let body = json!({"model": "m", "messages": [
        {"role": "user", "content": secrets::AWS},
        {"role": "assistant", "content": [block, {"type": "text", "text": "ok"}]},
        {"role": "user", "content": "go on"},
    ]});
    agent.post(Shape::Messages.url(), &body).await;
}

fn sent_thinking(provider: &Provider) -> String {
    let body = provider.last().json();
    body["messages"][1]["content"][0]["thinking"].as_str().expect("a thinking block").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_streamed_thinking_goes_back_out_exactly_as_it_came() {
    let provider =
        Provider::start(|seen| Answer::stream(thinking_stream(&words(&last_text(&seen.json())))))
            .await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let stream =
        agent.post_stream(Shape::Messages.url(), &Shape::Messages.streaming(secrets::AWS)).await;
    let said = words(&last_text(&provider.last().json()));
    let got: String = events(&stream)
        .iter()
        .filter_map(|event| event.pointer("/delta/thinking")?.as_str().map(String::from))
        .collect();
    assert_eq!(got, words(secrets::AWS));
    assert!(stream.contains(SIGNATURE));
    next_turn(&agent, &got).await;
    assert_eq!(sent_thinking(&provider), said);
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_thinking_of_a_json_answer_goes_back_out_exactly_as_it_came() {
    let provider = Provider::start(|seen| {
        Answer::json(&json!({"content": [
            {"type": "thinking", "thinking": words(&last_text(&seen.json())), "signature": SIGNATURE},
        ]}))
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let answer =
        agent.post_json(Shape::Messages.url(), &Shape::Messages.request(secrets::AWS)).await;
    let said = words(&last_text(&provider.last().json()));
    let got = answer["content"][0]["thinking"].as_str().expect("a thinking block");
    assert_eq!(got, words(secrets::AWS));
    next_turn(&agent, got).await;
    assert_eq!(sent_thinking(&provider), said);
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_thinking_is_redacted_like_anything_else() {
    let provider =
        Provider::start(|seen| Answer::stream(thinking_stream(&words(&last_text(&seen.json())))))
            .await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    agent.post_stream(Shape::Messages.url(), &Shape::Messages.streaming(secrets::AWS)).await;
    next_turn(&agent, &format!("altered: {}", secrets::GITHUB)).await;
    assert!(sent_thinking(&provider).starts_with("altered: <pl:GITHUB_TOKEN:"));
    assert!(!provider.saw(secrets::GITHUB));
}
