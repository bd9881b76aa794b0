//! The host table: what becomes of a CONNECT, by name.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::StatusCode;
use protocol::names::HostName;
use protocol::settings::Handler;

/// The port of HTTPS. Others only where the configuration names them: of an upstream, or of a tunnel.
pub(crate) const HTTPS: u16 = 443;

/// What becomes of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Intercepted.
    Permitted,
    /// Passed through untouched.
    Tunnel,
    /// Passed through untouched although nobody listed it (`unlisted: tunnel`).
    Unlisted,
    /// Refused.
    Refused,
    /// Refused, whatever becomes of the host on the port of HTTPS.
    Port,
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
    /// Status of fail-closed refusals, where it is not that of all hosts.
    pub(crate) refusal_status: Option<StatusCode>,
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
    tunnel: Vec<(HostName, u16)>,
    tunnel_unlisted: bool,
}

impl HostTable {
    /// A table of intercepted and tunnelled hosts; `tunnel_unlisted` passes all others through,
    /// except model providers.
    pub(crate) fn new(
        permitted: Vec<Permitted>,
        tunnel: Vec<(HostName, u16)>,
        tunnel_unlisted: bool,
    ) -> Self {
        let permitted =
            permitted.into_iter().map(|entry| (entry.host.clone(), Arc::new(entry))).collect();
        Self { permitted, tunnel, tunnel_unlisted }
    }

    /// What becomes of a CONNECT to `port` of `host`.
    pub(crate) fn verdict(&self, host: &HostName, port: u16) -> Verdict {
        if self.permitted.contains_key(host) {
            return if port == HTTPS { Verdict::Permitted } else { Verdict::Port };
        }
        if self.tunnel.iter().any(|(name, at)| name == host && *at == port) {
            return Verdict::Tunnel;
        }
        if port != HTTPS {
            return Verdict::Port;
        }
        if self.tunnel_unlisted && !carries_model_traffic(host) {
            return Verdict::Unlisted;
        }
        Verdict::Refused
    }

    /// The entry of an intercepted host.
    pub(crate) fn entry(&self, host: &HostName) -> Option<&Arc<Permitted>> {
        self.permitted.get(host)
    }

    /// The intercepted hosts.
    pub(crate) fn permitted(&self) -> impl Iterator<Item = &Permitted> {
        self.permitted.values().map(AsRef::as_ref)
    }

    /// The ports of tunnels.
    pub(crate) fn tunnel_ports(&self) -> impl Iterator<Item = u16> {
        self.tunnel.iter().map(|(_, port)| *port)
    }

    /// Whether hosts that nobody listed are passed through.
    pub(crate) fn tunnels_unlisted(&self) -> bool {
        self.tunnel_unlisted
    }
}

/// Whether `host` is, or lies under, a name under which a provider serves models.
pub(crate) fn carries_model_traffic(host: &HostName) -> bool {
    let host = host.as_str();
    let is_under = |provider: &&str| {
        host.strip_suffix(*provider).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let is_of_region = |(start, end): &(&str, &str)| {
        // Both are there, and do not overlap.
        host.strip_suffix(*end).is_some_and(|rest| rest.starts_with(*start) && !rest.is_empty())
    };
    MODEL_PROVIDERS.iter().any(is_under) || REGIONAL.iter().any(is_of_region)
}

/// Names that must never be passed through unread, whatever `unlisted` or `tunnel` say.
const MODEL_PROVIDERS: &[&str] = &[
    "ai-gateway.vercel.sh",
    "aiplatform.googleapis.com",
    "api.ai21.com",
    "api.anthropic.com",
    "api.cerebras.ai",
    "api.cohere.ai",
    "api.cohere.com",
    "api.deepinfra.com",
    "api.deepseek.com",
    "api.fireworks.ai",
    "api.githubcopilot.com",
    "api.groq.com",
    "api.hyperbolic.xyz",
    "api.inceptionlabs.ai",
    "api.minimax.io",
    "api.minimaxi.com",
    "api.mistral.ai",
    "api.moonshot.ai",
    "api.moonshot.cn",
    "api.novita.ai",
    "api.openai.com",
    "api.perplexity.ai",
    "api.replicate.com",
    "api.sambanova.ai",
    "api.siliconflow.cn",
    "api.siliconflow.com",
    "api.studio.nebius.ai",
    "api.together.ai",
    "api.together.xyz",
    "api.venice.ai",
    "api.x.ai",
    "api.z.ai",
    "chat.openai.com",
    "chatgpt.com",
    "claude.ai",
    "cloudcode-pa.googleapis.com",
    "codestral.mistral.ai",
    "cognitiveservices.azure.com",
    "cursor.sh",
    "dashscope-intl.aliyuncs.com",
    "dashscope.aliyuncs.com",
    "gateway.ai.cloudflare.com",
    "gemini.google.com",
    "generativelanguage.googleapis.com",
    "githubcopilot.com",
    "huggingface.co",
    "inference.ai.azure.com",
    "integrate.api.nvidia.com",
    "llm.chutes.ai",
    "models.github.ai",
    "models.inference.ai.azure.com",
    "ollama.com",
    "open.bigmodel.cn",
    "openai.azure.com",
    "opencode.ai",
    "openrouter.ai",
    "router.requesty.ai",
    "server.codeium.com",
    "services.ai.azure.com",
];

/// The same for names with a region in them: how they start, and how they end.
const REGIONAL: &[(&str, &str)] = &[
    ("", "-aiplatform.googleapis.com"),
    ("bedrock", ".amazonaws.com"),
    ("bedrock", ".amazonaws.com.cn"),
    ("bedrock", ".api.aws"),
    ("runtime.sagemaker.", ".amazonaws.com"),
    ("ark.", ".volces.com"),
];

/// The `sse_handler` that an operator who lists `host` most likely wants.
pub(crate) fn likely_handler(host: &HostName) -> &'static str {
    let says = |word: &str| host.as_str().split(['.', '-']).any(|label| label == word);
    if says("anthropic") || says("claude") {
        "anthropic"
    } else if carries_model_traffic(host) {
        "openai"
    } else {
        "none"
    }
}

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
    same_target(authority, host, HTTPS)
}

