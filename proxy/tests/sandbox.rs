//! The proxy's table, tried on a process that is confined exactly like it.

#![allow(clippy::unwrap_used, reason = "a test, though without the harness that would say so")]

#[path = "../../sandbox/tests/probe/mod.rs"]
mod probe;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
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
    _other: TcpListener,
    other_port: u16,
    name_server: UdpSocket,
    name_port: u16,
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
    let (agents, other) = (bind(), bind());
    agents.set_nonblocking(true).unwrap();
    let name_server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    // As the daemon does before confine: the first draw looks for a file.
    aws_lc_rs::rand::fill(&mut [0; 8]).unwrap();
    Context {
        upstream_port: agents.local_addr().unwrap().port(),
        agents,
        other_port: other.local_addr().unwrap().port(),
        _other: other,
        name_port: name_server.local_addr().unwrap().port(),
        name_server,
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

/// The resolver library of the proxy, against a name server that knows one address.
fn ask_a_name_server(context: &Context) -> io::Result<()> {
    let server = context.name_server.try_clone()?;
    std::thread::spawn(move || answer_names(&server));
    let mut server = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
    server.connections[0].port = context.name_port;
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let found = runtime.block_on(async {
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver = builder.build().map_err(io::Error::other)?;
        resolver.lookup_ip("api.example.").await.map_err(io::Error::other)
    })?;
    assert!(found.iter().eq([Ipv4Addr::new(192, 0, 2, 7)]));
    Ok(())
}

/// Answers every question for an address with 192.0.2.7 (RFC 1035 section 4.1).
fn answer_names(server: &UdpSocket) -> io::Result<()> {
    let mut message = [0; 512];
    loop {
        let (_, client) = server.recv_from(&mut message)?;
        let name = 12 + message[12..].iter().position(|byte| *byte == 0).unwrap();
        let question_end = name + 5;
        let asks_for_a = message[name + 1..name + 3] == [0, 1];
        let mut answer = message[..question_end].to_vec();
        answer[2..4].copy_from_slice(&[0x81, 0x80]);
        answer[6..12].copy_from_slice(&[0, u8::from(asks_for_a), 0, 0, 0, 0]);
        if asks_for_a {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
        }
        server.send_to(&answer, client)?;
    }
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
    attempts::connect_to(context.other_port)
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
    let to = SockaddrIn::new(127, 0, 0, 1, context.other_port);
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
    probe("prints_a_panic_and_a_backtrace", attempts::panic, Exits(101, "stack backtrace")),
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
