//! What a start needs in the folders: made on first use, left alone afterwards.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use protocol::settings::{Audit, ConfigFile};

use crate::fault::{Fault, Kind};
use crate::files;
use crate::home::Home;

/// `config.yaml` as it is on first use.
pub(crate) const CONFIG: &str = include_str!("../../deploy/etc/config.yaml");
/// `permitted_hosts.yaml` as it is on first use.
pub(crate) const HOSTS: &str = include_str!("../../deploy/etc/permitted_hosts.yaml");
/// `patterns.yaml` as it is on first use.
pub(crate) const PATTERNS: &str = include_str!("../../deploy/etc/patterns.yaml");

/// Writes the commented default configuration where there is none. Once there is a CA, a host table
/// that is missing was lost, and a proxy without one refuses everything: nobody's hosts are put in the
/// place of the operator's.
pub(crate) fn write_defaults(home: &Home) -> Result<(), Fault> {
    let is_first = !home.ca().exists();
    let hosts = is_first.then(|| (home.hosts(), HOSTS));
    let files = [(home.config(), CONFIG), (home.patterns(), PATTERNS)];
    for (path, text) in files.into_iter().chain(hosts) {
        files::create(&path, text.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// Makes the token that control connections and admin changes must show.
pub(crate) fn write_admin_token(home: &Home) -> Result<(), Fault> {
    let mut token = [0; 32];
    getrandom::fill(&mut token).map_err(|error| Fault::system("draw random bytes", error))?;
    let digits: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
    files::create(&home.admin_token(), format!("{digits}\n").as_bytes(), 0o640)?;
    Ok(())
}

/// The token as the control links' hello carries it.
pub(crate) fn read_admin_token(home: &Home) -> Result<[u8; 32], Fault> {
    let path = home.admin_token();
    let text = fs::read_to_string(&path).map_err(|error| Fault::file("read", &path, &error))?;
    parse_token(&text).ok_or_else(|| {
        Fault::new(
            Kind::Config,
            format!("{} does not hold 64 hexadecimal digits", path.display()),
            format!("remove it and restart: {}", home.command("down")),
        )
    })
}

fn parse_token(text: &str) -> Option<[u8; 32]> {
    let digits = text.trim_end().as_bytes();
    let mut token = [0; 32];
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in token.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(token)
}

/// Has the signer make its keys, unless it has them. Only the signer ever sees them.
pub(crate) fn make_keys(home: &Home, signer: &Path, audit: &Audit) -> Result<(), Fault> {
    let made = [home.signer_state().join("ca.key"), home.ca(), home.log_key(), home.evidence_key()];
    if made.iter().all(|path| path.exists()) {
        return Ok(());
    }
    let mut command = Command::new(signer);
    command.arg("init").arg("--state").arg(home.signer_state());
    command.arg("--public").arg(home.etc()).arg("--hosts-file").arg(home.hosts());
    if let Some(origin) = &audit.origin {
        command.arg("--origin").arg(origin);
    }
    let done = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Fault::file("run", signer, &error))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(Fault::new(
        Kind::Config,
        format!("waterwall-signer could not make its keys ({}): {}", done.status, said.trim()),
        format!("check {} and {}", home.hosts().display(), home.signer_state().display()),
    ))
}

/// The parts of `config.yaml` that a start depends on.
///
/// An invalid file does not keep the proxy from starting: it then refuses every request and says
/// why, until the file is mended and reloaded. `Err` is that reason, beside the defaults.
pub(crate) fn read_config(home: &Home) -> (ConfigFile, Result<(), String>) {
    let path = home.config();
    let read = fs::read_to_string(&path)
        .map_err(|error| error.to_string())
        .and_then(|text| serde_saphyr::from_str(&text).map_err(|error| error.to_string()));
    match read {
        Ok(config) => (config, Ok(())),
        Err(reason) => (ConfigFile::default(), Err(format!("{}: {reason}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use protocol::settings::HostsFile;

    use super::*;

    #[test]
    fn the_configuration_template_says_the_defaults() {
        let config: ConfigFile = serde_saphyr::from_str(CONFIG).unwrap();
        assert_eq!(config, ConfigFile::default());
    }

    #[test]
    fn the_configuration_template_shows_every_key() {
        fn keys(value: &serde_json::Value, found: &mut Vec<String>) {
            for (key, below) in value.as_object().into_iter().flatten() {
                found.push(key.clone());
                keys(below, found);
            }
        }
        let mut expected = Vec::new();
        keys(&serde_json::to_value(ConfigFile::default()).unwrap(), &mut expected);
        assert!(expected.len() > 20, "{expected:?}");
        for key in expected {
            let shown = CONFIG
                .lines()
                .any(|line| line.trim_start_matches(['#', ' ']).starts_with(&format!("{key}:")));
            assert!(shown, "{key}");
        }
    }

    #[test]
    fn the_hosts_template_says_the_defaults() {
        let hosts: HostsFile = serde_saphyr::from_str(HOSTS).unwrap();
        assert_eq!(hosts, HostsFile::default());
    }

    #[test]
    fn the_patterns_template_adds_none() {
        let patterns: serde_json::Value = serde_saphyr::from_str(PATTERNS).unwrap();
        assert_eq!(patterns, serde_json::json!({ "patterns": [] }));
    }

    #[test]
    fn a_token_is_read_back_as_written_and_kept() {
        let parent = tempfile::tempdir().unwrap();
        let home = Home::choose(Some(parent.path()), &crate::home::Process).unwrap();
        home.create().unwrap();
        write_admin_token(&home).unwrap();
        let first = read_admin_token(&home).unwrap();
        write_admin_token(&home).unwrap();
        assert_eq!(read_admin_token(&home).unwrap(), first);
        assert_ne!(first, [0; 32]);
    }

    #[test]
    fn refuses_a_damaged_token() {
        let sixty_four = "0123456789abcdef".repeat(4);
        assert!(parse_token(&sixty_four).is_some());
        assert_eq!(parse_token(&sixty_four[1..]), None);
        assert_eq!(parse_token(&sixty_four.replace('f', "g")), None);
        assert_eq!(parse_token(&sixty_four.replace("01", "+1")), None);
    }

    #[test]
    fn defaults_never_overwrite_the_operators_files() {
        let parent = tempfile::tempdir().unwrap();
        let home = Home::choose(Some(parent.path()), &crate::home::Process).unwrap();
        home.create().unwrap();
        fs::write(home.config(), "listen: \"127.0.0.1:0\"\n").unwrap();
        write_defaults(&home).unwrap();
        let (config, valid) = read_config(&home);
        assert_eq!(valid, Ok(()));
        assert_eq!(config.listen, "127.0.0.1:0");
        assert!(home.hosts().exists());
    }

    #[test]
    fn an_invalid_configuration_is_reported_beside_the_defaults() {
        let parent = tempfile::tempdir().unwrap();
        let home = Home::choose(Some(parent.path()), &crate::home::Process).unwrap();
        home.create().unwrap();
        fs::write(home.config(), "lisen: x\n").unwrap();
        let (config, valid) = read_config(&home);
        assert_eq!(config, ConfigFile::default());
        assert!(valid.unwrap_err().contains("lisen"));
    }
}
