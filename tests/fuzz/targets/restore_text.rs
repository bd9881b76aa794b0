//! Answers that are plain text: restored alike in one piece and in many.
#![no_main]

use fuzz::{Answers, Nobody};
use libfuzzer_sys::fuzz_target;
use proxy::restore::Restored;
use proxy::restore::text::{TextRestorer, restore};

fuzz_target!(|bytes: &[u8]| {
    let whole = restore(bytes.to_vec(), &Answers);
    for size in [1, 2, 5, 37] {
        let mut restorer = TextRestorer::new();
        let mut all = Restored::default();
        let mut add = |part: Restored| {
            all.bytes.extend(part.bytes);
            all.restored += part.restored;
            all.unknown += part.unknown;
        };
        for chunk in bytes.chunks(size) {
            add(restorer.push(chunk, &Answers).expect("every plaintext is text"));
        }
        add(restorer.finish(&Answers).expect("every plaintext is text"));
        assert_eq!(Ok(all), whole, "in chunks of {size}");
    }
    assert_eq!(restore(bytes.to_vec(), &Nobody).map(|passed| passed.bytes), Ok(bytes.to_vec()));
});
