//! Text: what the fast search for literals leads to is what trying every form at every byte finds.
#![no_main]

use fuzz::policy;
use libfuzzer_sys::fuzz_target;
use proxy::redact::Scope;

fuzz_target!(|text: &[u8]| {
    for scope in [Scope::Text, Scope::Structured] {
        let (Ok(fast), Ok(slow)) =
            (policy().scan(text, scope), policy().scan_every_byte(text, scope))
        else {
            continue;
        };
        assert_eq!(fast, slow);
        for pair in fast.windows(2) {
            assert!(pair[0].0.end <= pair[1].0.start);
        }
    }
});
