//! Providers that try for what is not theirs, and switches thrown in the middle of things.

use std::sync::{Arc, Mutex};

use harness::agent::Agent;
use harness::provider::{Answer, Provider, Step, last_text};
use harness::secrets;
use harness::shape::{SHAPES, Shape};
use harness::waterwall::{Waterwall, said};
use serde_json::json;
use tokio::sync::Notify;

#[tokio::test(flavor = "multi_thread")]
async fn p6_a_placeholder_a_provider_repeats_to_another_agent_stays_one() {
    // The first request's text, placeholder and all, answers every request.
    let first = Arc::new(Mutex::new(None));
    let provider = Provider::start(move |seen| {
        let mut first = first.lock().expect("no story panics while it holds this");
        let text = first.get_or_insert_with(|| last_text(&seen.json()));
        if seen.text().contains("\"stream\":true") {
            let events = Shape::Messages.text_stream(&[text]);
            return Answer::stream(events.into_iter().map(Step::send).collect());
        }
        Answer::json(&json!({"content": [{"type": "text", "text": text}]}))
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let url = Shape::Messages.url();
    let text = format!("key {}", secrets::AWS);
    let owner = Agent::with_key(&waterwall, "key-one");
    let answer = owner.post_json(url, &Shape::Messages.request(&text)).await;
    assert_eq!(Shape::Messages.text_of(&answer), text);
    let other = Agent::with_key(&waterwall, "key-two");
    for request in [Shape::Messages.request("hi"), Shape::Messages.streaming("hi")] {
        let answer = other.post(url, &request).await.text().await.expect("an answer comes whole");
        assert!(answer.contains("<pl:AWS") && !answer.contains(secrets::AWS), "{answer}");
    }
    // Having seen the same secret once makes it the other agent's own as well.
    other.post(url, &Shape::Messages.request(&text)).await;
    let answer = other.post_json(url, &Shape::Messages.request("hi")).await;
    assert_eq!(Shape::Messages.text_of(&answer), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_what_had_left_before_the_kill_switch_still_comes_whole() {
    let go = Arc::new(Notify::new());
    let script = go.clone();
    let provider = Provider::start(move |seen| {
        let text = last_text(&seen.json());
        let mut steps: Vec<Step> =
            Shape::Messages.text_stream(&[&text]).into_iter().map(Step::send).collect();
        steps.insert(2, Step::Wait(script.clone()));
        Answer::stream(steps)
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let answer = agent.post(Shape::Messages.url(), &Shape::Messages.streaming(secrets::AWS)).await;
    let arm = waterwall.ctl(&["killswitch", "arm", "--reason", "drill"]);
    assert!(arm.status.success(), "{}", said(&arm));
    let refused = agent.post(Shape::Messages.url(), &Shape::Messages.request("hi")).await;
    assert_eq!(refused.headers()["x-waterwall-error"], "waterwall-killswitch-engaged");
    go.notify_one();
    let stream = answer.text().await.expect("the stream ends as a stream should");
    assert_eq!(Shape::Messages.joined_text(&stream), secrets::AWS);
    assert_eq!(provider.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s7_blanks_in_front_of_a_json_answer_pass_while_the_model_thinks() {
    // DeepSeek keeps a waiting connection alive with empty lines.
    let go = Arc::new(Notify::new());
    let script = go.clone();
    let provider = Provider::start(move |seen| {
        let text = last_text(&seen.json());
        let body = json!({"choices": [{"index": 0, "message": {"content": text}}]}).to_string();
        let (start, rest) = body.split_at(body.len() / 2);
        let blank = || Step::send("\n");
        let wait = Step::Wait(script.clone());
        Answer::stream(vec![blank(), wait, blank(), Step::send(start), Step::send(rest)])
            .header("content-type", "application/json")
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    for agent in [Agent::new(&waterwall), Agent::http1(&waterwall)] {
        let mut answer = agent.post(SHAPES[1].url(), &SHAPES[1].request(secrets::PEM)).await;
        let mut body = answer.chunk().await.expect("it goes on").expect("a blank").to_vec();
        assert_eq!(body, b"\n");
        go.notify_one();
        while let Some(chunk) = answer.chunk().await.expect("it ends well") {
            body.extend_from_slice(&chunk);
        }
        let answer = serde_json::from_slice(&body).expect("the answer is JSON");
        assert_eq!(SHAPES[1].text_of(&answer), secrets::PEM);
    }
    assert!(!provider.saw(secrets::PEM_LINE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_thousands_of_secrets_is_recorded_whole() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let key = |number: u32| {
        let digit =
            |at: u32| char::from(b'A' + u8::try_from(number >> (4 * at) & 15).expect("small"));
        let tail: String = (0..4).map(digit).collect();
        format!("AKIAIOSFODNN7EXA{tail}")
    };
    let text = (0..9000).map(key).collect::<Vec<_>>().join(" ");
    let request = Shape::Messages.request(&text);
    let answer = Agent::new(&waterwall).post_json(Shape::Messages.url(), &request).await;
    assert_eq!(Shape::Messages.text_of(&answer), text);
    assert!(!provider.saw("AKIA"));
    let lines = waterwall.lines("redaction");
    let counted: u64 = lines.iter().filter_map(|line| line["redaction_count"].as_u64()).sum();
    assert_eq!(counted, 9000);
    let verdict = waterwall.verify_chain();
    assert_eq!(verdict.status.code(), Some(0), "{}", said(&verdict));
}
