//! What the operator wrote, validated: one set that is in force as a whole or not at all.

mod error;
mod files;
mod way;

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use protocol::names::HostName;
use protocol::settings::{
    Audit, ConfigFile, HostEntry, HostsFile, Limits, RedactionSettings, SandboxSetting,
    UnlistedSetting,
};

pub(crate) use self::error::ConfigError;
use self::files::{CONFIG, HOSTS, PATTERNS};
pub(crate) use self::files::{Fingerprint, line_behind};
use crate::hosts::{HTTPS, HostTable, Permitted, Upstream, carries_model_traffic};
use crate::redact::Policy;
use crate::upstream::{Environment, Limits as Dialling, Via, Way};

/// One valid set.
#[derive(Debug)]
pub(crate) struct Config {
    /// The host table.
    pub(crate) hosts: HostTable,
    /// The effective redaction policy.
    pub(crate) policy: Arc<Policy>,
    /// The kill switch's `config` source.
    pub(crate) kill_switch: bool,
    /// Whether an armed kill switch cuts answers that are coming back, too.
    pub(crate) cut_streams: bool,
    /// Status of fail-closed refusals.
    pub(crate) refusal_status: StatusCode,
    /// Certificates trusted for every upstream, in PEM.
    pub(crate) extra_roots: Vec<Vec<u8>>,
    /// The proxy that connections to upstreams go through.
    pub(crate) way: Arc<Way>,
    /// How long connections to upstreams may take.
    pub(crate) dialling: Dialling,
    /// From sending a request to the head of its answer.
    pub(crate) first_byte: Duration,
    /// Silence of an upstream within its answer before the exchange is given up.
    pub(crate) idle: Duration,
    /// Whether there is a pattern file.
    pub(crate) has_patterns: bool,
    /// Files under the folder that were read besides the three.
    pub(crate) further: Vec<String>,
    /// What only a restart can change.
    pub(crate) fixed: Fixed,
}

/// What only a restart can change: it was handed over, allocated or given away at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fixed {
    /// `listen` and `admin_port`, as written.
    pub(crate) listeners: (String, u16),
    /// What to demand of the sandbox.
    pub(crate) sandbox: SandboxSetting,
    /// Size limits.
    pub(crate) limits: Limits,
    /// Waiting for auditd's acknowledgement.
    pub(crate) append: Duration,
    /// Waiting for room for a body.
    pub(crate) room: Duration,
    /// Requests in flight at shutdown, which the supervisor waits for as well.
    pub(crate) drain: Duration,
    /// The plaintext store's size.
    pub(crate) redaction: RedactionSettings,
    /// What auditd was started with.
    pub(crate) audit: Audit,
}

impl Default for Fixed {
    fn default() -> Self {
        Self::of(&ConfigFile::default())
    }
}

impl Fixed {
    fn of(file: &ConfigFile) -> Self {
        Self {
            listeners: (file.listen.clone(), file.admin_port),
            sandbox: file.sandbox,
            limits: file.limits.clone(),
            append: seconds(file.timeouts.append),
            room: seconds(file.timeouts.room),
            drain: seconds(file.timeouts.drain),
            redaction: file.redaction.clone(),
            audit: file.audit.clone(),
        }
    }

    /// The first setting in which `next` differs.
    fn differs(&self, next: &Self) -> Option<&'static str> {
        let settings = [
            (self.listeners != next.listeners, "listen, admin_port"),
            (self.sandbox != next.sandbox, "sandbox"),
            (self.limits != next.limits, "limits"),
            (self.append != next.append, "timeouts.append"),
            (self.room != next.room, "timeouts.room"),
            (self.drain != next.drain, "timeouts.drain"),
            (self.redaction != next.redaction, "redaction"),
            (self.audit != next.audit, "audit"),
        ];
        settings.into_iter().find(|(differs, _)| *differs).map(|(_, name)| name)
    }
}

