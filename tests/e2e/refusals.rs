//! What is not fully parsed, scanned, rewritten and recorded does not leave.

use harness::agent::Agent;
use harness::provider::Provider;
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::{Waterwall, eventually, said};
use nix::sys::signal::Signal;
use reqwest::Response;
use serde_json::{Value, json};

const URL: &str = "https://api.anthropic.com/v1/messages";

/// Demands a refusal with `code`, in the provider's shape, that shows nothing of the request.
async fn is_refused(answer: Response, status: u16, code: &str) {
    assert_eq!(answer.status(), status, "{code}");
    assert_eq!(answer.headers()["x-waterwall-error"], code);
    let text = answer.text().await.expect("a refusal has a body");
    let body: Value = serde_json::from_str(&text).expect("a refusal is JSON");
    assert_eq!(body["type"], "error");
    assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{text}");
    assert!(text.contains(code), "{text}");
    assert!(!text.contains(secrets::AWS), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_parsed_is_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let deep = format!("{}\"{}\"{}", "[".repeat(200), secrets::AWS, "]".repeat(200));
    let bodies: [&[u8]; 8] = [
        format!("{{\"a\":\"{}\"", secrets::AWS).leak().as_bytes(),
        format!("{{\"a\":\"{}\"}} trailing", secrets::AWS).leak().as_bytes(),
        format!("{{\"a\":\"{}\",\"n\":NaN}}", secrets::AWS).leak().as_bytes(),
        format!("{{'a':'{}'}}", secrets::AWS).leak().as_bytes(),
        format!("\u{feff}{{\"a\":\"{}\"}}", secrets::AWS).leak().as_bytes(),
        deep.leak().as_bytes(),
        &[&b"{\"a\":\"\xff"[..], secrets::AWS.as_bytes(), b"\"}"].concat().leak()[..],
        format!("{{\"a\":\"\u{1}{}\"}}", secrets::AWS).leak().as_bytes(),
    ];
    for body in bodies {
        let answer = agent.request(URL, body).send().await.expect("an answer comes");
        assert!(answer.status().is_client_error() || answer.status() == 502);
        assert!(answer.headers().contains_key("x-waterwall-error"));
    }
    assert!(provider.seen().is_empty());
    eventually("each refusal is on record", || waterwall.lines("block").len() == bodies.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn media_encodings_and_charsets_that_are_not_scanned_are_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let body = SHAPES[0].request(secrets::AWS).to_string();
    for (name, value) in [
        ("content-encoding", "made-up"),
        ("content-encoding", "identity, made-up"),
        ("content-type", "application/octet-stream"),
        ("content-type", "application/json; charset=utf-16"),
    ] {
        let request = agent.client().post(URL).header("content-type", "application/json");
        let mut request = request.body(body.clone()).build().expect("a request");
        request.headers_mut().insert(name, value.parse().expect("a value"));
        let answer = agent.client().execute(request).await.expect("an answer comes");
        assert_eq!(answer.status(), 415, "{name}: {value}");
    }
    assert!(provider.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_cap_is_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start_with(&provider, "limits:\n  body_mib: 1\n");
    let text = format!("{} {}", "x".repeat(1 << 20), secrets::AWS);
    let answer = Agent::new(&waterwall).post(URL, &SHAPES[0].request(&text)).await;
    is_refused(answer, 413, "waterwall-body-too-large").await;
    assert!(provider.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_scanned_to_its_end() {
    // The original streamed everything above 10 MiB past its scanner.
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let text = format!("{} {}", "x".repeat(11 << 20), secrets::AWS);
    let answer = Agent::new(&waterwall).post_json(URL, &SHAPES[0].request(&text)).await;
    assert!(SHAPES[0].text_of(&answer).ends_with(secrets::AWS));
    assert!(!provider.saw(secrets::AWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_path_query_or_a_header_is_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    for url in [
        format!("https://api.anthropic.com/v1/{}", secrets::AWS),
        format!("{URL}?key={}", secrets::GITHUB),
        format!("{URL}?key=%67hp_{}", &secrets::GITHUB[4..]),
    ] {
        let answer = agent.request(&url, "{}").send().await.expect("an answer comes");
        is_refused(answer, 400, "waterwall-header-hit").await;
    }
    let answer = agent.request(URL, "{}").header("x-note", secrets::GITHUB).send().await;
    is_refused(answer.expect("an answer comes"), 400, "waterwall-header-hit").await;
    assert!(provider.seen().is_empty());
    // The client's own credential is a secret by design, and stays what it is.
    let keyed = Agent::with_key(&waterwall, secrets::ANTHROPIC);
    assert!(keyed.post(URL, &SHAPES[0].request("hi")).await.status().is_success());
    assert_eq!(provider.last().headers["x-api-key"], secrets::ANTHROPIC);
}

#[tokio::test(flavor = "multi_thread")]
async fn t8_a_secret_in_a_protocol_position_is_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let mut body = SHAPES[0].request("hi");
    body["model"] = secrets::AWS.into();
    let answer = Agent::new(&waterwall).post(URL, &body).await;
    assert!(answer.headers().contains_key("x-waterwall-error"));
    assert!(provider.seen().is_empty());
    eventually("the refusal is on record", || {
        waterwall.lines("block").iter().any(|line| line["reason"] == "protocol_position")
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kill_switch_source_refuses_and_clears() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let refused = || async {
        let answer = agent.post(URL, &SHAPES[0].request("hi")).await;
        is_refused(answer, 502, "waterwall-killswitch-engaged").await;
    };
    let passes = || async {
        assert!(agent.post(URL, &SHAPES[0].request("hi")).await.status().is_success());
    };
    let armed_by = |sources: Value| {
        eventually(&format!("the switch is armed by {sources}"), || {
            waterwall.status()["proxy"]["kill_switch"]["sources_active"] == sources
        });
    };
    passes().await;

    let arm = waterwall.ctl(&["killswitch", "arm", "--reason", "drill"]);
    assert!(arm.status.success(), "{}", said(&arm));
    refused().await;
    waterwall.ctl(&["killswitch", "disarm", "--reason", "over"]);
    passes().await;

    std::fs::write(waterwall.path("run/kill"), "").expect("the sentinel can be made");
    refused().await;
    std::fs::remove_file(waterwall.path("run/kill")).expect("the sentinel can be removed");
    // Lifted only once that is on record.
    armed_by(json!([]));
    passes().await;

    waterwall.signal("proxy", Signal::SIGUSR1);
    armed_by(json!(["sigusr1"]));
    refused().await;
    waterwall.signal("proxy", Signal::SIGUSR1);
    armed_by(json!([]));
    passes().await;

    let config = std::fs::read_to_string(waterwall.path("etc/config.yaml")).expect("a file");
    std::fs::write(waterwall.path("etc/config.yaml"), format!("{config}kill_switch: true\n"))
        .expect("the configuration can be written");
    waterwall.ctl(&["reload"]);
    refused().await;
    std::fs::write(waterwall.path("etc/config.yaml"), config).expect("a file");
    waterwall.ctl(&["reload"]);
    passes().await;

    // Nothing that was refused arrived, and every move is on record.
    assert_eq!(provider.seen().len(), 5);
    let lines = waterwall.lines("killswitch");
    let actions = |action: &str| lines.iter().filter(|line| line["action"] == action).count();
    assert_eq!((actions("armed"), actions("cleared"), actions("refused")), (4, 4, 4), "{lines:?}");
    assert!(lines.iter().any(|line| line["reason"] == "drill"));
    let verdict = waterwall.verify_chain();
    assert_eq!(verdict.status.code(), Some(0), "{}", said(&verdict));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_broken_host_file_refuses_everything_until_it_is_healed() {
    let provider = Provider::echo().await;
    let mut waterwall = Waterwall::start(&provider);
    let file = waterwall.path("etc/permitted_hosts.yaml");
    let good = std::fs::read(&file).expect("a file");
    waterwall.down();
    std::fs::write(&file, "hosts: []\n").expect("the file can be written");
    waterwall.up();
    let agent = Agent::new(&waterwall);
    let answer = agent.post(URL, &SHAPES[0].request(secrets::AWS)).await;
    is_refused(answer, 502, "waterwall-config-error").await;
    assert!(provider.seen().is_empty());

    std::fs::write(&file, &good).expect("the file can be written");
    let reload = waterwall.ctl(&["reload"]);
    assert!(reload.status.success(), "{}", said(&reload));
    assert!(agent.post(URL, &SHAPES[0].request("hi")).await.status().is_success());

    // Broken while running: refused, and the old set stays.
    std::fs::write(&file, "hosts:\n  - host: a\n    novel_key: 1\n").expect("a file");
    let reload = waterwall.ctl(&["reload"]);
    assert!(!reload.status.success());
    let message = said(&reload);
    assert!(message.contains("permitted_hosts.yaml") && message.contains("novel_key"), "{message}");
    assert!(agent.post(URL, &SHAPES[0].request("hi")).await.status().is_success());
}
