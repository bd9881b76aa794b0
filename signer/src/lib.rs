//! To be written.

pub mod confine;
