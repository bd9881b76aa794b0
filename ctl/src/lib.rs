//! The operator's command line: starts the daemons, asks them, checks what they recorded.
//!
//! Nothing here is needed for the daemons to run; under systemd they run without it.

mod agent_env;
mod cli;
mod demo;
mod dotenv;
mod evidence;
mod fault;
mod files;
mod first_use;
mod home;
mod identity;
mod launch;
mod links;
mod output;
mod regen_ca;
mod run;
mod secret;
mod status;
mod steer;
mod supervise;
mod trust;
mod up;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command, Deed, Turn};
use fault::Fault;
use home::Home;
use output::Output;
use protocol::control::Which;
use supervise::role::Programs;

/// Runs one command line and returns its exit code.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(told) => {
            // Help goes to stdout with 0, complaints to stderr with 2; a closed pipe is no error.
            let _ = told.print();
            return ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(2));
        }
    };
    let out = Output::new(cli.global.json);
    let code = dispatch(cli, out).unwrap_or_else(|fault| {
        out.fault(&fault);
        fault.kind.exit_code()
    });
    ExitCode::from(code)
}

fn dispatch(cli: Cli, out: Output) -> Result<u8, Fault> {
    let home = || Home::choose(cli.global.home.as_deref(), &home::Process);
    match cli.command {
        Command::Demo => demo::demo(out),
        Command::Up { detach: true, .. } => up::up_detached(&home()?, out),
        Command::Up { background, .. } => up::up(&home()?, out, background),
        Command::Down => up::down(&home()?, out),
        Command::Status => status::status(&home()?, out),
        Command::Run { quiet, command } => Ok(run::run(&home()?, out, quiet, &command)),
        Command::Env { shell } => agent_env::env(&home()?, out, shell),
        Command::Reload => steer::reload(&home()?, out),
        Command::Killswitch { turn: Turn::Arm { reason } } => steer::arm(&home()?, out, reason),
        Command::Killswitch { turn: Turn::Disarm { reason } } => {
            steer::disarm(&home()?, out, reason)
        }
        Command::Secret { deed } => secret(&home()?, out, deed),
        Command::RegenCa => regen_ca::regen_ca(&home()?, out, &Programs::installed()?),
        Command::VerifyChain(asked) => Ok(verify::run(home(), out, &asked)),
        Command::VerifyReceipt(asked) => Ok(evidence::receipt::verify(home(), out, &asked)),
        Command::VerifyEvidence(asked) => Ok(evidence::bundle::verify(out, &asked)),
        Command::ExportEvidence(asked) => evidence::export::export(&home()?, out, &asked),
        Command::Receipt(asked) => evidence::receipt::issue(&home()?, out, &asked),
        Command::Head(asked) => evidence::head::head(&home()?, out, &asked),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "waterwall-ctl", &mut text);
            out.text(&String::from_utf8_lossy(&text));
            Ok(fault::DONE)
        }
        Command::Launch { parent, command } => Err(launch::launch(parent, &command)),
    }
}

fn secret(home: &Home, out: Output, deed: Deed) -> Result<u8, Fault> {
    match deed {
        Deed::Add { values, .. } if !values.is_empty() => {
            Err(secret::on_the_command_line("`secret add` reads it"))
        }
        Deed::Add { kind, env_file: None, .. } => secret::add(home, out, &kind),
        Deed::Add { kind, env_file: Some(file), .. } => secret::add_file(home, out, &kind, &file),
        Deed::List => secret::list(home, out),
        Deed::Remove { all: true, .. } => secret::remove(home, out, Some(Which::All)),
        Deed::Remove { id, .. } => {
            secret::remove(home, out, id.as_deref().map(secret::id).transpose()?)
        }
    }
}
