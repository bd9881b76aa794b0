//! Readiness for whoever started us (`sd_notify(3)`).

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The connected notification socket, or nothing where nobody asked.
#[derive(Debug)]
pub struct Notify {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// Connects to `NOTIFY_SOCKET`, a path or, after `@`, an abstract name. Must precede confine:
    /// afterwards neither kind can be reached, but what is connected stays so.
    ///
    /// # Errors
    ///
    /// When the variable is set and its socket cannot be connected.
    pub fn from_env() -> io::Result<Self> {
        let watchdog = match std::env::var("WATCHDOG_PID") {
            Ok(pid) if pid != std::process::id().to_string() => None,
            _ => std::env::var("WATCHDOG_USEC").ok(),
        };
        Self::connect(std::env::var_os("NOTIFY_SOCKET"), watchdog.as_deref())
    }

    fn connect(address: Option<OsString>, watchdog_usec: Option<&str>) -> io::Result<Self> {
        let watchdog = watchdog_usec
            .map(|usec| usec.parse().map(Duration::from_micros))
            .transpose()
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "WATCHDOG_USEC"))?;
        let Some(address) = address.filter(|address| !address.is_empty()) else {
            return Ok(Self { socket: None, watchdog: None });
        };
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(&address)?,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "NOTIFY_SOCKET")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        Ok(Self { socket: Some(socket), watchdog })
    }

    /// For who would rather miss a word than stand still while nobody listens.
    ///
    /// # Errors
    ///
    /// When the socket cannot be set so.
    pub fn without_waiting(self) -> io::Result<Self> {
        if let Some(socket) = &self.socket {
            socket.set_nonblocking(true)?;
        }
        Ok(self)
    }

    /// Says that requests are served.
    ///
    /// # Errors
    ///
    /// When the datagram cannot be sent.
    pub fn ready(&self) -> io::Result<()> {
        self.send(b"READY=1\n")
    }

    /// Says how we are, in one line for people.
    ///
    /// # Errors
    ///
    /// When the datagram cannot be sent.
    pub fn status(&self, line: &str) -> io::Result<()> {
        self.send(format!("STATUS={line}\n").as_bytes())
    }

    /// Says how many registered values would be gone with us. Supervisors that do not know the
    /// word ignore it.
    ///
    /// # Errors
    ///
    /// When the datagram cannot be sent.
    pub fn registered(&self, count: usize) -> io::Result<()> {
        self.send(format!("X_WATERWALL_REGISTERED={count}\n").as_bytes())
    }

    /// Says which sources of the kill switch would be forgotten with us, so that our successor can be
    /// started with them ([`ARMED`]).
    ///
    /// # Errors
    ///
    /// When the datagram cannot be sent.
    pub fn armed(&self, sources: &str) -> io::Result<()> {
        self.send(format!("X_{ARMED}={sources}\n").as_bytes())
    }

    /// Says that we are draining.
    ///
    /// # Errors
    ///
    /// When the datagram cannot be sent.
    pub fn stopping(&self) -> io::Result<()> {
        self.send(b"STOPPING=1\n")
    }

    /// Says that the main loop still turns. To be called every [`Self::watchdog`] or more often.
    ///
    /// # Errors
    ///
    /// When the datagram cannot be sent.
    pub fn alive(&self) -> io::Result<()> {
        self.send(b"WATCHDOG=1\n")
    }

    /// How often [`Self::alive`] is due: half of what the supervisor waits. `None` if it does not.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    fn send(&self, state: &[u8]) -> io::Result<()> {
        self.socket.as_ref().map_or(Ok(()), |socket| socket.send(state).map(drop))
    }
}

/// The variable with which a supervisor gives back what [`Notify::armed`] told it.
pub const ARMED: &str = "WATERWALL_ARMED";

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(supervisor: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let length = supervisor.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn tells_a_pathname_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let supervisor = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::connect(Some(path.into()), Some("3000000")).unwrap();
        notify.ready().unwrap();
        assert_eq!(heard(&supervisor), "READY=1\n");
        notify.status("sandbox full").unwrap();
        assert_eq!(heard(&supervisor), "STATUS=sandbox full\n");
        let notify = notify.without_waiting().unwrap();
        notify.registered(7).unwrap();
        assert_eq!(heard(&supervisor), "X_WATERWALL_REGISTERED=7\n");
        notify.armed("sigusr1,http").unwrap();
        assert_eq!(heard(&supervisor), "X_WATERWALL_ARMED=sigusr1,http\n");
        notify.alive().unwrap();
        assert_eq!(heard(&supervisor), "WATCHDOG=1\n");
        notify.stopping().unwrap();
        assert_eq!(heard(&supervisor), "STOPPING=1\n");
        assert_eq!(notify.watchdog(), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn tells_an_abstract_socket() {
        let name = format!("waterwall-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let supervisor = UnixDatagram::bind_addr(&address).unwrap();
        Notify::connect(Some(format!("@{name}").into()), None).unwrap().ready().unwrap();
        assert_eq!(heard(&supervisor), "READY=1\n");
    }

    #[test]
    fn is_silent_where_nobody_asked() {
        let notify = Notify::connect(None, Some("1000")).unwrap();
        notify.ready().unwrap();
        assert_eq!(notify.watchdog(), None);
    }

    #[test]
    fn refuses_a_socket_nobody_reads_and_an_address_of_no_kind() {
        assert!(Notify::connect(Some("/nonexistent/notify".into()), None).is_err());
        assert!(Notify::connect(Some("vsock:2:1".into()), None).is_err());
        assert!(Notify::connect(Some("/nonexistent/notify".into()), Some("soon")).is_err());
    }
}
