//! `secret`: values that an operator registers with the proxy. They come over standard input or out
//! of a file, never as an argument, and are never printed.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use protocol::control::{Hidden, Reply, Request, Secret, Which};
use protocol::evidence::timestamp::Timestamp;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::agent_env::running;
use crate::dotenv;
use crate::fault::{DONE, Fault, Kind, NO};
use crate::home::Home;
use crate::links::ask_proxy;
use crate::output::{Output, say};

/// Longest input, in bytes. The proxy takes less for one value.
const INPUT_MAX: u64 = 256 * 1024;

/// `secret add`: the value on standard input.
pub(crate) fn add(home: &Home, out: Output, kind: &str) -> Result<u8, Fault> {
    running(home)?;
    let value = from_stdin()?;
    let (id, is_new) = register(home, kind, value)?;
    out.result(&json!({ "id": id, "type": kind, "new": is_new }), |_| {
        if is_new {
            format!("Registered as {id}, type {kind}.\n")
        } else {
            format!("Registered already, as {id}.\n")
        }
    });
    remind(out);
    Ok(DONE)
}

/// `secret add --env-file`: every value that the file sets.
pub(crate) fn add_file(home: &Home, out: Output, kind: &str, file: &Path) -> Result<u8, Fault> {
    running(home)?;
    let text = File::open(file).and_then(read_all).map_err(|error| unread(file, &error))?;
    let text = str::from_utf8(&text).map_err(|_| malformed(file, "is not UTF-8"))?;
    let settings = dotenv::parse(text)
        .map_err(|line| malformed(file, &format!("line {line} sets nothing")))?;
    let (mut added, mut known, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for dotenv::Setting { name, value } in settings {
        match register(home, kind, Hidden::new(value.as_bytes().to_vec())) {
            Ok((id, true)) => added.push((name, id)),
            Ok((id, false)) => known.push((name, id)),
            Err(fault) if fault.kind == Kind::Refused => skipped.push((name, fault.what)),
            Err(fault) => return Err(fault),
        }
    }
    let named = |list: &[(String, u32)]| -> Value {
        list.iter().map(|(name, id)| json!({ "name": name, "id": id })).collect()
    };
    let why: Value =
        skipped.iter().map(|(name, why)| json!({ "name": name, "reason": why })).collect();
    let result = json!({
        "type": kind, "added": named(&added), "known": named(&known), "skipped": why,
    });
    out.result(&result, |paint| {
        let mut text = format!(
            "{} registered, {} known already, {} skipped.\n",
            added.len(),
            known.len(),
            skipped.len()
        );
        for (name, why) in &skipped {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {} {name}: {why}", paint.warn("skipped"));
        }
        text
    });
    remind(out);
    Ok(DONE)
}

/// `secret list`.
pub(crate) fn list(home: &Home, out: Output) -> Result<u8, Fault> {
    running(home)?;
    let Reply::Secrets { secrets } = ask_proxy(home, &Request::SecretList)? else {
        return Err(unexpected());
    };
    let told: Value = secrets
        .iter()
        .map(|Secret { id, kind, added, hits }| {
            json!({ "id": id, "type": kind, "added": utc(*added), "hits": hits })
        })
        .collect();
    out.result(&json!({ "secrets": told }), |paint| {
        if secrets.is_empty() {
            return format!("No value is registered. {LOST}\n");
        }
        let mut text =
            paint.strong(&format!("{:>5}  {:<24}  {:>6}  TYPE\n", "ID", "ADDED", "HITS"));
        for Secret { id, kind, added, hits } in &secrets {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{id:>5}  {:<24}  {hits:>6}  {kind}", utc(*added));
        }
        text
    });
    Ok(DONE)
}

/// `secret remove`; without `which`, the value on standard input.
pub(crate) fn remove(home: &Home, out: Output, which: Option<Which>) -> Result<u8, Fault> {
    running(home)?;
    let which = which.map_or_else(|| from_stdin().map(Which::Value), Ok)?;
    match ask_proxy(home, &Request::SecretRemove { which })? {
        Reply::SecretsRemoved { count } => {
            out.result(&json!({ "removed": count }), |_| format!("{count} removed.\n"));
            Ok(DONE)
        }
        Reply::Refused { reason } => {
            let advice = format!("`{}` shows what is", home.command("secret list"));
            out.fault(&Fault::new(Kind::Refused, reason, advice));
            Ok(NO)
        }
        _ => Err(unexpected()),
    }
}

fn register(home: &Home, kind: &str, value: Hidden) -> Result<(u32, bool), Fault> {
    match ask_proxy(home, &Request::SecretAdd { kind: kind.to_owned(), value })? {
        Reply::SecretAdded { id, is_new } => Ok((id, is_new)),
        Reply::Refused { reason } => Err(Fault::new(Kind::Refused, reason, WHAT_FITS)),
        _ => Err(unexpected()),
    }
}

/// All of standard input but a newline at its end.
fn from_stdin() -> Result<Hidden, Fault> {
    if io::stdin().is_terminal() {
        return Err(Fault::new(
            Kind::Usage,
            "the value comes over standard input, and that is a terminal",
            "pipe it in, so that nothing shows it: pass show NAME | waterwall-ctl secret add",
        ));
    }
    let mut value = read_all(io::stdin().lock()).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => Fault::new(Kind::Refused, error.to_string(), WHAT_FITS),
        _ => Fault::system("read standard input", error),
    })?;
    if value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    Ok(Hidden::new(std::mem::take(&mut *value)))
}

/// Reads into room that need not grow, since what is left behind by growing is not wiped.
fn read_all(from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let room = usize::try_from(INPUT_MAX).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    from.take(INPUT_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() == room {
        let what = format!("more than {INPUT_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// What is to be removed, where it is no value.
pub(crate) fn id(text: &OsStr) -> Result<Which, Fault> {
    let id = text.to_str().and_then(|text| text.parse().ok());
    id.map(Which::Id).ok_or_else(|| on_the_command_line("`secret remove` takes an id, or reads it"))
}

/// A value among the arguments, which is not said again.
pub(crate) fn on_the_command_line(instead: &str) -> Fault {
    Fault::new(
        Kind::Usage,
        "a value does not go on the command line, where every process can read it",
        format!("{instead} from standard input; take that one for known, and rotate it"),
    )
}

fn unread(file: &Path, error: &io::Error) -> Fault {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => "as its owner, pipe it in: --env-file /dev/stdin < FILE",
        io::ErrorKind::FileTooLarge => "is that a .env file? Register single values one by one",
        _ => "check that path; nothing was registered",
    };
    Fault::file("read", file, error).with_advice(advice)
}

fn malformed(file: &Path, what: &str) -> Fault {
    let advice = "each line is NAME=VALUE, quoted where it holds spaces; nothing was registered";
    Fault::new(Kind::Config, format!("{} {what}", file.display()), advice)
}

fn unexpected() -> Fault {
    Fault::new(Kind::Ours, "the proxy answered something else", "is it of the same version?")
}

/// What is easily forgotten.
fn remind(out: Output) {
    if !out.is_json() {
        say(LOST);
    }
}

const WHAT_FITS: &str =
    "register what only the secret can be; docs/redaction.md says what is taken";

const LOST: &str =
    "Registered values are in the proxy's memory alone: register again after a restart.";

fn utc(seconds: u64) -> String {
    Timestamp::from_ms(seconds.saturating_mul(1000)).map_or_else(String::new, |at| at.to_string())
}
