//! Bodies under a content coding: undone, scanned, restored, or refused.

use std::sync::Arc;

use harness::agent::Agent;
use harness::coding::{self, encode};
use harness::provider::{Answer, Provider, Step};
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::{Waterwall, eventually};
use reqwest::Response;
use tokio::sync::Notify;

async fn send(agent: &Agent, url: &str, body: Vec<u8>, codings: &str) -> Response {
    let request = agent.request(url, body).header("content-encoding", codings);
    request.send().await.expect("an answer comes")
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_a_request_is_decoded_scanned_and_sent_as_it_is() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    for shape in SHAPES {
        for codings in
            ["gzip", "x-gzip", "deflate", "br", "zstd", "zstd, gzip", "gzip, br, deflate"]
        {
            let body = shape.request(secrets::AWS).to_string();
            let applied = codings.replace("x-gzip", "gzip");
            let answer =
                send(&agent, shape.url(), encode(body.as_bytes(), &applied), codings).await;
            assert!(answer.status().is_success(), "{codings}: {}", answer.status());
            let answer = answer.text().await.expect("it comes whole");
            let answer = serde_json::from_str(&answer).expect("it is JSON");
            assert_eq!(shape.text_of(&answer), secrets::AWS, "{codings}");
            let seen = provider.last();
            assert!(!seen.headers.contains_key("content-encoding"));
            assert_eq!(seen.headers["content-length"], seen.body.len().to_string());
            assert!(seen.text().contains("<pl:AWS_ACCESS_KEY:"));
        }
    }
    assert!(!provider.saw(secrets::AWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_what_cannot_be_undone_whole_is_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start_with(&provider, "limits:\n  body_mib: 1\n");
    let agent = Agent::new(&waterwall);
    let body = SHAPES[0].request("hi").to_string().into_bytes();
    let mut refused = 0;
    for coding in coding::ALL {
        let whole = encode(&body, coding);
        let followed = [&whole[..], b"AKIAIOSFODNN7EXAMPLE"].concat();
        let twice = [&whole[..], &whole[..]].concat();
        let cut = whole[..whole.len() - 1].to_vec();
        for damaged in [followed, twice, cut, b"{}".to_vec()] {
            let answer = send(&agent, SHAPES[0].url(), damaged, coding).await;
            assert_eq!(answer.status(), 415, "{coding}");
            assert_eq!(answer.headers()["x-waterwall-error"], "waterwall-encoding-unsupported");
            refused += 1;
        }
        let bomb = encode(&vec![b' '; 8 << 20], coding);
        let answer = send(&agent, SHAPES[0].url(), bomb, coding).await;
        assert_eq!(answer.status(), 413, "{coding}");
        refused += 1;
    }
    // Skippable frames, which decoders pass over in silence.
    let mut hidden = vec![0x50, 0x2a, 0x4d, 0x18, 20, 0, 0, 0];
    hidden.extend_from_slice(secrets::AWS.as_bytes());
    hidden.extend(encode(&body, "zstd"));
    assert_eq!(send(&agent, SHAPES[0].url(), hidden, "zstd").await.status(), 415);
    assert!(provider.seen().is_empty());
    eventually("each refusal is on record", || waterwall.lines("block").len() == refused + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_a_signed_request_is_not_decoded_under_its_signature() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let body = encode(SHAPES[0].request("hi").to_string().as_bytes(), "gzip");
    let request = agent.request(SHAPES[0].url(), body).header("content-encoding", "gzip");
    let answer = request.header("signature-input", "sig=()").send().await.expect("an answer comes");
    assert_eq!(answer.headers()["x-waterwall-error"], "waterwall-signed-request");
    assert!(provider.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_an_answer_compressed_against_our_wish_is_restored() {
    for codings in ["gzip", "deflate", "br", "zstd", "br, gzip"] {
        let provider = Provider::start(move |seen| {
            assert_eq!(seen.headers["accept-encoding"], "identity");
            let said = seen.json()["messages"][0]["content"].clone();
            let answer = serde_json::json!({ "content": [{ "type": "text", "text": said }] });
            Answer::whole("application/json", encode(answer.to_string().as_bytes(), codings))
                .header("content-encoding", codings)
        })
        .await;
        let waterwall = Waterwall::start(&provider);
        let body = serde_json::json!({ "messages": [{ "role": "user", "content": secrets::AWS }] });
        let answer = Agent::new(&waterwall).post(SHAPES[0].url(), &body).await;
        assert!(answer.status().is_success(), "{codings}: {}", answer.status());
        assert!(!answer.headers().contains_key("content-encoding"));
        let answer = answer.text().await.expect("it comes whole");
        assert!(answer.contains(secrets::AWS), "{codings}: {answer}");
        assert!(!provider.saw(secrets::AWS));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_a_compressed_stream_is_restored_event_by_event() {
    let go = Arc::new(Notify::new());
    let gate = go.clone();
    let provider = Provider::start(move |seen| {
        let start = seen.text().find("<pl:").expect("the secret was replaced");
        let said = seen.text()[start..].split_inclusive('>').next().unwrap_or_default();
        let events = SHAPES[0].text_stream(&[said, " and more"]);
        let half = events.iter().position(|event| event.contains("and more")).expect("it is there");
        let mut steps: Vec<Step> =
            coding::gzip_pieces(&events).into_iter().map(Step::send).collect();
        steps.insert(half, Step::Wait(gate.clone()));
        Answer::stream(steps).header("content-encoding", "gzip")
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let body = SHAPES[0].streaming(secrets::AWS);
    let mut answer = Agent::new(&waterwall).post(SHAPES[0].url(), &body).await;
    assert!(!answer.headers().contains_key("content-encoding"));
    let mut came = String::new();
    // The second half has not been sent: the first arrives without it.
    while !came.contains(secrets::AWS) {
        let piece = answer.chunk().await.expect("the stream goes on").expect("there is more");
        came.push_str(std::str::from_utf8(&piece).expect("events are text"));
    }
    go.notify_one();
    while let Some(piece) = answer.chunk().await.expect("the stream ends as it should") {
        came.push_str(std::str::from_utf8(&piece).expect("events are text"));
    }
    assert_eq!(SHAPES[0].joined_text(&came), format!("{} and more", secrets::AWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_an_answer_that_cannot_be_undone_never_looks_complete() {
    let whole = encode(br#"{"content":[{"type":"text","text":"long enough to be cut"}]}"#, "gzip");
    for (coding, body) in [
        ("gzip", whole[..whole.len() - 1].to_vec()),
        ("gzip", [&whole[..], b"more"].concat()),
        ("made-up", whole.clone()),
        ("gzip", vec![0x1f, 0x8b, 8, 0]),
    ] {
        let provider = Provider::start(move |_| {
            Answer::whole("application/json", body.clone()).header("content-encoding", coding)
        })
        .await;
        let waterwall = Waterwall::start(&provider);
        let answer = Agent::new(&waterwall).post(SHAPES[0].url(), &SHAPES[0].request("hi")).await;
        assert_eq!(answer.status(), 502, "{coding}");
        assert_eq!(answer.headers()["x-waterwall-error"], "waterwall-upstream-encoding");
    }
}
