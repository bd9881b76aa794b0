use std::collections::{BTreeMap, BTreeSet};

use super::report::{Failure, fail, inconclusive};
use crate::evidence::body::{Body, Detokenization, Fingerprint, Manifest, Redaction};
use crate::evidence::line::Line;

/// Most entries of all open sessions together, so that memory stays bounded: some 40 MiB. A log of
/// honest writers stays below; its idle sessions end with a manifest.
const MOST_ENTRIES: usize = 400_000;

type Id = Option<String>;

/// What the lines of sessions come to, to compare with their manifests.
///
/// Lines of a session are summed up from its last manifest on. A manifest must then cover exactly
/// these lines: one that leaves some out, or counts some twice, shows by its range.
#[derive(Debug)]
pub(super) struct Sessions {
    open: BTreeMap<Id, Session>,
    entries: usize,
    most: usize,
    /// Lines up to here may be of sessions that are not held any more.
    forgotten: u64,
    first_seq: u64,
}

#[derive(Debug, Default)]
struct Session {
    /// First and last of its lines since its last manifest.
    lines: Option<(u64, u64)>,
    /// Lines up to here are in an earlier manifest.
    manifested: u64,
    requests: BTreeSet<([u8; 8], u64)>,
    redactions: u64,
    types: BTreeMap<String, u64>,
    unknown: u64,
    policies: BTreeSet<[u8; 32]>,
}

impl Session {
    fn entries(&self) -> usize {
        // A session itself takes about as much memory as three of its entries.
        3 + self.requests.len() + self.types.len() + self.policies.len()
    }
}

/// Whether a manifest could be compared with its lines.
pub(super) enum Compared {
    /// It agrees with them.
    Agrees,
    /// Some of them are not there.
    LinesGone,
}

impl Sessions {
    pub(super) fn new() -> Self {
        let most = MOST_ENTRIES;
        Self { open: BTreeMap::new(), entries: 0, most, forgotten: 0, first_seq: 1 }
    }

    /// The lines before `seq` are not there.
    pub(super) fn begin_at(&mut self, seq: u64) {
        self.first_seq = seq;
    }

    /// Takes a line that counts for a session.
    pub(super) fn take(&mut self, line: &Line) {
        match &line.body {
            Body::Redaction(redaction) => self.redaction(redaction, line.seq),
            Body::Detokenization(restored) => self.detokenization(restored, line.seq),
            _ => {}
        }
    }

    fn redaction(&mut self, redaction: &Redaction, seq: u64) {
        self.update(&redaction.session_id, seq, |session| {
            session.requests.insert((redaction.inst, redaction.req_no));
            session.policies.insert(redaction.policy_hash);
            session.redactions = session.redactions.saturating_add(redaction.redaction_count);
            for redacted in &redaction.redactions {
                let count = session.types.entry(redacted.kind.clone()).or_default();
                *count = count.saturating_add(redacted.count);
            }
        });
    }

    fn detokenization(&mut self, restored: &Detokenization, seq: u64) {
        self.update(&restored.session_id, seq, |session| {
            session.requests.insert((restored.inst, restored.req_no));
            session.policies.insert(restored.policy_hash);
            session.unknown = session.unknown.saturating_add(restored.unknown_placeholders);
        });
    }

    fn update(&mut self, id: &Id, seq: u64, change: impl FnOnce(&mut Session)) {
        let session = self.open.entry(id.clone()).or_default();
        let before =
            if session.lines.is_none() && session.manifested == 0 { 0 } else { session.entries() };
        let first = session.lines.map_or(seq, |(first, _)| first);
        session.lines = Some((first, seq));
        change(session);
        self.entries = self.entries + session.entries() - before;
        self.stay_bounded();
    }

    fn stay_bounded(&mut self) {
        while self.entries > self.most && !self.open.is_empty() {
            self.forget_older_half();
        }
    }

    /// Forgets the half of the sessions whose last lines are the oldest: all at once, so that a log
    /// of ever new sessions costs no search for each.
    fn forget_older_half(&mut self) {
        let last = |session: &Session| session.lines.map_or(session.manifested, |(_, last)| last);
        let mut ends: Vec<u64> = self.open.values().map(last).collect();
        let middle = ends.len() / 2;
        let (_, bound, _) = ends.select_nth_unstable(middle);
        let bound = *bound;
        self.open.retain(|_, session| last(session) > bound);
        self.entries = self.open.values().map(Session::entries).sum();
        self.forgotten = self.forgotten.max(bound);
    }

    /// Compares a manifest at line `seq` with the lines it is about (evidence format 4.7, 4.17.8).
    pub(super) fn manifest(&mut self, manifest: &Manifest, seq: u64) -> Result<Compared, Failure> {
        let (first, last) = manifest.chain_seq_range;
        let outside = |reason: &str| Err(fail("E_MANIFEST_RANGE", seq, reason));
        if last >= seq {
            return outside("the session's range reaches beyond the lines before its manifest");
        }
        if first < self.first_seq {
            self.end(&manifest.session_id, last);
            return Ok(Compared::LinesGone);
        }
        if first <= self.forgotten {
            let reason = format!("too many sessions at once to recompute the totals of line {seq}");
            return Err(inconclusive("E_LIMIT", reason));
        }
        let session = self.open.entry(manifest.session_id.clone()).or_default();
        if first <= session.manifested {
            return outside("the session's range counts lines of an earlier manifest again");
        }
        if session.lines.is_some_and(|(from, to)| from < first || last < to) {
            return outside("the session's range leaves out lines of the session");
        }
        check_totals(manifest, session, seq)?;
        self.end(&manifest.session_id, last);
        Ok(Compared::Agrees)
    }

