//! What the supervisor waits for: signals, words of readiness, and time.

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::fault::Fault;

/// The signals that matter to a supervisor, taken off their default course.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// From here on they only arrive through [`Self::wait`].
    pub(crate) fn take() -> Result<Self, Fault> {
        let mut signals = SigSet::empty();
        for signal in STOP.into_iter().chain([Signal::SIGCHLD]) {
            signals.add(signal);
        }
        signals
            .thread_block()
            .and_then(|()| {
                SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            })
            .map(Self)
            .map_err(|error| Fault::system("take over signals", error))
    }

    /// Waits until something happens or `limit` has passed; `true` when asked to stop.
    pub(crate) fn wait<'a>(
        &'a self,
        readiness: impl Iterator<Item = &'a UnixDatagram>,
        limit: Duration,
    ) -> Result<bool, Fault> {
        let mut watched: Vec<PollFd<'_>> = std::iter::once(self.0.as_fd())
            .chain(readiness.map(AsFd::as_fd))
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        // Rounded up, so that a deadline has passed when its poll returns.
        let limit =
            PollTimeout::try_from(limit + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut watched, limit) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(Fault::system("wait for the daemons", error)),
        }
        self.asked_to_stop()
    }

    fn asked_to_stop(&self) -> Result<bool, Fault> {
        let mut stop = false;
        while let Some(signal) =
            self.0.read_signal().map_err(|error| Fault::system("read a signal", error))?
        {
            stop |= STOP.iter().any(|asks| u32::try_from(*asks as i32) == Ok(signal.ssi_signo));
        }
        Ok(stop)
    }
}

/// A closed terminal ends a foreground supervisor like Ctrl-C does.
const STOP: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
