//! Multipart bodies: one that is taken has parts in one way only, and leaves with the same parts,
//! nothing but secrets and lengths changed.
#![no_main]

use fuzz::{books_balance, only_the_replaced_changed, run};
use libfuzzer_sys::fuzz_target;
use proxy::dialect::Dialect;
use proxy::redact::Media;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // A body as a browser would write it, with a part for each line.
    let part = |content: &[u8]| {
        [b"--b\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n", content, b"\r\n"].concat()
    };
    let parts = bytes.split(|byte| *byte == b'\n').map(part);
    let body = parts.chain([b"--b--\r\n".to_vec()]).collect::<Vec<_>>().concat();
    let is_taken = check(&body);
    let is_plain = !bytes.windows(3).any(|window| window == b"--b");
    // Secrets in a part's content are replaced, so that text is never refused.
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t');
    if is_plain && bytes.iter().all(is_text) {
        assert!(is_taken);
    }
});

/// Whether `body` is taken.
fn check(body: &[u8]) -> bool {
    let mut is_taken = false;
    for is_form in [true, false] {
        let media = Media::Multipart { boundary: "b".to_owned(), is_form };
        let Ok(sent) = run(Dialect::Generic, media.clone(), body) else { continue };
        is_taken = true;
        books_balance(&sent);
        only_the_replaced_changed(body, &sent);
        let [came, left] = [body, &sent.body].map(delimiters);
        // The last one closes the body, and no parser may think otherwise.
        assert_eq!(came.iter().filter(|closes| **closes).count(), 1);
        assert_eq!(came.last(), Some(&true));
        assert_eq!(came, left);
        run(Dialect::Generic, media, &sent.body).expect("what left can be read again");
    }
    is_taken
}

/// Whether each delimiter closes the body, as a parser finds them that asks for no line break.
fn delimiters(body: &[u8]) -> Vec<bool> {
    let all = body.windows(3).enumerate().filter(|(_, window)| window == b"--b");
    all.map(|(at, _)| body[at + 3..].starts_with(b"--")).collect()
}
