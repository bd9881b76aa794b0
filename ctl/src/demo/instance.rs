//! Waterwall in a temporary folder, gone when the story ends, however it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::provider::{HOSTS, Provider};
use super::story::Trouble;
use crate::fault::{Fault, Kind};
use crate::home::{Home, Process};
use crate::identity::Identity;
use crate::supervise::record::Record;
use crate::supervise::role::own_executable;

/// A running Waterwall in a temporary folder.
pub(super) struct Instance {
    home: Home,
    folder: TempDir,
    executable: PathBuf,
    up: Option<Child>,
}

impl Instance {
    /// Configures a fresh folder for `provider` and starts the supervisor.
    pub(super) fn start(provider: &Provider) -> Result<Self, Fault> {
        let (folder, home) = temporary_home()?;
        home.create()?;
        configure(&home, provider).map_err(|error| Fault::file("write", home.etc(), &error))?;
        let executable = own_executable()?;
        let mut instance = Self { home, folder, executable, up: None };
        instance.up = Some(instance.spawn()?);
        Ok(instance)
    }

    fn spawn(&self) -> Result<Child, Fault> {
        let path = self.messages();
        let messages =
            fs::File::create(&path).map_err(|error| Fault::file("write", &path, &error))?;
        // Through `launch` it stops by itself, should this process be killed.
        self.ctl(&["launch", &std::process::id().to_string()])
            .arg(&self.executable)
            .args(self.home.option())
            .arg("up")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(messages)
            .spawn()
            .map_err(|error| Fault::file("start", &self.executable, &error))
    }

    /// This executable, untouched by the caller's proxies, roots and homes.
    pub(super) fn ctl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.executable);
        command.args(arguments).env_clear();
        command.envs(std::env::vars_os().filter(|(name, _)| name == "RUST_LOG"));
        command
    }

    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn messages(&self) -> PathBuf {
        self.folder.path().join("messages")
    }

    /// Waits until all daemons are ready.
    pub(super) async fn ready(&mut self) -> Result<Record, Fault> {
        let started = Instant::now();
        loop {
            if let Some(record) = Record::read(&self.home).filter(Record::is_ready) {
                return Ok(record);
            }
            let runs = self
                .up
                .as_mut()
                .is_some_and(|up| up.try_wait().is_ok_and(|status| status.is_none()));
            if !runs || started.elapsed() > START_LIMIT {
                let said = fs::read_to_string(self.messages()).unwrap_or_default();
                let said = said.trim().replace('\n', "\n    ");
                return Err(Fault::new(
                    Kind::Unavailable,
                    format!("the daemons did not start\n    {said}"),
                    "the last message says why; with RUST_LOG=debug they say more",
                ));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Stops the daemons in order; `false` if the supervisor did not end well.
    pub(super) fn stop(&mut self) -> bool {
        let Some(mut up) = self.up.take() else { return true };
        let asked = Identity::of(up.id()).map(|it| it.signal(Signal::SIGTERM));
        let ended = up.wait();
        !matches!(asked, Some(Err(_))) && ended.is_ok_and(|status| status.success())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sockets need a short path, and `TMPDIR` may be long.
fn temporary_home() -> Result<(TempDir, Home), Fault> {
    let make = |parent: &Path| {
        let folder = tempfile::Builder::new()
            .prefix("waterwall-demo-")
            .tempdir_in(parent)
            .map_err(|error| Fault::file("make a folder in", parent, &error))?;
        let home = Home::choose(Some(&folder.path().join("h")), &Process)?;
        Ok((folder, home))
    };
    make(&std::env::temp_dir()).or_else(|_: Fault| make(Path::new("/tmp")))
}

fn configure(home: &Home, provider: &Provider) -> std::io::Result<()> {
    let address = provider.address();
    let hosts: String = HOSTS
        .iter()
        .map(|(host, handler)| {
            format!(
                "  - host: {host}\n    sse_handler: {handler}\n    upstream: \"{address}\"\n    \
                 extra_root: {PROVIDER_CA}\n"
            )
        })
        .collect();
    fs::write(home.hosts(), format!("hosts:\n{hosts}"))?;
    fs::write(home.config(), "listen: \"127.0.0.1:0\"\nadmin_port: 0\n")?;
    fs::write(home.etc().join(PROVIDER_CA), provider.ca_pem())
}

/// The files below `folder`, without sockets.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}

const PROVIDER_CA: &str = "provider-ca.pem";
const START_LIMIT: Duration = Duration::from_secs(20);
