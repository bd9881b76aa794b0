//! Proxy → auditd: what happened, as typed fields. Auditd alone decides sequence, time and bytes.
//!
//! Calls are pipelined: the proxy may have many outstanding, auditd answers each by its `id`, in
//! the order they became as durable as their class asks (D1 flushed, D2 written).

use serde::{Deserialize, Serialize};

pub use crate::evidence::body::{BlockReason, KillSwitchAction, Sent};

/// Cap of one frame, in bytes. The policy's canonical bytes are the largest message.
pub const CAP: usize = 1024 * 1024;

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The caller's number for this call; the answer repeats it.
    pub id: u64,
    /// What to append.
    pub event: Event,
}

/// What may be appended. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The canonical bytes of an effective policy, kept as `policy/<sha256>.json` before any line
    /// may name its hash. Not a line of its own.
    Policy {
        /// What `policy_hash` hashes.
        canonical: Vec<u8>,
    },
    /// Secrets of one request became placeholders. D1. Auditd splits it into parts where a line
    /// would exceed 16 KiB.
    Redaction {
        /// The request.
        at: RequestRef,
        /// Upstream host.
        host: String,
        /// `x-request-id`, already checked or replaced.
        request_id: Option<String>,
        /// `x-claude-code-session-id`, already checked or replaced.
        session_id: Option<String>,
        /// What was replaced, by kind.
        redactions: Vec<Redaction>,
        /// Policy in force.
        policy_hash: [u8; 32],
        /// Random label of the session key's epoch.
        hkey: [u8; 8],
    },
    /// One request held nothing to replace. D2; neighbours merge into ranges.
    ScanClean {
        /// The request.
        at: RequestRef,
        /// Upstream host.
        host: String,
        /// Policy in force.
        policy_hash: [u8; 32],
    },
    /// Placeholders of a response became secrets again. D2, appended before release.
    Detokenization {
        /// The request being answered.
        at: RequestRef,
        /// Upstream host.
        host: String,
        /// As for [`Event::Redaction`].
        request_id: Option<String>,
        /// As for [`Event::Redaction`].
        session_id: Option<String>,
        /// Placeholders restored in this group.
        detok_count: u64,
        /// Placeholder-shaped texts that were not ours to restore, in this group.
        unknown_placeholders: u64,
        /// Whether the response is a stream.
        stream: bool,
        /// 1, 2, 3, … per request.
        part: u32,
        /// Policy in force when the request was scanned.
        policy_hash: [u8; 32],
    },
    /// A request was refused. D2.
    Block {
        /// The request.
        at: RequestRef,
        /// Upstream host, where it is known.
        host: Option<String>,
        /// Closed list.
        reason: BlockReason,
        /// Policy in force, where there is one.
        policy_hash: Option<[u8; 32]>,
    },
    /// What became of a request that was let through. D2.
    Outcome {
        /// The request.
        at: RequestRef,
        /// How much of it left.
        sent: Sent,
        /// The upstream's status, where it answered.
        status: Option<u16>,
    },
    /// The kill switch moved, or refused a request.
    KillSwitch {
        /// What happened. `Armed` D2, `Cleared` D1, `Refused` D2.
        action: KillSwitchAction,
        /// Sources active after it: `config`, `sigusr1`, `sentinel`, `http`, in this order.
        sources_active: Vec<String>,
        /// Proxy process, for `Refused` with the request.
        inst: Option<[u8; 8]>,
        /// Request, for `Refused`.
        req_no: Option<u64>,
        /// Who moved it: `uid:1000`, `signal`, `file`, `config`.
        actor: Option<String>,
        /// Why, in the operator's words. At most 200 bytes.
        reason: Option<String>,
    },
    /// The effective policy is about to change. D1, before the new set is used.
    PolicyChange {
        /// The set until now; `None` for a process's first.
        old_policy_hash: Option<[u8; 32]>,
        /// The set from now on; its bytes came as [`Event::Policy`] before.
        new_policy_hash: [u8; 32],
        /// Patterns in the new set.
        pattern_count: u32,
        /// Who changed it.
        actor: String,
    },
    /// A policy was offered and refused; the old one stays. D2.
    PolicyRefused {
        /// Hash of what was offered, where it could be computed.
        attempted_hash: Option<[u8; 32]>,
        /// Stable code of the reason.
        code: String,
    },
    /// Would a request be let out now? Answered as one that asks to be, and no line.
    Probe,
}

/// One request of one proxy process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestRef {
    /// Random per proxy process.
    pub inst: [u8; 8],
    /// 1, 2, 3, … in the order of submission.
    pub req_no: u64,
}

/// How often one value was replaced under one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redaction {
    /// Pattern type, `[A-Z0-9_]{1,40}`.
    pub kind: String,
    /// First eight bytes of HMAC-SHA-256(session key, plaintext).
    pub hmac8: [u8; 8],
    /// The dialect rule of the position, never the concrete path.
    pub rule: String,
    /// Occurrences.
    pub count: u64,
}

/// Auditd's answer to one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The call it answers.
    pub id: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is in the log, as durable as its class asks. A resubmission gets the first one's answer.
    Appended {
        /// Its last line's sequence number; 0 for [`Event::Policy`] and [`Event::Probe`], which are
        /// no lines.
        seq: u64,
    },
    /// It is not, and will not be.
    Refused(Refusal),
}

/// Why an event is not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// A field breaks the evidence grammar, or names a policy auditd does not have.
    OutOfGrammar,
    /// The signer has been away too long; nothing may leave until it is back.
    UnsignedTail,
    /// The disk is full down to the reserve.
    DiskFull,
    /// A write or flush failed; auditd restarts.
    Poisoned,
}
