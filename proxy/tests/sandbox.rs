//! The proxy's table, tried on a process that is confined exactly like it.

#![allow(clippy::unwrap_used, reason = "a test, though without the harness that would say so")]

#[path = "../../sandbox/tests/probe/mod.rs"]
mod probe;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, listen, sendto,
    setsockopt, socket, sockopt,
};
use probe::Outcome::{Dies, Exits, Fails, Works};
use probe::attempts::{self, make_a_socket};
use probe::{KILLED, Probe, Subject, page, probe, since};
use proxy::confine::Reach;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Context {
    etc: PathBuf,
    run: PathBuf,
    agents: TcpListener,
    upstream_port: u16,
    other: TcpListener,
    _append: UnixListener,
    _abstract: UnixListener,
}

/// Both listeners are in this process: what is confined is `connect`, not who answers.
fn prepare(folder: &Path) -> Context {
    let (etc, run) = (folder.join("etc"), folder.join("run"));
    fs::create_dir(&etc).unwrap();
    fs::create_dir(&run).unwrap();
    fs::write(etc.join("config.yaml"), "kill_switch: false\n").unwrap();
    fs::write(run.join("admin.token"), "secret").unwrap();
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let agents = bind();
    // As the daemon does before confine: the first draw looks for a file.
    aws_lc_rs::rand::fill(&mut [0; 8]).unwrap();
    Context {
        upstream_port: agents.local_addr().unwrap().port(),
        agents,
        other: bind(),
        _append: UnixListener::bind(run.join("append.sock")).unwrap(),
        _abstract: attempts::abstract_listener(),
        etc,
        run,
    }
}

fn confine(context: &Context) -> Result<sandbox::Confined, sandbox::ConfineError> {
    let tcp_ports = &[context.upstream_port];
    let reach = Reach { config_dir: &context.etc, run_dir: &context.run, tcp_ports };
    proxy::confine::confine(&reach, false)
}

/// A runtime with threads, made after confine, carries a byte both ways over TCP.
fn serve_and_connect(context: &Context) -> io::Result<()> {
    let agents = context.agents.try_clone()?;
    let port = context.upstream_port;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("probe")
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        agents.set_nonblocking(true)?;
        let agents = tokio::net::TcpListener::from_std(agents)?;
        let serving = tokio::spawn(async move {
            let (mut end, _) = agents.accept().await?;
            end.set_nodelay(true)?;
            let byte = end.read_u8().await?;
            end.write_u8(byte + 1).await
        });
        let mut upstream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        upstream.write_u8(1).await?;
        assert_eq!(upstream.read_u8().await?, 2);
        tokio::task::spawn_blocking(|| ()).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
        serving.await?
    })
}

fn listen_for_signals(_: &Context) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let _toggle = signal(SignalKind::user_defined1())?;
        let mut end = signal(SignalKind::terminate())?;
        assert!(tokio::time::timeout(Duration::ZERO, end.recv()).await.is_err());
        Ok(())
    })
}

fn connect_to_auditd(context: &Context) -> io::Result<()> {
    UnixStream::connect(context.run.join("append.sock"))?.write_all(b"append")
}

fn read_the_configuration(context: &Context) -> io::Result<()> {
    let text = fs::read_to_string(context.etc.join("config.yaml"))?;
    assert_eq!(text, "kill_switch: false\n");
    Ok(())
}

fn look_for_the_sentinel(context: &Context) -> io::Result<()> {
    match fs::metadata(context.run.join("kill")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map(drop),
    }
}

fn ask_a_name_server(_: &Context) -> io::Result<()> {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    client.send_to(b"name?", server.local_addr()?)?;
    server.recv_from(&mut [0; 8]).map(drop)
}

fn draw_random_numbers(_: &Context) -> io::Result<()> {
    aws_lc_rs::rand::fill(&mut [0; 64]).map_err(io::Error::other)
}

fn read_the_admin_token(context: &Context) -> io::Result<()> {
    let mut token = String::new();
    File::open(context.run.join("admin.token"))?.read_to_string(&mut token).map(drop)
}

fn write_the_configuration(context: &Context) -> io::Result<()> {
    File::options().write(true).open(context.etc.join("config.yaml")).map(drop)
}

