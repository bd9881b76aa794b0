//! How the proxy is, as JSON.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use protocol::evidence::timestamp::Timestamp;
use serde_json::{Value, json};

use super::health::{Health, look, uncertified};
use crate::counters::{Happened, Overview, SESSIONS_MOST, Tally, WINDOW, What, get, quantile};
use crate::killswitch::ALL;
use crate::proxy::Proxy;
use crate::record::Gate;
use crate::setup::InForce;

/// Version of the two objects.
const VERSION: u64 = 1;

/// Characters of a session's id that are shown to whoever cannot prove to be the operator.
const SHORT: usize = 16;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The operator, by token.
    Operator,
    /// Anybody on this machine: ids of sessions are cut short.
    Anybody,
}

/// What becomes of hosts that nobody listed; unknown without a host table.
fn unlisted(proxy: &Proxy) -> Option<&'static str> {
    let set = proxy.setup.current().ok()?;
    Some(if set.config.hosts.tunnels_unlisted() { "tunnel" } else { "refuse" })
}

/// `GET /healthz`, and whether it is well.
pub(crate) async fn health(proxy: &Proxy) -> (bool, Value) {
    let health = look(proxy).await;
    let set = proxy.setup.current().ok();
    let sources = proxy.switch.check();
    let age = proxy.counters.started().1.as_secs();
    let body = json!({
        "v": VERSION,
        "status": status(&health),
        "faults": health.faults,
        "warnings": health.warnings,
        "version": env!("CARGO_PKG_VERSION"),
        "ts": stamp(SystemTime::now()),
        "uptime_seconds": age,
        "sandbox": proxy.sandbox,
        "unlisted": unlisted(proxy),
        "killswitch_active": sources.armed(),
        "killswitch_sources": sources.names(),
        "config_valid": set.is_some(),
        "policy_hash": set.as_ref().map(|set| hex(&set.config.policy.hash())),
        "patterns_loaded": set.as_ref().map(|set| set.config.policy.pattern_count()),
        "signer_answers": health.signer_answers,
        "log_open": health.gate == Gate::Open,
        "audit_lag_ms": millis(proxy.record.lag()),
        "session_key_age_seconds": age,
        "last_upstream_ok_ts": proxy.counters.last_answer().map(stamp),
        "store_values": proxy.store.len(),
        "store_capacity": proxy.setup.fixed().redaction.store_entries,
    });
    (health.faults.is_empty(), body)
}

/// `GET /admin/state`.
pub(crate) async fn state(proxy: &Proxy, audience: Audience) -> Value {
    let health = look(proxy).await;
    let set = proxy.setup.current();
    let counters = &proxy.counters;
    let overview = counters.overview();
    let (started, age) = counters.started();
    json!({
        "v": VERSION,
        "version": env!("CARGO_PKG_VERSION"),
        "ts": stamp(SystemTime::now()),
        "started_ts": stamp(started),
        "uptime_seconds": age.as_secs(),
        "status": status(&health),
        "faults": health.faults,
        "warnings": health.warnings,
        "sandbox": proxy.sandbox,
        "session_key": { "label": hex(&proxy.hkey), "age_seconds": age.as_secs() },
        "config_error": set.as_ref().err().map(ToString::to_string),
        "last_reload": last_reload(proxy),
        "kill_switch": kill_switch(proxy),
        "policy": set.as_ref().ok().map(|set| policy(set)),
        "hosts": set.as_ref().ok().map(|set| hosts(set)),
        "unlisted": unlisted(proxy),
        "hosts_uncertified": uncertified(proxy).collect::<Vec<_>>(),
        "signer": { "up": proxy.mint.is_up(), "answers": health.signer_answers },
        "log": log(proxy, &health),
        "queues": queues(proxy),
        "upstream": { "last_ok_ts": counters.last_answer().map(stamp) },
        "store": store(proxy),
        "counters": {
            "connections": get(&counters.connections),
            "forwarded": get(&counters.forwarded),
            "redacted": get(&counters.redacted),
            "restored": get(&counters.restored),
            "unknown_placeholders": get(&counters.unknown),
            "unlisted_tunnels": get(&counters.unlisted),
            "refused": counters.refused(),
        },
        "counters_5m": last_minutes(&overview),
        "sessions": sessions(&overview, audience),
        "sessions_started": overview.sessions_started,
        "sessions_displaced": overview.sessions_displaced,
        "sessions_capacity": SESSIONS_MOST,
        "recent_activity":
            overview.events.iter().map(|event| activity(event, audience)).collect::<Vec<_>>(),
    })
}

fn status(health: &Health) -> &'static str {
    if health.faults.is_empty() { "ok" } else { "fail" }
}

fn last_reload(proxy: &Proxy) -> Option<Value> {
    use crate::setup::Reloaded;
    let attempt = proxy.setup.last()?;
    let (outcome, error) = match attempt.outcome {
        Ok(Reloaded::InForce) => ("in force", None),
        Ok(Reloaded::Unchanged) => ("unchanged", None),
        Ok(Reloaded::Restart) => ("restarting", None),
        Err(error) => ("refused", Some(error)),
    };
    let (ts, actor) = (stamp(attempt.at), attempt.actor);
    Some(json!({ "ts": ts, "actor": actor, "outcome": outcome, "error": error }))
}

