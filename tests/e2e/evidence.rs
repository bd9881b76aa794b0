//! The log says what happened, verifies, and shows where it was touched.

use harness::agent::Agent;
use harness::provider::Provider;
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::{Waterwall, said};
use serde_json::Value;

const URL: &str = "https://api.anthropic.com/v1/messages";

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_leaves_its_lines() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let text = format!("{} {} {}", secrets::AWS, secrets::AWS, secrets::GITHUB);
    agent.post_json(URL, &SHAPES[0].request(&text)).await;
    agent.post_json(URL, &SHAPES[0].request("clean")).await;
    waterwall.down();
    let log = waterwall.log();
    let types: Vec<&str> = log.iter().filter_map(|line| line["line_type"].as_str()).collect();
    for expected in [
        "genesis",
        "start",
        "policy_change",
        "redaction",
        "detokenization",
        "outcome",
        "scan_clean",
        "stop",
        "checkpoint",
    ] {
        assert!(types.contains(&expected), "no {expected} line in {types:?}");
    }
    assert_eq!(types[0], "genesis");
    assert_eq!(types[types.len() - 2..], ["stop", "checkpoint"]);
    let redaction = &waterwall.lines("redaction")[0];
    assert_eq!(redaction["host"], "api.anthropic.com");
    assert_eq!(redaction["redaction_count"], 3);
    let kinds: Vec<(&Value, &Value)> = redaction["redactions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|redaction| (&redaction["type"], &redaction["count"]))
        .collect();
    assert!(kinds.contains(&(&"AWS_ACCESS_KEY".into(), &2.into())), "{kinds:?}");
    assert!(kinds.contains(&(&"GITHUB_TOKEN".into(), &1.into())), "{kinds:?}");
    let detokenization = &waterwall.lines("detokenization")[0];
    assert_eq!(detokenization["detok_count"], 3);
    assert_eq!(detokenization["req_no"], redaction["req_no"]);
    for (number, line) in log.iter().enumerate() {
        assert_eq!(line["seq"], number + 1);
        assert!(line["frameworks"].is_array());
    }
    let policy = redaction["policy_hash"].as_str().expect("a hash");
    assert!(waterwall.path(&format!("state/log/policy/{policy}.json")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_flipped_byte_is_found_where_it_is() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    Agent::new(&waterwall).post_json(URL, &SHAPES[0].request(secrets::AWS)).await;
    waterwall.down();
    let verdict = waterwall.verify_chain();
    assert_eq!(verdict.status.code(), Some(0), "{}", said(&verdict));
    assert!(String::from_utf8_lossy(&verdict.stdout).starts_with("OK: "), "{}", said(&verdict));
    let file = waterwall.path("state/log/proxy.jsonl");
    let good = std::fs::read(&file).expect("a log");
    let text = String::from_utf8(good.clone()).expect("UTF-8");
    let at = text.find("\"redaction\"").expect("a redaction line");
    let line = text[..at].matches('\n').count();
    let host = text[..at].rfind("api.anthropic.com").expect("the line names its host");
    let mut bad = good.clone();
    // `api` becomes `aqi`: still a name, so that only the hashes can tell.
    bad[host + 1] ^= 1;
    std::fs::write(&file, &bad).expect("the log can be written");
    let verdict = waterwall.verify_chain();
    assert_eq!(verdict.status.code(), Some(1), "{}", said(&verdict));
    // The next line's `prev_hash` no longer fits: lines count from 1.
    let expected = format!("FAIL: first failure at seq {}", line + 2);
    assert!(
        String::from_utf8_lossy(&verdict.stdout).starts_with(&expected),
        "{expected}\n{}",
        said(&verdict)
    );
    std::fs::write(&file, &good).expect("the log can be written");
    assert_eq!(waterwall.verify_chain().status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_restarts_continue_one_chain() {
    let provider = Provider::echo().await;
    let mut waterwall = Waterwall::start(&provider);
    for _ in 0..3 {
        Agent::new(&waterwall).post_json(URL, &SHAPES[0].request(secrets::AWS)).await;
        waterwall.down();
        waterwall.up();
    }
    waterwall.down();
    assert_eq!(waterwall.lines("genesis").len(), 1);
    assert_eq!(waterwall.lines("start").len(), 4);
    let verdict = waterwall.verify_chain();
    assert_eq!(verdict.status.code(), Some(0), "{}", said(&verdict));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_behind_the_signer_is_never_continued() {
    // F08: auditd refuses, and so nothing leaves.
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    Agent::new(&waterwall).post_json(URL, &SHAPES[0].request(secrets::AWS)).await;
    waterwall.down();
    let file = waterwall.path("state/log/proxy.jsonl");
    let log = std::fs::read_to_string(&file).expect("a log");
    let kept: String = log.split_inclusive('\n').take(2).collect();
    std::fs::write(&file, kept).expect("the log can be written");
    std::fs::remove_file(waterwall.path("state/log/head.note")).expect("a head note");
    let up = waterwall.ctl(&["up", "--detach"]);
    assert!(!up.status.success());
    assert!(said(&up).contains("E_BEHIND_SIGNER"), "{}", said(&up));
}
