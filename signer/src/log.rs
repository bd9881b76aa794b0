//! The signer's few lines to standard error, never a key among them.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use crate::limit::Window;

/// Tells the operator of a command something.
pub(crate) fn tell(message: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "waterwall-signer: {message}");
}

/// Writes one line of `key=value` fields from the daemon. A signer whose log went away goes on signing: the lines that matter are in
/// its journals.
pub(crate) fn line(fields: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "waterwall-signer {fields}");
}

/// Warnings about callers, so few that no caller can fill a disk with them.
#[derive(Debug)]
pub(crate) struct Complaints {
    window: Window,
    total: u64,
}

impl Complaints {
    pub(crate) fn new() -> Self {
        Self { window: Window::new(20, Duration::from_secs(60)), total: 0 }
    }

    /// Counts always, and writes at most 20 lines a minute.
    pub(crate) fn say(&mut self, now: Duration, fields: fmt::Arguments<'_>) {
        self.total += 1;
        if self.window.admits(now) {
            line(format_args!("level=warn {fields} total={}", self.total));
        }
    }
}
