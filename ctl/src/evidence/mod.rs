//! What an auditor, or an operator for one, does with evidence beside checking a whole log.
//!
//! Only files and words are added here: every judgement is `protocol::evidence::verify`'s.

pub(crate) mod bundle;
mod draft;
pub(crate) mod export;
pub(crate) mod head;
mod log;
pub(crate) mod receipt;
