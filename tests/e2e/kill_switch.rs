//! The kill switch: what it stops at once, what it lets finish, and what it leaves on record.

use std::sync::Arc;

use bytes::Bytes;
use harness::agent::{Agent, direct};
use harness::provider::{Answer, Provider, Step};
use harness::secrets;
use harness::shape::{SHAPES, Shape};
use harness::waterwall::{Waterwall, eventually, said};
use http_body_util::channel::Channel;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::sync::Notify;

const URL: &str = "https://api.anthropic.com/v1/messages";

const CODE: &str = "waterwall-killswitch-engaged";

/// A provider that streams, and says the last words only when told to.
async fn halting(go: &Arc<Notify>) -> Provider {
    let go = Arc::clone(go);
    Provider::start(move |_| {
        let mut steps: Vec<Step> =
            Shape::Messages.text_stream(&["first", "last"]).into_iter().map(Step::send).collect();
        let before_last = steps.len() - 3;
        steps.insert(before_last, Step::Wait(Arc::clone(&go)));
        Answer::stream(steps)
    })
    .await
}

fn arm(waterwall: &Waterwall) {
    let arm = waterwall.ctl(&["killswitch", "arm", "--reason", "drill"]);
    assert!(arm.status.success(), "{}", said(&arm));
}

fn configure(waterwall: &Waterwall, line: &str) {
    let file = waterwall.path("etc/config.yaml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, format!("{text}{line}\n")).expect("the file can be written");
}

/// A request whose body was only begun when the switch is armed is refused, and never arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_still_coming_in_is_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::http1(&waterwall);
    let (mut sender, body) = Channel::<Bytes>::new(4);
    let text = SHAPES[0].request(secrets::AWS).to_string();
    let (front, back) = text.split_at(text.len() / 2);
    sender.send_data(Bytes::from(front.to_owned())).await.expect("room");
    let request = agent.request(URL, reqwest::Body::wrap(body));
    let sending = tokio::spawn(request.send());
    eventually("its connection is there", || {
        waterwall.status()["proxy"]["counters"]["connections"] != 0
    });
    arm(&waterwall);
    // Whether it was refused before or after the rest came is all one.
    let _ = sender.send_data(Bytes::from(back.to_owned())).await;
    drop(sender);
    let answer = sending.await.expect("no panic").expect("an answer comes");
    assert_eq!(answer.headers()["x-waterwall-error"], CODE);
    assert!(provider.seen().is_empty());
}

/// A request that waits for its line when the switch is armed is refused, and its outcome says that
/// nothing of it left.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_for_the_log_is_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start_with(&provider, "timeouts:\n  append: 60\n");
    let agent = Agent::new(&waterwall);
    assert!(agent.post(URL, &SHAPES[0].request("hi")).await.status().is_success());
    waterwall.signal("auditd", Signal::SIGSTOP);
    let sending = tokio::spawn({
        let agent = agent.clone();
        async move { agent.post(URL, &SHAPES[0].request(secrets::AWS)).await }
    });
    eventually("its line waits", || {
        waterwall.status()["proxy"]["log"]["unanswered"].as_u64().is_some_and(|lines| lines > 0)
    });
    std::fs::write(waterwall.path("run/kill"), "").expect("the sentinel can be made");
    eventually("the sentinel is seen", || {
        waterwall.status()["proxy"]["kill_switch"]["sentinel"] == true
    });
    waterwall.signal("auditd", Signal::SIGCONT);
    let answer = sending.await.expect("no panic");
    assert_eq!(answer.headers()["x-waterwall-error"], CODE);
    assert_eq!(provider.seen().len(), 1);
    eventually("its outcome is on record", || {
        waterwall.lines("outcome").iter().any(|line| line["sent"] == "none")
    });
    let verdict = waterwall.verify_chain();
    assert_eq!(verdict.status.code(), Some(0), "{}", said(&verdict));
}

/// What had left before still gets its answer, to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_coming_back_finishes() {
    let go = Arc::new(Notify::new());
    let provider = halting(&go).await;
    let waterwall = Waterwall::start(&provider);
    let mut answer = Agent::new(&waterwall).post(URL, &SHAPES[0].streaming("hi")).await;
    let mut text = answer.chunk().await.expect("it starts").expect("a chunk").to_vec();
    arm(&waterwall);
    go.notify_one();
    while let Some(more) = answer.chunk().await.expect("it is not cut") {
        text.extend_from_slice(&more);
    }
    let text = String::from_utf8(text).expect("text");
    assert_eq!(SHAPES[0].joined_text(&text), "firstlast");
}

