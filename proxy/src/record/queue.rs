//! Which lines are on their way, and which request number is next. No socket; the time is noted, and
//! nothing depends on it.
//!
//! A number is taken only when a line is submitted on a live link. Lines without an answer stay
//! queued and go out again, in order, before anything new; until then requests are refused
//! without number or line, so that no number is ever left unaccounted for.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use protocol::append::{Event, Outcome, Request, RequestRef, Sent};

/// Lines that may wait for their answer at once. Far above what 1024 connections can have in
/// flight, and a bound on memory while auditd is away in mid-stream.
const DEPTH: usize = 16 * 1024;

/// Why nothing was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

/// The lines without an answer, in the order of submission. `W` is told what became of a line.
#[derive(Debug)]
pub(crate) struct Queue<W> {
    inst: [u8; 8],
    waiting: VecDeque<Waiting<W>>,
    live: bool,
    /// Calls up to this one must be answered before a request may take a number again.
    barrier: u64,
    next_id: u64,
    next_number: u64,
    /// Numbers whose only line auditd refused: taken, and in no line.
    freed: BTreeSet<u64>,
}

#[derive(Debug)]
struct Waiting<W> {
    request: Request,
    /// `None` once nobody waits any more.
    waiter: Option<W>,
    overdue: bool,
    since: Instant,
}

/// What an answer means for the one who waits, and for the queue.
#[derive(Debug)]
pub(crate) struct Settled<W> {
    /// Whom to tell, if anybody still waits.
    pub(crate) waiter: Option<W>,
    /// A line that now has to follow: the request it let through was given up meanwhile.
    pub(crate) follow_up: Option<Event>,
}

impl<W> Queue<W> {
    /// An empty queue of the process `inst`, not yet live.
    pub(crate) fn new(inst: [u8; 8]) -> Self {
        Self {
            inst,
            waiting: VecDeque::new(),
            live: false,
            barrier: 0,
            next_id: 1,
            next_number: 1,
            freed: BTreeSet::new(),
        }
    }

    /// Whether a request may take a number now.
    pub(crate) fn is_open(&self) -> bool {
        let cleared = self.waiting.front().is_none_or(|first| first.request.id > self.barrier);
        self.live && cleared && self.waiting.len() < DEPTH
    }

    /// Since when the oldest line without an answer waits for one.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.waiting.front().map(|line| line.since)
    }

    /// How many lines have no answer yet.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the next number for a request and queues the line that accounts for it.
    ///
    /// # Errors
    ///
    /// [`Closed`] while the link is down or older lines are unanswered; no number was taken.
    pub(crate) fn number(
        &mut self,
        event: impl FnOnce(RequestRef) -> Event,
        waiter: Option<W>,
    ) -> Result<(RequestRef, Request), Closed> {
        if !self.is_open() {
            return Err(Closed);
        }
        let req_no = self.freed.pop_first().unwrap_or_else(|| {
            self.next_number += 1;
            self.next_number - 1
        });
        let at = RequestRef { inst: self.inst, req_no };
        Ok((at, self.push(event(at), waiter)))
    }

    /// Queues a line that takes no number. It goes out when it can, after all before it.
    ///
    /// # Errors
    ///
    /// [`Closed`] when too many lines wait already.
    pub(crate) fn follow(&mut self, event: Event, waiter: Option<W>) -> Result<Request, Closed> {
        if self.waiting.len() >= DEPTH {
            return Err(Closed);
        }
        Ok(self.push(event, waiter))
    }

    fn push(&mut self, event: Event, waiter: Option<W>) -> Request {
        let request = Request { id: self.next_id, event };
        self.next_id += 1;
        let since = Instant::now();
        self.waiting.push_back(Waiting { request: request.clone(), waiter, overdue: false, since });
        request
    }

    /// The answer to call `id`. `None` for a call that is not waiting: the peer is confused.
    pub(crate) fn answered(&mut self, id: u64, outcome: Outcome) -> Option<Settled<W>> {
        let position = self.waiting.binary_search_by_key(&id, |w| w.request.id).ok()?;
        let line = self.waiting.remove(position)?;
        let let_through = match &line.request.event {
            Event::Redaction { at, .. } | Event::ScanClean { at, .. } => Some(*at),
            _ => None,
        };
        let follow_up = match (outcome, let_through) {
            (Outcome::Appended { .. }, Some(at)) if line.overdue => {
                Some(Event::Outcome { at, sent: Sent::None, status: None })
            }
            _ => None,
        };
        if let (Outcome::Refused(_), Some(number)) = (outcome, numbered(&line.request.event)) {
            self.freed.insert(number);
        }
        Some(Settled { waiter: line.waiter, follow_up })
    }

    /// The one who waits for call `id` has given up, because the answer is late: nothing new takes a
    /// number before it came. Whether the call was still unanswered.
    pub(crate) fn give_up(&mut self, id: u64) -> bool {
        let unanswered = self.leave(id);
        if unanswered {
            self.barrier = self.barrier.max(id);
        }
        unanswered
    }

    /// The one who waits for call `id` is gone, as clients go: that says nothing about the log, and
    /// is nobody else's concern. Whether the call was still unanswered.
    pub(crate) fn leave(&mut self, id: u64) -> bool {
        let Ok(position) = self.waiting.binary_search_by_key(&id, |w| w.request.id) else {
            return false;
        };
        let line = &mut self.waiting[position];
        line.waiter = None;
        line.overdue = true;
        true
    }

    /// The link is gone; what is queued stays.
    pub(crate) fn lost(&mut self) {
        self.live = false;
    }

    /// A link is up: everything that has to go out again, in order, before anything new.
    pub(crate) fn restored(&mut self) -> Vec<Request> {
        self.live = true;
        self.barrier = self.next_id - 1;
        self.waiting.iter().map(|line| line.request.clone()).collect()
    }
}

