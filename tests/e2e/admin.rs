//! The admin listener: it speaks HTTP as it should, and tells the truth.

use harness::agent::{Agent, direct};
use harness::prometheus::Page;
use harness::provider::Provider;
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::{Waterwall, eventually};
use nix::sys::signal::Signal;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

const URL: &str = "https://api.anthropic.com/v1/messages";

async fn get(waterwall: &Waterwall, path: &str) -> Response {
    direct().get(waterwall.admin(path)).send().await.expect("an answer comes")
}

async fn json(answer: Response) -> Value {
    assert_eq!(answer.headers()["content-type"], "application/json");
    serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON")
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.expect("an answer comes").status().as_u16()
}

async fn metrics(waterwall: &Waterwall) -> Page {
    let answer = get(waterwall, "/metrics").await;
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    Page::read(&answer.text().await.expect("a body")).expect("a page without a fault")
}

/// RFC 9110: 404, 405 with `Allow`, 413, 415, 401 with a challenge, and HEAD wherever there is GET.
#[tokio::test(flavor = "multi_thread")]
async fn answers_as_http_says() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let token = waterwall.token();
    for path in ["/", "/admin", "/healthz/", "/admin/state/x", "/METRICS"] {
        assert_eq!(get(&waterwall, path).await.status(), 404, "{path}");
    }
    for (path, others, allow) in [
        ("/healthz", [Method::POST, Method::PUT, Method::DELETE], "GET, HEAD"),
        ("/admin/state", [Method::POST, Method::PATCH, Method::OPTIONS], "GET, HEAD"),
        ("/metrics", [Method::POST, Method::PUT, Method::DELETE], "GET, HEAD"),
        ("/admin/killswitch", [Method::GET, Method::HEAD, Method::PUT], "POST"),
        ("/admin/reload", [Method::GET, Method::DELETE, Method::OPTIONS], "POST"),
    ] {
        for method in others {
            let request = direct().request(method.clone(), waterwall.admin(path));
            let answer = request.bearer_auth(token.trim()).send().await.expect("an answer comes");
            assert_eq!(answer.status(), 405, "{method} {path}");
            assert_eq!(answer.headers()["allow"], allow, "{method} {path}");
        }
    }
    for path in ["/healthz", "/admin/state", "/metrics"] {
        let answer = direct().head(waterwall.admin(path)).send().await.expect("an answer comes");
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["cache-control"], "no-store");
    }
    let post = |path: &str| {
        let request = direct().post(waterwall.admin(path)).bearer_auth(token.trim());
        request.header("content-type", "application/json")
    };
    let large = format!(r#"{{"action":"arm","reason":"{}"}}"#, "x".repeat(20_000));
    assert_eq!(status(post("/admin/killswitch").body(large)).await, 413);
    for body in ["", "{", "{}", "[]", r#"{"action":"stop"}"#, r#"{"action":"arm","x":1}"#] {
        assert_eq!(status(post("/admin/killswitch").body(body)).await, 400, "{body}");
    }
    let long = format!(r#"{{"action":"arm","reason":"{}"}}"#, "x".repeat(201));
    assert_eq!(status(post("/admin/killswitch").body(long)).await, 400);
    assert_eq!(status(post("/admin/reload").body(r#"{"force":true}"#)).await, 400);
    let gzip = post("/admin/killswitch").header("content-encoding", "gzip");
    assert_eq!(status(gzip.body(r#"{"action":"arm"}"#)).await, 415);
    let unasked = direct().post(waterwall.admin("/admin/reload"));
    let answer = unasked.header("content-type", "application/json").send().await.expect("one");
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["www-authenticate"]),
        (401, &"Bearer".parse().expect("a value"))
    );
    // None of all that moved anything.
    assert_eq!(waterwall.status()["killswitch"]["active"], false);
    assert!(waterwall.lines("killswitch").is_empty());
}

/// Fields count what happened, and change when it does.
#[tokio::test(flavor = "multi_thread")]
async fn the_state_is_filled_with_what_happened() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let before = json(get(&waterwall, "/admin/state").await).await;
    assert_eq!((&before["status"], &before["faults"]), (&"ok".into(), &Value::Array(vec![])));
    assert_eq!(before["upstream"]["last_ok_ts"], Value::Null);
    assert_eq!(before["counters_5m"]["latency_p50_ms"], Value::Null);
    let agent = Agent::new(&waterwall);
    let text = format!("{} and {} and {}", secrets::AWS, secrets::GITHUB, secrets::AWS);
    agent.post_json(URL, &SHAPES[0].request(&text)).await;
    agent.post_json(URL, &SHAPES[0].request("hi")).await;
    let refused = agent.request(URL, "{").send().await.expect("an answer comes");
    assert!(refused.headers().contains_key("x-waterwall-error"));
    let state = json(get(&waterwall, "/admin/state").await).await;
    let counters = &state["counters"];
    assert_eq!((&counters["forwarded"], &counters["redacted"]), (&2.into(), &3.into()));
    assert_eq!(counters["restored"], 3);
    assert_eq!(counters["refused"]["waterwall-body-unparseable"], 1);
    let recent = &state["counters_5m"];
    assert_eq!((&recent["requests"], &recent["redactions"]), (&2.into(), &3.into()));
    assert_eq!((&recent["restored"], &recent["refused"]), (&3.into(), &1.into()));
    assert_eq!(recent["top_types"][0], serde_json::json!({ "type": "AWS_ACCESS_KEY", "count": 2 }));
    for quantile in ["latency_p50_ms", "latency_p99_ms"] {
        assert!(recent[quantile].as_f64().is_some_and(|ms| ms > 0.0), "{recent}");
    }
    let directions: Vec<&str> = state["recent_activity"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|event| event["direction"].as_str())
        .collect();
    assert_eq!(directions, ["refused", "out", "in", "out"]);
    assert_eq!(state["store"]["values"], 2);
    assert_eq!(
        (&state["store"]["ttl_seconds"], &state["store"]["capacity"]),
        (&14_400.into(), &10_000.into())
    );
    assert!(state["upstream"]["last_ok_ts"].is_string());
    assert_eq!(
        (&state["log"]["open"], &state["queues"]["signer_calls"]),
        (&true.into(), &0.into())
    );
    assert!(state["log"]["lines"].as_u64().is_some_and(|lines| lines >= 3), "{state}");
    assert!(state["sandbox"].as_str().is_some_and(|level| level.contains("seccomp")));
    assert_eq!(state["policy"]["hash"], waterwall.lines("policy_change")[0]["new_policy_hash"]);
    for secret in secrets::ALL {
        assert!(!state.to_string().contains(secret));
    }
    let health = json(get(&waterwall, "/healthz").await).await;
    assert_eq!((&health["status"], &health["killswitch_active"]), (&"ok".into(), &false.into()));
    assert_eq!(health["patterns_loaded"], state["policy"]["patterns"]);
    assert_eq!((&health["store_values"], &health["store_capacity"]), (&2.into(), &10_000.into()));
}

/// The page is what a strict reader takes, before and after traffic, and its histograms count.
#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_are_prometheus_text() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let page = metrics(&waterwall).await;
    assert_eq!(page.value("waterwall_healthy", &[]), Some(1.0));
    assert_eq!(page.value("waterwall_request_added_seconds_count", &[]), Some(0.0));
    let agent = Agent::new(&waterwall);
    for text in [secrets::AWS, "hi"] {
        agent.post_json(URL, &SHAPES[0].request(text)).await;
        agent.post_stream(URL, &SHAPES[0].streaming(text)).await;
    }
    agent.request(URL, "{").send().await.expect("an answer comes");
    let page = metrics(&waterwall).await;
    for (name, labels, value) in [
        ("waterwall_requests_forwarded_total", &[][..], 4.0),
        ("waterwall_values_redacted_total", &[], 2.0),
        ("waterwall_request_added_seconds_count", &[], 4.0),
        ("waterwall_log_append_seconds_count", &[("class", "durable")], 2.0),
        ("waterwall_log_append_seconds_count", &[("class", "written")], 2.0),
        ("waterwall_requests_refused_total", &[("code", "waterwall-body-unparseable")], 1.0),
        ("waterwall_sessions", &[], 1.0),
        ("waterwall_fault", &[("code", "log-silent")], 0.0),
        ("waterwall_kill_switch_source_active", &[("source", "http")], 0.0),
    ] {
        assert_eq!(page.value(name, labels), Some(value), "{name} {labels:?}");
    }
    let pieces = page.value("waterwall_answer_added_seconds_count", &[]).expect("a count");
    assert!(pieces >= 4.0, "{pieces}");
    let added = page.value("waterwall_request_added_seconds_sum", &[]).expect("a sum");
    assert!(added > 0.0);
    assert_eq!(page.family("waterwall_request_added_seconds").expect("one").kind, "histogram");
}

/// What waits for the provider or for the client's body is no time that Waterwall adds.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_others_is_no_added_time() {
    let provider = Provider::start(|_| {
        std::thread::sleep(WAIT);
        harness::provider::Answer::json(&serde_json::json!({ "content": [] }))
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::http1(&waterwall);
    let (mut sender, body) = http_body_util::channel::Channel::<bytes::Bytes>::new(2);
    let start = std::time::Instant::now();
    let sending = tokio::spawn(agent.request(URL, reqwest::Body::wrap(body)).send());
    tokio::time::sleep(WAIT).await;
    let text = SHAPES[0].request("hi").to_string();
    sender.send_data(text.into()).await.expect("room");
    drop(sender);
    let answer = sending.await.expect("no panic").expect("an answer comes");
    assert_eq!(answer.status(), 200);
    answer.text().await.expect("it comes whole");
    let elapsed = start.elapsed().as_secs_f64();
    let page = metrics(&waterwall).await;
    let sum = |name: &str| page.value(&format!("{name}_sum"), &[]).expect("a sum");
    let added = sum("waterwall_request_added_seconds") + sum("waterwall_answer_added_seconds");
    // However slow this machine is: both waits are part of the whole, and of what was added none.
    assert!(added > 0.0 && added + 2.0 * WAIT.as_secs_f64() <= elapsed, "{added} of {elapsed}");
}

/// What the client, and then the provider, take their time for.
const WAIT: std::time::Duration = std::time::Duration::from_secs(1);

/// Health fails whenever requests would be refused by a fault, also by one that nobody ran into
/// yet, names it, and is well again by itself.
#[tokio::test(flavor = "multi_thread")]
async fn health_never_says_ok_while_requests_would_be_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let faults = || async {
        let answer = get(&waterwall, "/healthz").await;
        let status = answer.status();
        let body = json(answer).await;
        let faults = body["faults"].as_array().expect("a list").clone();
        assert_eq!(status == 200, faults.is_empty(), "{body}");
        assert_eq!(status == 503, body["status"] == "fail", "{body}");
        faults
    };
    let well = || async {
        for _ in 0..600 {
            if faults().await.is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("never well again: {:?}", faults().await);
    };
    well().await;
    for (role, fault) in [("auditd", "log-silent"), ("signer", "signer-silent")] {
        let pid = waterwall.pid(role);
        waterwall.signal(role, Signal::SIGSTOP);
        assert!(faults().await.contains(&fault.into()), "{role}");
        let status = waterwall.status();
        assert_eq!(status["healthy"], false);
        let wanted = format!("{role} was stopped by a signal: `kill -CONT {pid}`");
        let problems = status["problems"].as_array().expect("a list");
        assert!(problems.contains(&wanted.clone().into()), "{wanted}: {status}");
        nix::sys::signal::kill(pid, Signal::SIGCONT).expect("it is there");
        well().await;
    }
    waterwall.ctl(&["killswitch", "arm", "--reason", "drill"]);
    assert_eq!(faults().await, ["killswitch-engaged"]);
    waterwall.ctl(&["killswitch", "disarm", "--reason", "over"]);
    well().await;
    // A reload that was refused refuses no request.
    std::fs::write(waterwall.path("etc/permitted_hosts.yaml"), "hosts: []\n").expect("a file");
    eventually("it was refused", || waterwall.status()["proxy"]["warnings"][0] == "reload-refused");
    well().await;
    assert!(Agent::new(&waterwall).post(URL, &SHAPES[0].request("hi")).await.status().is_success());
    // But a proxy that starts on it does nothing else.
    nix::sys::signal::kill(waterwall.pid("proxy"), Signal::SIGKILL).expect("it is there");
    eventually("it starts on an invalid set", || {
        waterwall.status()["proxy"]["config_error"].is_string()
    });
    assert_eq!(faults().await, ["config-error"]);
}

/// Lines that wait for the signer for too long close the log; health knows before a request does.
#[tokio::test(flavor = "multi_thread")]
async fn health_fails_once_the_log_is_unsigned_for_too_long() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start_with(&provider, "audit:\n  max_unsigned_seconds: 1\n");
    let agent = Agent::new(&waterwall);
    assert!(agent.post(URL, &SHAPES[0].request(secrets::AWS)).await.status().is_success());
    waterwall.signal("signer", Signal::SIGSTOP);
    let arrived = provider.seen().len();
    // A line that has to be signed; no request asks for anything.
    waterwall.ctl(&["killswitch", "arm", "--reason", "drill"]);
    eventually("health says so", || {
        waterwall.status()["proxy"]["faults"]
            .as_array()
            .is_some_and(|faults| faults.contains(&"log-unsigned".into()))
    });
    assert_eq!(provider.seen().len(), arrived);
    waterwall.signal("signer", Signal::SIGCONT);
    eventually("it is signed again", || {
        waterwall.status()["proxy"]["faults"] == serde_json::json!(["killswitch-engaged"])
    });
}
