//! Forms: one that is taken says in each field what it said, once each placeholder is read as its
//! secret.
#![no_main]

use fuzz::{books_balance, only_the_replaced_changed, run, text_says_the_same};
use libfuzzer_sys::fuzz_target;
use proxy::dialect::Dialect;
use proxy::redact::Media;

fuzz_target!(|body: &[u8]| {
    let Ok(sent) = run(Dialect::Generic, Media::Form, body) else { return };
    books_balance(&sent);
    only_the_replaced_changed(body, &sent);
    let [came, left] = [body, &sent.body].map(fields);
    assert_eq!(came.len(), left.len());
    for (came, left) in came.iter().zip(&left) {
        assert!(text_says_the_same(left, came, &sent.minted));
    }
});

/// Names and values, decoded as browsers do.
fn fields(body: &[u8]) -> Vec<Vec<u8>> {
    body.split(|byte| *byte == b'&').map(decoded).collect()
}

fn decoded(raw: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        let escape = digit(raw.get(at + 1)).zip(digit(raw.get(at + 2)));
        match (byte, escape) {
            (b'%', Some((high, low))) => {
                out.push((high << 4 | low) as u8);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(*byte),
        }
        at += 1;
    }
    out
}
