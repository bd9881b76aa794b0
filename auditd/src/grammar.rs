//! From an event to the lines it becomes. What the line format itself checks is not checked here.

use protocol::append::{Event, KillSwitchAction, Redaction as Redacted, Refusal, RequestRef};
use protocol::evidence::body::{
    self, Block, Body, Detokenization, KillSwitch, Outcome, PolicyChange, PolicyRefused, Redaction,
};
use protocol::evidence::canonical::MAX_INT;
use protocol::names::HostName;

use crate::policies::Policies;
use crate::seen::{Key, Kind};

/// Most events in one group, and so most clean scans in one range.
pub(crate) const LINES: usize = 512;

/// Bytes that the redactions of one line may take. The line's other fields stay below 2 KiB, and
/// 16 KiB is the most a line may have.
const PART: usize = 14 * 1024 - 512;

/// Bytes of a redaction but for its type and rule, with the largest count.
const FIXED: usize =
    r#"{"count":9007199254740991,"hmac8":"0011223344556677","rule":"","type":""},"#.len();

/// One line to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    /// What makes it unique, where it has a request number.
    pub(crate) key: Option<Key>,
    /// What it says.
    pub(crate) body: Body,
}

impl Draft {
    fn new(body: Body) -> Self {
        Self { key: keys(&body).first().copied(), body }
    }
}

/// Whether the event lets a request out, and so is refused while evidence is in doubt.
pub(crate) fn is_egress(event: &Event) -> bool {
    matches!(event, Event::Redaction { .. } | Event::ScanClean { .. } | Event::Probe)
}

/// Whether the event's lines must be durable before their answer (class D1).
pub(crate) fn must_flush(event: &Event) -> bool {
    matches!(
        event,
        Event::Redaction { .. }
            | Event::PolicyChange { .. }
            | Event::KillSwitch { action: KillSwitchAction::Cleared, .. }
    )
}

/// Whether a checkpoint line follows the event at once.
pub(crate) fn wants_checkpoint(event: &Event) -> bool {
    match event {
        Event::PolicyChange { .. } => true,
        Event::KillSwitch { action, .. } => *action != KillSwitchAction::Refused,
        _ => false,
    }
}

/// Checks what only auditd can: that hosts are in normal form, and that every policy named is one
/// that is stored.
///
/// # Errors
///
/// [`Refusal::OutOfGrammar`].
pub(crate) fn check(event: &Event, policies: &Policies) -> Result<(), Refusal> {
    let host = match event {
        Event::Redaction { host, .. }
        | Event::ScanClean { host, .. }
        | Event::Detokenization { host, .. } => Some(host),
        Event::Block { host, .. } => host.as_ref(),
        _ => None,
    };
    let policy = match event {
        Event::Redaction { policy_hash, .. }
        | Event::ScanClean { policy_hash, .. }
        | Event::Detokenization { policy_hash, .. }
        | Event::PolicyChange { new_policy_hash: policy_hash, .. } => Some(policy_hash),
        Event::Block { policy_hash, .. } => policy_hash.as_ref(),
        _ => None,
    };
    let counted = match event {
        Event::Redaction { redactions, .. } => {
            !redactions.is_empty() && redactions.iter().all(|redaction| redaction.count > 0)
        }
        // Here and not by the line: a range must not take its neighbours down.
        Event::ScanClean { at, .. } => (1..=MAX_INT).contains(&at.req_no),
        _ => true,
    };
    let normal = |host: &String| HostName::normalise(host).is_ok_and(|name| name.as_str() == host);
    if counted && host.is_none_or(normal) && policy.is_none_or(|hash| policies.holds(hash)) {
        Ok(())
    } else {
        Err(Refusal::OutOfGrammar)
    }
}

/// The lines of an event. None for a policy, which is no line, and for clean scans, which merge.
pub(crate) fn drafts(event: Event) -> Vec<Draft> {
    match event {
        Event::Redaction {
            at: RequestRef { inst, req_no },
            host,
            request_id,
            session_id,
            redactions,
            policy_hash,
            hkey,
        } => {
            let template = Redaction {
                host,
                inst,
                req_no,
                request_id,
                session_id,
                redactions: Vec::new(),
                redaction_count: 0,
                part: (1, 1),
                policy_hash,
                hkey,
            };
            parts(&template, redactions)
        }
        event => single(event).map(Draft::new).into_iter().collect(),
    }
}

