//! Request heads, one line for the method, one for the target and one for each header: every part
//! decides alone, and what a header's value shows no target hides.
#![no_main]

use fuzz::policy;
use libfuzzer_sys::fuzz_target;
use proxy::redact::{NothingKnown, scan_head};

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let (method, target) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let headers: Vec<(&str, &str)> =
        lines.map(|line| line.split_once(": ").unwrap_or((line, ""))).collect();
    let each = headers.iter().all(|header| passes("", "", &[*header]));
    let apart = passes(method, "", &[]) && passes("", target, &[]) && each;
    assert_eq!(passes(method, target, &headers), apart);
    for (_, value) in headers {
        if passes("", "", &[("x-note", value)]) {
            continue;
        }
        let escaped = value.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        assert!(!passes("", value, &[]), "a target hides it");
        assert!(!passes("", &escaped, &[]), "percent signs hide it");
        assert!(passes("", "", &[("X-Api-Key", value)]), "it is the client's own credential");
    }
});

fn passes(method: &str, target: &str, headers: &[(&str, &str)]) -> bool {
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
    scan_head(policy(), &NothingKnown, method, target, headers, &["x-api-key"]).is_ok()
}
