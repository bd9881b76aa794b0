//! From ready to drained, on the async runtime, confined.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sandbox::Confined;
use sandbox::notify::ARMED;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::admin::health::{self, Lookout};
use crate::config::Fingerprint;
use crate::counters::Counters;
use crate::failure::Failure;
use crate::killswitch::KillSwitch;
use crate::memory::Memory;
use crate::proxy::{Ending, Proxy};
use crate::record::Record;
use crate::setup::{Refused, Reloaded, Setup};
use crate::start::{Arguments, Before, Peers, Sockets};
use crate::store::{Bindings, Limits, Store, Thoughts};
use crate::upstream::Resolver;
use crate::{admin, control, listen};

/// How often the configuration files are looked at. What changed is taken once it was the same in
/// two looks: an editor may write a file in pieces, and half a file can be a valid one.
const FILES: Duration = Duration::from_millis(250);

/// How often the sentinel is looked at besides on every request.
const SENTINEL: Duration = Duration::from_millis(200);

/// Worker threads. One serves thousands of requests a second, and a second one would only be woken
/// for every other step of an exchange; large bodies have a thread pool of their own.
const WORKERS: usize = 1;

/// Threads for large bodies.
const BLOCKING: usize = 4;

/// Text of signed thinking that is kept, in bytes.
const THOUGHTS: usize = 4 * 1024 * 1024;

/// Serves until told to end. How it ended.
///
/// # Errors
///
/// When the runtime or the signal handlers cannot be had.
pub(crate) fn serve(
    confined: &Confined,
    arguments: Arguments,
    sockets: Sockets,
    peers: Peers,
    before: Before,
) -> Result<Ending, Failure> {
    let sandbox = confined.level().to_string();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_name("waterwall-proxy")
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(live(sandbox, arguments, sockets, peers, before)))
        .map_err(|error| Failure::System("runtime", error))
}

async fn live(
    sandbox: String,
    arguments: Arguments,
    sockets: Sockets,
    peers: Peers,
    before: Before,
) -> io::Result<Ending> {
    let signals = Signals::new()?;
    let (mint, jobs) = before.mint;
    let resolver = Arc::new(Resolver::new(before.resolver)?);
    let dir = arguments.config.clone();
    let Before { config, environment, roots, .. } = before;
    let setup = Setup::new(dir, environment, config, roots, Arc::clone(&resolver));
    let fixed = setup.fixed().clone();
    let record = Record::new(before.identity.inst, fixed.append);
    let switch = KillSwitch::new(arguments.run.join("kill"), record.clone());
    let proxy = Arc::new(Proxy {
        setup,
        record,
        switch,
        mint: Arc::clone(&mint),
        signer: peers.mint.clone(),
        resolver,
        memory: Memory::new(fixed.limits.bodies_total_mib, fixed.room),
        store: Arc::new(Store::new(limits(&fixed.redaction))),
        bindings: Bindings::new(),
        thoughts: Thoughts::new(THOUGHTS),
        key: before.identity.key,
        hkey: before.identity.hkey,
        counters: Counters::default(),
        lookout: Lookout::default(),
        sandbox,
        notify: before.notify,
        ending: watch::Sender::new(Ending::No),
    });
    // Armed before the first request can be looked at; the rest follows once the log is there.
    proxy.setup.arm(&proxy.switch);
    proxy.switch.rearm(&std::env::var(ARMED).unwrap_or_default());
    tokio::spawn(tell_armed(Arc::clone(&proxy)));
    tokio::spawn(mint.keep(peers.mint, jobs));
    tokio::spawn(proxy.record.clone().keep(peers.append));
    tokio::spawn(first_policy(Arc::clone(&proxy)));
    tokio::spawn(follow_files(Arc::clone(&proxy), before.fingerprint));
    tokio::spawn(follow_sentinel(Arc::clone(&proxy)));
    tokio::spawn(signals.follow(Arc::clone(&proxy)));
    let admin = TcpListener::from_std(sockets.admin)?;
    tokio::spawn(admin::serve(Arc::clone(&proxy), admin, before.token.clone()));
    let control = UnixListener::from_std(sockets.control)?;
    tokio::spawn(control::serve(Arc::clone(&proxy), control, before.token));
    let agents = TcpListener::from_std(sockets.agents)?;
    let serving = async {
        // Connections made meanwhile wait in the backlog, instead of being refused for what is
        // about to be there.
        tokio::select! {
            () = settled(&proxy) => {}
            () = listen::ended(proxy.ending.subscribe()) => {}
        }
        told(proxy.notify.ready());
        tracing::info!("ready");
        listen::agents(Arc::clone(&proxy), agents, fixed.limits.connections).await;
    };
    drained(&proxy, serving, fixed.drain).await;
    Ok(*proxy.ending.borrow())
}

