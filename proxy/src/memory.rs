//! Bodies held at once, over all exchanges: whoever does not fit waits, and then is refused.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of account, in bytes.
const PAGE: usize = 16 * 1024;

/// No room came free in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overloaded;

/// The room there is.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    pages: Arc<Semaphore>,
    /// How long a body waits for room.
    patience: Duration,
    /// Pages in all.
    most: usize,
}

/// Room taken by one body, given back on drop.
#[derive(Debug)]
pub(crate) struct Held {
    memory: Memory,
    permit: Option<OwnedSemaphorePermit>,
    pages: usize,
}

impl Memory {
    /// Room for `mib` MiB, for which a body waits as long as `patience`.
    pub(crate) fn new(mib: u32, patience: Duration) -> Self {
        let pages = usize::try_from(mib).unwrap_or(usize::MAX).saturating_mul(1024 * 1024 / PAGE);
        let most = pages.min(Semaphore::MAX_PERMITS);
        Self { pages: Arc::new(Semaphore::new(most)), patience, most }
    }

    /// Bytes that are taken now, and bytes in all.
    pub(crate) fn taken(&self) -> (usize, usize) {
        let taken = self.most.saturating_sub(self.pages.available_permits());
        (taken.saturating_mul(PAGE), self.most.saturating_mul(PAGE))
    }

    /// Nothing yet, to be grown.
    pub(crate) fn hold(&self) -> Held {
        Held { memory: self.clone(), permit: None, pages: 0 }
    }
}

impl Held {
    /// Takes room until `bytes` in all fit.
    ///
    /// # Errors
    ///
    /// [`Overloaded`] when others did not give back enough in time.
    pub(crate) async fn reach(&mut self, bytes: usize) -> Result<(), Overloaded> {
        let more = bytes.div_ceil(PAGE).saturating_sub(self.pages);
        if more == 0 {
            return Ok(());
        }
        let count = u32::try_from(more).map_err(|_| Overloaded)?;
        let wait = Arc::clone(&self.memory.pages).acquire_many_owned(count);
        let permit =
            tokio::time::timeout(self.memory.patience, wait).await.map_err(|_| Overloaded)?;
        let permit = permit.map_err(|_| Overloaded)?;
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        self.pages += more;
        Ok(())
    }

    /// `bytes`, which take this room until the last of them is gone.
    pub(crate) fn keep(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Kept { bytes, _held: self })
    }
}

struct Kept {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_fits_is_refused_after_a_while() {
        let memory = Memory::new(1, Duration::from_secs(30));
        let mut first = memory.hold();
        first.reach(1024 * 1024).await.unwrap();
        assert_eq!(memory.hold().reach(1).await, Err(Overloaded));
        drop(first);
        assert_eq!(memory.hold().reach(1024 * 1024).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn kept_bytes_take_their_room_until_the_last_of_them_is_gone() {
        let memory = Memory::new(1, Duration::from_secs(30));
        let mut held = memory.hold();
        held.reach(1024 * 1024).await.unwrap();
        let mut bytes = held.keep(Bytes::from(vec![7; 1024 * 1024]));
        let last = bytes.split_off(1024 * 1024 - 1);
        drop(bytes);
        assert_eq!(memory.hold().reach(1).await, Err(Overloaded));
        drop(last);
        assert_eq!(memory.hold().reach(1).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn growing_takes_only_the_difference() {
        let memory = Memory::new(1, Duration::from_secs(30));
        let mut held = memory.hold();
        held.reach(512 * 1024).await.unwrap();
        assert_eq!(held.reach(1024 * 1024).await, Ok(()));
        assert_eq!(held.reach(100).await, Ok(()));
        assert_eq!(held.reach(1024 * 1024 + 1).await, Err(Overloaded));
    }
}
