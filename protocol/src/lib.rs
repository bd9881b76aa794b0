//! What Waterwall's processes agree on.
//!
//! ```text
//!   agent ──TCP──▶ proxy ──mint────▶ signer ◀──seal── auditd
//!                    │                                  ▲ ▲
//!                    └──────────────append──────────────┘ │
//!   operator: ctl ──control──▶ proxy      ctl ──audit control
//! ```
//!
//! One socket per power: [`mint`], [`seal`], [`append`], [`control`], [`audit_control`]. Whoever
//! can open a socket can use exactly the verbs of its request enum. Every link starts with a
//! [`hello`], every frame is a length and a body ([`frame`]), and every body decodes whole or not
//! at all ([`codec`]).
//!
//! [`evidence`] is the other half: the bytes of the log and how to verify them. It never imports a
//! link, because evidence must verify years after the link versions of its writer are gone.
//!
//! Nothing here opens a file, reads a clock or starts a thread.

pub mod append;
pub mod audit_control;
pub mod codec;
pub mod control;
pub mod evidence;
pub mod frame;
pub mod hello;
pub mod link;
pub mod mint;
pub mod names;
pub mod seal;
pub mod settings;
