//! `reload` and `killswitch`: what an operator asks of the proxy.

use std::thread;
use std::time::{Duration, Instant};

use protocol::control::{Reply, Request};
use serde_json::{Value, json};

use crate::agent_env::running;
use crate::fault::{DONE, Fault, Kind, NO};
use crate::home::Home;
use crate::links::ask_proxy;
use crate::output::Output;

/// `reload`.
pub(crate) fn reload(home: &Home, out: Output) -> Result<u8, Fault> {
    ask(
        home,
        &Request::Reload,
        "mend the file, or restart (`down`, `up`) where it says so; the old settings stay in force",
    )?;
    wait_until_in_force(home)?;
    out.result(&json!({ "reloaded": true }), |_| "The new configuration is in force.\n".into());
    Ok(DONE)
}

/// A proxy that started on an invalid configuration knew none of the ports its sandbox must let it
/// reach, so it heals by a restart. The order is carried out when its successor takes requests.
fn wait_until_in_force(home: &Home) -> Result<(), Fault> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(Reply::Status { state }) = ask_proxy(home, &Request::Status)
            && takes_requests(&state)
        {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    let what = "the proxy read the configuration and takes no requests yet";
    Err(Fault::new(Kind::Unavailable, what, format!("see `{}`", home.command("status"))))
}

/// Whether nothing but the operator's own doing is in the way of requests.
fn takes_requests(state: &str) -> bool {
    let state: Value = serde_json::from_str(state).unwrap_or_default();
    state["faults"].as_array().is_some_and(|faults| {
        faults.iter().all(|fault| fault == "killswitch-engaged" || fault == "host-uncertified")
    })
}

/// How long a restarted proxy may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// `killswitch arm`.
pub(crate) fn arm(home: &Home, out: Output, reason: String) -> Result<u8, Fault> {
    let advice = format!("touch {} arms it, too", home.sentinel().display());
    let active =
        ask(home, &Request::Arm { reason }, &advice).map_err(|fault| match fault.kind {
            // In an emergency the way that needs no answer matters more than the cause.
            Kind::Unavailable => Fault { advice, ..fault },
            _ => fault,
        })?;
    out.result(&json!({ "armed": true, "sources_active": active }), |paint| {
        format!("{} Nothing leaves.\n", paint.bad("The kill switch is armed."))
    });
    Ok(DONE)
}

/// `killswitch disarm`.
pub(crate) fn disarm(home: &Home, out: Output, reason: String) -> Result<u8, Fault> {
    let advice = format!("see `{}`", home.command("status"));
    let active = ask(home, &Request::Disarm { reason }, &advice)?;
    let armed = !active.is_empty();
    out.result(&json!({ "armed": armed, "sources_active": active }), |paint| {
        if armed {
            let still = paint.bad("Still armed");
            format!("{still} by {}: clear that, too.\n", active.join(", "))
        } else {
            format!("{} Requests pass again.\n", paint.good("The kill switch is off."))
        }
    });
    Ok(if armed { NO } else { DONE })
}

/// The kill-switch sources that are active afterwards.
fn ask(home: &Home, request: &Request, advice: &str) -> Result<Vec<String>, Fault> {
    running(home)?;
    match ask_proxy(home, request)? {
        Reply::Done { sources_active } => Ok(sources_active),
        Reply::Refused { reason } => Err(Fault::new(Kind::Refused, reason, advice)),
        _ => Err(Fault::new(Kind::Ours, "the proxy answered something else", advice)),
    }
}
