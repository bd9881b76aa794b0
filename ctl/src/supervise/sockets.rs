//! The listening sockets. They outlive the daemons, so that clients of a dead one only wait.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use protocol::settings::ConfigFile;

use crate::fault::{Fault, Kind};
use crate::home::{Home, Socket};
use crate::supervise::role::{Listener, Role};

/// All listening sockets of an instance.
#[derive(Debug)]
pub(crate) struct Sockets {
    listen: SocketAddr,
    /// `None` once nobody is let in any more.
    agents: Option<TcpListener>,
    admin: TcpListener,
    unix: Vec<(Socket, UnixListener)>,
}

impl Sockets {
    /// Binds them all. The caller holds the instance's lock, so what lies in the way is stale.
    pub(crate) fn bind(home: &Home, config: &ConfigFile) -> Result<Self, Fault> {
        let listen = loopback_address(home, &config.listen)?;
        let admin = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), config.admin_port);
        let agents = bind_tcp(home, listen, "listen")?;
        let admin = bind_tcp(home, admin, "admin_port")?;
        let unix = Socket::ALL
            .into_iter()
            .map(|socket| Ok((socket, bind_unix(home, socket)?)))
            .collect::<Result<_, Fault>>()?;
        Ok(Self { listen: local_address(&agents)?, agents: Some(agents), admin, unix })
    }

    /// Where agents connect.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Lets no agent in any more once the proxy has closed its own copy: whoever connects while it
    /// drains is refused at once, instead of waiting for somebody who will not come.
    pub(crate) fn close_to_agents(&mut self) {
        self.agents = None;
    }

    /// Port of the admin listener.
    pub(crate) fn admin_port(&self) -> Result<u16, Fault> {
        local_address(&self.admin).map(|address| address.port())
    }

    /// Copies of the descriptors that `role` inherits, in the order of its listeners.
    pub(crate) fn of(&self, role: Role) -> io::Result<Vec<OwnedFd>> {
        role.listeners()
            .iter()
            .map(|listener| match listener {
                Listener::Agents => {
                    let closed = || io::Error::from(io::ErrorKind::NotConnected);
                    self.agents.as_ref().ok_or_else(closed)?.as_fd().try_clone_to_owned()
                }
                Listener::Admin => self.admin.as_fd().try_clone_to_owned(),
                Listener::Unix(wanted) => self
                    .unix
                    .iter()
                    .find(|(socket, _)| socket == wanted)
                    .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?
                    .1
                    .as_fd()
                    .try_clone_to_owned(),
            })
            .collect()
    }
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, Fault> {
    listener.local_addr().map_err(|error| Fault::system("ask a socket for its port", error))
}

/// Agents send secrets in the clear to this address: it must not be reachable from elsewhere.
fn loopback_address(home: &Home, listen: &str) -> Result<SocketAddr, Fault> {
    match listen.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        _ => Err(Fault::new(
            Kind::Config,
            format!("listen: {listen:?} is not a loopback address and port"),
            format!("set it to \"127.0.0.1:8888\" in {}", home.config().display()),
        )),
    }
}

fn bind_tcp(home: &Home, address: SocketAddr, key: &str) -> Result<TcpListener, Fault> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Fault::new(
            Kind::Unavailable,
            format!("{address} is taken by another program"),
            format!(
                "see which with `ss -ltnp 'sport = :{}'`, or set `{key}` in {} to another port \
                 (0 takes any free one)",
                address.port(),
                home.config().display()
            ),
        ),
        _ => Fault::new(
            Kind::Unavailable,
            format!("cannot listen on {address}: {error}"),
            format!("set `{key}` in {} to another port", home.config().display()),
        ),
    })
}

fn bind_unix(home: &Home, socket: Socket) -> Result<UnixListener, Fault> {
    let path = home.socket(socket);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Fault::file("replace", &path, &error));
        }
        _ => {}
    }
    // Between daemons the owner alone; what operators use is open to their group, too.
    let mode = match socket {
        Socket::Mint | Socket::Seal | Socket::Append => 0o600,
        Socket::Control | Socket::AuditControl => 0o660,
    };
    UnixListener::bind(&path)
        .and_then(|listener| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            Ok(listener)
        })
        .map_err(|error| Fault::file("bind", &path, &error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::home::Process;

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::choose(Some(folder.path()), &Process).unwrap();
        home.create().unwrap();
        (folder, home)
    }

    fn any_ports() -> ConfigFile {
        ConfigFile { listen: "127.0.0.1:0".into(), admin_port: 0, ..ConfigFile::default() }
    }

    #[test]
    fn port_zero_takes_any_free_port_and_says_which() {
        let (_folder, home) = home();
        let sockets = Sockets::bind(&home, &any_ports()).unwrap();
        assert_ne!(sockets.listen().port(), 0);
        assert_ne!(sockets.admin_port().unwrap(), sockets.listen().port());
    }

    #[test]
    fn a_taken_port_names_the_key_to_change_and_how_to_find_the_holder() {
        let (_folder, home) = home();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let agents = ConfigFile { listen: format!("127.0.0.1:{port}"), ..any_ports() };
        let fault = Sockets::bind(&home, &agents).unwrap_err();
        assert_eq!(fault.kind, Kind::Unavailable);
        assert!(fault.advice.contains("`listen`") && fault.advice.contains("ss -ltnp"));
        let admin = ConfigFile { admin_port: port, ..any_ports() };
        let fault = Sockets::bind(&home, &admin).unwrap_err();
        assert!(fault.advice.contains("`admin_port`"), "{fault:?}");
    }

    #[test]
    fn never_listens_beyond_loopback() {
        let (_folder, home) = home();
        for listen in ["0.0.0.0:0", "192.0.2.1:8888", "[::]:0", "localhost:8888", "8888", ""] {
            let config = ConfigFile { listen: listen.into(), ..any_ports() };
            let fault = Sockets::bind(&home, &config).unwrap_err();
            assert_eq!(fault.kind, Kind::Config, "{listen}");
        }
    }

    #[test]
    fn stale_sockets_are_replaced_and_only_operators_sockets_are_open_to_the_group() {
        let (_folder, home) = home();
        drop(UnixListener::bind(home.socket(Socket::Mint)).unwrap());
        assert!(UnixStream::connect(home.socket(Socket::Mint)).is_err());
        let _sockets = Sockets::bind(&home, &any_ports()).unwrap();
        assert!(UnixStream::connect(home.socket(Socket::Mint)).is_ok());
        let mode = |socket| fs::metadata(home.socket(socket)).unwrap().mode() & 0o777;
        assert_eq!(mode(Socket::Append), 0o600);
        assert_eq!(mode(Socket::Control), 0o660);
    }
}