impl Config {
    /// Reads and validates the set in `dir`, for a process with this environment.
    ///
    /// # Errors
    ///
    /// The first fault found, naming file, line and key.
    pub(crate) fn load(dir: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        files::check_folder(dir)?;
        let text = files::require(dir, CONFIG)?;
        let file: ConfigFile = files::decode(CONFIG, &text)?;
        let source = Source { file: CONFIG, text: &text };
        check_settings(source, &file)?;
        let extra_roots = file
            .extra_roots
            .iter()
            .map(|path| files::pem(dir, path).map_err(|why| source.at("extra_roots", path, why)))
            .collect::<Result<_, _>>()?;
        let (hosts, mut further) = load_hosts(dir, file.unlisted == UnlistedSetting::Tunnel)?;
        further.extend(file.extra_roots.iter().cloned());
        let (policy, has_patterns) = load_policy(dir)?;
        Ok(Self {
            hosts,
            policy: Arc::new(policy),
            has_patterns,
            further,
            kill_switch: file.kill_switch,
            cut_streams: file.cut_streams,
            refusal_status: refusal_status(source, file.refusal_status)?,
            extra_roots,
            way: Arc::new(way::load(source, &file, environment)?),
            dialling: Dialling {
                connect: seconds(file.timeouts.connect),
                tls: seconds(file.timeouts.tls),
            },
            first_byte: seconds(file.timeouts.first_byte),
            idle: seconds(file.timeouts.idle),
            fixed: Fixed::of(&file),
        })
    }

    /// Whether `config.yaml` in `dir`, read on its own, arms the kill switch: a fault elsewhere in
    /// the set must not keep that from happening.
    pub(crate) fn arms(dir: &Path) -> bool {
        let text = files::check_folder(dir).and_then(|()| files::require(dir, CONFIG));
        let file = text.and_then(|text| files::decode::<ConfigFile>(CONFIG, &text));
        file.is_ok_and(|file| file.kill_switch)
    }

    /// Whether this set is `other` in every respect.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let Self {
            hosts,
            policy,
            kill_switch,
            cut_streams,
            refusal_status,
            extra_roots,
            way,
            dialling,
            first_byte,
            idle,
            has_patterns,
            further,
            fixed,
        } = self;
        *hosts == other.hosts
            && policy.hash() == other.policy.hash()
            && (*kill_switch, *cut_streams) == (other.kill_switch, other.cut_streams)
            && *refusal_status == other.refusal_status
            && *extra_roots == other.extra_roots
            && (way, dialling) == (&other.way, &other.dialling)
            && (*first_byte, *idle) == (other.first_byte, other.idle)
            && *has_patterns == other.has_patterns
            && *further == other.further
            && *fixed == other.fixed
    }

    /// Whether connections that were made under `other` are ones that this set would make. All that
    /// [`Upstreams`](crate::upstream::Upstreams) is made of has to be compared here.
    pub(crate) fn connects_as(&self, other: &Self) -> bool {
        self.hosts == other.hosts
            && self.extra_roots == other.extra_roots
            && (&self.way, &self.dialling) == (&other.way, &other.dialling)
    }

    /// The TCP ports of any set.
    pub(crate) fn least_ports() -> BTreeSet<u16> {
        [HTTPS, DNS].into()
    }

    /// The TCP ports that upstreams, tunnels' ends and name servers of this set listen on.
    pub(crate) fn ports(&self) -> BTreeSet<u16> {
        let named = self.hosts.permitted().filter_map(|entry| entry.upstream.as_ref());
        let via = self.way.via.as_ref().map(Via::port);
        let ports = named.map(Upstream::port).chain(self.hosts.tunnel_ports()).chain(via);
        ports.chain(Self::least_ports()).collect()
    }

    /// Whether this set can follow `old`, of which the CA covers `covered`.
    ///
    /// # Errors
    ///
    /// A host that is new and that no certificate can be had for, or a pattern file that is gone.
    pub(crate) fn can_replace(
        &self,
        dir: &Path,
        old: &Self,
        covered: &[String],
    ) -> Result<(), ConfigError> {
        if old.has_patterns && !self.has_patterns {
            let reason = "is gone; where no patterns of your own are wanted, leave it empty";
            return Err(ConfigError::whole(PATTERNS, reason));
        }
        let is_new = |host: &&HostName| !old.hosts.permitted().any(|entry| entry.host == **host);
        let uncovered = |host: &&HostName| !covered.iter().any(|name| name == host.as_str());
        let mut hosts = self.hosts.permitted().map(|entry| &entry.host).filter(is_new);
        let Some(host) = hosts.find(uncovered) else { return Ok(()) };
        let text = files::require(dir, HOSTS)?;
        let reason = format!(
            "{host} is not covered by the CA: run `waterwall-ctl regen-ca` between `down` and `up`"
        );
        Err(ConfigError::at(HOSTS, &text, "host", host.as_str(), reason))
    }

    /// Whether hosts are intercepted that `old` did not intercept.
    pub(crate) fn adds_hosts(&self, old: &Self) -> bool {
        let knows = |host: &HostName| old.hosts.permitted().any(|entry| entry.host == *host);
        self.hosts.permitted().any(|entry| !knows(&entry.host))
    }

    /// Whether this set can follow one that was started with `fixed` and may reach `ports`.
    ///
    /// # Errors
    ///
    /// What needs a restart.
    pub(crate) fn can_follow(
        &self,
        fixed: &Fixed,
        ports: &BTreeSet<u16>,
    ) -> Result<(), ConfigError> {
        let restart = |file: &str, key: &str, what: String| ConfigError {
            key: Some(key.to_owned()),
            ..ConfigError::whole(file, format!("{what}: restart needed"))
        };
        if let Some(key) = fixed.differs(&self.fixed) {
            return Err(restart(CONFIG, key, "cannot change while running".into()));
        }
        let outside = |port| format!("port {port} is outside the sandbox");
        let via = self.way.via.as_ref().map(Via::port).filter(|port| !ports.contains(port));
        if let Some(port) = via {
            return Err(restart(CONFIG, "upstream_proxy", outside(port)));
        }
        match self.ports().difference(ports).next() {
            Some(port) => Err(restart(HOSTS, "upstream, tunnel", outside(*port))),
            None => Ok(()),
        }
    }
}

