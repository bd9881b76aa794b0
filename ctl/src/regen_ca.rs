//! `regen-ca`: a certificate authority for the hosts that are permitted now.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::fault::{DONE, Fault, Kind};
use crate::home::Home;
use crate::output::Output;
use crate::supervise::lock;
use crate::supervise::role::{Programs, Role};
use crate::trust;

/// Has the signer replace its CA. The daemons must be down: they hold the old one.
pub(crate) fn regen_ca(home: &Home, out: Output, programs: &Programs) -> Result<u8, Fault> {
    if lock::holder(home)?.is_some() {
        return Err(Fault::new(
            Kind::Refused,
            "Waterwall is running with the old CA",
            format!(
                "first `{}`, then this, then `{}`",
                home.command("down"),
                home.command("up --detach")
            ),
        ));
    }
    let signer = programs.of(Role::Signer);
    let done = Command::new(&signer)
        .arg("regen-ca")
        .arg("--state")
        .arg(home.signer_state())
        .arg("--public")
        .arg(home.etc())
        .arg("--hosts-file")
        .arg(home.hosts())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Fault::file("run", &signer, &error))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(Fault::new(
            Kind::Config,
            format!("waterwall-signer made no CA ({}): {}", done.status, said.trim()),
            format!("check {}", home.hosts().display()),
        ));
    }
    trust::write_ca_bundle(home)?;
    let ca = home.ca();
    out.result(&json!({ "ca": ca.to_string_lossy() }), |_| {
        format!(
            "{} is new, for the hosts in {}.\n`run` and `env` hand it to agents; whoever was \
             given the old one by hand needs this one.\n",
            ca.display(),
            home.hosts().display()
        )
    });
    Ok(DONE)
}
