//! One commit group: events in, lines staged, one outcome per event.

use protocol::append::{Event, Outcome, Refusal, RequestRef};
use protocol::evidence::body::ScanClean;
use protocol::evidence::line::Unwritable;

use crate::clock::Stamp;
use crate::failure::Failure;
use crate::grammar::{self, Draft};
use crate::log::{Log, Unstaged};
use crate::policies::Policies;
use crate::schedule::Gate;
use crate::seen::{Key, Kind, Seen};
use crate::storage::Storage;

/// Why something is not taken at the moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stance {
    /// By the signatures.
    pub(crate) gate: Gate,
    /// By the disk, for what lets requests out.
    pub(crate) disk_shut: bool,
    /// By the disk, for everything.
    pub(crate) disk_full: bool,
}

impl Stance {
    fn refusal(self, event: &Event) -> Option<Refusal> {
        let egress = grammar::is_egress(event);
        let line = !matches!(event, Event::Policy { .. });
        // A policy is the largest thing to store, and of use only to requests.
        if self.disk_full || (self.disk_shut && (egress || !line)) {
            return Some(Refusal::DiskFull);
        }
        let shut = match self.gate {
            Gate::Open => false,
            Gate::NoEgress => egress,
            Gate::StructuralOnly => line,
        };
        shut.then_some(Refusal::UnsignedTail)
    }
}

/// The log with what decides about events.
#[derive(Debug)]
pub(crate) struct Ledger<S: Storage> {
    /// Where lines go.
    pub(crate) log: Log<S>,
    /// Events that are lines already.
    pub(crate) seen: Seen,
    /// Policies that lines may name.
    pub(crate) policies: Policies,
}

/// The group being put together. `T` is whatever finds the asker of an outcome again.
#[derive(Debug)]
pub(crate) struct Group<T> {
    /// Who gets which answer.
    pub(crate) outcomes: Vec<(T, Outcome)>,
    /// Whether a line must be durable before the answers.
    pub(crate) must_flush: bool,
    /// Whether a checkpoint line follows at once.
    pub(crate) wants_checkpoint: bool,
    clean: Option<CleanRange>,
}

/// Neighbouring clean scans on their way to being one line.
#[derive(Debug)]
struct CleanRange {
    line: ScanClean,
    /// Place of the first one's outcome; those of the others follow.
    first: usize,
}

impl CleanRange {
    fn takes(&self, at: RequestRef, host: &str, policy_hash: [u8; 32]) -> bool {
        self.line.inst == at.inst
            && self.line.req_no_last.checked_add(1) == Some(at.req_no)
            && self.line.host == host
            && self.line.policy_hash == policy_hash
    }
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { outcomes: Vec::new(), must_flush: false, wants_checkpoint: false, clean: None }
    }
}

impl<S: Storage> Ledger<S> {
    /// Takes an event into the group.
    ///
    /// # Errors
    ///
    /// When auditd itself cannot make a line; the log must not be used any more.
    pub(crate) fn take<T>(
        &mut self,
        storage: &S,
        group: &mut Group<T>,
        asker: T,
        event: Event,
        stance: Stance,
        now: Stamp,
    ) -> Result<(), Failure> {
        if let Event::ScanClean { at, host, policy_hash } = &event
            && let Some(range) = &mut group.clean
            && range.takes(*at, host, *policy_hash)
            && !self.is_known(*at)
        {
            range.line.req_no_last = at.req_no;
            group.outcomes.push((asker, Outcome::Appended { seq: 0 }));
            return Ok(());
        }
        self.close_range(group, now)?;
        let outcome = self.judge(storage, group, event, stance, now)?;
        group.outcomes.push((asker, outcome));
        Ok(())
    }

