//! What keeps requests from being served. Whoever asks is told what is so now: auditd and the signer
//! are asked in turn, because one that hangs looks well from here until a request needs it.

use std::time::{Duration, Instant};

use protocol::append::Refusal;
use tokio::sync::Mutex;

use crate::proxy::Proxy;
use crate::record::Gate;

/// How long auditd and the signer may take to say how they are. Both are on this machine, and
/// answer within a millisecond unless a disk holds them up, which a flush may well do for a while.
const PATIENCE: Duration = Duration::from_millis(700);

/// Every code that [`Health::faults`] can hold.
pub(crate) const FAULTS: [&str; 10] = [
    "killswitch-engaged",
    "config-error",
    "signer-unavailable",
    "signer-silent",
    "log-unavailable",
    "log-silent",
    "log-unsigned",
    "log-full",
    "policy-unrecorded",
    "host-uncertified",
];

/// How everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    /// What keeps requests from being served, by stable code. Empty means healthy.
    pub(crate) faults: Vec<&'static str>,
    /// What does not, and should be known all the same.
    pub(crate) warnings: Vec<&'static str>,
    /// Whether the signer answers.
    pub(crate) signer_answers: bool,
    /// Whether auditd would let a request out.
    pub(crate) gate: Gate,
}

/// What is known without asking anybody.
pub(crate) fn faults(proxy: &Proxy) -> Vec<&'static str> {
    let set = proxy.setup.current();
    let recorded = set.as_ref().is_ok_and(|set| set.is_recorded());
    let faults = [
        (proxy.switch.check().armed(), "killswitch-engaged"),
        (set.is_err(), "config-error"),
        (!proxy.mint.is_up(), "signer-unavailable"),
        (!proxy.record.is_open(), "log-unavailable"),
        (set.is_ok() && !recorded, "policy-unrecorded"),
        (uncertified(proxy).next().is_some(), "host-uncertified"),
    ];
    faults.into_iter().filter(|(is, _)| *is).map(|(_, code)| code).collect()
}

/// Permitted hosts that the signer's CA does not cover. Unknown while it is away.
pub(crate) fn uncertified(proxy: &Proxy) -> impl Iterator<Item = String> {
    let names = proxy.mint.names();
    let set = proxy.setup.current().ok().filter(|_| !names.is_empty());
    let hosts: Vec<String> = set
        .map(|set| set.config.hosts.permitted().map(|entry| entry.host.to_string()).collect())
        .unwrap_or_default();
    hosts.into_iter().filter(move |host| !names.contains(host))
}

/// Asks auditd and the signer, for everybody who wants to know at the same time.
#[derive(Debug, Default)]
pub(crate) struct Lookout(Mutex<Option<(Instant, Seen)>>);

/// What they said.
#[derive(Debug, Clone, Copy)]
struct Seen {
    gate: Gate,
    signer_answers: bool,
}

impl Lookout {
    /// What they say now: never an answer to a question that was asked before this one.
    async fn look(&self, proxy: &Proxy) -> Seen {
        let since = Instant::now();
        let mut last = self.0.lock().await;
        if let Some((_, seen)) = last.filter(|(asked, _)| *asked >= since) {
            return seen;
        }
        let asked = Instant::now();
        let signer = async { proxy.mint.is_up() && proxy.signer.answers(PATIENCE).await };
        let (gate, signer_answers) = tokio::join!(proxy.record.probe(PATIENCE), signer);
        let seen = Seen { gate, signer_answers };
        *last = Some((asked, seen));
        seen
    }
}

/// How everything is now.
pub(crate) async fn look(proxy: &Proxy) -> Health {
    let Seen { gate, signer_answers } = proxy.lookout.look(proxy).await;
    let mut found = faults(proxy);
    if !signer_answers && !found.contains(&"signer-unavailable") {
        found.push("signer-silent");
    }
    let log = match gate {
        Gate::Open => None,
        Gate::Silent => Some("log-silent"),
        Gate::Shut(Refusal::UnsignedTail) => Some("log-unsigned"),
        Gate::Shut(Refusal::DiskFull) => Some("log-full"),
        Gate::Shut(_) | Gate::Away => Some("log-unavailable"),
    };
    if let Some(code) = log.filter(|_| !found.contains(&"log-unavailable")) {
        found.push(code);
    }
    let order = |code: &&str| FAULTS.iter().position(|known| known == code);
    found.sort_by_key(order);
    Health { faults: found, warnings: warnings(proxy), signer_answers, gate }
}

fn warnings(proxy: &Proxy) -> Vec<&'static str> {
    let refused = proxy.setup.last().is_some_and(|attempt| attempt.outcome.is_err());
    let set = proxy.setup.current();
    let passes = set.is_ok_and(|set| set.config.hosts.tunnels_unlisted());
    let warnings = [
        (refused, "reload-refused"),
        (passes, "unlisted-tunnelled"),
        (!proxy.store.is_locked(), "store-unlocked"),
    ];
    warnings.into_iter().filter(|(is, _)| *is).map(|(_, code)| code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn is_not_well_while_nobody_answers_and_every_code_is_a_known_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("kill"), "").unwrap();
        let proxy = Proxy::for_tests(dir.path());
        let health = look(&proxy).await;
        assert_eq!(
            health.faults,
            ["killswitch-engaged", "config-error", "signer-unavailable", "log-unavailable"]
        );
        assert!(health.faults.iter().all(|code| FAULTS.contains(code)));
    }
}
