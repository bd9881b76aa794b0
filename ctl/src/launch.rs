//! The last step before a daemon's own code: what only the new process itself can do safely.
//!
//! Between `fork` and `exec` there is no safe way to ask for a signal at the parent's death, nor to
//! know the own pid for `LISTEN_PID`. So the supervisor starts `waterwall-ctl launch`, which does
//! both and becomes the daemon.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, getppid};

use crate::fault::{Fault, Kind};

/// Becomes `command`; returns only if that fails. The daemon is asked to stop when `parent` dies.
pub(crate) fn launch(parent: i32, command: &[OsString]) -> Fault {
    match prepare(parent) {
        Ok(()) => become_it(command),
        Err(fault) => fault,
    }
}

fn prepare(parent: i32) -> Result<(), Fault> {
    prctl::set_pdeathsig(Signal::SIGTERM)
        .map_err(|error| Fault::system("ask for a signal at the supervisor's death", error))?;
    // It may have died before it could be asked.
    if getppid() != Pid::from_raw(parent) {
        return Err(Fault::new(Kind::Ours, "the supervisor is gone", "start it again"));
    }
    // The supervisor reads its signals from a descriptor and blocks them; the mask is inherited.
    SigSet::empty().thread_set_mask().map_err(|error| Fault::system("unblock signals", error))
}

fn become_it(command: &[OsString]) -> Fault {
    let Some((program, arguments)) = command.split_first() else {
        return Fault::new(Kind::Ours, "nothing to launch", "use `waterwall-ctl up`");
    };
    let error = Command::new(program)
        .args(arguments)
        .env("LISTEN_PID", std::process::id().to_string())
        .exec();
    Fault::file("start", program.as_ref(), &error)
}
