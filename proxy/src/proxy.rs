//! What all connections share.

use std::sync::Arc;

use protocol::append::{BlockReason, Event, Refusal, RequestRef};
use protocol::names::HostName;
use sandbox::notify::Notify;
use tokio::sync::watch;

use crate::admin::health::Lookout;
use crate::counters::{Counters, Session};
use crate::killswitch::{self, KillSwitch};
use crate::memory::Memory;
use crate::mint::{self, Mint};
use crate::placeholder::SessionKey;
use crate::record::{Gate, Record};
use crate::redact::scan_head;
use crate::reply::Cause;
use crate::setup::Setup;
use crate::store::{Bindings, Store, Thoughts};
use crate::upstream::Resolver;

/// One proxy process.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// The configuration in force.
    pub(crate) setup: Setup,
    /// The evidence log.
    pub(crate) record: Record,
    /// The kill switch.
    pub(crate) switch: KillSwitch,
    /// Leaf certificates.
    pub(crate) mint: Arc<Mint>,
    /// Who makes them.
    pub(crate) signer: mint::Peer,
    /// Names to addresses.
    pub(crate) resolver: Arc<Resolver>,
    /// Room for bodies.
    pub(crate) memory: Memory,
    /// Plaintexts by placeholder.
    pub(crate) store: Arc<Store>,
    /// What providers' ids stand for.
    pub(crate) bindings: Bindings,
    /// Signed thinking that was restored.
    pub(crate) thoughts: Thoughts,
    /// What makes placeholders.
    pub(crate) key: SessionKey,
    /// Random label of the session key.
    pub(crate) hkey: [u8; 8],
    /// What happened so far.
    pub(crate) counters: Counters,
    /// Asks the others how they are.
    pub(crate) lookout: Lookout,
    /// The sandbox level reached.
    pub(crate) sandbox: String,
    /// Whoever started us.
    pub(crate) notify: Notify,
    /// Set once, when the process is to end.
    pub(crate) ending: watch::Sender<Ending>,
}

/// Whether, and how, the process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Ending {
    /// It serves.
    #[default]
    No,
    /// It was asked to stop.
    Stop,
    /// It must be started again, to take what its sandbox does not give.
    Restart,
}

impl Proxy {
    /// The kill switch, as a cause.
    pub(crate) fn armed(&self) -> Result<(), Cause> {
        let active = self.switch.check();
        if active.armed() { Err(Cause::KillSwitch(active.names())) } else { Ok(()) }
    }

    /// Records the refusal of a request that has no number yet; `host` in normal form, where it is
    /// known, as is the `session`. Where the log takes nothing now, the refusal is in no line.
    pub(crate) fn refused(
        &self,
        cause: &Cause,
        host: Option<&str>,
        session: Option<&Session>,
    ) -> Option<RequestRef> {
        self.counters.refuse(cause.code(), host, session);
        if let Cause::KillSwitch(_) = cause {
            let active = self.switch.check();
            return self.record.refuse(|at| killswitch::refused(at, active));
        }
        let reason = cause.block_reason()?;
        self.record.refuse(|at| self.block(at, reason, host))
    }

    /// The refusal of a host that is in no list. A name that holds a secret is not said.
    pub(crate) fn not_permitted(&self, host: &HostName) -> Cause {
        Cause::HostNotPermitted { host: self.is_innocent(host.as_str()).then(|| host.clone()) }
    }

    /// The fault that keeps everything here, tunnels too: no configuration, or no log that would let
    /// a request out.
    pub(crate) async fn fault(&self) -> Option<Cause> {
        match self.setup.current() {
            Err(error) => return Some(Cause::Config(error.to_string())),
            Ok(set) if !set.is_recorded() => return Some(Cause::Append),
            Ok(_) => {}
        }
        match self.record.probe(self.setup.fixed().append).await {
            Gate::Open => None,
            Gate::Shut(Refusal::UnsignedTail) => Some(Cause::Signer),
            Gate::Shut(_) | Gate::Silent | Gate::Away => Some(Cause::Append),
        }
    }

    /// Whether `host` may stand on a line: a name that holds a secret is a way to carry it out.
    /// Unknown, hence no, while there is no policy to tell by.
    pub(crate) fn is_innocent(&self, host: &str) -> bool {
        let set = self.setup.current();
        set.is_ok_and(|set| {
            let known = self.store.known_to_all();
            scan_head(&set.config.policy, &known, "CONNECT", host, [], &[]).is_ok()
        })
    }

    fn block(&self, at: RequestRef, reason: BlockReason, host: Option<&str>) -> Event {
        let set = self.setup.current().ok().filter(|set| set.is_recorded());
        Event::Block {
            at,
            host: host.filter(|host| self.is_innocent(host)).map(str::to_owned),
            reason,
            policy_hash: set.as_ref().map(|set| set.config.policy.hash()),
        }
    }
}

#[cfg(test)]
impl Proxy {
    /// One without a configuration, whose sentinel is in `dir`.
    pub(crate) fn for_tests(dir: &std::path::Path) -> Self {
        use std::time::Duration;

        use crate::config::ConfigError;
        use crate::store::Limits;
        use crate::upstream::{Environment, Files, Roots};

        let resolver = Arc::new(Resolver::new(Files::default()).unwrap());
        let record = Record::new([0; 8], Duration::from_millis(1));
        let none = Err(ConfigError::whole("config.yaml", "is missing"));
        let roots = Roots::load(None).unwrap();
        Self {
            setup: Setup::new(
                dir.to_owned(),
                Environment::default(),
                none,
                roots,
                Arc::clone(&resolver),
            ),
            switch: KillSwitch::new(dir.join("kill"), record.clone()),
            record,
            mint: Mint::new().unwrap().0,
            signer: mint::Peer { path: dir.join("mint.sock"), uid: 0, secret: [0; 32] },
            resolver,
            memory: Memory::new(64, Duration::from_secs(1)),
            store: Arc::new(Store::new(Limits::default())),
            bindings: Bindings::new(),
            thoughts: Thoughts::new(1024),
            key: SessionKey::new([0; 32]),
            hkey: [0; 8],
            counters: Counters::default(),
            lookout: Lookout::default(),
            sandbox: String::new(),
            notify: Notify::from_env().unwrap(),
            ending: watch::Sender::new(Ending::No),
        }
    }
}