    /// Stages the last range, and so fills in the last outcomes.
    ///
    /// # Errors
    ///
    /// As [`Self::take`].
    pub(crate) fn close_range<T>(
        &mut self,
        group: &mut Group<T>,
        now: Stamp,
    ) -> Result<(), Failure> {
        let Some(CleanRange { line, first }) = group.clean.take() else { return Ok(()) };
        let numbers = line.req_no_first..=line.req_no_last;
        let inst = line.inst;
        let outcome = match self.log.stage([line.into()], now) {
            Ok(seq) => {
                for req_no in numbers {
                    self.seen.insert(clean_key(RequestRef { inst, req_no }), seq);
                }
                Outcome::Appended { seq }
            }
            Err(Unstaged::Grammar(error)) => out_of_grammar(error),
            Err(Unstaged::Environment) => return Err(Failure::Poisoned),
        };
        group.outcomes[first..].iter_mut().for_each(|(_, answer)| *answer = outcome);
        Ok(())
    }

    fn judge<T>(
        &mut self,
        storage: &S,
        group: &mut Group<T>,
        event: Event,
        stance: Stance,
        now: Stamp,
    ) -> Result<Outcome, Failure> {
        if let Err(refusal) = grammar::check(&event, &self.policies) {
            return Ok(Outcome::Refused(refusal));
        }
        let refusal = stance.refusal(&event);
        let (flush, checkpoint) = (grammar::must_flush(&event), grammar::wants_checkpoint(&event));
        match event {
            Event::Policy { canonical } => Ok(match refusal {
                Some(refusal) => Outcome::Refused(refusal),
                None => self.keep(storage, &canonical),
            }),
            Event::Probe => Ok(refusal.map_or(Outcome::Appended { seq: 0 }, Outcome::Refused)),
            Event::ScanClean { at, host, policy_hash } => {
                let known = self.known(&clean_key(at));
                if let Some(outcome) = known.or(refusal.map(Outcome::Refused)) {
                    return Ok(outcome);
                }
                let line = ScanClean {
                    host,
                    inst: at.inst,
                    req_no_first: at.req_no,
                    req_no_last: at.req_no,
                    policy_hash,
                };
                group.clean = Some(CleanRange { line, first: group.outcomes.len() });
                Ok(Outcome::Appended { seq: 0 })
            }
            event => {
                let outcome = self.append(grammar::drafts(event), refusal, now)?;
                if matches!(outcome, Outcome::Appended { .. }) {
                    group.must_flush |= flush;
                    group.wants_checkpoint |= checkpoint;
                }
                Ok(outcome)
            }
        }
    }

    /// Stages the lines of one event that are not in the log yet.
    fn append(
        &mut self,
        mut drafts: Vec<Draft>,
        refusal: Option<Refusal>,
        now: Stamp,
    ) -> Result<Outcome, Failure> {
        let mut last = 0;
        let mut contradiction = None;
        drafts.retain(|draft| match draft.key.and_then(|key| self.known(&key)) {
            Some(Outcome::Appended { seq }) => {
                last = seq;
                false
            }
            other => {
                contradiction = contradiction.or(other);
                true
            }
        });
        if drafts.is_empty() {
            return Ok(Outcome::Appended { seq: last });
        }
        if let Some(outcome) = contradiction.or(refusal.map(Outcome::Refused)) {
            return Ok(outcome);
        }
        let keys: Vec<Option<Key>> = drafts.iter().map(|draft| draft.key).collect();
        match self.log.stage(drafts.into_iter().map(|draft| draft.body), now) {
            Ok(first) => {
                for (seq, key) in (first..).zip(keys) {
                    key.into_iter().for_each(|key| self.seen.insert(key, seq));
                }
                Ok(Outcome::Appended { seq: self.log.size() })
            }
            Err(Unstaged::Grammar(error)) => Ok(out_of_grammar(error)),
            Err(Unstaged::Environment) => Err(Failure::Poisoned),
        }
    }

    /// What is to be said about a line that is there already, or that another one rules out.
    fn known(&self, key: &Key) -> Option<Outcome> {
        match self.seen.get(key) {
            Some(seq) => Some(Outcome::Appended { seq }),
            None if self.seen.contradicts(key) => Some(Outcome::Refused(Refusal::OutOfGrammar)),
            None => None,
        }
    }

