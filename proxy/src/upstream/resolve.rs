//! Names to addresses, in process: glibc's resolver cannot run in the sandbox.
//!
//! The hosts file wins, as it does for every other program on the machine; then the servers of
//! `resolv.conf` are asked. Both are handed in as bytes, because they lie outside what the sandbox
//! lets this process read.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use protocol::names::HostName;

use super::race::Family;

/// What the system's resolver files say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Files {
    servers: Vec<IpAddr>,
    timeout: Option<u64>,
    attempts: Option<usize>,
    hosts: HashMap<HostName, Vec<IpAddr>>,
}

impl Files {
    /// Reads the contents of `resolv.conf` and of the hosts file. What they hold besides names and
    /// addresses is passed over, as the system's resolver does.
    pub(crate) fn parse(resolv_conf: &[u8], hosts: &[u8]) -> Self {
        let mut files = Self { hosts: parse_hosts(hosts), ..Self::default() };
        for line in lines(resolv_conf) {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => files.servers.extend(words.next().and_then(address)),
                Some("options") => words.for_each(|option| files.option(option)),
                _ => {}
            }
        }
        if files.servers.is_empty() {
            // resolv.conf(5): without an entry, the name server on the local machine.
            files.servers.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        files
    }

    fn option(&mut self, option: &str) {
        if let Some(value) = option.strip_prefix("timeout:") {
            self.timeout = value.parse().ok();
        } else if let Some(value) = option.strip_prefix("attempts:") {
            self.attempts = value.parse().ok();
        }
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &str> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .map(|line| line.split(['#', ';']).next().unwrap_or(line))
}

/// An address, with or without a zone, which only a link-local one has.
fn address(text: &str) -> Option<IpAddr> {
    text.split('%').next().unwrap_or(text).parse().ok()
}

fn parse_hosts(bytes: &[u8]) -> HashMap<HostName, Vec<IpAddr>> {
    let mut hosts: HashMap<HostName, Vec<IpAddr>> = HashMap::new();
    for line in lines(bytes) {
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next().and_then(address) else { continue };
        for name in words.filter_map(|name| HostName::normalise(name).ok()) {
            let known = hosts.entry(name).or_default();
            if !known.contains(&address) {
                known.push(address);
            }
        }
    }
    hosts
}

/// The resolver. Its files can be replaced while it runs.
#[derive(Debug)]
pub(crate) struct Resolver {
    current: RwLock<Arc<Current>>,
}

#[derive(Debug)]
struct Current {
    hosts: HashMap<HostName, Vec<IpAddr>>,
    dns: TokioResolver,
}

impl Resolver {
    /// A resolver of `files`.
    ///
    /// # Errors
    ///
    /// When the DNS client cannot be set up.
    pub(crate) fn new(files: Files) -> io::Result<Self> {
        Ok(Self { current: RwLock::new(Arc::new(Current::new(files)?)) })
    }

    /// Replaces the files.
    ///
    /// # Errors
    ///
    /// When the DNS client cannot be set up; the old files stay in force.
    pub(crate) fn replace(&self, files: Files) -> io::Result<()> {
        let next = Arc::new(Current::new(files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// The addresses of `host` that are known without asking anybody, in the order to try them.
    pub(super) fn listed(&self, host: &HostName) -> Option<Vec<IpAddr>> {
        if let Some(addresses) = self.current().hosts.get(host) {
            return Some(addresses.clone());
        }
        // RFC 6761 section 6.3: never asked of the network.
        let is_local = host.as_str() == "localhost" || host.as_str().ends_with(".localhost");
        is_local.then(|| vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()])
    }

    /// Asks the name servers for the addresses of `host` in one family.
    ///
    /// # Errors
    ///
    /// When none are known.
    pub(super) async fn ask(&self, host: &HostName, family: Family) -> io::Result<Vec<IpAddr>> {
        // The trailing dot keeps search domains out.
        let (current, name) = (self.current(), format!("{host}."));
        let found = match family {
            Family::V6 => current.dns.ipv6_lookup(name).await,
            Family::V4 => current.dns.ipv4_lookup(name).await,
        };
        let found = found.map_err(io::Error::other)?;
        Ok(found.answers().iter().filter_map(|record| record.data.ip_addr()).collect())
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Current {
    fn new(files: Files) -> io::Result<Self> {
        let servers = files.servers.into_iter().map(NameServerConfig::udp_and_tcp).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut options = ResolverOpts::default();
        options.timeout = Duration::from_secs(files.timeout.unwrap_or(5).clamp(1, 30));
        options.attempts = files.attempts.unwrap_or(2).clamp(1, 5);
        let dns = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()
            .map_err(io::Error::other)?;
        Ok(Self { hosts: files.hosts, dns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HostName {
        HostName::normalise(text).unwrap()
    }

    #[test]
    fn reads_name_servers_and_options() {
        let conf =
            b"# c\nnameserver 10.0.0.1\nnameserver fe80::1%eth0 ; x\noptions timeout:2 rotate\n";
        let files = Files::parse(conf, b"");
        let expected: Vec<IpAddr> = vec!["10.0.0.1".parse().unwrap(), "fe80::1".parse().unwrap()];
        assert_eq!(files.servers, expected);
        assert_eq!((files.timeout, files.attempts), (Some(2), None));
    }

    #[test]
    fn asks_the_local_machine_where_no_server_is_named() {
        assert_eq!(Files::parse(b"", b"").servers, [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }

    #[test]
    fn the_hosts_file_wins_also_with_a_loopback_address() {
        let hosts = b"127.0.0.1 localhost\n127.0.0.9\tAPI.Anthropic.com alias # note\n\xff\n";
        let resolver = Resolver::new(Files::parse(b"", hosts)).unwrap();
        let expected: Vec<IpAddr> = vec!["127.0.0.9".parse().unwrap()];
        assert_eq!(resolver.listed(&name("api.anthropic.com")).unwrap(), expected);
        assert_eq!(resolver.listed(&name("alias")).unwrap(), expected);
    }

    #[test]
    fn later_contents_replace_earlier_ones() {
        let resolver = Resolver::new(Files::parse(b"", b"127.0.0.1 a.example")).unwrap();
        resolver.replace(Files::parse(b"", b"127.0.0.2 a.example")).unwrap();
        let expected: Vec<IpAddr> = vec!["127.0.0.2".parse().unwrap()];
        assert_eq!(resolver.listed(&name("a.example")).unwrap(), expected);
    }
}
