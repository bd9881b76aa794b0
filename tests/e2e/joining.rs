//! 10.27: a request that goes on from what the provider keeps, with another credential than before.

use std::sync::{Arc, Mutex};

use harness::agent::{Agent, joined};
use harness::provider::{Answer, Provider, Seen, Step, last_text};
use harness::secrets;
use harness::socket::{Say, open};
use harness::waterwall::Waterwall;
use serde_json::{Value, json};

const URL: &str = "https://api.openai.com/v1/responses";
const FIRST: &str = "resp_68af4030592c81938ec0a5fb1d60819a";
const NEXT: &str = "resp_0123456789abcdef0123456789abcdef";
const FILE: &str = "file-6F2ksmvXxt4VdoqmHRw6kL";

/// What a provider does with an id that a request names.
#[derive(Clone, Copy)]
enum Manner {
    /// Goes on from it, and says so.
    Agrees,
    /// Knows of no such thing, and passes over it.
    Ignores,
    /// Refuses, and quotes what it keeps.
    Refuses,
}

/// Keeps the text of the first turn, and says it in the answer to every other one.
async fn provider(manner: Manner) -> Provider {
    let kept: Mutex<Option<String>> = Mutex::new(None);
    let kept = Arc::new(kept);
    Provider::start(move |seen| {
        let body: Value = seen.json();
        let mut kept = kept.lock().expect("no story panics while it holds this");
        let Some(text) = kept.clone() else {
            *kept = Some(last_text(&body));
            return response(FIRST, &Value::Null, "kept", &body);
        };
        match manner {
            Manner::Agrees => response(NEXT, &body["previous_response_id"], &text, &body),
            Manner::Ignores => response(NEXT, &Value::Null, &text, &body),
            Manner::Refuses => {
                let error = json!({"error": {"message": format!("not yours: {text}"),
                    "previous_response_id": body["previous_response_id"]},
                    "previous_response_id": body["previous_response_id"]});
                Answer::json(&error).status(404)
            }
        }
    })
    .await
}

fn response(id: &str, previous: &Value, text: &str, asked: &Value) -> Answer {
    let response = json!({"id": id, "object": "response", "status": "completed",
        "previous_response_id": previous,
        "output": [{"type": "message", "id": "msg_01", "role": "assistant",
            "content": [{"type": "output_text", "text": text, "annotations": []}]}]});
    if asked["stream"] != true {
        return Answer::json(&response);
    }
    let mut created = response;
    created["output"] = json!([]);
    let event = |value: &Value| {
        let kind = value["type"].as_str().expect("events have types");
        Step::send(format!("event: {kind}\ndata: {value}\n\n"))
    };
    let delta = json!({"type": "response.output_text.delta", "item_id": "msg_01",
        "output_index": 0, "content_index": 0, "delta": text});
    let done = json!({"type": "response.output_text.done", "item_id": "msg_01",
        "output_index": 0, "content_index": 0, "text": text});
    Answer::stream(vec![
        event(&json!({"type": "response.created", "response": created})),
        event(&delta),
        event(&done),
    ])
}

/// The first turn, by a client that goes away after it.
async fn first_turn(waterwall: &Waterwall) {
    let body = json!({"model": "made-up", "input": format!("my key is {}", secrets::AWS)});
    let answer = Agent::with_key(waterwall, "old-credential").post_json(URL, &body).await;
    assert_eq!(answer["id"], FIRST);
}

