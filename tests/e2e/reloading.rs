//! The configuration is read again: all of it or nothing, without a restart, on record once.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use harness::agent::{Agent, direct};
use harness::provider::{Answer, Provider, Step};
use harness::secrets;
use harness::shape::{SHAPES, Shape};
use harness::waterwall::{Waterwall, eventually, said};
use serde_json::{Value, json};
use tokio::sync::Notify;

const URL: &str = "https://api.anthropic.com/v1/messages";

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("a file")
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("the file can be written");
}

/// A pattern file that finds `acme_` keys of `length` characters.
fn patterns(length: usize) -> String {
    let example = format!("acme_{}", "0".repeat(length));
    format!(
        "patterns:\n- type: ACME_KEY\n  regex: 'acme_[a-z0-9]{{{length}}}'\n  examples: [{example}]\n"
    )
}

fn hash(waterwall: &Waterwall) -> Value {
    waterwall.status()["proxy"]["policy"]["hash"].clone()
}

/// Reloads by `waterwall-ctl`: what it says when it is refused.
fn refusal(waterwall: &Waterwall) -> Option<String> {
    let reload = waterwall.ctl(&["reload"]);
    (!reload.status.success()).then(|| said(&reload))
}

type Save = fn(&Path, &str);

/// However an editor saves a file, it is taken, by itself, and on record exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_followed_however_it_is_saved() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let file = waterwall.path("etc/patterns.yaml");
    let saves: [(&str, Save); 4] = [
        ("in place", |file, text| write(file, text)),
        ("renamed over", |file, text| {
            let new = file.with_extension("yaml.swp");
            write(&new, text);
            fs::rename(new, file).expect("it can be renamed");
        }),
        ("deleted and made anew", |file, text| {
            fs::remove_file(file).expect("it can be removed");
            write(file, text);
        }),
        ("by a link that points elsewhere", |file, text| {
            let folder = file.with_file_name(format!("v{}", text.len()));
            fs::create_dir(&folder).expect("a folder can be made");
            write(&folder.join("patterns.yaml"), text);
            let link = file.with_extension("link");
            std::os::unix::fs::symlink(folder.join("patterns.yaml"), &link).expect("a link");
            fs::rename(link, file).expect("it can be renamed");
        }),
    ];
    let mut length = 12;
    let started = waterwall.lines("policy_change").len();
    assert_eq!(started, 1, "one line says what was in force first");
    for (count, (how, save)) in (started..).zip(saves) {
        let before = hash(&waterwall);
        length += 10;
        save(&file, &patterns(length));
        eventually(&format!("a file saved {how} is taken"), || {
            let now = hash(&waterwall);
            !now.is_null() && now != before
        });
        let lines = waterwall.lines("policy_change");
        assert_eq!(lines.len(), count + 1, "{how}: {lines:?}");
        let line = lines.last().expect("a line");
        assert_eq!((&line["actor"], &line["old_policy_hash"]), (&"file".into(), &before), "{how}");
        assert_eq!(line["new_policy_hash"], hash(&waterwall), "{how}");
    }
    // Also where the link stays, and what it points to moves: written through, in the same length.
    let before = hash(&waterwall);
    write(&file, &patterns(length).replace("a-z0-9", "a-y0-9"));
    eventually("what a link points to is followed", || hash(&waterwall) != before);
    // It is in force, not only on record.
    let key = format!("acme_{}", "1".repeat(length));
    Agent::new(&waterwall).post_json(URL, &SHAPES[0].request(&key)).await;
    assert!(!provider.saw(&key));
}

/// A reload that changes nothing is no line, and closes no connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_of_the_same_is_no_change() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let before = waterwall.status()["proxy"]["policy"].clone();
    for _ in 0..3 {
        assert_eq!(refusal(&waterwall), None);
    }
    let client = direct();
    let reload = client
        .post(waterwall.admin("/admin/reload"))
        .header("content-type", "application/json")
        .bearer_auth(waterwall.token().trim())
        .send()
        .await
        .expect("an answer comes");
    assert_eq!(reload.status(), 200);
    let body: Value = serde_json::from_str(&reload.text().await.expect("a body")).expect("JSON");
    assert_eq!(body, json!({ "status": "unchanged" }));
    let patterns = waterwall.path("etc/patterns.yaml");
    write(&patterns, &format!("{}\n# a remark\n", text(&patterns)));
    assert_eq!(refusal(&waterwall), None);
    assert_eq!(waterwall.lines("policy_change").len(), 1);
    assert_eq!(waterwall.status()["proxy"]["policy"], before);
    let last = &waterwall.status()["proxy"]["last_reload"];
    assert_eq!((&last["outcome"], &last["error"]), (&"unchanged".into(), &Value::Null));
}

