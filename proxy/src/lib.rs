//! The proxy: agents on one side, providers on the other, no key and no file of its own.
//!
//! ```text
//!   listen ─▶ session (CONNECT) ─┬▶ tunnel
//!                                └▶ intercept (TLS) ─▶ exchange ─▶ upstream
//!                                                       │    ▲
//!              redact, store, record ◀──────────────────┘    └── restore, store, record
//! ```
//!
//! [`redact`], [`restore`] and [`store`] are pure: bytes and time in, bytes and findings out.

mod admin;
mod cli;
mod config;
pub mod confine;
mod control;
mod counters;
pub mod dialect;
mod dry;
pub mod encoding;
mod exchange;
mod failure;
mod hosts;
mod intercept;
mod killswitch;
mod listen;
mod memory;
mod mint;
pub mod placeholder;
mod proxy;
mod record;
pub mod redact;
mod reply;
pub mod restore;
mod serve;
mod session;
mod setup;
mod start;
pub mod store;
mod tunnel;
mod upstream;
mod wire;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use protocol::settings::SandboxSetting;
use tracing_subscriber::EnvFilter;

use crate::cli::CommandLine;
use crate::config::Config;
use crate::confine::{Reach, confine};
use crate::failure::{AGAIN, Failure, USAGE};
use crate::proxy::Ending;
use crate::start::{Arguments, Before, Peers, Sockets};

/// Runs the command line `arguments`, and says how it went (`sysexits.h`).
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(usage) => {
            // Nobody is left to tell where even the message cannot be written.
            let _ = usage.print();
            return if usage.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let arguments = match line {
        CommandLine { command: Some(command), .. } => return dry::run(&command),
        CommandLine { daemon: Some(arguments), .. } => arguments,
        // Its options are required where there is no command.
        CommandLine { daemon: None, command: None } => return USAGE.into(),
    };
    log_to_stderr();
    match live(arguments) {
        Ok(Ending::Restart) => AGAIN.into(),
        Ok(Ending::No | Ending::Stop) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(error = %failure, "cannot start");
            failure.exit_code()
        }
    }
}

fn live(arguments: Arguments) -> Result<Ending, Failure> {
    let sockets = Sockets::take()?;
    let before = Before::gather(&arguments, sockets.agents.local_addr().ok())?;
    let peers = Peers::of(&arguments)?;
    let config = before.config.as_ref().ok();
    let ports: Vec<u16> =
        config.map_or_else(Config::least_ports, Config::ports).into_iter().collect();
    let reach = Reach { config_dir: &arguments.config, run_dir: &arguments.run, tcp_ports: &ports };
    let strict = config.is_some_and(|config| config.fixed.sandbox == SandboxSetting::Strict);
    let confined = confine(&reach, strict)?;
    tracing::info!(sandbox = %confined.level(), "confined");
    serve::serve(&confined, arguments, sockets, peers, before)
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        // It would complain on stderr that stderr cannot be written, and panic over that.
        .log_internal_errors(false)
        .init();
}
