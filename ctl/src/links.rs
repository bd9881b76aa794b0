//! The operator's two links: to the proxy and to auditd.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use protocol::hello::LinkName;
use protocol::link::{Link, LinkError};
use protocol::{audit_control, control};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fault::{Fault, Kind};
use crate::first_use::read_admin_token;
use crate::home::{Home, Socket};

/// Asks the proxy.
pub(crate) fn ask_proxy(home: &Home, request: &control::Request) -> Result<control::Reply, Fault> {
    ask(home, Socket::Control, LinkName::Control, control::CAP, request)
}

/// Asks auditd.
pub(crate) fn ask_auditd(
    home: &Home,
    request: &audit_control::Request,
) -> Result<audit_control::Reply, Fault> {
    ask(home, Socket::AuditControl, LinkName::AuditControl, audit_control::CAP, request)
}

fn ask<Out: Serialize, In: Serialize + DeserializeOwned>(
    home: &Home,
    socket: Socket,
    name: LinkName,
    cap: usize,
    request: &Out,
) -> Result<In, Fault> {
    let token = read_admin_token(home)?;
    let path = home.socket(socket);
    let unanswered = |error: LinkError| {
        let why = match error {
            LinkError::Io(error) if error.kind() == io::ErrorKind::WouldBlock => {
                format!("it hangs, or has too much to do ({} s passed)", PATIENCE.as_secs())
            }
            error => error.to_string(),
        };
        Fault::new(
            Kind::Unavailable,
            format!("no answer on {}: {why}", path.display()),
            format!("see what is wrong with `{}`", home.command("status")),
        )
    };
    let stream = dial(&path, PATIENCE).map_err(|error| unanswered(error.into()))?;
    let mut link = Link::connect(stream, name, &token, cap).map_err(&unanswered)?;
    link.call(request).map_err(&unanswered)
}

/// Connects, with `patience` for that and for each read and write after it. A daemon that hangs lets
/// its queue fill, and a full queue would otherwise be waited for without end.
fn dial(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let stream = UnixStream::from(socket(AddressFamily::Unix, SockType::Stream, flags, None)?);
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    connect(stream.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(stream)
}

/// The supervisor holds the socket of a dead daemon open, so a connection alone proves no life. A
/// reload compiles patterns and appends to the log before it answers.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use nix::sys::socket::{Backlog, listen};

    use super::*;

    #[test]
    fn gives_up_on_a_daemon_whose_queue_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let patience = Duration::from_millis(20);
        let _waiting = dial(&path, patience).unwrap();
        assert_eq!(dial(&path, patience).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