/// With `cut_streams` it does not: the agent is told why, and never sees it end as if it were whole.
/// The setting counts from when it is in force, also in an emergency that has begun already.
#[tokio::test(flavor = "multi_thread")]
async fn cut_streams_cuts_what_is_coming_back() {
    let go = Arc::new(Notify::new());
    let provider = halting(&go).await;
    let waterwall = Waterwall::start(&provider);
    for agent in [Agent::new(&waterwall), Agent::http1(&waterwall)] {
        let mut answer = agent.post(URL, &SHAPES[0].streaming("hi")).await;
        let mut text = answer.chunk().await.expect("it starts").expect("a chunk").to_vec();
        arm(&waterwall);
        if waterwall.status()["proxy"]["kill_switch"]["cut_streams"] == false {
            configure(&waterwall, "cut_streams: true");
            let reload = waterwall.ctl(&["reload"]);
            assert!(reload.status.success(), "{}", said(&reload));
        }
        let end = loop {
            match answer.chunk().await {
                Ok(Some(more)) => text.extend_from_slice(&more),
                end => break end,
            }
        };
        let text = String::from_utf8(text).expect("text");
        assert!(end.is_err(), "it ended as if it were whole: {text}");
        assert!(text.contains(CODE) && text.contains("cut_streams"), "{text}");
        assert!(!text.contains("message_stop"), "{text}");
        waterwall.ctl(&["killswitch", "disarm", "--reason", "over"]);
    }
}

/// An answer of which nothing came yet is refused then, with what became of the request.
#[tokio::test(flavor = "multi_thread")]
async fn cut_streams_also_ends_the_wait_for_an_answer() {
    let go = Arc::new(Notify::new());
    let script = Arc::clone(&go);
    let provider = Provider::start(move |_| {
        let steps = vec![Step::Wait(Arc::clone(&script)), Step::send("{}")];
        Answer::stream(steps).header("content-type", "application/json")
    })
    .await;
    let waterwall = Waterwall::start_with(&provider, "cut_streams: true\n");
    let agent = Agent::new(&waterwall);
    let sending = tokio::spawn(async move { agent.post(URL, &SHAPES[0].request("hi")).await });
    eventually("the request arrived", || !provider.seen().is_empty());
    arm(&waterwall);
    let answer = sending.await.expect("no panic");
    assert_eq!(answer.headers()["x-waterwall-error"], CODE);
    let text = answer.text().await.expect("a body");
    assert!(text.contains("after the request had left"), "{text}");
    go.notify_one();
}

/// Only `true` and `false` are read as what they say; the original took the text "false" for true.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_boolean_moves_the_source_in_the_configuration() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let file = waterwall.path("etc/config.yaml");
    let good = std::fs::read_to_string(&file).expect("a file");
    for value in ["\"false\"", "\"true\"", "yes", "on", "1", "[]"] {
        std::fs::write(&file, format!("{good}kill_switch: {value}\n")).expect("a file");
        let reload = waterwall.ctl(&["reload"]);
        let message = said(&reload);
        assert!(!reload.status.success(), "{value}: {message}");
        assert!(message.contains("config.yaml:") && message.contains("kill_switch"), "{message}");
    }
    // Nothing there at all says nothing.
    std::fs::write(&file, format!("{good}kill_switch:\n")).expect("a file");
    assert!(!waterwall.ctl(&["reload"]).status.success());
    assert_eq!(waterwall.status()["killswitch"]["active"], false);
    assert!(waterwall.lines("killswitch").is_empty());
}

