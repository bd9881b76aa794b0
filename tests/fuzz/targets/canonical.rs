//! Canonical sets: bytes that are taken for one are exactly what the set they make says again.
#![no_main]

use fuzz::policy;
use libfuzzer_sys::fuzz_target;
use proxy::redact::Policy;

fuzz_target!(|bytes: &[u8]| {
    let mut changed = policy().canonical().to_vec();
    if let [high, low, byte, ..] = bytes {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % changed.len();
        changed[at] = *byte;
    }
    for bytes in [bytes, &changed] {
        if let Ok(taken) = Policy::from_canonical(bytes) {
            assert_eq!(taken.canonical(), bytes);
        }
    }
    // Whatever a pattern file makes of the built-in set can be read back.
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(made) = Policy::load(Some(("patterns.yaml", text))) else { return };
    let back = Policy::from_canonical(made.canonical()).expect("it was made by this build");
    assert_eq!((back.hash(), back.pattern_count()), (made.hash(), made.pattern_count()));
});