fn next_turn(previous: &str) -> Value {
    json!({"model": "made-up", "input": "what was it?", "previous_response_id": previous})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refreshed_credential_goes_on_from_the_turn_before() {
    let provider = provider(Manner::Agrees).await;
    let waterwall = Waterwall::start(&provider);
    first_turn(&waterwall).await;
    let refreshed = Agent::with_key(&waterwall, "new-credential");
    let answer = refreshed.post_json(URL, &next_turn(FIRST)).await;
    assert!(answer.to_string().contains(secrets::AWS), "{answer}");
    // And from there on, streamed, with yet another one.
    let mut body = next_turn(NEXT);
    body["stream"] = true.into();
    let stream = Agent::with_key(&waterwall, "newest-credential").post_stream(URL, &body).await;
    assert!(joined(&stream, "/delta").contains(secrets::AWS), "{stream}");
    assert!(!provider.saw(secrets::AWS));
}

/// P6: whoever merely names an id, real or guessed, gets what the provider says and no more.
#[tokio::test(flavor = "multi_thread")]
async fn p6_naming_an_id_resolves_nothing_unless_the_provider_goes_on_from_it() {
    for (manner, named) in [
        (Manner::Ignores, FIRST),
        (Manner::Refuses, FIRST),
        // Not handed out to anybody.
        (Manner::Agrees, "resp_ffffffffffffffffffffffffffffffff"),
    ] {
        let provider = provider(manner).await;
        let waterwall = Waterwall::start(&provider);
        first_turn(&waterwall).await;
        let thief = Agent::with_key(&waterwall, "another-credential");
        let answer = thief.post(URL, &next_turn(named)).await.text().await.expect("a body");
        assert!(answer.contains("<pl:AWS"), "{answer}");
        assert!(!answer.contains(secrets::AWS), "{answer}");
    }
}

/// A batch of an account: uploaded, run, and fetched after the credential changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_fetched_with_another_credential_than_it_was_uploaded_with() {
    let kept: Arc<Mutex<String>> = Arc::default();
    let provider = Provider::start(move |seen: &Seen| {
        let mut kept = kept.lock().expect("no story panics while it holds this");
        if seen.method == "POST" {
            *kept = seen.text().to_owned();
            return Answer::json(&json!({"id": FILE, "object": "file"}));
        }
        let is_theirs = seen.headers["x-api-key"] != "thief";
        let body = Answer::whole("application/octet-stream", kept.clone().into_bytes());
        if is_theirs { body } else { body.status(404) }
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let files = "https://api.openai.com/v1/files";
    let line = json!({"custom_id": "1", "url": "/v1/responses", "method": "POST",
        "body": {"model": "m", "input": secrets::AWS}});
    Agent::with_key(&waterwall, "old").post_json(files, &line).await;
    for (key, restored) in [("new", true), ("thief", false)] {
        let agent = Agent::with_key(&waterwall, key);
        let request = agent.client().get(format!("{files}/{FILE}/content"));
        let answer = request.header("x-api-key", key).send().await.expect("an answer comes");
        let text = answer.text().await.expect("a body");
        assert_eq!(text.contains(secrets::AWS), restored, "{key}: {text}");
        assert_eq!(text.contains("<pl:AWS"), !restored, "{key}: {text}");
    }
    assert!(!provider.saw(secrets::AWS));
}

/// Codex goes on from a turn it made by POST, on a WebSocket with a credential of its own.
#[tokio::test(flavor = "multi_thread")]
async fn i7_a_websocket_goes_on_from_a_turn_before_it() {
    let kept: Arc<Mutex<String>> = Arc::default();
    let provider = Provider::start(move |seen| {
        if seen.method == "POST" {
            let text = last_text(&seen.json());
            kept.lock().expect("no story panics while it holds this").clone_from(&text);
            return response(FIRST, &Value::Null, "kept", &seen.json());
        }
        let kept = Arc::clone(&kept);
        Answer::socket(move |message| {
            let asked: Value = serde_json::from_str(message).expect("what leaves is JSON");
            let text = kept.lock().expect("no story panics while it holds this").clone();
            // A server that knows of no such id passes over it.
            let previous = match asked["x_ignores"] == true {
                true => Value::Null,
                false => asked["previous_response_id"].clone(),
            };
            let created = json!({"id": NEXT, "previous_response_id": previous, "output": []});
            [
                json!({"type": "response.created", "response": created}),
                json!({"type": "response.output_text.done", "item_id": "m", "output_index": 0,
                    "content_index": 0, "text": text}),
                json!({"type": "response.completed", "response": {"id": NEXT}}),
            ]
            .iter()
            .map(Say::event)
            .collect()
        })
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    first_turn(&waterwall).await;
    for (ignores, restored) in [(true, false), (false, true)] {
        let mut client = open(&Agent::http1(&waterwall), URL).await;
        let mut turn = next_turn(FIRST);
        turn["type"] = "response.create".into();
        turn["x_ignores"] = ignores.into();
        client.say(Say::event(&turn)).await.expect("it is taken");
        let events = client.events("response.completed").await;
        let text = events[1]["text"].as_str().expect("a text");
        assert_eq!(text.contains(secrets::AWS), restored, "{events:?}");
    }
    assert!(!provider.saw(secrets::AWS));
}
