//! The language the cross-process stories are told in: a provider, a Waterwall, agents.
//!
//! Everything is real: the built executables under their sandbox, TLS on both sides, files and
//! signals. A story starts a [`provider::Provider`] and a [`waterwall::Waterwall`] in front of it,
//! sends with an [`agent::Agent`], and looks at what each side saw.

pub mod agent;
pub mod coding;
pub mod corpus;
#[cfg(test)]
mod dependencies;
pub mod executables;
pub mod forward;
pub mod prometheus;
pub mod provider;
pub mod raw;
pub mod secrets;
pub mod shape;
pub mod socket;
pub mod waterwall;
pub mod wire;
