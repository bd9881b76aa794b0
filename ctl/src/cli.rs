//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use protocol::evidence::timestamp::Timestamp;

/// Starts, asks and checks Waterwall.
#[derive(Debug, Parser)]
#[command(
    name = "waterwall-ctl",
    version,
    about = "Keeps secrets of AI coding agents from leaving this machine, and proves it.",
    help_template = HELP,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Folder of the instance (etc/, state/, run/) [env: WATERWALL_HOME] [default: the XDG folders]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Print JSON on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show all of it on made-up secrets, in a temporary folder
    #[command(after_help = DEMO)]
    Demo,
    /// Start the three daemons and watch over them
    #[command(after_help = UP)]
    Up {
        /// Return once all three are ready
        #[arg(long)]
        detach: bool,
        /// Leave the caller's session (what --detach starts)
        #[arg(long, hide = true)]
        background: bool,
    },
    /// Stop them
    #[command(after_help = DOWN)]
    Down,
    /// Show how they are
    #[command(after_help = STATUS)]
    Status,
    /// Run an agent behind Waterwall, starting Waterwall if needed
    #[command(after_help = RUN)]
    Run {
        /// Do not say what the agent should know
        #[arg(long, short)]
        quiet: bool,
        /// The agent's command line
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        #[arg(value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Print the variables an agent needs, for a shell
    #[command(after_help = ENV)]
    Env {
        /// Whose syntax to print
        #[arg(long, value_enum, default_value_t = Shell::Sh)]
        shell: Shell,
    },
    /// Read the configuration again, all or nothing
    #[command(after_help = RELOAD)]
    Reload,
    /// Close all egress, or open it again
    #[command(after_help = KILLSWITCH)]
    Killswitch {
        #[command(subcommand)]
        turn: Turn,
    },
    /// Have the proxy take values of yours for secrets
    #[command(after_help = SECRET)]
    Secret {
        #[command(subcommand)]
        deed: Deed,
    },
    /// Replace the CA after a host was added to permitted_hosts.yaml
    #[command(after_help = REGEN_CA)]
    RegenCa,
    /// Check the evidence log: whole, in order, unchanged, signed?
    #[command(after_help = VERIFY)]
    VerifyChain(VerifyChain),
    /// Check a receipt: is this line in the log?
    #[command(after_help = VERIFY_RECEIPT)]
    VerifyReceipt(VerifyReceipt),
    /// Check an evidence bundle, on any machine
    #[command(after_help = VERIFY_EVIDENCE)]
    VerifyEvidence(VerifyEvidence),
    /// Make an evidence bundle for an auditor
    #[command(after_help = EXPORT)]
    ExportEvidence(ExportEvidence),
    /// Prove a single line of the log
    #[command(after_help = RECEIPT)]
    Receipt(Receipt),
    /// Print the newest checkpoint, to be kept elsewhere
    #[command(after_help = HEAD)]
    Head(Head),
    /// Print completions for a shell
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// Whose syntax to print
        shell: clap_complete::Shell,
    },
    /// Become a daemon that stops when the supervisor dies (what `up` starts)
    #[command(hide = true)]
    Launch {
        /// The supervisor's pid
        parent: i32,
        /// The daemon's command line
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

/// Options of `verify-chain`.
#[derive(Debug, Args)]
pub(crate) struct VerifyChain {
    /// The log's folder, or proxy.jsonl in it [default: this installation's own]
    pub(crate) log: Option<PathBuf>,
    /// The log key you trust, as PEM or vkey [default for the own log: etc/signing.pub]
    #[arg(long, value_name = "FILE")]
    pub(crate) pubkey: Option<PathBuf>,
    /// A checkpoint note kept elsewhere, which the log must extend; may be repeated
    #[arg(long, value_name = "NOTE")]
    pub(crate) anchor: Vec<PathBuf>,
    /// The signer's state folder, or its newest checkpoint note [own log: its own signer's]
    #[arg(long, value_name = "PATH")]
    pub(crate) signer_state: Option<PathBuf>,
    /// The log is being written: its last line may be half there (own log: found out by itself)
    #[arg(long)]
    pub(crate) live: bool,
    /// Most lines that may be newer than the last signature
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) max_unsigned_lines: u64,
    /// Take warnings for doubts: INCONCLUSIVE instead of OK
    #[arg(long)]
    pub(crate) strict: bool,
}