/// A fault elsewhere in the set keeps nobody from arming by file; a fault never disarms.
#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_arms_although_the_rest_of_it_is_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let hosts = waterwall.path("etc/permitted_hosts.yaml");
    let good = std::fs::read_to_string(&hosts).expect("a file");
    let config = std::fs::read_to_string(waterwall.path("etc/config.yaml")).expect("a file");
    std::fs::write(&hosts, "hosts: []\n").expect("a file");
    configure(&waterwall, "kill_switch: true");
    eventually("it is armed", || waterwall.status()["killswitch"]["config"] == true);
    let answer = Agent::new(&waterwall).post(URL, &SHAPES[0].request("hi")).await;
    assert_eq!(answer.headers()["x-waterwall-error"], CODE);
    std::fs::write(waterwall.path("etc/config.yaml"), config).expect("a file");
    assert!(!waterwall.ctl(&["reload"]).status.success());
    assert_eq!(waterwall.status()["killswitch"]["config"], true);
    std::fs::write(&hosts, good).expect("a file");
    let reload = waterwall.ctl(&["reload"]);
    assert!(reload.status.success(), "{}", said(&reload));
    assert_eq!(waterwall.status()["killswitch"]["active"], false);
}

/// Each move is a line with who made it and why; the state says who armed what is armed.
#[tokio::test(flavor = "multi_thread")]
async fn actor_and_reason_of_every_move_are_on_record() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let url = waterwall.admin("/admin/killswitch");
    let post = |body: &'static str| {
        let client = direct();
        let request = client.post(&url).bearer_auth(waterwall.token().trim());
        request.header("content-type", "application/json").body(body).send()
    };
    let over_http = post(r#"{"action":"arm","reason":"over http"}"#).await.expect("an answer");
    assert_eq!(over_http.status(), 200);
    // Armed already: no second line.
    arm(&waterwall);
    let armed_by = &waterwall.status()["killswitch"]["armed_by"];
    assert_eq!(armed_by[0]["source"], "http");
    assert_eq!(
        (&armed_by[0]["actor"], &armed_by[0]["reason"]),
        (&"http".into(), &"over http".into())
    );
    waterwall.ctl(&["killswitch", "disarm", "--reason", "by ctl"]);
    waterwall.signal("proxy", Signal::SIGUSR1);
    eventually("the signal armed it", || waterwall.status()["killswitch"]["sigusr1"] == true);
    waterwall.signal("proxy", Signal::SIGUSR1);
    eventually("the signal cleared it", || waterwall.status()["killswitch"]["active"] == false);
    std::fs::write(waterwall.path("run/kill"), "").expect("the sentinel can be made");
    eventually("the file armed it", || waterwall.status()["killswitch"]["sentinel"] == true);
    eventually("all is on record", || waterwall.lines("killswitch").len() >= 5);
    let told: Vec<_> = waterwall
        .lines("killswitch")
        .iter()
        .map(|line| json!([line["action"], line["actor"], line["reason"], line["sources_active"]]))
        .collect();
    let me = format!("uid:{}", nix::unistd::getuid());
    assert_eq!(
        told,
        [
            json!(["armed", "http", "over http", ["http"]]),
            json!(["cleared", me, "by ctl", []]),
            json!(["armed", "signal", null, ["sigusr1"]]),
            json!(["cleared", "signal", null, []]),
            json!(["armed", "file", null, ["sentinel"]]),
        ]
    );
    let verdict = waterwall.verify_chain();
    assert_eq!(verdict.status.code(), Some(0), "{}", said(&verdict));
}

/// A proxy that dies while it is armed comes back armed: a crash is no way to open egress again.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_does_not_disarm() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    arm(&waterwall);
    waterwall.signal("proxy", Signal::SIGUSR1);
    let sources = || waterwall.status()["killswitch"]["sources_active"].clone();
    eventually("both sources are active", || sources() == json!(["sigusr1", "http"]));
    for _ in 0..2 {
        waterwall.replace("proxy");
        eventually("both are again", || sources() == json!(["sigusr1", "http"]));
        let answer = Agent::new(&waterwall).post(URL, &SHAPES[0].request("hi")).await;
        assert_eq!(answer.headers()["x-waterwall-error"], CODE);
    }
    waterwall.signal("proxy", Signal::SIGUSR1);
    waterwall.ctl(&["killswitch", "disarm", "--reason", "over"]);
    eventually("it is clear", || sources() == json!([]));
    waterwall.replace("proxy");
    let agent = Agent::new(&waterwall);
    assert!(agent.post(URL, &SHAPES[0].request("hi")).await.status().is_success());
    assert!(provider.seen().len() == 1);
    let lines = waterwall.lines("killswitch");
    assert!(lines.iter().any(|line| line["actor"] == "restart"), "{lines:?}");
    let verdict = waterwall.verify_chain();
    assert_eq!(verdict.status.code(), Some(0), "{}", said(&verdict));
}
