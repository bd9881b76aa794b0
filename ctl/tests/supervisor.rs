//! Stories of the supervisor, told with stand-ins for the daemons (`examples/stand_in.rs`).

#![allow(clippy::unwrap_used, reason = "clippy takes only test functions themselves for tests")]

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// An installation of its own: the real `waterwall-ctl` beside stand-ins, and an empty home.
struct Instance {
    programs: TempDir,
    home: TempDir,
}

impl Instance {
    fn new() -> Self {
        let programs = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let ctl = Path::new(env!("CARGO_BIN_EXE_waterwall-ctl"));
        let stand_in = ctl.with_file_name("examples").join("stand_in");
        let place = |from: &Path, name: &str| {
            std::fs::hard_link(from, programs.path().join(name)).unwrap();
        };
        place(ctl, "waterwall-ctl");
        for name in ["waterwall-signer", "waterwall-auditd", "waterwall-proxy"] {
            place(&stand_in, name);
        }
        let home = tempfile::Builder::new().prefix("ww").tempdir().unwrap();
        let instance = Self { programs, home };
        instance.configure("listen: 127.0.0.1:0\nadmin_port: 0\n");
        instance
    }

    fn configure(&self, text: &str) {
        std::fs::create_dir_all(self.path("etc")).unwrap();
        std::fs::write(self.path("etc/config.yaml"), text).unwrap();
    }

    fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }

    fn make(&self, name: &str, how: &str) {
        std::fs::write(self.programs.path().join(format!("waterwall-{name}.{how}")), "").unwrap();
    }

    fn unmake(&self, name: &str, how: &str) {
        std::fs::remove_file(self.programs.path().join(format!("waterwall-{name}.{how}"))).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.path().join("waterwall-ctl"));
        command.args(arguments).env("WATERWALL_HOME", self.home.path()).env("STRAY", "stray");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn ctl(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn up(&self) -> Value {
        let up = self.ctl(&["up", "--detach", "--json"]);
        assert!(up.status.success(), "{}", said(&up));
        self.record()
    }

    fn up_in_foreground(&self) -> Child {
        let up = self.command(&["up"]).spawn().unwrap();
        eventually("all are ready", || {
            let record = self.try_record();
            record.is_some_and(|it| ROLES.iter().all(|role| it["roles"][role]["state"] == "ready"))
        });
        up
    }

    fn try_record(&self) -> Option<Value> {
        let text = std::fs::read_to_string(self.path("run/supervisor.json")).ok()?;
        Some(serde_json::from_str(&text).expect("the record is always whole"))
    }

    fn record(&self) -> Value {
        self.try_record().expect("the supervisor has written its record")
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.ctl(&["down"]);
    }
}

const ROLES: [&str; 3] = ["signer", "auditd", "proxy"];

fn pid(record: &Value) -> Pid {
    Pid::from_raw(record["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a pid"))
}

