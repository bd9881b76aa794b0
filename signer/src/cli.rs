//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Holds Waterwall's keys: issues certificates to the proxy, signs checkpoints for auditd.
///
/// The signer is the only process that can read ca.key, signing.key and evidence.key. It answers on
/// two Unix sockets, opens no network socket, and signs nothing a caller composed: a certificate
/// is for a host its own CA permits, a checkpoint extends the one it signed before.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the keys, the CA and an empty high-water mark, once.
    ///
    /// Run it as the user who will run `serve`, or as root with a state folder that belongs to that
    /// user. Existing keys are checked and kept; running it again is safe. Clients must trust
    /// PUBLIC/ca.pem; auditors pin PUBLIC/signing.pub.
    #[command(
        after_help = "Example:\n  waterwall-signer init --state ~/.local/state/waterwall/signer \\\n    \
        --public ~/.config/waterwall --hosts-file ~/.config/waterwall/permitted_hosts.yaml"
    )]
    Init(Init),
    /// Replace the CA, for the hosts the file lists now; log keys and high-water mark stay.
    ///
    /// Needed after permitted_hosts.yaml gained a host, or when ca.key may be known. Restart the
    /// signer and the proxy afterwards, and give clients the new PUBLIC/ca.pem.
    RegenCa(RegenCa),
    /// Answer on the sockets `mint` and `seal`, until SIGTERM.
    ///
    /// The sockets are handed over by systemd or `waterwall-ctl up` (LISTEN_FDS, LISTEN_FDNAMES).
    /// Before the first answer the process gives up everything but its open files and sockets.
    #[command(after_help = "Exit codes: 0 stopped, 64 usage, 65 state not to be relied on, \
        66 state missing, 69 another signer runs, 71 no sandbox, 74 could not save (start it \
        again), 77 wrong owner or mode.")]
    Serve(Serve),
    /// Print names, fingerprints, verifier keys and the high-water mark. No secrets.
    Show(Show),
}

/// Options of `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Where the keys go and what the CA is for.
    #[command(flatten)]
    pub ca: RegenCa,
    /// Name of the log, for good; a random one under waterwall.local by default.
    #[arg(long, value_name = "NAME")]
    pub origin: Option<String>,
}

/// Options of `regen-ca`, all of which `init` has as well.
#[derive(Debug, Args)]
pub struct RegenCa {
    /// Folder for the private keys and the high-water mark; `init` makes it with mode 0700.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Folder for ca.pem, signing.pub and evidence.pub; others must be able to read it.
    #[arg(long, value_name = "DIR")]
    pub public: PathBuf,
    /// permitted_hosts.yaml: the CA will be good for exactly these hosts.
    #[arg(long, value_name = "FILE")]
    pub hosts_file: PathBuf,
    /// Days until the CA expires.
    ///
    /// Ten years by default, and at most: it is trusted by hand, client by client, so its expiry
    /// is an outage that no renewal prevents, while its name constraints already bound what a
    /// stolen key is good for. Leaves hold seven days whatever this says.
    #[arg(long, default_value_t = 3650, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Folder that `init` made.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// User who may connect to `mint` [default: the signer's own].
    #[arg(long, value_name = "UID")]
    pub proxy_uid: Option<u32>,
    /// User who may connect to `seal` [default: the signer's own].
    #[arg(long, value_name = "UID")]
    pub auditd_uid: Option<u32>,
    /// Read 64 bytes from standard input: the secrets that callers of `mint` and of `seal` must
    /// know. For installations where all daemons share a user.
    #[arg(long)]
    pub secrets_from_stdin: bool,
    /// What to demand of the kernel.
    #[arg(long, value_enum, default_value_t = Sandbox::Auto)]
    pub sandbox: Sandbox,
}

/// What to demand of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sandbox {
    /// Landlock file rules and seccomp; what an older kernel lacks beyond them is reported.
    Auto,
    /// Refuse to start below Landlock ABI 6.
    Strict,
}

/// Options of `show`.
#[derive(Debug, Args)]
pub struct Show {
    /// Folder that `init` made.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}
