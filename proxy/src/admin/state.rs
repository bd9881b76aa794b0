//! How the proxy is, as JSON and as Prometheus text.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::counters::get;
use crate::proxy::Proxy;

/// What keeps requests from being served, by stable code. Empty means healthy.
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
fn uncertified(proxy: &Proxy) -> impl Iterator<Item = String> {
    let names = proxy.mint.names();
    let set = proxy.setup.current().ok().filter(|_| !names.is_empty());
    let hosts: Vec<String> = set
        .map(|set| set.config.hosts.permitted().map(|entry| entry.host.to_string()).collect())
        .unwrap_or_default();
    hosts.into_iter().filter(move |host| !names.contains(host))
}

/// What becomes of hosts that nobody listed; unknown without a host table.
fn unlisted(proxy: &Proxy) -> Option<&'static str> {
    let set = proxy.setup.current().ok()?;
    Some(if set.config.hosts.tunnels_unlisted() { "tunnel" } else { "refuse" })
}

/// `GET /healthz`.
pub(crate) fn health(proxy: &Proxy) -> (bool, Value) {
    let faults = faults(proxy);
    let healthy = faults.is_empty();
    let status = if healthy { "ok" } else { "unavailable" };
    let unlisted = unlisted(proxy);
    (
        healthy,
        json!({
            "status": status, "faults": faults, "sandbox": proxy.sandbox, "unlisted": unlisted,
        }),
    )
}

/// `GET /admin/state`.
pub(crate) fn state(proxy: &Proxy) -> Value {
    let set = proxy.setup.current();
    let config = set.as_ref().ok();
    let counters = &proxy.counters;
    json!({
        "faults": faults(proxy),
        "sandbox": proxy.sandbox,
        "config_error": set.as_ref().err().map(ToString::to_string),
        "kill_switch": { "sources_active": proxy.switch.check().names() },
        "policy": config.map(|set| json!({
            "hash": hex(&set.config.policy.hash()),
            "patterns": set.config.policy.pattern_count(),
            "recorded": set.is_recorded(),
        })),
        "hosts": config.map(|set| {
            let mut hosts: Vec<&str> =
                set.config.hosts.permitted().map(|entry| entry.host.as_str()).collect();
            hosts.sort_unstable();
            hosts
        }),
        "unlisted": unlisted(proxy),
        "hosts_uncertified": uncertified(proxy).collect::<Vec<_>>(),
        "signer": { "up": proxy.mint.is_up() },
        "log": { "open": proxy.record.is_open(), "unanswered": proxy.record.backlog() },
        "store": {
            "values": proxy.store.len(),
            "registered": proxy.store.registered_count(),
            "locked": proxy.store.is_locked(),
        },
        "counters": {
            "connections": get(&counters.connections),
            "forwarded": get(&counters.forwarded),
            "redacted": get(&counters.redacted),
            "restored": get(&counters.restored),
            "unknown_placeholders": get(&counters.unknown),
            "unlisted_tunnels": get(&counters.unlisted),
            "refused": counters.refused(),
        },
    })
}

/// `GET /metrics`, in Prometheus' text format.
pub(crate) fn metrics(proxy: &Proxy) -> String {
    let counters = &proxy.counters;
    let flag = |is: bool| u64::from(is);
    let plain = [
        ("waterwall_connections", "gauge", get(&counters.connections)),
        ("waterwall_healthy", "gauge", flag(faults(proxy).is_empty())),
        ("waterwall_kill_switch_armed", "gauge", flag(proxy.switch.check().armed())),
        ("waterwall_log_lines_unanswered", "gauge", wide(proxy.record.backlog())),
        ("waterwall_store_values", "gauge", wide(proxy.store.len())),
        ("waterwall_values_registered", "gauge", wide(proxy.store.registered_count())),
        ("waterwall_requests_forwarded_total", "counter", get(&counters.forwarded)),
        ("waterwall_values_redacted_total", "counter", get(&counters.redacted)),
        ("waterwall_placeholders_restored_total", "counter", get(&counters.restored)),
        ("waterwall_placeholders_unknown_total", "counter", get(&counters.unknown)),
        ("waterwall_tunnels_unlisted_total", "counter", get(&counters.unlisted)),
    ];
    let mut text = String::new();
    for (name, kind, value) in plain {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# TYPE {name} {kind}\n{name} {value}");
    }
    text.push_str("# TYPE waterwall_requests_refused_total counter\n");
    for (code, count) in counters.refused() {
        let _ = writeln!(text, "waterwall_requests_refused_total{{code=\"{code}\"}} {count}");
    }
    text
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
