//! `run/supervisor.json`: what the supervisor knows, for everybody who asks.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::files;
use crate::home::Home;
use crate::identity::Identity;
use crate::supervise::role::Role;

/// The supervisor and its daemons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The supervisor.
    #[serde(flatten)]
    pub(crate) supervisor: Identity,
    /// Where agents connect.
    pub(crate) listen: SocketAddr,
    /// Port of the admin listener on 127.0.0.1.
    pub(crate) admin_port: u16,
    /// Each daemon.
    pub(crate) roles: BTreeMap<Role, RoleRecord>,
}

/// One daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoleRecord {
    /// Its process, while there is one.
    #[serde(flatten)]
    pub(crate) process: Option<Identity>,
    /// What it is doing.
    pub(crate) state: RoleState,
    /// How often it was started again after it died.
    pub(crate) restarts: u32,
    /// What it said of itself when it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    /// How many registered values were gone with it and are not there again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) values_lost: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What a daemon is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RoleState {
    /// Started, not ready yet.
    Starting,
    /// Serving.
    Ready,
    /// It died and will be started again in a moment.
    Restarting,
    /// Not running.
    Stopped,
}

impl RoleState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Restarting => "restarting",
            Self::Stopped => "stopped",
        }
    }
}

impl Record {
    pub(crate) fn write(&self, home: &Home) -> Result<(), Fault> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Fault::system("write down the daemons' state", error))?;
        files::replace(&home.supervisor(), format!("{text}\n").as_bytes(), 0o644)
    }

    /// What the last supervisor wrote, whether or not it still runs.
    pub(crate) fn read(home: &Home) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(home.supervisor()).ok()?).ok()
    }

    pub(crate) fn is_ready(&self) -> bool {
        Role::START_ORDER
            .iter()
            .all(|role| self.roles.get(role).is_some_and(|it| it.state == RoleState::Ready))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_agreed_names_and_is_read_back_whole() {
        let roles = BTreeMap::from([
            (
                Role::Proxy,
                RoleRecord {
                    process: Some(Identity { pid: 7, started: 9 }),
                    state: RoleState::Ready,
                    restarts: 2,
                    status: Some("sandbox full".into()),
                    values_lost: 5,
                },
            ),
            (
                Role::Signer,
                RoleRecord {
                    process: None,
                    state: RoleState::Restarting,
                    restarts: 0,
                    status: None,
                    values_lost: 0,
                },
            ),
        ]);
        let record = Record {
            supervisor: Identity { pid: 1, started: 2 },
            listen: "127.0.0.1:8888".parse().unwrap(),
            admin_port: 8889,
            roles,
        };
        let value = serde_json::to_value(&record).unwrap();
        assert_eq!(value["pid"], 1);
        assert_eq!(value["listen"], "127.0.0.1:8888");
        assert_eq!(value["roles"]["proxy"]["pid"], 7);
        assert_eq!(value["roles"]["signer"]["state"], "restarting");
        assert_eq!(serde_json::from_value::<Record>(value).unwrap(), record);
        assert!(!record.is_ready());
    }
}
