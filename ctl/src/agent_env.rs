//! The variables that send an agent through Waterwall.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use protocol::settings::HostsFile;
use serde_json::json;

use crate::cli::Shell;
use crate::fault::{DONE, Fault, Kind};
use crate::home::Home;
use crate::output::{Output, say};
use crate::supervise::lock;
use crate::supervise::record::Record;

/// What an agent's environment gets, and what the operator should know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentEnvironment {
    /// Name and value, in the order they are printed.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// Entries of the caller's `NO_PROXY` that were left out.
    pub(crate) dropped: Vec<String>,
}

impl AgentEnvironment {
    /// For agents of `home`, which listens on `listen`; `no_proxy` is the caller's own.
    pub(crate) fn new(
        home: &Home,
        listen: SocketAddr,
        no_proxy: &str,
        permitted: &[String],
    ) -> Result<Self, Fault> {
        let (kept, dropped) = merge_no_proxy(no_proxy, permitted);
        // The scheme is how to speak to the proxy, and we are spoken to in the clear.
        let proxy = format!("http://{listen}");
        let ca = text(home.ca())?;
        let bundle = text(home.ca_bundle())?;
        let mut variables = vec![("HTTPS_PROXY", proxy.clone()), ("https_proxy", proxy)];
        variables.extend(["NO_PROXY", "no_proxy"].map(|name| (name, kept.clone())));
        // Node adds these to its own roots; the others replace theirs by what they are given.
        variables.push(("NODE_EXTRA_CA_CERTS", ca));
        variables.extend(REPLACING_ROOTS.map(|name| (name, bundle.clone())));
        // Node's own fetch looks at HTTPS_PROXY only if told to (Node 22.21, 24.0 and later).
        variables.push(("NODE_USE_ENV_PROXY", "1".into()));
        Ok(Self { variables, dropped })
    }

    /// For the running instance of `home` and this process's own environment.
    pub(crate) fn of_running(home: &Home, record: &Record) -> Result<Self, Fault> {
        let no_proxy = ["no_proxy", "NO_PROXY"]
            .into_iter()
            .find_map(std::env::var_os)
            .map(|value| value.to_string_lossy().into_owned())
            .unwrap_or_default();
        let made = Self::new(home, record.listen, &no_proxy, &permitted_hosts(home))?;
        for entry in &made.dropped {
            say(&format!("NO_PROXY entry {entry:?} is left out: it would bypass Waterwall"));
        }
        Ok(made)
    }
}

fn text(path: PathBuf) -> Result<String, Fault> {
    path.into_os_string().into_string().map_err(|path: OsString| {
        Fault::new(
            Kind::Usage,
            format!("{} is not valid UTF-8", path.display()),
            "choose a --home whose name is; agents take these paths as text",
        )
    })
}

/// The hosts that must not be bypassed; without a readable file, the ones it has by default.
fn permitted_hosts(home: &Home) -> Vec<String> {
    let file: HostsFile = std::fs::read_to_string(home.hosts())
        .ok()
        .and_then(|text| serde_saphyr::from_str(&text).ok())
        .unwrap_or_default();
    file.hosts.into_iter().map(|entry| entry.host).collect()
}

/// Loopback and the caller's own entries, but none that lets a permitted host go around us.
fn merge_no_proxy(callers: &str, permitted: &[String]) -> (String, Vec<String>) {
    let mut kept: Vec<&str> = LOOPBACK.to_vec();
    let mut dropped = Vec::new();
    for entry in callers.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()) {
        if permitted.iter().any(|host| covers(entry, host)) {
            dropped.push(entry.to_owned());
        } else if !kept.iter().any(|known| known.eq_ignore_ascii_case(entry)) {
            kept.push(entry);
        }
    }
    (kept.join(","), dropped)
}

/// Whether any client might take `entry` to exempt `host`: some match suffixes without a dot in
/// front, some take `*` anywhere at the start, some honour a port.
fn covers(entry: &str, host: &str) -> bool {
    let name = entry.rsplit_once(':').map_or(entry, |(name, _)| name);
    let suffix = name.trim_start_matches(['*', '.']).trim_end_matches('.').to_ascii_lowercase();
    suffix.is_empty() || host.trim_end_matches('.').to_ascii_lowercase().ends_with(&suffix)
}