fn kill_switch(proxy: &Proxy) -> Value {
    let active = proxy.switch.check();
    let mut value = json!({
        "active": active.armed(),
        "sources_active": active.names(),
        "cut_streams": proxy.switch.cuts_streams(),
        "armed_by": proxy.switch.armings().into_iter().map(|arming| json!({
            "source": arming.source.name(),
            "actor": arming.actor,
            "reason": arming.reason,
            "ts": stamp(arming.at),
        })).collect::<Vec<_>>(),
    });
    for source in ALL {
        value[source.name()] = active.has(source).into();
    }
    value
}

fn policy(set: &InForce) -> Value {
    json!({
        "hash": hex(&set.config.policy.hash()),
        "patterns": set.config.policy.pattern_count(),
        "recorded": set.is_recorded(),
        "loaded_ts": stamp(set.since),
    })
}

fn hosts(set: &InForce) -> Vec<&str> {
    let mut hosts: Vec<&str> =
        set.config.hosts.permitted().map(|entry| entry.host.as_str()).collect();
    hosts.sort_unstable();
    hosts
}

fn log(proxy: &Proxy, health: &Health) -> Value {
    let (gate, last) = (health.gate, proxy.record.last());
    json!({
        "open": gate == Gate::Open,
        "lines": last.map(|(seq, _)| seq),
        "last_taken_ts": last.map(|(_, at)| stamp(at)),
        "unanswered": proxy.record.backlog(),
        "lag_ms": millis(proxy.record.lag()),
    })
}

fn queues(proxy: &Proxy) -> Value {
    let (held, most) = proxy.memory.taken();
    json!({
        "log_lines": proxy.record.backlog(),
        "signer_calls": proxy.mint.waiting(),
        "body_bytes": held,
        "body_bytes_limit": most,
        "connections": get(&proxy.counters.connections),
        "connections_limit": proxy.setup.fixed().limits.connections,
    })
}

fn store(proxy: &Proxy) -> Value {
    let settings = &proxy.setup.fixed().redaction;
    json!({
        "values": proxy.store.len(),
        "capacity": settings.store_entries,
        "ttl_seconds": u64::from(settings.store_hours) * 3600,
        "eviction": "lru",
        "registered": proxy.store.registered_count(),
        "locked": proxy.store.is_locked(),
    })
}

/// Types that are named.
const TOP: usize = 5;

fn last_minutes(overview: &Overview) -> Value {
    let sums = &overview.sums;
    let minutes = WINDOW.as_secs() / 60;
    let mut types: Vec<(&String, &u64)> = sums.types.iter().collect();
    types.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    let top = types.into_iter().take(TOP);
    json!({
        "requests": sums.requests,
        "redactions": sums.redactions,
        "redactions_per_min": sums.redactions / minutes,
        "restored": sums.restored,
        "unknown_placeholders": sums.unknown,
        "refused": sums.refused,
        "top_types": top.map(|(kind, count)| json!({ "type": kind, "count": count }))
            .collect::<Vec<_>>(),
        "latency_p50_ms": quantile(&sums.latency, 0.5),
        "latency_p99_ms": quantile(&sums.latency, 0.99),
    })
}

fn sessions(overview: &Overview, audience: Audience) -> Vec<Value> {
    overview.sessions.iter().map(|tally| session(tally, audience)).collect()
}

fn session(tally: &Tally, audience: Audience) -> Value {
    json!({
        "session_id": shown(&tally.session.id, audience),
        "named": tally.session.is_named,
        "program": tally.session.program,
        "hosts": tally.hosts,
        "started_ts": stamp(tally.started),
        "idle_seconds": tally.last.elapsed().as_secs(),
        "requests": tally.requests,
        "redactions": tally.redactions,
        "types": tally.types,
        "restored": tally.restored,
        "unknown_placeholders": tally.unknown,
        "refused": tally.refused,
    })
}

fn activity(event: &Happened, audience: Audience) -> Value {
    let session = event.session.as_ref().map(|id| shown(id, audience));
    let mut value = json!({ "ts": stamp(event.at), "host": event.host, "session_id": session });
    let what = match &event.what {
        What::Out { redactions, types } => {
            json!({ "direction": "out", "redactions": redactions, "types": types })
        }
        What::In { restored, unknown } => {
            json!({ "direction": "in", "restored": restored, "unknown_placeholders": unknown })
        }
        What::Refused { code } => json!({ "direction": "refused", "code": code }),
    };
    if let (Value::Object(all), Value::Object(what)) = (&mut value, what) {
        all.extend(what);
    }
    value
}

fn shown(id: &str, audience: Audience) -> &str {
    match audience {
        Audience::Operator => id,
        Audience::Anybody => id.get(..SHORT).unwrap_or(id),
    }
}

fn stamp(at: SystemTime) -> Option<String> {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_ms(u64::try_from(since.as_millis()).ok()?)?.to_string())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
