//! `up`, in the foreground or detached, and `down`.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::fault::{DONE, Fault, Kind};
use crate::home::Home;
use crate::identity::Identity;
use crate::output::Output;
use crate::supervise::daemon::bind_readiness;
use crate::supervise::record::Record;
use crate::supervise::role::{Programs, own_executable};
use crate::supervise::{Start, leftovers, lock, start};
use crate::trust::points_at_ours;

/// Supervises until asked to stop.
pub(crate) fn up(home: &Home, out: Output, background: bool) -> Result<u8, Fault> {
    if background {
        nix::unistd::setsid().map_err(|error| Fault::system("leave the session", error))?;
    }
    let mut supervisor = match start(home, &Programs::installed()?)? {
        Start::Ready(supervisor) => supervisor,
        Start::AlreadyRunning(holder) => return Err(already_running(home, holder)),
        Start::Interrupted => return Ok(DONE),
    };
    announce(home, out, &supervisor.record()?);
    tell_starter()?;
    let watched = supervisor.watch();
    supervisor.stop();
    watched.map(|()| DONE)
}

fn already_running(home: &Home, holder: Option<Identity>) -> Fault {
    let who = holder.map_or_else(|| "it is just starting".into(), |it| format!("pid {}", it.pid));
    Fault::new(
        Kind::Refused,
        format!("already running here ({who})"),
        format!("look at it with `{}`", home.command("status")),
    )
}

fn announce(home: &Home, out: Output, record: &Record) {
    let value = json!({
        "running": true,
        "pid": record.supervisor.pid,
        "listen": record.listen,
        "admin_port": record.admin_port,
    });
    out.result(&value, |paint| {
        format!(
            "{} Agents connect to {} (pid {}).\n  {}  run an agent\n  {}  how it is\n  {}  stop it\n",
            paint.good("Waterwall is up."),
            paint.strong(&record.listen.to_string()),
            record.supervisor.pid,
            home.command("run -- CMD"),
            home.command("status    "),
            home.command("down      "),
        )
    });
}

/// Whoever started us may wait for a word of readiness, as service managers do (sd_notify(3)).
fn tell_starter() -> Result<(), Fault> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    UnixDatagram::unbound()
        .and_then(|socket| socket.send_to(b"READY=1", &path))
        .map(drop)
        .map_err(|error| Fault::file("report readiness to", path.as_ref(), &error))
}

/// `up --detach`: starts a supervisor in the background, if none runs, and waits until it is ready.
pub(crate) fn up_detached(home: &Home, out: Output) -> Result<u8, Fault> {
    let (record, started) = ensure_up(home)?;
    if out.is_json() || started {
        announce(home, out, &record);
    } else {
        out.text(&format!("Waterwall is already running (pid {}).\n", record.supervisor.pid));
    }
    if started && !out.is_json() {
        out.text(&format!("Its messages go to {}.\n", home.messages().display()));
    }
    Ok(DONE)
}

/// The running instance; one is started if there is none. `true` if it was.
pub(crate) fn ensure_up(home: &Home) -> Result<(Record, bool), Fault> {
    home.create()?;
    if lock::holder(home)?.is_some() {
        match await_ready(home) {
            Ok(record) => return Ok((record, false)),
            // It was on its way out.
            Err(_) if lock::holder(home)?.is_none() => {}
            Err(fault) => return Err(fault),
        }
    }
    start_detached(home)?;
    Ok((await_ready(home)?, true))
}

