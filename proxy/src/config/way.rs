//! The proxy on the way to upstreams: the configuration's, or else the environment's.

use protocol::settings::ConfigFile;

use super::{ConfigError, Source};
use crate::upstream::{Bypass, Environment, Via, Way};

/// Which proxy connections go through, and which of them do not.
///
/// # Errors
///
/// Naming the key or the variable. No value is quoted: it may hold a password.
pub(super) fn load(
    source: Source<'_>,
    file: &ConfigFile,
    environment: &Environment,
) -> Result<Way, ConfigError> {
    source.check_list("no_proxy", &file.no_proxy)?;
    let bypass = Bypass::parse(file.no_proxy.iter().map(String::as_str)).map_err(|item| {
        source.at("no_proxy", item, "must be names, addresses, nets as address/bits, or *")
    })?;
    let Some(written) = &file.upstream_proxy else {
        let via = environment.via().map_err(|reason| {
            let reason =
                format!("{reason}; or set upstream_proxy, or no_proxy: [\"*\"], in config.yaml");
            ConfigError::whole("HTTPS_PROXY of the environment", reason)
        });
        // Where everything is direct, it does not matter.
        let via = if bypass.covers_all() { None } else { via? };
        let listed = environment.no_proxy.as_deref().map(Bypass::lenient).unwrap_or_default();
        return Ok(Way { via, bypass: bypass.and(listed) });
    };
    let at = |reason| source.at("upstream_proxy", "", reason);
    let via = Via::parse(written.as_str()).map_err(at)?;
    let listen = file.listen.parse().ok();
    if environment.is_own(&via) || listen.is_some_and(|listen| via.is(listen)) {
        return Err(at("is this very proxy"));
    }
    Ok(Way { via: Some(via), bypass })
}

#[cfg(test)]
mod tests {
    use super::super::files::{self, CONFIG};
    use super::*;

    fn loaded(text: &str, environment: &Environment) -> Result<Way, String> {
        let file = files::decode(CONFIG, text).map_err(|error| error.to_string())?;
        load(Source { file: CONFIG, text }, &file, environment).map_err(|error| error.to_string())
    }

    fn environment(proxy: &str) -> Environment {
        let own = "127.0.0.1:8888".parse().ok();
        Environment { proxy: Some(proxy.into()), no_proxy: Some("a.example".into()), own }
    }

    #[test]
    fn the_configuration_counts_before_the_environment() {
        let theirs = environment("http://env.example:1");
        let way = loaded("{}", &theirs).unwrap();
        assert_eq!(way.via, Via::parse("env.example:1").ok());
        assert_eq!(way.bypass, Bypass::lenient("a.example"));
        let way = loaded("upstream_proxy: p.example:2\n", &theirs).unwrap();
        assert_eq!((way.via, way.bypass), (Via::parse("p.example:2").ok(), Bypass::default()));
        let way = loaded("no_proxy: [\"*\"]\n", &environment("socks5://x:1")).unwrap();
        assert_eq!(way.via, None);
        assert_eq!(loaded("{}", &environment("http://localhost:8888")).unwrap().via, None);
    }

    #[test]
    fn faults_name_their_key_and_quote_no_password() {
        let none = Environment::default();
        for (text, expected) in [
            ("upstream_proxy: \"http://u:s3cret@p\"\nlisten: 127.0.0.1:1\n", None),
            ("upstream_proxy: \"https://u:s3cret@p:1\"\n", Some("config.yaml:1: upstream_proxy: ")),
            ("no_proxy: [\"a b\"]\n", Some("config.yaml:1: no_proxy: ")),
            ("no_proxy:\n", Some("config.yaml:1: no_proxy: ")),
            (
                "listen: 127.0.0.1:7\nupstream_proxy: localhost:7\n",
                Some("config.yaml:2: upstream_proxy: is this very proxy"),
            ),
        ] {
            let loaded = loaded(text, &none);
            match (loaded, expected) {
                (Ok(_), None) => {}
                (Err(error), Some(expected)) => {
                    assert!(error.starts_with(expected) && !error.contains("s3cret"), "{error}");
                }
                (loaded, _) => panic!("{text}: {loaded:?}"),
            }
        }
        let error = loaded("upstream_proxy: 127.0.0.1:8888\n", &environment("")).unwrap_err();
        assert!(error.contains("is this very proxy"), "{error}");
        let error = loaded("{}", &environment("socks5://u:s3cret@x:1")).unwrap_err();
        assert!(error.starts_with("HTTPS_PROXY of the environment: must be an http"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}
