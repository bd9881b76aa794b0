//! HTTP as nobody should speak it, from agents and from providers: nothing crashes, nothing hangs,
//! nothing unscanned leaves, memory stays bounded, the log verifies, and the next request is served.

mod frames;
mod http1;
mod http2;
mod upstream1;
mod upstream2;

use std::time::Duration;

use harness::agent::Agent;
use harness::provider::Provider;
use harness::raw::Raw;
use harness::secrets;
use harness::shape::{SHAPES, Shape};
use harness::waterwall::{Waterwall, said};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const HOST: &str = "api.anthropic.com";
const ROLES: [&str; 3] = ["proxy", "signer", "auditd"];

/// Longer than any answer may take, however many tests run at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the proxy may have taken beside what it had, in KiB, whatever was thrown at it.
const BOUND: u64 = 96 * 1024;

/// A Waterwall that has to outlive a story.
struct Siege {
    provider: Provider,
    waterwall: Waterwall,
    pids: [Pid; 3],
    memory: u64,
}

impl Siege {
    /// In front of a provider that means well.
    async fn of_agents() -> Self {
        let siege = Self::begin(Provider::echo().await, 60);
        siege.serves().await;
        Self { memory: siege.memory_now(), ..siege }
    }

    /// In front of `provider`, which may be silent for `idle` seconds.
    fn begin(provider: Provider, idle: u32) -> Self {
        let config =
            format!("timeouts:\n  first_byte: {idle}\n  idle: {idle}\nlimits:\n  body_mib: 4\n");
        let waterwall = Waterwall::start_with(&provider, &config);
        let pids = ROLES.map(|role| waterwall.pid(role));
        let mut siege = Self { provider, waterwall, pids, memory: 0 };
        siege.memory = siege.memory_now();
        siege
    }

    fn memory_now(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pids[0]));
        let status = status.expect("the proxy lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let size = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        size.expect("the kernel says how much memory it has")
    }

    /// Demands that a request is served as if nothing had been.
    async fn serves(&self) {
        for agent in [Agent::new(&self.waterwall), Agent::http1(&self.waterwall)] {
            let shape = Shape::Messages;
            let answer = agent.post_json(shape.url(), &SHAPES[0].request(secrets::GITHUB)).await;
            assert_eq!(shape.text_of(&answer), secrets::GITHUB);
        }
    }

    /// Demands that the same daemons live, within bounds.
    fn stands(&self) {
        assert_eq!(ROLES.map(|role| self.waterwall.pid(role)), self.pids, "a daemon died");
        let memory = self.memory_now();
        assert!(memory < self.memory + BOUND, "{} KiB grew to {memory}", self.memory);
    }

    /// Demands that all of it left nothing behind, and no secret anywhere.
    fn end(self) {
        self.stands();
        for secret in [secrets::AWS, secrets::GITHUB] {
            assert!(!self.provider.saw(secret));
        }
        let messages = std::fs::read_to_string(self.waterwall.path("state/up.log"));
        let messages = messages.expect("there are messages");
        assert!(!messages.contains("panicked"), "{messages}");
        assert!(!messages.contains(secrets::AWS), "{messages}");
        self.waterwall.down();
        let verdict = self.waterwall.verify_chain();
        assert_eq!(verdict.status.code(), Some(0), "{}", said(&verdict));
    }

    /// TLS inside a CONNECT, with `alpn` agreed on.
    async fn open(&self, alpn: &[u8]) -> TlsStream<TcpStream> {
        let raw = Raw::new(&self.waterwall);
        let tls = raw.tls(&format!("{HOST}:443"), HOST, &[alpn]).await.expect("a handshake");
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(alpn));
        tls
    }
}

/// A body that asks for nothing but what an echo gives, with a secret in it.
fn body() -> String {
    SHAPES[0].request(secrets::AWS).to_string()
}