/// `env`.
pub(crate) fn env(home: &Home, out: Output, shell: Shell) -> Result<u8, Fault> {
    let record = running(home)?;
    let environment = AgentEnvironment::of_running(home, &record)?;
    let value: serde_json::Map<String, serde_json::Value> = environment
        .variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    out.result(&value.into(), |_| {
        environment.variables.iter().map(|(name, value)| export(shell, name, value)).collect()
    });
    Ok(DONE)
}

/// What the running supervisor wrote down.
pub(crate) fn running(home: &Home) -> Result<Record, Fault> {
    let record = match lock::holder(home)? {
        Some(_) => Record::read(home),
        None => None,
    };
    record.ok_or_else(|| {
        Fault::new(
            Kind::NotRunning,
            "Waterwall is not running here",
            format!("start it with `{}`", home.command("up --detach")),
        )
    })
}

fn export(shell: Shell, name: &str, value: &str) -> String {
    match shell {
        Shell::Sh => format!("export {name}='{}'\n", value.replace('\'', r"'\''")),
        Shell::Fish => {
            format!("set -gx {name} '{}'\n", value.replace('\\', r"\\").replace('\'', r"\'"))
        }
    }
}

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Most programs; Python's requests; curl; Codex.
const REPLACING_ROOTS: [&str; 4] =
    ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "CODEX_CA_CERTIFICATE"];

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn permitted() -> Vec<String> {
        HostsFile::default().hosts.into_iter().map(|entry| entry.host).collect()
    }

    fn environment(folder: &str, no_proxy: &str) -> AgentEnvironment {
        let home = Home::choose(Some(Path::new(folder)), &crate::home::Process).unwrap();
        let listen = "127.0.0.1:18888".parse().unwrap();
        AgentEnvironment::new(&home, listen, no_proxy, &permitted()).unwrap()
    }

    fn value<'a>(environment: &'a AgentEnvironment, name: &str) -> &'a str {
        &environment.variables.iter().find(|(known, _)| *known == name).unwrap().1
    }

    #[test]
    fn clients_that_add_roots_get_ours_and_those_that_replace_them_get_all() {
        let made = environment("/srv/w", "");
        assert_eq!(value(&made, "HTTPS_PROXY"), "http://127.0.0.1:18888");
        assert_eq!(value(&made, "https_proxy"), "http://127.0.0.1:18888");
        assert_eq!(value(&made, "NODE_EXTRA_CA_CERTS"), "/srv/w/etc/ca.pem");
        for name in REPLACING_ROOTS {
            assert_eq!(value(&made, name), "/srv/w/etc/ca-bundle.pem");
        }
    }

    #[test]
    fn the_callers_own_exceptions_stay() {
        let made = environment("/srv/w", "git.corp.example, 10.0.0.0/8 ,LOCALHOST");
        let expected = "localhost,127.0.0.1,::1,git.corp.example,10.0.0.0/8";
        assert_eq!(value(&made, "NO_PROXY"), expected);
        assert_eq!(value(&made, "no_proxy"), expected);
        assert!(made.dropped.is_empty());
    }

    #[test]
    fn no_exception_lets_a_permitted_host_go_around() {
        for entry in [
            "*",
            ".",
            "*.com",
            "com",
            ".anthropic.com",
            "Anthropic.COM",
            "api.anthropic.com",
            "api.anthropic.com:443",
            "*.openai.com",
            "openrouter.ai.",
        ] {
            let made = environment("/srv/w", entry);
            assert_eq!(made.dropped, [entry]);
            assert_eq!(value(&made, "NO_PROXY"), "localhost,127.0.0.1,::1");
        }
        assert!(environment("/srv/w", "x.api.anthropic.com").dropped.is_empty());
    }

    #[test]
    fn a_shell_reads_back_exactly_what_was_printed() {
        let hostile = "/srv/it's $HOME `x` \\ \"q\"";
        let line = export(Shell::Sh, "SSL_CERT_FILE", hostile);
        let script = format!("{line}printf %s \"$SSL_CERT_FILE\"");
        let shell = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8(shell.stdout).unwrap(), hostile);
    }

    #[test]
    fn fish_gets_its_own_syntax() {
        let line = export(Shell::Fish, "SSL_CERT_FILE", r"/srv/it's\x");
        assert_eq!(line, "set -gx SSL_CERT_FILE '/srv/it\\'s\\\\x'\n");
    }
}
