//! The client end of the append link: every line goes through here, and nothing leaves the host
//! before its line was acknowledged.

mod queue;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use protocol::append::{CAP, Event, Outcome, Refusal, Reply, Request, RequestRef, Sent};
use protocol::hello::LinkName;
use protocol::link::LinkError;
use protocol::{codec, frame};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc, oneshot};

use self::queue::Queue;
use crate::wire;

/// Between two attempts to reach auditd.
const RECONNECT: Duration = Duration::from_millis(100);

/// How long a peer may take to answer the hello.
const HELLO: Duration = Duration::from_secs(5);

/// Why a line is not known to be in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppendError {
    /// The link is down, or older lines are still unanswered. Nothing was queued.
    Closed,
    /// No answer in time. The line stays queued.
    TimedOut,
    /// Auditd did not take it.
    Refused(Refusal),
}

impl std::fmt::Display for AppendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("auditd is away, or has not answered yet"),
            Self::TimedOut => f.write_str("auditd did not answer in time"),
            Self::Refused(refusal) => write!(f, "auditd refused it ({refusal:?})"),
        }
    }
}

type Told = Result<Outcome, oneshot::error::RecvError>;

fn outcome(told: Result<Told, tokio::time::error::Elapsed>) -> Result<(), AppendError> {
    match told {
        Ok(Ok(Outcome::Appended { .. })) => Ok(()),
        Ok(Ok(Outcome::Refused(refusal))) => Err(AppendError::Refused(refusal)),
        Ok(Err(_)) | Err(_) => Err(AppendError::TimedOut),
    }
}

/// A line whose answer is still to come.
#[derive(Debug)]
pub(crate) struct Pending(oneshot::Receiver<Outcome>);

/// Whether a request would be let out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It would.
    Open,
    /// Auditd would refuse its line.
    Shut(Refusal),
    /// Auditd is connected, and does not answer.
    Silent,
    /// There is no link, or it has older lines to take first.
    Away,
}

/// Where auditd listens and who it must be.
pub(crate) struct Peer {
    /// Its socket.
    pub(crate) path: PathBuf,
    /// Its user.
    pub(crate) uid: u32,
    /// The link's secret.
    pub(crate) secret: [u8; 32],
}

/// The log, as the proxy sees it. Clones share one queue.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    lines: Mutex<Lines>,
    probe: tokio::sync::Mutex<Option<Pending>>,
    wait: Duration,
}

#[derive(Debug)]
struct Lines {
    queue: Queue<oneshot::Sender<Outcome>>,
    outbound: Option<Outbound>,
    /// The last line that auditd said it took, and when it said so.
    last: Option<(u64, SystemTime)>,
}

impl Record {
    /// The log of the proxy process `inst`; acknowledgements are waited for at most `wait`.
    pub(crate) fn new(inst: [u8; 8], wait: Duration) -> Self {
        let lines = Mutex::new(Lines { queue: Queue::new(inst), outbound: None, last: None });
        Self { shared: Arc::new(Shared { lines, probe: tokio::sync::Mutex::default(), wait }) }
    }

