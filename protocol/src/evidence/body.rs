//! What each type of line says: the closed list of types, and each type's closed list of fields.
//!
//! The table of evidence format sections 4.2 and 4.17, as types. A field's rule stands behind the
//! arrow; both directions of the codec come from this one place.

use std::collections::BTreeMap;

use super::canonical::{Entry, Value};
#[cfg(test)]
use super::rule::Dice;
use super::rule::{
    Base64, Counts, Each, Fields, FileName, Flag, Hex, Host, Ident, Int, Kind, Nested, Nullable,
    Origin, Prose, Range, Record, Source, Time, Vkey, Word, put,
};
use super::timestamp::Timestamp;
pub use super::words::{
    AnchorKind, BlockReason, DiskState, EndedBy, KillSwitchAction, RotationReason, Sent,
    StepDirection,
};

/// A field's key: its own name, or the one given where that is a Rust keyword.
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

/// A record: fields, each with its type and rule, and fields whose value is fixed.
macro_rules! record {
    ($(#[$meta:meta])* $name:ident $([$ckey:literal = $cvalue:literal])? {
        $($(#[$fmeta:meta])* $field:ident $(as $key:literal)?: $type:ty => $rule:ty,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[$fmeta])* pub $field: $type,)*
        }

        impl Record for $name {
            fn write<'a>(&'a self, into: &mut Vec<Entry<'a>>) -> Result<(), &'static str> {
                $(into.push(($ckey.into(), Value::Text($cvalue.into())));)?
                $(put::<$rule, $type>(into, $crate::evidence::body::key!($field $($key)?), &self.$field)?;)*
                Ok(())
            }

            fn read(fields: &mut Fields<'_>) -> Result<Self, &'static str> {
                $(if fields.take($ckey)? != Value::Text($cvalue.into()) {
                    return Err($ckey);
                })?
                Ok(Self { $($field: fields.read::<$rule, $type>($crate::evidence::body::key!($field $($key)?))?,)* })
            }

            #[cfg(test)]
            fn sample(dice: &mut Dice) -> Self {
                Self { $($field: <$rule as $crate::evidence::rule::Rule<$type>>::sample(dice),)* }
            }
        }
    };
}

pub(crate) use {key, record};

/// The closed list of line types.
macro_rules! bodies {
    ($($(#[$meta:meta])* $name:ident = $word:literal,)*) => {
        /// What one line says.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Body {
            $($(#[$meta])* $name($name),)*
        }

        impl Body {
            /// Every `line_type` there is.
            pub const TYPES: &'static [&'static str] = &[$($word),*];

            /// The line's `line_type`.
            #[must_use]
            pub fn line_type(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $word,)*
                }
            }

            pub(crate) fn write<'a>(&'a self, into: &mut Vec<Entry<'a>>) -> Result<(), &'static str> {
                match self {
                    $(Self::$name(record) => record.write(into),)*
                }
            }

            pub(crate) fn read(line_type: &str, fields: &mut Fields<'_>) -> Result<Self, &'static str> {
                match line_type {
                    $($word => $name::read(fields).map(Self::$name),)*
                    _ => Err("line_type"),
                }
            }

            /// A line body of the given type, index into [`Body::TYPES`].
            #[cfg(test)]
            pub(crate) fn sample(line_type: &str, dice: &mut Dice) -> Self {
                match line_type {
                    $($word => Self::$name($name::sample(dice)),)*
                    other => panic!("no type {other}"),
                }
            }
        }

        $(impl From<$name> for Body {
            fn from(record: $name) -> Self {
                Self::$name(record)
            }
        })*
    };
}

bodies! {
    /// The first line of a log.
    Genesis = "genesis",
    /// Auditd began to write.
    Start = "start",
    /// Auditd ended in good order.
    Stop = "stop",
    /// A torn end of the segment before is declared debris.
    Recovery = "recovery",
    /// Secrets of one request became placeholders.
    Redaction = "redaction",
    /// A request was refused.
    Block = "block",
    /// Requests held nothing to replace.
    ScanClean = "scan_clean",
    /// What became of a request that was let through.
    Outcome = "outcome",
    /// Placeholders of a response became secrets again.
    Detokenization = "detokenization",
    /// Another policy is in force from here.
    PolicyChange = "policy_change",
    /// A policy was offered and refused.
    PolicyRefused = "policy_refused",
    /// The kill switch moved, or refused a request.
    KillSwitch = "killswitch",
    /// Totals of one session.
    Manifest = "manifest",
    /// The signer's statement about all lines before this one.
    Checkpoint = "checkpoint",
    /// New keys from here.
    KeyRotation = "key_rotation",
    /// The last line of a closed segment.
    Rotation = "rotation",
    /// Old segments were deleted.
    Prune = "prune",
    /// Somebody outside holds evidence of a checkpoint.
    Anchor = "anchor",
    /// A bundle was exported.
    Export = "export",
    /// The wall clock jumped.
    ClockStep = "clock_step",
    /// The disk is filling up, or is not any more.
    Disk = "disk",
    /// The installation was checked.
    VerifyInstall = "verify_install",
}

impl Body {
    /// The policies that a line names: those in force, and the one until then.
    pub fn policies(&self) -> impl Iterator<Item = [u8; 32]> {
        let named = match self {
            Self::Start(start) => [start.policy_hash, None],
            Self::Redaction(redaction) => [Some(redaction.policy_hash), None],
            Self::Block(block) => [block.policy_hash, None],
            Self::ScanClean(scan) => [Some(scan.policy_hash), None],
            Self::Detokenization(restored) => [Some(restored.policy_hash), None],
            Self::PolicyChange(change) => [Some(change.new_policy_hash), change.old_policy_hash],
            _ => [None, None],
        };
        named.into_iter().flatten()
    }
}

record! {
    /// The first line of a log: who it is, and what it promises.
    Genesis["canon" = "jcs-int/1"] {
        /// The log's name, and its log key's.
        origin: String => Origin,
        /// C2SP verifier key of the log key.
        log_vkey: String => Vkey,
        /// C2SP verifier key of the evidence key.
        evidence_vkey: String => Vkey,
        /// C2SP verifier key of the offline recovery key, where one was made.
        recovery_vkey: Option<String> => Nullable<Vkey>,
        /// Most lines between two checkpoint lines.
        checkpoint_lines: u64 => Int<1>,
        /// Milliseconds between checkpoint lines while there is activity.
        checkpoint_ms: u64 => Int,
        /// Milliseconds within which `head.note` follows an append.
        head_ms: u64 => Int,
        /// Milliseconds between checkpoint lines while there is none.
        idle_ms: u64 => Int,
        /// SHA-256 of `frameworks.json`.
        frameworks_hash: [u8; 32] => Hex,
        /// The log this one stands in for, where one had to be given up.
        predecessor: Option<Predecessor> => Nullable<Nested>,
        /// Name and version of the writer.
        software: String => Prose,
    }
}

record! {
    /// A log that was given up, and the last of it that was signed.
    Predecessor {
        /// Its name.
        origin: String => Origin,
        /// Size signed last.
        tree_size: u64 => Int,
        /// Root signed last.
        root: [u8; 32] => Hex,
        /// Why it was given up.
        reason: String => Prose,
    }
}

record! {
    /// Auditd began to write.
    Start {
        /// Why.
        reason: String => Prose,
        /// Whether the log before it ended in `stop`.
        clean: bool => Flag,
        /// The size the signer had signed.
        signer_size: u64 => Int,
        /// SHA-256 of auditd's own configuration.
        config_hash: [u8; 32] => Hex,
        /// Policy in force as far as the log tells; `None` before the first `policy_change`.
        policy_hash: Option<[u8; 32]> => Nullable<Hex>,
        /// Name and version of the writer.
        software: String => Prose,
    }
}

record! {
    /// Auditd ended in good order.
    Stop {
        /// Why.
        reason: String => Prose,
    }
}

record! {
    /// Bytes at the end of the segment before are debris of a torn write.
    Recovery {
        /// Base name of the segment that holds it.
        debris_file: String => FileName,
        /// Offset of its first byte.
        debris_offset: u64 => Int,
        /// Its length in bytes.
        debris_len: u64 => Int,
        /// Its SHA-256.
        debris_sha256: [u8; 32] => Hex,
        /// Number of the last line before it.
        kept_seq: u64 => Int,
    }
}

record! {
    /// Secrets of one request became placeholders.
    Redaction["direction" = "out"] {
        /// Upstream host.
        host: String => Host,
        /// Proxy process.
        inst: [u8; 8] => Hex,
        /// The request's number in that process.
        req_no: u64 => Int<1>,
        /// The client's request id, or its replacement.
        request_id: Option<String> => Nullable<Ident>,
        /// The client's session id, or its replacement.
        session_id: Option<String> => Nullable<Ident>,
        /// What was replaced.
        redactions: Vec<Redacted> => Each<Nested>,
        /// The sum of the counts on this line.
        redaction_count: u64 => Int,
        /// This line's number among the request's lines, and how many there are.
        part: (u64, u64) => Range,
        /// Policy in force.
        policy_hash: [u8; 32] => Hex,
        /// Random label of the session key's epoch.
        hkey: [u8; 8] => Hex,
    }
}

record! {
    /// How often one value was replaced under one rule.
    Redacted {
        /// Pattern type.
        kind as "type": String => Kind,
        /// First eight bytes of HMAC-SHA-256(session key, plaintext).
        hmac8: [u8; 8] => Hex,
        /// The rule of the position, never the concrete path.
        rule: String => Prose,
        /// Occurrences.
        count: u64 => Int,
    }
}

record! {
    /// A request was refused.
    Block {
        /// Upstream host, where it is known.
        host: Option<String> => Nullable<Host>,
        /// Proxy process.
        inst: [u8; 8] => Hex,
        /// The request's number in that process.
        req_no: u64 => Int<1>,
        /// Why.
        reason: BlockReason => Word,
        /// Policy in force, where there is one.
        policy_hash: Option<[u8; 32]> => Nullable<Hex>,
    }
}

record! {
    /// Consecutive requests held nothing to replace.
    ScanClean {
        /// Upstream host.
        host: String => Host,
        /// Proxy process.
        inst: [u8; 8] => Hex,
        /// The first request's number in that process.
        req_no_first: u64 => Int<1>,
        /// The last one's.
        req_no_last: u64 => Int<1>,
        /// Policy in force.
        policy_hash: [u8; 32] => Hex,
    }
}

record! {
    /// What became of a request that was let through.
    Outcome {
        /// Proxy process.
        inst: [u8; 8] => Hex,
        /// The request's number in that process.
        req_no: u64 => Int<1>,
        /// How much of it left.
        sent: Sent => Word,
        /// The upstream's status, where it answered.
        status: Option<u16> => Nullable<Int>,
    }
}

record! {
    /// Placeholders of a response became secrets again.
    Detokenization["direction" = "in"] {
        /// Upstream host.
        host: String => Host,
        /// Proxy process.
        inst: [u8; 8] => Hex,
        /// Number of the request being answered.
        req_no: u64 => Int<1>,
        /// The client's request id, or its replacement.
        request_id: Option<String> => Nullable<Ident>,
        /// The client's session id, or its replacement.
        session_id: Option<String> => Nullable<Ident>,
        /// Placeholders restored.
        detok_count: u64 => Int,
        /// Placeholder-shaped texts that were not ours to restore.
        unknown_placeholders: u64 => Int,
        /// Whether the response is a stream.
        stream: bool => Flag,
        /// 1, 2, 3, … per request.
        part: u64 => Int<1>,
        /// Policy in force when the request was scanned.
        policy_hash: [u8; 32] => Hex,
    }
}

record! {
    /// Another policy is in force from here.
    PolicyChange {
        /// The one until here, where there was one.
        old_policy_hash: Option<[u8; 32]> => Nullable<Hex>,
        /// The one from here.
        new_policy_hash: [u8; 32] => Hex,
        /// Patterns in it.
        pattern_count: u64 => Int,
        /// Who changed it.
        actor: String => Prose,
    }
}

record! {
    /// A policy was offered and refused; the old one stays.
    PolicyRefused {
        /// Hash of what was offered, where it could be computed.
        attempted_hash: Option<[u8; 32]> => Nullable<Hex>,
        /// Stable code of the reason.
        code: String => Prose,
    }
}

record! {
    /// The kill switch moved, or refused a request.
    KillSwitch {
        /// What happened.
        action: KillSwitchAction => Word,
        /// Sources active after it.
        sources_active: Vec<String> => Each<Source>,
        /// Proxy process, where a request was refused.
        inst: Option<[u8; 8]> => Nullable<Hex>,
        /// The refused request's number.
        req_no: Option<u64> => Nullable<Int<1>>,
        /// Who moved it.
        actor: Option<String> => Nullable<Prose>,
        /// Why.
        reason: Option<String> => Nullable<Prose>,
    }
}

record! {
    /// Totals of one session; a verifier recomputes them.
    Manifest["manifest_type" = "session"] {
        /// The session.
        session_id: Option<String> => Nullable<Ident>,
        /// When it began.
        started_ts: Timestamp => Time,
        /// When it ended.
        ended_ts: Timestamp => Time,
        /// Why it ended.
        ended_by: EndedBy => Word,
        /// Distinct requests with a redaction or detokenization line.
        request_count: u64 => Int,
        /// Sum of the redaction counts.
        redaction_total: u64 => Int,
        /// Replacements by pattern type.
        types_seen: BTreeMap<String, u64> => Counts,
        /// Placeholder-shaped texts that were not ours to restore.
        unknown_placeholder_count: u64 => Int,
        /// First and last line looked at.
        chain_seq_range: (u64, u64) => Range,
        /// Policies in force within the range.
        policy_hashes: Vec<[u8; 32]> => Each<Hex>,
        /// How the session behaved.
        behavioral_fingerprint: Fingerprint => Nested,
    }
}

record! {
    /// How a session behaved.
    Fingerprint {
        /// Thousandths of redactions per request, rounded down.
        avg_redactions_milli: u64 => Int,
        /// Placeholder-shaped texts that were not ours to restore.
        unknown_placeholder_count: u64 => Int,
        /// Distinct requests.
        request_count: u64 => Int,
    }
}

record! {
    /// The signer's statement about all lines before this one.
    Checkpoint {
        /// The log's name.
        origin: String => Origin,
        /// Lines before this one.
        tree_size: u64 => Int,
        /// The RFC 6962 root over them.
        chain_root_hash: [u8; 32] => Hex,
        /// C2SP key id of the key that signed.
        signing_key_id: [u8; 4] => Hex,
        /// The signature over the checkpoint's note text.
        signature: [u8; 64] => Base64,
    }
}

record! {
    /// New keys from here.
    KeyRotation {
        /// Key id of the log key that ends.
        old_key_id: [u8; 4] => Hex,
        /// C2SP verifier key of the new log key.
        new_log_vkey: String => Vkey,
        /// C2SP verifier key of the new evidence key.
        new_evidence_vkey: String => Vkey,
        /// The new log key's signature over the rotation text.
        proof_of_possession: [u8; 64] => Base64,
        /// Why.
        reason: RotationReason => Word,
        /// The recovery key's signature over the same text.
        endorsed_by: Option<[u8; 64]> => Nullable<Base64>,
    }
}

record! {
    /// The last line of a closed segment.
    Rotation {
        /// Base name the segment is closed under.
        closed_file: String => FileName,
        /// Number of the next segment's first line.
        next_first_seq: u64 => Int<1>,
    }
}

record! {
    /// Old segments were deleted.
    Prune {
        /// Number of the first line that is left.
        first_kept_seq: u64 => Int<1>,
        /// Why.
        reason: String => Prose,
        /// Who asked for it.
        actor: String => Prose,
    }
}

record! {
    /// Somebody outside holds evidence of a checkpoint.
    Anchor {
        /// What kind of evidence.
        kind: AnchorKind => Word,
        /// Size of the checkpoint.
        tree_size: u64 => Int,
        /// Root of the checkpoint.
        root: [u8; 32] => Hex,
        /// SHA-256 of the evidence.
        evidence_sha256: [u8; 32] => Hex,
        /// Who holds it.
        name: String => Prose,
    }
}

record! {
    /// A bundle was exported.
    Export {
        /// SHA-256 of its MANIFEST.json.
        manifest_sha256: [u8; 32] => Hex,
        /// First and last line in it.
        seq_range: (u64, u64) => Range,
        /// Size of the tree it was taken from.
        tree_size: u64 => Int,
        /// What for.
        purpose: String => Prose,
    }
}

record! {
    /// The wall clock jumped.
    ClockStep {
        /// By how many milliseconds.
        delta_ms: u64 => Int,
        /// Which way.
        direction: StepDirection => Word,
    }
}

record! {
    /// The disk is filling up, or is not any more.
    Disk {
        /// How it is.
        state: DiskState => Word,
        /// Free space in MiB.
        free_mib: u64 => Int,
    }
}

record! {
    /// The installation was checked.
    VerifyInstall {
        /// Checks that passed.
        passed: u64 => Int,
        /// Names of those that did not.
        failed: Vec<String> => Each<Prose>,
    }
}
