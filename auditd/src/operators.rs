//! The audit control socket: operators ask, the writer answers.

use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use protocol::audit_control::{self, Reply, Request};
use protocol::hello::LinkName;
use protocol::link::{Link, LinkError};

use crate::failure::Failure;
use crate::intake::{Door, Unlet, Users};
use crate::writer::Job;

/// The writer answers within this, or the operator's connection is closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves the audit control socket.
///
/// Who may open it is the file's mode (0660, group `waterwall`), and in the embedded default the
/// token; so any user is let in here, and named.
///
/// # Errors
///
/// When the accepting thread cannot be started.
pub(crate) fn serve(
    listener: UnixListener,
    token: [u8; 32],
    queue: SyncSender<Job>,
) -> Result<(), Failure> {
    let door = Door {
        name: LinkName::AuditControl,
        users: Users::Any,
        secret: token,
        cap: audit_control::CAP,
    };
    door.serve(listener, "audit-control", move |door, stream| {
        let mut link: Link<UnixStream, Reply, Request> = door.admit(stream)?;
        loop {
            match link.receive() {
                Ok(Request::Status) => {}
                Err(LinkError::Closed) => return Ok(()),
                Err(error) => return Err(Unlet::Link(error)),
            }
            let (answer, answered) = sync_channel(1);
            if queue.send(Job::Status(answer)).is_err() {
                return Ok(());
            }
            let Ok(status) = answered.recv_timeout(PATIENCE) else { return Ok(()) };
            link.send(&Reply::Status(status)).map_err(Unlet::Link)?;
        }
    })
}
