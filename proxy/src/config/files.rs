//! From the bytes of a file to its raw schema.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path};

use serde::de::DeserializeOwned;

use super::error::ConfigError;

/// `config.yaml`.
pub(crate) const CONFIG: &str = "config.yaml";
/// `permitted_hosts.yaml`.
pub(crate) const HOSTS: &str = "permitted_hosts.yaml";
/// `patterns.yaml`.
pub(crate) const PATTERNS: &str = "patterns.yaml";

/// Largest configuration file, in bytes.
const FILE_MAX: u64 = 1024 * 1024;

/// What tells one state of the files from another without reading them. Names are followed, so it
/// does not matter whether a file was written to, replaced, or is a link that points elsewhere now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fingerprint(Vec<Option<Print>>);

/// Device and inode, length, and the times of the last change of contents and of anything else: an
/// editor that restores the first cannot restore the second.
type Print = (u64, u64, u64, [i64; 4]);

impl Fingerprint {
    /// The state of the three files in `dir` now, and of `further` ones.
    pub(crate) fn of(dir: &Path, further: &[String]) -> Self {
        let three = [CONFIG, HOSTS, PATTERNS].map(|name| print(&dir.join(name)));
        Self(three.into_iter().chain(further.iter().map(|name| print(&dir.join(name)))).collect())
    }

    /// This state, and that of `further` files now.
    pub(crate) fn with(mut self, dir: &Path, further: &[String]) -> Self {
        self.0.extend(further.iter().map(|name| print(&dir.join(name))));
        self
    }
}

fn print(path: &Path) -> Option<Print> {
    let data = fs::metadata(path).ok()?;
    let times = [data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec()];
    Some((data.dev(), data.ino(), data.len(), times))
}

/// Refuses a folder in which everybody can put another file in place of one that is read here.
///
/// # Errors
///
/// When `dir` is world-writable without being sticky.
pub(crate) fn check_folder(dir: &Path) -> Result<(), ConfigError> {
    let mode = fs::metadata(dir).map(|data| data.permissions().mode()).unwrap_or_default();
    if mode & 0o1002 == 0o002 {
        return Err(ConfigError::whole(
            CONFIG,
            "lies in a folder writable by everybody; chmod o-w it",
        ));
    }
    Ok(())
}

