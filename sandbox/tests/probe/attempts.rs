//! What a taken-over process would try first, and what a healthy one must still be able to do.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::Command;

use nix::sys::signal::kill;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, bind, socket};
use nix::unistd::{execv, getppid};

pub(crate) fn open_passwd<C>(_: &C) -> io::Result<()> {
    File::open("/etc/passwd").map(drop)
}

pub(crate) fn create_a_file<C>(_: &C) -> io::Result<()> {
    let path = std::env::temp_dir().join(format!("waterwall-probe-{}", std::process::id()));
    File::create(&path)?;
    std::fs::remove_file(path)
}

pub(crate) fn make_a_socket(
    family: AddressFamily,
    kind: SockType,
    protocol: Option<SockProtocol>,
) -> io::Result<()> {
    Ok(socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol).map(drop)?)
}

pub(crate) fn make_an_inet_socket<C>(_: &C) -> io::Result<()> {
    make_a_socket(AddressFamily::Inet, SockType::Stream, None)
}

pub(crate) fn make_a_unix_socket<C>(_: &C) -> io::Result<()> {
    make_a_socket(AddressFamily::Unix, SockType::Stream, None)
}

pub(crate) fn make_a_unix_datagram_socket<C>(_: &C) -> io::Result<()> {
    make_a_socket(AddressFamily::Unix, SockType::Datagram, None)
}

pub(crate) fn make_a_netlink_socket<C>(_: &C) -> io::Result<()> {
    make_a_socket(AddressFamily::Netlink, SockType::Raw, Some(SockProtocol::NetlinkRoute))
}

/// Reports only if the exec failed; the free control becomes `/bin/true`.
pub(crate) fn execute<C>(_: &C) -> io::Result<()> {
    let program = CString::new("/bin/true")?;
    execv(&program, &[program.as_c_str()])?;
    Ok(())
}

pub(crate) fn fork<C>(_: &C) -> io::Result<()> {
    Command::new("/bin/true").status().map(drop)
}

pub(crate) fn ptrace<C>(_: &C) -> io::Result<()> {
    Ok(nix::sys::ptrace::traceme()?)
}

pub(crate) fn signal_the_parent<C>(_: &C) -> io::Result<()> {
    Ok(kill(getppid(), None)?)
}

pub(crate) fn start_a_thread<C>(_: &C) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("probe".to_owned()).spawn(|| ())?;
    thread.join().map_err(|_| io::Error::other("panicked"))
}

/// A listener on an abstract name, made before confine and so outside the scope after it.
pub(crate) fn abstract_listener() -> UnixListener {
    let address = SocketAddr::from_abstract_name(abstract_name()).unwrap();
    UnixListener::bind_addr(&address).unwrap()
}

pub(crate) fn connect_to_the_abstract_listener<C>(_: &C) -> io::Result<()> {
    let address = SocketAddr::from_abstract_name(abstract_name())?;
    UnixStream::connect_addr(&address).map(drop)
}

fn abstract_name() -> String {
    format!("waterwall-probe-{}", std::process::id())
}

pub(crate) fn bind_a_tcp_port<C>(_: &C) -> io::Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    Ok(bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0))?)
}

pub(crate) fn connect_to(port: u16) -> io::Result<()> {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(drop)
}

pub(crate) fn panic<C>(_: &C) -> io::Result<()> {
    panic!("provoked")
}

pub(crate) fn abort<C>(_: &C) -> io::Result<()> {
    std::process::abort()
}

/// Memory in all sizes the allocator treats differently.
pub(crate) fn allocate<C>(_: &C) -> io::Result<()> {
    let mut kept: Vec<Vec<u8>> = (4..26).map(|power| vec![1; 1 << power]).collect();
    kept.iter_mut().for_each(|block| block.extend_from_within(..));
    kept.retain(|block| block.len() > 1 << 10);
    Ok(())
}
