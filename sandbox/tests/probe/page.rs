//! The page that lists what each process may do, made from the tables.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use sandbox::{Limit, Policy, Right, Row, Verdict};

/// Set to write the page's section instead of comparing it.
const WRITE: &str = "WATERWALL_WRITE_DOCS";

/// Compares the process's section of `docs/sandbox.md` with its policy.
///
/// # Errors
///
/// Says what to do when the page is stale.
pub(crate) fn check(manifest_dir: &str, policy: &Policy) -> Result<(), String> {
    let path = PathBuf::from(manifest_dir).join("../docs/sandbox.md");
    let page = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let begin = format!("<!-- {}: generated -->\n", policy.process);
    let end = format!("<!-- {}: end -->", policy.process);
    let (before, rest) = page.split_once(&begin).ok_or("the page has no such section")?;
    let (section, after) = rest.split_once(&end).ok_or("the section has no end")?;
    let wanted = render(policy);
    if section == wanted {
        return Ok(());
    }
    if std::env::var_os(WRITE).is_some() {
        let page = [before, &begin, &wanted, &end, after].concat();
        return fs::write(&path, page).map_err(|error| error.to_string());
    }
    Err(format!("docs/sandbox.md is stale; write it with {WRITE}=1 and the same command"))
}

fn render(policy: &Policy) -> String {
    let mut text = String::new();
    write(&mut text, policy).expect("strings take all that is written");
    text
}

fn write(text: &mut String, policy: &Policy) -> std::fmt::Result {
    if policy.beneath.is_empty() {
        writeln!(text, "- Files: none can be opened.")?;
    }
    for beneath in &policy.beneath {
        let right = right(beneath.right);
        writeln!(text, "- Beneath `{}`: {right} ({}).", beneath.path.display(), beneath.why)?;
    }
    if policy.tcp_ports.is_empty() {
        writeln!(text, "- TCP: no port can be bound or connected to.")?;
    } else {
        let ports = policy.tcp_ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        writeln!(text, "- TCP: connect to {ports}; no port can be bound.")?;
    }
    writeln!(text, "- Descriptors: at most {} at once.\n", policy.open_files)?;
    writeln!(text, "| call | only if | why |\n|---|---|---|")?;
    for row in policy.rows() {
        let limits: Vec<String> = row.limits.iter().map(limit).collect();
        writeln!(text, "| {} | {} | {} |", call(row), limits.join(", "), row.why)?;
    }
    Ok(())
}

fn call(row: &Row) -> String {
    match row.verdict {
        Verdict::Allow => format!("`{}`", row.call()),
        Verdict::Refuse(errno) => format!("`{}` fails with `{}`", row.call(), errno.name),
    }
}

fn limit(limit: &Limit) -> String {
    match limit {
        Limit::Is(arg, value) => format!("`arg{arg} = {}`", value.name),
        Limit::Masked(arg, mask, value) => format!("`arg{arg} & {} = {}`", mask.name, value.name),
        Limit::Has(arg, bits) => format!("`arg{arg}` has `{}`", bits.name.replace('|', "\\|")),
        Limit::Lacks(arg, bits) => format!("`arg{arg}` lacks `{}`", bits.name.replace('|', "\\|")),
        Limit::Null(arg) => format!("`arg{arg} = NULL`"),
        Limit::OwnPid(arg) => format!("`arg{arg}` = own pid"),
    }
}

fn right(right: Right) -> &'static str {
    match right {
        Right::Read => "read files",
        Right::Keep => "read, write, create, list and delete files, rename within a directory",
        Right::Connect => "connect to Unix sockets; governed from Landlock ABI 9 on, open before",
    }
}
