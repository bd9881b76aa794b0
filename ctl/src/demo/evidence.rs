//! The log's verdict, before and after somebody tampers with a copy of it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::instance::{Instance, files_below};
use super::story::Trouble;

/// What the verifier said.
pub(super) struct Verdict {
    pub(super) exit_code: Option<i32>,
    pub(super) first_line: String,
}

/// Runs the verifier as an auditor would: on a folder, with a public key, and nothing else.
pub(super) fn verify(instance: &Instance, log: &Path) -> Result<Verdict, Trouble> {
    let key = instance.home().log_key();
    let done = instance.ctl(&["verify-chain"]).arg(log).arg("--pubkey").arg(key).output()?;
    let said = [done.stdout, done.stderr].concat();
    let first_line =
        String::from_utf8_lossy(&said).lines().next().unwrap_or_default().trim().to_owned();
    Ok(Verdict { exit_code: done.status.code(), first_line })
}

/// A copy of the log with one bit flipped in its first redaction line, and that line's number.
pub(super) fn tamper(instance: &Instance) -> Result<(PathBuf, u64), Trouble> {
    let copy = instance.folder().join("tampered");
    let log = instance.home().log();
    for file in files_below(&log)? {
        let to = copy.join(file.strip_prefix(&log)?);
        fs::create_dir_all(to.parent().ok_or("a file without a folder")?)?;
        fs::copy(&file, to)?;
    }
    let path = copy.join("proxy.jsonl");
    let mut bytes = fs::read(&path)?;
    let (place, seq) = claim_in_first_redaction(&bytes)?;
    bytes[place] ^= 1;
    fs::write(&path, bytes)?;
    Ok((copy, seq))
}

/// Where the first redaction line says where its request went, and the line's number.
fn claim_in_first_redaction(log: &[u8]) -> Result<(usize, u64), Trouble> {
    let mut start = 0;
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        let parsed: Value = serde_json::from_slice(line)?;
        if parsed["line_type"] == "redaction" {
            let seq = parsed["seq"].as_u64().ok_or("a line without a number")?;
            let within = line.windows(HOST.len()).position(|at| at == HOST);
            // Its second letter, so that it stays a host name: only the chain can tell.
            return Ok((start + within.ok_or("a redaction line without a host")? + 1, seq));
        }
        start += line.len();
    }
    Err("the log has no redaction line".into())
}

const HOST: &[u8] = b"api.anthropic.com";