/// Options of `verify-receipt`.
#[derive(Debug, Args)]
pub(crate) struct VerifyReceipt {
    /// The receipt
    pub(crate) receipt: PathBuf,
    /// The log key you trust, as PEM or vkey [default: this installation's etc/signing.pub]
    #[arg(long, value_name = "FILE")]
    pub(crate) pubkey: Option<PathBuf>,
    /// The log it must be of; a vkey says so itself
    #[arg(long, value_name = "NAME")]
    pub(crate) origin: Option<String>,
    /// The type of line that it must prove, or `any`
    #[arg(long = "type", value_name = "TYPE", default_value = "redaction")]
    #[arg(value_parser = line_type)]
    pub(crate) line_type: String,
}

/// Options of `verify-evidence`.
#[derive(Debug, Args)]
pub(crate) struct VerifyEvidence {
    /// The bundle
    pub(crate) bundle: PathBuf,
    /// The log key you trust, as PEM or vkey
    #[arg(long, value_name = "FILE")]
    pub(crate) pubkey: Option<PathBuf>,
    /// A checkpoint note kept elsewhere, which the log must extend; may be repeated
    #[arg(long, value_name = "NOTE")]
    pub(crate) anchor: Vec<PathBuf>,
    /// An earlier bundle of the same log, which this one must extend
    #[arg(long, value_name = "BUNDLE")]
    pub(crate) previous: Option<PathBuf>,
    /// Take warnings for doubts: INCONCLUSIVE instead of OK
    #[arg(long)]
    pub(crate) strict: bool,
}

/// Options of `export-evidence`.
#[derive(Debug, Args)]
pub(crate) struct ExportEvidence {
    /// Where to write it [default: waterwall-evidence-….tar.gz here]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Only lines from this time on, and one before: 2026-01-31 or 2026-01-31T12:00:00.000Z (UTC)
    #[arg(long, value_name = "TIME", value_parser = since, conflicts_with_all = ["seq", "lines"])]
    pub(crate) since: Option<Timestamp>,
    /// Only lines up to this time, and one after; a day counts to its end
    #[arg(long, value_name = "TIME", value_parser = until, conflicts_with_all = ["seq", "lines"])]
    pub(crate) until: Option<Timestamp>,
    /// Only the lines from one number to another: 100-200
    #[arg(long, value_name = "A-B", value_parser = seq_range, conflicts_with = "lines")]
    pub(crate) seq: Option<(u64, u64)>,
    /// Only receipts of single lines: 7,42
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub(crate) lines: Vec<u64>,
    /// An earlier bundle, which this one is to prove that it extends
    #[arg(long, value_name = "BUNDLE")]
    pub(crate) since_bundle: Option<PathBuf>,
    /// What for; goes into the evidence log
    #[arg(long, value_name = "TEXT", default_value = "audit", value_parser = reason)]
    pub(crate) purpose: String,
}

