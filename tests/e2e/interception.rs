//! Which hosts are intercepted, and how their names may be spelt.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use harness::agent::Agent;
use harness::provider::Provider;
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::Waterwall;

/// The first line of the answer to raw bytes on the proxy's port.
fn answer_to(waterwall: &Waterwall, bytes: &str) -> String {
    let mut stream = TcpStream::connect(waterwall.listen()).expect("the proxy listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a deadline");
    stream.write_all(bytes.as_bytes()).expect("the proxy reads");
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

fn connect(waterwall: &Waterwall, authority: &str) -> String {
    answer_to(waterwall, &format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_of_a_permitted_host_is_intercepted() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    for authority in ["api.anthropic.com:443", "API.Anthropic.COM:443", "api.anthropic.com.:443"] {
        assert!(connect(&waterwall, authority).starts_with("HTTP/1.1 200"), "{authority}");
    }
    let url = "https://API.Anthropic.COM/v1/messages";
    let answer = Agent::new(&waterwall).post_json(url, &SHAPES[0].request(secrets::AWS)).await;
    assert_eq!(SHAPES[0].text_of(&answer), secrets::AWS);
    assert!(!provider.saw(secrets::AWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_else_is_refused_with_a_body_that_says_what_to_do() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let answer = connect(&waterwall, "evil.example:443");
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.contains("evil.example") && answer.contains("permitted_hosts.yaml"), "{answer}");
    for authority in [
        "sub.api.anthropic.com:443",
        "api.anthropic.com.evil.example:443",
        "127.0.0.1:443",
        "[::1]:443",
        "2130706433:443",
        "api.anthropic.com:8443",
        "api.anthropic.com:80",
    ] {
        let answer = connect(&waterwall, authority);
        assert!(answer.starts_with("HTTP/1.1 4"), "{authority}: {answer}");
    }
    for request in [
        "GET http://api.anthropic.com/ HTTP/1.1\r\nHost: api.anthropic.com\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: api.anthropic.com\r\n\r\n",
        "garbage\r\n\r\n",
    ] {
        let answer = answer_to(&waterwall, request);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{request}: {answer}");
    }
    assert!(provider.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_header_that_names_another_host_is_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let answer = Agent::http1(&waterwall)
        .request(SHAPES[0].url(), "{}")
        .header("host", "api.openai.com")
        .send()
        .await
        .expect("an answer comes");
    assert!(answer.status().is_client_error() || answer.status() == 502);
    assert!(answer.headers().contains_key("x-waterwall-error"));
    assert!(provider.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_takes_orders_from_the_token_alone() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let health = client.get(waterwall.admin("/healthz")).send().await.expect("an answer comes");
    assert_eq!(health.status(), 200);
    let url = waterwall.admin("/admin/killswitch");
    let arm = || {
        client
            .post(&url)
            .header("content-type", "application/json")
            .body(r#"{"action":"arm","reason":"drill"}"#)
    };
    let status = |request: reqwest::RequestBuilder| async {
        request.send().await.expect("an answer comes").status().as_u16()
    };
    let token = waterwall.token();
    let token = token.trim();
    // D-lines of the original: no token, a browser's cross-origin post, a rebound name.
    assert_eq!(status(arm()).await, 401);
    assert_eq!(status(arm().bearer_auth("0".repeat(64))).await, 401);
    assert_eq!(
        status(arm().bearer_auth(token).header("origin", "https://evil.example")).await,
        403
    );
    assert_eq!(status(arm().bearer_auth(token).header("host", "evil.example")).await, 403);
    let plain =
        client.post(&url).header("content-type", "text/plain").bearer_auth(token).body("{}");
    assert_eq!(status(plain).await, 415);
    assert!(
        Agent::new(&waterwall)
            .post(SHAPES[0].url(), &SHAPES[0].request("hi"))
            .await
            .status()
            .is_success()
    );
    assert_eq!(status(arm().bearer_auth(token)).await, 200);
    assert_eq!(
        Agent::new(&waterwall).post(SHAPES[0].url(), &SHAPES[0].request("hi")).await.status(),
        502
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn daemons_run_confined() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    for role in ["proxy", "signer", "auditd"] {
        let status = std::fs::read_to_string(format!("/proc/{}/status", waterwall.pid(role)))
            .expect("the process is there");
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).expect("a field");
            line.split_whitespace().last().expect("a value").to_owned()
        };
        assert_eq!(field("Seccomp:"), "2", "{role}");
        assert_eq!(field("NoNewPrivs:"), "1", "{role}");
        assert_eq!(field("CapEff:"), "0000000000000000", "{role}");
        assert_eq!(field("CapPrm:"), "0000000000000000", "{role}");
    }
    let status = waterwall.status();
    for level in [&status["proxy"]["sandbox"], &status["log"]["sandbox"]] {
        assert!(level.as_str().is_some_and(|level| level.contains("seccomp")), "{status}");
    }
}
