//! The built proxy, confined, between a real agent and a real provider.

#![allow(clippy::unwrap_used, reason = "a test, though without the harness that would say so")]

#[allow(dead_code, reason = "other tests stand here too")]
mod stand;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Version};
use protocol::append::{BlockReason, Event, KillSwitchAction, Refusal, Sent};
use stand::agent::{change, post};
use stand::{HOST, Stand, host_table, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SECRET: &str = "AKIAIOSFODNN7EXAMPLQ";

fn message() -> String {
    format!(r#"{{"messages": [{{"role":"user","content":"key {SECRET} \u00e9"}}],  "n": 1.0}}"#)
}

fn numbers(events: &[Event]) -> Vec<u64> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Redaction { at, .. } | Event::ScanClean { at, .. } | Event::Block { at, .. } => {
                Some(at.req_no)
            }
            Event::KillSwitch { req_no, .. } => *req_no,
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_clean_request_goes_out_byte_for_byte_and_is_recorded() {
    let stand = Stand::start("{}").await;
    let body = r#"{ "messages": [], "x": 1.50 , "caf\u00e9": "\/" }"#;
    let request = Request::post("/v1/messages?beta=true")
        .header("host", "API.anthropic.com:443")
        .header("accept-encoding", "gzip, br")
        .header("content-type", "application/json")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("content-md5", "x")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let got = stand.agent().send(request).await;
    assert_eq!((got.status.as_u16(), got.body.as_str()), (200, body));
    let seen = &stand.provider.seen()[0];
    assert_eq!((seen.body.as_str(), seen.target.as_str()), (body, "/v1/messages?beta=true"));
    assert_eq!(seen.headers["accept-encoding"], "identity");
    assert!(!seen.headers.contains_key("x-hop") && !seen.headers.contains_key("content-md5"));
    stand.auditd.event(|e| matches!(e, Event::ScanClean { .. })).await;
    let outcome = stand.auditd.event(|e| matches!(e, Event::Outcome { .. })).await;
    assert!(matches!(outcome, Event::Outcome { sent: Sent::All, status: Some(200), .. }));
}

#[tokio::test]
async fn the_provider_sees_a_placeholder_and_the_agent_its_secret() {
    let stand = Stand::start("{}").await;
    for h2 in [false, true] {
        let request = post(&format!("https://{HOST}/v1/messages"), &message());
        let agent = stand.agent();
        let got = if h2 { agent.send_h2(request).await } else { agent.send(request).await };
        assert_eq!((got.status.as_u16(), got.body), (200, message()));
    }
    let seen = stand.provider.seen();
    assert!(seen.iter().all(|seen| !seen.body.contains(SECRET) && seen.body.contains("<pl:")));
    assert!(seen.iter().all(|seen| seen.version == Version::HTTP_2));
    assert_eq!(seen[0].body, seen[1].body);
    let events = stand.auditd.events();
    let detokenized = events.iter().filter(|event| {
        matches!(event, Event::Detokenization { detok_count: 1, stream: false, part: 1, .. })
    });
    assert_eq!(detokenized.count(), 2);
    assert_eq!(numbers(&events), [1, 2]);
}

#[tokio::test]
async fn a_stream_is_restored_and_recorded_before_it_is_released() {
    let stand = Stand::start("{}").await;
    let got = stand.agent().post("/stream", &message()).await;
    assert!(got.complete && got.body.contains("message_stop"));
    assert!(!got.body.contains("<pl:"));
    let text: String = got
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str::<serde_json::Value>(data).ok())
        .filter_map(|event| Some(event["delta"]["text"].as_str()?.to_owned()))
        .collect();
    assert_eq!(text, SECRET);
    let restored = |e: &Event| matches!(e, Event::Detokenization { stream: true, .. });
    assert!(stand.auditd.events().iter().any(restored));
}

#[tokio::test]
async fn an_answer_that_was_cut_never_looks_complete() {
    let stand = Stand::start("{}").await;
    let old = stand.agent().try_send(post("/cut", &message())).await;
    let new = stand.agent().try_send_h2(post(&format!("https://{HOST}/cut"), &message())).await;
    for got in [old, new].into_iter().flatten() {
        assert!(!got.complete, "{got:?}");
    }
    let got = stand.agent().post("/cut-json", &message()).await;
    assert_eq!(got.code.as_deref(), Some("waterwall-upstream-failed"));
    assert!(!got.body.contains(SECRET));
}

#[tokio::test]
async fn an_answer_that_is_not_what_its_coding_says_is_refused() {
    let stand = Stand::start("{}").await;
    let got = stand.agent().post("/gzip", &message()).await;
    assert_eq!(got.status, 502);
    assert_eq!(got.code.as_deref(), Some("waterwall-upstream-encoding"));
}

#[tokio::test]
async fn text_is_restored_and_pictures_pass() {
    let stand = Stand::start("{}").await;
    let got = stand.agent().post("/text", &message()).await;
    assert_eq!(got.body, message());
    let got = stand.agent().post("/binary", "{}").await;
    assert_eq!(got.body, "\u{89}PNG<pl:x>");
    let got = stand.agent().post("/empty", "{}").await;
    assert_eq!((got.status.as_u16(), got.body.as_str()), (204, ""));
}

#[tokio::test]
async fn bodies_that_cannot_be_scanned_never_leave() {
    let stand = Stand::start("limits: {body_mib: 1}\n").await;
    let with = |kind: &str, encoding: Option<&str>, body: Vec<u8>| {
        let mut request = Request::post("/v1/messages").header("host", HOST);
        request = request.header("content-type", kind);
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        request.body(Full::new(Bytes::from(body))).unwrap()
    };
    let json = "application/json";
    for (request, status, code) in [
        (with(json, None, b"{".to_vec()), 502, "waterwall-body-unparseable"),
        (with(json, None, b"\"\xff\"".to_vec()), 415, "waterwall-charset-unsupported"),
        (with(json, Some("gzip"), b"x".to_vec()), 415, "waterwall-encoding-unsupported"),
        (
            with("application/json; charset=utf-16", None, b"{}".to_vec()),
            415,
            "waterwall-charset-unsupported",
        ),
        (
            with("multipart/form-data; boundary=x", None, b"--x--".to_vec()),
            502,
            "waterwall-body-unparseable",
        ),
        (with("application/zip", None, b"PK".to_vec()), 415, "waterwall-media-unsupported"),
        (with(json, None, vec![b' '; 1024 * 1024 + 1]), 413, "waterwall-body-too-large"),
    ] {
        let got = stand.agent().send(request).await;
        assert_eq!((got.status.as_u16(), got.code.as_deref()), (status, Some(code)));
        assert_eq!(got.headers["x-should-retry"], "false");
    }
    assert!(stand.provider.seen().is_empty());
    until("blocked", async || numbers(&stand.auditd.events()).len() == 7).await;
    assert_eq!(numbers(&stand.auditd.events()), [1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn a_body_is_asked_for_only_when_it_would_be_taken() {
    let stand = Stand::start("limits: {body_mib: 1}\n").await;
    let expecting = async |length: usize| {
        let mut tls = stand.agent().tls(HOST, &[]).await.unwrap();
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        );
        tls.write_all(head.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        tls.read_exact(&mut first).await.unwrap();
        (String::from_utf8(first.to_vec()).unwrap(), tls)
    };
    assert_eq!(expecting(1024 * 1024 + 1).await.0, "HTTP/1.1 413");
    let (first, mut tls) = expecting(2).await;
    assert_eq!(first, "HTTP/1.1 100");
    tls.write_all(b"{}").await.unwrap();
    let mut rest = vec![0; 64];
    let length = tls.read(&mut rest).await.unwrap();
    let more = tls.read(&mut rest[length..]).await.unwrap();
    let rest = String::from_utf8_lossy(&rest[..length + more]).into_owned();
    assert!(rest.contains("HTTP/1.1 200"), "{rest}");
}

#[tokio::test]
async fn large_bodies_pass_whole_in_both_directions() {
    let stand = Stand::start("{}").await;
    let text = "lorem ipsum ".repeat(400_000);
    let body = format!(r#"{{"messages":[{{"role":"user","content":"{text}{SECRET}"}}]}}"#);
    let got = stand.agent().post("/v1/messages", &body).await;
    assert!(got.status == 200 && got.body == body);
    assert!(!stand.provider.seen()[0].body.contains(SECRET));
}

#[tokio::test]
async fn a_signed_request_passes_only_as_it_came() {
    let stand = Stand::start("{}").await;
    let signed = |body: &str| {
        let mut request = post("/v1/messages", body);
        let signature = "AWS4-HMAC-SHA256 Signature=0".parse().unwrap();
        request.headers_mut().insert("authorization", signature);
        request
    };
    assert_eq!(stand.agent().send(signed("{}")).await.status, 200);
    let got = stand.agent().send(signed(&message())).await;
    assert_eq!(got.code.as_deref(), Some("waterwall-signed-request"));
    assert_eq!(stand.provider.seen().len(), 1);
}

#[tokio::test]
async fn a_websocket_upgrade_and_foreign_names_are_refused() {
    let stand = Stand::start("{}").await;
    let request = |host: &str| Request::get("/v1/responses").header("host", host);
    let upgrade = request(HOST).header("upgrade", "websocket").header("connection", "upgrade");
    let got = stand.agent().send(upgrade.body(Full::default()).unwrap()).await;
    assert_eq!((got.status.as_u16(), got.code.as_deref()), (426, Some("waterwall-websocket-off")));
    let got = stand.agent().send(request("api.openai.com").body(Full::default()).unwrap()).await;
    assert_eq!(got.code.as_deref(), Some("waterwall-protocol-error"));
    let secret = request(HOST).header("x-k", SECRET).body(Full::default()).unwrap();
    let got = stand.agent().send(secret).await;
    assert_eq!((got.status.as_u16(), got.code.as_deref()), (400, Some("waterwall-header-hit")));
    assert!(stand.provider.seen().is_empty());
    assert!(stand.agent().tls("api.openai.com", &[]).await.is_err());
    let block = |e: &Event| matches!(e, Event::Block { reason: BlockReason::WebsocketOff, .. });
    stand.auditd.event(block).await;
}

#[tokio::test]
async fn only_connects_to_listed_names_on_the_port_of_https_are_answered() {
    let stand = Stand::start("{}").await;
    let agent = stand.agent();
    let (status, text, _) = agent.connect("example.com:443").await;
    assert_eq!(status, 403);
    assert!(text.contains("waterwall-host-not-permitted"), "{text}");
    for target in ["api.anthropic.com:80", "127.0.0.1:443", "[::1]:443"] {
        let (status, text, _) = agent.connect(target).await;
        assert!(status == 400 && text.contains("waterwall-protocol-error"), "{target} {text}");
    }
    let (status, ..) = agent.connect("API.Anthropic.COM.:443").await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn the_kill_switch_stops_everything_from_any_source() {
    let stand = Stand::start("{}").await;
    let agent = stand.agent();
    let sentinel = stand.path("run/kill");
    let engaged = async || {
        let got = agent.post("/v1/messages", "{}").await;
        got.code.as_deref() == Some("waterwall-killswitch-engaged")
    };
    std::fs::write(&sentinel, "").unwrap();
    assert!(engaged().await);
    let (status, ..) = agent.connect("localhost:443").await;
    assert_eq!(status, 502);
    std::fs::remove_file(&sentinel).unwrap();
    until("cleared", async || !engaged().await).await;
    let arm = r#"{"action":"arm","reason":"drill"}"#;
    assert_eq!(change(stand.admin, "/admin/killswitch", arm).await.0, 200);
    assert!(engaged().await);
    assert_eq!(change(stand.admin, "/admin/killswitch", r#"{"action":"disarm"}"#).await.0, 200);
    assert!(!engaged().await);
    nix::sys::signal::kill(stand.pid(), nix::sys::signal::Signal::SIGUSR1).unwrap();
    until("armed by signal", engaged).await;
    let armed = |e: &Event| {
        matches!(e, Event::KillSwitch { action: KillSwitchAction::Armed, sources_active, .. }
            if sources_active == &["http"])
    };
    stand.auditd.event(armed).await;
}

#[tokio::test]
async fn without_auditd_nothing_leaves_and_service_comes_back_without_a_hole() {
    let stand = Stand::start("{}").await;
    let agent = stand.agent();
    assert_eq!(agent.post("/v1/messages", "{}").await.status, 200);
    stand.auditd.stop();
    until("closed", async || stand.faults().await.contains("log-unavailable")).await;
    let got = agent.post("/v1/messages", &message()).await;
    assert_eq!(got.code.as_deref(), Some("waterwall-chain-append-failed"));
    stand.auditd.listen();
    stand.until_healthy().await;
    assert_eq!(agent.post("/v1/messages", "{}").await.status, 200);
    assert_eq!(numbers(&stand.auditd.events()), [1, 2]);
    assert_eq!(stand.provider.seen().len(), 2);
}

#[tokio::test]
async fn a_line_auditd_refuses_keeps_the_request_here_and_leaves_no_hole() {
    let stand = Stand::start("{}").await;
    stand.auditd.refuse(Some(Refusal::UnsignedTail));
    let got = stand.agent().post("/v1/messages", &message()).await;
    assert_eq!(got.code.as_deref(), Some("waterwall-signer-unavailable"));
    stand.auditd.refuse(None);
    assert_eq!(stand.agent().post("/v1/messages", "{}").await.status, 200);
    assert_eq!(numbers(&stand.auditd.events()), [1]);
}

#[tokio::test]
async fn a_leaf_that_is_still_good_outlasts_the_signer() {
    let stand = Stand::start("{}").await;
    assert_eq!(stand.agent().post("/v1/messages", "{}").await.status, 200);
    stand.signer.stop();
    until("down", async || stand.faults().await.contains("signer-unavailable")).await;
    assert_eq!(stand.agent().post("/v1/messages", "{}").await.status, 200);
}

#[tokio::test]
async fn without_leaf_and_signer_a_connect_is_refused_until_it_is_back() {
    let stand = Stand::start("{}").await;
    stand.signer.stop();
    until("down", async || stand.faults().await.contains("signer-unavailable")).await;
    let (status, text, _) = stand.agent().connect(&format!("{HOST}:443")).await;
    assert!(status == 502 && text.contains("waterwall-signer-unavailable"), "{text}");
    stand.signer.listen();
    stand.until_healthy().await;
    assert_eq!(stand.agent().post("/v1/messages", "{}").await.status, 200);
}

#[tokio::test]
async fn a_bad_reload_changes_nothing_and_says_where() {
    let stand = Stand::start("{}").await;
    std::fs::write(stand.path("etc/permitted_hosts.yaml"), "hosts: []\n").unwrap();
    let (status, text) = change(stand.admin, "/admin/reload", "").await;
    assert!(status == 500 && text.contains("permitted_hosts.yaml:1: hosts"), "{text}");
    assert_eq!(stand.agent().post("/v1/messages", "{}").await.status, 200);
    let pattern = "patterns:\n- {type: AWS_ACCESS_KEY, action: off}\n";
    std::fs::write(stand.path("etc/permitted_hosts.yaml"), host_table(stand.provider.port))
        .unwrap();
    std::fs::write(stand.path("etc/patterns.yaml"), pattern).unwrap();
    let (status, text) = change(stand.admin, "/admin/reload", "").await;
    assert_eq!(status, 200, "{text}");
    let changed = |e: &Event| matches!(e, Event::PolicyChange { old_policy_hash: Some(_), .. });
    stand.auditd.event(changed).await;
}

#[tokio::test]
async fn an_invalid_start_refuses_everything_and_heals() {
    let mut stand = Stand::launch("{}", Some("hosts: nothing\n")).await;
    until("up", async || stand.faults().await.contains("config-error")).await;
    until("certifying", async || !stand.faults().await.contains("signer-unavailable")).await;
    let got = stand.agent().post("/v1/messages", "{}").await;
    assert_eq!(got.code.as_deref(), Some("waterwall-config-error"));
    assert!(got.body.contains("permitted_hosts.yaml:1"), "{}", got.body);
    let (status, text, _) = stand.agent().connect("example.com:443").await;
    assert!(status == 502 && text.contains("waterwall-config-error"), "{text}");
    // The stand's provider listens where the sandbox of this process does not reach.
    std::fs::write(stand.path("etc/permitted_hosts.yaml"), host_table(stand.provider.port))
        .unwrap();
    assert_eq!(stand.ended().await.code(), Some(75));
}

#[tokio::test]
async fn sigterm_drains_and_ends_well() {
    let mut stand = Stand::start("{}").await;
    assert_eq!(stand.agent().post("/v1/messages", "{}").await.status, 200);
    nix::sys::signal::kill(stand.pid(), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(stand.ended().await.code(), Some(0));
}
