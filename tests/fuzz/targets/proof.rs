//! Receipts: one spelling each, and only lines of the golden log verify with its key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::evidence::tlog_proof::TlogProof;
use protocol::evidence::verify::{PinnedKey, ReceiptOptions, Verdict, verify_receipt};

const GOLDEN: &[u8] = include_bytes!("../../vectors/evidence/log/proxy.jsonl");
const KEY: &str = include_str!("../../vectors/evidence/log.vkey");

fuzz_target!(|bytes: &[u8]| {
    if let Ok(proof) = TlogProof::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
    }
    let named = PinnedKey::parse(KEY).expect("the golden key");
    let PinnedKey::Named(key) = &named else { unreachable!("a vkey has a name") };
    for pinned in [PinnedKey::Bare(*key.key()), named.clone()] {
        let options = ReceiptOptions { pinned, origin: None, line_type: None };
        let report = verify_receipt(bytes, &options);
        assert_eq!(report.verdict == Verdict::Ok, report.code.is_none());
        assert_eq!(report.line.is_some(), report.code.is_none());
        if report.verdict == Verdict::Ok {
            let proof = TlogProof::parse(bytes).expect("what verifies is a receipt");
            let place = usize::try_from(proof.index).expect("a line is a byte or more");
            assert_eq!(GOLDEN.split(|byte| *byte == b'\n').nth(place), Some(&proof.leaf[..]));
        }
    }
});
