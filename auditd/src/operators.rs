//! The audit control socket: operators ask, the writer answers.

use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use protocol::audit_control::{self, Refusal, Reply, Request, Seal};
use protocol::evidence::body::Export;
use protocol::hello::LinkName;
use protocol::link::{Link, LinkError};
use protocol::seal;

use crate::failure::Failure;
use crate::intake::{Door, Unlet, Users};
use crate::sealer::Manifest;
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
            let reply = match link.receive() {
                Ok(Request::Status) => ask(&queue, Job::Status).map(Reply::Status),
                Ok(Request::Checkpoint) => ask(&queue, Job::Checkpoint).map(|seq| {
                    seq.map_or(Reply::Refused(Refusal::SignerAway), |seq| Reply::Checkpoint { seq })
                }),
                Ok(Request::Seal(asked)) => seal_bundle(&queue, asked),
                Err(LinkError::Closed) => return Ok(()),
                Err(error) => return Err(Unlet::Link(error)),
            };
            let Some(reply) = reply else { return Ok(()) };
            link.send(&reply).map_err(Unlet::Link)?;
        }
    })
}

/// The writer's answer to one job; `None` where it does not answer any more.
fn ask<T>(queue: &SyncSender<Job>, job: impl FnOnce(SyncSender<T>) -> Job) -> Option<T> {
    let (answer, answered) = sync_channel(1);
    queue.send(job(answer)).ok()?;
    answered.recv_timeout(PATIENCE).ok()
}

/// Signed first, written down second, handed out last: a bundle that anybody holds is in the log.
fn seal_bundle(queue: &SyncSender<Job>, asked: Seal) -> Option<Reply> {
    let Seal { manifest_sha256, seq_range, tree_size, root, purpose } = asked;
    let manifest = Manifest { sha256: manifest_sha256, tree_size, root };
    let (signature, key_id) = match ask(queue, |answer| Job::SignManifest(manifest, answer))? {
        Ok(seal::Reply::Signed { signature, key_id }) => (signature, key_id),
        Ok(seal::Reply::Refused(seal::Refusal::NotSigned)) => {
            return Some(Reply::Refused(Refusal::NotSigned));
        }
        _ => return Some(Reply::Refused(Refusal::SignerAway)),
    };
    let export = Export { manifest_sha256, seq_range, tree_size, purpose };
    let written = ask(queue, |answer| Job::Exported(export, answer))?;
    Some(if written {
        Reply::Sealed { signature, key_id }
    } else {
        Reply::Refused(Refusal::OutOfGrammar)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::thread;

    use protocol::audit_control::Status;
    use protocol::hello::Welcome;

    use super::*;

    #[test]
    fn asks_the_writer_for_whoever_has_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.sock");
        let (queue, jobs) = sync_channel(4);
        serve(UnixListener::bind(&path).unwrap(), [9; 32], queue).unwrap();
        let status = Status {
            origin: "log.example".into(),
            size: 7,
            signed_size: 6,
            signed_root: [1; 32],
            checkpoints: 2,
            unsigned_ms: 0,
            open: true,
            sandbox: "full".into(),
        };
        let answer = status.clone();
        thread::spawn(move || {
            while let Ok(Job::Status(asker)) = jobs.recv() {
                asker.send(answer.clone()).unwrap();
            }
        });
        let connect = |token: u8| {
            let stream = UnixStream::connect(&path).unwrap();
            let name = LinkName::AuditControl;
            Link::<_, Request, Reply>::connect(stream, name, &[token; 32], audit_control::CAP)
        };
        assert!(matches!(connect(0), Err(LinkError::Unwelcome(Welcome::WrongSecret))));
        let mut operator = connect(9).unwrap();
        for _ in 0..2 {
            assert_eq!(operator.call(&Request::Status).unwrap(), Reply::Status(status.clone()));
        }
    }
}
