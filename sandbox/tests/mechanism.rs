//! Every mechanism, from both sides: what it lets through still works, what it denies does not.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test, though without the harness that would say so"
)]

mod probe;

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockProtocol, SockType};
use nix::unistd::getpid;
use probe::Outcome::{Dies, Exits, Fails, Shows, Works};
use probe::attempts::{self, make_a_socket};
use probe::{KILLED, Probe, Subject, probe, since};
use sandbox::Limit::{Is, Lacks, Masked, Null, OwnPid};
use sandbox::{Beneath, ConfineError, Confined, Policy, Right, Row, Value, allow, refuse, value};

const TYPE: Value = Value { name: "SOCK_TYPE_MASK", bits: 0xf };

const TABLE: &[Row] = &[
    allow!(SYS_openat, "Landlock decides"),
    allow!(SYS_statx, "a file's length"),
    allow!(SYS_lseek, "a file's length"),
    #[cfg(target_arch = "x86_64")]
    allow!(SYS_unlink, "Landlock decides"),
    allow!(SYS_unlinkat, "Landlock decides"),
    #[cfg(target_arch = "x86_64")]
    allow!(SYS_mkdir, "Landlock decides"),
    allow!(SYS_mkdirat, "Landlock decides"),
    #[cfg(target_arch = "x86_64")]
    allow!(SYS_rename, "Landlock decides"),
    allow!(SYS_renameat, "Landlock decides"),
    allow!(SYS_execve, "Landlock decides"),
    allow!(
        SYS_socket,
        [Is(0, value!(AF_INET)), Masked(1, TYPE, value!(SOCK_STREAM)), Is(2, value!(0))],
        "one combination of three arguments"
    ),
    allow!(SYS_socket, [Is(0, value!(AF_UNIX))], "a second row of the same call"),
    allow!(SYS_bind, "Landlock decides"),
    allow!(SYS_connect, "Landlock decides"),
    allow!(SYS_sendto, [Null(4), Lacks(3, value!(MSG_FASTOPEN))], "no address"),
    allow!(SYS_kill, [OwnPid(0), Is(1, value!(SIGURG))], "itself"),
    allow!(SYS_kill, [Is(1, value!(0))], "Landlock decides"),
    allow!(SYS_getppid, "whom to signal"),
    allow!(SYS_prlimit64, "read a limit"),
    refuse!(SYS_getpgid, EPERM, "another answer than the last"),
];

struct Context {
    folder: PathBuf,
    listener: TcpListener,
    port: u16,
    _abstract: UnixListener,
    datagram: UnixDatagram,
    held: Mutex<File>,
}

fn prepare(folder: &Path) -> Context {
    fs::write(folder.join("note"), "read me").unwrap();
    fs::create_dir(folder.join("kept")).unwrap();
    fs::write(folder.join("kept/old"), "old").unwrap();
    fs::create_dir(folder.join("beside")).unwrap();
    fs::write(folder.join("beside/note"), "not for you").unwrap();
    let (datagram, _) = UnixDatagram::pair().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    Context {
        folder: folder.to_owned(),
        port: listener.local_addr().unwrap().port(),
        listener,
        _abstract: attempts::abstract_listener(),
        datagram,
        held: Mutex::new(File::create_new(folder.join("beside/held")).unwrap()),
    }
}

fn policy(context: &Context) -> Policy {
    let beneath =
        |name, right| Beneath { path: context.folder.join(name), right, why: "the test says so" };
    Policy {
        process: "probe",
        calls: &[sandbox::runtime::PROGRAM, sandbox::runtime::THREADS, TABLE],
        beneath: vec![beneath("note", Right::Read), beneath("kept", Right::Keep)],
        tcp_ports: vec![context.port],
        open_files: 64,
        strict: false,
    }
}

fn confine(context: &Context) -> Result<Confined, ConfineError> {
    sandbox::confine(&policy(context))
}

fn read_what_is_listed(c: &Context) -> io::Result<()> {
    fs::read(c.folder.join("note")).map(drop)
}

fn read_beside(c: &Context) -> io::Result<()> {
    fs::read(c.folder.join("beside/note")).map(drop)
}

