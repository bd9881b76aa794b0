//! The mint link: leaves for the names of the signer's own CA.

use std::io;
use std::time::Duration;

use protocol::evidence::hex;
use protocol::mint::{Refusal, Reply};

use crate::authority::Authority;
use crate::clock::Now;
use crate::issue;
use crate::journal::Journal;
use crate::limit::Window;
use crate::log;

/// The authority and its issue log.
pub(crate) struct Mint {
    authority: Authority,
    issued: Journal,
    calls: Window,
}

impl Mint {
    pub(crate) fn new(authority: Authority, issued: Journal) -> Self {
        Self { authority, issued, calls: Window::new(LEAVES, PER) }
    }

    /// Issues a leaf, or says why not. The leaf is in the issue log before anybody has it.
    ///
    /// # Errors
    ///
    /// When it could not be logged: it was not given out, and nothing further may be.
    pub(crate) fn leaf(&mut self, host: &str, public_key: &[u8], now: Now) -> io::Result<Reply> {
        if !self.calls.admits(now.monotonic) {
            return Ok(Reply::Refused(Refusal::RateLimited));
        }
        let (names, ca) = (self.authority.names(), self.authority.validity());
        let order = match issue::order(names, ca, host, public_key, now.unix) {
            Ok(order) => order,
            Err(refusal) => return Ok(Reply::Refused(refusal)),
        };
        let leaf = match self.authority.issue(&order) {
            Ok(leaf) => leaf,
            Err(error) => {
                log::line(format_args!("level=error event=mint-failed error=\"{error}\""));
                return Ok(Reply::Refused(Refusal::Internal));
            }
        };
        let not_after = order.validity().not_after;
        self.issued.append(&format!(
            "{} {} {} {not_after} {}",
            now.unix,
            order.host(),
            hex::encode(&leaf.serial),
            hex::encode(order.key().digest().as_ref()),
        ))?;
        Ok(Reply::Leaf { certificate: leaf.certificate, not_after })
    }

    /// The names there are leaves for.
    pub(crate) fn names(&self) -> Reply {
        Reply::Names(self.authority.names().iter().map(ToString::to_string).collect())
    }
}

/// One line for every leaf: `UNIX-SECONDS HOST SERIAL NOT-AFTER SHA-256-OF-SPKI`.
pub(crate) const ISSUED_LOG: &str = "issued.log";

/// Leaves in any span of [`PER`]. A proxy asks for one per host at its start and twice a week
/// after; a proxy that was taken over cannot fill the disk with the issue log.
const LEAVES: usize = 300;

const PER: Duration = Duration::from_secs(60);
