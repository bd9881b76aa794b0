//! The command line: the daemon's own options, and commands that only look at bytes.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::dialect::Dialect;
use crate::start::Arguments;

/// The only Waterwall process that touches the network: intercepts, redacts, restores.
///
/// Without a command it is the daemon, started by systemd or `waterwall-ctl up`. The commands try
/// the same redaction on bytes at hand: they open no socket and write no file.
#[derive(Debug, Parser)]
#[command(
    name = "waterwall-proxy",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  waterwall-proxy redact < request.json\n  waterwall-proxy redact \
        --findings --dialect auto < request.json\n  waterwall-proxy check-policy \
        /etc/waterwall/patterns.yaml"
)]
pub(crate) struct CommandLine {
    /// The daemon's options.
    #[command(flatten)]
    pub(crate) daemon: Option<Arguments>,
    /// What to do instead.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do instead of being the daemon.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the body on standard input as it would leave, or what was found in it.
    ///
    /// What the proxy would do to the body of a request, without a proxy: nothing is sent, kept or
    /// logged, and no configuration is read but the policy that is named. Placeholders are made
    /// with a key drawn for this run, so that they differ from run to run and from the proxy's.
    #[command(
        after_help = "Exit codes: 0 clean or redacted; 65 the proxy would refuse the body, and \
            standard error says with which code and where; 64 usage; 74 input or output failed; 78 \
            the policy is refused.\n\nExamples:\n  waterwall-proxy redact < request.json\n  \
            waterwall-proxy redact --media text --findings < server.log\n  waterwall-proxy redact \
            --dialect anthropic-messages --findings=json < request.json | jq '.findings[].path'\n  \
            git diff | waterwall-proxy redact --media text --policy patterns.yaml"
    )]
    Redact(RedactOptions),
    /// Check a pattern file together with the built-in set, as the proxy does before it uses it.
    ///
    /// Prints how many types are in force and the policy hash that the log would name. Without FILE
    /// the built-in set alone is looked at.
    #[command(
        after_help = "Exit codes: 0 it can be used; 64 usage; 66 FILE cannot be read; 74 output \
            failed; 78 it is refused, and standard error says FILE:LINE: REASON.\n\nExamples:\n  \
            waterwall-proxy check-policy /etc/waterwall/patterns.yaml\n  waterwall-proxy \
            check-policy --list\n  waterwall-proxy check-policy --canonical patterns.yaml | sha256sum"
    )]
    CheckPolicy(CheckOptions),
}

/// Options of `redact`.
#[derive(Debug, Args)]
pub(crate) struct RedactOptions {
    /// Whose request it is: decides which places are text, protocol or opaque
    #[arg(long, value_enum, default_value_t = Shape::Generic, value_name = "D")]
    pub(crate) dialect: Shape,
    /// json, jsonl, text, form, or a media type with its parameters [default: json, jsonl or text,
    /// whichever the input is]
    #[arg(long, value_name = "M")]
    pub(crate) media: Option<String>,
    /// Pattern file that changes the built-in set
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Print what was found instead of the body: type, confidence, rule, place; never the value
    #[arg(long, value_enum, value_name = "FORMAT", num_args = 0..=1, require_equals = true,
          default_missing_value = "table")]
    pub(crate) findings: Option<Format>,
    /// Make placeholders with a key that everybody knows: the same input gives the same output, and
    /// whoever sees the output can try guesses against it
    #[arg(long)]
    pub(crate) repeatable: bool,
}

/// Options of `check-policy`.
#[derive(Debug, Args)]
pub(crate) struct CheckOptions {
    /// Pattern file
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Print the canonical effective set, whose SHA-256 is the policy hash, and nothing else
    #[arg(long, conflicts_with = "list")]
    pub(crate) canonical: bool,
    /// Print each type in force: class, action, description
    #[arg(long)]
    pub(crate) list: bool,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The dialects by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// Whichever the body looks like.
    Auto,
    /// Every string is text.
    Generic,
    /// `/v1/messages`.
    AnthropicMessages,
    /// `/v1/completions` and `/v1/complete`.
    Completions,
    /// `/v1/embeddings`.
    Embeddings,
    /// `/v1/chat/completions`.
    OpenaiChat,
    /// `/v1/files` and `/v1/batches`: a line is a request to the `url` it names.
    OpenaiFiles,
    /// `/v1/responses`.
    OpenaiResponses,
}

impl Shape {
    /// The dialect; `None` where the body decides.
    pub(crate) fn dialect(self) -> Option<Dialect> {
        match self {
            Self::Auto => None,
            Self::Generic => Some(Dialect::Generic),
            Self::AnthropicMessages => Some(Dialect::AnthropicMessages),
            Self::Completions => Some(Dialect::Completions),
            Self::Embeddings => Some(Dialect::Embeddings),
            Self::OpenaiChat => Some(Dialect::OpenAiChat),
            Self::OpenaiFiles => Some(Dialect::OpenAiFiles),
            Self::OpenaiResponses => Some(Dialect::OpenAiResponses),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_daemon_starts_by_the_options_it_always_had() {
        CommandLine::command().debug_assert();
        let line = parse("waterwall-proxy --config etc --run run --signer-uid 7").unwrap();
        let daemon = line.daemon.unwrap();
        assert_eq!((daemon.config, daemon.signer_uid), (PathBuf::from("etc"), Some(7)));
        assert!(line.command.is_none());
        for incomplete in ["waterwall-proxy --config etc", "waterwall-proxy --secrets-from-stdin"] {
            let kind = parse(incomplete).unwrap_err().kind();
            assert_eq!(kind, clap::error::ErrorKind::MissingRequiredArgument, "{incomplete}");
        }
        assert!(parse("waterwall-proxy --config etc --run run redact").is_err());
    }

    #[test]
    fn findings_take_their_format_by_an_equals_sign_only() {
        let format = |line| match parse(line).unwrap().command {
            Some(Command::Redact(options)) => options.findings,
            other => panic!("{other:?}"),
        };
        assert_eq!(format("waterwall-proxy redact"), None);
        assert_eq!(format("waterwall-proxy redact --findings"), Some(Format::Table));
        assert_eq!(format("waterwall-proxy redact --findings=json"), Some(Format::Json));
        assert!(parse("waterwall-proxy redact --findings json").is_err());
    }
}
