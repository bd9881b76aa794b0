//! Faults of the installation, and what its operator does.

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::executables::executable;
use harness::provider::Provider;
use harness::raw::{Raw, Reply, post, with_headers};
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::{Waterwall, eventually, said};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::page::{Row, row};
use super::{HOST, PATH, request, send, start_edited};

/// A tunnelled host, by default.
const LOGIN: &str = "auth.openai.com:443";

/// Starts with `file` as `change` leaves it, or without it, after a start that went well.
async fn started_again(file: &str, text: Option<&str>) -> (Provider, Waterwall) {
    let provider = Provider::echo().await;
    let mut waterwall = Waterwall::start(&provider);
    waterwall.down();
    let path = waterwall.path(file);
    match text {
        Some(text) => fs::write(path, text).expect("the home can be written"),
        None => fs::remove_file(path).expect("the home can be written"),
    }
    waterwall.up();
    (provider, waterwall)
}

/// Demands what the page says of a start with such a file.
async fn is_refused_after(row: Row, file: &str, text: Option<&str>) {
    let (provider, waterwall) = started_again(file, text).await;
    let reply = send(&waterwall).await;
    row.holds_inside(&waterwall, &reply);
    let message = reply.json()["error"]["message"].to_string();
    assert!(
        message.contains(Path::new(file).file_name().expect("a name").to_str().expect("ASCII"))
    );
    assert!(provider.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn host_file_missing() {
    is_refused_after(row("host_file_missing"), "etc/permitted_hosts.yaml", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn host_file_corrupt() {
    let text = Some("hosts:\n  - host: a.example\n    novel_key: 1\n");
    is_refused_after(row("host_file_corrupt"), "etc/permitted_hosts.yaml", text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn host_file_empty() {
    is_refused_after(row("host_file_empty"), "etc/permitted_hosts.yaml", Some("hosts: []\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_invalid_at_start() {
    let text = Some("patterns:\n  - {type: OWN, regex: '(', examples: [x]}\n");
    is_refused_after(row("policy_invalid_at_start"), "etc/patterns.yaml", text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_host_without_a_host_table() {
    let (_provider, waterwall) =
        started_again("etc/permitted_hosts.yaml", Some("hosts: []\n")).await;
    let (reply, _) = Raw::new(&waterwall).connect("packages.example:443").await;
    row("foreign_host_without_a_host_table").holds_at_connect(&waterwall, &reply);
}

/// And `refusal_status`, for all hosts and for one: on 400 all agents stop at once.
#[tokio::test(flavor = "multi_thread")]
async fn kill_switch_armed() {
    let row = row("kill_switch_armed");
    let provider = Provider::echo().await;
    for (config, for_one, all, one) in [
        ("", "", false, false),
        ("refusal_status: 400\n", "", true, true),
        ("", "    refusal_status: 400\n", false, true),
        ("refusal_status: 400\n", "    refusal_status: 502\n", true, false),
    ] {
        let waterwall = start_edited(&provider, config, "etc/permitted_hosts.yaml", |text| {
            let entry = "  - host: api.deepseek.com\n";
            text.replace(entry, &format!("{entry}{for_one}"))
        });
        waterwall.ctl(&["killswitch", "arm", "--reason", "drill"]);
        for (host, is_400) in [(HOST, all), ("api.deepseek.com", one)] {
            let reply = Raw::new(&waterwall).send(host, post(host, PATH, "{}")).await;
            row.is_with(&reply, is_400);
        }
        row.is_on_record(&waterwall);
    }
    assert!(provider.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_switch_armed_before_a_tunnel() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    waterwall.ctl(&["killswitch", "arm", "--reason", "drill"]);
    let (reply, _) = Raw::new(&waterwall).connect(LOGIN).await;
    row("kill_switch_armed_before_a_tunnel").holds_at_connect(&waterwall, &reply);
}

/// Ends a daemon, and keeps its successors from starting, until [`give_back`].
fn take_away(waterwall: &Waterwall, role: &str, folder: &str) {
    let (here, there) = (waterwall.path(folder), waterwall.path("away"));
    fs::rename(here, there).expect("the home can be written");
    waterwall.signal(role, Signal::SIGKILL);
    eventually(&format!("{role} is gone"), || {
        let proxy = &waterwall.status()["proxy"];
        let is_there =
            if role == "signer" { &proxy["signer"]["up"] } else { &proxy["log"]["open"] };
        *is_there == false
    });
}

fn give_back(waterwall: &Waterwall, folder: &str) {
    let there = waterwall.path(folder);
    let _ = fs::remove_dir_all(&there);
    fs::rename(waterwall.path("away"), there).expect("the home can be written");
}

/// Waits until a request passes again.
async fn comes_back(waterwall: &Waterwall) {
    for _ in 0..300 {
        if send(waterwall).await.status == 200 {
            let verdict = waterwall.verify_chain();
            assert_eq!(verdict.status.code(), Some(0), "{}", said(&verdict));
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("service never came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn auditd_away() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    take_away(&waterwall, "auditd", "state/log");
    let reply = send(&waterwall).await;
    row("auditd_away").is(&reply);
    assert!(provider.seen().is_empty());
    give_back(&waterwall, "state/log");
    comes_back(&waterwall).await;
    row("auditd_away").is_on_record(&waterwall);
}

#[tokio::test(flavor = "multi_thread")]
async fn auditd_away_before_a_tunnel() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    take_away(&waterwall, "auditd", "state/log");
    let (reply, _) = Raw::new(&waterwall).connect(LOGIN).await;
    row("auditd_away_before_a_tunnel").is(&reply);
    give_back(&waterwall, "state/log");
    comes_back(&waterwall).await;
    row("auditd_away_before_a_tunnel").is_on_record(&waterwall);
}

#[tokio::test(flavor = "multi_thread")]
async fn auditd_silent() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start_with(&provider, "timeouts:\n  append: 1\n");
    waterwall.signal("auditd", Signal::SIGSTOP);
    let reply = send(&waterwall).await;
    waterwall.signal("auditd", Signal::SIGCONT);
    row("auditd_silent").holds_inside(&waterwall, &reply);
    assert!(provider.seen().is_empty());
    comes_back(&waterwall).await;
}

/// Sends until what comes back is a refusal.
async fn refusal(waterwall: &Waterwall) -> Reply {
    for _ in 0..300 {
        let reply = send(waterwall).await;
        if reply.status != 200 {
            return reply;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("nothing was ever refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_unsigned_too_long() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start_with(&provider, "audit:\n  max_unsigned_seconds: 1\n");
    assert_eq!(send(&waterwall).await.status, 200);
    waterwall.signal("signer", Signal::SIGSTOP);
    let reply = refusal(&waterwall).await;
    let arrived = provider.seen().len();
    row("log_unsigned_too_long").holds_inside(&waterwall, &reply);
    assert_ne!(send(&waterwall).await.status, 200);
    assert_eq!(provider.seen().len(), arrived);
    waterwall.signal("signer", Signal::SIGCONT);
    comes_back(&waterwall).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_unsigned_too_long_before_a_tunnel() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start_with(&provider, "audit:\n  max_unsigned_seconds: 1\n");
    assert_eq!(send(&waterwall).await.status, 200);
    waterwall.signal("signer", Signal::SIGSTOP);
    refusal(&waterwall).await;
    let (reply, _) = Raw::new(&waterwall).connect(LOGIN).await;
    row("log_unsigned_too_long_before_a_tunnel").holds_at_connect(&waterwall, &reply);
    waterwall.signal("signer", Signal::SIGCONT);
    comes_back(&waterwall).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signer_away_with_a_good_leaf() {
    let row = row("signer_away_with_a_good_leaf");
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start_with(&provider, "audit:\n  max_unsigned_seconds: 600\n");
    assert_eq!(send(&waterwall).await.status, 200);
    take_away(&waterwall, "signer", "state/signer");
    assert_eq!(send(&waterwall).await.status, 200);
    row.is_on_record(&waterwall);
    assert_eq!(waterwall.lines("redaction").len(), 2);
    give_back(&waterwall, "state/signer");
    comes_back(&waterwall).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signer_away_without_a_leaf() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start_with(&provider, "audit:\n  max_unsigned_seconds: 600\n");
    take_away(&waterwall, "signer", "state/signer");
    let (reply, _) = Raw::new(&waterwall).connect(&format!("{HOST}:443")).await;
    row("signer_away_without_a_leaf").holds_at_connect(&waterwall, &reply);
    give_back(&waterwall, "state/signer");
    eventually("the signer is back", || waterwall.status()["proxy"]["signer"]["up"] == true);
    comes_back(&waterwall).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn host_outside_the_ca() {
    let provider = Provider::echo().await;
    let mut waterwall = Waterwall::start(&provider);
    waterwall.down();
    super::edit(&waterwall, "etc/permitted_hosts.yaml", |text| {
        text + "  - {host: novel.example, sse_handler: none}\n"
    });
    waterwall.up();
    let (reply, _) = Raw::new(&waterwall).connect("novel.example:443").await;
    row("host_outside_the_ca").holds_at_connect(&waterwall, &reply);
    assert!(reply.text().contains("regen-ca"), "{reply:?}");
    assert_eq!(send(&waterwall).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn store_full() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start_with(&provider, "redaction:\n  store_entries: 1\n");
    let body = SHAPES[0].request(&format!("{} {}", secrets::AWS, secrets::GITHUB)).to_string();
    let reply = Raw::new(&waterwall).send(HOST, post(HOST, PATH, &body)).await;
    row("store_full").holds_inside(&waterwall, &reply);
    assert!(provider.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn overload() {
    let provider = Provider::echo().await;
    let limits = "limits:\n  body_mib: 1\n  bodies_total_mib: 1\n";
    let waterwall = Waterwall::start_with(&provider, limits);
    let raw = Raw::new(&waterwall);
    let lines = "content-type: application/json\r\nexpect: 100-continue\r\n";
    let large = with_headers(HOST, PATH, lines, &vec![b' '; 1 << 20]);
    let head = large.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
    let mut tls = raw.tls(&format!("{HOST}:443"), HOST, &[]).await.expect("a handshake");
    tls.write_all(&large[..head]).await.expect("it is taken");
    // Asked for its body, it has all the room there is.
    let mut asked = [0; 12];
    tls.read_exact(&mut asked).await.expect("it is asked for its body");
    assert_eq!(&asked, b"HTTP/1.1 100");
    let reply = raw.send(HOST, request()).await;
    row("overload").holds_inside(&waterwall, &reply);
    assert!(provider.seen().is_empty());
    drop(tls);
    comes_back(&waterwall).await;
}

/// `unshare` with a mount namespace of its own; none where this user may not have one.
fn own_mounts() -> Option<Command> {
    [["--mount"].as_slice(), &["--mount", "--map-root-user"]].into_iter().find_map(|options| {
        let mut command = Command::new("unshare");
        command.args(options);
        let allowed = Command::new("unshare").args(options).arg("true").status();
        allowed.is_ok_and(|status| status.success()).then_some(command)
    })
}

/// A small disk for the log alone, which is filled when `fill` appears, and emptied again, and copied to
/// where the story sees it, when `empty` does.
const SMALL_DISK: &str = r#"
cd "$0" && mkdir -p state/log && chmod 0700 state/log &&
mount -t tmpfs -o size=16m,mode=0700 tmpfs state/log || exit 1
await() { n=0; until [ -e "$1" ] || [ $((n += 1)) -gt 2400 ]; do sleep 0.05; done; }
(
  await fill && head -c 13M /dev/zero > state/log/ballast; : > filled
  await empty && rm state/log/ballast; : > emptied
  await copy && cp state/log/*.jsonl seen/; : > copied
) < /dev/null > /dev/null 2>&1 &
exec "$@"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn disk_full() {
    let row = row("disk_full");
    let Some(mut ctl) = own_mounts() else { return };
    let provider = Provider::echo().await;
    let mut waterwall = Waterwall::lay_out(&provider, "");
    fs::create_dir(waterwall.path("seen")).expect("a folder");
    ctl.args(["sh", "-c", SMALL_DISK]).arg(waterwall.path(""));
    ctl.arg(executable("waterwall-ctl"));
    waterwall.up_by(ctl);
    assert_eq!(send(&waterwall).await.status, 200);
    let tell = |what: &str, done: &str| {
        fs::write(waterwall.path(what), "").expect("the home can be written");
        eventually(&format!("it is {done}"), || waterwall.path(done).exists());
    };
    tell("fill", "filled");
    let reply = refusal(&waterwall).await;
    let arrived = provider.seen().len();
    row.is(&reply);
    assert_ne!(send(&waterwall).await.status, 200);
    assert_eq!(provider.seen().len(), arrived);
    tell("empty", "emptied");
    let passes = async {
        while send(&waterwall).await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let limit = std::time::Duration::from_secs(30);
    tokio::time::timeout(limit, passes).await.expect("service comes back");
    tell("copy", "copied");
    let log = fs::read_to_string(waterwall.path("seen/proxy.jsonl")).expect("a log");
    assert!(log.contains("\"line_type\":\"redaction\""), "{log}");
    assert!(!log.contains("\"line_type\":\"block\""), "{log}");
}
