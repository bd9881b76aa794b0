//! What a command prints: text for people, JSON for programs.

use std::io::{self, IsTerminal, Write};

use protocol::evidence::verify::Verdict;
use serde_json::json;

use crate::fault::Fault;

/// How results are printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    paint: Paint,
}

impl Output {
    /// For this process's stdout.
    pub(crate) fn new(json: bool) -> Self {
        Self { json, paint: Paint::for_stdout() }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    pub(crate) fn paint(self) -> Paint {
        self.paint
    }

    /// Prints a result in the form that was asked for.
    pub(crate) fn result(self, value: &serde_json::Value, text: impl FnOnce(Paint) -> String) {
        if self.json {
            self.text(&format!("{value}\n"));
        } else {
            self.text(&text(self.paint));
        }
    }

    /// Prints `text` as it is.
    pub(crate) fn text(self, text: &str) {
        // A reader that has gone (`| head`) is no error of ours, and nobody is left to tell.
        let _ = io::stdout().write_all(text.as_bytes());
        let _ = io::stdout().flush();
    }

    /// Prints a fault: text to stderr; as JSON to stdout, where the result would have been.
    pub(crate) fn fault(self, fault: &Fault) {
        if self.json {
            let code = fault.kind.exit_code();
            let value = json!({
                "error": { "message": fault.what, "advice": fault.advice, "exit_code": code }
            });
            self.text(&format!("{value}\n"));
        } else {
            say(&format!("error: {}\n  → {}", fault.what, fault.advice));
        }
    }
}

/// One line to the person at the terminal, beside the result.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "waterwall: {line}");
}

/// Colours, where the reader is a terminal that wants them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    fn for_stdout() -> Self {
        // https://no-color.org: any non-empty value means no colour.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { on: io::stdout().is_terminal() && !refused && !dumb }
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap("31;1", text)
    }

    pub(crate) fn warn(self, text: &str) -> String {
        self.wrap("33", text)
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub(crate) fn strong(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// What a check says, its first word painted.
    pub(crate) fn verdict(self, verdict: Verdict, said: &str) -> String {
        let (word, rest) = said.split_once(':').unwrap_or((said, ""));
        let painted = match verdict {
            Verdict::Ok => self.good(word),
            Verdict::Fail | Verdict::Usage => self.bad(word),
            Verdict::Inconclusive => self.warn(word),
        };
        format!("{painted}:{rest}\n")
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
