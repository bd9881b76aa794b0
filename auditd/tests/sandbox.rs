//! Auditd's table, tried on a process that is confined exactly like it.

#![allow(clippy::unwrap_used, reason = "a test, though without the harness that would say so")]

#[path = "../../sandbox/tests/probe/mod.rs"]
mod probe;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use auditd::confine::Reach;
use nix::errno::Errno;
use nix::libc;
use probe::Outcome::{Dies, Exits, Fails, Works};
use probe::{KILLED, Probe, Subject, attempts, page, probe, since};
use sandbox::peer;

struct Context {
    log: PathBuf,
    run: PathBuf,
    append: UnixListener,
    _seal: UnixListener,
    _abstract: UnixListener,
    caller: UnixStream,
    uid: u32,
}

fn prepare(folder: &Path) -> Context {
    let (log, run) = (folder.join("log"), folder.join("run"));
    fs::create_dir(&log).unwrap();
    fs::create_dir(&run).unwrap();
    fs::write(log.join("proxy.jsonl"), "{}\n").unwrap();
    fs::write(run.join("admin.token"), "secret").unwrap();
    let append = UnixListener::bind(run.join("append")).unwrap();
    Context {
        uid: peer::own_uid(),
        _seal: UnixListener::bind(run.join("seal")).unwrap(),
        _abstract: attempts::abstract_listener(),
        caller: UnixStream::connect(run.join("append")).unwrap(),
        append,
        log,
        run,
    }
}

fn confine(context: &Context) -> Result<sandbox::Confined, sandbox::ConfineError> {
    auditd::confine::confine(&Reach { log: &context.log, seal: &context.run.join("seal") }, false)
}

fn answer_a_caller(context: &Context) -> io::Result<()> {
    let (end, _) = context.append.accept()?;
    peer::expect(&end, context.uid).map_err(io::Error::other)?;
    (&context.caller).write_all(b"ask")?;
    let serving = std::thread::spawn(move || {
        let mut heard = [0; 3];
        (&end).read_exact(&mut heard)?;
        (&end).write_all(b"told")
    });
    serving.join().map_err(|_| io::Error::other("panicked"))?
}

fn connect_to_the_signer(context: &Context) -> io::Result<()> {
    UnixStream::connect(context.run.join("seal"))?.write_all(b"seal")
}

fn keep_the_log(context: &Context) -> io::Result<()> {
    let path = |name| context.log.join(name);
    let lines = File::options().read(true).append(true).open(path("proxy.jsonl"))?;
    (&lines).write_all(b"{}\n")?;
    lines.sync_data()?;
    let mut text = [0; 6];
    lines.read_exact_at(&mut text, 0)?;
    assert_eq!(&text, b"{}\n{}\n");
    let mut head = File::options().append(true).create_new(true).open(path("head.tmp"))?;
    head.write_all(b"head")?;
    head.set_len(0)?;
    fs::rename(path("head.tmp"), path("head.note"))?;
    fs::remove_file(path("head.note"))?;
    File::open(&context.log)?.sync_all()
}

fn make_a_directory(context: &Context) -> io::Result<()> {
    fs::create_dir(context.log.join("tile"))
}

fn read_the_admin_token(context: &Context) -> io::Result<()> {
    fs::read(context.run.join("admin.token")).map(drop)
}

fn write_beside_the_log(context: &Context) -> io::Result<()> {
    fs::write(context.run.join("new"), "x")
}

fn move_the_log_away(context: &Context) -> io::Result<()> {
    fs::rename(context.log.join("proxy.jsonl"), context.run.join("proxy.jsonl"))
}

fn ask_for_a_socket_error(context: &Context) -> io::Result<()> {
    context.caller.take_error().map(drop)
}

const PROBES: &[Probe<Context>] = &[
    probe("answers_a_caller", answer_a_caller, Works),
    probe("connects_to_the_signer", connect_to_the_signer, Works),
    probe("keeps_the_log", keep_the_log, Works),
    probe("starts_threads", attempts::start_a_thread, Works),
    probe("allocates", attempts::allocate, Works),
    probe("prints_a_panic", attempts::panic, Exits(101, "provoked")),
    probe("prints_a_panic_and_a_backtrace", attempts::panic, Exits(101, "stack backtrace")),
    probe("aborts", attempts::abort, Dies(libc::SIGABRT)),
    probe("makes_no_directory", make_a_directory, KILLED),
    probe("opens_no_file_elsewhere", attempts::open_passwd, Fails(Errno::EACCES)),
    probe("reads_no_token", read_the_admin_token, Fails(Errno::EACCES)),
    probe("creates_no_file_elsewhere", attempts::create_a_file, Fails(Errno::EACCES)),
    probe("writes_nothing_beside_the_log", write_beside_the_log, Fails(Errno::EACCES)),
    probe("moves_nothing_out_of_the_log", move_the_log_away, Fails(Errno::EACCES)),
    probe("makes_no_inet_socket", attempts::make_an_inet_socket, KILLED),
    probe("makes_no_unix_datagram_socket", attempts::make_a_unix_datagram_socket, KILLED),
    probe("makes_no_netlink_socket", attempts::make_a_netlink_socket, KILLED),
    since(
        6,
        "reaches_no_abstract_socket",
        attempts::connect_to_the_abstract_listener,
        Fails(Errno::EPERM),
    ),
    probe("asks_a_socket_for_credentials_only", ask_for_a_socket_error, KILLED),
    probe("executes_nothing", attempts::execute, KILLED),
    probe("starts_no_process", attempts::fork, KILLED),
    probe("traces_nobody", attempts::ptrace, KILLED),
    probe("signals_nobody", attempts::signal_the_parent, KILLED),
];

fn main() -> ExitCode {
    let shown = Reach { log: Path::new("state/log"), seal: Path::new("run/seal.sock") };
    let page = page::check(env!("CARGO_MANIFEST_DIR"), &auditd::confine::policy(&shown, false));
    probe::run(&Subject { prepare, confine }, PROBES, page)
}
