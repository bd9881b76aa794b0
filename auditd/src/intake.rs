//! The append socket: who may speak, and frames to and from the writer's queue.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use protocol::append::{self, Reply, Request};
use protocol::hello::LinkName;
use protocol::link::{Link, LinkError};
use protocol::{codec, frame};
use sandbox::peer::{self, PeerError};

use crate::failure::Failure;
use crate::writer::Job;

/// Connections served at once: one proxy, its successor, and a few that have not noticed yet.
const CONNECTIONS: usize = 16;

/// A peer says hello within this, or is dropped.
const HELLO: Duration = Duration::from_secs(2);

/// A peer takes its answers within this, or is dropped. Answers go out on the writer's thread,
/// one write per group, because another thread would cost every request a wake-up; a proxy reads
/// all the time, so a full socket means it hangs.
const ANSWER: Duration = Duration::from_millis(250);

/// Who may speak on a link, and what they must say first.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    /// The link's name.
    pub(crate) name: LinkName,
    /// The users that may.
    pub(crate) users: Users,
    /// The link's secret.
    pub(crate) secret: [u8; 32],
    /// Cap of its frames, in bytes.
    pub(crate) cap: usize,
}

/// The users that may open a link.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Users {
    /// This one.
    Only(u32),
    /// Whoever the socket's file mode lets in.
    Any,
}

/// Why a connection was not let in.
#[derive(Debug)]
pub(crate) enum Unlet {
    /// Another user, or nobody knows who.
    Peer(PeerError),
    /// No or a wrong hello.
    Link(LinkError),
}

impl std::fmt::Display for Unlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Peer(error) => error.fmt(f),
            Self::Link(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for Unlet {
    fn from(error: io::Error) -> Self {
        Self::Link(LinkError::Io(error))
    }
}

impl Door {
    /// Checks the user, then the hello.
    pub(crate) fn admit<Out, In>(
        &self,
        stream: UnixStream,
    ) -> Result<Link<UnixStream, Out, In>, Unlet>
    where
        Out: serde::Serialize,
        In: serde::Serialize + serde::de::DeserializeOwned,
    {
        match self.users {
            Users::Only(uid) => peer::expect(&stream, uid).map(drop).map_err(Unlet::Peer)?,
            Users::Any => {
                let peer = peer::of(&stream)?;
                tracing::debug!(uid = peer.uid, pid = peer.pid, link = ?self.name, "operator");
            }
        }
        stream.set_read_timeout(Some(HELLO))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let link = Link::accept(stream, self.name, &self.secret, self.cap).map_err(Unlet::Link)?;
        link.stream().set_read_timeout(None)?;
        Ok(link)
    }

    /// Serves every connection on a thread of its own, [`CONNECTIONS`] at most.
    ///
    /// # Errors
    ///
    /// When the accepting thread cannot be started.
    pub(crate) fn serve(
        self,
        listener: UnixListener,
        thread_name: &'static str,
        each: impl Fn(&Self, UnixStream) -> Result<(), Unlet> + Send + Sync + 'static,
    ) -> Result<(), Failure> {
        let served = Arc::new((self, each));
        let open = Arc::new(AtomicUsize::new(0));
        let complaints = Arc::new(Complaints::new(Instant::now()));
        let accept = move || loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, or a peer that is gone again. Neither passes faster
                    // by asking at full speed.
                    tracing::warn!(link = thread_name, %error, "connection not accepted");
                    thread::sleep(Duration::from_millis(50));
                    continue;
                }
            };
            if open.load(Ordering::Relaxed) >= CONNECTIONS {
                complaints.say(thread_name, &"too many connections");
                continue;
            }
            let (served, place) = (Arc::clone(&served), Place::take(&open));
            let complaints = Arc::clone(&complaints);
            let spawned = thread::Builder::new().name(thread_name.into()).spawn(move || {
                let _place = place;
                if let Err(error) = (served.1)(&served.0, stream) {
                    complaints.say(thread_name, &error);
                }
            });
            if let Err(error) = spawned {
                tracing::warn!(link = thread_name, %error, "no thread for a connection");
            }
        };
        let spawned = thread::Builder::new().name(thread_name.into()).spawn(accept);
        spawned.map(drop).map_err(|_| Failure::Threads(thread_name))
    }
}

/// Warnings about callers, so few that no caller can fill a disk with them.
struct Complaints(Mutex<Minute>);

/// What was said in the minute that began `since`.
struct Minute {
    since: Instant,
    said: u32,
    unsaid: u64,
}

impl Complaints {
    fn new(now: Instant) -> Self {
        Self(Mutex::new(Minute { since: now, said: 0, unsaid: 0 }))
    }

    fn say(&self, link: &'static str, cause: &dyn std::fmt::Display) {
        if let Some(unsaid) = self.admit(Instant::now()) {
            tracing::warn!(link, %cause, unsaid, "connection refused");
        }
    }

    /// Whether a warning may be written `now`; if so, how many were not since the last one.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(minute.since) >= MINUTE {
            (minute.since, minute.said) = (now, 0);
        }
        if minute.said >= WARNINGS {
            minute.unsaid += 1;
            return None;
        }
        minute.said += 1;
        Some(std::mem::take(&mut minute.unsaid))
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// Warnings about the callers of one socket, per [`MINUTE`].
const WARNINGS: u32 = 20;