/// The number that `event` accounts for, if it is one of the four that do (evidence 4.2).
fn numbered(event: &Event) -> Option<u64> {
    match event {
        Event::Redaction { at, .. } | Event::ScanClean { at, .. } | Event::Block { at, .. } => {
            Some(at.req_no)
        }
        Event::KillSwitch { req_no, .. } => *req_no,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use protocol::append::Refusal;

    use super::*;

    fn clean(at: RequestRef) -> Event {
        Event::ScanClean { at, host: "api.anthropic.com".into(), policy_hash: [1; 32] }
    }

    fn live() -> Queue<u32> {
        let mut queue = Queue::new([7; 8]);
        queue.restored();
        queue
    }

    const APPENDED: Outcome = Outcome::Appended { seq: 9 };

    #[test]
    fn takes_no_number_before_the_link_is_live() {
        let mut queue = Queue::<u32>::new([7; 8]);
        assert_eq!(queue.number(clean, None), Err(Closed));
        queue.restored();
        assert_eq!(queue.number(clean, None).unwrap().0.req_no, 1);
    }

    #[test]
    fn numbers_run_without_a_hole_while_lines_are_pipelined() {
        let mut queue = live();
        let numbers: Vec<u64> =
            (0..5).map(|_| queue.number(clean, None).unwrap().0.req_no).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn unanswered_lines_go_out_again_in_order_before_anything_new() {
        let mut queue = live();
        let first = queue.number(clean, Some(1)).unwrap().1;
        let second = queue.number(clean, Some(2)).unwrap().1;
        queue.lost();
        assert_eq!(queue.number(clean, None), Err(Closed));
        assert_eq!(queue.restored(), [first.clone(), second.clone()]);
        assert_eq!(queue.number(clean, None), Err(Closed));
        assert_eq!(queue.answered(first.id, APPENDED).unwrap().waiter, Some(1));
        assert!(!queue.is_open());
        assert_eq!(queue.answered(second.id, APPENDED).unwrap().waiter, Some(2));
        assert_eq!(queue.number(clean, None).unwrap().0.req_no, 3);
    }

    #[test]
    fn a_request_given_up_meanwhile_is_recorded_as_not_sent() {
        let mut queue = live();
        let (at, line) = queue.number(clean, Some(1)).unwrap();
        assert!(queue.give_up(line.id));
        assert!(!queue.is_open());
        let settled = queue.answered(line.id, APPENDED).unwrap();
        assert_eq!(settled.waiter, None);
        let expected = Event::Outcome { at, sent: Sent::None, status: None };
        assert_eq!(settled.follow_up, Some(expected));
        assert!(queue.is_open());
    }

    #[test]
    fn a_client_that_leaves_shuts_nobody_out() {
        let mut queue = live();
        let (at, line) = queue.number(clean, Some(1)).unwrap();
        assert!(queue.leave(line.id));
        assert_eq!(queue.number(clean, Some(2)).unwrap().0.req_no, 2);
        let expected = Event::Outcome { at, sent: Sent::None, status: None };
        assert_eq!(queue.answered(line.id, APPENDED).unwrap().follow_up, Some(expected));
    }

    #[test]
    fn giving_up_after_the_answer_changes_nothing() {
        let mut queue = live();
        let line = queue.number(clean, Some(1)).unwrap().1;
        queue.answered(line.id, APPENDED).unwrap();
        assert!(!queue.give_up(line.id));
        assert!(queue.is_open());
    }

    #[test]
    fn a_number_whose_line_was_refused_is_taken_by_the_next_request() {
        let mut queue = live();
        let (first, line) = queue.number(clean, Some(1)).unwrap();
        queue.number(clean, Some(2)).unwrap();
        queue.answered(line.id, Outcome::Refused(Refusal::UnsignedTail)).unwrap();
        assert_eq!(queue.number(clean, None).unwrap().0.req_no, first.req_no);
        assert_eq!(queue.number(clean, None).unwrap().0.req_no, 3);
    }

    #[test]
    fn an_answer_nobody_asked_for_is_noticed() {
        assert!(live().answered(4, APPENDED).is_none());
    }

    #[test]
    fn lines_of_running_exchanges_queue_while_the_link_is_down() {
        let mut queue = live();
        let at = queue.number(clean, None).unwrap().0;
        queue.lost();
        let outcome = Event::Outcome { at, sent: Sent::All, status: Some(200) };
        let line = queue.follow(outcome, None).unwrap();
        assert_eq!(queue.restored().last(), Some(&line));
    }
}
