//! The operator's two links: to the proxy and to auditd.

use std::os::unix::net::UnixStream;
use std::time::Duration;

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
        Fault::new(
            Kind::Unavailable,
            format!("no answer on {}: {error}", path.display()),
            format!("see what is wrong with `{}`", home.command("status")),
        )
    };
    let stream = UnixStream::connect(&path).map_err(|error| unanswered(error.into()))?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .map_err(|error| unanswered(error.into()))?;
    let mut link = Link::connect(stream, name, &token, cap).map_err(&unanswered)?;
    link.call(request).map_err(&unanswered)
}

/// The supervisor holds the socket of a dead daemon open, so a connection alone proves no life. A
/// reload compiles patterns and appends to the log before it answers.
const PATIENCE: Duration = Duration::from_secs(10);
