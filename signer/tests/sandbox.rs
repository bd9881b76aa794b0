//! The signer's table, tried on a process that is confined exactly like it.

#![allow(clippy::unwrap_used, reason = "a test, though without the harness that would say so")]

#[path = "../../sandbox/tests/probe/mod.rs"]
mod probe;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::libc;
use probe::Outcome::{Dies, Exits, Works};
use probe::{KILLED, Probe, Subject, attempts, page, probe};
use sandbox::peer;

struct Context {
    folder: PathBuf,
    state: File,
    mint: UnixListener,
    caller: UnixStream,
    uid: u32,
    supervisor: UnixDatagram,
}

fn prepare(folder: &Path) -> Context {
    let mint = UnixListener::bind(folder.join("mint")).unwrap();
    // As the daemon does before confine: the first draw looks for a file.
    aws_lc_rs::rand::fill(&mut [0; 8]).unwrap();
    let (supervisor, _) = UnixDatagram::pair().unwrap();
    Context {
        uid: peer::own_uid(),
        folder: folder.to_owned(),
        state: File::create_new(folder.join("state")).unwrap(),
        caller: UnixStream::connect(folder.join("mint")).unwrap(),
        mint,
        supervisor,
    }
}

fn answer_a_caller(context: &Context) -> io::Result<()> {
    let (mut end, _) = context.mint.accept()?;
    peer::expect(&end, context.uid).map_err(io::Error::other)?;
    (&context.caller).write_all(b"ask")?;
    let mut heard = [0; 3];
    end.read_exact(&mut heard)?;
    end.write_all(b"told")
}

fn wait_for_callers(context: &Context) -> io::Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let mut fds = [PollFd::new(context.mint.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::NONE)?, 1);
    Ok(())
}

fn save_state(context: &Context) -> io::Result<()> {
    context.state.write_all_at(b"high water", 512)?;
    (&context.state).write_all(b"line")?;
    context.state.sync_data()
}

fn shorten_its_state(context: &Context) -> io::Result<()> {
    context.state.set_len(0)
}

fn open_the_state_again(context: &Context) -> io::Result<()> {
    File::open(context.folder.join("state")).map(drop)
}

fn send_to_an_address(context: &Context) -> io::Result<()> {
    context.supervisor.send_to(b"key", context.folder.join("mint")).map(drop)
}

fn ask_for_a_socket_error(context: &Context) -> io::Result<()> {
    context.caller.take_error().map(drop)
}

fn draw_a_random_number(_: &Context) -> io::Result<()> {
    aws_lc_rs::rand::fill(&mut [0; 64]).map_err(io::Error::other)
}

const PROBES: &[Probe<Context>] = &[
    probe("answers_a_caller", answer_a_caller, Works),
    probe("waits_for_callers", wait_for_callers, Works),
    probe("saves_state", save_state, Works),
    probe("draws_a_random_number", draw_a_random_number, Works),
    probe("allocates", attempts::allocate, Works),
    probe("prints_a_panic", attempts::panic, Exits(101, "provoked")),
    probe("aborts", attempts::abort, Dies(libc::SIGABRT)),
    probe("opens_no_file", attempts::open_passwd, KILLED),
    probe("opens_not_even_its_state_again", open_the_state_again, KILLED),
    probe("shortens_no_file", shorten_its_state, KILLED),
    probe("creates_no_file", attempts::create_a_file, KILLED),
    probe("makes_no_inet_socket", attempts::make_an_inet_socket, KILLED),
    probe("makes_no_unix_socket", attempts::make_a_unix_socket, KILLED),
    probe("makes_no_unix_datagram_socket", attempts::make_a_unix_datagram_socket, KILLED),
    probe("makes_no_netlink_socket", attempts::make_a_netlink_socket, KILLED),
    probe("sends_to_nobody_it_is_not_connected_to", send_to_an_address, KILLED),
    probe("asks_a_socket_for_credentials_only", ask_for_a_socket_error, KILLED),
    probe("executes_nothing", attempts::execute, KILLED),
    probe("starts_no_process", attempts::fork, KILLED),
    probe("starts_no_thread", attempts::start_a_thread, KILLED),
    probe("traces_nobody", attempts::ptrace, KILLED),
    probe("signals_nobody", attempts::signal_the_parent, KILLED),
];

fn main() -> ExitCode {
    let subject = Subject { prepare, confine: |_| signer::confine::confine(false) };
    let page = page::check(env!("CARGO_MANIFEST_DIR"), &signer::confine::policy(false));
    probe::run(&subject, PROBES, page)
}