/// Three files are one set: what is right in one does not count while another is wrong, and the
/// state says which.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_in_one_file_keeps_all_of_them_out() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let (config, hosts, own) = (
        waterwall.path("etc/config.yaml"),
        waterwall.path("etc/permitted_hosts.yaml"),
        waterwall.path("etc/patterns.yaml"),
    );
    let (good_config, good_hosts) = (text(&config), text(&hosts));
    let before = hash(&waterwall);
    write(&own, &patterns(12));
    write(&config, &format!("{good_config}refusal_status: 400\n"));
    write(&hosts, &good_hosts.replace("sse_handler: anthropic", "sse_handler: claude"));
    let why = refusal(&waterwall).expect("it is refused");
    assert!(why.contains("permitted_hosts.yaml:3: sse_handler"), "{why}");
    let status = waterwall.status();
    assert_eq!(status["proxy"]["policy"]["hash"], before);
    assert_eq!(status["proxy"]["warnings"][0], "reload-refused");
    assert_eq!(status["healthy"], true, "what was in force still is: {status}");
    waterwall.ctl(&["killswitch", "arm", "--reason", "which status"]);
    let answer = Agent::new(&waterwall).post(URL, &SHAPES[0].request("hi")).await;
    assert_eq!(answer.status(), 502);
    waterwall.ctl(&["killswitch", "disarm", "--reason", "done"]);
    assert_eq!(waterwall.lines("policy_change").len(), 1);
    write(&hosts, &good_hosts);
    eventually("all of it is in force", || hash(&waterwall) != before);
    waterwall.ctl(&["killswitch", "arm", "--reason", "which status"]);
    let answer = Agent::new(&waterwall).post(URL, &SHAPES[0].request("hi")).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(waterwall.lines("policy_change").len(), 2);
}

/// A stream runs on over a change of the whole set, and so does the connection it is on.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept() {
    let go = Arc::new(Notify::new());
    let script = Arc::clone(&go);
    let provider = Provider::start(move |seen| {
        let text = harness::provider::last_text(&seen.json());
        let mut steps: Vec<Step> =
            Shape::Messages.text_stream(&[&text]).into_iter().map(Step::send).collect();
        if text.contains("wait") {
            steps.insert(2, Step::Wait(Arc::clone(&script)));
        }
        Answer::stream(steps)
    })
    .await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let said = format!("wait {}", secrets::AWS);
    let mut answer = agent.post(URL, &SHAPES[0].streaming(&said)).await;
    let mut stream = answer.chunk().await.expect("it starts").expect("a chunk").to_vec();
    let connections = || waterwall.status()["proxy"]["counters"]["connections"].clone();
    assert_eq!(connections(), 1);
    let config = waterwall.path("etc/config.yaml");
    write(&config, &format!("{}timeouts:\n  connect: 7\n", text(&config)));
    write(&waterwall.path("etc/patterns.yaml"), &patterns(12));
    assert_eq!(refusal(&waterwall), None);
    // Another request on the same connection, under the new set.
    let next = agent.post_stream(URL, &SHAPES[0].streaming("acme_0123456789ab")).await;
    assert_eq!(SHAPES[0].joined_text(&next), "acme_0123456789ab");
    assert!(!provider.saw("acme_0123456789ab"));
    assert_eq!(connections(), 1);
    go.notify_one();
    while let Some(more) = answer.chunk().await.expect("it is not cut") {
        stream.extend_from_slice(&more);
    }
    let stream = String::from_utf8(stream).expect("text");
    assert_eq!(SHAPES[0].joined_text(&stream), said);
}

