//! `status`: is everything well, and if not, what is not?

use std::fmt::Write;

use protocol::evidence::hex;
use protocol::{audit_control, control};
use serde_json::{Value, json};

use crate::fault::{DONE, Fault, NO, NOT_RUNNING};
use crate::home::Home;
use crate::links::{look_at_auditd, look_at_proxy};
use crate::output::{Output, Paint};
use crate::supervise::lock;
use crate::supervise::record::{Record, RoleState};
use crate::supervise::role::Role;

/// `status`.
pub(crate) fn status(home: &Home, out: Output) -> Result<u8, Fault> {
    if lock::holder(home)?.is_none() {
        out.result(&json!({ "running": false, "healthy": false }), |_| {
            format!("Waterwall is not running. Start it: {}\n", home.command("up --detach"))
        });
        return Ok(NOT_RUNNING);
    }
    let Some(record) = Record::read(home) else {
        out.result(&json!({ "running": true, "healthy": false, "problems": ["starting"] }), |_| {
            format!(
                "Waterwall is just starting, or its run folder was removed; `{}` stops it.\n",
                home.command("down")
            )
        });
        return Ok(NO);
    };
    let found = Findings::gather(home, record);
    out.result(&found.to_json(), |paint| found.to_text(paint));
    Ok(if found.problems.is_empty() { DONE } else { NO })
}

/// All that is known about a running instance.
struct Findings {
    record: Record,
    proxy: Option<Value>,
    log: Option<audit_control::Status>,
    problems: Vec<String>,
}

impl Findings {
    fn gather(home: &Home, record: Record) -> Self {
        let mut problems = Vec::new();
        let is_ready =
            |role| record.roles.get(&role).is_some_and(|it| it.state == RoleState::Ready);
        for role in Role::START_ORDER.into_iter().filter(|role| !is_ready(*role)) {
            let state = record.roles.get(&role).map_or("unknown", |it| it.state.name());
            problems.push(format!("{} is {state}", role.name()));
        }
        for lost in record.roles.values().map(|it| it.values_lost).filter(|lost| *lost > 0) {
            problems.push(format!(
                "{lost} registered values went with a proxy that died: add them again, or `{}`",
                home.command("secret remove --all")
            ));
        }
        let stopped = |role| {
            let process = record.roles.get(&role).and_then(|it| it.process);
            process.filter(|process| process.is_stopped())
        };
        for role in Role::START_ORDER {
            if let Some(process) = stopped(role) {
                let (name, pid) = (role.name(), process.pid);
                problems.push(format!("{name} was stopped by a signal: `kill -CONT {pid}`"));
            }
        }
        let can_answer = |role| is_ready(role) && stopped(role).is_none();
        let (proxy, log) = std::thread::scope(|scope| {
            let log = can_answer(Role::Auditd).then(|| scope.spawn(|| ask_for_log(home)));
            let proxy = can_answer(Role::Proxy).then(|| ask_for_state(home));
            let joined = |it: std::thread::ScopedJoinHandle<'_, _>| {
                it.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            (proxy, log.map(joined))
        });
        let proxy = keep(proxy, &mut problems);
        let log = keep(log, &mut problems);
        if let Some(state) = &proxy {
            problems.extend(problems_of_proxy(home, state));
        }
        let is_told = |code| proxy.as_ref().is_some_and(|state| has(&state["faults"], code));
        if let Some(log) = &log
            && !log.open
            && !is_told("log-unsigned")
            && !is_told("log-full")
        {
            let why = "its disk is full, or the signer has been away too long";
            problems.push(format!("the evidence log takes no lines ({why}): requests are refused"));
        }
        Self { record, proxy, log, problems }
    }

    fn to_json(&self) -> Value {
        let mut value = json!({
            "running": true,
            "healthy": self.problems.is_empty(),
            "problems": self.problems,
            "killswitch": self.proxy.as_ref().map(|state| &state["kill_switch"]),
            "proxy": self.proxy,
            "log": self.log.as_ref().map(log_to_json),
        });
        if let (Value::Object(all), Ok(Value::Object(record))) =
            (&mut value, serde_json::to_value(&self.record))
        {
            all.extend(record);
        }
        for role in Role::START_ORDER {
            value["roles"][role.name()]["sandbox"] = self.sandbox(role).into();
        }
        value
    }

