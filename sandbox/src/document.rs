//! A policy as text, for the page that lists what each process may do.

use std::fmt::Write;

use crate::policy::Policy;
use crate::table::{Row, Verdict};

/// A policy as Markdown: files, ports, and every call with its limits and its reason.
#[must_use]
pub fn render(policy: &Policy) -> String {
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    };
    for beneath in &policy.beneath {
        line(format_args!(
            "- beneath `{}`: {}. {}",
            beneath.path.display(),
            beneath.right,
            sentence(beneath.why)
        ));
    }
    if policy.beneath.is_empty() {
        line(format_args!("- no file can be opened"));
    }
    match policy.tcp_ports.as_slice() {
        [] => line(format_args!("- no TCP port can be bound or connected to")),
        ports => line(format_args!("- TCP connect to {ports:?}; no TCP port can be bound")),
    }
    line(format_args!("- at most {} open descriptors", policy.open_files));
    line(format_args!("\n| call | only if | why |\n|---|---|---|"));
    for row in policy.rows() {
        line(format_args!("| {} | {} | {} |", call(row), limits(row), sentence(row.why)));
    }
    text
}

fn call(row: &Row) -> String {
    match row.verdict {
        Verdict::Allow => format!("`{}`", row.call()),
        Verdict::Refuse(errno) => format!("`{}` → `{}`", row.call(), errno.name),
    }
}

fn limits(row: &Row) -> String {
    let limits: Vec<String> = row.limits.iter().map(|limit| format!("`{limit}`")).collect();
    limits.join(", ")
}

fn sentence(why: &str) -> String {
    let mut letters = why.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).chain(['.']).collect()
    })
}
