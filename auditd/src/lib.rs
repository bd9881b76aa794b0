//! The only writer of evidence.
//!
//! ```text
//!   append ──▶ intake ──┐                        ┌──▶ sealer ──▶ signer
//!                       ├─▶ queue ─▶ writer ─────┤      │ reads back, writes head.note
//!   audit ───▶ operators┘     one group at a time└──────┴──▶ log directory
//!   control
//! ```
//!
//! A group is whatever queued up while the last one was flushed: one `write`, one `fdatasync` if
//! any line in it asks for one, then the answers. The writer alone holds the order of lines; the
//! sealer alone talks to the signer, about bytes it has read back.
//!
//! After any failed write or flush nobody knows what the disk holds. The process then answers
//! nothing any more and ends, and the next one reads the log from the beginning ([`recovery`]).

mod arguments;
mod clock;
pub mod confine;
mod failure;
mod grammar;
mod group;
mod intake;
mod log;
mod operators;
mod policies;
mod recovery;
mod schedule;
mod sealer;
mod seen;
mod signer;
mod space;
mod storage;
#[cfg(test)]
mod trials;
mod writer;

use std::fs;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use protocol::append;
use protocol::evidence::note::VerifierKey;
use protocol::hello::LinkName;
use protocol::seal::{Reply, Request, Status};
use sandbox::Confined;
use sandbox::inherit::{Inherited, secrets_from_stdin};
use sandbox::notify::Notify;

use arguments::{Arguments, Config};
use clock::Stamp;
use confine::{Reach, confine};
use failure::Failure;
use intake::{Door, Users};
use recovery::{Recovered, recover};
use sealer::Sealer;
use signer::{Address, Signer};
use storage::{Disk, DiskFile, LogFile, Storage};
use writer::{Job, Queues, Terms, Writer};

/// How long the signer may take to start.
const SIGNER_START: Duration = Duration::from_secs(30);

/// Jobs that may wait for the writer; further peers wait in their sockets.
const QUEUE: usize = 1024;

/// Runs the daemon until it is told to stop or cannot go on.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_stderr();
    match live(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(%failure, "auditd ends");
            (&failure).into()
        }
    }
}

fn log_to_stderr() {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // It would complain on stderr that stderr cannot be written, and panic over that.
        .log_internal_errors(false)
        .init();
}

/// The life story: arguments, configuration, what is opened and taken, connect, confine, ready,
/// serve, drain.
fn live(arguments: Arguments) -> Result<(), Failure> {
    let [append_secret, seal_secret] = secrets(&arguments)?;
    let config = Config::try_from(arguments).map_err(Failure::Unconfigured)?;

    let sockets = Sockets::take()?;
    let disk = Arc::new(Disk::open(&config.log).map_err(Failure::storage("opening the log"))?);
    let _held_for_life = hold(&disk)?;
    if let Err(error) = disk.reserve(true) {
        tracing::warn!(%error, "no disk reserve");
    }

    let uid = config.signer_uid;
    let mut signer = Signer::new(Address { path: config.seal.clone(), secret: seal_secret, uid });
    let status = greet(&mut signer)?;
    let boot = log::boot_label(&boot_id()?, &status.origin);
    let recovered = recover(&*disk, &status, boot, Stamp::now())?;

    // Not before: until lines are taken, a signal may end the process as it always does.
    let signals = Signals::block()?;
    let reach = Reach { log: &config.log, seal: &config.seal };
    let confined =
        confine(&reach, config.strict).map_err(|error| Failure::Unconfined(error.to_string()))?;
    tracing::info!(sandbox = %confined.level(), "confined");

    let service = Service { config, sockets, signals, disk, signer, status, recovered };
    serve(service, append_secret, confined)
}

/// Everything that was opened before confinement.
struct Service {
    config: Config,
    sockets: Sockets,
    signals: Signals,
    disk: Arc<Disk>,
    signer: Signer,
    status: Status,
    recovered: Recovered<Disk>,
}