/// Options of `receipt`.
#[derive(Debug, Args)]
pub(crate) struct Receipt {
    /// The line's number
    pub(crate) seq: u64,
    /// The log's folder, or proxy.jsonl in it [default: this installation's own]
    pub(crate) log: Option<PathBuf>,
    /// Where to write it [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Options of `head`.
#[derive(Debug, Args)]
pub(crate) struct Head {
    /// The log's folder, or proxy.jsonl in it [default: this installation's own]
    pub(crate) log: Option<PathBuf>,
    /// The key it must be signed with, as PEM or vkey [default for the own log: etc/signing.pub]
    #[arg(long, value_name = "FILE")]
    pub(crate) pubkey: Option<PathBuf>,
}

/// Which way to turn the kill switch.
#[derive(Debug, Subcommand)]
pub(crate) enum Turn {
    /// Refuse everything from now on
    #[command(after_help = KILLSWITCH)]
    Arm {
        /// Why; goes into the evidence log
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
    /// Let requests pass again, if no other source is armed
    #[command(after_help = KILLSWITCH)]
    Disarm {
        /// Why; goes into the evidence log
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
}

/// What to do with registered values.
#[derive(Debug, Subcommand)]
pub(crate) enum Deed {
    /// Register the value on standard input, or each value of a file
    #[command(after_help = SECRET)]
    Add {
        /// TYPE of its placeholders
        #[arg(
            long = "type",
            value_name = "TYPE",
            default_value = "REGISTERED",
            value_parser = placeholder_type
        )]
        kind: String,
        // Taken so that it can be refused without being shown.
        #[arg(hide = true, value_hint = clap::ValueHint::Other)]
        values: Vec<OsString>,
        /// A .env file; values that are too short or too common are skipped and named
        #[arg(long, value_name = "FILE")]
        env_file: Option<PathBuf>,
    },
    /// Show which are registered, but not the values
    #[command(after_help = SECRET)]
    List,
    /// Remove one, by its id or by the value on standard input, or all
    #[command(after_help = SECRET)]
    Remove {
        /// What `list` shows
        id: Option<OsString>,
        /// Remove all of them
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
}

/// A shell's syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// sh, bash, zsh, dash, ksh
    Sh,
    /// fish
    Fish,
}

fn placeholder_type(text: &str) -> Result<String, String> {
    let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let fits = (1..=40).contains(&text.len()) && text.bytes().all(is_part) && text != "LITERAL";
    fits.then(|| text.to_owned())
        .ok_or_else(|| "1 to 40 of A-Z, 0-9 and _, and not LITERAL, as in DB_PASSWORD".into())
}

fn since(text: &str) -> Result<Timestamp, String> {
    time(text, "T00:00:00.000Z")
}

fn until(text: &str) -> Result<Timestamp, String> {
    time(text, "T23:59:59.999Z")
}

/// A time, or a day and the time of day that it then means.
fn time(text: &str, of_day: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text)
        .or_else(|| Timestamp::parse(&format!("{text}{of_day}")))
        .ok_or_else(|| "a day or a time in UTC: 2026-01-31 or 2026-01-31T12:00:00.000Z".into())
}

fn seq_range(text: &str) -> Result<(u64, u64), String> {
    let (first, last) = text.split_once('-').ok_or("two numbers: 100-200")?;
    match (first.parse(), last.parse()) {
        (Ok(first @ 1..), Ok(last)) if first <= last => Ok((first, last)),
        _ => Err("two numbers from 1 up, in order: 100-200".into()),
    }
}

fn line_type(text: &str) -> Result<String, String> {
    let known = text == "any" || protocol::evidence::body::Body::TYPES.contains(&text);
    known.then(|| text.to_owned()).ok_or_else(|| "no type of line; `any` takes all".into())
}

/// Log strings are at most 200 bytes (evidence format, `reason`).
fn reason(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("say why: it goes into the evidence log".into()),
        1..=200 => Ok(text.to_owned()),
        long => Err(format!("{long} bytes, at most 200 fit into the evidence log")),
    }
}

const HELP: &str = "\
{about}

Usage: {usage}

See it:
  demo          Show all of it on made-up secrets, in a temporary folder

Use it:
  run           Run an agent behind Waterwall, starting Waterwall if needed
  env           Print the variables an agent needs, for a shell

Operate it:
  up            Start the three daemons and watch over them
  down          Stop them
  status        Show how they are
  reload        Read the configuration again, all or nothing
  regen-ca      Replace the CA after a host was added to permitted_hosts.yaml
  killswitch    Close all egress, or open it again
  secret        Have the proxy take values of yours for secrets

Check it:
  verify-chain  Check the evidence log: whole, in order, unchanged, signed?
  verify-receipt   Check a receipt: is this line in the log?
  verify-evidence  Check an evidence bundle, on any machine
  export-evidence  Make an evidence bundle for an auditor
  receipt       Prove a single line of the log
  head          Print the newest checkpoint, to be kept elsewhere

Besides:
  completions   Print completions for a shell

Options:
{options}

Examples:
  waterwall-ctl demo                   what it does, in a few seconds
  waterwall-ctl run -- claude          an agent, protected
  waterwall-ctl status                 is everything well?

Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 not running; else as in sysexits.h.
`waterwall-ctl COMMAND --help` has examples for each command.
";

const DEMO: &str = "\
Starts a provider on loopback and the three real daemons, sends made-up secrets through them as one
body, as a stream and in tool calls, shows what each side saw, and verifies and tampers with the
evidence. Touches nothing of yours, and removes what it made.

Examples:
  waterwall-ctl demo
  waterwall-ctl demo --json | jq .ok

Exit codes: 0 every check held, 1 one did not, 69 the daemons do not start.";

