//! Everything around a built proxy: a signer, an auditd, a provider and an agent, each on real
//! sockets. The signer and auditd here only keep to their links; what they promise beyond that is
//! tried with the real ones elsewhere.

pub(crate) mod agent;
pub(crate) mod auditd;
pub(crate) mod provider;
pub(crate) mod signer;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};

/// The host that agents ask for.
pub(crate) const HOST: &str = "api.anthropic.com";

/// `run/admin.token`.
pub(crate) const TOKEN: &str = "0707070707070707070707070707070707070707070707070707070707070707";

/// A running proxy and its surroundings.
pub(crate) struct Stand {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) agents: u16,
    pub(crate) admin: u16,
    pub(crate) signer: signer::Signer,
    pub(crate) auditd: auditd::Auditd,
    pub(crate) provider: provider::Provider,
    child: Child,
}

impl Stand {
    /// A proxy with one permitted host, at the stand's own provider, and `config` as its settings.
    pub(crate) async fn start(config: &str) -> Self {
        let stand = Self::launch(config, None).await;
        stand.until_healthy().await;
        stand
    }

    /// As [`Self::start`], without waiting for health; `hosts` in place of the usual host table.
    pub(crate) async fn launch(config: &str, hosts: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["etc", "run"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let provider = provider::Provider::start().await;
        let signer = signer::Signer::start(&folder.path().join("run/mint.sock"));
        let auditd = auditd::Auditd::start(&folder.path().join("run/append.sock"));
        fs::write(folder.path().join("etc/provider.pem"), &provider.root).unwrap();
        fs::write(folder.path().join("etc/ca.pem"), signer.ca_pem()).unwrap();
        fs::write(folder.path().join("etc/config.yaml"), config).unwrap();
        let usual = host_table(provider.port);
        let hosts_file = folder.path().join("etc/permitted_hosts.yaml");
        fs::write(hosts_file, hosts.unwrap_or(&usual)).unwrap();
        fs::write(folder.path().join("run/admin.token"), TOKEN).unwrap();
        let agents = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let admin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let control = UnixListener::bind(folder.path().join("run/control.sock")).unwrap();
        let (agents_port, admin_port) =
            (agents.local_addr().unwrap().port(), admin.local_addr().unwrap().port());
        let child = spawn(&folder, [agents.into(), admin.into(), control.into()]);
        Self { folder, agents: agents_port, admin: admin_port, signer, auditd, provider, child }
    }

    pub(crate) fn path(&self, beneath: &str) -> PathBuf {
        self.folder.path().join(beneath)
    }

    pub(crate) fn agent(&self) -> agent::Agent {
        agent::Agent::new(self.agents, self.signer.ca_pem())
    }

    pub(crate) fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.id().cast_signed())
    }

    pub(crate) async fn until_healthy(&self) {
        until("healthy", async || agent::get(self.admin, "/healthz").await.0 == 200).await;
    }

    pub(crate) async fn faults(&self) -> String {
        agent::get(self.admin, "/healthz").await.1
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        let child = &mut self.child;
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn host_table(port: u16) -> String {
    format!(
        "hosts:\n- host: {HOST}\n  sse_handler: anthropic\n  upstream: 127.0.0.1:{port}\n  \
         extra_root: provider.pem\ntunnel: [localhost]\n"
    )
}

/// Only ever waited for this long in a test that fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `holds`.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn spawn(folder: &tempfile::TempDir, sockets: [OwnedFd; 3]) -> Child {
    let mut mappings = Vec::new();
    for (parent_fd, child_fd) in sockets.into_iter().zip(3..) {
        mappings.push(FdMapping { parent_fd, child_fd });
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_waterwall-proxy"));
    command
        .arg("--config")
        .arg(folder.path().join("etc"))
        .arg("--run")
        .arg(folder.path().join("run"))
        .env("LISTEN_FDS", "3")
        .env("LISTEN_FDNAMES", "agents:admin:control")
        .env_remove("LISTEN_PID")
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .fd_mappings(mappings)
        .unwrap();
    command.spawn().unwrap()
}
