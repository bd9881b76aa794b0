//! What is wrong with a configuration file, and where.

use std::fmt;

use super::files::{CONFIG, HOSTS, PATTERNS};

/// One fault in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// The file's name, without its folder.
    pub(crate) file: String,
    /// The line, from 1, where it is known.
    pub(crate) line: Option<u64>,
    /// The key, where it is known.
    pub(crate) key: Option<String>,
    /// What is wrong.
    pub(crate) reason: String,
}

impl ConfigError {
    /// A fault of a whole file.
    pub(crate) fn whole(file: &str, reason: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, key: None, reason: reason.into() }
    }

    /// A fault at `key`, whose line is looked up in the file's `text`: the one that holds `value`
    /// too, where there is one.
    pub(crate) fn at(
        file: &str,
        text: &str,
        key: &str,
        value: &str,
        reason: impl Into<String>,
    ) -> Self {
        let leaf = key.rsplit('.').next().unwrap_or(key);
        let lines = || text.lines().zip(1..);
        let found = lines()
            .filter(|(line, _)| line.contains(value))
            .find(|(line, _)| key_of(line) == Some(leaf))
            .or_else(|| lines().filter(|_| !value.is_empty()).find(|(l, _)| l.contains(value)))
            .or_else(|| lines().find(|(line, _)| key_of(line) == Some(leaf)));
        Self {
            file: file.to_owned(),
            line: found.map(|(_, number)| number),
            key: Some(key.to_owned()),
            reason: reason.into(),
        }
    }

    /// A root that cannot be used, of `host` or of every upstream.
    pub(crate) fn root(host: Option<&str>, reason: impl fmt::Display) -> Self {
        let (file, key) = match host {
            Some(host) => (HOSTS, format!("extra_root of {host}")),
            None => (CONFIG, "extra_roots".to_owned()),
        };
        Self { key: Some(key), ..Self::whole(file, reason.to_string()) }
    }

    /// Whether the fault lies in the pattern file.
    pub(crate) fn is_policy(&self) -> bool {
        self.file == PATTERNS
    }

    /// A fault that the YAML reader found.
    pub(crate) fn yaml(file: &str, text: &str, error: &serde_saphyr::Error) -> Self {
        let line = error.location().map(|location| location.line());
        let named = line.and_then(|line| usize::try_from(line).ok());
        let key = named
            .and_then(|line| text.lines().nth(line.saturating_sub(1)))
            .and_then(key_of)
            .map(str::to_owned);
        let rendered = error.without_snippet().to_string();
        let reason = plainly(rendered.lines().next().unwrap_or("not valid YAML"));
        Self { file: file.to_owned(), line, key, reason }
    }
}

/// What the YAML reader says, without the line, which stands in front already, and without what only
/// whoever calls it could do.
fn plainly(said: &str) -> String {
    let said = said.rsplit_once(" at line ").map_or(said, |(what, _)| what);
    let said = said.split(", set DuplicateKeyPolicy").next().unwrap_or(said);
    match said {
        "unexpected end of input" => {
            "ends where something should be; an empty file says nothing".into()
        }
        "invalid u16" | "invalid u32" | "invalid u64" => "must be a whole number in range".into(),
        _ => said.to_owned(),
    }
}

/// The key that a line of block-style YAML sets.
fn key_of(line: &str) -> Option<&str> {
    let bare = line.trim_start().trim_start_matches("- ").trim_start_matches(['{', ' ']);
    let (key, _) = bare.split_once(':')?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (!key.is_empty() && key.bytes().all(plain)).then_some(key)
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_file_line_and_key() {
        let text = "listen: 127.0.0.1:8888\nlimits:\n  body_mib: 0\n";
        let error = ConfigError::at("config.yaml", text, "limits.body_mib", "0", "must not be 0");
        assert_eq!(error.to_string(), "config.yaml:3: limits.body_mib: must not be 0");
    }

    #[test]
    fn says_what_the_reader_means_to_who_wrote_the_file() {
        for (said, means) in [
            (
                "duplicate mapping key: hosts, set DuplicateKeyPolicy in Options if acceptable at line 4, column 1",
                "duplicate mapping key: hosts",
            ),
            ("invalid u32 at line 4, column 9", "must be a whole number in range"),
            (
                "unknown field `host`, expected one of hosts, tunnel at line 1, column 1",
                "unknown field `host`, expected one of hosts, tunnel",
            ),
        ] {
            assert_eq!(plainly(said), means);
        }
    }

    #[test]
    fn finds_the_entry_of_a_list_by_its_value() {
        let text = "hosts:\n  - {host: a.example}\n  - host: b..example\n";
        let error = ConfigError::at("h", text, "host", "b..example", "not a name");
        assert_eq!(error.line, Some(3));
    }
}