const UP: &str = "\
On first use this makes the folders, commented configuration files, keys and certificates.

Examples:
  waterwall-ctl up                     in the foreground, Ctrl-C stops everything
  waterwall-ctl up --detach            in the background; stop it with `down`
  waterwall-ctl --home /srv/ww up      an instance of its own in one folder

Exit codes: 0 stopped in order (--detach: ready, or was running already), 1 already running,
69 a port is taken or a daemon does not start, 77 not permitted, 78 configuration.";

const DOWN: &str = "\
Requests in flight are finished first, for as long as `timeouts.drain` allows.

Examples:
  waterwall-ctl down

Exit codes: 0 nothing runs any more, 69 it would not stop.";

const STATUS: &str = "\
Examples:
  waterwall-ctl status
  waterwall-ctl status --json | jq -r .listen

Exit codes: 0 healthy, 1 degraded (the reasons are listed), 3 not running.";

const RUN: &str = "\
Sets HTTPS_PROXY, NO_PROXY and the certificate variables for the command only, then becomes it:
signals, terminal and exit code are the command's own. Waterwall keeps running afterwards.

Examples:
  waterwall-ctl run -- claude
  waterwall-ctl run -- codex exec 'say hello'
  waterwall-ctl --home /srv/ww run -- curl https://api.anthropic.com/v1/models

Exit codes: the command's; 125 Waterwall could not be started, 126 the command cannot be run,
127 there is no such command.";

const ENV: &str = "\
Waterwall must be running, because the port may be any free one.

Examples:
  eval \"$(waterwall-ctl env)\"                    sh, bash, zsh
  waterwall-ctl env --shell fish | source        fish
  waterwall-ctl env --json

Exit codes: 0 printed, 3 not running.";

const RELOAD: &str = "\
A refused reload says file, line and key, and changes nothing.

Examples:
  waterwall-ctl reload

Exit codes: 0 the new configuration is in force, 1 refused, 3 not running.";

const KILLSWITCH: &str = "\
Armed, Waterwall refuses every request, tunnel and open connection. It is also armed by
`kill_switch: true` in config.yaml, by a file named `kill` in the run folder, and by SIGUSR1.

Examples:
  waterwall-ctl killswitch arm --reason 'agent misbehaves'
  waterwall-ctl killswitch disarm --reason 'found the cause'

Exit codes: 0 done, 1 refused, or disarmed but another source is still armed, 3 not running.";

const SECRET: &str = "\
A registered value is replaced wherever it stands, also in base64, hex, percent or JSON escapes; in
a URL, a header or a model name it refuses the request. Values are read from standard input or a
file, are never shown, and are kept in the proxy's memory alone: register again after a restart.

Examples:
  pass show db/prod | waterwall-ctl secret add --type DB_PASSWORD
  waterwall-ctl secret add --env-file .env
  waterwall-ctl secret list
  waterwall-ctl secret remove 3
  pass show db/prod | waterwall-ctl secret remove

Exit codes: 0 done, 1 refused (too short, too common, not registered), 3 not running.";

const REGEN_CA: &str = "\
The CA is good for exactly the hosts that were listed when it was made. Log and keys stay.

Examples:
  waterwall-ctl down && waterwall-ctl regen-ca && waterwall-ctl up --detach

Exit codes: 0 replaced, 1 refused because it is running, 78 the hosts file is not valid.";

const VERIFY: &str = "\
Needs nothing but the log and a public key, on any machine.

Examples:
  waterwall-ctl verify-chain                                    the own log, also while it runs
  waterwall-ctl verify-chain DIR --pubkey signing.pub           anybody's
  waterwall-ctl verify-chain DIR --pubkey signing.pub --anchor last-week.note

Exit codes: 0 OK, 1 FAIL (first failure is named), 2 ERROR (usage, unreadable), 3 INCONCLUSIVE
(nothing is wrong, but something that would prove it is missing).";

const VERIFY_RECEIPT: &str = "\
Needs nothing but the receipt and a public key, on any machine.

Examples:
  waterwall-ctl verify-receipt 000000000042.tlog-proof --pubkey signing.pub
  waterwall-ctl verify-receipt r.tlog-proof --pubkey signing.pub --type any --json

Exit codes: 0 OK, 1 FAIL, 2 ERROR (usage, unreadable).";

