//! Answers that are one body: JSON of the three shapes, and plain text.

use harness::agent::Agent;
use harness::provider::{Answer, Provider, last_text};
use harness::secrets;
use harness::shape::{SHAPES, Shape};
use harness::waterwall::Waterwall;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn t1_tool_arguments_of_all_three_shapes_parse_to_the_exact_secret() {
    let provider = Provider::start(|seen| {
        let text = last_text(&seen.json());
        let arguments = json!({"content": text}).to_string();
        Answer::json(&json!({
            "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {"content": text}}],
            "choices": [{"message": {"tool_calls": [{"id": "c", "type": "function",
                "function": {"name": "n", "arguments": arguments}}]}}],
            "output": [{"type": "function_call", "call_id": "c", "name": "n", "arguments": arguments},
                       {"type": "custom_tool_call", "call_id": "d", "name": "exec", "input": text}],
        }))
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let text = format!("quote \" backslash \\ é\n{}", secrets::PEM);
    for shape in SHAPES {
        let answer = Agent::new(&waterwall).post_json(shape.url(), &shape.request(&text)).await;
        let parsed = |pointer: &str| -> Value {
            let arguments = answer.pointer(pointer).and_then(Value::as_str).expect("arguments");
            serde_json::from_str(arguments).expect("arguments are JSON")
        };
        match shape {
            Shape::Messages => assert_eq!(answer["content"][0]["input"]["content"], text),
            Shape::Chat => {
                let at = "/choices/0/message/tool_calls/0/function/arguments";
                assert_eq!(parsed(at)["content"], text);
            }
            Shape::Responses => {
                assert_eq!(parsed("/output/0/arguments")["content"], text);
                // T7: a freeform tool's input is code, not JSON.
                assert_eq!(answer["output"][1]["input"], text);
            }
        }
    }
    assert!(!provider.saw(secrets::PEM_LINE));
}

#[tokio::test(flavor = "multi_thread")]
async fn i10_an_answer_without_placeholders_passes_byte_for_byte() {
    const BODY: &str = "{ \"content\":[ {\"type\":\"text\",\"text\":\"\\u00e9 \\/ <pl:NOT:OURS>\"}],\n\"n\":1.0E+2 }";
    let provider = Provider::start(|_| {
        Answer::whole("application/json", BODY.into()).header("x-novel", "kept")
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let shape = SHAPES[0];
    let answer = Agent::new(&waterwall).post(shape.url(), &shape.request("hi")).await;
    assert_eq!(answer.headers()["x-novel"], "kept");
    assert_eq!(answer.text().await.expect("a body"), BODY);
}

#[tokio::test(flavor = "multi_thread")]
async fn t6_our_brackets_come_back_in_the_spelling_the_model_chose() {
    let provider = Provider::start(|seen| {
        let text = last_text(&seen.json());
        let spelt = text.replace('<', "\\u003c").replace('>', "\\u003e");
        Answer::whole(
            "application/json",
            format!("{{\"content\":[{{\"text\":\"{spelt}\"}}]}}").into(),
        )
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let shape = SHAPES[0];
    let answer =
        Agent::new(&waterwall).post_json(shape.url(), &shape.request(secrets::GITHUB)).await;
    assert_eq!(answer["content"][0]["text"], secrets::GITHUB);
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_a_stream_request_answered_as_json_and_the_reverse_are_restored() {
    let provider = Provider::start(|seen| {
        let body = seen.json();
        let shape = Shape::of(&seen.path).expect("a shape");
        let text = last_text(&body);
        if body["stream"] == true {
            Answer::json(&json!({"any": {"where": text}}))
        } else {
            let events = shape.text_stream(&[&text]).into_iter();
            Answer::stream(events.map(harness::provider::Step::send).collect())
        }
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    for shape in SHAPES {
        let answer = agent.post_json(shape.url(), &shape.streaming(secrets::AWS)).await;
        assert_eq!(answer["any"]["where"], secrets::AWS);
        let stream = agent.post_stream(shape.url(), &shape.request(secrets::AWS)).await;
        assert_eq!(shape.joined_text(&stream), secrets::AWS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_and_error_answers_are_restored() {
    // I11 and design 10.10.
    let provider = Provider::start(|seen| {
        let text = last_text(&seen.json());
        match seen.path.as_str() {
            "/v1/text" => Answer::whole("text/plain", format!("it said {text}").into()),
            _ => Answer::json(&json!({"error": {"message": format!("bad input: {text}")}}))
                .status(400),
        }
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let request = SHAPES[0].request(secrets::AWS);
    let text = agent.post("https://api.anthropic.com/v1/text", &request).await;
    assert_eq!(text.text().await.expect("a body"), format!("it said {}", secrets::AWS));
    let error = agent.post(SHAPES[0].url(), &request).await;
    assert_eq!(error.status(), 400);
    assert!(error.text().await.expect("a body").contains(secrets::AWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_placeholder_shaped_text_of_the_client_is_data() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let forged = "<pl:AWS_ACCESS_KEY:0123456789abcdef>";
    let wrapped = format!("<pl:X:{}>", secrets::AWS);
    let text = format!("{forged} {wrapped} <pl-esc:x> <pl:");
    for shape in SHAPES {
        let answer = Agent::new(&waterwall).post_json(shape.url(), &shape.request(&text)).await;
        assert_eq!(shape.text_of(&answer), text);
        assert!(!provider.last().text().contains(secrets::AWS));
        assert!(!provider.last().text().contains(forged));
    }
}
