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

/// Asks the proxy to do something.
pub(crate) fn ask_proxy(home: &Home, request: &control::Request) -> Result<control::Reply, Fault> {
    ask(home, &CONTROL, PATIENCE, request)
}

/// Asks the proxy how it is.
pub(crate) fn look_at_proxy(home: &Home) -> Result<control::Reply, Fault> {
    ask(home, &CONTROL, GLANCE, &control::Request::Status)
}

/// Asks auditd how it is.
pub(crate) fn look_at_auditd(home: &Home) -> Result<audit_control::Reply, Fault> {
    ask(home, &AUDIT_CONTROL, GLANCE, &audit_control::Request::Status)
}

/// Asks auditd to do something.
pub(crate) fn ask_auditd(
    home: &Home,
    request: &audit_control::Request,
) -> Result<audit_control::Reply, Fault> {
    ask(home, &AUDIT_CONTROL, PATIENCE, request)
}

/// One of the two links.
struct Way {
    socket: Socket,
    name: LinkName,
    cap: usize,
}

const CONTROL: Way = Way { socket: Socket::Control, name: LinkName::Control, cap: control::CAP };

const AUDIT_CONTROL: Way =
    Way { socket: Socket::AuditControl, name: LinkName::AuditControl, cap: audit_control::CAP };

fn ask<Out: Serialize, In: Serialize + DeserializeOwned>(
    home: &Home,
    way: &Way,
    patience: Duration,
    request: &Out,
) -> Result<In, Fault> {
    let token = read_admin_token(home)?;
    let path = home.socket(way.socket);
    let unanswered = |error: LinkError| {
        let why = match error {
            LinkError::Io(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let passed = patience.as_secs_f64();
                format!("it hangs, or has too much to do ({passed} s passed)")
            }
            error => error.to_string(),
        };
        Fault::new(
            Kind::Unavailable,
            format!("no answer on {}: {why}", path.display()),
            format!("see what is wrong with `{}`", home.command("status")),
        )
    };
    let stream = dial(&path, patience).map_err(|error| unanswered(error.into()))?;
    let mut link = Link::connect(stream, way.name, &token, way.cap).map_err(&unanswered)?;
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

/// How they are takes them no time to say, but for the 0.7 s in which the proxy waits for those it
/// depends on: whoever takes longer hangs, which is an answer, too.
const GLANCE: Duration = Duration::from_millis(900);

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