fn write_what_is_only_read(c: &Context) -> io::Result<()> {
    File::options().write(true).open(c.folder.join("note")).map(drop)
}

fn keep_files(c: &Context) -> io::Result<()> {
    let kept = c.folder.join("kept");
    fs::write(kept.join("a"), "a")?;
    fs::rename(kept.join("a"), kept.join("b"))?;
    fs::write(kept.join("old"), "longer")?;
    fs::remove_file(kept.join("b"))
}

fn make_a_directory(context: &Context) -> io::Result<()> {
    fs::create_dir(context.folder.join("kept/new"))
}

fn write_beside(c: &Context) -> io::Result<()> {
    fs::write(c.folder.join("beside/new"), "x")
}

fn move_out_of_what_is_kept(c: &Context) -> io::Result<()> {
    fs::rename(c.folder.join("kept/old"), c.folder.join("beside/old"))
}

fn remove_beside(c: &Context) -> io::Result<()> {
    fs::remove_file(c.folder.join("beside/note"))
}

fn write_to_what_was_open(c: &Context) -> io::Result<()> {
    c.held.lock().unwrap().write_all(b"still")
}

fn connect_to_the_listed_port(c: &Context) -> io::Result<()> {
    attempts::connect_to(c.port)
}

/// Port 1 is listed nowhere; free, nobody answers there.
fn connect_to_another_port(_: &Context) -> io::Result<()> {
    attempts::connect_to(1)
}

fn signal_itself(_: &Context) -> io::Result<()> {
    Ok(kill(getpid(), Signal::SIGURG)?)
}

fn signal_the_parent_aloud(_: &Context) -> io::Result<()> {
    Ok(kill(nix::unistd::getppid(), Signal::SIGURG)?)
}

fn read_a_descriptor_flag(c: &Context) -> io::Result<()> {
    Ok(fcntl(&c.listener, FcntlArg::F_GETFD).map(drop)?)
}

fn set_a_descriptor_flag(c: &Context) -> io::Result<()> {
    Ok(fcntl(&c.listener, FcntlArg::F_SETFD(FdFlag::empty())).map(drop)?)
}

fn make_a_datagram_socket(_: &Context) -> io::Result<()> {
    make_a_socket(AddressFamily::Inet, SockType::Datagram, None)
}

fn make_a_socket_of_a_named_protocol(_: &Context) -> io::Result<()> {
    make_a_socket(AddressFamily::Inet, SockType::Stream, Some(SockProtocol::Tcp))
}

fn send_to_the_connected_end(c: &Context) -> io::Result<()> {
    match c.datagram.send(b"hello") {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        other => other.map(drop),
    }
}

fn send_to_an_address(c: &Context) -> io::Result<()> {
    c.datagram.send_to(b"hello", c.folder.join("nobody")).map(drop)
}

fn send_with_fast_open(c: &Context) -> io::Result<()> {
    use nix::sys::socket::{MsgFlags, send};
    use std::os::fd::AsRawFd;
    let flags = MsgFlags::from_bits_retain(libc::MSG_FASTOPEN);
    Ok(send(c.listener.as_raw_fd(), b"hello", flags).map(drop)?)
}

fn ask_where_it_is(_: &Context) -> io::Result<()> {
    std::env::current_dir().map(drop)
}

fn ask_for_its_group(_: &Context) -> io::Result<()> {
    Ok(nix::unistd::getpgid(None).map(drop)?)
}

fn open_too_many(c: &Context) -> io::Result<()> {
    let open = |_| File::open(c.folder.join("note"));
    (0..100).map(open).collect::<io::Result<Vec<_>>>().map(drop)
}

fn may_dump_core(_: &Context) -> io::Result<()> {
    match getrlimit(Resource::RLIMIT_CORE)? {
        (0, 0) => Ok(()),
        _ => Err(io::Error::other("may dump core")),
    }
}

fn confine_again(context: &Context) -> io::Result<()> {
    confine(context).map(drop).map_err(io::Error::other)
}

fn make_memory_executable(_: &Context) -> io::Result<()> {
    memmap2::MmapMut::map_anon(4096)?.make_exec().map(drop)
}

fn wait(_: &Context) -> io::Result<()> {
    Ok(())
}