    /// Begins a session anew after line `last`.
    fn end(&mut self, id: &Id, last: u64) {
        if let Some(ended) = self.open.remove(id)
            && (ended.lines.is_some() || ended.manifested > 0)
        {
            self.entries -= ended.entries();
        }
        let again = Session { manifested: last, ..Session::default() };
        self.entries += again.entries();
        self.open.insert(id.clone(), again);
        self.stay_bounded();
    }
}

fn check_totals(manifest: &Manifest, session: &Session, seq: u64) -> Result<(), Failure> {
    let requests = session.requests.len() as u64;
    let average = session.redactions.saturating_mul(1000).checked_div(requests).unwrap_or(0);
    let fingerprint = Fingerprint {
        avg_redactions_milli: average,
        unknown_placeholder_count: session.unknown,
        request_count: requests,
    };
    let wrong = [
        ("request_count", manifest.request_count != requests),
        ("redaction_total", manifest.redaction_total != session.redactions),
        ("types_seen", manifest.types_seen != session.types),
        ("unknown_placeholder_count", manifest.unknown_placeholder_count != session.unknown),
        ("policy_hashes", !manifest.policy_hashes.iter().eq(&session.policies)),
        ("behavioral_fingerprint", manifest.behavioral_fingerprint != fingerprint),
    ];
    match wrong.iter().find(|(_, wrong)| *wrong) {
        Some((field, _)) => {
            let reason = format!("{field} is not what the session's lines come to");
            Err(fail("E_MANIFEST_COUNT", seq, reason))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::body::EndedBy;
    use crate::evidence::timestamp::Timestamp;

    fn redacted(session: &str, seq: u64) -> (Redaction, u64) {
        let redaction = Redaction {
            host: "h".into(),
            inst: [1; 8],
            req_no: seq,
            request_id: None,
            session_id: Some(session.into()),
            redactions: Vec::new(),
            redaction_count: 0,
            part: (1, 1),
            policy_hash: [9; 32],
            hkey: [8; 8],
        };
        (redaction, seq)
    }

    fn manifest(session: &str, range: (u64, u64)) -> Manifest {
        Manifest {
            session_id: Some(session.into()),
            started_ts: Timestamp::from_ms(0).unwrap(),
            ended_ts: Timestamp::from_ms(0).unwrap(),
            ended_by: EndedBy::Idle,
            request_count: 0,
            redaction_total: 0,
            types_seen: BTreeMap::new(),
            unknown_placeholder_count: 0,
            chain_seq_range: range,
            policy_hashes: Vec::new(),
            behavioral_fingerprint: Fingerprint {
                avg_redactions_milli: 0,
                unknown_placeholder_count: 0,
                request_count: 0,
            },
        }
    }

    /// A log may name any number of sessions; the verifier then says that it cannot tell, and never
    /// that all is well.
    #[test]
    fn forgets_the_oldest_sessions_rather_than_grow_and_says_so() {
        let mut sessions = Sessions { most: 40, ..Sessions::new() };
        for seq in 1..=1000 {
            let (redaction, seq) = redacted(&format!("s{seq}"), seq);
            sessions.redaction(&redaction, seq);
            assert!(sessions.entries <= 40);
            let held: usize = sessions.open.values().map(Session::entries).sum();
            assert_eq!(sessions.entries, held);
        }
        let told = sessions.manifest(&manifest("s1", (1, 1000)), 1001);
        assert_eq!(told.err().map(|failure| failure.code), Some("E_LIMIT"));
        let told = sessions.manifest(&manifest("s1000", (1000, 1000)), 1001);
        assert_eq!(told.err().map(|failure| failure.code), Some("E_MANIFEST_COUNT"));
    }

    /// Manifests alone, each of a session that no line is of, are lines enough to fill memory.
    #[test]
    fn forgets_sessions_that_only_manifests_name() {
        let mut sessions = Sessions { most: 40, ..Sessions::new() };
        for seq in 2..1000 {
            let told = sessions.manifest(&manifest(&format!("s{seq}"), (seq - 1, seq - 1)), seq);
            assert!(matches!(told, Ok(Compared::Agrees)), "{seq}");
            assert!(sessions.entries <= 40 && sessions.open.len() <= 40);
        }
    }

    #[test]
    fn counts_what_it_holds_over_many_manifests() {
        let mut sessions = Sessions::new();
        for seq in (1..300).step_by(2) {
            let (redaction, seq) = redacted("s", seq);
            sessions.redaction(&redaction, seq);
            let mut totals = manifest("s", (seq, seq));
            totals.request_count = 1;
            totals.policy_hashes = vec![[9; 32]];
            totals.behavioral_fingerprint.request_count = 1;
            assert!(matches!(sessions.manifest(&totals, seq + 1), Ok(Compared::Agrees)));
            let held: usize = sessions.open.values().map(Session::entries).sum();
            assert_eq!(sessions.entries, held);
        }
    }
}
