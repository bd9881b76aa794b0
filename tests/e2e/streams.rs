//! Streams are restored event by event, wherever a placeholder is cut.

use std::sync::Arc;

use harness::agent::Agent;
use harness::provider::{Answer, Provider, Seen, Step, last_text};
use harness::secrets;
use harness::shape::{SHAPES, Shape, cut};
use harness::waterwall::Waterwall;
use serde_json::{Value, json};
use tokio::sync::Notify;

fn shape_of(seen: &Seen) -> Shape {
    Shape::of(&seen.path).expect("stories use the three shapes' paths")
}

fn number(seen: &Seen, header: &str) -> usize {
    seen.headers[header].to_str().expect("a number").parse().expect("a number")
}

/// Streams the request's text back, as text or as a tool's arguments, cut in two.
fn cut_echo(seen: &Seen) -> Answer {
    let shape = shape_of(seen);
    let at = number(seen, "x-cut");
    let text = last_text(&seen.json());
    let events = if seen.headers.contains_key("x-tool") {
        let arguments = json!({"content": text}).to_string();
        shape.tool_stream(&cut(&arguments, at))
    } else {
        shape.text_stream(&cut(&text, at))
    };
    Answer::stream(events.into_iter().map(Step::send).collect())
}

async fn ask(agent: &Agent, shape: Shape, text: &str, headers: &[(&str, String)]) -> String {
    let mut request = agent.request(shape.url(), shape.streaming(text).to_string());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let answer = request.send().await.expect("an answer comes");
    answer.text().await.expect("the stream ends as a stream should")
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_text_is_restored_wherever_its_placeholder_is_cut() {
    let provider = Provider::start(cut_echo).await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let text = format!("before {} after", secrets::AWS);
    for shape in SHAPES {
        // `before `, a placeholder of 36 bytes, ` after`.
        for at in 0..50 {
            let stream = ask(&agent, shape, &text, &[("x-cut", at.to_string())]).await;
            assert_eq!(shape.joined_text(&stream), text, "{shape:?} cut at {at}:\n{stream}");
            for snapshot in shape.snapshots(&stream) {
                assert_eq!(snapshot, text, "{shape:?} cut at {at}:\n{stream}");
            }
        }
    }
    assert!(!provider.saw(secrets::AWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_tool_arguments_parse_to_the_exact_secret_wherever_they_are_cut() {
    let provider = Provider::start(cut_echo).await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let text = format!("key file:\n{}\n", secrets::PEM);
    for shape in SHAPES {
        for at in 0..60 {
            let headers = [("x-cut", at.to_string()), ("x-tool", "yes".to_owned())];
            let stream = ask(&agent, shape, &text, &headers).await;
            for arguments in
                [vec![shape.joined_arguments(&stream)], shape.snapshots(&stream)].concat()
            {
                let parsed: Value = serde_json::from_str(&arguments)
                    .unwrap_or_else(|error| panic!("{shape:?} cut at {at}: {error}:\n{stream}"));
                assert_eq!(parsed["content"], text, "{shape:?} cut at {at}");
            }
        }
    }
    assert!(!provider.saw(secrets::PEM_LINE));
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_transport_chunks_may_end_anywhere() {
    // Every byte of the stream in a chunk of its own, with CRLF framing.
    let provider = Provider::start(|seen| {
        let shape = shape_of(seen);
        let text = last_text(&seen.json());
        let stream = shape.text_stream(&cut(&text, 20)).concat().replace('\n', "\r\n");
        Answer::stream(stream.bytes().map(|byte| Step::send([byte])).collect())
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let text = format!("é {} 漢字", secrets::GITHUB);
    for shape in SHAPES {
        let stream = ask(&Agent::new(&waterwall), shape, &text, &[]).await;
        assert_eq!(shape.joined_text(&stream), text, "{shape:?}:\n{stream}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s5_interleaved_lanes_do_not_mix() {
    // Two choices and two tool calls, one byte of each in turn.
    let provider = Provider::start(|seen| {
        let body = seen.json();
        let texts: Vec<String> = body["messages"]
            .as_array()
            .expect("a chat")
            .iter()
            .filter_map(|message| message["content"].as_str().map(String::from))
            .collect();
        let longest = texts.iter().map(String::len).max().unwrap_or(0);
        let mut steps = Vec::new();
        for at in 0..longest {
            for (lane, text) in texts.iter().enumerate() {
                let Some(piece) = text.get(at..=at) else { continue };
                let delta = if lane < 2 {
                    json!({"content": piece})
                } else {
                    json!({"tool_calls": [{"index": lane, "function": {"arguments": piece}}]})
                };
                let index = if lane < 2 { lane } else { 0 };
                let event = json!({"choices": [{"index": index, "delta": delta}]});
                steps.push(Step::send(format!("data: {event}\n\n")));
            }
        }
        steps.push(Step::send("data: [DONE]\n\n"));
        Answer::stream(steps)
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let texts = [
        format!("zero {}", secrets::AWS),
        format!("one {} and {}", secrets::GITHUB, secrets::AWS),
        json!({"two": secrets::ANTHROPIC}).to_string(),
        json!({"three": secrets::GITHUB}).to_string(),
    ];
    let messages: Vec<Value> =
        texts.iter().map(|text| json!({"role": "user", "content": text})).collect();
    let stream = Agent::new(&waterwall)
        .post_stream(
            Shape::Chat.url(),
            &json!({"model": "m", "stream": true, "messages": messages}),
        )
        .await;
    let mut lanes = vec![String::new(); texts.len()];
    for event in harness::agent::events(&stream) {
        let choice = &event["choices"][0];
        if let Some(text) = choice["delta"]["content"].as_str() {
            let lane = usize::try_from(choice["index"].as_u64().expect("an index")).expect("small");
            lanes[lane].push_str(text);
        }
        if let Some(call) = choice["delta"]["tool_calls"].get(0) {
            let lane = usize::try_from(call["index"].as_u64().expect("an index")).expect("small");
            lanes[lane].push_str(call["function"]["arguments"].as_str().expect("arguments"));
        }
    }
    assert_eq!(lanes, texts, "{stream}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_events_reach_the_agent_while_the_provider_still_streams() {
    let go = Arc::new(Notify::new());
    let script = go.clone();
    let provider = Provider::start(move |seen| {
        let shape = shape_of(seen);
        let text = last_text(&seen.json());
        let events = shape.text_stream(&[&text, "the end"]);
        // Everything up to the first piece, then nothing until the story has seen it.
        let position = events.iter().position(|event| event.contains("<pl:")).expect("a piece");
        let mut steps: Vec<Step> = events.into_iter().map(Step::send).collect();
        steps.insert(position + 1, Step::Wait(script.clone()));
        Answer::stream(steps)
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    for shape in SHAPES {
        let mut answer =
            Agent::new(&waterwall).post(shape.url(), &shape.streaming(secrets::AWS)).await;
        let mut stream = String::new();
        while !stream.contains(secrets::AWS) {
            let chunk =
                answer.chunk().await.expect("the stream goes on").expect("and has not ended");
            stream.push_str(&String::from_utf8_lossy(&chunk));
        }
        go.notify_one();
        while let Some(chunk) = answer.chunk().await.expect("the stream ends well") {
            stream.push_str(&String::from_utf8_lossy(&chunk));
        }
        assert_eq!(shape.joined_text(&stream), format!("{}the end", secrets::AWS));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_comments_pings_and_unknown_events_pass_byte_for_byte() {
    const STREAM: &str = ": keep-alive\r\n\r\nevent: ping\ndata: {\"type\": \"ping\"}\n\nid: 7\nretry: 100\nevent: novel\ndata: {\"a\" : 1.50,\ndata: \"b\":[]}\n\ndata: plain text\n\n";
    let provider = Provider::start(|_| Answer::stream(vec![Step::send(STREAM)])).await;
    let waterwall = Waterwall::start(&provider);
    for shape in SHAPES {
        let stream = Agent::new(&waterwall).post_stream(shape.url(), &shape.streaming("hi")).await;
        assert_eq!(stream, STREAM);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_a_stream_that_ends_inside_a_prefix_loses_nothing() {
    let provider = Provider::start(|seen| {
        let shape = shape_of(seen);
        Answer::stream(
            shape.text_stream(&["a <pl:AWS_", "ACCESS_KE"]).into_iter().map(Step::send).collect(),
        )
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    for shape in SHAPES {
        let stream = Agent::new(&waterwall).post_stream(shape.url(), &shape.streaming("hi")).await;
        assert_eq!(shape.joined_text(&stream), "a <pl:AWS_ACCESS_KE", "{stream}");
    }
}
