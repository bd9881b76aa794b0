//! The proxy of somebody else's that connections go through: which one, for which hosts, and how it
//! is asked.

mod bypass;
mod chain;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::names::HostName;
use zeroize::Zeroizing;

pub(crate) use self::bypass::Bypass;
pub(crate) use self::chain::Refused;
pub(super) use self::chain::ask;
use crate::hosts::Upstream;

/// Port of a proxy whose URL names none.
const HTTP: u16 = 80;

/// An HTTP proxy that is asked to CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Via {
    /// Where it listens.
    pub(super) at: Upstream,
    /// Value of `Proxy-Authorization`.
    authorization: Option<Arc<Zeroizing<String>>>,
}

impl fmt::Debug for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Via")
            .field("at", &self.at)
            .field("authorized", &self.authorization.is_some())
            .finish()
    }
}

impl Via {
    /// `text` as `host:port` or `http://[user[:password]@]host[:port]`, user and password in
    /// percent-encoding.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without a part of it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        if scheme.is_some_and(|scheme| !scheme.eq_ignore_ascii_case("http")) {
            return Err("must be an http:// proxy: no other kind is spoken to");
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        let named = Upstream::parse(place);
        let at = named
            .or_else(|| Upstream::parse(&format!("{place}:{HTTP}")).filter(|_| scheme.is_some()));
        Ok(Self {
            at: at.ok_or("must be host:port or http://user:password@host:port")?,
            authorization: user.map(basic).transpose()?.map(Arc::new),
        })
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.at.port()
    }

    /// Whether it is the listener at `own`.
    pub(crate) fn is(&self, own: SocketAddr) -> bool {
        let is_here = match &self.at {
            Upstream::Address(address) => address.ip().to_canonical().is_loopback(),
            Upstream::Name(name, _) => is_local(name),
        };
        is_here && self.at.port() == own.port() && own.port() != 0
    }
}

/// Basic credentials (RFC 7617).
fn basic(userinfo: &str) -> Result<Zeroizing<String>, &'static str> {
    const WRONG: &str = "must have its user and password in percent-encoding";
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let user = decoded(user).ok_or(WRONG)?;
    let password = decoded(password).ok_or(WRONG)?;
    if user.contains(&b':') {
        return Err("must have a user without a colon");
    }
    let pair = Zeroizing::new([&user[..], b":", &password[..]].concat());
    if pair.iter().any(u8::is_ascii_control) {
        return Err("must have no control characters in its user and password");
    }
    Ok(Zeroizing::new(format!("Basic {}", *Zeroizing::new(STANDARD.encode(&*pair)))))
}

fn decoded(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        let byte = match first {
            b'%' => {
                let (digits, behind) = rest.split_at_checked(2)?;
                rest = behind;
                let digit = |at: usize| char::from(digits[at]).to_digit(16);
                u8::try_from(digit(0)? * 16 + digit(1)?).ok()?
            }
            b'@' | b'/' | b'?' | b'#' => return None,
            other => *other,
        };
        bytes.push(byte);
    }
    Some(bytes)
}

fn is_local(name: &HostName) -> bool {
    name.as_str() == "localhost" || name.as_str().ends_with(".localhost")
}

/// Which connections go through a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Way {
    /// The proxy.
    pub(crate) via: Option<Via>,
    /// What does not go through it.
    pub(crate) bypass: Bypass,
}

impl Way {
    /// The proxy to ask for `target`. None is asked for this very machine, which is another one
    /// seen from there.
    pub(super) fn to(&self, target: &Upstream) -> Option<&Via> {
        let via = self.via.as_ref()?;
        let is_direct = match target {
            Upstream::Address(address) => {
                let ip: IpAddr = address.ip().to_canonical();
                ip.is_loopback() || self.bypass.covers_address(ip)
            }
            Upstream::Name(name, _) => is_local(name) || self.bypass.covers_name(name),
        };
        (!is_direct).then_some(via)
    }
}

