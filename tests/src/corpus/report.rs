//! The score as the tables of `docs/redaction.md`.

use std::fmt::Write;

use super::shape::Group;
use super::{Difficulty, Rate, Score};

/// The section "Measured".
#[must_use]
pub fn render(score: &Score) -> String {
    let mut text = String::new();
    write(&mut text, score).expect("strings take all that is written");
    text
}

fn write(out: &mut String, score: &Score) -> std::fmt::Result {
    writeln!(out, "| secrets of | places | made | found whole | and nothing beside |")?;
    writeln!(out, "|---|---|---|---|---|")?;
    for ((group, difficulty), rate) in &score.recall {
        let exact = score.exact.get(&(*group, *difficulty)).copied().unwrap_or_default();
        let (group, places) = (self::group(*group), places(*difficulty));
        let (found, exact) = (share(*rate), share(exact));
        writeln!(out, "| {group} | {places} | {} | {found} | {exact} |", rate.of)?;
    }
    let (precision, named) = (share(score.precision), share(score.named));
    writeln!(out, "\nOf the replacements in these bodies, {precision} were of the secret; of the")?;
    writeln!(out, "published types, {named} were named after their own type.\n")?;
    misses(out, score)?;
    clean(out, score)
}

fn misses(out: &mut String, score: &Score) -> std::fmt::Result {
    let mut rows = score.types.iter().filter(|(_, rate)| rate.hits < rate.of).peekable();
    if rows.peek().is_none() {
        return writeln!(out, "No type was missed anywhere.\n");
    }
    writeln!(out, "| missed | places | found whole |\n|---|---|---|")?;
    for ((_, name, difficulty), rate) in rows {
        writeln!(out, "| {name} | {} | {} of {} |", places(*difficulty), rate.hits, rate.of)?;
    }
    writeln!(out)
}

fn clean(out: &mut String, score: &Score) -> std::fmt::Result {
    writeln!(out, "| text without secrets | KB | replaced | as |\n|---|---|---|---|")?;
    for kind in &score.clean {
        let count = kind.count();
        let types: Vec<String> =
            kind.replaced.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let kilobytes = kind.length / 1000;
        writeln!(out, "| {} | {kilobytes} | {count} | {} |", kind.name, types.join(", "))?;
    }
    writeln!(out, "\nFalse replacements per MB, all kinds together: {:.1}.", score.false_per_mb())
}

/// Three digits, and never 1.000 for anything less than all.
fn share(rate: Rate) -> String {
    let share = if rate.hits < rate.of { rate.share().min(0.999) } else { rate.share() };
    format!("{share:.3}")
}

fn group(group: Group) -> &'static str {
    match group {
        Group::Published => "the 31 published types",
        Group::Further => "further types and shapes",
    }
}

fn places(difficulty: Difficulty) -> &'static str {
    match difficulty {
        Difficulty::Plain => "plain",
        Difficulty::Escaped => "escaped",
        Difficulty::Hard => "hard neighbours",
    }
}
