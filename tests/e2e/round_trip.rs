//! An agent talks, the provider sees placeholders, the agent gets its secrets back.

use harness::agent::Agent;
use harness::provider::Provider;
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::{Waterwall, said};

#[tokio::test(flavor = "multi_thread")]
async fn secrets_leave_as_placeholders_and_come_back_byte_for_byte() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    for agent in [Agent::new(&waterwall), Agent::http1(&waterwall)] {
        for shape in SHAPES {
            let text = format!("keys: {}, and\n{}", secrets::AWS, secrets::PEM);
            let answer = agent.post_json(shape.url(), &shape.request(&text)).await;
            assert_eq!(shape.text_of(&answer), text, "{shape:?}");
            let seen = provider.last();
            assert!(seen.text().contains("<pl:AWS_ACCESS_KEY:"), "{}", seen.text());
            assert!(seen.text().contains("<pl:PEM_BLOCK:"), "{}", seen.text());
        }
    }
    for secret in [secrets::AWS, secrets::PEM_LINE] {
        assert!(!provider.saw(secret));
        assert_eq!(waterwall.files_holding(secret), Vec::<std::path::PathBuf>::new());
    }
    let verdict = waterwall.verify_chain();
    assert_eq!(verdict.status.code(), Some(0), "{}", said(&verdict));
}

#[tokio::test(flavor = "multi_thread")]
async fn speaks_http2_and_http1_on_both_sides() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let shape = SHAPES[0];
    for (agent, version) in [
        (Agent::new(&waterwall), reqwest::Version::HTTP_2),
        (Agent::http1(&waterwall), reqwest::Version::HTTP_11),
    ] {
        let answer = agent.post(shape.url(), &shape.request("hello")).await;
        assert_eq!(answer.version(), version);
        assert_eq!(provider.last().version, "HTTP/2.0", "the provider offers h2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_body_passes_byte_for_byte() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    // I4: spacing, number lexemes, escapes and key order are the client's own.
    let body = "{ \"model\":\"m\",\n\t\"max_tokens\" : 1.0E+2, \"messages\":[{\"content\":\"\\u00e9 \\/ é\",\"role\":\"user\"}] }";
    let answer = Agent::new(&waterwall)
        .request("https://api.anthropic.com/v1/messages?beta=true", body)
        .send()
        .await
        .expect("an answer comes");
    assert!(answer.status().is_success());
    let seen = provider.last();
    assert_eq!(seen.text(), body);
    assert_eq!(seen.path, "/v1/messages?beta=true");
    assert_eq!(seen.headers["x-api-key"], "made-up-credential");
    assert_eq!(waterwall.lines("scan_clean").len(), 1);
    assert!(waterwall.lines("redaction").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_outside_a_replaced_span_stay() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let (left, right) = (
        "{ \"max_tokens\" : 1.0E+2,\"messages\":[ {\"role\":\"user\",\"content\":\"\\u00e9 \\/ ",
        " tail\\n\"} ], \"model\":\"m\" }",
    );
    let body = format!("{left}{}{right}", secrets::AWS);
    Agent::new(&waterwall).request(SHAPES[0].url(), body).send().await.expect("an answer comes");
    let seen = provider.last();
    assert!(seen.text().starts_with(left) && seen.text().ends_with(right), "{}", seen.text());
    assert!(!seen.text().contains(secrets::AWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn count_tokens_and_unknown_paths_are_scanned_too() {
    // I8: the same placeholders wherever a body goes.
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let mut bodies = Vec::new();
    for path in ["/v1/messages", "/v1/messages/count_tokens", "/api/event_logging/v2/batch"] {
        let url = format!("https://api.anthropic.com{path}");
        agent.post(&url, &SHAPES[0].request(secrets::GITHUB)).await;
        bodies.push(provider.last().text().to_owned());
    }
    assert!(!provider.saw(secrets::GITHUB));
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[0], bodies[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_keeps_its_placeholders_turn_by_turn() {
    // P1 and the prefix half of I4: the provider's prompt cache keeps hitting.
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let first = format!(
        "{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}",
        secrets::AWS
    );
    let second = format!(
        "{first},{{\"role\":\"assistant\",\"content\":\"{} and {}\"}}",
        secrets::AWS,
        secrets::GITHUB
    );
    agent.request(SHAPES[0].url(), format!("{first}]}}")).send().await.expect("an answer comes");
    let sent_first = provider.last().text().to_owned();
    agent.request(SHAPES[0].url(), format!("{second}]}}")).send().await.expect("an answer comes");
    let sent_second = provider.last().text().to_owned();
    assert!(
        sent_second.starts_with(sent_first.trim_end_matches("]}")),
        "{sent_first}\n{sent_second}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_at_once_do_not_get_each_others_secrets() {
    // P6: a placeholder resolves for the credential that made it, and for no other.
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let (one, two) =
        (Agent::with_key(&waterwall, "key-one"), Agent::with_key(&waterwall, "key-two"));
    let shape = SHAPES[0];
    let (text_one, text_two) =
        (format!("one {}", secrets::AWS), format!("two {}", secrets::GITHUB));
    let (request_one, request_two) = (shape.request(&text_one), shape.request(&text_two));
    for _ in 0..10 {
        let (answer_one, answer_two) = tokio::join!(
            one.post_json(shape.url(), &request_one),
            two.post_json(shape.url(), &request_two),
        );
        assert_eq!(shape.text_of(&answer_one), text_one);
        assert_eq!(shape.text_of(&answer_two), text_two);
    }
    let sent = provider.seen().into_iter().map(|seen| seen.text().to_owned());
    let placeholder = sent
        .filter_map(|body| Some(body[body.find("<pl:AWS")?..].split('>').next()?.to_owned() + ">"))
        .next()
        .expect("the provider saw a placeholder of the first agent");
    let stolen = two.post_json(shape.url(), &shape.request(&placeholder)).await;
    assert_eq!(shape.text_of(&stolen), placeholder);
}
