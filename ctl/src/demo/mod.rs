//! `demo`: the whole thing on one machine, in a folder of its own, with nothing pretended.
//!
//! A provider on loopback with its own CA, the three real daemons, an agent that sends made-up
//! secrets through CONNECT and TLS; then what each side saw, and the evidence.

mod agent;
mod evidence;
mod instance;
mod prompt;
mod provider;
mod report;
mod story;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::fault::{DONE, Fault, Kind, NO};
use crate::output::Output;

/// Tells the story; 0 only if every check held.
pub(crate) fn demo(out: Output) -> Result<u8, Fault> {
    // One thread, this one: the daemons are told to stop when the thread that started them ends.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::system("start the demonstration", error))?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())
            .map_err(|error| Fault::system("watch for signals", error))?;
        tokio::select! {
            held = story::tell(out) => held.map(|held| if held { DONE } else { NO }),
            _ = tokio::signal::ctrl_c() => Err(interrupted()),
            _ = terminate.recv() => Err(interrupted()),
        }
    })
}

fn interrupted() -> Fault {
    Fault::new(
        Kind::Refused,
        "interrupted; everything it started is stopped and removed",
        "run it again: waterwall-ctl demo",
    )
}