fn limits(settings: &protocol::settings::RedactionSettings) -> Limits {
    let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    Limits {
        entries: size(settings.store_entries),
        bytes: size(settings.store_kib).saturating_mul(1024),
        ttl: Duration::from_secs(u64::from(settings.store_hours) * 3600),
        ..Limits::default()
    }
}

pub(crate) fn told(notified: io::Result<()>) {
    if let Err(error) = notified {
        tracing::warn!(%error, "supervisor not notified");
    }
}

/// Waits until nothing that is still coming up keeps requests from passing, because whoever waits
/// for readiness sends some at once. Not for long: what stays away is better told by a refusal.
async fn settled(proxy: &Proxy) {
    let coming_up = || health::faults(proxy).iter().any(|fault| COMING_UP.contains(fault));
    let wait = async {
        while coming_up() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    if tokio::time::timeout(SETTLING, wait).await.is_err() {
        tracing::warn!(faults = ?health::faults(proxy), "ready, but requests are refused");
    }
}

/// The faults that every start begins with.
const COMING_UP: [&str; 3] = ["signer-unavailable", "log-unavailable", "policy-unrecorded"];

/// How long the signer and auditd may take to answer a start.
const SETTLING: Duration = Duration::from_secs(5);

async fn first_policy(proxy: Arc<Proxy>) {
    proxy.setup.record_first(&proxy.record, &proxy.switch).await;
}

/// Reads the files again whenever they changed, and are at rest.
async fn follow_files(proxy: Arc<Proxy>, mut seen: Fingerprint) {
    let mut moving = None;
    loop {
        tokio::time::sleep(FILES).await;
        let now = proxy.setup.fingerprint();
        if now == seen {
            moving = None;
            continue;
        }
        if moving.replace(now.clone()).as_ref() != Some(&now) {
            continue;
        }
        match admin::reloaded(&proxy, "file").await {
            // To be tried again: it is not the files that are at fault.
            Err(Refused::Append(_) | Refused::Signer) => {}
            Ok(Reloaded::Restart) => return,
            Ok(_) | Err(Refused::Config(_)) => seen = now,
        }
    }
}

/// Has whoever started us remember what is armed by no file: a crash must not disarm.
async fn tell_armed(proxy: Arc<Proxy>) {
    let mut switch = proxy.switch.watch();
    let mut said = String::new();
    loop {
        let now = switch.borrow_and_update().volatile();
        if now != said {
            told(proxy.notify.armed(&now));
            said = now;
        }
        if switch.changed().await.is_err() {
            return;
        }
    }
}

async fn follow_sentinel(proxy: Arc<Proxy>) {
    loop {
        tokio::time::sleep(SENTINEL).await;
        // Not cleared while the log does not take it: tried again on the next turn.
        let _ = proxy.switch.follow_sentinel().await;
    }
}

/// The signals this process answers to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    toggle: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            toggle: signal(SignalKind::user_defined1())?,
        })
    }

    async fn follow(mut self, proxy: Arc<Proxy>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.toggle.recv() => {
                    if proxy.switch.toggle().await.is_err() {
                        tracing::warn!("kill switch stays armed: the log did not take its clearing");
                    }
                }
            }
        }
        proxy.ending.send_replace(Ending::Stop);
    }
}

/// Serves agents until the process is told to end, then lets what runs finish, and the log take
/// what is queued, for at most `drain`.
async fn drained(proxy: &Proxy, agents: impl Future<Output = ()>, drain: Duration) {
    let end = async {
        listen::ended(proxy.ending.subscribe()).await;
        tracing::info!(ending = ?*proxy.ending.borrow(), "draining");
        told(proxy.notify.stopping());
        tokio::time::sleep(drain).await;
    };
    let served = async {
        agents.await;
        while proxy.record.backlog() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = served => tracing::info!("drained"),
        () = end => tracing::warn!(unanswered = proxy.record.backlog(), "not drained in time"),
    }
}