/// Whether a `Host` or `:authority` value names `host`, and `port` if any.
pub(crate) fn same_target(authority: &str, host: &HostName, port: u16) -> bool {
    match authority.rsplit_once(':') {
        Some(_) => target(authority).is_some_and(|(name, at)| name == *host && at == port),
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
            refusal_status: None,
        };
        let tunnel = vec![(name("auth.openai.com"), 443), (name("git.example"), 8443)];
        HostTable::new(vec![entry], tunnel, tunnel_unlisted)
    }

    #[test]
    fn intercepts_permitted_tunnels_listed_refuses_the_rest() {
        let table = table(false);
        let verdict = |host, port| table.verdict(&name(host), port);
        assert!(matches!(verdict("API.anthropic.com.", 443), Verdict::Permitted));
        assert!(matches!(verdict("auth.openai.com", 443), Verdict::Tunnel));
        assert!(matches!(verdict("example.com", 443), Verdict::Refused));
        assert!(matches!(verdict("x.api.anthropic.com", 443), Verdict::Refused));
    }

    #[test]
    fn other_ports_than_that_of_https_are_for_tunnels_that_name_them() {
        for table in [table(false), table(true)] {
            let verdict = |host, port| table.verdict(&name(host), port);
            assert!(matches!(verdict("git.example", 8443), Verdict::Tunnel));
            for (host, port) in [
                ("git.example", 22),
                ("auth.openai.com", 8443),
                ("api.anthropic.com", 8443),
                ("packages.example", 80),
            ] {
                assert!(matches!(verdict(host, port), Verdict::Port), "{host}:{port}");
            }
        }
    }

    #[test]
    fn unlisted_tunnelling_still_refuses_model_providers() {
        let table = table(true);
        let verdict = |host| table.verdict(&name(host), 443);
        for host in ["packages.example", "notchatgpt.com", "s3.amazonaws.com", "github.com"] {
            assert!(matches!(verdict(host), Verdict::Unlisted), "{host}");
        }
        for host in [
            "api.openai.com",
            "my.openai.azure.com",
            "bedrock-runtime.eu-west-1.amazonaws.com",
            "europe-west1-aiplatform.googleapis.com",
        ] {
            assert!(matches!(verdict(host), Verdict::Refused), "{host}");
        }
    }

    #[test]
    fn the_list_of_model_providers_holds_names_in_normal_form_in_order() {
        assert!(MODEL_PROVIDERS.iter().all(|text| name(text).as_str() == *text));
        assert!(MODEL_PROVIDERS.is_sorted());
    }

    #[test]
    fn d3_no_default_tunnel_carries_model_traffic() {
        for text in protocol::settings::HostsFile::default().tunnel {
            assert!(!carries_model_traffic(&name(&text)), "{text}");
        }
    }

    #[test]
    fn guesses_the_handler_to_advise() {
        for (host, handler) in [
            ("eu.api.anthropic.com", "anthropic"),
            ("api.groq.com", "openai"),
            ("packages.example", "none"),
        ] {
            assert_eq!(likely_handler(&name(host)), handler, "{host}");
        }
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