/// The port of name servers.
const DNS: u16 = 53;

/// A file's name and text, for faults that are found after decoding.
#[derive(Clone, Copy)]
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn at(self, key: &str, value: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError::at(self.file, self.text, key, value, reason)
    }

    /// Refuses a list key with nothing behind it: YAML reads that as no value, which an operator
    /// who meant "none" writes `[]`, and one who lost the entries did not mean.
    fn check_list(self, key: &str, list: &[String]) -> Result<(), ConfigError> {
        let bare = |line: &str| {
            let content = line.split(" #").next().unwrap_or(line).trim_end();
            content.strip_suffix(':') == Some(key)
        };
        if list.is_empty() && self.text.lines().any(bare) {
            return Err(self.at(key, "", "has no entries; write [] for none"));
        }
        Ok(())
    }
}

fn check_settings(source: Source<'_>, file: &ConfigFile) -> Result<(), ConfigError> {
    source.check_list("extra_roots", &file.extra_roots)?;
    let loopback = file.listen.parse::<SocketAddr>().is_ok_and(|at| at.ip().is_loopback());
    if !loopback {
        let reason = "must be a loopback address and port, such as 127.0.0.1:8888";
        return Err(source.at("listen", &file.listen, reason));
    }
    refusal_status(source, file.refusal_status)?;
    let limits = &file.limits;
    let ranges = [
        ("limits.body_mib", limits.body_mib, 1, 1024),
        ("limits.bodies_total_mib", limits.bodies_total_mib, limits.body_mib, 65_536),
        ("limits.connections", limits.connections, 1, 65_536),
        ("timeouts.connect", file.timeouts.connect, 1, 600),
        ("timeouts.tls", file.timeouts.tls, 1, 600),
        ("timeouts.first_byte", file.timeouts.first_byte, 1, 86_400),
        ("timeouts.append", file.timeouts.append, 1, 60),
        ("timeouts.idle", file.timeouts.idle, 1, 86_400),
        ("timeouts.drain", file.timeouts.drain, 0, 600),
        ("timeouts.room", file.timeouts.room, 1, 600),
        ("redaction.store_entries", file.redaction.store_entries, 1, 1_000_000),
        ("redaction.store_hours", file.redaction.store_hours, 1, 8760),
        ("redaction.store_kib", file.redaction.store_kib, 64, 1024 * 1024),
    ];
    for (key, value, low, high) in ranges {
        if !(low..=high).contains(&value) {
            let reason = format!("must be from {low} to {high}");
            return Err(source.at(key, &value.to_string(), reason));
        }
    }
    Ok(())
}

/// The status of fail-closed refusals: the specification's, or the one on which agents stop at once.
fn refusal_status(source: Source<'_>, written: u16) -> Result<StatusCode, ConfigError> {
    match written {
        502 => Ok(StatusCode::BAD_GATEWAY),
        400 => Ok(StatusCode::BAD_REQUEST),
        other => Err(source.at("refusal_status", &other.to_string(), "must be 502 or 400")),
    }
}

