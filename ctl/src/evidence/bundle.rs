//! `verify-evidence`: a bundle, a key, and nothing else of this machine.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc::O_NONBLOCK;
use protocol::evidence::hex;
use protocol::evidence::verify::{
    BundleOptions, BundleReport, PinnedKey, Verdict, Warning, verify_bundle,
};
use serde_json::{Value, json};

use crate::cli::VerifyEvidence;
use crate::output::{Output, Paint};
use crate::verify::{Unusable, pinned, print_unusable};

/// `verify-evidence`.
pub(crate) fn verify(out: Output, asked: &VerifyEvidence) -> u8 {
    match judge(asked) {
        Ok(report) => {
            out.result(&to_json(&report), |paint| to_text(&report, paint));
            report.verdict.exit_code()
        }
        Err(unusable) => print_unusable(out, &unusable),
    }
}

fn judge(asked: &VerifyEvidence) -> Result<BundleReport, Unusable> {
    // One that lies beside the bundle, or on the host it is from, would prove nothing.
    let Some(key) = &asked.pubkey else {
        return Err(Unusable(
            "a pinned key is required: give the one you trust with --pubkey".into(),
        ));
    };
    let mut options = BundleOptions {
        pinned: pinned(key)?,
        anchors: Vec::new(),
        previous: None,
        strict: asked.strict,
    };
    for anchor in &asked.anchor {
        let unreadable = |error| Unusable(format!("cannot read {}: {error}", anchor.display()));
        options.anchors.push(fs::read(anchor).map_err(unreadable)?);
    }
    if let Some(previous) = &asked.previous {
        let earlier = check(previous, &BundleOptions { strict: false, ..options.clone() })?;
        // What is compared with an earlier bundle can be no surer than that bundle.
        if earlier.verdict != Verdict::Ok {
            let reason = format!("the earlier bundle does not verify: {}", earlier.reason);
            return Ok(BundleReport { reason, ..earlier });
        }
        options.previous = earlier.tree;
    }
    check(&asked.bundle, &options)
}

/// Verifies the bundle at `path`.
fn check(path: &Path, options: &BundleOptions) -> Result<BundleReport, Unusable> {
    let at = path.to_path_buf();
    let open = move || open(&at);
    open().map_err(|error| {
        Unusable(format!("cannot read {}: {error}; check the path", path.display()))
    })?;
    Ok(verify_bundle(&open, options))
}

/// The report on a bundle that was made here, for its maker.
pub(super) fn recheck(path: &Path, pinned: PinnedKey) -> Result<BundleReport, Unusable> {
    check(path, &BundleOptions { pinned, anchors: Vec::new(), previous: None, strict: false })
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    // A FIFO would be waited for without end.
    let file = File::options().read(true).custom_flags(O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a plain file"));
    }
    Ok(Box::new(file))
}

fn to_text(report: &BundleReport, paint: Paint) -> String {
    let mut text = paint.verdict(report.verdict, &report.to_string());
    let mut line = |words: String| text.push_str(&format!("  {}\n", paint.faint(&words)));
    for Warning { code, text } in &report.warnings {
        line(format!("{code}: {text}"));
    }
    if let (Some(tree), Some(scope)) = (&report.tree, report.scope) {
        line(format!("{} bundle of log {}", scope.as_str(), tree.origin));
        line(format!("tree of size {}, root {}", tree.size, hex::encode(&tree.root)));
    }
    text
}

pub(super) fn to_json(report: &BundleReport) -> Value {
    let ok = report.verdict == Verdict::Ok;
    let tree = report.tree.as_ref();
    let time = |ts: Option<protocol::evidence::timestamp::Timestamp>| ts.map(|ts| ts.to_string());
    json!({
        "ok": ok,
        "verdict": report.verdict.word(),
        "failure_reason": (!ok).then_some(&report.reason),
        "code": report.code,
        "seq": report.seq,
        "scope": report.scope.map(|scope| scope.as_str()),
        "completeness": ok.then(|| completeness(report)),
        "origin": tree.map(|tree| &tree.origin),
        "tree_size": tree.map(|tree| tree.size),
        "root": tree.map(|tree| hex::encode(&tree.root)),
        "signed_size": if ok { tree.map(|tree| tree.size) } else { None },
        "unsigned_tail": ok.then_some(0),
        "seq_range": report.seq_range,
        "since": time(report.window.0),
        "until": time(report.window.1),
        "ts_exported": time(report.exported),
        "lines": report.lines,
        "checkpoints": report.checkpoints,
        "receipts": report.receipts,
        "consistent_from": report.consistent_from,
        "key_ids": report.key_ids.iter().map(|id| hex::encode(id)).collect::<Vec<_>>(),
        "evidence_key_id": report.evidence_key_id.map(|id| hex::encode(&id)),
        "warnings": report
            .warnings
            .iter()
            .map(|warning| json!({ "code": warning.code, "text": warning.text }))
            .collect::<Vec<_>>(),
    })
}

fn completeness(report: &BundleReport) -> &'static str {
    use protocol::evidence::bundle::BundleType;
    match report.scope {
        Some(BundleType::Selection) => "not claimed",
        Some(BundleType::Range) => "proven between the first and the last line",
        _ => "proven for all retained lines",
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn asked(bundle: PathBuf, pubkey: Option<PathBuf>) -> VerifyEvidence {
        VerifyEvidence { bundle, pubkey, anchor: Vec::new(), previous: None, strict: false }
    }

    fn key() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/evidence/log.pem")
    }

    #[test]
    fn e14_wants_a_key_before_it_looks_at_anything() {
        let unusable = judge(&asked("no-such-bundle".into(), None)).unwrap_err();
        assert!(unusable.0.starts_with("a pinned key is required"), "{}", unusable.0);
    }

    #[test]
    fn what_cannot_be_read_is_not_judged_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [fifo, folder.path().join("none"), folder.path().into()] {
            assert!(judge(&asked(path, Some(key()))).is_err());
        }
        let empty = folder.path().join("empty");
        fs::write(&empty, "").unwrap();
        let report = judge(&asked(empty, Some(key()))).unwrap_or_else(|it| panic!("{}", it.0));
        assert_eq!(report.code, Some("E_ARCHIVE"));
        assert_eq!(to_json(&report)["verdict"], "FAIL");
    }
}
