//! Holds the keys, and nothing that can be talked into signing something else.
//!
//! ```text
//!   cli ─▶ init ─▶ hosts, vault, authority, keys      once, as root or the signer's user
//!       ─▶ serve ─▶ door ─▶ wire ─▶ desk ─┬▶ mint ─▶ issue (rules), authority (the CA key)
//!       │           one thread, poll      └▶ seal ─▶ witness (rules), heads (what was signed)
//!       ─▶ show
//! ```
//!
//! Two rules hold it together. What is signed is composed here: a certificate from a host name and
//! a bare public key, a checkpoint from a size and a root. And what is signed is on the disk before
//! anybody has it: in `issued.log`, in the high-water mark and in `signed.log`.

pub mod authority;
pub mod cli;
mod clock;
pub mod confine;
mod desk;
mod door;
mod failure;
pub mod heads;
pub mod hosts;
pub mod init;
pub mod issue;
pub mod journal;
pub mod keys;
mod limit;
mod log;
mod mint;
mod seal;
mod serve;
pub mod show;
pub mod vault;
mod wire;
pub mod witness;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use protocol::names::HostName;
use sandbox::inherit::{self, Inherited};
use sandbox::notify::Notify;
use sandbox::peer;

use crate::cli::{Cli, Command, Sandbox};
use crate::desk::Desk;
use crate::door::{Door, Power};
use crate::failure::{Failure, USAGE};
use crate::heads::Heads;
use crate::init::{Outcome, Plan};
use crate::journal::Journal;
use crate::keys::Keys;
use crate::mint::{ISSUED_LOG, Mint};
use crate::seal::{SIGNED_LOG, Seal};
use crate::serve::Server;
use crate::vault::Vault;

/// Runs the command line `arguments`, and says how it went (`sysexits.h`).
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) => {
            let _ = usage.print();
            return if usage.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let done = match cli.command {
        Command::Init(options) => init(&options),
        Command::RegenCa(options) => regenerate_ca(&options),
        Command::Serve(options) => serve(&options),
        Command::Show(options) => show(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            log::tell(format_args!("{failure}"));
            failure.exit_code()
        }
    }
}

/// Arguments → sockets → keys and state → confine → ready → serve → exit code.
fn serve(options: &cli::Serve) -> Result<(), Failure> {
    let mut inherited = Inherited::from_env()?;
    let (mint, seal) = (inherited.take_unix("mint")?, inherited.take_unix("seal")?);
    inherited.finish()?;
    let [mint_secret, seal_secret] =
        if options.secrets_from_stdin { inherit::secrets_from_stdin()? } else { [[0; 32]; 2] };
    let uid = |asked: Option<u32>| asked.unwrap_or_else(peer::own_uid);
    let doors = [
        Door::new(Power::Mint, mint, uid(options.proxy_uid), mint_secret)?,
        Door::new(Power::Seal, seal, uid(options.auditd_uid), seal_secret)?,
    ];

    let vault = Vault::open_own(&options.state)?;
    settle(&vault)?;
    let Keys { authority, log, evidence } = Keys::load(&vault)?;
    let heads = Heads::open(&vault)?;
    let signed = Journal::open(&vault, SIGNED_LOG)?;
    let issued = Journal::open(&vault, ISSUED_LOG)?;
    let size = heads.head().size;
    let names = authority.names().len();
    let mint = Mint::new(authority, issued);
    let seal = Seal::new(log, evidence, heads, signed)?;
    let desk = Desk::new(mint, seal);

    let notify = Notify::from_env()?;
    let stop = stop_signals()?;
    // The library looks for a file at its first draw, which confinement would answer with death.
    aws_lc_rs::rand::fill(&mut [0]).map_err(|_| Failure::Random)?;
    let confined = confine::confine(options.sandbox == Sandbox::Strict)?;
    let level = confined.level();
    log::line(format_args!(
        "level=info event=ready sandbox=\"{level}\" names={names} signed_size={size}"
    ));
    notify.status(&format!("sandbox {level}"))?;
    notify.ready()?;
    Server { doors, desk, notify, stop }.serve(confined).map_err(Failure::Serving)?;
    log::line(format_args!("level=info event=stopped"));
    Ok(())
}

/// Finishes what a `regen-ca` may have left half moved, unless one is at work right now.
fn settle(vault: &Vault) -> Result<(), Failure> {
    let _lock = vault.lock()?;
    Ok(vault.settle()?)
}

/// SIGTERM and SIGINT as something to poll, so that nothing is ever interrupted half way.
fn stop_signals() -> io::Result<SignalFd> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    signals.thread_block()?;
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?)
}

fn init(options: &cli::Init) -> Result<(), Failure> {
    let plan = Plan { origin: options.origin.as_deref(), ..plan(&options.ca) };
    let outcome = init::init(&plan, clock::unix())?;
    let verb = if outcome.made { "made" } else { "kept the existing" };
    report(&format!("{verb} CA, log key and evidence key"), &plan, &outcome)
}

fn regenerate_ca(options: &cli::RegenCa) -> Result<(), Failure> {
    let plan = plan(options);
    let outcome = init::regenerate_ca(&plan, clock::unix())?;
    report("made a new CA; restart the signer and the proxy; keys", &plan, &outcome)
}

fn plan(options: &cli::RegenCa) -> Plan<'_> {
    Plan {
        state: &options.state,
        public: &options.public,
        hosts_file: &options.hosts_file,
        origin: None,
        days: options.days,
    }
}

fn report(what: &str, plan: &Plan<'_>, outcome: &Outcome) -> Result<(), Failure> {
    let list = |names: &BTreeSet<HostName>| {
        names.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
    };
    let (state, public) = (plan.state.display(), plan.public.display());
    let permitted = list(&outcome.permitted);
    writeln!(
        io::stdout(),
        "{what} in {state}; public halves in {public}\nthe CA permits {permitted}"
    )?;
    if outcome.permitted != outcome.asked {
        log::tell(format_args!(
            "warning: the hosts file lists [{}], the CA permits \
             [{permitted}], and other hosts get no certificate; to change that: waterwall-signer \
             regen-ca",
            list(&outcome.asked)
        ));
    }
    Ok(())
}

fn show(options: &cli::Show) -> Result<(), Failure> {
    let shown = show::Shown::read(&options.state)?;
    let mut out = io::stdout();
    if options.json {
        writeln!(out, "{}", shown.json())?
    } else {
        write!(out, "{shown}")?
    }
    Ok(())
}
