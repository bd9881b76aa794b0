//! What a supervisor that was killed left behind.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::fault::{Fault, Kind};
use crate::home::Home;
use crate::identity::Identity;
use crate::output::say;
use crate::supervise::record::Record;
use crate::supervise::role::Role;

/// Ends daemons that outlived their supervisor. The caller holds the instance's lock.
///
/// The kernel has told them to stop when it died, so usually there is nothing left to do but wait.
pub(crate) fn clear(home: &Home) -> Result<(), Fault> {
    let Some(record) = Record::read(home) else { return Ok(()) };
    for role in Role::START_ORDER.into_iter().rev() {
        let process = record.roles.get(&role).and_then(|it| it.process);
        if let Some(process) = process.filter(|it| it.is_alive()) {
            say(&format!("stopping {} (pid {}) of a killed supervisor", role.name(), process.pid));
            end(role, process)?;
        }
    }
    let _ = std::fs::remove_file(home.supervisor());
    Ok(())
}

fn end(role: Role, process: Identity) -> Result<(), Fault> {
    for (signal, limit) in [(Signal::SIGTERM, GRACE), (Signal::SIGKILL, GRACE)] {
        process.signal(signal).map_err(|error| Fault::system("stop an old daemon", error))?;
        if process.wait_gone(limit) {
            return Ok(());
        }
    }
    Err(Fault::new(
        Kind::Unavailable,
        format!("an old {} (pid {}) does not go away", role.name(), process.pid),
        "it may hang on a dead disk or network mount; restart the machine, or use another --home",
    ))
}

const GRACE: Duration = Duration::from_secs(5);
