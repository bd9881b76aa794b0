//! Reads standard input, up to what the proxy would take.

use std::io::{self, IsTerminal, Read, Write};

use bytes::Bytes;
use protocol::settings::Limits;

use super::{Fault, say};
use crate::reply::Cause;

/// Between two words about progress, in bytes.
const STEP: usize = 4 << 20;

/// All of standard input.
///
/// # Errors
///
/// [`Fault::Input`]; [`Fault::Refused`] where there is more than the default cap.
pub(super) fn read() -> Result<Bytes, Fault> {
    let input = io::stdin();
    if input.is_terminal() {
        say(format_args!("reading the body from the terminal; Ctrl-D ends it"));
    }
    let cap_mib = Limits::default().body_mib;
    let cap = usize::try_from(cap_mib).unwrap_or(usize::MAX).saturating_mul(1 << 20);
    let mut progress = Progress::new(io::stderr().is_terminal() && !input.is_terminal());
    let body = read_up_to(input.lock(), cap, |length| progress.at(length))?;
    progress.clear();
    body.ok_or_else(|| {
        let cause = Cause::TooLarge { cap_mib };
        let why = format!("more than {cap_mib} MiB; the proxy's default limits.body_mib");
        Fault::Refused { code: cause.code(), why }
    })
}

/// All of `input`, or `None` where that is more than `cap` bytes.
fn read_up_to(
    mut input: impl Read,
    cap: usize,
    mut progress: impl FnMut(usize),
) -> Result<Option<Bytes>, Fault> {
    let mut body = Vec::new();
    loop {
        let left = cap + 1 - body.len();
        let step = u64::try_from(left.min(STEP)).unwrap_or(u64::MAX);
        let read = input.by_ref().take(step).read_to_end(&mut body).map_err(Fault::Input)?;
        if body.len() > cap {
            return Ok(None);
        }
        if read == 0 {
            return Ok(Some(body.into()));
        }
        progress(body.len());
    }
}

/// How much has been read, for somebody who watches.
struct Progress {
    watched: bool,
    shown: bool,
}

impl Progress {
    fn new(watched: bool) -> Self {
        Self { watched, shown: false }
    }

    fn at(&mut self, length: usize) {
        if self.watched && length >= STEP {
            self.shown = true;
            let _ = write!(io::stderr(), "\rread {} MiB", length >> 20);
        }
    }

    fn clear(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_up_to_the_cap_and_not_beyond() {
        let read = |length, cap| {
            read_up_to(io::repeat(b'a').take(length), cap, |_| {}).unwrap().map(|body| body.len())
        };
        assert_eq!(read(0, 10), Some(0));
        assert_eq!(read(10, 10), Some(10));
        assert_eq!(read(11, 10), None);
        assert_eq!(read(3 * (STEP as u64) + 1, 5 * STEP), Some(3 * STEP + 1));
    }

    #[test]
    fn says_how_far_it_is() {
        let mut seen = Vec::new();
        let input = io::repeat(b'a').take(2 * STEP as u64 + 5);
        read_up_to(input, 3 * STEP, |length| seen.push(length)).unwrap();
        assert_eq!(seen, [STEP, 2 * STEP, 2 * STEP + 5]);
    }
}
