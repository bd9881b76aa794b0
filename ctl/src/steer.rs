//! `reload` and `killswitch`: what an operator asks of the proxy.

use protocol::control::{Reply, Request};
use serde_json::json;

use crate::agent_env::running;
use crate::fault::{DONE, Fault, Kind, NO};
use crate::home::Home;
use crate::links::ask_proxy;
use crate::output::Output;

/// `reload`.
pub(crate) fn reload(home: &Home, out: Output) -> Result<u8, Fault> {
    ask(home, &Request::Reload, "mend the file and reload again; the old settings stay in force")?;
    out.result(&json!({ "reloaded": true }), |_| "The new configuration is in force.\n".into());
    Ok(DONE)
}

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
        Reply::Status { .. } => {
            Err(Fault::new(Kind::Ours, "the proxy answered something else", advice))
        }
    }
}