/// Waits for a supervisor that somebody started.
fn await_ready(home: &Home) -> Result<Record, Fault> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let holder = lock::holder(home)?;
        let record = Record::read(home).filter(|it| Some(Some(it.supervisor)) == holder);
        match record {
            Some(record) if record.is_ready() => return Ok(record),
            _ if holder.is_none() => {
                return Err(did_not_start(home, "the supervisor ended before it was ready", 0));
            }
            _ if Instant::now() >= deadline => {
                return Err(Fault::new(
                    Kind::Unavailable,
                    "not all daemons are ready after 60 s",
                    format!("see `{}`", home.command("status")),
                ));
            }
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn start_detached(home: &Home) -> Result<(), Fault> {
    let socket_path = home.readiness(&format!("up-{}", std::process::id()));
    let readiness = bind_readiness(&socket_path)?;
    let waited = spawn_background(home, &socket_path)
        .and_then(|(child, offset)| await_word(home, &readiness, child, offset));
    let _ = fs::remove_file(&socket_path);
    waited
}

/// Starts `up` apart from our terminal; its messages go to a file, from the returned offset on.
fn spawn_background(home: &Home, readiness: &Path) -> Result<(Child, u64), Fault> {
    let messages = open_messages(home)?;
    let failed = |error: &std::io::Error| Fault::file("use", &home.messages(), error);
    let offset = messages.metadata().map_err(|error| failed(&error))?.len();
    let stdout = messages.try_clone().map_err(|error| failed(&error))?;
    let executable = own_executable()?;
    let mut command = Command::new(&executable);
    command
        .args(home.option())
        .args(["up", "--background"])
        .current_dir("/")
        .env("NOTIFY_SOCKET", readiness)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(messages);
    if points_at_ours(home, std::env::var_os("SSL_CERT_FILE").map(Into::into)) {
        command.env_remove("SSL_CERT_FILE");
    }
    let child = command.spawn().map_err(|error| Fault::file("start", &executable, &error))?;
    Ok((child, offset))
}

fn open_messages(home: &Home) -> Result<File, Fault> {
    let path = home.messages();
    if fs::metadata(&path).is_ok_and(|found| found.len() > LONGEST_MESSAGES) {
        let _ = fs::rename(&path, path.with_extension("log.old"));
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| Fault::file("write", &path, &error))
}

fn await_word(
    home: &Home,
    readiness: &UnixDatagram,
    mut child: Child,
    offset: u64,
) -> Result<(), Fault> {
    let mut word = [0; 64];
    loop {
        if readiness.recv(&mut word).is_ok() {
            return Ok(());
        }
        let exited = child.try_wait().map_err(|error| Fault::system("wait for `up`", error))?;
        match exited {
            // Another `up` was quicker; that one is as good.
            Some(_) if lock::holder(home)?.is_some() => return Ok(()),
            Some(status) => return Err(did_not_start(home, &status.to_string(), offset)),
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// The start's own last messages say why, so they are shown.
fn did_not_start(home: &Home, how: &str, offset: u64) -> Fault {
    let mut said = String::new();
    if offset > 0 || fs::metadata(home.messages()).is_ok() {
        let _ = File::open(home.messages()).and_then(|mut file| {
            file.seek(SeekFrom::Start(offset))?;
            file.read_to_string(&mut said)
        });
    }
    let lines: Vec<&str> = said.lines().collect();
    let last = &lines[lines.len().saturating_sub(SHOWN_MESSAGES)..];
    Fault::new(
        Kind::Unavailable,
        format!("Waterwall did not start ({how})\n    {}", last.join("\n    ")),
        format!("mend that and try again; all messages are in {}", home.messages().display()),
    )
}

/// `down`: stops whatever runs in this home.
pub(crate) fn down(home: &Home, out: Output) -> Result<u8, Fault> {
    let stopped = match lock::holder(home)? {
        Some(Some(supervisor)) => {
            stop_supervisor(home, supervisor)?;
            true
        }
        Some(None) => return Err(still_starting(home)),
        None => {
            leftovers::clear(home)?;
            false
        }
    };
    out.result(&json!({ "running": false, "stopped": stopped }), |_| {
        if stopped { "Waterwall is down.\n".into() } else { "Waterwall is not running.\n".into() }
    });
    Ok(DONE)
}

fn stop_supervisor(home: &Home, supervisor: Identity) -> Result<(), Fault> {
    let failed = |error| Fault::system("signal the supervisor", error);
    supervisor.signal(Signal::SIGTERM).map_err(failed)?;
    if supervisor.wait_gone(STOP_LIMIT) {
        return Ok(());
    }
    Err(Fault::new(
        Kind::Unavailable,
        format!("the supervisor (pid {}) does not stop", supervisor.pid),
        format!("kill -9 {} and then `{}`", supervisor.pid, home.command("down")),
    ))
}

fn still_starting(home: &Home) -> Fault {
    Fault::new(
        Kind::Unavailable,
        "it is just starting",
        format!("try again in a moment: {}", home.command("down")),
    )
}

const START_LIMIT: Duration = Duration::from_secs(60);
/// Three daemons with their own deadlines; the supervisor kills those that miss theirs.
const STOP_LIMIT: Duration = Duration::from_secs(120);
const LONGEST_MESSAGES: u64 = 10 * 1024 * 1024;
const SHOWN_MESSAGES: usize = 12;
