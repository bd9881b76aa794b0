//! From a name to a TCP connection: all its addresses, as [`super::race`] says.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use nix::sys::socket::{setsockopt, sockopt};
use protocol::names::HostName;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::dial::DialError;
use super::race::{Family, Next, Race};
use super::resolve::Resolver;

/// A connection is asked for a sign of life once it was silent for this long, in seconds: below
/// what routers on the way keep a quiet connection for.
const KEEPALIVE_IDLE: u32 = 60;

/// From one such question to the next, in seconds.
const KEEPALIVE_INTERVAL: u32 = 15;

/// How many go unanswered before the connection is over.
const KEEPALIVE_PROBES: u32 = 4;

/// Connects to the first address of `name` that answers at `port`. All other attempts end.
///
/// # Errors
///
/// When it has no address, or none that answers.
pub(super) async fn to_name(
    resolver: &Resolver,
    name: &HostName,
    port: u16,
) -> Result<TcpStream, DialError> {
    let (race, asked) = match resolver.listed(name) {
        Some(addresses) => (Race::of(&addresses), &[][..]),
        None => (Race::asking(), &Family::ALL[..]),
    };
    let lookups = asked.iter().map(|family| async {
        let found = resolver.ask(name, *family).await;
        (*family, found)
    });
    run(race, lookups.collect(), |ip| open(SocketAddr::new(ip, port))).await
}

/// Connects to `address`.
///
/// # Errors
///
/// When nobody answers there.
pub(super) async fn to_address(address: SocketAddr) -> Result<TcpStream, DialError> {
    open(address).await.map_err(DialError::Connect)
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    setsockopt(&stream, sockopt::KeepAlive, &true)?;
    setsockopt(&stream, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE)?;
    setsockopt(&stream, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL)?;
    setsockopt(&stream, sockopt::TcpKeepCount, &KEEPALIVE_PROBES)?;
    Ok(stream)
}

/// Runs `race` to its end. What has not ended by then is dropped, and thereby closed.
async fn run<T, L, C>(
    mut race: Race,
    mut lookups: FuturesUnordered<L>,
    connect: impl Fn(IpAddr) -> C,
) -> Result<T, DialError>
where
    L: Future<Output = (Family, io::Result<Vec<IpAddr>>)>,
    C: Future<Output = io::Result<T>>,
{
    let start = Instant::now();
    let mut attempts = FuturesUnordered::new();
    let mut last = DialError::Resolve(io::Error::new(io::ErrorKind::NotFound, "no address"));
    loop {
        let until = match race.next(start.elapsed()) {
            Next::Try(ip) => {
                attempts.push(connect(ip));
                continue;
            }
            Next::Lost => return Err(last),
            Next::Wait(until) => until,
        };
        tokio::select! {
            Some((family, found)) = lookups.next(), if !lookups.is_empty() => {
                let addresses = found.unwrap_or_else(|error| {
                    if let DialError::Resolve(_) = last {
                        last = DialError::Resolve(error);
                    }
                    Vec::new()
                });
                race.found(family, &addresses, start.elapsed());
            }
            Some(ended) = attempts.next(), if !attempts.is_empty() => match ended {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    last = DialError::Connect(error);
                    race.failed(start.elapsed());
                }
            },
            () = sleep(start, until) => {}
        }
    }
}

async fn sleep(start: Instant, until: Option<Duration>) {
    match until {
        Some(until) => tokio::time::sleep_until(start + until).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::{Ready, pending, ready};

    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn no_lookups() -> FuturesUnordered<Ready<(Family, io::Result<Vec<IpAddr>>)>> {
        FuturesUnordered::new()
    }

    /// Says so when it is dropped.
    struct Attempt<'a>(IpAddr, &'a RefCell<Vec<IpAddr>>);

    impl Drop for Attempt<'_> {
        fn drop(&mut self) {
            self.1.borrow_mut().push(self.0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_first_address_costs_a_quarter_of_a_second_and_is_closed() {
        let closed = RefCell::new(Vec::new());
        let addresses = ips(&["::1", "10.0.0.1", "10.0.0.2"]);
        let start = Instant::now();
        let won = run(Race::of(&addresses), no_lookups(), |ip| {
            let attempt = Attempt(ip, &closed);
            async move {
                if ip.is_ipv6() {
                    pending::<()>().await;
                }
                // As long as another one needs to be tried, too.
                tokio::time::sleep(Duration::from_millis(260)).await;
                let won = attempt.0;
                Ok(won)
            }
        });
        assert_eq!(won.await.unwrap(), addresses[1]);
        assert_eq!(start.elapsed(), Duration::from_millis(510));
        let mut closed = closed.into_inner();
        closed.sort_unstable();
        assert_eq!(closed, ips(&["10.0.0.1", "10.0.0.2", "::1"]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_error_is_the_one_to_tell() {
        let refused = |_| ready(Err::<(), _>(io::ErrorKind::ConnectionRefused.into()));
        let lost = run(Race::of(&ips(&["::1", "10.0.0.1"])), no_lookups(), refused).await;
        assert!(matches!(lost, Err(DialError::Connect(_))), "{lost:?}");
        let unknown = |family| async move { (family, Err(io::Error::other("NXDOMAIN"))) };
        let lookups = Family::ALL.into_iter().map(unknown).collect();
        let lost = run(Race::asking(), lookups, refused).await;
        assert!(matches!(lost, Err(DialError::Resolve(_))), "{lost:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_name_server_answer_is_enough() {
        let lookups = Family::ALL.into_iter().map(|family| async move {
            if family == Family::V6 {
                pending::<()>().await;
            }
            (family, Ok(ips(&["10.0.0.1"])))
        });
        let start = Instant::now();
        let won = run(Race::asking(), lookups.collect(), |ip| ready(Ok(ip))).await;
        assert_eq!(won.unwrap(), ips(&["10.0.0.1"])[0]);
        assert_eq!(start.elapsed(), Duration::from_millis(50));
    }
}
