//! `config.yaml` and `permitted_hosts.yaml` as they are written: the raw schema, no behaviour.
//!
//! Unknown keys are errors. The proxy turns these into its validated configuration; `waterwall-ctl
//! up` reads the parts it needs to start the daemons.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

/// `config.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    /// Loopback address and port agents connect to; port 0 takes any free one.
    pub listen: String,
    /// Port of the admin listener on 127.0.0.1; 0 takes any free one.
    pub admin_port: u16,
    /// The kill switch's `config` source.
    #[serde(deserialize_with = "truth")]
    pub kill_switch: bool,
    /// Whether an armed kill switch also cuts answers that are already coming back.
    #[serde(deserialize_with = "truth")]
    pub cut_streams: bool,
    /// Status of fail-closed refusals: 502, or 400, on which agents stop at once.
    pub refusal_status: u16,
    /// What to demand of the sandbox.
    pub sandbox: SandboxSetting,
    /// What to do with hosts that are neither permitted nor tunnelled.
    pub unlisted: UnlistedSetting,
    /// `host:port`, or `http://user:password@host:port`, of an HTTP proxy that upstream connections
    /// go through. That of the environment's `HTTPS_PROXY` when absent.
    pub upstream_proxy: Option<ProxyUrl>,
    /// Names, addresses and nets that are connected to directly all the same.
    pub no_proxy: Vec<String>,
    /// PEM files under the configuration folder whose certificates are trusted for every upstream.
    pub extra_roots: Vec<String>,
    /// Size limits.
    pub limits: Limits,
    /// Deadlines, in seconds.
    pub timeouts: Timeouts,
    /// Evidence settings.
    pub audit: Audit,
    /// Redaction settings.
    pub redaction: RedactionSettings,
}

impl Default for ConfigFile {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8888".into(),
            admin_port: 8889,
            kill_switch: false,
            cut_streams: false,
            refusal_status: 502,
            sandbox: SandboxSetting::default(),
            unlisted: UnlistedSetting::default(),
            upstream_proxy: None,
            no_proxy: Vec::new(),
            extra_roots: Vec::new(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            audit: Audit::default(),
            redaction: RedactionSettings::default(),
        }
    }
}

/// Where a proxy is, and perhaps the password for it: not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProxyUrl(String);

impl ProxyUrl {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyUrl(…)")
    }
}

/// A boolean, and nothing that could be taken for one: neither a text, which YAML readers like to
/// help along, nor nothing at all.
fn truth<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    struct Truth;
    impl Visitor<'_> for Truth {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true or false, without quotes")
        }

        fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }
    }
    value.deserialize_any(Truth)
}

/// What to demand of the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxSetting {
    /// Seccomp and Landlock file rules are required; what an older kernel lacks is reported.
    #[default]
    Auto,
    /// Refuse to start on a kernel without Landlock ABI 6.
    Strict,
}

/// What to do with hosts that are neither permitted nor tunnelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnlistedSetting {
    /// Answer 403.
    #[default]
    Refuse,
    /// Pass through untouched, except known model providers.
    Tunnel,
}

/// Size limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest request or JSON response body, in MiB.
    pub body_mib: u32,
    /// Bodies held at once, in MiB, over all requests.
    pub bodies_total_mib: u32,
    /// Client connections at once.
    pub connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_mib: 64, bodies_total_mib: 512, connections: 1024 }
    }
}

/// Deadlines, in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// From an upstream's name to a connection.
    pub connect: u32,
    /// The TLS handshake with an upstream.
    pub tls: u32,
    /// From sending a request to the head of its answer: a model may think that long.
    pub first_byte: u32,
    /// Waiting for auditd's acknowledgement.
    pub append: u32,
    /// Silence of an upstream within its answer before the exchange is given up.
    pub idle: u32,
    /// Waiting for room for a body, while others take all of `limits.bodies_total_mib`.
    pub room: u32,
    /// Requests in flight at shutdown.
    pub drain: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: 10, tls: 10, first_byte: 900, append: 5, idle: 900, room: 30, drain: 10 }
    }
}

/// Evidence settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Lines between two checkpoint lines.
    pub checkpoint_lines: u32,
    /// Seconds between two checkpoint lines while there is activity.
    pub checkpoint_seconds: u32,
    /// Seconds the signer may be away before egress closes.
    pub max_unsigned_seconds: u32,
    /// Name of the log; fixed by the first start. `waterwall.local/<random>` when absent.
    pub origin: Option<String>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            checkpoint_lines: 256,
            checkpoint_seconds: 60,
            max_unsigned_seconds: 60,
            origin: None,
        }
    }
}

/// Redaction settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedactionSettings {
    /// Plaintexts held at once.
    pub store_entries: u32,
    /// Hours from last use until a plaintext is forgotten.
    pub store_hours: u32,
    /// Bytes of plaintext held at once, in KiB; the locked arena's size.
    pub store_kib: u32,
}

impl Default for RedactionSettings {
    fn default() -> Self {
        Self { store_entries: 10_000, store_hours: 4, store_kib: 4096 }
    }
}

/// `permitted_hosts.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostsFile {
    /// Hosts that are intercepted. Not empty.
    pub hosts: Vec<HostEntry>,
    /// Hosts that are passed through untouched, by name, or by `name:port` for another port than
    /// that of HTTPS.
    #[serde(default = "default_tunnels")]
    pub tunnel: Vec<String>,
}

/// Login hosts that carry no model traffic.
fn default_tunnels() -> Vec<String> {
    ["console.anthropic.com", "platform.claude.com", "auth.openai.com"].map(String::from).to_vec()
}

impl Default for HostsFile {
    fn default() -> Self {
        let entry = |host: &str, sse_handler| HostEntry {
            host: host.into(),
            sse_handler,
            upstream: None,
            extra_root: None,
            websocket: None,
            refusal_status: None,
        };
        Self {
            hosts: vec![
                entry("api.anthropic.com", Handler::Anthropic),
                entry("api.openai.com", Handler::Openai),
                entry("api.deepseek.com", Handler::Openai),
                entry("openrouter.ai", Handler::Openai),
            ],
            tunnel: default_tunnels(),
        }
    }
}

/// One intercepted host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostEntry {
    /// Its name.
    pub host: String,
    /// Which provider's shapes it speaks.
    pub sse_handler: Handler,
    /// `address:port` or `name:port` to connect to instead of the host itself (private gateways,
    /// tests). The host's name is still what TLS verifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// PEM file under the configuration folder, trusted for this host besides the system's roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_root: Option<String>,
    /// Whether WebSockets to it are intercepted, or refused. On where the handler is `openai`, off
    /// elsewhere, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub websocket: Option<WebSocketSetting>,
    /// `refusal_status` of `config.yaml`, for this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal_status: Option<u16>,
}

impl HostEntry {
    /// Whether WebSockets to it are intercepted.
    #[must_use]
    pub fn takes_websockets(&self) -> bool {
        match self.websocket {
            Some(setting) => setting == WebSocketSetting::On,
            None => self.sse_handler == Handler::Openai,
        }
    }
}

/// What to do with WebSockets to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebSocketSetting {
    /// Intercept them.
    On,
    /// Answer the upgrade with 426, on which agents fall back to POST.
    Off,
}

/// Which provider's shapes a host speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handler {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Chat Completions and Responses, and those who speak like it.
    Openai,
    /// No known shapes: generic JSON and text.
    None,
}
