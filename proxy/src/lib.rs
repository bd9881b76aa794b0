//! The proxy: agents on one side, providers on the other, no key and no file of its own.
//!
//! [`redact`], [`restore`] and [`store`] are pure: bytes and time in, bytes and findings out.

pub mod confine;
pub mod dialect;
pub mod placeholder;
pub mod redact;
pub mod restore;
pub mod store;
