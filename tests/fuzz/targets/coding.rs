//! Content codings over bytes of strangers: no input panics or passes the limit, and how the bytes
//! are cut changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::encoding::{Coding, Decoder, Limit, Undecodable};

const CAP: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let [stack, cut, bytes @ ..] = input else { return };
    let (stack, cut) = (*stack, *cut);
    let all = [Coding::Brotli, Coding::Deflate, Coding::Gzip, Coding::Zstd];
    let coding = |bits: u8| all[usize::from(bits & 3)];
    let codings = match stack >> 6 {
        0 | 1 => vec![coding(stack)],
        _ => vec![coding(stack), coding(stack >> 2)],
    };
    let whole = decode(&codings, &[bytes]);
    if let Ok(out) = &whole {
        assert!(out.len() <= CAP);
    }
    let (first, second) = bytes.split_at(usize::from(cut).min(bytes.len()));
    assert_eq!(decode(&codings, &[first, second]), whole);
});

fn decode(codings: &[Coding], pieces: &[&[u8]]) -> Result<Vec<u8>, Undecodable> {
    let mut decoder = Decoder::new(codings, Limit::Whole(CAP));
    let mut out = Vec::new();
    for piece in pieces {
        out.extend(decoder.push(piece)?);
    }
    decoder.finish()?;
    Ok(out)
}
