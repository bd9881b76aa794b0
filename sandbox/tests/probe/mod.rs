//! Runs attempts in processes of their own, confined and free, and compares how they end.
//!
//! The test harness starts threads, which rules out confining; so these tests bring their own
//! `main`, and every attempt is this program executed again. Each attempt that must fail when
//! confined is also made free, where it must not fail that way: a test that could not tell the
//! difference is reported as broken.

#![allow(dead_code, reason = "every table tries what matters to it")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test, though without the harness that would say so"
)]

pub(crate) mod attempts;
pub(crate) mod page;

use std::env;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};

use nix::errno::Errno;
use nix::libc;
use sandbox::{ConfineError, Confined};

/// What a process tries, and how that ends once it is confined.
pub(crate) struct Probe<C> {
    pub(crate) name: &'static str,
    pub(crate) attempt: fn(&C) -> io::Result<()>,
    pub(crate) outcome: Outcome,
    /// The Landlock ABI it takes; on an older kernel the row is not judged.
    pub(crate) abi: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Works,
    /// The call fails and the process goes on.
    Fails(Errno),
    /// The kernel ends the process with this signal; for a call outside the table, `SIGSYS`.
    Dies(i32),
    /// It ends with this code, its message on standard error.
    Exits(i32, &'static str),
    /// Seen from outside, `/proc/PID/status` has these lines while it waits.
    Shows(&'static [&'static str]),
}

/// Killed for a call outside the table.
pub(crate) const KILLED: Outcome = Outcome::Dies(libc::SIGSYS);

/// Shorthand for a row that any supported kernel judges.
pub(crate) const fn probe<C>(
    name: &'static str,
    attempt: fn(&C) -> io::Result<()>,
    outcome: Outcome,
) -> Probe<C> {
    Probe { name, attempt, outcome, abi: 1 }
}

/// Shorthand for a row that takes a newer Landlock.
pub(crate) const fn since<C>(
    abi: u32,
    name: &'static str,
    attempt: fn(&C) -> io::Result<()>,
    outcome: Outcome,
) -> Probe<C> {
    Probe { name, attempt, outcome, abi }
}

/// What is ready before confine, and how this process confines itself.
pub(crate) struct Subject<C> {
    pub(crate) prepare: fn(&Path) -> C,
    pub(crate) confine: fn(&C) -> Result<Confined, ConfineError>,
}

const NAME: &str = "WATERWALL_PROBE";
const FOLDER: &str = "WATERWALL_PROBE_FOLDER";
const FREE: &str = "WATERWALL_PROBE_FREE";
const REPORT: &str = "attempt: ";

