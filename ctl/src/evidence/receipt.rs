//! `receipt` and `verify-receipt`: one line, and the proof that it is in the log.

use std::fs;
use std::io::Read;
use std::path::Path;

use protocol::evidence::body::{Body, Redaction};
use protocol::evidence::hex;
use protocol::evidence::merkle::{Sieve, leaf_hash, spans};
use protocol::evidence::tlog_proof::{MAX_PROOF, TlogProof};
use protocol::evidence::verify::{ReceiptOptions, ReceiptReport, Verdict, verify_receipt};
use serde_json::{Value, json};

use super::log::Log;
use crate::cli::{Receipt, VerifyReceipt};
use crate::fault::{DONE, Fault, Kind};
use crate::files;
use crate::home::Home;
use crate::output::{Output, Paint};
use crate::verify::{Unusable, folder_of, pinned, print_unusable};

/// `receipt`: the receipt of one line, proven by the newest head.
pub(crate) fn issue(home: &Home, out: Output, asked: &Receipt) -> Result<u8, Fault> {
    let log = Log::open(&asked.log.as_ref().map_or_else(|| home.log(), |log| folder_of(log)))?;
    let proof = receipts(&log, &[asked.seq])?.remove(0);
    let text = proof.to_string();
    if let Some(path) = &asked.out {
        files::replace(path, text.as_bytes(), 0o644)?;
        let (size, path) = (proof.checkpoint.checkpoint.size, path.display());
        out.result(
            &json!({ "seq": asked.seq, "tree_size": size, "file": path.to_string() }),
            |_| format!("Receipt of line {} in a tree of size {size}: {path}\n", asked.seq),
        );
    } else if out.is_json() {
        out.result(&json!({ "seq": asked.seq, "receipt": text }), |_| String::new());
    } else {
        out.text(&text);
    }
    Ok(DONE)
}

/// The receipts of the lines `seqs`, from one reading of the log.
fn receipts(log: &Log, seqs: &[u64]) -> Result<Vec<TlogProof>, Fault> {
    let head = log.head()?;
    let size = head.checkpoint.size;
    let mut wanted = Vec::new();
    let mut sieve = Sieve::new();
    for seq in seqs {
        let Some(spans) = seq.checked_sub(1).and_then(|index| spans::inclusion(index, size)) else {
            let what = format!("line {seq} is not among the {size} lines that are signed");
            let advice = "lines are signed within a second; `waterwall-ctl head` shows how far";
            return Err(Fault::new(Kind::Refused, what, advice));
        };
        sieve.want(&spans);
        wanted.push((*seq, spans, Vec::new()));
    }
    log.each(size, |found| {
        sieve.append(leaf_hash(found.bytes));
        for (seq, _, leaf) in &mut wanted {
            if *seq == found.seq {
                *leaf = found.bytes.to_vec();
            }
        }
        Ok(())
    })?;
    if sieve.edge().root() != head.checkpoint.root {
        let what = "the log's lines are not the ones that were signed";
        return Err(Fault::new(Kind::Refused, what, "see where with `waterwall-ctl verify-chain`"));
    }
    let proof = |(seq, spans, leaf): (u64, Vec<spans::Span>, Vec<u8>)| {
        let hashes = sieve
            .roots(&spans)
            .ok_or_else(|| Fault::new(Kind::Ours, "a proof is not whole", "please report this"))?;
        Ok(TlogProof { leaf, index: seq - 1, hashes, checkpoint: head.clone() })
    };
    wanted.into_iter().map(proof).collect()
}

/// `verify-receipt`.
pub(crate) fn verify(home: Result<Home, Fault>, out: Output, asked: &VerifyReceipt) -> u8 {
    match judge(home.ok().as_ref(), asked) {
        Ok(report) => {
            out.result(&to_json(&report), |paint| to_text(&report, paint));
            report.verdict.exit_code()
        }
        Err(unusable) => print_unusable(out, &unusable),
    }
}

fn judge(home: Option<&Home>, asked: &VerifyReceipt) -> Result<ReceiptReport, Unusable> {
    let own = home.map(Home::log_key).filter(|key| key.exists());
    let Some(key) = asked.pubkey.clone().or(own) else {
        return Err(Unusable(
            "a pinned key is required: give the one you trust with --pubkey".into(),
        ));
    };
    let options = ReceiptOptions {
        pinned: pinned(&key)?,
        origin: asked.origin.clone(),
        line_type: Some(asked.line_type.clone()).filter(|asked| asked != "any"),
    };
    Ok(verify_receipt(&read(&asked.receipt)?, &options))
}

fn read(path: &Path) -> Result<Vec<u8>, Unusable> {
    let unreadable =
        |error| Unusable(format!("cannot read {}: {error}; check the path", path.display()));
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_PROOF as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn to_text(report: &ReceiptReport, paint: Paint) -> String {
    let mut text = paint.verdict(report.verdict, &report.to_string());
    let fields = fields(report);
    for (name, value) in fields.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.push_str(&format!("  {}\n", paint.faint(&format!("{name}: {value}"))));
    }
    text
}