    fn is_known(&self, at: RequestRef) -> bool {
        self.known(&clean_key(at)).is_some()
    }

    fn keep(&mut self, storage: &S, canonical: &[u8]) -> Outcome {
        match self.policies.store(storage, canonical) {
            Ok(()) => Outcome::Appended { seq: 0 },
            Err(error) => {
                tracing::error!(%error, "policy not stored");
                Outcome::Refused(Refusal::DiskFull)
            }
        }
    }
}

/// Says which field, never what is in it.
fn out_of_grammar(error: Unwritable) -> Outcome {
    tracing::warn!(%error, "event refused");
    Outcome::Refused(Refusal::OutOfGrammar)
}

fn clean_key(at: RequestRef) -> Key {
    Key { at, kind: Kind::ScanClean, part: 1 }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::append::{Redaction, Sent};
    use protocol::evidence::body::Body;
    use protocol::evidence::{chain, line};

    use super::*;
    use crate::log::Chain;
    use crate::storage::model::Model;

    const NOW: Stamp = Stamp { wall_ms: 1_700_000_000_000, up_ms: 5 };
    const OPEN: Stance = Stance { gate: Gate::Open, disk_shut: false, disk_full: false };

    struct Bench {
        model: Model,
        ledger: Ledger<Model>,
    }

    impl Bench {
        fn new() -> Self {
            let model = Model::new();
            let file = Arc::new(model.create("proxy.jsonl").unwrap());
            let log = Log::new(file, Chain::new([1; 8]), 0);
            let (seen, policies) = (Seen::default(), Policies::default());
            let mut bench = Self { model, ledger: Ledger { log, seen, policies } };
            bench.commit(OPEN, [Event::Policy { canonical: b"{}".to_vec() }]);
            bench
        }

        fn commit<const N: usize>(&mut self, stance: Stance, events: [Event; N]) -> [Outcome; N] {
            let mut group = Group::default();
            for (asker, event) in events.into_iter().enumerate() {
                self.ledger.take(&self.model, &mut group, asker, event, stance, NOW).unwrap();
            }
            self.ledger.close_range(&mut group, NOW).unwrap();
            self.ledger.log.write().unwrap();
            let (askers, outcomes): (Vec<_>, Vec<_>) = group.outcomes.into_iter().unzip();
            assert_eq!(askers, (0..N).collect::<Vec<_>>());
            outcomes.try_into().unwrap()
        }

        fn lines(&self) -> Vec<Body> {
            let bytes = self.model.files().remove("proxy.jsonl").unwrap();
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines.map(|line| line::parse(line).unwrap().body).collect()
        }
    }

    fn at(req_no: u64) -> RequestRef {
        RequestRef { inst: [7; 8], req_no }
    }

    fn clean(req_no: u64, host: &str) -> Event {
        let policy_hash = chain::link(b"{}");
        Event::ScanClean { at: at(req_no), host: host.into(), policy_hash }
    }

    fn redaction(req_no: u64, many: usize) -> Event {
        let one = Redaction { kind: "K".into(), hmac8: [2; 8], rule: "r".into(), count: 1 };
        Event::Redaction {
            at: at(req_no),
            host: "a.example".into(),
            request_id: None,
            session_id: None,
            redactions: vec![one; many],
            policy_hash: chain::link(b"{}"),
            hkey: [3; 8],
        }
    }

    fn outcome(req_no: u64) -> Event {
        Event::Outcome { at: at(req_no), sent: Sent::None, status: None }
    }

    const fn appended(seq: u64) -> Outcome {
        Outcome::Appended { seq }
    }

    const OUT_OF_GRAMMAR: Outcome = Outcome::Refused(Refusal::OutOfGrammar);

    #[test]
    fn neighbouring_clean_scans_become_one_line() {
        let mut bench = Bench::new();
        let (a, b) = ("a.example", "b.example");
        let events = [clean(1, a), clean(2, a), clean(3, b), clean(5, b), outcome(1), clean(6, b)];
        let outcomes = bench.commit(OPEN, events);
        assert_eq!(outcomes, [1, 1, 2, 3, 4, 5].map(appended));
        let Body::ScanClean(range) = &bench.lines()[0] else { panic!("not a range") };
        assert_eq!((range.req_no_first, range.req_no_last), (1, 2));
        assert_eq!(bench.lines().len(), 5);
    }

    #[test]
    fn a_resubmission_is_answered_and_not_appended_f18() {
        let mut bench = Bench::new();
        let events = || [clean(1, "a.example"), clean(2, "a.example"), redaction(3, 1), outcome(3)];
        assert_eq!(bench.commit(OPEN, events()), [1, 1, 2, 3].map(appended));
        assert_eq!(bench.commit(OPEN, events()), [1, 1, 2, 3].map(appended));
        assert_eq!(bench.lines().len(), 3);
        let doubled =
            [redaction(4, 1), redaction(4, 1), clean(5, "a.example"), clean(5, "a.example")];
        assert_eq!(bench.commit(OPEN, doubled), [4, 4, 5, 5].map(appended));
        assert_eq!(bench.lines().len(), 5);
    }

    #[test]
    fn a_half_written_redaction_is_completed_by_its_resubmission() {
        let mut bench = Bench::new();
        let [Outcome::Appended { seq: parts }] = bench.commit(OPEN, [redaction(1, 500)]) else {
            panic!("refused");
        };
        assert!(parts > 1);
        let mut other = Bench::new();
        let first = Key { at: at(1), kind: Kind::Redaction, part: 1 };
        other.ledger.seen.insert(first, 1);
        let half = other.commit(OPEN, [redaction(1, 500)]);
        assert_eq!(half, [appended(parts - 1)]);
    }

    #[test]
    fn a_request_has_one_disposition() {
        let mut bench = Bench::new();
        bench.commit(OPEN, [clean(1, "a.example"), redaction(2, 1)]);
        assert_eq!(
            bench.commit(OPEN, [redaction(1, 1), clean(2, "a.example"), clean(3, "a.example")]),
            [OUT_OF_GRAMMAR, OUT_OF_GRAMMAR, appended(3)]
        );
    }

    #[test]
    fn a_refused_event_leaves_no_line_and_a_known_one_is_not_refused() {
        let mut bench = Bench::new();
        bench.commit(OPEN, [redaction(1, 1)]);
        let unsigned = Outcome::Refused(Refusal::UnsignedTail);
        let full = Outcome::Refused(Refusal::DiskFull);
        let stance = Stance { gate: Gate::NoEgress, ..OPEN };
        assert_eq!(
            bench.commit(stance, [redaction(1, 1), redaction(2, 1), clean(3, "a.b"), outcome(1)]),
            [appended(1), unsigned, unsigned, appended(2)]
        );
        assert_eq!(bench.commit(stance, [Event::Probe]), [unsigned]);
        assert_eq!(bench.commit(OPEN, [Event::Probe]), [appended(0)]);
        let stance = Stance { gate: Gate::StructuralOnly, ..OPEN };
        let policy = || Event::Policy { canonical: b"{}".to_vec() };
        assert_eq!(bench.commit(stance, [outcome(9), policy()]), [unsigned, appended(0)]);
        let stance = Stance { disk_shut: true, ..OPEN };
        assert_eq!(
            bench.commit(stance, [clean(3, "a.b"), outcome(9), policy(), Event::Probe]),
            [full, appended(3), full, full]
        );
        let stance = Stance { disk_full: true, ..stance };
        assert_eq!(bench.commit(stance, [outcome(10), policy()]), [full, full]);
        assert_eq!(bench.lines().len(), 3);
    }

    #[test]
    fn a_number_outside_the_grammar_does_not_take_its_neighbour_down() {
        let mut bench = Bench::new();
        let outcomes = bench.commit(OPEN, [clean(0, "a.b"), clean(1, "a.b")]);
        assert_eq!(outcomes, [OUT_OF_GRAMMAR, appended(1)]);
    }
}
