//! What honest mishaps leave behind verifies, and what dishonest hands leave behind does not.

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::agent::Agent;
use harness::executables::executable;
use harness::provider::Provider;
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::{Waterwall, eventually, said};
use nix::sys::signal::Signal;
use serde_json::Value;

const URL: &str = "https://api.anthropic.com/v1/messages";

/// Two runs that ended in good order, with an exchange in each.
async fn two_runs() -> Waterwall {
    let provider = Provider::echo().await;
    let mut waterwall = Waterwall::start(&provider);
    for run in 0..2 {
        if run > 0 {
            waterwall.up();
        }
        Agent::new(&waterwall).post_json(URL, &SHAPES[0].request(secrets::AWS)).await;
        waterwall.down();
    }
    waterwall
}

/// Exit code and JSON of `verify-chain`.
fn verdict(waterwall: &Waterwall, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = waterwall.ctl(&[&["verify-chain", "--json"], arguments].concat());
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code(), report.unwrap_or_else(|_| panic!("no JSON: {}", said(&output))))
}

fn log(waterwall: &Waterwall) -> Vec<String> {
    let text = fs::read_to_string(waterwall.path("state/log/proxy.jsonl")).expect("a log");
    text.split_inclusive('\n').map(str::to_owned).collect()
}

fn put(waterwall: &Waterwall, lines: &[String]) {
    fs::write(waterwall.path("state/log/proxy.jsonl"), lines.concat()).expect("the log is ours");
}

/// C02: an end in good order is the one place where a cut shows neither in the lines nor, once it
/// is deleted, in `head.note`. The signer remembers.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_cut_back_to_an_earlier_end_in_good_order_is_found_out_by_the_signer() {
    let waterwall = two_runs().await;
    assert_eq!(verdict(&waterwall, &[]).0, Some(0));
    let lines = log(&waterwall);
    let stop = lines.iter().position(|line| line.contains("\"line_type\":\"stop\""));
    let kept = stop.expect("the first run stopped") + 2;
    put(&waterwall, &lines[..kept]);
    let (code, report) = verdict(&waterwall, &[]);
    assert_eq!((code, &report["code"]), (Some(1), &"E_BEHIND_HEAD".into()));
    fs::remove_file(waterwall.path("state/log/head.note")).expect("a head note");
    let (code, report) = verdict(&waterwall, &[]);
    assert_eq!((code, &report["code"]), (Some(1), &"E_BEHIND_SIGNER".into()));
    // An auditor elsewhere, with the log and the key alone, and then with the signer's folder.
    let moved = waterwall.path("copy");
    fs::rename(waterwall.path("state/log"), &moved).expect("a folder");
    let [moved, key, signer] =
        [moved, waterwall.path("etc/signing.pub"), waterwall.path("state/signer")]
            .map(|path| path.to_string_lossy().into_owned());
    let alone = [moved.as_str(), "--pubkey", &key];
    assert_eq!(verdict(&waterwall, &alone).0, Some(0), "the documented limit");
    let (code, report) = verdict(&waterwall, &[&alone[..], &["--signer-state", &signer]].concat());
    assert_eq!((code, &report["code"]), (Some(1), &"E_BEHIND_SIGNER".into()));
}

/// F02, on real disks: nobody cuts the debris off, and the verdict says what happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_last_line_is_set_aside_and_said() {
    let mut waterwall = two_runs().await;
    let mut lines = log(&waterwall);
    lines.push("{\"boot\":\"b0".into());
    put(&waterwall, &lines);
    assert_eq!(verdict(&waterwall, &[]).0, Some(3), "torn, and nobody has said so yet");
    waterwall.up();
    waterwall.down();
    let (code, report) = verdict(&waterwall, &[]);
    assert_eq!(code, Some(0), "{report}");
    let warnings = report["warnings"].as_array().expect("a list");
    assert!(warnings.iter().any(|warning| warning["code"] == "W_RECOVERED"), "{report}");
}

/// C11, C02: the lines after the last signature are the only ones that a writer of the folder can
/// rewrite, and what tells is the note or its absence.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_end_is_never_called_whole() {
    let waterwall = two_runs().await;
    let mut lines = log(&waterwall);
    // `stop` and its checkpoint go, and another last line stands there.
    lines.truncate(lines.len() - 2);
    put(&waterwall, &lines);
    assert_eq!(verdict(&waterwall, &[]).0, Some(1));
    fs::remove_file(waterwall.path("state/log/head.note")).expect("a head note");
    assert_ne!(verdict(&waterwall, &[]).0, Some(0));
    let last = lines.last_mut().expect("lines");
    *last = last.replace("\"up_ms\":", "\"up_ms\":1");
    put(&waterwall, &lines);
    assert_ne!(verdict(&waterwall, &[]).0, Some(0));
}

/// A log that is whole and honest, and another's.
#[tokio::test(flavor = "multi_thread")]
async fn another_instances_log_does_not_pass_for_ones_own() {
    let (ours, theirs) = (two_runs().await, two_runs().await);
    fs::remove_dir_all(ours.path("state/log")).expect("a folder");
    fs::rename(theirs.path("state/log"), ours.path("state/log")).expect("one file system");
    assert_eq!(verdict(&ours, &[]).0, Some(1));
    let up = ours.ctl(&["up", "--detach"]);
    assert!(!up.status.success() && said(&up).contains("E_FORK"), "{}", said(&up));
}

/// Everything dies at once, again and again, in the midst of traffic.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_machine_full_of_traffic_leaves_a_log_that_verifies() {
    let provider = Provider::echo().await;
    let mut waterwall = Waterwall::start(&provider);
    for _ in 0..3 {
        let agent = Agent::new(&waterwall);
        let request = SHAPES[0].request(secrets::AWS);
        let traffic = tokio::spawn(async move {
            loop {
                let _ = agent.request(URL, request.to_string()).send().await;
            }
        });
        let arrived = provider.seen().len();
        eventually("some requests passed", || provider.seen().len() > arrived + 5);
        let supervisor = waterwall.status()["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        let pids = ["proxy", "auditd", "signer"].map(|role| waterwall.pid(role));
        let supervisor = nix::unistd::Pid::from_raw(supervisor.expect("a pid"));
        for pid in [supervisor].into_iter().chain(pids) {
            let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
        }
        traffic.abort();
        let running = Path::new("/proc").join(supervisor.to_string());
        eventually("the supervisor is gone", || {
            let stat = fs::read_to_string(running.join("stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        });
        waterwall.up();
    }
    waterwall.down();
    let (code, report) = verdict(&waterwall, &[]);
    assert_eq!(code, Some(0), "{report}");
    assert!(waterwall.lines("redaction").len() >= provider.seen().len());
    assert!(!provider.saw(secrets::AWS));
}

/// Their messages share a disk with everything else, and it may be full.
#[test]
fn a_daemon_whose_messages_cannot_be_written_does_not_die_of_that() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().to_str().expect("UTF-8");
    for (name, arguments) in [
        ("waterwall-auditd", ["--log", place, "--seal", "seal.sock"].as_slice()),
        ("waterwall-proxy", &["--config", place, "--run", place]),
        ("waterwall-signer", &["serve", "--state", place]),
    ] {
        let full = fs::File::options().write(true).open("/dev/full").expect("a device");
        let ended = Command::new(executable(name)).args(arguments).stderr(full).status();
        let ended = ended.expect("it runs");
        // Nobody handed it sockets, which is a failure with a code of its own.
        assert!(matches!(ended.code(), Some(64..=78)), "{name}: {ended}");
    }
}
