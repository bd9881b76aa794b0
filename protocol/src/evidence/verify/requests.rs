use std::collections::BTreeMap;

use super::recent::Recent;
use super::report::{Failure, fail};
use crate::evidence::hex;

/// Most proxy processes and open holes to keep track of, so that memory stays bounded. A log of
/// honest writers stays far below: one process per proxy start, one hole per line in flight.
const MOST_PROCESSES: usize = 200_000;
const MOST_OPEN: usize = 65_536;

type Inst = [u8; 8];

/// Which request numbers of which proxy processes are accounted for.
///
/// Numbers run 1, 2, 3, … per process and each is accounted for exactly once, by `redaction` (all
/// its parts), `scan_clean`, `block` or a refusal of the kill switch (evidence format 4.2). That
/// makes an event that was never logged visible.
#[derive(Debug)]
pub(super) struct Requests {
    processes: BTreeMap<Inst, Process>,
    open: usize,
    parts: BTreeMap<(Inst, u64), Parts>,
    followers: Recent<(Inst, u64, Follower)>,
    anywhere: bool,
}

/// A line about a request that some other line accounts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Follower {
    Outcome,
    Detokenization { part: u64 },
}

#[derive(Debug)]
struct Process {
    /// Everything below is accounted for.
    next: u64,
    /// Ranges above it: first → (last, line).
    later: BTreeMap<u64, (u64, u64)>,
    /// Highest number that only a follower names.
    mentioned: u64,
}

/// The parts of a redaction that are still to come.
#[derive(Debug)]
struct Parts {
    next: u64,
    total: u64,
    seq: u64,
}

/// What the numbers come to.
pub(super) enum Tally {
    /// Every number is accounted for.
    Complete,
    /// Only the highest numbers of a process are not, as after a power cut.
    TailMissing(String),
}

impl Requests {
    pub(super) fn new() -> Self {
        Self {
            processes: BTreeMap::new(),
            open: 0,
            parts: BTreeMap::new(),
            followers: Recent::new(),
            anywhere: false,
        }
    }

    /// Lets each process begin with any number: the lines that held its first ones are pruned.
    pub(super) fn begin_anywhere(&mut self) {
        self.anywhere = true;
    }

    /// Accounts for the numbers `first..=last` of `inst` by line `seq`.
    pub(super) fn account(
        &mut self,
        inst: Inst,
        first: u64,
        last: u64,
        seq: u64,
    ) -> Result<(), Failure> {
        if first > last {
            return Err(fail("E_SCHEMA", seq, "request numbers run backwards"));
        }
        if self.is_accounted(inst, first, last) || self.has_parts(inst, first, last) {
            return Err(twice(inst, first, last, seq));
        }
        let begin = if self.anywhere { first } else { 1 };
        let process = self.process(inst, begin, seq)?;
        let before = process.later.len();
        process.later.insert(first, (last, seq));
        while let Some(entry) = process.later.first_entry()
            && *entry.key() == process.next
        {
            process.next = entry.remove().0 + 1;
        }
        let after = process.later.len();
        self.open = self.open + after - before;
        if self.open > MOST_OPEN {
            return Err(self
                .gap()
                .unwrap_or_else(|| fail("E_LIMIT", seq, "too many open requests")));
        }
        Ok(())
    }

    /// Takes part `number` of `total` of a redaction; the last one accounts for the request.
    pub(super) fn redaction(
        &mut self,
        inst: Inst,
        req_no: u64,
        (number, total): (u64, u64),
        seq: u64,
    ) -> Result<(), Failure> {
        if self.is_accounted(inst, req_no, req_no) {
            return Err(twice(inst, req_no, req_no, seq));
        }
        let expected = self.parts.get(&(inst, req_no)).map_or((1, total), |p| (p.next, p.total));
        if number < expected.0 {
            return Err(twice(inst, req_no, req_no, seq));
        }
        if (number, total) != expected {
            let reason = format!("inst {} req_no {req_no} lacks a part", hex::encode(&inst));
            return Err(fail("E_REQ_GAP", seq, reason));
        }
        if number == total {
            self.parts.remove(&(inst, req_no));
            return self.account(inst, req_no, req_no, seq);
        }
        self.parts.insert((inst, req_no), Parts { next: number + 1, total, seq });
        if self.parts.len() > MOST_OPEN {
            return Err(fail("E_LIMIT", seq, "too many unfinished requests"));
        }
        Ok(())
    }

