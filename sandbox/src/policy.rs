//! What a process keeps.

use std::path::PathBuf;

use crate::table::Row;

/// Everything a process keeps when it is confined. What is not named here is gone.
#[derive(Debug)]
pub struct Policy {
    /// The process, as in `ps`.
    pub process: &'static str,
    /// System calls: each slice is a topic.
    pub calls: &'static [&'static [Row]],
    /// File hierarchies.
    pub beneath: Vec<Beneath>,
    /// TCP ports that may be connected to.
    pub tcp_ports: Vec<u16>,
    /// How many descriptors may be open at once; never above the inherited hard limit.
    pub open_files: u64,
    /// Refuse to run where the kernel lacks a mechanism instead of reporting a lower level.
    pub strict: bool,
}

impl Policy {
    /// All rows, in table order.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.calls.iter().copied().flatten()
    }

    /// Whether the process can make sockets at all.
    pub(crate) fn makes_sockets(&self) -> bool {
        self.rows().any(|row| row.number == nix::libc::SYS_socket)
    }
}

/// A right to everything beneath a directory. The directory must exist when confining.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beneath {
    /// The directory (or a single file).
    pub path: PathBuf,
    /// What may be done there.
    pub right: Right,
    /// Why the process needs it.
    pub why: &'static str,
}

/// What may be done beneath a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Read files.
    Read,
    /// Read, create, write, shorten, list, rename within a directory, and delete files.
    Keep,
    /// Connect to Unix sockets. Governed by the kernel from Landlock ABI 9 on, open before.
    Connect,
}