fn is_running(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never happened that {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn hands_each_daemon_its_sockets_and_secrets_and_stops_them_in_order() {
    let instance = Instance::new();
    let up = instance.up_in_foreground();
    kill(Pid::from_raw(up.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let done = up.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let stderr = String::from_utf8(done.stderr).unwrap();
    let lines: Vec<&str> = stderr.lines().collect();
    let handed = |name: &str, count: u8, names: &str| {
        format!(
            "waterwall-{name}: listeners={count}/{count}/{names} own_pid=true secret_bytes=64 \
             at_parents_death=Some(SIGTERM) stray="
        )
    };
    assert_eq!(
        lines,
        [
            handed("signer", 2, "mint:seal").as_str(),
            handed("auditd", 2, "append:audit-control").as_str(),
            handed("proxy", 3, "agents:admin:control").as_str(),
            "waterwall-proxy: stopped",
            "waterwall-auditd: stopped",
            "waterwall-signer: stopped",
        ]
    );
    let left: Vec<_> = std::fs::read_dir(instance.path("run"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "admin.token")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn replaces_a_daemon_that_dies_behind_the_same_sockets() {
    let instance = Instance::new();
    let before = instance.up();
    for role in ROLES {
        let old = pid(&before["roles"][role]);
        kill(old, Signal::SIGKILL).unwrap();
        eventually("another one is ready", || {
            let it = &instance.record()["roles"][role];
            // Nobody who connects meanwhile is turned away.
            UnixStream::connect(instance.path("run/mint.sock")).unwrap();
            it["state"] == "ready" && it["restarts"] == 1
        });
        assert_ne!(pid(&instance.record()["roles"][role]), old);
    }
    let after = instance.record();
    assert_eq!(after["listen"], before["listen"]);
    assert_eq!(after["pid"], before["pid"]);
}

#[test]
fn a_second_up_says_who_is_already_there() {
    let instance = Instance::new();
    let record = instance.up();
    let second = instance.ctl(&["up"]);
    assert_eq!(second.status.code(), Some(1), "{}", said(&second));
    let complaint = String::from_utf8(second.stderr).unwrap();
    assert!(complaint.contains(&format!("already running here (pid {})", record["pid"])));
    let detached = instance.ctl(&["up", "--detach"]);
    assert_eq!(detached.status.code(), Some(0), "{}", said(&detached));
    assert_eq!(instance.record()["pid"], record["pid"]);
}

#[test]
fn many_at_once_end_up_with_one_supervisor() {
    let instance = Instance::new();
    let all: Vec<Child> =
        (0..4).map(|_| instance.command(&["up", "--detach", "--json"]).spawn().unwrap()).collect();
    let mut pids: Vec<Value> = all
        .into_iter()
        .map(|one| {
            let done = one.wait_with_output().unwrap();
            assert!(done.status.success(), "{}", said(&done));
            serde_json::from_slice::<Value>(&done.stdout).unwrap()["pid"].clone()
        })
        .collect();
    pids.dedup();
    assert_eq!(pids.len(), 1, "{pids:?}");
}

#[test]
fn a_taken_port_stops_the_start_and_names_the_key() {
    let instance = Instance::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    instance.configure(&format!("listen: {address}\nadmin_port: 0\n"));
    for arguments in [&["up"][..], &["up", "--detach"]] {
        let up = instance.ctl(arguments);
        assert_eq!(up.status.code(), Some(69), "{}", said(&up));
        let complaint = String::from_utf8(up.stderr).unwrap();
        assert!(complaint.contains(&format!("{address} is taken")), "{complaint}");
        assert!(complaint.contains("`listen`"), "{complaint}");
    }
}

#[test]
fn daemons_do_not_outlive_a_killed_supervisor_and_the_next_start_is_clean() {
    let instance = Instance::new();
    let before = instance.up();
    kill(pid(&before), Signal::SIGKILL).unwrap();
    for role in ROLES {
        let daemon = pid(&before["roles"][role]);
        eventually("the daemon is gone", || !is_running(daemon));
    }
    assert!(instance.path("run/control.sock").exists(), "the stale folder is part of the story");
    let after = instance.up();
    assert_ne!(after["pid"], before["pid"]);
    UnixStream::connect(instance.path("run/control.sock")).unwrap();
}

#[test]
fn a_daemon_that_clings_to_life_is_ended_by_the_next_start() {
    let instance = Instance::new();
    instance.make("auditd", "stubborn");
    let before = instance.up();
    kill(pid(&before), Signal::SIGKILL).unwrap();
    let stubborn = pid(&before["roles"]["auditd"]);
    eventually("the others are gone", || !is_running(pid(&before["roles"]["proxy"])));
    assert!(is_running(stubborn));
    // The file is read when it starts; this one has been read already.
    let after = instance.up();
    assert!(!is_running(stubborn));
    assert_ne!(pid(&after["roles"]["auditd"]), stubborn);
    instance.unmake("auditd", "stubborn");
}

#[test]
fn a_daemon_that_cannot_start_ends_the_start_and_says_why() {
    let instance = Instance::new();
    instance.make("proxy", "broken");
    let up = instance.ctl(&["up", "--detach"]);
    assert_eq!(up.status.code(), Some(69), "{}", said(&up));
    let complaint = String::from_utf8(up.stderr).unwrap();
    assert!(complaint.contains("waterwall-proxy: broken"), "{complaint}");
    assert!(complaint.contains("waterwall-proxy did not start"), "{complaint}");
    assert!(complaint.contains("waterwall-signer: stopped"), "{complaint}");
    assert_eq!(instance.ctl(&["status"]).status.code(), Some(3));
}

#[test]
fn down_stops_all_and_is_content_with_nothing_to_stop() {
    let instance = Instance::new();
    let record = instance.up();
    assert_eq!(instance.ctl(&["down"]).status.code(), Some(0));
    assert!(!is_running(pid(&record)));
    assert!(ROLES.iter().all(|role| !is_running(pid(&record["roles"][role]))));
    assert_eq!(instance.ctl(&["down"]).status.code(), Some(0));
    let status = instance.ctl(&["status", "--json"]);
    assert_eq!(status.status.code(), Some(3));
    let value: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(value["running"], false);
}

/// As `XDG_RUNTIME_DIR` is when its user logs out.
#[test]
fn an_instance_whose_run_folder_was_removed_is_still_known_and_can_be_stopped() {
    let instance = Instance::new();
    let record = instance.up();
    std::fs::remove_dir_all(instance.path("run")).unwrap();
    assert_eq!(instance.ctl(&["status"]).status.code(), Some(1));
    let second = instance.ctl(&["up"]);
    assert_eq!(second.status.code(), Some(1), "{}", said(&second));
    assert!(said(&second).contains(&format!("pid {}", record["pid"])), "{}", said(&second));
    let down = instance.ctl(&["down"]);
    assert_eq!(down.status.code(), Some(0), "{}", said(&down));
    assert!(!is_running(pid(&record)));
    assert!(ROLES.iter().all(|role| !is_running(pid(&record["roles"][role]))));
    instance.up();
}

#[test]
fn run_starts_what_is_needed_and_becomes_the_command() {
    let instance = Instance::new();
    let script = "printf %s $HTTPS_PROXY; test -s $SSL_CERT_FILE && exit 7";
    let run = instance.ctl(&["run", "--", "sh", "-c", script]);
    assert_eq!(run.status.code(), Some(7), "{}", said(&run));
    let listen = instance.record()["listen"].as_str().unwrap().to_owned();
    assert_eq!(String::from_utf8(run.stdout).unwrap(), format!("http://{listen}"));
    let killed = instance.ctl(&["run", "--quiet", "--", "sh", "-c", "kill -INT $$"]);
    assert_eq!(killed.status.signal(), Some(2), "{}", said(&killed));
    assert!(killed.stderr.is_empty(), "{}", said(&killed));
    let missing = instance.ctl(&["run", "--", "/nonexistent/agent"]);
    assert_eq!(missing.status.code(), Some(127), "{}", said(&missing));
    let folder = instance.ctl(&["run", "--", "/"]);
    assert_eq!(folder.status.code(), Some(126), "{}", said(&folder));
}

#[test]
fn run_does_not_start_an_unprotected_command() {
    let instance = Instance::new();
    instance.make("signer", "broken");
    let run = instance.ctl(&["run", "--", "sh", "-c", "echo ran"]);
    assert_eq!(run.status.code(), Some(125), "{}", said(&run));
    assert!(run.stdout.is_empty());
}

#[test]
fn env_prints_what_run_would_set_and_needs_a_running_instance() {
    let instance = Instance::new();
    let before = instance.ctl(&["env"]);
    assert_eq!(before.status.code(), Some(3), "{}", said(&before));
    let listen = instance.up()["listen"].as_str().unwrap().to_owned();
    let env = instance.ctl(&["env", "--json"]);
    let value: Value = serde_json::from_slice(&env.stdout).unwrap();
    assert_eq!(value["HTTPS_PROXY"], format!("http://{listen}"));
    let shell = instance.ctl(&["env"]);
    assert!(String::from_utf8(shell.stdout).unwrap().contains("export NODE_EXTRA_CA_CERTS='"));
}

#[test]
fn first_use_makes_commented_files_and_keeps_them() {
    let instance = Instance::new();
    instance.up();
    let hosts = std::fs::read_to_string(instance.path("etc/permitted_hosts.yaml")).unwrap();
    assert!(hosts.starts_with('#') && hosts.contains("api.anthropic.com"));
    let token = std::fs::read_to_string(instance.path("run/admin.token")).unwrap();
    assert_eq!(token.trim_end().len(), 64);
    instance.ctl(&["down"]);
    instance.up();
    assert_eq!(std::fs::read_to_string(instance.path("run/admin.token")).unwrap(), token);
}