/// The text of `name` in `dir`; `None` where there is no such file.
///
/// # Errors
///
/// When it cannot be read, is world-writable, too large or not UTF-8.
pub(crate) fn read(dir: &Path, name: &str) -> Result<Option<String>, ConfigError> {
    let bad = |reason: String| ConfigError::whole(name, reason);
    // Opening a pipe would wait for somebody who writes into it.
    let mut opening = fs::OpenOptions::new();
    opening.read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    let file = match opening.open(dir.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(bad(format!("cannot be read: {error}"))),
    };
    let data = file.metadata().map_err(|error| bad(format!("cannot be read: {error}")))?;
    if !data.is_file() {
        return Err(bad("is not a regular file".into()));
    }
    if data.permissions().mode() & 0o002 != 0 {
        return Err(bad("is writable by everybody; chmod o-w it".into()));
    }
    if data.len() > FILE_MAX {
        return Err(bad(format!("is larger than {FILE_MAX} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| bad(format!("cannot be read: {error}")))?;
    String::from_utf8(bytes).map(Some).map_err(|error| ConfigError {
        line: Some(line_behind(&error.as_bytes()[..error.utf8_error().valid_up_to()])),
        ..bad("not UTF-8".into())
    })
}

/// The line, from 1, of what stands behind `text`.
pub(crate) fn line_behind(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).fold(1, |line, _| line + 1)
}

/// Like [`read`], for a file that must be there.
///
/// # Errors
///
/// As [`read`], and when there is no such file.
pub(crate) fn require(dir: &Path, name: &str) -> Result<String, ConfigError> {
    read(dir, name)?.ok_or_else(|| ConfigError::whole(name, "is missing"))
}

/// The PEM file `path`, which must lie under `dir`.
///
/// # Errors
///
/// A text for the key that names it.
pub(crate) fn pem(dir: &Path, path: &str) -> Result<Vec<u8>, String> {
    let beneath = Path::new(path);
    if !beneath.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err("must be a file under the configuration folder".into());
    }
    match read(dir, path) {
        Ok(Some(text)) => Ok(text.into_bytes()),
        Ok(None) => Err(format!("{path} is missing")),
        Err(error) => Err(format!("{path} {}", error.reason)),
    }
}

/// Decodes `text` as `name`'s schema: no unknown key, no duplicate, one document.
///
/// # Errors
///
/// Naming line and key.
pub(crate) fn decode<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, ConfigError> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        strict_booleans: true,
    };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| ConfigError::yaml(name, text, &error))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::settings::{ConfigFile, HostsFile};

    use super::*;

    fn config(text: &str) -> Result<ConfigFile, String> {
        decode(CONFIG, text).map_err(|error| error.to_string())
    }

    fn hosts(text: &str) -> Result<HostsFile, String> {
        decode(HOSTS, text).map_err(|error| error.to_string())
    }

    #[test]
    fn names_the_line_that_is_not_utf_8() {
        let folder = tempfile::tempdir().unwrap();
        for (bytes, line) in [(&b"\xff"[..], 1), (b"a: b\n\n# \xff\n", 3)] {
            fs::write(folder.path().join(CONFIG), bytes).unwrap();
            let error = read(folder.path(), CONFIG).unwrap_err();
            assert_eq!(error.to_string(), format!("config.yaml:{line}: not UTF-8"));
        }
    }

    #[test]
    fn waits_for_nobody_who_would_write_into_a_pipe() {
        let folder = tempfile::tempdir().unwrap();
        let mode = nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR;
        nix::unistd::mkfifo(&folder.path().join(CONFIG), mode).unwrap();
        let error = read(folder.path(), CONFIG).unwrap_err();
        assert_eq!(error.to_string(), "config.yaml: is not a regular file");
    }

    #[test]
    fn names_line_and_key_of_an_unknown_key() {
        let error = config("listen: 127.0.0.1:1\nkill_swich: true\n").unwrap_err();
        assert!(error.starts_with("config.yaml:2: kill_swich: "), "{error}");
    }

    #[test]
    fn names_line_and_key_of_a_duplicate() {
        let error = config("admin_port: 1\nlisten: 127.0.0.1:1\nadmin_port: 2\n").unwrap_err();
        assert!(error.starts_with("config.yaml:3: admin_port: "), "{error}");
    }

    #[test]
    fn names_line_and_key_of_a_wrong_type() {
        for text in ["\nadmin_port: many\n", "\nadmin_port: 70000\n", "\nkill_switch: yes\n"] {
            let error = config(text).unwrap_err();
            assert!(error.starts_with("config.yaml:2: "), "{error}");
        }
        let error = hosts("hosts:\n- host: [a]\n  sse_handler: none\n").unwrap_err();
        assert!(error.starts_with("permitted_hosts.yaml:2: host: "), "{error}");
    }

    /// Text that is YAML, or nearly.
    fn yaml() -> impl Strategy<Value = String> {
        let known = vec![
            "hosts:",
            "- host: a.example",
            "sse_handler: none",
            "limits:",
            "  body_mib: 1",
            "listen: ",
            "---",
            "...",
            "&a ",
            "*a",
            "<<: *a",
            "? ",
            "!!str ",
            "|-",
            "{",
            "[",
            "'",
            "\"",
            "\u{2028}",
            "\u{85}",
        ];
        let piece = prop_oneof![
            3 => prop::sample::select(known).prop_map(str::to_owned),
            1 => "\\PC{0,8}",
            3 => Just("\n".to_owned()),
            1 => Just("  ".to_owned()),
        ];
        prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn every_text_is_taken_or_refused_by_file_and_line(text in yaml()) {
            let lines = u64::try_from(text.split('\n').count()).unwrap();
            let faults = [
                (CONFIG, decode::<ConfigFile>(CONFIG, &text).err()),
                (HOSTS, decode::<HostsFile>(HOSTS, &text).err()),
            ];
            for (file, fault) in faults {
                let Some(fault) = fault else { continue };
                prop_assert_eq!(&fault.file, file);
                prop_assert!(fault.line.is_none_or(|line| line <= lines + 1), "{}", fault);
                prop_assert!(!fault.reason.is_empty());
            }
        }
    }

    #[test]
    fn an_empty_file_is_no_host_table() {
        assert!(hosts("").is_err());
    }

    #[test]
    fn two_documents_are_refused() {
        assert!(config("admin_port: 1\n---\nadmin_port: 2\n").is_err());
    }

    #[test]
    fn refuses_a_file_that_everybody_may_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CONFIG);
        fs::write(&path, "{}").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).unwrap();
        assert!(read(dir.path(), CONFIG).unwrap_err().to_string().contains("writable"));
    }

    #[test]
    fn refuses_a_folder_that_everybody_may_write() {
        let dir = tempfile::tempdir().unwrap();
        let with = |mode| {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            check_folder(dir.path()).map_err(|error| error.to_string())
        };
        assert!(with(0o757).unwrap_err().contains("writable"));
        assert_eq!(with(0o755), Ok(()));
    }

    #[test]
    fn roots_lie_under_the_configuration_folder() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["/etc/ssl/cert.pem", "../ca.pem", "a/../../ca.pem"] {
            assert!(pem(dir.path(), path).unwrap_err().contains("under"), "{path}");
        }
        assert!(pem(dir.path(), "ca.pem").unwrap_err().contains("missing"));
    }
}
