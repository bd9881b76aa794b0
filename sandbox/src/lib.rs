//! One call to become less able, and what has to be taken in hand before it.
//!
//! A daemon takes the sockets it was handed ([`inherit`]), opens what it needs, connects its
//! readiness socket ([`notify`]), and then gives everything else away for good with [`confine`].
//! What each process keeps is data ([`Policy`], written with [`allow!`] and [`refuse!`]) and lives
//! beside the process; this crate is mechanism only.

mod table;

mod confine;
mod filter;
pub mod inherit;
mod level;
pub mod notify;
pub mod peer;
mod policy;
mod reach;
pub mod runtime;

pub use nix::libc;

pub use confine::{ConfineError, Confined, confine};
pub use filter::FilterError;
pub use level::{Level, UnixReach};
pub use policy::{Beneath, Policy, Right};
pub use reach::ReachError;
pub use table::{Limit, Row, Value, Verdict};
