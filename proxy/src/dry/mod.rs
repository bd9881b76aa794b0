//! The commands that only look at bytes: redaction without a proxy, and the check of a policy. They
//! confine nothing, open no socket, and never log.

mod check;
mod findings;
mod guess;
mod input;

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use serde_json::json;

use crate::cli::{Command, Format, RedactOptions};
use crate::config::line_behind;
use crate::dialect::Dialect;
use crate::exchange;
use crate::failure::{CONFIG, DATAERR, IOERR, NOINPUT, USAGE};
use crate::placeholder::SessionKey;
use crate::redact::{
    self, Context, NothingKnown, Policy, PolicyError, Reason, Refusal, ThinkingMemory, redact,
};
use findings::{Layout, Lines, locate};

/// Runs `command` and says how it went (`sysexits.h`).
pub(crate) fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::Redact(options) => dry_run(options),
        Command::CheckPolicy(options) => check::check_policy(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough of it.
        Err(Fault::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(fault) => {
            say(format_args!("{fault}"));
            fault.exit_code().into()
        }
    }
}

/// Why a command could not do what was asked.
#[derive(Debug)]
enum Fault {
    /// The proxy would refuse the body: with this code, and this much of where and why.
    Refused { code: &'static str, why: String },
    /// A file cannot be read.
    File(PathBuf, io::Error),
    /// Standard input cannot be read.
    Input(io::Error),
    /// Standard output cannot be written.
    Output(io::Error),
    /// The policy is refused.
    Policy(PolicyError),
    /// The command line asks for what there is not.
    Usage(String),
    /// No randomness for a key.
    Random(getrandom::Error),
}

impl Fault {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { .. } => DATAERR,
            Self::File(..) => NOINPUT,
            Self::Input(_) | Self::Output(_) | Self::Random(_) => IOERR,
            Self::Policy(_) => CONFIG,
            Self::Usage(_) => USAGE,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, why } => write!(f, "refused: {code}: {why}"),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Input(error) => write!(f, "standard input: {error}"),
            Self::Output(error) => write!(f, "standard output: {error}"),
            Self::Policy(error) => error.fmt(f),
            Self::Usage(why) => f.write_str(why),
            Self::Random(error) => write!(f, "cannot draw a key: {error}"),
        }
    }
}

/// Writes one line to standard error, where somebody may read it.
fn say(what: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "waterwall-proxy: {what}");
}

/// Remembers no signed thinking: whatever a body holds of it is redacted like all other text.
struct Nothing;

impl ThinkingMemory for Nothing {
    fn provider_text(&self, _: &str, _: &[u8; 32]) -> Option<String> {
        None
    }
}

fn dry_run(options: &RedactOptions) -> Result<(), Fault> {
    let policy = load(options.policy.as_deref())?;
    let given = options.media.as_deref().map(guess::named).transpose()?;
    let key = if options.repeatable { SessionKey::new([0; 32]) } else { random_key()? };
    let body = input::read()?;
    let media = given.unwrap_or_else(|| guess::media(&body));
    let layout = Layout::of(&media);
    let dialect = options.dialect.dialect().unwrap_or_else(|| match layout {
        Layout::Json => guess::dialect(&body),
        _ => Dialect::Generic,
    });
    if options.media.is_none() || options.dialect.dialect().is_none() {
        say(format_args!("read as {}, dialect {}", layout.name(), dialect_name(dialect)));
    }
    let context =
        Context { policy: &policy, key: &key, dialect, thinking: &Nothing, known: &NothingKnown };
    let sent =
        redact(&context, media, Bytes::clone(&body)).map_err(|refusal| refused(&refusal, &body))?;
    let mut out = io::stdout().lock();
    let written = match options.findings {
        None => out.write_all(&sent.body),
        Some(Format::Table) => findings::table(&mut out, &locate(&policy, &layout, &body, &sent)),
        Some(Format::Json) => {
            let head = json!({
                "bytes": body.len(),
                "dialect": dialect_name(dialect),
                "media": layout.name(),
                "policy_hash": check::hex(&policy.hash()),
            });
            findings::json(&mut out, head, &locate(&policy, &layout, &body, &sent))
        }
    };
    written.and_then(|()| out.flush()).map_err(Fault::Output)
}

fn load(file: Option<&Path>) -> Result<Policy, Fault> {
    let Some(path) = file else { return Policy::built_in().map_err(Fault::Policy) };
    let bytes = fs::read(path).map_err(|error| Fault::File(path.to_owned(), error))?;
    let file = path.display().to_string();
    let text = str::from_utf8(&bytes).map_err(|error| {
        let line = line_behind(&bytes[..error.valid_up_to()]);
        let reason = Reason::Syntax("not UTF-8".into());
        Fault::Policy(PolicyError { file: file.clone(), line, reason })
    })?;
    Policy::load(Some((&file, text))).map_err(Fault::Policy)
}

fn random_key() -> Result<SessionKey, Fault> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(Fault::Random)?;
    Ok(SessionKey::new(bytes))
}

fn refused(refusal: &Refusal, body: &[u8]) -> Fault {
    let cause = exchange::cause(refusal);
    let why = match refusal {
        Refusal::Unparseable { fault, at } => {
            let what = match fault {
                redact::Fault::Depth => "nested deeper than 128",
                redact::Fault::End => "ends within a value",
                redact::Fault::Syntax => "not JSON",
                redact::Fault::TrailingData => "something follows the value",
            };
            format!("{what} at byte {at} ({})", Lines::new(body).place(*at))
        }
        Refusal::Collision { kind, rule }
        | Refusal::PolicyBlock { kind, rule }
        | Refusal::ProtocolPosition { kind, rule } => {
            format!("{} at {rule}: {}", kind.as_str(), cause.message())
        }
        Refusal::Charset => {
            let at = str::from_utf8(body).err().map_or(0, |error| error.valid_up_to());
            format!("not UTF-8 at byte {at}")
        }
        _ => cause.message(),
    };
    Fault::Refused { code: cause.code(), why }
}

fn dialect_name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::AnthropicMessages => "anthropic-messages",
        Dialect::Completions => "completions",
        Dialect::Embeddings => "embeddings",
        Dialect::OpenAiChat => "openai-chat",
        Dialect::OpenAiFiles => "openai-files",
        Dialect::OpenAiResponses => "openai-responses",
        Dialect::Generic => "generic",
    }
}
