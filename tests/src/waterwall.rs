//! A whole Waterwall in a folder of its own: the supervisor and its three daemons.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::executables::executable;
use crate::provider::{HOSTS, Provider};

/// How long a story waits for something that must happen before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A whole Waterwall in a folder of its own.
pub struct Waterwall {
    home: TempDir,
    listen: SocketAddr,
    admin_port: u16,
}

impl Waterwall {
    /// Starts one whose permitted hosts are all `provider`.
    pub fn start(provider: &Provider) -> Self {
        Self::start_with(provider, "")
    }

    /// Starts one with further lines in `config.yaml`.
    pub fn start_with(provider: &Provider, config: &str) -> Self {
        let mut waterwall = Self::lay_out(provider, config);
        waterwall.up();
        waterwall
    }

    /// Writes its configuration, and starts nothing yet.
    pub fn lay_out(provider: &Provider, config: &str) -> Self {
        Self::lay_out_at(provider.address(), provider.ca_pem(), config)
    }

    /// The same in front of a provider that listens at `address`, under a CA of `ca_pem`.
    pub fn lay_out_at(address: SocketAddr, ca_pem: &str, config: &str) -> Self {
        Self::lay_out_for(&address.to_string(), ca_pem, config)
    }

    /// The same in front of a provider at `place`, as `upstream:` names it; each host at its own
    /// name where that is empty.
    pub fn lay_out_for(place: &str, ca_pem: &str, config: &str) -> Self {
        let home = tempfile::Builder::new().prefix("ww").tempdir().expect("a folder can be made");
        let etc = home.path().join("etc");
        std::fs::create_dir_all(&etc).expect("a folder can be made");
        write(&etc.join("provider-ca.pem"), ca_pem);
        write(&etc.join("permitted_hosts.yaml"), &hosts_file(place));
        write(&etc.join("config.yaml"), &format!("listen: 127.0.0.1:0\nadmin_port: 0\n{config}"));
        Self { home, listen: SocketAddr::from(([127, 0, 0, 1], 0)), admin_port: 0 }
    }

    /// Brings the supervisor up again after [`Self::down`], on its old folder.
    pub fn up(&mut self) {
        self.up_by(Command::new(executable("waterwall-ctl")));
    }

    /// The same by a command that ends in `waterwall-ctl`.
    pub fn up_by(&mut self, mut ctl: Command) {
        let up = ctl
            .args(["up", "--detach"])
            .env("WATERWALL_HOME", self.home.path())
            .output()
            .expect("the command runs");
        assert!(up.status.success(), "up failed: {}", said(&up));
        let status = self.status();
        let listen = status["listen"].as_str().expect("status names the listening address");
        self.listen = listen.parse().expect("the listening address is one");
        self.admin_port = status["admin_port"]
            .as_u64()
            .and_then(|port| port.try_into().ok())
            .expect("status names the admin port");
    }

    /// Stops supervisor and daemons.
    pub fn down(&self) {
        let down = self.ctl(&["down"]);
        assert!(down.status.success(), "down failed: {}", said(&down));
    }

    /// Runs `waterwall-ctl` on this home.
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        Command::new(executable("waterwall-ctl"))
            .args(arguments)
            .env("WATERWALL_HOME", self.home.path())
            .output()
            .expect("waterwall-ctl runs")
    }

    /// `status --json`.
    pub fn status(&self) -> Value {
        let status = self.ctl(&["status", "--json"]);
        serde_json::from_slice(&status.stdout)
            .unwrap_or_else(|_| panic!("status is no JSON: {}", said(&status)))
    }

    /// Where agents connect.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The admin listener's URL of `path`.
    pub fn admin(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.admin_port)
    }

    /// The admin token.
    pub fn token(&self) -> String {
        std::fs::read_to_string(self.path("run/admin.token")).expect("up makes a token")
    }

    /// The CA's certificate.
    pub fn ca_pem(&self) -> Vec<u8> {
        std::fs::read(self.path("etc/ca.pem")).expect("up makes a CA")
    }

    /// A path below the home.
    pub fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }

    /// The process id of `role`: `proxy`, `signer` or `auditd`.
    pub fn pid(&self, role: &str) -> Pid {
        let status = self.status();
        let pid = role_of(&status, role)["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        Pid::from_raw(pid.unwrap_or_else(|| panic!("{role} has no pid in {status}")))
    }

    /// Sends `signal` to `role`.
    pub fn signal(&self, role: &str, signal: Signal) {
        kill(self.pid(role), signal).expect("the process is there to be signalled");
    }

    /// Kills `role` and waits until the supervisor has another one ready.
    pub fn replace(&self, role: &str) {
        let old = self.pid(role);
        kill(old, Signal::SIGKILL).expect("the process is there to be killed");
        eventually(&format!("{role} is replaced"), || {
            let status = self.status();
            let role = role_of(&status, role);
            role["state"] == "ready" && role["pid"].as_i64() != Some(i64::from(old.as_raw()))
        });
    }

    /// `verify-chain` on this home's log.
    pub fn verify_chain(&self) -> Output {
        self.ctl(&["verify-chain"])
    }

    /// The log's lines so far.
    pub fn log(&self) -> Vec<Value> {
        let mut segments: Vec<PathBuf> = std::fs::read_dir(self.path("state/log"))
            .expect("there is a log folder")
            .map(|entry| entry.expect("the log folder can be read").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
            .collect();
        // `proxy.000000000001-…` sorts before `proxy.jsonl`.
        segments.sort();
        segments
            .iter()
            .flat_map(|path| {
                let text = std::fs::read_to_string(path).expect("segments are UTF-8");
                text.split_inclusive('\n')
                    .filter(|line| line.ends_with('\n'))
                    .filter_map(|line| serde_json::from_str(line).ok())
                    .collect::<Vec<Value>>()
            })
            .collect()
    }

    /// The log's lines of one type.
    pub fn lines(&self, line_type: &str) -> Vec<Value> {
        self.log().into_iter().filter(|line| line["line_type"] == line_type).collect()
    }

    /// Everything below the home that is text or bytes on disk, but the log of `needle`s is empty
    /// only when none of the files holds it.
    pub fn files_holding(&self, needle: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.home.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("the home can be read").flatten() {
                let kind = entry.file_type().expect("entries have types");
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() && holds(&entry.path(), needle) {
                    found.push(entry.path());
                }
            }
        }
        found
    }
}

impl Drop for Waterwall {
    fn drop(&mut self) {
        let _ = self.ctl(&["down"]);
    }
}

/// Where `status --json` keeps a role.
fn role_of<'a>(status: &'a Value, role: &str) -> &'a Value {
    &status["roles"][role]
}

fn holds(path: &Path, needle: &str) -> bool {
    std::fs::read(path)
        .is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle.as_bytes()))
}

/// Waits until `condition` holds; fails the story when it never does.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it never happened that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a command printed, for failure messages.
pub fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the home can be written");
}

fn hosts_file(place: &str) -> String {
    let upstream = match place {
        "" => String::new(),
        place => format!("    upstream: \"{place}\"\n"),
    };
    let mut text = String::from("hosts:\n");
    for host in HOSTS {
        let handler = if host == "api.anthropic.com" { "anthropic" } else { "openai" };
        write!(
            text,
            "  - host: {host}\n    sse_handler: {handler}\n{upstream}    extra_root: provider-ca.pem\n"
        )
        .expect("strings take text");
    }
    text
}
