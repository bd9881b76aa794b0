//! What the command line says.

use std::path::PathBuf;

/// What the command line says.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// How long there is traffic.
    pub(crate) seconds: u64,
    /// How many clients, each with a connection of its own.
    pub(crate) clients: usize,
    /// What all choices follow from.
    pub(crate) seed: u64,
    /// Milliseconds a client waits between two turns, on average.
    pub(crate) pause: u64,
    /// Where the daemons' messages go at the end.
    pub(crate) messages: Option<PathBuf>,
}

/// How to use it.
pub(crate) const USAGE: &str =
    "usage: soak [--seconds N] [--clients N] [--seed N] [--pause MILLISECONDS] [--messages FILE]";

impl Options {
    /// Those of `arguments`; `None` if they cannot be understood.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>, seed: u64) -> Option<Self> {
        let mut options = Self { seconds: 600, clients: 64, seed, pause: 600, messages: None };
        while let Some(name) = arguments.next() {
            let value = arguments.next()?;
            match name.as_str() {
                "--seconds" => options.seconds = value.parse().ok()?,
                "--clients" => options.clients = value.parse().ok()?,
                "--seed" => options.seed = value.parse().ok()?,
                "--pause" => options.pause = value.parse().ok()?,
                "--messages" => options.messages = Some(value.into()),
                _ => return None,
            }
        }
        Some(options)
    }
}