/// The host table, and the files that it names.
fn load_hosts(dir: &Path, tunnel_unlisted: bool) -> Result<(HostTable, Vec<String>), ConfigError> {
    let text = files::require(dir, HOSTS)?;
    let file: HostsFile = files::decode(HOSTS, &text)?;
    let source = Source { file: HOSTS, text: &text };
    if file.hosts.is_empty() {
        return Err(source.at("hosts", "", "must not be empty"));
    }
    source.check_list("tunnel", &file.tunnel)?;
    let twice = |key: &str, text: &str| source.at(key, text, "is listed twice");
    let mut seen = HashSet::new();
    let mut intercepted = Vec::new();
    for entry in &file.hosts {
        let text = &entry.host;
        let name = HostName::normalise(text).map_err(|e| source.at("host", text, e.to_string()))?;
        if !seen.insert(name.clone()) {
            return Err(twice("host", text));
        }
        intercepted.push(permitted(dir, source, name, entry)?);
    }
    let mut tunnel = Vec::new();
    for text in &file.tunnel {
        let (name, port) = tunnelled(source, text)?;
        // Also on another port: what is intercepted is not passed through beside that.
        if seen.contains(&name) || tunnel.contains(&(name.clone(), port)) {
            return Err(twice("tunnel", text));
        }
        tunnel.push((name, port));
    }
    let further = file.hosts.iter().filter_map(|entry| entry.extra_root.clone()).collect();
    Ok((HostTable::new(intercepted, tunnel, tunnel_unlisted), further))
}

/// A tunnel's name and port, that of HTTPS where it names none.
fn tunnelled(source: Source<'_>, text: &str) -> Result<(HostName, u16), ConfigError> {
    let bad = |reason: String| source.at("tunnel", text, reason);
    let (name, port) = match text.rsplit_once(':') {
        None => (text, HTTPS),
        Some((name, digits)) => {
            let is_number = digits.bytes().all(|b| b.is_ascii_digit());
            let port = digits.parse().ok().filter(|port| is_number && *port != 0);
            (name, port.ok_or_else(|| bad("must be a name or name:port".into()))?)
        }
    };
    let name = HostName::normalise(name).map_err(|error| bad(error.to_string()))?;
    if carries_model_traffic(&name) {
        let reason = "serves models and can be intercepted, not tunnelled: list it under hosts";
        return Err(bad(reason.into()));
    }
    Ok((name, port))
}

fn permitted(
    dir: &Path,
    source: Source<'_>,
    host: HostName,
    entry: &HostEntry,
) -> Result<Permitted, ConfigError> {
    let upstream = entry.upstream.as_deref().map(|text| {
        Upstream::parse(text)
            .ok_or_else(|| source.at("upstream", text, "must be address:port or name:port"))
    });
    let extra_root = entry
        .extra_root
        .as_deref()
        .map(|path| files::pem(dir, path).map_err(|why| source.at("extra_root", path, why)));
    Ok(Permitted {
        host,
        handler: entry.sse_handler,
        upstream: upstream.transpose()?,
        extra_root: extra_root.transpose()?,
        websocket: entry.takes_websockets(),
        refusal_status: entry
            .refusal_status
            .map(|status| refusal_status(source, status))
            .transpose()?,
    })
}

