//! Encoded text: what a text shows by its shape alone, its base64, hex and percent escapes show too;
//! and no run changes but as a whole.
#![no_main]

use fuzz::{books_balance, only_the_replaced_changed, policy, run};
use libfuzzer_sys::fuzz_target;
use proxy::dialect::Dialect;
use proxy::redact::{Media, Scope};

fuzz_target!(|text: &[u8]| {
    if let Ok(sent) = run(Dialect::Generic, Media::Text, text) {
        books_balance(&sent);
        only_the_replaced_changed(text, &sent);
    }
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~');
    let mut text: Vec<u8> = text.iter().copied().filter(is_text).collect();
    shows_through(&text);
    text.splice(text.len() / 2..text.len() / 2, *b" AKIAIOSFODNN7EXAMPLE ");
    shows_through(&text);
});

/// Panics where `text` shows a secret and its encoded spellings do not.
fn shows_through(text: &[u8]) {
    if !policy().scan(text, Scope::Structured).is_ok_and(|hits| !hits.is_empty()) {
        return;
    }
    let hex = text.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let percent = text.iter().map(|byte| format!("%{byte:02X}")).collect::<String>();
    for spelt in [base64(text), hex, percent] {
        if spelt.len() > policy().encoded().bytes {
            continue;
        }
        if let Ok(sent) = run(Dialect::Generic, Media::Text, spelt.as_bytes()) {
            assert!(!sent.replaced.is_empty(), "it is not seen in {spelt}");
        }
    }
}

fn base64(text: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |bytes: &[u8]| {
        let bits = bytes
            .iter()
            .chain([&0; 2])
            .take(3)
            .fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        let digits =
            (0..=bytes.len()).map(move |digit| char::from(DIGITS[bits >> (18 - 6 * digit) & 63]));
        digits.chain(std::iter::repeat_n('=', 3 - bytes.len())).collect::<String>()
    };
    text.chunks(3).map(group).collect()
}
