//! `permitted_hosts.yaml`: the names a new CA is made for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use protocol::names::{HostName, NotAHostName};
use protocol::settings::HostsFile;
use serde::Deserialize;
use serde_saphyr::Spanned;

/// Why a hosts file gives no names. All are its author's to mend.
#[derive(Debug)]
pub enum HostsError {
    /// It cannot be read.
    Unreadable(PathBuf, io::Error),
    /// It is no YAML, or not of the schema.
    Malformed(PathBuf, Box<serde_saphyr::Error>),
    /// It lists no host.
    Empty(PathBuf),
    /// An entry is not a host name.
    NotAName(Place, NotAHostName),
    /// Two entries are one name.
    Twice(Place, HostName),
}

/// Where in a hosts file something is.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    line: u64,
    index: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: hosts[{}].host", self.path.display(), self.line, self.index)
    }
}

impl fmt::Display for HostsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Malformed(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Empty(path) => write!(f, "{}: hosts: the list is empty", path.display()),
            Self::NotAName(place, why) => write!(f, "{place}: {why}"),
            Self::Twice(place, name) => write!(f, "{place}: {name} is listed already"),
        }
    }
}

impl std::error::Error for HostsError {}

/// The host names of the file, in normal form.
///
/// # Errors
///
/// See [`HostsError`]; its text names file, line and key.
pub fn read(path: &Path) -> Result<BTreeSet<HostName>, HostsError> {
    let text =
        fs::read_to_string(path).map_err(|error| HostsError::Unreadable(path.to_owned(), error))?;
    names(path, &text)
}

fn names(path: &Path, text: &str) -> Result<BTreeSet<HostName>, HostsError> {
    let malformed = |error| HostsError::Malformed(path.to_owned(), Box::new(error));
    // Twice: the first reading holds the whole file to the schema, the second knows lines.
    serde_saphyr::from_str::<HostsFile>(text).map_err(malformed)?;
    let file: Located = serde_saphyr::from_str(text).map_err(malformed)?;
    let mut names = BTreeSet::new();
    for (index, entry) in file.hosts.iter().enumerate() {
        let place = || Place { path: path.to_owned(), line: entry.host.referenced.line(), index };
        let name = HostName::normalise(&entry.host.value)
            .map_err(|why| HostsError::NotAName(place(), why))?;
        if names.contains(&name) {
            return Err(HostsError::Twice(place(), name));
        }
        names.insert(name);
    }
    if names.is_empty() {
        return Err(HostsError::Empty(path.to_owned()));
    }
    Ok(names)
}

#[derive(Deserialize)]
struct Located {
    hosts: Vec<LocatedEntry>,
}

#[derive(Deserialize)]
struct LocatedEntry {
    host: Spanned<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        names(Path::new("hosts.yaml"), text).unwrap_err().to_string()
    }

    #[test]
    fn normalises_every_name() {
        let text = "hosts:\n  - {host: API.Anthropic.com., sse_handler: anthropic}\n  \
                    - {host: bücher.example, sse_handler: none}\n";
        let names = names(Path::new("hosts.yaml"), text).unwrap();
        let names: Vec<_> = names.iter().map(HostName::as_str).collect();
        assert_eq!(names, ["api.anthropic.com", "xn--bcher-kva.example"]);
    }

    #[test]
    fn names_file_line_and_key_of_a_bad_entry() {
        let one = "hosts:\n  - host: a.example\n    sse_handler: openai\n";
        assert_eq!(
            said(&format!("{one}  - host: 10.0.0.1\n    sse_handler: none\n")),
            "hosts.yaml:4: hosts[1].host: an IP address, where a host name is needed"
        );
        assert_eq!(
            said(&format!("{one}  - host: \"*.example\"\n    sse_handler: none\n")),
            "hosts.yaml:4: hosts[1].host: not a DNS host name (which has no scheme, port, path or wildcard)"
        );
        assert_eq!(
            said(&format!("{one}  - host: A.example\n    sse_handler: none\n")),
            "hosts.yaml:4: hosts[1].host: a.example is listed already"
        );
        assert_eq!(said("hosts: []\n"), "hosts.yaml: hosts: the list is empty");
    }

    #[test]
    fn refuses_keys_outside_the_schema() {
        let text = "hosts:\n  - {host: a.example, sse_handler: openai, mitm: true}\n";
        let said = said(text);
        assert!(said.starts_with("hosts.yaml: ") && said.contains("mitm"), "{said}");
    }
}