/// The line of an event that is always one.
fn single(event: Event) -> Option<Body> {
    Some(match event {
        Event::Policy { .. } | Event::Probe | Event::ScanClean { .. } | Event::Redaction { .. } => {
            return None;
        }
        Event::Detokenization {
            at: RequestRef { inst, req_no },
            host,
            request_id,
            session_id,
            detok_count,
            unknown_placeholders,
            stream,
            part,
            policy_hash,
        } => Detokenization {
            host,
            inst,
            req_no,
            request_id,
            session_id,
            detok_count,
            unknown_placeholders,
            stream,
            part: part.into(),
            policy_hash,
        }
        .into(),
        Event::Block { at: RequestRef { inst, req_no }, host, reason, policy_hash } => {
            Block { host, inst, req_no, reason, policy_hash }.into()
        }
        Event::Outcome { at: RequestRef { inst, req_no }, sent, status } => {
            Outcome { inst, req_no, sent, status }.into()
        }
        Event::KillSwitch { action, sources_active, inst, req_no, actor, reason } => {
            KillSwitch { action, sources_active, inst, req_no, actor, reason }.into()
        }
        Event::PolicyChange { old_policy_hash, new_policy_hash, pattern_count, actor } => {
            let pattern_count = pattern_count.into();
            PolicyChange { old_policy_hash, new_policy_hash, pattern_count, actor }.into()
        }
        Event::PolicyRefused { attempted_hash, code } => {
            PolicyRefused { attempted_hash, code }.into()
        }
    })
}

/// What makes the line unique that `body` is, for lines read back from the log. A range of clean
/// scans has one key per request.
pub(crate) fn keys(body: &Body) -> Vec<Key> {
    let at = |inst: [u8; 8], req_no| RequestRef { inst, req_no };
    let one = |inst, req_no, kind, part| vec![Key { at: at(inst, req_no), kind, part }];
    match body {
        Body::Redaction(r) => one(r.inst, r.req_no, Kind::Redaction, r.part.0),
        Body::Detokenization(d) => one(d.inst, d.req_no, Kind::Detokenization, d.part),
        Body::Block(b) => one(b.inst, b.req_no, Kind::Block, 1),
        Body::Outcome(o) => one(o.inst, o.req_no, Kind::Outcome, 1),
        Body::KillSwitch(k) => refused_request(k.action, k.inst, k.req_no).into_iter().collect(),
        Body::ScanClean(clean) => (clean.req_no_first..=clean.req_no_last)
            .take(LINES)
            .map(|req_no| Key { at: at(clean.inst, req_no), kind: Kind::ScanClean, part: 1 })
            .collect(),
        _ => Vec::new(),
    }
}

fn refused_request(
    action: KillSwitchAction,
    inst: Option<[u8; 8]>,
    req_no: Option<u64>,
) -> Option<Key> {
    let at = RequestRef { inst: inst?, req_no: req_no? };
    (action == KillSwitchAction::Refused).then_some(Key { at, kind: Kind::Refused, part: 1 })
}

/// One line per as many redactions as fit. The same event is always cut at the same places, so
/// that a resubmission after a crash finds the parts that are already there.
fn parts(template: &Redaction, redactions: Vec<Redacted>) -> Vec<Draft> {
    let mut groups: Vec<Vec<body::Redacted>> = Vec::new();
    let mut room = 0;
    for Redacted { kind, hmac8, rule, count } in redactions {
        let cost = FIXED + spelled(&kind) + spelled(&rule);
        let redacted = body::Redacted { kind, hmac8, rule, count };
        match groups.last_mut() {
            Some(group) if cost <= room => {
                group.push(redacted);
                room -= cost;
            }
            _ => {
                groups.push(vec![redacted]);
                room = PART.saturating_sub(cost);
            }
        }
    }
    let count = groups.len() as u64;
    let draft = |(number, redactions): (u64, Vec<body::Redacted>)| {
        let redaction_count = redactions.iter().fold(0_u64, |sum, r| sum.saturating_add(r.count));
        let part = (number, count);
        Draft::new(Redaction { redaction_count, redactions, part, ..template.clone() }.into())
    };
    (1..).zip(groups).map(draft).collect()
}