/// The effective policy, and whether there is a pattern file.
fn load_policy(dir: &Path) -> Result<(Policy, bool), ConfigError> {
    let text = files::read(dir, PATTERNS)?;
    let policy = Policy::load(text.as_deref().map(|text| (PATTERNS, text)));
    let policy = policy.map_err(|error| ConfigError {
        line: (error.line > 0).then_some(error.line),
        ..ConfigError::whole(&error.file, error.reason.to_string())
    })?;
    Ok((policy, text.is_some()))
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "hosts:\n- {host: API.Example.com, sse_handler: none}\n";

    fn load(config: &str, hosts: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CONFIG), config).unwrap();
        std::fs::write(dir.path().join(HOSTS), hosts).unwrap();
        Config::load(dir.path(), &Environment::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_of_settings_means_the_defaults() {
        let config = load("{}", ENTRY).unwrap();
        assert_eq!(config.refusal_status, 502);
        assert_eq!(config.fixed, Fixed::default());
        assert_eq!(config.ports(), BTreeSet::from([53, 443]));
    }

    #[test]
    fn a_missing_file_is_never_replaced_by_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let error = Config::load(dir.path(), &Environment::default()).unwrap_err().to_string();
        assert_eq!(error, "config.yaml: is missing");
    }

    #[test]
    fn names_file_line_and_key_of_values_that_make_no_sense() {
        for (text, expected) in [
            ("refusal_status: 418\n", "config.yaml:1: refusal_status: "),
            ("listen: 0.0.0.0:8888\n", "config.yaml:1: listen: "),
            ("limits:\n  body_mib: 0\n", "config.yaml:2: limits.body_mib: "),
            ("timeouts: {tls: 0}\n", "config.yaml:1: timeouts.tls: "),
            ("extra_roots: [none.pem]\n", "config.yaml:1: extra_roots: "),
            ("extra_roots:\n", "config.yaml:1: extra_roots: "),
        ] {
            let error = load(text, ENTRY).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn names_file_line_and_key_of_a_bad_host_table() {
        for (text, expected) in [
            ("hosts: []\n", "permitted_hosts.yaml:1: hosts: must not be empty"),
            ("hosts:\n", "permitted_hosts.yaml:1: hosts: must not be empty"),
            ("hosts:\n- {host: a..b, sse_handler: none}\n", "permitted_hosts.yaml:2: host: "),
            (
                &format!("{ENTRY}- {{host: api.example.com., sse_handler: none}}\n"),
                "permitted_hosts.yaml:3: host: is listed twice",
            ),
            (&format!("{ENTRY}tunnel: [chatgpt.com]\n"), "permitted_hosts.yaml:3: tunnel: "),
            (&format!("{ENTRY}tunnel:\n"), "permitted_hosts.yaml:3: tunnel: "),
            (&format!("{ENTRY}tunnel: [\"a.example:0\"]\n"), "permitted_hosts.yaml:3: tunnel: "),
            (
                &format!("{ENTRY}tunnel: [\"chatgpt.com:8443\"]\n"),
                "permitted_hosts.yaml:3: tunnel: ",
            ),
            (
                &format!("{ENTRY}tunnel: [\"api.example.com:8443\"]\n"),
                "permitted_hosts.yaml:3: tunnel: is listed twice",
            ),
            (
                "hosts:\n- host: a.example\n  sse_handler: none\n  refusal_status: 500\n",
                "permitted_hosts.yaml:4: refusal_status: must be 502 or 400",
            ),
            (
                "hosts:\n- host: a.example\n  sse_handler: none\n  upstream: nowhere\n",
                "permitted_hosts.yaml:4: upstream: ",
            ),
        ] {
            let error = load("{}", text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn websockets_are_taken_where_the_handler_is_openai_or_the_entry_says_so() {
        for (entry, taken) in [
            ("sse_handler: openai", true),
            ("sse_handler: anthropic", false),
            ("sse_handler: none", false),
            ("sse_handler: openai, websocket: off", false),
            ("sse_handler: none, websocket: on", true),
        ] {
            let config = load("{}", &format!("hosts:\n- {{host: a.example, {entry}}}\n")).unwrap();
            assert_eq!(config.hosts.permitted().next().unwrap().websocket, taken, "{entry}");
        }
        let wrong = "hosts:\n- {host: a.example, sse_handler: none, websocket: maybe}\n";
        assert!(load("{}", wrong).unwrap_err().starts_with("permitted_hosts.yaml:2: "));
    }

    #[test]
    fn what_the_sandbox_fixed_needs_a_restart() {
        let first = load("{}", ENTRY).unwrap();
        let ports = first.ports();
        let next = load("limits: {body_mib: 32}\n", ENTRY).unwrap();
        let error = next.can_follow(&first.fixed, &ports).unwrap_err().to_string();
        assert!(error.contains("limits") && error.contains("restart needed"), "{error}");
        let elsewhere =
            "hosts:\n- {host: a.example, sse_handler: none, upstream: \"b.example:444\"}\n";
        let next = load("{}", elsewhere).unwrap();
        let error = next.can_follow(&first.fixed, &ports).unwrap_err().to_string();
        assert!(error.contains("444") && error.contains("restart needed"), "{error}");
        assert!(
            load("kill_switch: true\n", ENTRY).unwrap().can_follow(&first.fixed, &ports).is_ok()
        );
    }
}
