//! Checks a pattern file as the proxy does before it uses one.

use std::io::{self, Write};

use serde_json::Value;

use super::{Fault, load};
use crate::cli::CheckOptions;
use crate::redact::Policy;

/// Checks the file, or the built-in set, and prints what was asked for.
pub(super) fn check_policy(options: &CheckOptions) -> Result<(), Fault> {
    let policy = load(options.file.as_deref())?;
    let mut out = io::stdout().lock();
    let written = if options.canonical {
        // Exactly the bytes that the hash is over.
        out.write_all(policy.canonical())
    } else if options.list {
        list(&mut out, &policy)
    } else {
        writeln!(out, "ok: {} types, policy_hash {}", policy.pattern_count(), hex(&policy.hash()))
    };
    written.and_then(|()| out.flush()).map_err(Fault::Output)
}

/// Type, class, action and description of each pattern in force.
fn list(out: &mut impl Write, policy: &Policy) -> io::Result<()> {
    let set: Value = serde_json::from_slice(policy.canonical())?;
    let patterns = set["patterns"].as_array().map(Vec::as_slice).unwrap_or_default();
    let width = policy.descriptions().map(|(kind, _)| kind.as_str().len()).max().unwrap_or(0);
    for ((kind, description), pattern) in policy.descriptions().zip(patterns) {
        let [class, action] =
            ["class", "action"].map(|name| pattern[name].as_str().unwrap_or_default());
        writeln!(out, "{:width$}  {class:10}  {action:8}  {description}", kind.as_str())?;
    }
    Ok(())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
