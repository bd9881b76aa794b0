//! The three daemons: their executables, listeners and command lines.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use protocol::settings::{ConfigFile, SandboxSetting};
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Kind};
use crate::home::{Home, Socket};

/// A daemon's part in the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Signer,
    Auditd,
    Proxy,
}

/// A listening socket as its daemon knows it (`LISTEN_FDNAMES`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    Unix(Socket),
    Agents,
    Admin,
}

impl Listener {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unix(Socket::Mint) => "mint",
            Self::Unix(Socket::Seal) => "seal",
            Self::Unix(Socket::Append) => "append",
            Self::Unix(Socket::Control) => "control",
            Self::Unix(Socket::AuditControl) => "audit-control",
            Self::Agents => "agents",
            Self::Admin => "admin",
        }
    }
}

impl Role {
    /// Each needs those before it; they stop in the opposite order.
    pub(crate) const START_ORDER: [Self; 3] = [Self::Signer, Self::Auditd, Self::Proxy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Signer => "signer",
            Self::Auditd => "auditd",
            Self::Proxy => "proxy",
        }
    }

    pub(crate) fn listeners(self) -> &'static [Listener] {
        match self {
            Self::Signer => &[Listener::Unix(Socket::Mint), Listener::Unix(Socket::Seal)],
            Self::Auditd => &[Listener::Unix(Socket::Append), Listener::Unix(Socket::AuditControl)],
            Self::Proxy => &[Listener::Agents, Listener::Admin, Listener::Unix(Socket::Control)],
        }
    }

    pub(crate) fn arguments(self, home: &Home, config: &ConfigFile) -> Vec<OsString> {
        let audit = &config.audit;
        let sandbox = match config.sandbox {
            SandboxSetting::Auto => "auto",
            SandboxSetting::Strict => "strict",
        };
        let mut arguments: Vec<OsString> = match self {
            Self::Signer => vec![
                "serve".into(),
                "--state".into(),
                home.signer_state().into(),
                "--sandbox".into(),
                sandbox.into(),
            ],
            Self::Auditd => vec![
                "--log".into(),
                home.log().into(),
                "--seal".into(),
                home.socket(Socket::Seal).into(),
                "--admin-token".into(),
                home.admin_token().into(),
                "--checkpoint-lines".into(),
                audit.checkpoint_lines.to_string().into(),
                "--checkpoint-seconds".into(),
                audit.checkpoint_seconds.to_string().into(),
                "--max-unsigned-seconds".into(),
                audit.max_unsigned_seconds.to_string().into(),
                "--sandbox".into(),
                sandbox.into(),
            ],
            // It reads config.yaml itself.
            Self::Proxy => {
                vec!["--config".into(), home.etc().into(), "--run".into(), home.run().into()]
            }
        };
        arguments.push("--secrets-from-stdin".into());
        arguments
    }
}

/// The daemons' executables.
#[derive(Debug, Clone)]
pub(crate) struct Programs(PathBuf);

impl Programs {
    /// The ones beside this very executable.
    pub(crate) fn installed() -> Result<Self, Fault> {
        Self::beside(&own_executable()?)
    }

    /// The ones installed beside `ctl`.
    fn beside(ctl: &Path) -> Result<Self, Fault> {
        let programs = Self(ctl.parent().unwrap_or(Path::new("/")).to_path_buf());
        for role in Role::START_ORDER {
            let program = programs.of(role);
            if !program.is_file() {
                return Err(Fault::new(
                    Kind::Ours,
                    format!("{} is missing beside waterwall-ctl", program.display()),
                    "install all four executables together, or build them all: cargo build",
                ));
            }
        }
        Ok(programs)
    }

    pub(crate) fn of(&self, role: Role) -> PathBuf {
        self.0.join(format!("waterwall-{}", role.name()))
    }
}

/// Where this program was started from.
pub(crate) fn own_executable() -> Result<PathBuf, Fault> {
    std::env::current_exe().map_err(|error| Fault::system("find the own executable", error))
}

/// One secret per link, drawn by `up` and known to the link's two ends alone.
#[derive(Clone)]
pub(crate) struct LinkSecrets {
    mint: [u8; 32],
    seal: [u8; 32],
    append: [u8; 32],
}

impl LinkSecrets {
    pub(crate) fn draw() -> Result<Self, Fault> {
        let mut secrets = Self { mint: [0; 32], seal: [0; 32], append: [0; 32] };
        for secret in [&mut secrets.mint, &mut secrets.seal, &mut secrets.append] {
            getrandom::fill(secret).map_err(|error| Fault::system("draw random bytes", error))?;
        }
        Ok(secrets)
    }

    /// What a daemon reads from its stdin.
    pub(crate) fn of(&self, role: Role) -> [u8; 64] {
        let (first, second) = match role {
            Role::Signer => (self.mint, self.seal),
            Role::Auditd => (self.append, self.seal),
            Role::Proxy => (self.mint, self.append),
        };
        let mut both = [0; 64];
        both[..32].copy_from_slice(&first);
        both[32..].copy_from_slice(&second);
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_link_get_its_secret_and_nobody_else() {
        let secrets = LinkSecrets { mint: [1; 32], seal: [2; 32], append: [3; 32] };
        let parts = |role| {
            let both = secrets.of(role);
            (both[0], both[63])
        };
        assert_eq!(parts(Role::Signer), (1, 2));
        assert_eq!(parts(Role::Auditd), (3, 2));
        assert_eq!(parts(Role::Proxy), (1, 3));
    }

    #[test]
    fn each_start_draws_new_secrets() {
        let (a, b) = (LinkSecrets::draw().unwrap(), LinkSecrets::draw().unwrap());
        assert_ne!(a.mint, b.mint);
        assert_ne!(a.mint, a.seal);
        assert_ne!(a.seal, a.append);
    }

    #[test]
    fn the_sandbox_setting_reaches_each_daemon_that_does_not_read_it_itself() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::choose(Some(folder.path()), &crate::home::Process).unwrap();
        for (sandbox, word) in [(SandboxSetting::Auto, "auto"), (SandboxSetting::Strict, "strict")]
        {
            let config = ConfigFile { sandbox, ..ConfigFile::default() };
            for role in [Role::Signer, Role::Auditd] {
                let arguments = role.arguments(&home, &config);
                let at = arguments.iter().position(|argument| argument == "--sandbox").unwrap();
                assert_eq!(arguments[at + 1], word);
            }
        }
    }

    #[test]
    fn every_socket_has_one_daemon() {
        let all: Vec<Listener> =
            Role::START_ORDER.iter().flat_map(|role| role.listeners()).copied().collect();
        for socket in Socket::ALL {
            assert_eq!(all.iter().filter(|l| **l == Listener::Unix(socket)).count(), 1);
        }
    }

    #[test]
    fn says_which_executable_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let ctl = folder.path().join("waterwall-ctl");
        std::fs::write(folder.path().join("waterwall-signer"), "").unwrap();
        let fault = Programs::beside(&ctl).unwrap_err();
        assert!(fault.what.contains("waterwall-auditd"), "{fault:?}");
    }
}
