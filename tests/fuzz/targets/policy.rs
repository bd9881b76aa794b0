//! Pattern files: one that is taken says the same each time, and never touches what guards our own
//! placeholders.
#![no_main]

use fuzz::policy;
use libfuzzer_sys::fuzz_target;
use proxy::redact::{Policy, PolicyError};
use serde_json::Value;
use sha2::{Digest, Sha256};

const FILE: &str = "patterns.yaml";

fuzz_target!(|text: &str| {
    let lines = text.split(['\n', '\r']).count() as u64;
    match Policy::load(Some((FILE, text))) {
        Ok(taken) => {
            assert_eq!(taken.hash()[..], Sha256::digest(taken.canonical())[..]);
            assert_eq!(guard(&taken), guard(policy()));
            let again = Policy::load(Some((FILE, text))).expect("it was taken before");
            assert_eq!(again.canonical(), taken.canonical());
        }
        Err(PolicyError { file, line, .. }) => {
            // Only all literals together can be too many; every other fault has its line.
            assert!(line <= lines && (line == 0 || file == FILE));
        }
    }
});

/// What recognises placeholder-shaped text that a client sends.
fn guard(policy: &Policy) -> Value {
    let set: Value = serde_json::from_slice(policy.canonical()).expect("canonical JSON");
    let patterns = set["patterns"].as_array().expect("a list of patterns");
    let guards: Vec<&Value> =
        patterns.iter().filter(|pattern| pattern["type"] == "LITERAL").collect();
    assert_eq!(guards.len(), 1);
    guards[0].clone()
}