const PROBES: &[Probe<Context>] = &[
    probe("files/reads_what_is_listed", read_what_is_listed, Works),
    probe("files/does_not_read_beside", read_beside, Fails(Errno::EACCES)),
    probe("files/does_not_write_what_it_reads", write_what_is_only_read, Fails(Errno::EACCES)),
    probe("files/keeps_what_it_keeps", keep_files, Works),
    probe("files/makes_no_directory", make_a_directory, Fails(Errno::EACCES)),
    probe("files/does_not_write_beside", write_beside, Fails(Errno::EACCES)),
    probe("files/does_not_remove_beside", remove_beside, Fails(Errno::EACCES)),
    probe("files/moves_nothing_out", move_out_of_what_is_kept, Fails(Errno::EACCES)),
    probe("files/still_writes_what_was_open", write_to_what_was_open, Works),
    probe("files/executes_nothing", attempts::execute, Fails(Errno::EACCES)),
    since(4, "tcp/connects_to_a_listed_port", connect_to_the_listed_port, Works),
    since(4, "tcp/connects_to_no_other", connect_to_another_port, Fails(Errno::EACCES)),
    since(4, "tcp/binds_nothing", attempts::bind_a_tcp_port, Fails(Errno::EACCES)),
    since(6, "scope/signals_nobody", attempts::signal_the_parent, Fails(Errno::EPERM)),
    since(
        6,
        "scope/reaches_no_abstract_socket",
        attempts::connect_to_the_abstract_listener,
        Fails(Errno::EPERM),
    ),
    probe("calls/dies_of_one_outside_the_table", attempts::ptrace, KILLED),
    probe("calls/dies_of_starting_a_process", attempts::fork, KILLED),
    probe("calls/starts_threads", attempts::start_a_thread, Works),
    probe("calls/allocates", attempts::allocate, Works),
    probe("calls/make_no_memory_executable", make_memory_executable, KILLED),
    probe("limit/is_holds", read_a_descriptor_flag, Works),
    probe("limit/is_perturbed", set_a_descriptor_flag, KILLED),
    probe("limit/all_of_a_row_hold", attempts::make_an_inet_socket, Works),
    probe("limit/another_row_of_the_call_holds", attempts::make_a_unix_datagram_socket, Works),
    probe("limit/first_argument_perturbed", attempts::make_a_netlink_socket, KILLED),
    probe("limit/masked_argument_perturbed", make_a_datagram_socket, KILLED),
    probe("limit/last_argument_perturbed", make_a_socket_of_a_named_protocol, KILLED),
    probe("limit/null_holds", send_to_the_connected_end, Works),
    probe("limit/null_perturbed", send_to_an_address, KILLED),
    probe("limit/lacks_perturbed", send_with_fast_open, KILLED),
    probe("limit/own_pid_holds", signal_itself, Works),
    probe("limit/own_pid_perturbed", signal_the_parent_aloud, KILLED),
    probe("refuse/answers_with_its_error", ask_where_it_is, Fails(Errno::EACCES)),
    probe("refuse/answers_with_each_rows_error", ask_for_its_group, Fails(Errno::EPERM)),
    probe("limits/open_files_are_counted", open_too_many, Fails(Errno::EMFILE)),
    probe("limits/no_core_is_dumped", may_dump_core, Works),
    probe("once/is_not_done_twice", confine_again, KILLED),
    probe("end/panic_prints_its_message", attempts::panic, Exits(101, "provoked")),
    probe("end/panic_prints_a_backtrace", attempts::panic, Exits(101, "stack backtrace")),
    probe("end/abort_is_an_abort", attempts::abort, Dies(libc::SIGABRT)),
    probe(
        "status/shows_no_power_left",
        wait,
        Shows(&[
            "NoNewPrivs: 1",
            "Seccomp: 2",
            "Seccomp_filters: 4",
            "CapInh: 0000000000000000",
            "CapPrm: 0000000000000000",
            "CapEff: 0000000000000000",
            "CapAmb: 0000000000000000",
        ]),
    ),
];

fn main() -> ExitCode {
    probe::run(&Subject { prepare, confine }, PROBES, Ok(()))
}