/// Starts the threads in the order in which they need each other, and ends with the writer.
fn serve(service: Service, append_secret: [u8; 32], confined: Confined) -> Result<(), Failure> {
    let Service { config, sockets, signals, disk, signer, status, recovered } = service;
    let key = VerifierKey::parse(&status.log_vkey)
        .map_err(|_| Failure::SignerAway("its verifier key is none".into()))?;
    let (queue, jobs) = sync_channel(QUEUE);
    let (orders, ordered) = channel();
    let (verdict, verdicts) = channel();

    let sealer = Sealer::new(Arc::clone(&disk), &recovered, signer, key.clone(), status.size);
    let sealer = sealer.start(ordered, verdict, queue.clone())?;
    let terms = Terms { signer: status, key, cadence: config.cadence };
    let queues = Queues { jobs, orders, verdicts };
    let level = confined.level().to_string();
    let mut writer = Writer::open(disk, recovered, queues, terms, level, Stamp::now)?;

    let door = Door {
        name: LinkName::Append,
        users: Users::Only(config.proxy_uid),
        secret: append_secret,
        cap: append::CAP,
    };
    intake::serve(sockets.append, door, queue.clone())?;
    operators::serve(sockets.audit_control, config.admin_token, queue.clone())?;
    signals.forward(queue)?;
    sockets.notify.ready().map_err(|error| Failure::Inheritance(error.to_string()))?;
    tracing::info!("ready");

    let ended = writer.run();
    // The sealer ends with the writer's queue, after its last head is in place.
    drop(writer);
    sealer.join().map_err(|_| Failure::Threads("sealer"))?;
    ended
}

fn secrets(arguments: &Arguments) -> Result<[[u8; 32]; 2], Failure> {
    if !arguments.secrets_from_stdin {
        return Ok([[0; 32]; 2]);
    }
    secrets_from_stdin().map_err(|error| Failure::Inheritance(error.to_string()))
}

/// What the supervisor hands over.
struct Sockets {
    append: std::os::unix::net::UnixListener,
    audit_control: std::os::unix::net::UnixListener,
    notify: Notify,
}

impl Sockets {
    fn take() -> Result<Self, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::Inheritance(error.to_string());
        let mut inherited = Inherited::from_env().map_err(|error| wrong(&error))?;
        let sockets = Self {
            append: inherited.take_unix("append").map_err(|error| wrong(&error))?,
            audit_control: inherited.take_unix("audit-control").map_err(|error| wrong(&error))?,
            notify: Notify::from_env().map_err(|error| wrong(&error))?,
        };
        inherited.finish().map_err(|error| wrong(&error))?;
        Ok(sockets)
    }
}

/// The lock that stands for the whole directory.
fn hold(disk: &Disk) -> Result<DiskFile, Failure> {
    let file = disk.lock_file().map_err(Failure::storage("opening the lock"))?;
    match file.lock() {
        Ok(true) => Ok(file),
        Ok(false) => Err(Failure::Locked),
        Err(error) => Err(Failure::Storage { doing: "locking the log", error }),
    }
}

/// Asks the signer what it holds, and waits while it starts.
fn greet(signer: &mut Signer) -> Result<Status, Failure> {
    let deadline = Instant::now() + SIGNER_START;
    loop {
        match signer.call(&Request::Status) {
            Ok(Reply::Status(status)) => return Ok(status),
            Ok(_) => return Err(Failure::SignerAway("it answered another question".into())),
            Err(away) if Instant::now() >= deadline => {
                return Err(Failure::SignerAway(away.to_string()));
            }
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// `WATERWALL_BOOT_ID` where the unit says it, else the kernel's own word.
fn boot_id() -> Result<String, Failure> {
    match std::env::var("WATERWALL_BOOT_ID") {
        Ok(id) if !id.is_empty() => Ok(id),
        _ => fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_err(Failure::storage("reading the boot id")),
    }
}

/// SIGTERM and SIGINT, as something that can be read.
struct Signals(SignalFd);

impl Signals {
    /// Must precede every other thread: they inherit the mask.
    fn block() -> Result<Self, Failure> {
        let mask = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
        let opened =
            mask.thread_block().and_then(|()| SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC));
        opened
            .map(Self)
            .map_err(|errno| Failure::Storage { doing: "taking signals", error: errno.into() })
    }

    fn forward(self, queue: SyncSender<Job>) -> Result<(), Failure> {
        let wait = move || {
            while let Ok(None) | Err(Errno::EINTR) = self.0.read_signal() {}
            let _writer_gone = queue.send(Job::Stop);
        };
        let spawned = thread::Builder::new().name("signals".into()).spawn(wait);
        spawned.map(drop).map_err(|_| Failure::Threads("signals"))
    }
}
