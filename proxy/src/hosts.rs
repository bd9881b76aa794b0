//! The host table: what becomes of a CONNECT, by name.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use protocol::names::HostName;
use protocol::settings::Handler;

/// The port of HTTPS. Others only where the configuration names them as an upstream.
pub(crate) const HTTPS: u16 = 443;

/// What becomes of a host.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    /// Intercepted.
    Permitted(Arc<Permitted>),
    /// Passed through untouched.
    Tunnel,
    /// Passed through untouched although nobody listed it (`unlisted: tunnel`).
    Unlisted,
    /// Refused.
    Refused,
}

/// One intercepted host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Permitted {
    /// Its name.
    pub(crate) host: HostName,
    /// Which provider's shapes it speaks.
    pub(crate) handler: Handler,
    /// Where to connect instead of the host itself.
    pub(crate) upstream: Option<Upstream>,
    /// Certificates trusted for this host besides everybody's, in PEM.
    pub(crate) extra_root: Option<Vec<u8>>,
    /// Whether WebSockets to it are intercepted; refused otherwise.
    pub(crate) websocket: bool,
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// An address.
    Address(SocketAddr),
    /// A name and a port.
    Name(HostName, u16),
}

impl Upstream {
    /// `text` as `address:port` or `name:port`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        let (name, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        Some(Self::Name(HostName::normalise(name).ok()?, port))
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::Name(_, port) => *port,
        }
    }
}

/// The host table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HostTable {
    permitted: HashMap<HostName, Arc<Permitted>>,
    tunnel: Vec<HostName>,
    tunnel_unlisted: bool,
}

impl HostTable {
    /// A table of intercepted and tunnelled hosts; `tunnel_unlisted` passes all others through,
    /// except model providers.
    pub(crate) fn new(
        permitted: Vec<Permitted>,
        tunnel: Vec<HostName>,
        tunnel_unlisted: bool,
    ) -> Self {
        let permitted =
            permitted.into_iter().map(|entry| (entry.host.clone(), Arc::new(entry))).collect();
        Self { permitted, tunnel, tunnel_unlisted }
    }

    /// What becomes of `host`.
    pub(crate) fn verdict(&self, host: &HostName) -> Verdict {
        if let Some(entry) = self.permitted.get(host) {
            return Verdict::Permitted(Arc::clone(entry));
        }
        if self.tunnel.contains(host) {
            return Verdict::Tunnel;
        }
        if self.tunnel_unlisted && !carries_model_traffic(host) {
            return Verdict::Unlisted;
        }
        Verdict::Refused
    }

    /// The intercepted hosts.
    pub(crate) fn permitted(&self) -> impl Iterator<Item = &Permitted> {
        self.permitted.values().map(AsRef::as_ref)
    }
}

/// Whether `host` is, or lies under, a name under which a provider serves models.
pub(crate) fn carries_model_traffic(host: &HostName) -> bool {
    let host = host.as_str();
    MODEL_PROVIDERS.iter().any(|provider| {
        host.strip_suffix(provider).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// Names that must never be passed through unread, whatever `unlisted` or `tunnel` say.
const MODEL_PROVIDERS: &[&str] = &[
    "api.anthropic.com",
    "api.cerebras.ai",
    "api.cohere.com",
    "api.deepseek.com",
    "api.fireworks.ai",
    "api.githubcopilot.com",
    "api.groq.com",
    "api.mistral.ai",
    "api.moonshot.ai",
    "api.openai.com",
    "api.perplexity.ai",
    "api.together.xyz",
    "api.x.ai",
    "api.z.ai",
    "chatgpt.com",
    "claude.ai",
    "cognitiveservices.azure.com",
    "dashscope.aliyuncs.com",
    "generativelanguage.googleapis.com",
    "huggingface.co",
    "inference.ai.azure.com",
    "openai.azure.com",
    "openrouter.ai",
];

/// Splits a CONNECT target into host and port (RFC 9110 section 9.3.6).
///
/// `None` for anything but `name:port`: no default port, no userinfo, no address.
pub(crate) fn target(authority: &str) -> Option<(HostName, u16)> {
    let (host, port) = authority.rsplit_once(':')?;
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port = digits.then(|| port.parse().ok())??;
    Some((HostName::normalise(host).ok()?, port))
}

/// Whether a `Host` or `:authority` value names `host` on the port of HTTPS.
pub(crate) fn same_host(authority: &str, host: &HostName) -> bool {
    match authority.rsplit_once(':') {
        Some(_) => target(authority).is_some_and(|(name, port)| name == *host && port == HTTPS),
        None => HostName::normalise(authority).as_ref() == Ok(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HostName {
        HostName::normalise(text).unwrap()
    }

    fn table(tunnel_unlisted: bool) -> HostTable {
        let entry = Permitted {
            host: name("api.anthropic.com"),
            handler: Handler::Anthropic,
            upstream: None,
            extra_root: None,
            websocket: false,
        };
        HostTable::new(vec![entry], vec![name("auth.openai.com")], tunnel_unlisted)
    }

    #[test]
    fn intercepts_permitted_tunnels_listed_refuses_the_rest() {
        let table = table(false);
        assert!(matches!(table.verdict(&name("API.anthropic.com.")), Verdict::Permitted(_)));
        assert!(matches!(table.verdict(&name("auth.openai.com")), Verdict::Tunnel));
        assert!(matches!(table.verdict(&name("example.com")), Verdict::Refused));
        assert!(matches!(table.verdict(&name("x.api.anthropic.com")), Verdict::Refused));
    }

    #[test]
    fn unlisted_tunnelling_still_refuses_model_providers() {
        let table = table(true);
        assert!(matches!(table.verdict(&name("packages.example")), Verdict::Unlisted));
        assert!(matches!(table.verdict(&name("api.openai.com")), Verdict::Refused));
        assert!(matches!(table.verdict(&name("my.openai.azure.com")), Verdict::Refused));
        assert!(matches!(table.verdict(&name("notchatgpt.com")), Verdict::Unlisted));
    }

    #[test]
    fn a_connect_target_is_a_name_and_a_port() {
        assert_eq!(target("API.openai.com.:443"), Some((name("api.openai.com"), 443)));
        for bad in
            ["api.openai.com", "api.openai.com:", "u@api.openai.com:443", "1.2.3.4:443", "a:+443"]
        {
            assert_eq!(target(bad), None, "{bad}");
        }
    }

    #[test]
    fn compares_authorities_after_normalisation() {
        let host = name("api.openai.com");
        assert!(same_host("API.OPENAI.COM", &host));
        assert!(same_host("api.openai.com.:443", &host));
        for other in ["api.openai.com:8443", "api.anthropic.com", "", "api.openai.com:443:443"] {
            assert!(!same_host(other, &host), "{other}");
        }
    }

    #[test]
    fn an_upstream_is_an_address_or_a_name_with_a_port() {
        assert_eq!(
            Upstream::parse("127.0.0.1:9443"),
            Some(Upstream::Address("127.0.0.1:9443".parse().unwrap()))
        );
        assert_eq!(Upstream::parse("[::1]:9443").unwrap().port(), 9443);
        assert_eq!(Upstream::parse("localhost:1"), Some(Upstream::Name(name("localhost"), 1)));
        for bad in ["localhost", "localhost:0", "a b:1", "https://x:1", ":1"] {
            assert_eq!(Upstream::parse(bad), None, "{bad}");
        }
    }
}