    /// Takes a line about a request that is accounted for elsewhere.
    pub(super) fn follow(
        &mut self,
        inst: Inst,
        req_no: u64,
        what: Follower,
        seq: u64,
    ) -> Result<(), Failure> {
        if !self.followers.insert((inst, req_no, what)) {
            return Err(twice(inst, req_no, req_no, seq));
        }
        let begin = if self.anywhere { req_no + 1 } else { 1 };
        let process = self.process(inst, begin, seq)?;
        process.mentioned = process.mentioned.max(req_no);
        Ok(())
    }

    /// What it all comes to, at the end of the log. Parts may be missing at the end of a log that
    /// was interrupted after line `interrupted`, and nowhere else.
    pub(super) fn tally(&self, interrupted: Option<u64>) -> Result<Tally, Failure> {
        if let Some(gap) = self.gap() {
            return Err(gap);
        }
        for ((inst, req_no), parts) in &self.parts {
            if interrupted.is_none_or(|seq| parts.seq > seq) {
                let reason = format!(
                    "inst {} req_no {req_no} ends after part {} of {}",
                    hex::encode(inst),
                    parts.next - 1,
                    parts.total
                );
                return Err(fail("E_REQ_GAP", parts.seq, reason));
            }
        }
        let behind = self.processes.iter().find(|(_, process)| process.mentioned >= process.next);
        let partial = self.parts.keys().next().map(|(inst, _)| inst);
        Ok(match behind.map(|(inst, _)| inst).or(partial) {
            Some(inst) => Tally::TailMissing(format!(
                "the highest request numbers of inst {} are missing",
                hex::encode(inst)
            )),
            None => Tally::Complete,
        })
    }

    /// The hole whose upper edge came first in the log.
    fn gap(&self) -> Option<Failure> {
        let holes = self.processes.iter().filter_map(|(inst, process)| {
            let (first, (_, seq)) = process.later.first_key_value()?;
            Some((*seq, inst, process.next, first - 1))
        });
        let (seq, inst, from, to) = holes.min()?;
        let reason = format!("inst {} lacks req_no {from} to {to}", hex::encode(inst));
        Some(fail("E_REQ_GAP", seq, reason))
    }

    fn process(&mut self, inst: Inst, begin: u64, seq: u64) -> Result<&mut Process, Failure> {
        if self.processes.len() >= MOST_PROCESSES && !self.processes.contains_key(&inst) {
            return Err(fail("E_LIMIT", seq, "too many proxy processes"));
        }
        let fresh = || Process { next: begin, later: BTreeMap::new(), mentioned: 0 };
        Ok(self.processes.entry(inst).or_insert_with(fresh))
    }

    fn is_accounted(&self, inst: Inst, first: u64, last: u64) -> bool {
        self.processes.get(&inst).is_some_and(|process| {
            let below = process.later.range(..=last).next_back();
            first < process.next || below.is_some_and(|(_, (end, _))| *end >= first)
        })
    }

    fn has_parts(&self, inst: Inst, first: u64, last: u64) -> bool {
        self.parts.range((inst, first)..=(inst, last)).next().is_some()
    }
}