fn to_json(report: &ReceiptReport) -> Value {
    let ok = report.verdict == Verdict::Ok;
    let tree = report.checkpoint.as_ref().map(|signed| &signed.checkpoint);
    json!({
        "ok": ok,
        "verdict": report.verdict.word(),
        "reason": (!ok).then_some(&report.reason),
        "code": report.code,
        "seq": report.seq,
        "scope": "receipt",
        "origin": tree.map(|tree| &tree.origin),
        "tree_size": tree.map(|tree| tree.size),
        "root": tree.map(|tree| hex::encode(&tree.root)),
        "key_ids": report.key_id.iter().map(|id| hex::encode(id)).collect::<Vec<_>>(),
        "receipt": ok.then(|| fields(report)),
    })
}

/// What the line says, as far as a receipt is about it; nothing before all of it is verified. Every
/// string of a line is within a grammar that a terminal prints as it is, or is escaped by JSON.
fn fields(report: &ReceiptReport) -> Value {
    let Some(line) = &report.line else { return json!({}) };
    let mut fields = json!({
        "chain_seq": line.seq,
        "line_type": line.body.line_type(),
        "ts": line.ts.to_string(),
        "frameworks": line.frameworks,
    });
    if let Body::Redaction(redaction) = &line.body {
        let more = of_redaction(redaction);
        if let (Some(fields), Value::Object(more)) = (fields.as_object_mut(), more) {
            fields.extend(more);
        }
    }
    fields
}

fn of_redaction(redaction: &Redaction) -> Value {
    let each = redaction.redactions.iter();
    let replaced = each
        .map(|it| json!({ "type": it.kind, "hmac8": hex::encode(&it.hmac8), "count": it.count }));
    json!({
        "host": redaction.host,
        "request_id": redaction.request_id,
        "session_id": redaction.session_id,
        "redaction_count": redaction.redaction_count,
        "redactions": replaced.collect::<Vec<_>>(),
        "policy_hash": hex::encode(&redaction.policy_hash),
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn vectors() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/evidence")
    }

    fn asked(receipt: PathBuf, line_type: &str) -> VerifyReceipt {
        let pubkey = Some(vectors().join("log.pem"));
        VerifyReceipt { receipt, pubkey, origin: None, line_type: line_type.into() }
    }

    /// D10: a receipt is derived from the log, so losing one loses nothing.
    #[test]
    fn every_line_of_a_log_has_a_receipt_that_verifies_and_can_be_made_again() {
        let log = Log::open(&vectors().join("log")).unwrap();
        let seqs: Vec<u64> = (1..=log.head().unwrap().checkpoint.size).collect();
        let made = receipts(&log, &seqs).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (seq, proof) in seqs.iter().zip(&made) {
            let path = folder.path().join(seq.to_string());
            fs::write(&path, proof.to_string()).unwrap();
            let report = judge(None, &asked(path, "any")).unwrap_or_else(|it| panic!("{}", it.0));
            assert_eq!(report.code, None, "{report}");
            assert_eq!(report.seq, Some(*seq));
        }
        assert_eq!(receipts(&log, &seqs).unwrap(), made);
    }

    #[test]
    fn says_what_was_redacted_only_once_it_is_proven() {
        let log = Log::open(&vectors().join("log")).unwrap();
        let proof = receipts(&log, &[6]).unwrap().remove(0).to_string();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipt");
        let said = |text: &str, line_type: &str| {
            fs::write(&path, text).unwrap();
            let report = judge(None, &asked(path.clone(), line_type));
            to_json(&report.unwrap_or_else(|it| panic!("{}", it.0)))
        };
        let good = said(&proof, "redaction");
        assert_eq!(good["receipt"]["redaction_count"], 3, "{good}");
        assert_eq!(good["receipt"]["request_id"], "req-1");
        assert_eq!(good["receipt"]["redactions"][0]["type"], "AWS_ACCESS_KEY");
        for (text, line_type, code) in [
            (proof.replace("index 5", "index 4"), "redaction", "E_INCLUSION"),
            (proof.clone(), "detokenization", "E_RECEIPT_TYPE"),
            (String::new(), "any", "E_PROOF_FORMAT"),
        ] {
            let bad = said(&text, line_type);
            assert_eq!(bad["code"], code);
            assert!(bad["receipt"].is_null() && bad["origin"].is_null(), "{bad}");
        }
    }

    #[test]
    fn wants_a_key_and_a_line_that_is_signed() {
        let receipt = VerifyReceipt { pubkey: None, ..asked("r".into(), "any") };
        assert!(judge(None, &receipt).unwrap_err().0.contains("--pubkey"));
        let log = Log::open(&vectors().join("log")).unwrap();
        for seq in [0, 17, u64::MAX] {
            assert!(receipts(&log, &[seq]).unwrap_err().what.contains("is not among the 16"));
        }
    }
}