/// What the environment says of proxies.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    /// `HTTPS_PROXY`.
    pub(crate) proxy: Option<String>,
    /// `NO_PROXY`.
    pub(crate) no_proxy: Option<String>,
    /// Where agents connect: never to be connected to from here.
    pub(crate) own: Option<SocketAddr>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Environment {
    /// Reads it, for a process whose agents connect to `own`.
    pub(crate) fn read(own: Option<SocketAddr>) -> Self {
        let variable = |names: [&str; 2]| {
            let found = names.into_iter().find_map(|name| std::env::var(name).ok());
            found.filter(|value| !value.trim().is_empty())
        };
        Self {
            proxy: variable(["HTTPS_PROXY", "https_proxy"]),
            no_proxy: variable(["NO_PROXY", "no_proxy"]),
            own,
        }
    }

    /// Whether `via` is this very process.
    pub(crate) fn is_own(&self, via: &Via) -> bool {
        self.own.is_some_and(|own| via.is(own))
    }

    /// The proxy it names, unless that is ourselves.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn via(&self) -> Result<Option<Via>, &'static str> {
        let via = self.proxy.as_deref().map(|text| Via::parse(text.trim())).transpose()?;
        Ok(via.filter(|via| !self.is_own(via)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Upstream {
        Upstream::parse(text).unwrap()
    }

    #[test]
    fn a_proxy_is_a_place_with_or_without_credentials() {
        for (text, at, authorization) in [
            ("proxy.example:3128", "proxy.example:3128", None),
            ("http://proxy.example:3128/", "proxy.example:3128", None),
            ("HTTP://proxy.example", "proxy.example:80", None),
            ("http://[::1]:8080", "[::1]:8080", None),
            // The example of RFC 7617 section 2.
            (
                "http://Aladdin:open%20sesame@10.0.0.1:1",
                "10.0.0.1:1",
                Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ),
            ("u%40x:p%3A%2f@p.example:1", "p.example:1", Some("Basic dUB4OnA6Lw==")),
            ("u@p.example:1", "p.example:1", Some("Basic dTo=")),
        ] {
            let via = Via::parse(text).unwrap();
            assert_eq!(via.at, target(at), "{text}");
            assert_eq!(via.authorization.as_deref().map(|it| it.as_str()), authorization, "{text}");
        }
    }

    #[test]
    fn what_is_no_such_proxy_is_refused_without_being_quoted() {
        for text in [
            "",
            "proxy.example",
            "https://proxy.example:3128",
            "socks5://proxy.example:1080",
            "http://proxy.example:3128/path",
            "http://s3cret:%4@p.example:1",
            "http://s3cret:%zz@p.example:1",
            "http://s3cret:a@b@p.example:1",
            "http://s3cret%3Ax:p@p.example:1",
            "http://s3cret:%0d%0ax@p.example:1",
            "http://s3cret:p@:1",
        ] {
            let reason = Via::parse(text).unwrap_err();
            assert!(reason.starts_with("must ") && !reason.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        let via = Via::parse("http://u:s3cret@p.example:1").unwrap();
        let shown = format!("{via:?}");
        assert!(shown.contains("authorized: true"), "{shown}");
        assert!(!shown.contains("s3cret") && !shown.contains("Basic"), "{shown}");
        let environment = Environment {
            proxy: Some("http://u:s3cret@p.example:1".into()),
            ..Environment::default()
        };
        assert!(!format!("{environment:?}").contains("s3cret"));
    }

    #[test]
    fn this_machine_and_what_is_listed_is_connected_to_directly() {
        let via = Some(Via::parse("p.example:1").unwrap());
        let bypass = Bypass::parse(["corp.example", "10.0.0.0/8"]).unwrap();
        let way = Way { via, bypass };
        for text in ["api.openai.com:443", "corp.example.org:443", "11.0.0.1:443"] {
            assert!(way.to(&target(text)).is_some(), "{text}");
        }
        for text in
            ["gw.corp.example:443", "10.1.2.3:443", "127.0.0.1:1", "[::1]:1", "x.localhost:1"]
        {
            assert!(way.to(&target(text)).is_none(), "{text}");
        }
        assert!(Way::default().to(&target("api.openai.com:443")).is_none());
    }

    #[test]
    fn the_environment_never_leads_back_to_ourselves() {
        let of = |proxy: &str| {
            let own = "127.0.0.1:8888".parse().ok();
            Environment { proxy: Some(proxy.into()), no_proxy: None, own }.via()
        };
        for ours in [
            "http://127.0.0.1:8888",
            "localhost:8888",
            "http://u@[::1]:8888/",
            "http://127.9.9.9:8888",
            "[::ffff:127.0.0.1]:8888",
        ] {
            assert_eq!(of(ours), Ok(None), "{ours}");
        }
        assert!(of("http://127.0.0.1:8887").unwrap().is_some());
        assert!(of("http://proxy.example:8888").unwrap().is_some());
        assert!(of("socks5://127.0.0.1:1").is_err());
    }
}
