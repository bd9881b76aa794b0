//! `run`: becomes the agent's command, behind Waterwall.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use protocol::settings::UnlistedSetting;

use crate::agent_env::AgentEnvironment;
use crate::first_use::read_config;
use crate::home::Home;
use crate::output::{Output, say};
use crate::up::ensure_up;

/// Starts what is needed and becomes `command`; returns only if that fails.
///
/// As the command takes this process's place, signals, terminal and exit code are its own.
pub(crate) fn run(home: &Home, out: Output, quiet: bool, command: &[OsString]) -> u8 {
    let environment =
        ensure_up(home).and_then(|(record, _)| AgentEnvironment::of_running(home, &record));
    let environment = match environment {
        Ok(environment) => environment,
        Err(fault) => {
            out.fault(&fault);
            return COULD_NOT_PREPARE;
        }
    };
    let Some((program, arguments)) = command.split_first() else { return NO_SUCH_COMMAND };
    if !quiet && let Some(hint) = hint(home, Path::new(program)) {
        say(&hint);
    }
    let error = Command::new(program).args(arguments).envs(environment.variables).exec();
    say(&format!("cannot run {}: {error}", program.display()));
    if error.kind() == io::ErrorKind::NotFound { NO_SUCH_COMMAND } else { CANNOT_BE_RUN }
}

/// The one thing this client's user should know.
fn hint(home: &Home, program: &Path) -> Option<String> {
    let name = program.file_name()?.to_str()?;
    match name {
        "node" | "nodejs" | "npx" | "npm" | "tsx" => Some(
            "Node before 22.21 ignores HTTPS_PROXY in its own fetch; such a program is not protected"
                .into(),
        ),
        _ if read_config(home).0.unlisted == UnlistedSetting::Refuse => Some(format!(
            "only the hosts in {} are reachable; others, as for git, need a `tunnel:` entry there",
            home.hosts().display()
        )),
        _ => None,
    }
}

/// As `env`, `timeout` and `docker run` have it.
const COULD_NOT_PREPARE: u8 = 125;
const CANNOT_BE_RUN: u8 = 126;
const NO_SUCH_COMMAND: u8 = 127;
