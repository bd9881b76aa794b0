//! Sessions of agents are counted apart, however they alternate.

use harness::agent::{Agent, direct};
use harness::provider::Provider;
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::{Waterwall, said};
use serde_json::{Value, json};

const URL: &str = "https://api.anthropic.com/v1/messages";

const HEADER: &str = "x-claude-code-session-id";

async fn ask(agent: &Agent, session: Option<&str>, text: &str) {
    let mut request = agent.request(URL, SHAPES[0].request(text).to_string());
    request = request.header("user-agent", "made-up-agent/1.2 (test)");
    if let Some(session) = session {
        request = request.header(HEADER, session);
    }
    let answer = request.send().await.expect("an answer comes");
    assert!(answer.status().is_success());
    answer.text().await.expect("it comes whole");
}

async fn sessions(waterwall: &Waterwall, token: Option<&str>) -> Vec<Value> {
    let client = direct();
    let mut request = client.get(waterwall.admin("/admin/state"));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let text = request.send().await.expect("an answer").text().await.expect("a body");
    let state: Value = serde_json::from_str(&text).expect("JSON");
    state["sessions"].as_array().expect("a list").clone()
}

/// Two named sessions and two nameless agents, in turn and at once: the original ended a session
/// whenever another one spoke.
#[tokio::test(flavor = "multi_thread")]
async fn parallel_sessions_are_counted_apart() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let other = Agent::with_key(&waterwall, "another-credential");
    let (a, b) = ("11111111-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "22222222-bbbb-4bbb-8bbb-bbbbbbbbbbbb");
    for _ in 0..3 {
        tokio::join!(
            ask(&agent, Some(a), secrets::AWS),
            ask(&agent, Some(b), "hi"),
            ask(&agent, None, secrets::GITHUB),
            ask(&other, None, secrets::AWS),
        );
        ask(&agent, Some(b), secrets::PEM).await;
    }
    let all = sessions(&waterwall, Some(waterwall.token().trim())).await;
    assert_eq!(all.len(), 4, "{all:?}");
    let of =
        |id: &str| all.iter().find(|session| session["session_id"] == id).expect("it is there");
    for (id, requests, redactions, types) in
        [(a, 3, 3, json!({ "AWS_ACCESS_KEY": 3 })), (b, 6, 3, json!({ "PEM_BLOCK": 3 }))]
    {
        let session = of(id);
        assert_eq!(
            (&session["requests"], &session["redactions"]),
            (&requests.into(), &redactions.into())
        );
        assert_eq!((&session["types"], &session["restored"]), (&types, &redactions.into()));
        assert_eq!(
            (&session["named"], &session["program"]),
            (&true.into(), &"made-up-agent".into())
        );
        assert_eq!(session["hosts"], json!(["api.anthropic.com"]));
    }
    let derived: Vec<&Value> = all.iter().filter(|session| session["named"] == false).collect();
    assert_eq!(derived.len(), 2, "{all:?}");
    for session in derived {
        let id = session["session_id"].as_str().expect("an id");
        assert!(id.starts_with("derived-"), "{id}");
        assert_eq!((&session["requests"], &session["redactions"]), (&3.into(), &3.into()));
        // The log names it alike, so that totals can be counted again from lines.
        let lines = waterwall.lines("redaction");
        assert_eq!(lines.iter().filter(|line| line["session_id"] == id).count(), 3);
    }
    // Whoever has no token learns that there are sessions, and not what they are called.
    let shown = sessions(&waterwall, None).await;
    assert_eq!(shown.len(), 4);
    assert!(
        shown.iter().all(|session| session["session_id"].as_str().is_some_and(|id| id.len() <= 16))
    );
    let verdict = waterwall.verify_chain();
    assert_eq!(verdict.status.code(), Some(0), "{}", said(&verdict));
}
