//! Command line to configuration.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "waterwall-auditd", version, about = "The only writer of evidence.")]
pub(crate) struct Arguments {
    /// Log directory
    #[arg(long, value_name = "DIR")]
    log: PathBuf,
    /// Socket of the signer's seal link
    #[arg(long, value_name = "PATH")]
    seal: PathBuf,
    /// User the proxy runs as [default: own user]
    #[arg(long, value_name = "N")]
    proxy_uid: Option<u32>,
    /// User the signer runs as [default: own user]
    #[arg(long, value_name = "N")]
    signer_uid: Option<u32>,
    /// File of 64 hexadecimal digits that operators present
    #[arg(long, value_name = "FILE")]
    admin_token: Option<PathBuf>,
    /// Lines between two checkpoint lines
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=8000))]
    checkpoint_lines: u64,
    /// Seconds between two checkpoint lines while there is activity
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    checkpoint_seconds: u64,
    /// Seconds that lines may wait for the signer before nothing leaves any more
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    max_unsigned_seconds: u64,
    /// What to demand of the kernel
    #[arg(long, value_enum, default_value_t = Sandbox::Auto)]
    sandbox: Sandbox,
    /// Read the append and the seal link's secrets, 32 bytes each, from standard input
    #[arg(long)]
    pub(crate) secrets_from_stdin: bool,
}

/// What to demand of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sandbox {
    /// Landlock file rules and seccomp; what an older kernel lacks beyond them is reported
    Auto,
    /// Refuse to start below Landlock ABI 6
    Strict,
}

/// How often evidence is signed, and how long it may go without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cadence {
    /// Lines between two checkpoint lines.
    pub(crate) lines: u64,
    /// Milliseconds between two checkpoint lines while there is activity.
    pub(crate) active_ms: u64,
    /// Milliseconds between two checkpoint lines while there is none.
    pub(crate) idle_ms: u64,
    /// Milliseconds after which `head.note` covers a line.
    pub(crate) head_ms: u64,
    /// Milliseconds that lines may wait for the signer.
    pub(crate) max_unsigned_ms: u64,
    /// How long appends may wait for the signature of a checkpoint line.
    pub(crate) patience: Duration,
}

/// What this process works with.
#[derive(Debug)]
pub(crate) struct Config {
    /// Log directory.
    pub(crate) log: PathBuf,
    /// The signer's socket.
    pub(crate) seal: PathBuf,
    /// Who may append.
    pub(crate) proxy_uid: u32,
    /// Who must answer at the signer's socket.
    pub(crate) signer_uid: u32,
    /// What operators present in their hello.
    pub(crate) admin_token: [u8; 32],
    /// Whether to refuse a kernel that cannot enforce everything.
    pub(crate) strict: bool,
    /// Signing.
    pub(crate) cadence: Cadence,
}

/// Why there is no configuration.
#[derive(Debug)]
pub(crate) enum Unconfigured {
    /// The token file cannot be read.
    Unreadable(io::Error),
    /// The token file does not hold 64 hexadecimal digits.
    NotAToken,
}

impl std::fmt::Display for Unconfigured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(error) => {
                write!(f, "admin token cannot be read: {error}: {NEW_TOKEN}")
            }
            Self::NotAToken => write!(f, "admin token is not 64 hexadecimal digits: {NEW_TOKEN}"),
        }
    }
}

impl std::error::Error for Unconfigured {}

const NEW_TOKEN: &str = "remove run/admin.token and start again, which makes a new one";

impl TryFrom<Arguments> for Config {
    type Error = Unconfigured;

    fn try_from(arguments: Arguments) -> Result<Self, Unconfigured> {
        let own = sandbox::peer::own_uid();
        Ok(Self {
            admin_token: arguments.admin_token.as_deref().map_or(Ok([0; 32]), token)?,
            log: arguments.log,
            seal: arguments.seal,
            proxy_uid: arguments.proxy_uid.unwrap_or(own),
            signer_uid: arguments.signer_uid.unwrap_or(own),
            strict: arguments.sandbox == Sandbox::Strict,
            cadence: Cadence {
                lines: arguments.checkpoint_lines,
                active_ms: arguments.checkpoint_seconds * 1000,
                max_unsigned_ms: arguments.max_unsigned_seconds * 1000,
                ..Cadence::default()
            },
        })
    }
}

impl Cadence {
    /// What `config_hash` hashes: the settings that shape evidence, one to a line.
    pub(crate) fn text(&self) -> String {
        format!(
            "checkpoint_lines={}\ncheckpoint_ms={}\nidle_ms={}\nhead_ms={}\nmax_unsigned_ms={}\n",
            self.lines, self.active_ms, self.idle_ms, self.head_ms, self.max_unsigned_ms
        )
    }
}

impl Default for Cadence {
    fn default() -> Self {
        Self {
            lines: 256,
            active_ms: 60_000,
            idle_ms: 300_000,
            head_ms: 1_000,
            max_unsigned_ms: 60_000,
            patience: Duration::from_millis(250),
        }
    }
}

fn token(path: &Path) -> Result<[u8; 32], Unconfigured> {
    let text = fs::read_to_string(path).map_err(Unconfigured::Unreadable)?;
    let digits = text.trim_end().as_bytes();
    let mut token = [0; 32];
    if digits.len() != 2 * token.len() {
        return Err(Unconfigured::NotAToken);
    }
    for (byte, pair) in token.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = 16 * nibble(pair[0])? + nibble(pair[1])?;
    }
    Ok(token)
}

fn nibble(digit: u8) -> Result<u8, Unconfigured> {
    let value = char::from(digit).to_digit(16).ok_or(Unconfigured::NotAToken)?;
    u8::try_from(value).map_err(|_| Unconfigured::NotAToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configure(more: &[&str]) -> Result<Config, Unconfigured> {
        let words = ["waterwall-auditd", "--log", "/l", "--seal", "/s"];
        Arguments::try_parse_from(words.iter().chain(more)).unwrap().try_into()
    }

    #[test]
    fn users_default_to_the_own_one_and_signing_to_the_documented_cadence() {
        let config = configure(&[]).unwrap();
        assert_eq!(config.proxy_uid, sandbox::peer::own_uid());
        assert!(!config.strict);
        assert!(configure(&["--sandbox", "strict"]).unwrap().strict);
        assert_eq!(config.signer_uid, config.proxy_uid);
        assert_eq!(config.admin_token, [0; 32]);
        assert_eq!(config.cadence, Cadence::default());
    }

    #[test]
    fn reads_a_token_and_refuses_anything_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            configure(&["--admin-token", file.to_str().unwrap()]).map(|config| config.admin_token)
        };
        assert_eq!(read(&format!("{}\n", "0aF1".repeat(16))).unwrap(), [0x0a, 0xf1].repeat(16)[..]);
        for bad in ["", "0a", &"0g".repeat(32), &"00".repeat(33), &"é".repeat(32)] {
            assert!(matches!(read(bad), Err(Unconfigured::NotAToken)), "{bad}");
        }
    }

    #[test]
    fn refuses_a_cadence_the_verifier_would_refuse() {
        let words = ["x", "--log", "/l", "--seal", "/s", "--checkpoint-lines", "8001"];
        assert!(Arguments::try_parse_from(words).is_err());
    }
}