/// One of the places for connections; free again when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where the answers of one connection go.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: Mutex<UnixStream>,
}

impl Peer {
    /// Answers through a stream whose write timeout is set.
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream: Mutex::new(stream) }
    }

    /// Sends answers with one write. A peer that does not take them is cut off: it resubmits on
    /// its next connection.
    pub(crate) fn answer(&self, replies: &[Reply]) {
        let mut frames = Vec::with_capacity(replies.len() * 24);
        for reply in replies {
            match frame::frame(&codec::encode(reply), append::CAP) {
                Ok(frame) => frames.extend_from_slice(&frame),
                Err(error) => tracing::error!(%error, "answer does not fit a frame"),
            }
        }
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = stream.write_all(&frames) {
            tracing::warn!(%error, "peer does not take its answers");
            let _already_gone = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Serves the append socket.
///
/// # Errors
///
/// When the accepting thread cannot be started.
pub(crate) fn serve(
    listener: UnixListener,
    door: Door,
    queue: SyncSender<Job>,
) -> Result<(), Failure> {
    door.serve(listener, "append", move |door, stream| {
        let mut link: Link<UnixStream, Reply, Request> = door.admit(stream)?;
        let peer = Arc::new(Peer::new(link.stream().try_clone()?));
        loop {
            match link.receive() {
                Ok(Request { id, event }) => {
                    let job = Job::Append { id, event, peer: Arc::clone(&peer) };
                    if queue.send(job).is_err() {
                        return Ok(());
                    }
                }
                Err(LinkError::Closed) => return Ok(()),
                Err(error) => return Err(Unlet::Link(error)),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use protocol::append::{Event, Outcome};
    use protocol::hello::Welcome;

    use super::*;

    type Caller = Link<UnixStream, Request, Reply>;

    struct Served {
        path: std::path::PathBuf,
        jobs: Receiver<Job>,
        _dir: tempfile::TempDir,
    }

    fn served(uid: u32) -> Served {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("append.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (queue, jobs) = sync_channel(4);
        let door = Door {
            name: LinkName::Append,
            users: Users::Only(uid),
            secret: [7; 32],
            cap: append::CAP,
        };
        serve(listener, door, queue).unwrap();
        Served { path, jobs, _dir: dir }
    }

    fn connect(served: &Served, secret: u8) -> Result<Caller, LinkError> {
        let stream = UnixStream::connect(&served.path).unwrap();
        Link::connect(stream, LinkName::Append, &[secret; 32], append::CAP)
    }

    fn event() -> Event {
        Event::PolicyRefused { attempted_hash: None, code: "x".into() }
    }

    #[test]
    fn brings_frames_to_the_queue_and_answers_back() {
        let served = served(peer::own_uid());
        let mut caller = connect(&served, 7).unwrap();
        caller.send(&Request { id: 9, event: event() }).unwrap();
        let Job::Append { id, event: got, peer } = served.jobs.recv().unwrap() else {
            panic!("not an append");
        };
        assert_eq!((id, got), (9, event()));
        let replies = [1, 2].map(|id| Reply { id, outcome: Outcome::Appended { seq: id } });
        peer.answer(&replies);
        assert_eq!([caller.receive().unwrap(), caller.receive().unwrap()], replies);
    }

    #[test]
    fn refuses_a_wrong_secret_and_serves_the_next_one() {
        let served = served(peer::own_uid());
        let refused = connect(&served, 8);
        assert!(matches!(refused, Err(LinkError::Unwelcome(Welcome::WrongSecret))));
        assert!(connect(&served, 7).is_ok());
    }

    #[test]
    fn drops_a_peer_of_another_user_before_any_hello() {
        let served = served(peer::own_uid() + 1);
        assert!(matches!(connect(&served, 7), Err(LinkError::Closed | LinkError::Io(_))));
    }

    #[test]
    fn drops_a_peer_whose_frames_do_not_decode() {
        let served = served(peer::own_uid());
        let mut stream = connect(&served, 7).unwrap().into_stream();
        stream.write_all(&[0, 0, 0, 1, 0xff]).unwrap();
        let mut rest = Vec::new();
        io::Read::read_to_end(&mut stream, &mut rest).unwrap();
        assert!(rest.is_empty());
    }

    #[test]
    fn no_caller_fills_a_disk_with_warnings() {
        let begun = Instant::now();
        let complaints = Complaints::new(begun);
        let said = (0..100_000).filter_map(|_| complaints.admit(begun)).count();
        assert_eq!(said, WARNINGS as usize);
        let later = begun + MINUTE;
        assert_eq!(complaints.admit(later), Some(100_000 - u64::from(WARNINGS)));
        assert_eq!(complaints.admit(later), Some(0));
    }

    #[test]
    fn holds_no_more_connections_than_it_promises() {
        let served = served(peer::own_uid());
        let held: Vec<_> = (0..CONNECTIONS).map(|_| connect(&served, 7).unwrap()).collect();
        assert!(connect(&served, 7).is_err());
        drop(held);
    }
}
