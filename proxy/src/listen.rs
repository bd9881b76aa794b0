//! Accepts agents, as many at once as the limits allow, until the process ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::watch;

use crate::counters::add;
use crate::proxy::{Ending, Proxy};
use crate::session;

/// After an accept that failed for want of descriptors.
const BREATHE: Duration = Duration::from_millis(50);

/// Serves agents on `listener`. Returns when every connection is done after the process was told
/// to end.
pub(crate) async fn agents(proxy: Arc<Proxy>, listener: TcpListener, most: u32) {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
    let slots = Arc::new(Semaphore::new(most));
    let mut ending = proxy.ending.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            _ = ending.wait_for(|ending| *ending != Ending::No) => break,
        };
        let (stream, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(BREATHE).await;
                continue;
            }
        };
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move {
            add(&proxy.counters.connections, 1);
            session::serve(Arc::clone(&proxy), stream).await;
            proxy.counters.connections.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            drop(slot);
        });
    }
    drop(listener);
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    // Closed only by dropping it, which this is not.
    let _ = slots.acquire_many(all).await;
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, slot))
}

/// Waits until the process is told to end.
pub(crate) async fn ended(mut ending: watch::Receiver<Ending>) {
    // An error means that the sender is gone, and the process with it.
    let _ = ending.wait_for(|ending| *ending != Ending::No).await;
}
