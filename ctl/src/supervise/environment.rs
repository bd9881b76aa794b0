//! The environment daemons get: what they need, and nothing that points back at ourselves.

use std::ffi::OsString;
use std::net::SocketAddr;

use crate::home::Home;
use crate::trust::points_at_ours;

/// The variables of the supervisor's environment that its daemons inherit.
pub(crate) fn for_daemons(
    home: &Home,
    listen: SocketAddr,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Vec<(OsString, OsString)> {
    INHERITED
        .iter()
        .filter_map(|name| Some((*name, variable(name)?)))
        .filter(|(name, value)| match *name {
            // Started from inside `run`: the proxy would connect to itself.
            "HTTPS_PROXY" | "https_proxy" => !is_listener(listen, &value.to_string_lossy()),
            "SSL_CERT_FILE" => !points_at_ours(home, Some(value.into())),
            _ => true,
        })
        .map(|(name, value)| (name.into(), value))
        .collect()
}

/// Whether a proxy URL names our own listener.
pub(crate) fn is_listener(listen: SocketAddr, url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let Some((host, port)) = authority.rsplit_once(':') else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    loopback && port.parse() == Ok(listen.port())
}

/// Logging, messages, ways to the providers, and the boot's name in the evidence.
const INHERITED: [&str; 11] = [
    "HTTPS_PROXY",
    "LANG",
    "NO_PROXY",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TZ",
    "WATERWALL_BOOT_ID",
    "https_proxy",
    "no_proxy",
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn inherited(given: &[(&str, &str)]) -> Vec<String> {
        let home = Home::choose(Some(Path::new("/srv/w")), &crate::home::Process).unwrap();
        let listen = "127.0.0.1:8888".parse().unwrap();
        let variable = |name: &str| {
            given.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        for_daemons(&home, listen, variable)
            .into_iter()
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect()
    }

    #[test]
    fn daemons_get_only_what_they_need() {
        let given = [("RUST_LOG", "debug"), ("ANTHROPIC_API_KEY", "x"), ("LD_PRELOAD", "y")];
        assert_eq!(inherited(&given), ["RUST_LOG=debug"]);
    }

    #[test]
    fn an_upstream_proxy_passes_unless_it_is_ourselves() {
        assert_eq!(inherited(&[("HTTPS_PROXY", "http://proxy.example:3128")]).len(), 1);
        for ours in [
            "http://127.0.0.1:8888",
            "http://127.0.0.1:8888/",
            "http://localhost:8888",
            "127.0.0.1:8888",
            "http://user@[::1]:8888",
        ] {
            assert_eq!(inherited(&[("https_proxy", ours)]).len(), 0, "{ours}");
        }
        assert_eq!(inherited(&[("https_proxy", "http://127.0.0.1:8887")]).len(), 1);
    }

    #[test]
    fn extra_roots_pass_unless_they_are_ours() {
        assert_eq!(inherited(&[("SSL_CERT_FILE", "/etc/ssl/corporate.pem")]).len(), 1);
        assert_eq!(inherited(&[("SSL_CERT_FILE", "/srv/w/etc/ca-bundle.pem")]).len(), 0);
    }
}