fn twice(inst: Inst, first: u64, last: u64, seq: u64) -> Failure {
    let inst = hex::encode(&inst);
    fail("E_DUP_EVENT", seq, format!("inst {inst} req_no {first} to {last} is accounted for twice"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Inst = [1; 8];

    fn code<T>(result: Result<T, Failure>) -> &'static str {
        result.err().map_or("", |failure| failure.code)
    }

    #[test]
    fn takes_numbers_in_any_order_once_a27_a28() {
        let mut requests = Requests::new();
        requests.account(A, 3, 4, 10).unwrap();
        assert_eq!(code(requests.tally(None)), "E_REQ_GAP");
        requests.account(A, 1, 2, 11).unwrap();
        assert!(matches!(requests.tally(None), Ok(Tally::Complete)));
        for (first, last) in [(1, 1), (4, 4), (4, 9), (1, 9)] {
            assert_eq!(code(requests.account(A, first, last, 12)), "E_DUP_EVENT");
        }
        requests.account([2; 8], 1, 1, 13).unwrap();
        assert!(matches!(requests.tally(None), Ok(Tally::Complete)));
    }

    #[test]
    fn names_the_hole_and_the_line_above_it_a27() {
        let mut requests = Requests::new();
        requests.account(A, 1, 1, 5).unwrap();
        requests.account(A, 4, 4, 6).unwrap();
        requests.account(A, 7, 7, 7).unwrap();
        let gap = requests.tally(None).err().unwrap();
        assert_eq!(gap.seq, Some(6));
        assert_eq!(gap.reason, "inst 0101010101010101 lacks req_no 2 to 3");
    }

    #[test]
    fn refuses_a_number_inside_an_open_range_a28() {
        let mut requests = Requests::new();
        requests.account(A, 5, 9, 1).unwrap();
        for (first, last) in [(7, 7), (4, 5), (9, 12), (3, 20)] {
            assert_eq!(code(requests.account(A, first, last, 2)), "E_DUP_EVENT", "{first} {last}");
        }
    }

    #[test]
    fn wants_every_part_once_and_in_order() {
        let mut requests = Requests::new();
        requests.redaction(A, 1, (1, 3), 1).unwrap();
        assert_eq!(code(requests.redaction(A, 1, (1, 3), 2)), "E_DUP_EVENT");
        assert_eq!(code(requests.redaction(A, 1, (3, 3), 2)), "E_REQ_GAP");
        assert_eq!(code(requests.redaction(A, 1, (2, 4), 2)), "E_REQ_GAP");
        assert_eq!(code(requests.account(A, 1, 1, 2)), "E_DUP_EVENT");
        assert_eq!(code(requests.tally(None)), "E_REQ_GAP");
        assert!(matches!(requests.tally(Some(9)), Ok(Tally::TailMissing(_))));
        requests.redaction(A, 1, (2, 3), 2).unwrap();
        requests.redaction(A, 1, (3, 3), 3).unwrap();
        assert!(matches!(requests.tally(None), Ok(Tally::Complete)));
        assert_eq!(code(requests.redaction(A, 1, (1, 3), 4)), "E_DUP_EVENT");
    }

    #[test]
    fn warns_of_numbers_that_only_an_outcome_names() {
        let mut requests = Requests::new();
        requests.follow(A, 1, Follower::Outcome, 1).unwrap();
        assert!(matches!(requests.tally(None), Ok(Tally::TailMissing(_))));
        requests.account(A, 1, 1, 2).unwrap();
        assert!(matches!(requests.tally(None), Ok(Tally::Complete)));
        assert_eq!(code(requests.follow(A, 1, Follower::Outcome, 3)), "E_DUP_EVENT");
        let part = Follower::Detokenization { part: 1 };
        requests.follow(A, 1, part, 4).unwrap();
        assert_eq!(code(requests.follow(A, 1, part, 5)), "E_DUP_EVENT");
    }

    #[test]
    fn holds_a_bounded_number_of_holes_parts_and_processes() {
        let code = |mut take: Box<dyn FnMut(u64) -> Result<(), Failure>>, most: usize| {
            let most = most as u64;
            (1..=most).for_each(|number| take(number).unwrap());
            take(most + 1).err().map(|failure| failure.code)
        };
        let mut holes = Requests::new();
        let hole = move |number: u64| holes.account(A, 2 * number, 2 * number, number);
        assert_eq!(code(Box::new(hole), MOST_OPEN), Some("E_REQ_GAP"));
        let mut parts = Requests::new();
        let part = move |number| parts.redaction(A, number, (1, 2), number);
        assert_eq!(code(Box::new(part), MOST_OPEN), Some("E_LIMIT"));
        let mut processes = Requests::new();
        let process = move |number: u64| processes.account(number.to_be_bytes(), 1, 1, number);
        assert_eq!(code(Box::new(process), MOST_PROCESSES), Some("E_LIMIT"));
    }
}