const VERIFY_EVIDENCE: &str = "\
Needs nothing but the bundle and a public key that did not come with it. No daemon, no configuration;
nothing is unpacked. VERIFY.txt in the bundle does the same with stock tools.

Examples:
  waterwall-ctl verify-evidence bundle.tar.gz --pubkey signing.pub
  waterwall-ctl verify-evidence june.tar.gz --pubkey signing.pub --previous may.tar.gz

Exit codes: 0 OK, 1 FAIL, 2 ERROR (usage, unreadable), 3 INCONCLUSIVE (something that would prove
it is missing).";

const EXPORT: &str = "\
Waterwall must be running: its signer signs the bundle's manifest, and the log says that it was
exported. Everything is proven by one checkpoint, while the log goes on.

Examples:
  waterwall-ctl export-evidence                              all of the log
  waterwall-ctl export-evidence --since 2026-01-01 --until 2026-01-31 -o january.tar.gz
  waterwall-ctl export-evidence --seq 100-200
  waterwall-ctl export-evidence --lines 7,42                 single lines, completeness not claimed

Exit codes: 0 made and verified, 1 refused, or it does not verify, 69 not running, 74 unreadable.";

const RECEIPT: &str = "\
The line and a Merkle proof of it under the newest head: it shows this line and no other.

Examples:
  waterwall-ctl receipt 42 -o 000000000042.tlog-proof

Exit codes: 0 made, 1 not signed yet or the log is damaged, 74 unreadable.";

const HEAD: &str = "\
Kept where nobody of this host can reach it, it shows later whether the log was cut or rewritten.

Examples:
  waterwall-ctl head > \"$(date +%F).note\"
  waterwall-ctl verify-chain --anchor 2026-01-31.note

Exit codes: 0 printed, 1 not signed by the log's key, 74 unreadable.";

const COMPLETIONS: &str = "\
Examples:
  waterwall-ctl completions bash > ~/.local/share/bash-completion/completions/waterwall-ctl
  waterwall-ctl completions fish > ~/.config/fish/completions/waterwall-ctl.fish

Exit codes: 0 printed.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_grouped_help_lists_every_command_and_no_other() {
        let listed: Vec<&str> = HELP
            .lines()
            .filter_map(|line| line.strip_prefix("  "))
            .filter(|line| !line.starts_with("waterwall-ctl"))
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        let mut known: Vec<String> = Cli::command()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(|command| command.get_name().to_owned())
            .collect();
        let mut listed: Vec<String> = listed.into_iter().map(Into::into).collect();
        listed.sort();
        known.sort();
        assert_eq!(listed, known);
    }

    #[test]
    fn the_grouped_help_says_what_each_command_says_of_itself() {
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let about = command.get_about().unwrap().to_string();
            assert!(HELP.contains(&about), "{about}");
        }
    }

    #[test]
    fn every_help_has_examples_and_exit_codes() {
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let help = command.clone().render_help().to_string();
            assert!(help.contains("Examples:"), "{}", command.get_name());
            assert!(help.contains("Exit codes:"), "{}", command.get_name());
        }
    }

    #[test]
    fn the_agents_own_options_stay_its_own() {
        for line in [
            &["waterwall-ctl", "run", "--", "curl", "--json", "{}"][..],
            &["waterwall-ctl", "run", "curl", "--json", "{}"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert!(!cli.global.json);
            let Command::Run { command, .. } = cli.command else { panic!("{line:?}") };
            assert_eq!(command, ["curl", "--json", "{}"]);
        }
    }

    #[test]
    fn times_are_days_or_instants_and_ranges_are_in_order() {
        assert_eq!(since("2026-01-31").unwrap().to_string(), "2026-01-31T00:00:00.000Z");
        assert_eq!(until("2026-01-31").unwrap().to_string(), "2026-01-31T23:59:59.999Z");
        assert!(since("2026-01-31T12:00:00.000Z").is_ok());
        assert!(since("yesterday").is_err() && until("2026-02-30").is_err());
        assert_eq!(seq_range("1-1"), Ok((1, 1)));
        for bad in ["0-1", "2-1", "1", "1-", "-1", "a-b"] {
            assert!(seq_range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reason_fits_into_the_log_or_is_refused() {
        assert!(reason("").is_err());
        assert!(reason(&"a".repeat(200)).is_ok());
        assert!(reason(&"a".repeat(201)).is_err());
    }
}