/// Most bytes that `text` takes in a line.
fn spelled(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' => 2,
            0..0x20 => 6,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::log::Chain;
    use crate::storage::model::Model;

    const AT: RequestRef = RequestRef { inst: [1; 8], req_no: 7 };

    fn policies() -> (Policies, [u8; 32]) {
        let mut policies = Policies::default();
        policies.store(&Model::new(), b"{}").unwrap();
        (policies, protocol::evidence::chain::link(b"{}"))
    }

    fn redaction(host: &str, redactions: Vec<Redacted>) -> Event {
        Event::Redaction {
            at: AT,
            host: host.into(),
            request_id: Some("r".repeat(64)),
            session_id: Some("s".repeat(64)),
            redactions,
            policy_hash: policies().1,
            hkey: [3; 8],
        }
    }

    fn redacted(rule: &str) -> Redacted {
        Redacted { kind: "K".repeat(40), hmac8: [2; 8], rule: rule.into(), count: 1 }
    }

    #[test]
    fn refuses_hosts_out_of_normal_form_and_policies_nobody_sent() {
        let (policies, _) = policies();
        let refused = Err(Refusal::OutOfGrammar);
        assert_eq!(check(&redaction("api.example.com", vec![redacted("r")]), &policies), Ok(()));
        for host in ["API.example.com", "api.example.com.", "127.0.0.1", "", "a b", "a:443"] {
            assert_eq!(check(&redaction(host, vec![redacted("r")]), &policies), refused, "{host}");
        }
        let unknown = Event::ScanClean { at: AT, host: "a.b".into(), policy_hash: [9; 32] };
        assert_eq!(check(&unknown, &policies), refused);
        let blank = Event::Block {
            at: AT,
            host: None,
            reason: body::BlockReason::Collision,
            policy_hash: None,
        };
        assert_eq!(check(&blank, &policies), Ok(()));
    }

    #[test]
    fn refuses_a_redaction_of_nothing() {
        let (policies, _) = policies();
        let none = Redacted { count: 0, ..redacted("r") };
        for redactions in [vec![], vec![redacted("r"), none]] {
            let event = redaction("a.example", redactions);
            assert_eq!(check(&event, &policies), Err(Refusal::OutOfGrammar));
        }
    }

    /// The costliest text there is: every byte a control character that takes six.
    #[test]
    fn every_part_fits_a_line_and_none_is_lost() {
        for rule in ["\u{1}".repeat(200), "r".into(), "\"".repeat(200)] {
            let host = format!("{}.{}.example", "a".repeat(63), "b".repeat(63));
            let drafts = drafts(redaction(&host, vec![redacted(&rule); 500]));
            let count = drafts.len() as u64;
            let (mut seen, mut chain) = (0, Chain::new([0; 8]));
            for (number, draft) in (1..).zip(drafts) {
                let Body::Redaction(line) = &draft.body else { panic!("not a redaction") };
                assert_eq!(line.part, (number, count));
                assert_eq!(line.redaction_count, line.redactions.len() as u64);
                assert_eq!(keys(&draft.body), draft.key.into_iter().collect::<Vec<_>>());
                seen += line.redactions.len();
                chain.next(draft.body, Stamp { wall_ms: 0, up_ms: 0 }).unwrap();
            }
            assert_eq!(seen, 500);
            assert!(count > 1);
        }
    }

    #[test]
    fn only_what_crosses_a_boundary_is_flushed_first() {
        let switch = |action| Event::KillSwitch {
            action,
            sources_active: vec![],
            inst: None,
            req_no: None,
            actor: None,
            reason: None,
        };
        assert!(must_flush(&switch(KillSwitchAction::Cleared)));
        assert!(!must_flush(&switch(KillSwitchAction::Armed)));
        assert!(wants_checkpoint(&switch(KillSwitchAction::Armed)));
        assert!(!wants_checkpoint(&switch(KillSwitchAction::Refused)));
        assert!(must_flush(&redaction("a.b", vec![])) && is_egress(&redaction("a.b", vec![])));
    }
}
