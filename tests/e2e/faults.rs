//! Daemons die, providers hang up: nothing leaks, nothing is lost, service comes back by itself.

use std::sync::Arc;
use std::time::Duration;

use harness::agent::Agent;
use harness::provider::{Answer, Provider, Step, last_text};
use harness::secrets;
use harness::shape::{SHAPES, Shape};
use harness::waterwall::{Waterwall, eventually, said};
use nix::sys::signal::Signal;
use tokio::sync::Notify;

const URL: &str = "https://api.anthropic.com/v1/messages";

async fn code_of(agent: &Agent) -> Option<String> {
    let answer = agent.post(URL, &SHAPES[0].request(secrets::AWS)).await;
    answer.headers().get("x-waterwall-error").map(|code| code.to_str().expect("ASCII").to_owned())
}

/// Waits until a request passes again.
async fn comes_back(agent: &Agent) {
    for _ in 0..300 {
        if code_of(agent).await.is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("service never came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_daemon_may_die_under_traffic() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let traffic: Vec<_> = (0..2)
        .map(|_| {
            let (agent, stop) = (Agent::new(&waterwall), stop.clone());
            tokio::spawn(async move {
                let mut passed = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let request = agent.request(URL, SHAPES[0].request(secrets::AWS).to_string());
                    // A killed proxy cuts connections; what counts is that no answer is wrong.
                    let Ok(answer) = request.send().await else { continue };
                    if !answer.status().is_success() {
                        assert!(answer.headers().contains_key("x-waterwall-error"));
                        continue;
                    }
                    let Ok(text) = answer.text().await else { continue };
                    assert!(text.contains(secrets::AWS), "{text}");
                    passed += 1;
                }
                passed
            })
        })
        .collect();
    for role in ["auditd", "signer", "proxy", "auditd"] {
        waterwall.replace(role);
        comes_back(&Agent::new(&waterwall)).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for one in traffic {
        assert!(one.await.expect("no wrong answer came") > 0);
    }
    assert!(!provider.saw(secrets::AWS));
    waterwall.down();
    let verdict = waterwall.verify_chain();
    assert_eq!(verdict.status.code(), Some(0), "{}", said(&verdict));
    every_request_is_on_record(&waterwall, provider.seen().len());
}

/// Durable before egress: no more requests arrived than redaction lines exist.
fn every_request_is_on_record(waterwall: &Waterwall, arrived: usize) {
    let recorded = waterwall.lines("redaction").len();
    assert!(recorded >= arrived, "{arrived} requests arrived, {recorded} are on record");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_auditd_requests_fail_closed_with_their_code() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start_with(&provider, "timeouts:\n  append: 1\n");
    let agent = Agent::new(&waterwall);
    assert_eq!(code_of(&agent).await, None);
    let arrived = provider.seen().len();
    waterwall.signal("auditd", Signal::SIGSTOP);
    for _ in 0..2 {
        assert_eq!(code_of(&agent).await.as_deref(), Some("waterwall-chain-append-failed"));
    }
    assert_eq!(provider.seen().len(), arrived);
    waterwall.signal("auditd", Signal::SIGCONT);
    comes_back(&agent).await;
    let verdict = waterwall.verify_chain();
    assert_eq!(verdict.status.code(), Some(0), "{}", said(&verdict));
    // The request that timed out was never sent later, and the log says so.
    assert!(waterwall.lines("outcome").iter().any(|line| line["sent"] == "none"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_signer_egress_closes_and_opens_again() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start_with(&provider, "audit:\n  max_unsigned_seconds: 1\n");
    let agent = Agent::new(&waterwall);
    assert_eq!(code_of(&agent).await, None);
    waterwall.signal("signer", Signal::SIGSTOP);
    let mut closed = None;
    for _ in 0..300 {
        closed = code_of(&agent).await;
        if closed.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(closed.as_deref(), Some("waterwall-signer-unavailable"));
    let arrived = provider.seen().len();
    assert!(code_of(&agent).await.is_some());
    assert_eq!(provider.seen().len(), arrived);
    waterwall.signal("signer", Signal::SIGCONT);
    comes_back(&agent).await;
    let verdict = waterwall.verify_chain();
    assert_eq!(verdict.status.code(), Some(0), "{}", said(&verdict));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_the_provider_cuts_never_reaches_the_agent_as_complete() {
    let provider = Provider::start(|seen| {
        let shape = Shape::of(&seen.path).expect("a shape");
        let text = last_text(&seen.json());
        let events = shape.text_stream(&[&text, "never said"]);
        let mut steps: Vec<Step> = events.into_iter().take(5).map(Step::send).collect();
        steps.push(Step::HangUp);
        Answer::stream(steps)
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    for agent in [Agent::new(&waterwall), Agent::http1(&waterwall)] {
        for shape in SHAPES {
            // A cut may overtake what was sent before it, the head of the answer included.
            let request = agent.request(shape.url(), shape.streaming(secrets::AWS).to_string());
            let Ok(answer) = request.send().await else { continue };
            assert!(answer.status().is_success(), "{shape:?}");
            let whole = answer.text().await;
            assert!(whole.is_err(), "{shape:?} ended as if it were complete:\n{whole:?}");
        }
    }
    assert!(!provider.saw(secrets::AWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_answer_the_provider_cuts_is_not_passed_on() {
    let provider = Provider::start(|_| {
        Answer::stream(vec![Step::send("{\"content\": [{\"text\": \"half"), Step::HangUp])
            .header("content-type", "application/json")
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let answer = Agent::new(&waterwall).post(URL, &SHAPES[0].request("hi")).await;
    let failed = answer.status() == 502 || answer.text().await.is_err();
    assert!(failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_up_frees_its_exchange() {
    let go = Arc::new(Notify::new());
    let script = go.clone();
    let provider = Provider::start(move |seen| {
        let text = last_text(&seen.json());
        let mut steps: Vec<Step> =
            Shape::Messages.text_stream(&[&text]).into_iter().map(Step::send).collect();
        steps.insert(3, Step::Wait(script.clone()));
        Answer::stream(steps)
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let mut answer = agent.post(URL, &SHAPES[0].streaming(secrets::AWS)).await;
    answer.chunk().await.expect("the stream starts");
    drop(answer);
    go.notify_one();
    // Service goes on, on the same agent's connection.
    go.notify_one();
    let stream = agent.post_stream(URL, &SHAPES[0].streaming(secrets::GITHUB)).await;
    assert_eq!(SHAPES[0].joined_text(&stream), secrets::GITHUB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_gets_its_own_code() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let file = waterwall.path("etc/permitted_hosts.yaml");
    let text = std::fs::read_to_string(&file).expect("a file");
    // A port that was free a moment ago, and which the sandbox lets the proxy reach.
    let dead =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("one");
    let mut waterwall = waterwall;
    waterwall.down();
    let address = provider.address().to_string();
    std::fs::write(&file, text.replace(&address, &dead.to_string())).expect("a file");
    waterwall.up();
    let agent = Agent::new(&waterwall);
    assert_eq!(code_of(&agent).await.as_deref(), Some("waterwall-upstream-failed"));
    eventually("its outcome is on record", || {
        waterwall.lines("outcome").iter().any(|line| line["sent"] == "none")
    });
}