/// `main` of a test: the attempt named in the environment, or all of them in turn; with it, whether
/// the `page` says the same as the table.
pub(crate) fn run<C>(
    subject: &Subject<C>,
    probes: &[Probe<C>],
    page: Result<(), String>,
) -> ExitCode {
    if let Ok(name) = env::var(NAME) {
        let probe = probes.iter().find(|probe| probe.name == name).expect("a known name");
        return attempt(subject, probe);
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        probes.iter().for_each(|probe| println!("{}: test", probe.name));
        return ExitCode::SUCCESS;
    }
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    let mut failed = 0;
    if let Err(why) = page {
        failed += 1;
        println!("test page_says_the_same ... FAILED: {why}");
    }
    for probe in probes.iter().filter(|p| wanted.is_none_or(|wanted| p.name.contains(wanted))) {
        match judge(probe) {
            Ok(verdict) => println!("test {} ... {verdict}", probe.name),
            Err(why) => {
                failed += 1;
                println!("test {} ... FAILED: {why}", probe.name);
            }
        }
    }
    println!("\n{} attempts, {failed} failed", probes.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The child: prepares, confines itself unless it is the free control, tries, reports.
fn attempt<C>(subject: &Subject<C>, probe: &Probe<C>) -> ExitCode {
    let folder = PathBuf::from(env::var_os(FOLDER).expect("a folder"));
    let context = (subject.prepare)(&folder);
    if env::var_os(FREE).is_none() {
        match (subject.confine)(&context) {
            Ok(confined) => println!("abi: {}", confined.level().landlock_abi),
            Err(error) => {
                println!("not confined: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    let report = match (probe.attempt)(&context) {
        Ok(()) => "works".to_owned(),
        Err(error) => match error.raw_os_error() {
            Some(errno) => format!("{:?}", Errno::from_raw(errno)),
            None => format!("{error}"),
        },
    };
    println!("{REPORT}{report}");
    if matches!(probe.outcome, Outcome::Shows(_)) {
        let _ = io::stdin().read(&mut [0]);
    }
    ExitCode::SUCCESS
}

fn judge<C>(probe: &Probe<C>) -> Result<String, String> {
    let (confined, status) = end_of(probe, false).map_err(|error| error.to_string())?;
    let abi = reported(&confined, "abi: ").ok_or_else(|| described(&confined))?;
    if abi.parse::<u32>().is_ok_and(|abi| abi < probe.abi) {
        return Ok(format!("not judged (landlock abi {abi}, needs {})", probe.abi));
    }
    as_expected(probe.outcome, &confined, &status)
        .then_some(())
        .ok_or_else(|| format!("expected {:?}, {}{status}", probe.outcome, described(&confined)))?;
    if matches!(probe.outcome, KILLED | Outcome::Fails(_) | Outcome::Shows(_)) {
        let (free, status) = end_of(probe, true).map_err(|error| error.to_string())?;
        if as_expected(probe.outcome, &free, &status) {
            return Err(format!("ends no other way when free: {}", described(&free)));
        }
    }
    Ok("ok".to_owned())
}

fn as_expected(outcome: Outcome, output: &Output, status: &str) -> bool {
    let report = reported(output, REPORT);
    match outcome {
        Outcome::Works => report == Some("works") && output.status.success(),
        Outcome::Fails(errno) => report == Some(format!("{errno:?}").as_str()),
        Outcome::Dies(signal) => report.is_none() && output.status.signal() == Some(signal),
        Outcome::Exits(code, message) => {
            output.status.code() == Some(code)
                && String::from_utf8_lossy(&output.stderr).contains(message)
        }
        Outcome::Shows(lines) => {
            lines.iter().all(|wanted| status.lines().any(|line| line == *wanted))
        }
    }
}

fn reported<'o>(output: &'o Output, key: &str) -> Option<&'o str> {
    str::from_utf8(&output.stdout).ok()?.lines().find_map(|line| line.strip_prefix(key))
}

fn described(output: &Output) -> String {
    format!(
        "{}; {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout).replace('\n', "; "),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs one attempt to its end; with it, what `/proc` said about it while it waited.
fn end_of<C>(probe: &Probe<C>, free: bool) -> io::Result<(Output, String)> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(env::current_exe()?);
    command
        .env(NAME, probe.name)
        .env(FOLDER, folder.path())
        .env("RUST_BACKTRACE", if probe.name.contains("backtrace") { "1" } else { "0" })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if free {
        command.env(FREE, "1");
    }
    let mut child = command.spawn()?;
    let mut status = String::new();
    let mut heard = Vec::new();
    if matches!(probe.outcome, Outcome::Shows(_)) {
        heard = until_reported(&mut child)?;
        status =
            std::fs::read_to_string(format!("/proc/{}/status", child.id()))?.replace('\t', " ");
        child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(b"\n"))?;
    }
    let mut output = child.wait_with_output()?;
    output.stdout.splice(0..0, heard);
    Ok((output, status))
}

fn until_reported(child: &mut Child) -> io::Result<Vec<u8>> {
    let stdout = child.stdout.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut heard = Vec::new();
    let mut byte = [0];
    while !(heard.ends_with(b"\n") && String::from_utf8_lossy(&heard).contains(REPORT)) {
        stdout.read_exact(&mut byte)?;
        heard.extend(byte);
    }
    Ok(heard)
}