    fn to_text(&self, paint: Paint) -> String {
        let mut text = String::new();
        let verdict =
            if self.problems.is_empty() { paint.good("healthy") } else { paint.bad("degraded") };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "Waterwall is {verdict}; agents connect to {}", self.record.listen);
        for problem in &self.problems {
            let _ = writeln!(text, "  {} {problem}", paint.bad("✗"));
        }
        for warning in self.warnings() {
            let _ = writeln!(text, "  {} {warning}", paint.warn("!"));
        }
        for (role, it) in &self.record.roles {
            let pid = it.process.map_or_else(|| "-".into(), |process| process.pid.to_string());
            let restarts = match it.restarts {
                0 => String::new(),
                n => paint.warn(&format!("  restarted {n}×")),
            };
            let _ = writeln!(
                text,
                "  {:<8} {:<10} pid {pid}{}{restarts}",
                role.name(),
                it.state.name(),
                self.sandbox(*role).map(|level| format!("  sandbox {level}")).unwrap_or_default(),
            );
        }
        if let Some(log) = &self.log {
            let _ = writeln!(text, "  log      {} lines, {} signed", log.size, log.signed_size);
        }
        for arming in self.armings() {
            let _ = writeln!(text, "  switch   {arming}");
        }
        if let Some(state) = &self.proxy {
            let _ = writeln!(
                text,
                "  policy   {} ({} patterns), {} requests forwarded, {} secrets kept back",
                plain(&state["policy"]["hash"]).get(..12).unwrap_or("none"),
                state["policy"]["patterns"],
                state["counters"]["forwarded"],
                state["counters"]["redacted"],
            );
            let _ = writeln!(
                text,
                "  secrets  {} held for answers, {} registered",
                state["store"]["values"], state["store"]["registered"],
            );
        }
        let _ = writeln!(
            text,
            "  {}",
            paint.faint(&format!("admin on 127.0.0.1:{}", self.record.admin_port))
        );
        text
    }

    /// Who armed the kill switch, when and why.
    fn armings(&self) -> Vec<String> {
        let armings = self.proxy.as_ref().and_then(|it| it["kill_switch"]["armed_by"].as_array());
        let told = |arming: &Value| {
            let reason = arming["reason"].as_str().map(|why| format!(": {why}"));
            let (source, actor, ts) = (&arming["source"], &arming["actor"], &arming["ts"]);
            let (source, actor, ts) = (plain(source), plain(actor), plain(ts));
            format!("armed by {source} ({actor}) at {ts}{}", reason.unwrap_or_default())
        };
        armings.into_iter().flatten().map(told).collect()
    }

    /// What keeps no request from being served, and should be known all the same.
    fn warnings(&self) -> Vec<String> {
        let Some(state) = &self.proxy else { return Vec::new() };
        let mut warnings = Vec::new();
        if has(&state["warnings"], "reload-refused") {
            let why = plain(&state["last_reload"]["error"]);
            warnings
                .push(format!("the files are not in force, the settings before them are: {why}"));
        }
        if has(&state["warnings"], "unlisted-tunnelled") {
            let count = &state["counters"]["unlisted_tunnels"];
            warnings.push(format!("hosts that nobody listed pass through unread ({count} so far)"));
        }
        warnings
    }

    fn sandbox(&self, role: Role) -> Option<String> {
        match role {
            Role::Proxy => self.proxy.as_ref()?.get("sandbox").map(plain),
            Role::Auditd => self.log.as_ref().map(|log| log.sandbox.clone()),
            // Nobody but the proxy and auditd talks to the signer: it says so when it starts.
            Role::Signer => {
                let status = self.record.roles.get(&role)?.status.as_deref()?;
                status.strip_prefix("sandbox ").map(str::to_owned)
            }
        }
    }
}

