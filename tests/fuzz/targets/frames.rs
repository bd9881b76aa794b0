//! Frames cut anywhere: the decoder gives back what went in, or refuses, and never holds more than
//! it was given.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::frame::{Decoder, PREFIX};

const CAP: usize = 256;

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let mut decoder = Decoder::new(CAP);
    let mut given = 0;
    for piece in bytes.chunks(usize::from(cut).max(1)) {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(body)) => {
                    assert!(body.len() <= CAP);
                    given += PREFIX + body.len();
                }
                Ok(None) => break,
                Err(oversize) => {
                    assert!(oversize.announced > CAP);
                    return;
                }
            }
        }
    }
    assert!(given <= bytes.len());
    assert_eq!(decoder.is_mid_frame(), given < bytes.len());
});
