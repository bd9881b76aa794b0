//! Answers that are JSON: they stay JSON, and without a placeholder that is known they stay as
//! they are.
#![no_main]

use fuzz::{Answers, Nobody, json_texts};
use libfuzzer_sys::fuzz_target;
use proxy::restore::json::restore;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(restored) = restore(bytes.to_vec(), &Nobody) {
        assert_eq!(restored.bytes, bytes);
        assert_eq!(restored.restored, 0);
    }
    let Ok(restored) = restore(bytes.to_vec(), &Answers) else { return };
    if restored.restored == 0 {
        assert_eq!(restored.bytes, bytes);
    } else if let Some(texts) = json_texts(bytes) {
        assert_eq!(json_texts(&restored.bytes), Some(texts));
    }
    let could_spell_one = bytes.windows(2).any(|pair| pair == b"pl") || bytes.contains(&b'\\');
    assert!(could_spell_one || restored.restored == 0);
});