fn keep<T>(asked: Option<Result<T, Fault>>, problems: &mut Vec<String>) -> Option<T> {
    match asked? {
        Ok(answer) => Some(answer),
        Err(fault) => {
            problems.push(fault.what);
            None
        }
    }
}

fn ask_for_state(home: &Home) -> Result<Value, Fault> {
    match look_at_proxy(home)? {
        control::Reply::Status { state } => serde_json::from_str(&state)
            .map_err(|error| Fault::system("read the proxy's state", error)),
        other => Err(Fault::system("ask for the proxy's state", format!("{other:?}"))),
    }
}

fn ask_for_log(home: &Home) -> Result<audit_control::Status, Fault> {
    match look_at_auditd(home)? {
        audit_control::Reply::Status(status) => Ok(status),
        other => Err(Fault::system("ask for the log's state", format!("{other:?}"))),
    }
}

fn log_to_json(log: &audit_control::Status) -> Value {
    json!({
        "origin": log.origin,
        "size": log.size,
        "signed_size": log.signed_size,
        "signed_root": hex::encode(&log.signed_root),
        "checkpoints": log.checkpoints,
        "unsigned_ms": log.unsigned_ms,
        "open": log.open,
        "sandbox": log.sandbox,
    })
}

/// The proxy's fault codes in words, with what to do about each.
fn problems_of_proxy(home: &Home, state: &Value) -> Vec<String> {
    let codes = state["faults"].as_array().into_iter().flatten().filter_map(Value::as_str);
    codes.map(|code| in_words(home, code, state)).collect()
}

fn in_words(home: &Home, code: &str, state: &Value) -> String {
    match code {
        "killswitch-engaged" => format!(
            "the kill switch is armed ({}): nothing leaves; see `{}`",
            list(&state["kill_switch"]["sources_active"]),
            home.command("killswitch --help")
        ),
        "config-error" => format!(
            "every request is refused: {}; mend that and `{}`",
            plain(&state["config_error"]),
            home.command("reload")
        ),
        "host-uncertified" => format!(
            "the CA does not cover {}: run `{}` between `down` and `up`",
            list(&state["hosts_uncertified"]),
            home.command("regen-ca")
        ),
        "signer-unavailable" => "the proxy cannot reach the signer: no new certificates".into(),
        "signer-silent" => "the signer does not answer the proxy: no new certificates".into(),
        "log-unavailable" => "the proxy cannot reach auditd: every request is refused".into(),
        "log-silent" => "auditd does not answer the proxy: every request is refused".into(),
        "log-unsigned" => {
            "lines wait for the signer for too long: every request is refused until it is back"
                .into()
        }
        "log-full" => "auditd's disk is full: every request is refused".into(),
        "policy-unrecorded" => {
            "the pattern set is not on record yet: every request is refused".into()
        }
        other => other.into(),
    }
}

fn has(values: &Value, code: &str) -> bool {
    values.as_array().is_some_and(|values| values.iter().any(|value| value == code))
}

fn list(values: &Value) -> String {
    values.as_array().into_iter().flatten().map(plain).collect::<Vec<_>>().join(", ")
}

/// Text without JSON's quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Process;

    #[test]
    fn every_fault_of_the_proxy_is_told_with_what_it_is_about() {
        let home = Home::choose(Some(std::path::Path::new("/srv/w")), &Process).unwrap();
        let state = json!({
            "faults": ["killswitch-engaged", "config-error", "host-uncertified", "brand-new"],
            "kill_switch": { "sources_active": ["config", "http"] },
            "config_error": "config.yaml:3: unknown key `lisen`",
            "hosts_uncertified": ["new.example"],
        });
        let told = problems_of_proxy(&home, &state);
        for (problem, names) in
            told.iter().zip(["config, http", "`lisen`", "new.example", "brand-new"])
        {
            assert!(problem.contains(names), "{problem}");
        }
        assert_eq!(told.len(), 4);
        assert!(problems_of_proxy(&home, &json!({ "faults": [] })).is_empty());
    }
}