fn create_a_file(context: &Context) -> io::Result<()> {
    File::options().read(true).append(true).create(true).open(context.etc.join("new")).map(drop)
}

fn list_the_configuration(context: &Context) -> io::Result<()> {
    fs::read_dir(&context.etc)?.next().map_or(Ok(()), |entry| entry.map(drop))
}

fn connect_to_another_port(context: &Context) -> io::Result<()> {
    TcpStream::connect(context.other.local_addr()?).map(drop)
}

fn listen_without_binding(_: &Context) -> io::Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    Ok(listen(&socket, Backlog::new(1)?)?)
}

fn make_a_raw_socket(_: &Context) -> io::Result<()> {
    make_a_socket(AddressFamily::Inet, SockType::Raw, Some(SockProtocol::Icmp))
}

fn make_a_packet_socket(_: &Context) -> io::Result<()> {
    make_a_socket(AddressFamily::Packet, SockType::Datagram, None)
}

/// On another port than the permitted one, where it would open a connection past Landlock.
fn connect_by_fast_open(context: &Context) -> io::Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let to = SockaddrIn::new(127, 0, 0, 1, context.other.local_addr()?.port());
    let flags = MsgFlags::from_bits_retain(libc::MSG_FASTOPEN);
    Ok(sendto(socket.as_raw_fd(), b"out", &to, flags).map(drop)?)
}

fn switch_the_congestion_control(context: &Context) -> io::Result<()> {
    Ok(setsockopt(&context.agents, sockopt::TcpCongestion, &"reno".into())?)
}

const PROBES: &[Probe<Context>] = &[
    probe("serves_and_connects", serve_and_connect, Works),
    probe("listens_for_signals", listen_for_signals, Works),
    probe("connects_to_auditd", connect_to_auditd, Works),
    probe("reads_the_configuration", read_the_configuration, Works),
    probe("looks_for_the_sentinel", look_for_the_sentinel, Works),
    probe("asks_a_name_server", ask_a_name_server, Works),
    probe("draws_random_numbers", draw_random_numbers, Works),
    probe("allocates", attempts::allocate, Works),
    probe("prints_a_panic", attempts::panic, Exits(101, "provoked")),
    probe("aborts", attempts::abort, Dies(libc::SIGABRT)),
    probe("opens_no_file_elsewhere", attempts::open_passwd, Fails(Errno::EACCES)),
    probe("reads_no_token", read_the_admin_token, Fails(Errno::EACCES)),
    probe("writes_no_file", write_the_configuration, KILLED),
    probe("creates_no_file", create_a_file, KILLED),
    probe("creates_no_file_elsewhere", attempts::create_a_file, KILLED),
    probe("lists_no_directory", list_the_configuration, Fails(Errno::EACCES)),
    since(4, "connects_to_no_other_port", connect_to_another_port, Fails(Errno::EACCES)),
    since(4, "binds_no_tcp_port", attempts::bind_a_tcp_port, Fails(Errno::EACCES)),
    probe("listens_on_no_port", listen_without_binding, KILLED),
    probe("opens_no_connection_past_the_port_rules", connect_by_fast_open, KILLED),
    probe("makes_no_raw_socket", make_a_raw_socket, KILLED),
    probe("makes_no_packet_socket", make_a_packet_socket, KILLED),
    probe("makes_no_netlink_socket", attempts::make_a_netlink_socket, KILLED),
    probe("makes_no_unix_datagram_socket", attempts::make_a_unix_datagram_socket, KILLED),
    since(
        6,
        "reaches_no_abstract_socket",
        attempts::connect_to_the_abstract_listener,
        Fails(Errno::EPERM),
    ),
    probe("sets_no_other_socket_option", switch_the_congestion_control, KILLED),
    probe("executes_nothing", attempts::execute, KILLED),
    probe("starts_no_process", attempts::fork, KILLED),
    probe("traces_nobody", attempts::ptrace, KILLED),
    probe("signals_nobody", attempts::signal_the_parent, KILLED),
];

fn main() -> ExitCode {
    let shown =
        Reach { config_dir: Path::new("etc"), run_dir: Path::new("run"), tcp_ports: &[53, 443] };
    let page = page::check(env!("CARGO_MANIFEST_DIR"), &proxy::confine::policy(&shown, false));
    probe::run(&Subject { prepare, confine }, PROBES, page)
}
