//! I7: a WebSocket is redacted and restored message by message, or it is refused.

use std::sync::Arc;
use std::time::Duration;

use harness::agent::{Agent, events};
use harness::provider::{Answer, Provider, Seen, last_text};
use harness::secrets;
use harness::shape::{Shape, cut};
use harness::socket::{Client, Heard, Say, agreed, handshake, open};
use harness::waterwall::{Waterwall, eventually, said};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::sync::Notify;

const URL: &str = "https://api.openai.com/v1/responses";

/// A turn as Codex asks for it.
fn turn(text: &str) -> Value {
    let mut turn = Shape::Responses.request(text);
    turn["type"] = json!("response.create");
    turn
}

/// The events of a text answer in `pieces`.
fn text_events(pieces: &[&str]) -> Vec<Value> {
    events(&Shape::Responses.text_stream(pieces).concat())
}

/// The events of an answer that is code for a freeform tool.
fn code_events(pieces: &[&str]) -> Vec<Value> {
    let code = pieces.concat();
    let item = json!({"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1",
        "name": "exec", "input": code});
    let delta = |piece: &&str| {
        json!({"type": "response.custom_tool_call_input.delta", "item_id": "ctc_1",
            "output_index": 0, "delta": piece})
    };
    let mut events = vec![json!({"type": "response.created", "response": {"id": "resp_1"}})];
    events.extend(pieces.iter().map(delta));
    events.push(json!({"type": "response.custom_tool_call_input.done", "item_id": "ctc_1",
        "output_index": 0, "input": code}));
    events.push(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
    events.push(json!({"type": "response.completed",
        "response": {"id": "resp_1", "output": [item]}}));
    events
}

fn say_all(events: &[Value]) -> Vec<Say> {
    events.iter().map(Say::event).collect()
}

/// Answers each turn with its own text, cut where it asks for, as text or as code.
fn talk(message: &str) -> Vec<Say> {
    let turn: Value = serde_json::from_str(message).expect("what leaves is JSON");
    let text = last_text(&turn);
    let at = turn["x_cut"].as_u64().and_then(|at| at.try_into().ok()).unwrap_or(0);
    if turn["generate"] == false {
        let response = json!({"id": "resp_0", "status": "completed", "output": []});
        return vec![
            Say::event(&json!({"type": "response.created", "response": {"id": "resp_0"}})),
            Say::event(&json!({"type": "response.completed", "response": response})),
        ];
    }
    let pieces = cut(&text, at);
    say_all(&if turn["x_code"] == true { code_events(&pieces) } else { text_events(&pieces) })
}

fn talking(_: &Seen) -> Answer {
    Answer::socket(talk)
}

/// What the deltas of a kind say together.
fn joined(events: &[Value], kind: &str) -> String {
    let deltas = events.iter().filter(|event| event["type"] == kind);
    deltas.filter_map(|event| event["delta"].as_str()).collect()
}

async fn ask(client: &mut Client, turn: &Value) -> Vec<Value> {
    client.say(Say::event(turn)).await.expect("it is taken");
    client.events("response.completed").await
}

/// The text that comes back for `text`.
async fn echo(client: &mut Client, text: &str) -> String {
    joined(&ask(client, &turn(text)).await, "response.output_text.delta")
}

fn is_verified(waterwall: &Waterwall) {
    let verdict = waterwall.verify_chain();
    assert_eq!(verdict.status.code(), Some(0), "{}", said(&verdict));
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_s1_text_is_restored_wherever_its_placeholder_is_cut_over_messages() {
    let provider = Provider::start(talking).await;
    let waterwall = Waterwall::start(&provider);
    let mut client = open(&Agent::http1(&waterwall), URL).await;
    let text = format!("before {} after", secrets::AWS);
    for at in 0..50 {
        let mut turn = turn(&text);
        turn["x_cut"] = json!(at);
        let events = ask(&mut client, &turn).await;
        assert_eq!(joined(&events, "response.output_text.delta"), text, "cut at {at}: {events:?}");
        let stream: String = events.iter().map(|event| format!("data: {event}\n")).collect();
        let snapshots = Shape::Responses.snapshots(&stream);
        assert_eq!(snapshots.len(), 3, "{events:?}");
        assert!(snapshots.iter().all(|snapshot| *snapshot == text), "cut at {at}: {events:?}");
    }
    assert!(!provider.saw(secrets::AWS));
    assert_eq!(provider.heard().iter().filter(|turn| turn.contains("<pl:AWS_")).count(), 50);
    // One request number each, the handshake's besides; all of them in the log before they left.
    assert_eq!(waterwall.lines("redaction").len(), 50);
    eventually("every outcome is on record", || {
        let outcomes = waterwall.lines("outcome");
        outcomes.len() == 51 && outcomes.iter().all(|line| line["sent"] == "all")
    });
    let restored = waterwall.lines("detokenization");
    let restored: u64 = restored.iter().filter_map(|line| line["detok_count"].as_u64()).sum();
    assert_eq!(restored, 4 * 50);
    is_verified(&waterwall);
    assert!(waterwall.files_holding(secrets::AWS).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_t7_code_for_a_tool_is_restored_wherever_it_is_cut() {
    let provider = Provider::start(talking).await;
    let waterwall = Waterwall::start(&provider);
    let mut client = open(&Agent::http1(&waterwall), URL).await;
    let code = format!("await tools.exec_command({{cmd: `cat <<'E'\n{}\nE`}})", secrets::PEM);
    for at in (30..110).step_by(3) {
        let mut turn = turn(&code);
        (turn["x_cut"], turn["x_code"]) = (json!(at), json!(true));
        let events = ask(&mut client, &turn).await;
        let kind = "response.custom_tool_call_input.delta";
        assert_eq!(joined(&events, kind), code, "cut at {at}: {events:?}");
        for pointer in ["/input", "/item/input", "/response/output/0/input"] {
            let said: Vec<_> = events.iter().filter_map(|event| event.pointer(pointer)).collect();
            assert_eq!(said, [&json!(code)], "{pointer}, cut at {at}: {events:?}");
        }
    }
    assert!(!provider.saw(secrets::PEM_LINE));
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_a_warm_up_then_turns_that_name_the_response_before() {
    let provider = Provider::start(talking).await;
    let waterwall = Waterwall::start(&provider);
    let mut client = open(&Agent::http1(&waterwall), URL).await;
    let warm_up = json!({"type": "response.create", "model": "m", "generate": false, "input": [],
        "tools": [], "instructions": "be brief"});
    ask(&mut client, &warm_up).await;
    // What holds nothing to replace arrives as it was said.
    assert_eq!(provider.heard(), [warm_up.to_string()]);
    let mut first = turn(secrets::GITHUB);
    first["previous_response_id"] = json!("resp_0");
    first["input"].as_array_mut().expect("a list").insert(
        0,
        json!({"type": "additional_tools", "tools": [{"type": "custom", "name": "exec",
            "description": "runs code"}]}),
    );
    let events = ask(&mut client, &first).await;
    assert_eq!(joined(&events, "response.output_text.delta"), secrets::GITHUB);
    let arrived: Value = serde_json::from_str(&provider.heard()[1]).expect("JSON");
    assert_eq!(arrived["previous_response_id"], "resp_0");
    assert_eq!(arrived["input"][0], first["input"][0]);
    assert!(!provider.saw(secrets::GITHUB));
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_compression_is_offered_and_not_negotiated_and_the_rest_of_a_handshake_passes() {
    let provider = Provider::start(|_| {
        Answer::socket(talk)
            .header("sec-websocket-protocol", "two")
            .header("openai-model", "made-up")
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let answer = handshake(&Agent::http1(&waterwall), URL)
        .header("sec-websocket-protocol", "one, two")
        .header("openai-beta", "responses_websockets=2026-02-06")
        .send()
        .await
        .expect("an answer comes");
    assert_eq!(answer.headers()["sec-websocket-protocol"], "two");
    assert_eq!(answer.headers()["openai-model"], "made-up");
    assert_eq!(echo(&mut agreed(answer).await, secrets::AWS).await, secrets::AWS);
    let seen = provider.last();
    assert!(!seen.headers.contains_key("sec-websocket-extensions"));
    assert_eq!(seen.headers["openai-beta"], "responses_websockets=2026-02-06");
    assert_eq!(seen.headers["authorization"], "Bearer made-up-credential");
    assert_ne!(seen.headers["sec-websocket-key"], "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(seen.version, "HTTP/1.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_fragments_are_joined_before_anybody_looks_at_them() {
    let provider = Provider::start(|_| {
        Answer::socket(|message| {
            // Back in frames of seven bytes, pings in between.
            let said = talk(message).into_iter().map(|say| match say {
                Say::Text(text) => {
                    Say::Pieces(text.as_bytes().chunks(7).map(<[u8]>::to_vec).collect())
                }
                other => other,
            });
            said.collect()
        })
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let mut client = open(&Agent::http1(&waterwall), URL).await;
    let text = format!("é {} 漢字", secrets::GITHUB);
    let pieces = turn(&text).to_string().into_bytes();
    let pieces = pieces.chunks(5).map(<[u8]>::to_vec).collect();
    client.say(Say::Pieces(pieces)).await.expect("it is taken");
    let events = client.events("response.completed").await;
    assert_eq!(joined(&events, "response.output_text.delta"), text);
    assert!(!provider.saw("ghp_"));
    // Pings arrive as pings; what they said does not.
    assert!(provider.heard().iter().any(|message| message == "ping "));
    assert!(!provider.saw("between"));
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_a_large_message_is_scanned_to_its_end_and_comes_back() {
    let provider = Provider::start(talking).await;
    let waterwall = Waterwall::start(&provider);
    let mut client = open(&Agent::http1(&waterwall), URL).await;
    let text = format!("{} {}", "x y ".repeat(1 << 20), secrets::AWS);
    assert_eq!(echo(&mut client, &text).await, text);
    assert!(!provider.saw(secrets::AWS));
    assert_eq!(echo(&mut client, secrets::GITHUB).await, secrets::GITHUB);
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_what_is_not_scanned_ends_the_connection_and_never_arrives() {
    let provider = Provider::start(talking).await;
    let waterwall = Waterwall::start_with(&provider, "limits:\n  body_mib: 1\n");
    let agent = Agent::http1(&waterwall);
    let secret = secrets::AWS;
    let over = turn(&format!("{} {secret}", "x".repeat(1 << 20))).to_string();
    let mut model = turn("hi");
    model["model"] = json!(secret);
    let unmasked = |text: &str| {
        let length = u8::try_from(text.len()).expect("short");
        Say::Raw([&[0x81, length], text.as_bytes()].concat())
    };
    let cases = [
        (
            Say::Text(format!("not JSON {secret}")),
            "waterwall-body-unparseable",
            1008,
            "unparseable",
        ),
        (Say::Text(String::new()), "waterwall-body-unparseable", 1008, "unparseable"),
        (Say::Binary(secret.into()), "waterwall-media-unsupported", 1008, "unparseable"),
        (
            Say::Pieces(vec![b"{\"a\":\"\xff".to_vec(), secret.into(), b"\"}".to_vec()]),
            "waterwall-charset-unsupported",
            1008,
            "charset",
        ),
        (Say::Text(over.clone()), "waterwall-body-too-large", 1009, "too_large"),
        (
            Say::Pieces(over.as_bytes().chunks(100_000).map(<[u8]>::to_vec).collect()),
            "waterwall-body-too-large",
            1009,
            "too_large",
        ),
        (Say::event(&model), "waterwall-protocol-position", 1008, "protocol_position"),
        (unmasked("{\"a\":1}"), "waterwall-protocol-error", 1002, "protocol_error"),
        // A reserved bit, as compression would set it.
        (
            Say::Raw(vec![0xc1, 0x80, 0, 0, 0, 0]),
            "waterwall-protocol-error",
            1002,
            "protocol_error",
        ),
    ];
    for (number, (say, code, close, reason)) in cases.into_iter().enumerate() {
        let mut client = open(&agent, URL).await;
        let what = format!("{say:?}").chars().take(80).collect::<String>();
        // A refusal may come before all of it was said.
        let _ = client.say(say).await;
        client.is_refused(code, close).await;
        eventually(&format!("{what} is on record"), || {
            let lines = waterwall.lines("block");
            lines.len() == number + 1 && lines[number]["reason"] == reason
        });
    }
    let arrived = provider.heard();
    let said_nothing = |message: &String| ["close 1001 ", "ping "].contains(&message.as_str());
    assert!(arrived.iter().all(said_nothing), "{arrived:?}");
    is_verified(&waterwall);
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_what_is_not_restored_ends_the_connection() {
    let provider = Provider::start(|seen| {
        let bad = match seen.headers["x-bad"].to_str().expect("ASCII") {
            "binary" => Say::Binary(b"<pl:".to_vec()),
            "frame" => Say::Raw(vec![0xc1, 0x00]),
            _ => Say::Text("{\"type\":\"<pl:".into()),
        };
        Answer::socket(move |_| vec![bad.clone()])
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    for (bad, code, close) in [
        ("binary", "waterwall-upstream-binary", 1008),
        ("frame", "waterwall-restore-failed", 1011),
        ("json", "waterwall-restore-failed", 1011),
    ] {
        let request = handshake(&Agent::http1(&waterwall), URL).header("x-bad", bad);
        let mut client = agreed(request.send().await.expect("an answer comes")).await;
        client.say(Say::event(&turn("hi"))).await.expect("it is taken");
        client.is_refused(code, close).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_the_kill_switch_closes_and_nothing_more_leaves() {
    let provider = Provider::start(talking).await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::http1(&waterwall);
    let (mut idle, mut busy) = (open(&agent, URL).await, open(&agent, URL).await);
    assert_eq!(echo(&mut busy, secrets::AWS).await, secrets::AWS);
    let arm = waterwall.ctl(&["killswitch", "arm", "--reason", "drill"]);
    assert!(arm.status.success(), "{}", said(&arm));
    let _ = busy.say(Say::event(&turn("never"))).await;
    for client in [&mut idle, &mut busy] {
        client.is_refused("waterwall-killswitch-engaged", 1008).await;
    }
    let refused = handshake(&agent, URL).send().await.expect("an answer comes");
    assert_eq!(refused.status(), 502);
    assert_eq!(refused.headers()["x-waterwall-error"], "waterwall-killswitch-engaged");
    assert!(!provider.saw("never"));
    waterwall.ctl(&["killswitch", "disarm", "--reason", "over"]);
    assert_eq!(echo(&mut open(&agent, URL).await, secrets::AWS).await, secrets::AWS);
    is_verified(&waterwall);
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_a_message_that_waits_for_the_log_when_the_kill_switch_is_armed_stays_here() {
    let provider = Provider::start(talking).await;
    let waterwall = Waterwall::start_with(&provider, "timeouts:\n  append: 30\n");
    let mut client = open(&Agent::http1(&waterwall), URL).await;
    assert_eq!(echo(&mut client, "hi").await, "hi");
    waterwall.signal("auditd", Signal::SIGSTOP);
    client.say(Say::event(&turn("never"))).await.expect("it is taken");
    // Time for its line to be written; nothing shows that while auditd stands still.
    tokio::time::sleep(Duration::from_secs(1)).await;
    std::fs::write(waterwall.path("run/kill"), "").expect("the sentinel can be made");
    client.is_refused("waterwall-killswitch-engaged", 1008).await;
    waterwall.signal("auditd", Signal::SIGCONT);
    eventually("its outcome is on record", || {
        waterwall.lines("outcome").iter().any(|line| line["sent"] == "none")
    });
    std::fs::remove_file(waterwall.path("run/kill")).expect("the sentinel can be removed");
    eventually("the switch is cleared", || {
        waterwall.status()["proxy"]["kill_switch"]["sources_active"] == json!([])
    });
    assert!(!provider.saw("never"));
    is_verified(&waterwall);
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_a_websocket_takes_one_of_the_connections_there_are_until_it_ends() {
    let provider = Provider::start(talking).await;
    let waterwall = Waterwall::start_with(&provider, "limits:\n  connections: 2\n");
    let agent = Agent::http1(&waterwall);
    let (first, mut second) = (open(&agent, URL).await, open(&agent, URL).await);
    let mut third = tokio::spawn({
        let agent = agent.clone();
        async move { open(&agent, URL).await }
    });
    let waited = tokio::time::timeout(Duration::from_secs(1), &mut third).await;
    assert!(waited.is_err(), "a third connection was taken");
    assert_eq!(echo(&mut second, secrets::AWS).await, secrets::AWS);
    // Gone without a word: its place is free, and the provider is told.
    drop(first);
    let mut third = third.await.expect("no panic");
    assert_eq!(echo(&mut third, secrets::AWS).await, secrets::AWS);
    eventually("the provider is told", || provider.heard().contains(&"close 1001 ".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_without_auditd_a_message_is_refused_and_never_sent_later() {
    let provider = Provider::start(talking).await;
    let waterwall = Waterwall::start_with(&provider, "timeouts:\n  append: 1\n");
    let agent = Agent::http1(&waterwall);
    let mut client = open(&agent, URL).await;
    assert_eq!(echo(&mut client, secrets::AWS).await, secrets::AWS);
    waterwall.signal("auditd", Signal::SIGSTOP);
    // The second waits behind the first, and goes with it.
    client.say(Say::event(&turn("never one"))).await.expect("it is taken");
    client.say(Say::event(&turn("never two"))).await.expect("it is taken");
    client.is_refused("waterwall-chain-append-failed", 1011).await;
    waterwall.signal("auditd", Signal::SIGCONT);
    eventually("its outcome is on record", || {
        waterwall.lines("outcome").iter().any(|line| line["sent"] == "none")
    });
    waterwall.replace("auditd");
    let mut client = loop {
        let answer = handshake(&agent, URL).send().await.expect("an answer comes");
        if answer.status() == 101 {
            break agreed(answer).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(echo(&mut client, secrets::GITHUB).await, secrets::GITHUB);
    assert!(!provider.saw("never"));
    is_verified(&waterwall);
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_a_provider_that_refuses_the_handshake_says_so_itself() {
    let provider = Provider::start(|seen| {
        if seen.path.contains("responses") {
            let error = json!({"error": {"message": "who are you?", "code": "invalid_api_key"}});
            Answer::json(&error).status(401)
        } else {
            // A 101 that proves nothing.
            Answer::socket(talk).header("sec-websocket-accept", "bm90IGEgcHJvb2Y=")
        }
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::http1(&waterwall);
    let answer = handshake(&agent, URL).send().await.expect("an answer comes");
    assert_eq!(answer.status(), 401);
    assert!(!answer.headers().contains_key("x-waterwall-error"));
    assert!(answer.text().await.expect("a body").contains("who are you?"));
    let wrong = handshake(&agent, "https://api.openai.com/v1/wrong").send().await;
    let wrong = wrong.expect("an answer comes");
    assert_eq!(wrong.status(), 502);
    assert_eq!(wrong.headers()["x-waterwall-error"], "waterwall-upstream-failed");
    // A secret in what is asked for is refused before the provider hears of it.
    let keyed = handshake(&agent, &format!("{URL}?key={}", secrets::GITHUB)).send().await;
    assert_eq!(keyed.expect("an answer comes").status(), 400);
    assert!(!provider.saw(secrets::GITHUB));
    is_verified(&waterwall);
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_where_it_is_off_an_upgrade_is_answered_426() {
    // Codex then falls back to POST at once.
    let provider = Provider::start(talking).await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::http1(&waterwall);
    let mut client = open(&agent, URL).await;
    let is_off = |url: &'static str| {
        let agent = agent.clone();
        async move {
            let answer = handshake(&agent, url).send().await.expect("an answer comes");
            assert_eq!(answer.status(), 426);
            assert_eq!(answer.headers()["x-waterwall-error"], "waterwall-websocket-off");
            let body: Value = serde_json::from_str(&answer.text().await.expect("a body"))
                .expect("a refusal is JSON");
            assert_eq!(body["error"]["code"], "waterwall-websocket-off");
        }
    };
    // By default, with a handler that knows no WebSocket.
    is_off("https://api.anthropic.com/v1/messages").await;
    let file = waterwall.path("etc/permitted_hosts.yaml");
    let text = std::fs::read_to_string(&file).expect("a file");
    let text = text.replace("sse_handler: openai\n", "sse_handler: openai\n    websocket: off\n");
    std::fs::write(&file, text).expect("the file can be written");
    let reload = waterwall.ctl(&["reload"]);
    assert!(reload.status.success(), "{}", said(&reload));
    is_off(URL).await;
    // One that is open ends with its next message.
    client.say(Say::event(&turn("never"))).await.expect("it is taken");
    client.is_refused("waterwall-websocket-off", 1008).await;
    assert!(!provider.saw("never"));
    assert!(waterwall.lines("block").iter().all(|line| line["reason"] == "websocket_off"));
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_closes_pass_with_their_codes_and_tails_before_them() {
    let provider = Provider::start(|_| {
        Answer::socket(|_| {
            vec![
                Say::event(&json!({"type": "response.output_text.delta", "output_index": 0,
                    "content_index": 0, "delta": "a <pl:AWS_"})),
                Say::Close(4321, "that was all".into()),
            ]
        })
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::http1(&waterwall);
    let mut client = open(&agent, URL).await;
    client.say(Say::event(&turn("hi"))).await.expect("it is taken");
    let pieces = [client.event().await, client.event().await];
    assert_eq!(joined(&pieces, "response.output_text.delta"), "a <pl:AWS_");
    assert_eq!(client.hear().await, Heard::Close(Some((4321, "that was all".into()))));
    assert_eq!(client.hear().await, Heard::Cut);
    // The other way round, what the client gives as its reason stays here.
    let mut client = open(&agent, URL).await;
    client.say(Say::Close(4000, secrets::AWS.into())).await.expect("it is taken");
    assert!(matches!(client.hear().await, Heard::Close(Some((4000, _))) | Heard::Cut));
    eventually("the provider was told", || provider.heard().contains(&"close 4000 ".to_owned()));
    assert!(!provider.saw(secrets::AWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_a_connection_that_is_cut_is_not_ended_as_if_it_were_whole() {
    let provider = Provider::start(|_| {
        Answer::socket(|message| {
            let mut said = talk(message);
            said.truncate(4);
            said.push(Say::HangUp);
            said
        })
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let mut client = open(&Agent::http1(&waterwall), URL).await;
    client.say(Say::event(&turn(&format!("{} and more", secrets::AWS)))).await.expect("taken");
    loop {
        match client.hear().await {
            Heard::Text(text) => assert!(!text.contains("response.completed"), "{text}"),
            Heard::Close(close) => {
                let (code, _) = close.expect("it says why");
                assert_eq!(code, 1011);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_events_reach_the_agent_while_the_provider_still_speaks_and_a_drain_waits_for_them() {
    let go = Arc::new(Notify::new());
    let script = Arc::clone(&go);
    let provider = Provider::start(move |_| {
        let script = Arc::clone(&script);
        Answer::socket(move |message| {
            let mut said = talk(message);
            let piece =
                said.iter().position(|say| matches!(say, Say::Text(text) if text.contains("<pl:")));
            said.insert(piece.expect("a piece") + 1, Say::Wait(Arc::clone(&script)));
            said
        })
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::http1(&waterwall);
    let (mut busy, mut idle) = (open(&agent, URL).await, open(&agent, URL).await);
    busy.say(Say::event(&turn(secrets::AWS))).await.expect("it is taken");
    while busy.event().await["delta"] != secrets::AWS {}
    waterwall.signal("proxy", Signal::SIGTERM);
    let stopping = Heard::Close(Some((1001, "Waterwall is stopping".into())));
    assert_eq!(idle.hear().await, stopping);
    go.notify_one();
    busy.events("response.completed").await;
    assert_eq!(busy.hear().await, stopping);
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_silence_ends_a_connection_and_pings_are_no_silence() {
    let provider = Provider::start(talking).await;
    let waterwall = Waterwall::start_with(&provider, "timeouts:\n  idle: 2\n");
    let agent = Agent::http1(&waterwall);
    let (mut quiet, mut alive) = (open(&agent, URL).await, open(&agent, URL).await);
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        alive.say(Say::Ping("here".into())).await.expect("it is taken");
    }
    assert_eq!(quiet.hear().await, Heard::Close(Some((1001, "idle".into()))));
    assert_eq!(echo(&mut alive, secrets::AWS).await, secrets::AWS);
}