/// Hosts come and go without a restart; one that no certificate can be had for does not come.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_taken_over_within_what_the_ca_covers() {
    let provider = Provider::echo().await;
    let mut waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    assert!(agent.post(URL, &SHAPES[0].request("hi")).await.status().is_success());
    let file = waterwall.path("etc/permitted_hosts.yaml");
    let all = text(&file);
    let (first, others) = all.split_once("  - host: api.openai.com").expect("more hosts");
    let without = format!("hosts:\n  - host: api.openai.com{others}");
    assert!(first.contains("api.anthropic.com"));
    write(&file, &without);
    assert_eq!(refusal(&waterwall), None);
    // On the connection that is open already, too.
    let answer = agent.post(URL, &SHAPES[0].request("hi")).await;
    assert_eq!(answer.headers()["x-waterwall-error"], "waterwall-host-not-permitted");
    write(&file, &all);
    assert_eq!(refusal(&waterwall), None);
    assert!(agent.post(URL, &SHAPES[0].request("hi")).await.status().is_success());

    let address = provider.address();
    let new = format!(
        "{all}  - host: new.example\n    sse_handler: none\n    upstream: {address}\n    \
         extra_root: provider-ca.pem\n"
    );
    write(&file, &new);
    let why = refusal(&waterwall).expect("no certificate can be had for it");
    assert!(why.contains("permitted_hosts.yaml:18: host: new.example"), "{why}");
    assert!(why.contains("regen-ca"), "{why}");
    let status = waterwall.status();
    assert_eq!(
        (&status["healthy"], &status["proxy"]["hosts_uncertified"]),
        (&true.into(), &json!([]))
    );
    assert!(agent.post(URL, &SHAPES[0].request("hi")).await.status().is_success());
    waterwall.down();
    let regen = waterwall.ctl(&["regen-ca"]);
    assert!(regen.status.success(), "{}", said(&regen));
    waterwall.up();
    let answer = Agent::new(&waterwall).request("https://new.example/v1", "{}").send().await;
    // The provider's own certificate does not name it; what counts is that it was asked.
    let code = answer.expect("an answer comes").headers()["x-waterwall-error"].clone();
    assert_eq!(code, "waterwall-upstream-failed");
}

/// 10.14: what the sandbox, the sockets or the other daemons fixed needs a restart, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_refused_with_the_key() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let file = waterwall.path("etc/config.yaml");
    let good = text(&file);
    for (change, key) in [
        ("limits: {body_mib: 1}", "limits"),
        ("limits: {connections: 7}", "limits"),
        ("timeouts: {append: 6}", "timeouts.append"),
        ("timeouts: {drain: 6}", "timeouts.drain"),
        ("redaction: {store_hours: 1}", "redaction"),
        ("audit: {checkpoint_lines: 7}", "audit"),
        ("sandbox: strict", "sandbox"),
    ] {
        write(&file, &format!("{good}{change}\n"));
        let why = refusal(&waterwall).expect("it is refused");
        assert!(why.contains("restart needed") && why.contains(&format!(": {key}: ")), "{why}");
    }
    write(&file, &good.replace("admin_port: 0", "admin_port: 1"));
    assert!(refusal(&waterwall).is_some_and(|why| why.contains("restart needed")));
    write(&file, &good);
    let hosts = waterwall.path("etc/permitted_hosts.yaml");
    let all = text(&hosts);
    let port = provider.address().port();
    let elsewhere = if port == 1234 { 1235 } else { 1234 };
    write(&hosts, &all.replacen(&format!(":{port}"), &format!(":{elsewhere}"), 1));
    let why = refusal(&waterwall).expect("it is refused");
    assert!(why.contains("restart needed") && why.contains("upstream"), "{why}");
    write(&hosts, &all);
    assert_eq!(refusal(&waterwall), None);
}

/// A slip in the pattern file never takes away protection silently.
#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_file_that_protects_less_by_a_slip_is_refused() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let file = waterwall.path("etc/patterns.yaml");
    write(&file, "patterns:\n- {type: AWS_ACESS_KEY, action: off}\n");
    let why = refusal(&waterwall).expect("nobody defines that type");
    assert!(why.contains("patterns.yaml:2: ") && why.contains("check-policy --list"), "{why}");
    write(&file, &patterns(12));
    assert_eq!(refusal(&waterwall), None);
    fs::remove_file(&file).expect("it can be removed");
    let why = refusal(&waterwall).expect("patterns of one's own do not go by accident");
    assert!(why.contains("patterns.yaml: is gone"), "{why}");
    // Empty on purpose is another matter.
    write(&file, "");
    assert_eq!(refusal(&waterwall), None);
    assert!(!waterwall.lines("policy_refused").is_empty());
}
