//! Holds the keys, and nothing that can be talked into signing something else.

pub mod authority;
pub mod confine;
pub mod heads;
pub mod hosts;
pub mod issue;
pub mod journal;
pub mod keys;
pub mod limit;
pub mod vault;
pub mod witness;