    /// Whether a request would get a number now.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.lock().queue.is_open()
    }

    /// Lines without an answer.
    pub(crate) fn backlog(&self) -> usize {
        self.shared.lock().queue.len()
    }

    /// How long the oldest line without an answer has been waiting for one.
    pub(crate) fn lag(&self) -> Duration {
        self.shared.lock().queue.oldest().map(|since| since.elapsed()).unwrap_or_default()
    }

    /// The sequence number of the last line that auditd said it took, and when it said so.
    pub(crate) fn last(&self) -> Option<(u64, SystemTime)> {
        self.shared.lock().last
    }

    /// Appends the line that lets a request out, and waits until it is as durable as its class
    /// asks.
    ///
    /// # Errors
    ///
    /// [`AppendError`]; the request must not be sent, now or later.
    pub(crate) async fn let_out(
        &self,
        event: impl FnOnce(RequestRef) -> Event,
    ) -> Result<RequestRef, AppendError> {
        let (tell, told) = oneshot::channel();
        let (at, id) = {
            let mut lines = self.shared.lock();
            let (at, line) =
                lines.queue.number(event, Some(tell)).map_err(|_| AppendError::Closed)?;
            let id = line.id;
            lines.send(line);
            (at, id)
        };
        let abandoned = Abandoned { shared: &self.shared, id, at: Some(at), late: false };
        let answer = self.answer(told).await;
        abandoned.ended(answer);
        answer.map(|()| at)
    }

    /// Appends the line of a refused request, which takes a number. Does not wait: nothing leaves
    /// either way. `None` where the link takes no number now; the refusal is then in no line.
    pub(crate) fn refuse(&self, event: impl FnOnce(RequestRef) -> Event) -> Option<RequestRef> {
        let mut lines = self.shared.lock();
        let (at, line) = lines.queue.number(event, None).ok()?;
        lines.send(line);
        Some(at)
    }

    /// Appends a line without a number of its own, and waits for it.
    ///
    /// # Errors
    ///
    /// [`AppendError`]; what the line allows must not happen.
    pub(crate) async fn append(&self, event: Event) -> Result<(), AppendError> {
        let (tell, told) = oneshot::channel();
        let id = {
            let mut lines = self.shared.lock();
            let line = lines.queue.follow(event, Some(tell)).map_err(|_| AppendError::Closed)?;
            let id = line.id;
            lines.send(line);
            id
        };
        let abandoned = Abandoned { shared: &self.shared, id, at: None, late: false };
        let answer = self.answer(told).await;
        abandoned.ended(answer);
        answer
    }

    /// Appends a line without a number of its own. The answer is for whoever wants to know, however
    /// late it comes.
    ///
    /// # Errors
    ///
    /// [`AppendError::Closed`]: nothing was queued.
    pub(crate) fn submit(&self, event: Event) -> Result<Pending, AppendError> {
        let (tell, told) = oneshot::channel();
        let mut lines = self.shared.lock();
        let line = lines.queue.follow(event, Some(tell)).map_err(|_| AppendError::Closed)?;
        lines.send(line);
        Ok(Pending(told))
    }

    /// Waits for the answer to a submitted line, not longer than for any other. [`Pending`] keeps
    /// its place where there is none yet.
    ///
    /// # Errors
    ///
    /// [`AppendError`]; after [`AppendError::TimedOut`] it may still come.
    pub(crate) async fn settle(&self, pending: &mut Pending) -> Result<(), AppendError> {
        outcome(tokio::time::timeout(self.shared.wait, &mut pending.0).await)
    }

    /// Asks auditd whether a request would be let out now, and waits at most `limit`.
    pub(crate) async fn probe(&self, limit: Duration) -> Gate {
        if !self.is_open() {
            return Gate::Away;
        }
        let asked = async {
            // One question at a time: the next one to ask takes over an answer that is late.
            let mut asked = self.shared.probe.lock().await;
            if asked.is_none() {
                *asked = self.submit(Event::Probe).ok();
            }
            let Some(pending) = asked.as_mut() else { return Gate::Away };
            let answer = (&mut pending.0).await;
            *asked = None;
            match answer {
                Ok(Outcome::Appended { .. }) => Gate::Open,
                Ok(Outcome::Refused(refusal)) => Gate::Shut(refusal),
                Err(_) => Gate::Away,
            }
        };
        tokio::time::timeout(limit, asked).await.unwrap_or(Gate::Silent)
    }

    /// Appends a line without a number of its own, without waiting.
    pub(crate) fn note(&self, event: Event) {
        self.shared.note(event);
    }

    async fn answer(&self, told: oneshot::Receiver<Outcome>) -> Result<(), AppendError> {
        outcome(tokio::time::timeout(self.shared.wait, told).await)
    }

    /// Keeps the link up for as long as the process lives.
    pub(crate) async fn keep(self, peer: Peer) {
        let mut silent = false;
        loop {
            match self.session(&peer).await {
                Ok(never) => match never {},
                Err(error) if !silent => {
                    tracing::warn!(link = "append", %error, "link down");
                    silent = true;
                }
                Err(_) => {}
            }
            if self.shared.lost() {
                silent = false;
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn session(&self, peer: &Peer) -> Result<std::convert::Infallible, LinkError> {
        let mut stream = wire::dial(&peer.path, peer.uid).await?;
        tokio::time::timeout(HELLO, wire::connect(&mut stream, LinkName::Append, &peer.secret))
            .await
            .map_err(|_| LinkError::Io(std::io::ErrorKind::TimedOut.into()))??;
        let (reader, writer) = stream.into_split();
        let writer = Arc::new(writer);
        let rest = self.shared.restored(Arc::clone(&writer));
        tracing::info!(link = "append", backlog = self.backlog(), "link up");
        tokio::select! {
            broken = receive(&self.shared, reader) => broken,
            broken = transmit(&self.shared, &writer, rest) => broken,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, event: Event) {
        let mut lines = self.lock();
        let can_wait = matches!(event, Event::Outcome { .. });
        match lines.queue.follow(event, None) {
            Ok(line) if can_wait => lines.hold(line),
            Ok(line) => lines.send(line),
            Err(queue::Closed) => tracing::error!(link = "append", "queue full, line dropped"),
        }
    }

    /// Opens the way out, with everything unanswered in front.
    fn restored(&self, writer: Arc<OwnedWriteHalf>) -> Rest {
        let (late, frames) = mpsc::unbounded_channel();
        let held = Arc::new(Notify::new());
        let mut lines = self.lock();
        let again = lines.queue.restored();
        let rest = Rest { late: frames, held: Arc::clone(&held) };
        lines.outbound =
            Some(Outbound { writer, late, waiting: Arc::default(), riders: Vec::new(), held });
        again.into_iter().for_each(|line| lines.send(line));
        rest
    }

    /// Sends what nothing came to take along.
    fn flush(&self) {
        if let Some(outbound) = &mut self.lock().outbound {
            outbound.send(Vec::new());
        }
    }

    /// Closes the way out. Whether it was open.
    fn lost(&self) -> bool {
        let mut lines = self.lock();
        lines.queue.lost();
        lines.outbound.take().is_some()
    }

    fn answered(&self, reply: &Reply) -> Result<(), LinkError> {
        let settled = {
            let mut lines = self.lock();
            let settled = lines.queue.answered(reply.id, reply.outcome).ok_or_else(unasked)?;
            if let Outcome::Appended { seq: seq @ 1.. } = reply.outcome {
                let last = lines.last.map_or(0, |(last, _)| last);
                lines.last = Some((seq.max(last), SystemTime::now()));
            }
            if let Some(event) = settled.follow_up
                && let Ok(line) = lines.queue.follow(event, None)
            {
                lines.send(line);
            }
            settled.waiter
        };
        if let Outcome::Refused(refusal) = reply.outcome {
            tracing::warn!(link = "append", ?refusal, "auditd refused a line");
        }
        if let Some(waiter) = settled {
            // The one who waited may have gone in this very moment; its guard then sees to it.
            let _ = waiter.send(reply.outcome);
        }
        Ok(())
    }
}

/// The way out to a live link.
///
/// A request waits for its line, so a line is written where it is made whenever the socket takes
/// it: handing it to another task first would cost two thread wake-ups.
#[derive(Debug)]
struct Outbound {
    writer: Arc<OwnedWriteHalf>,
    /// Frames, or what is left of one, that the socket did not take at once.
    late: mpsc::UnboundedSender<Late>,
    /// How many of them are not written yet; nothing may overtake them.
    waiting: Arc<AtomicUsize>,
    /// Frames that nobody waits for: they ride with the next one, so that auditd is woken once for
    /// both.
    riders: Vec<u8>,
    held: Arc<Notify>,
}

/// What a link's own task sends: what the socket did not take, and riders nothing took along.
struct Rest {
    late: mpsc::UnboundedReceiver<Late>,
    held: Arc<Notify>,
}

/// How long a rider waits for company.
const COMPANY: Duration = Duration::from_millis(5);

/// A frame, or the rest of one, for the task that waits for the socket.
#[derive(Debug)]
struct Late {
    frame: Vec<u8>,
    waiting: Arc<AtomicUsize>,
}

impl Outbound {
    fn hold(&mut self, frame: &[u8]) {
        self.riders.extend_from_slice(frame);
        self.held.notify_one();
    }

    fn send(&mut self, frame: Vec<u8>) {
        let mut frame = if self.riders.is_empty() {
            frame
        } else {
            let mut frames = std::mem::take(&mut self.riders);
            frames.extend_from_slice(&frame);
            frames
        };
        if frame.is_empty() {
            return;
        }
        if self.waiting.load(Ordering::Acquire) == 0
            && let Ok(written) = self.writer.try_write(&frame)
        {
            if written == frame.len() {
                return;
            }
            frame.drain(..written);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // A closed channel means the link is just being lost: the line is queued.
        let _ = self.late.send(Late { frame, waiting: Arc::clone(&self.waiting) });
    }
}

impl Lines {
    fn send(&mut self, line: Request) {
        if let (Some(frame), Some(outbound)) = (self.frame(&line), &mut self.outbound) {
            outbound.send(frame);
        }
    }

    /// Sends a line that nobody waits for with the next one, or soon.
    fn hold(&mut self, line: Request) {
        if let (Some(frame), Some(outbound)) = (self.frame(&line), &mut self.outbound) {
            outbound.hold(&frame);
        }
    }

    fn frame(&mut self, line: &Request) -> Option<Vec<u8>> {
        let id = line.id;
        match frame::frame(&codec::encode(line), CAP) {
            Ok(frame) => Some(frame),
            Err(error) => {
                tracing::error!(link = "append", %error, "a line is too large to be sent");
                let refused = Outcome::Refused(Refusal::OutOfGrammar);
                let waiter = self.queue.answered(id, refused).and_then(|settled| settled.waiter);
                if let Some(waiter) = waiter {
                    let _ = waiter.send(refused);
                }
                None
            }
        }
    }
}

fn unasked() -> LinkError {
    LinkError::Io(std::io::Error::other("an answer to no call"))
}

async fn receive(
    shared: &Shared,
    reader: OwnedReadHalf,
) -> Result<std::convert::Infallible, LinkError> {
    let mut reader = tokio::io::BufReader::new(reader);
    loop {
        let reply: Reply = codec::decode(&wire::read_frame(&mut reader, CAP).await?)?;
        shared.answered(&reply)?;
    }
}

async fn transmit(
    shared: &Shared,
    writer: &OwnedWriteHalf,
    Rest { mut late, held }: Rest,
) -> Result<std::convert::Infallible, LinkError> {
    loop {
        tokio::select! {
            rest = late.recv() => write_rest(writer, rest.ok_or(LinkError::Closed)?).await?,
            () = held.notified() => {
                tokio::time::sleep(COMPANY).await;
                shared.flush();
            }
        }
    }
}

async fn write_rest(writer: &OwnedWriteHalf, late: Late) -> Result<(), LinkError> {
    let mut rest = late.frame.as_slice();
    while !rest.is_empty() {
        writer.writable().await?;
        match writer.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    late.waiting.fetch_sub(1, Ordering::Release);
    Ok(())
}

/// Dropped before the answer came, or before anybody looked at it: the waiting was given up.
struct Abandoned<'a> {
    shared: &'a Shared,
    id: u64,
    /// The request this line would have let out.
    at: Option<RequestRef>,
    /// Whether the answer did not come in time; otherwise the client is gone.
    late: bool,
}

impl Abandoned<'_> {
    fn ended(mut self, answer: Result<(), AppendError>) {
        if let Err(AppendError::TimedOut) = answer {
            self.late = true;
        } else {
            std::mem::forget(self);
        }
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        let unanswered = {
            let queue = &mut self.shared.lock().queue;
            if self.late { queue.give_up(self.id) } else { queue.leave(self.id) }
        };
        if let (false, Some(at)) = (unanswered, self.at) {
            self.shared.note(Event::Outcome { at, sent: Sent::None, status: None });
        }
    }
}

#[cfg(test)]
impl Record {
    /// Takes line `id` for acknowledged.
    pub(crate) fn acknowledge_for_tests(&self, id: u64) {
        self.shared.answered(&Reply { id, outcome: Outcome::Appended { seq: id } }).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{UnixListener, UnixStream};

    use super::*;

    fn clean(at: RequestRef) -> Event {
        Event::ScanClean { at, host: "api.openai.com".into(), policy_hash: [1; 32] }
    }

    async fn accept(listener: &UnixListener) -> UnixStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        wire::accept(&mut stream, LinkName::Append, &[5; 32]).await.unwrap();
        stream
    }

    async fn hear(stream: &mut UnixStream) -> Request {
        codec::decode(&wire::read_frame(stream, CAP).await.unwrap()).unwrap()
    }

    async fn acknowledge(stream: &mut UnixStream, id: u64) {
        let reply = Reply { id, outcome: Outcome::Appended { seq: 1 } };
        wire::write_frame(stream, &codec::encode(&reply), CAP).await.unwrap();
    }

    fn start(wait: Duration) -> (tempfile::TempDir, UnixListener, Record) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("append.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let record = Record::new([1; 8], wait);
        let peer = Peer { path, uid: nix::unistd::getuid().as_raw(), secret: [5; 32] };
        tokio::spawn(record.clone().keep(peer));
        (dir, listener, record)
    }

    #[tokio::test]
    async fn refuses_requests_while_auditd_is_away() {
        let record = Record::new([1; 8], Duration::from_secs(5));
        assert_eq!(record.let_out(clean).await, Err(AppendError::Closed));
        assert!(record.refuse(clean).is_none());
        assert_eq!(record.backlog(), 0);
    }

    #[tokio::test]
    async fn a_line_lost_with_the_link_is_sent_again_before_anything_new() {
        let (_dir, listener, record) = start(Duration::from_secs(30));
        let mut first = accept(&listener).await;
        while !record.is_open() {
            tokio::task::yield_now().await;
        }
        let waiting = tokio::spawn({
            let record = record.clone();
            async move { record.let_out(clean).await }
        });
        let lost = hear(&mut first).await;
        drop(first);
        let mut second = accept(&listener).await;
        assert_eq!(hear(&mut second).await, lost);
        assert_eq!(record.let_out(clean).await, Err(AppendError::Closed));
        acknowledge(&mut second, lost.id).await;
        assert_eq!(waiting.await.unwrap().unwrap().req_no, 1);
        assert!(record.is_open());
    }

    #[tokio::test]
    async fn a_client_that_goes_away_while_waiting_leaves_an_outcome_of_nothing_sent() {
        let (_dir, listener, record) = start(Duration::from_secs(30));
        let mut auditd = accept(&listener).await;
        while !record.is_open() {
            tokio::task::yield_now().await;
        }
        let waiting = tokio::spawn({
            let record = record.clone();
            async move { record.let_out(clean).await }
        });
        let line = hear(&mut auditd).await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert!(record.is_open(), "one client's leaving refuses another's request");
        acknowledge(&mut auditd, line.id).await;
        let outcome = hear(&mut auditd).await.event;
        assert!(matches!(outcome, Event::Outcome { sent: Sent::None, status: None, .. }));
    }

    #[tokio::test]
    async fn an_outcome_is_never_overtaken_by_the_line_it_rides_with() {
        let (_dir, listener, record) = start(Duration::from_secs(30));
        let mut auditd = accept(&listener).await;
        while !record.is_open() {
            tokio::task::yield_now().await;
        }
        let at = record.refuse(clean).expect("the link is up");
        record.note(Event::Outcome { at, sent: Sent::All, status: Some(200) });
        assert!(record.refuse(clean).is_some());
        let heard = [hear(&mut auditd).await, hear(&mut auditd).await, hear(&mut auditd).await];
        assert!(matches!(heard[1].event, Event::Outcome { sent: Sent::All, .. }), "{heard:?}");
        assert!(heard.iter().map(|line| line.id).is_sorted(), "{heard:?}");
        // And on its own, when nothing comes along.
        record.note(Event::Outcome { at, sent: Sent::None, status: None });
        assert!(matches!(hear(&mut auditd).await.event, Event::Outcome { sent: Sent::None, .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unacknowledged_request_is_refused_after_the_deadline() {
        let record = Record::new([1; 8], Duration::from_secs(5));
        let (here, _there) = UnixStream::pair().unwrap();
        let _rest = record.shared.restored(Arc::new(here.into_split().1));
        assert_eq!(record.let_out(clean).await, Err(AppendError::TimedOut));
        assert!(!record.is_open());
    }
}
