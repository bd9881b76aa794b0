//! The bytes of the evidence log, and how to verify them without trusting their writer.
//!
//! ```text
//!   line    = canonical JSON of one event + LF          canonical, line, body, frameworks
//!   chain   : each line names the hash of the last      chain
//!   tree    : RFC 6962 over the same line bytes         merkle
//!   signed  : C2SP checkpoints of (origin, size, root)  note, checkpoint
//!   receipt : a line, and the proof that it is in it    tlog_proof
//!   bundle  : lines, proofs, papers in one archive      bundle, archive
//!   verify  : all of the above, from bytes and one key  verify
//! ```
//!
//! Every hash is over raw bytes, never over a re-serialised object: bytes that are not already in
//! canonical form are a failure, so two readers can never disagree about what was signed.

pub mod archive;
pub mod body;
pub mod bundle;
pub mod canonical;
pub mod chain;
pub mod checkpoint;
pub mod frameworks;
pub mod hex;
pub mod high_water;
pub mod line;
pub mod merkle;
pub mod note;
mod rule;
pub mod timestamp;
pub mod tlog_proof;
pub mod verify;
mod words;
