use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

const ALL: [Coding; 4] = [Coding::Brotli, Coding::Deflate, Coding::Gzip, Coding::Zstd];

fn encode(bytes: &[u8], coding: Coding) -> Vec<u8> {
    match coding {
        Coding::Brotli => {
            let mut out = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
            out.write_all(bytes).unwrap();
            out.into_inner()
        }
        Coding::Deflate => {
            let mut out = ZlibEncoder::new(Vec::new(), Compression::fast());
            out.write_all(bytes).unwrap();
            out.finish().unwrap()
        }
        Coding::Gzip => {
            let mut out = GzEncoder::new(Vec::new(), Compression::fast());
            out.write_all(bytes).unwrap();
            out.finish().unwrap()
        }
        Coding::Zstd => compress_to_vec(bytes, CompressionLevel::Fastest),
    }
}

/// What `body` stands for, after `codings` were applied to it in this order.
fn decode(body: &[u8], codings: &[Coding], cap: usize) -> Result<Vec<u8>, Undecodable> {
    let mut decoder = Decoder::new(codings, Limit::Whole(cap));
    let decoded = decoder.push(body)?;
    decoder.finish()?;
    if decoded.len() > cap { Err(Undecodable::TooLarge) } else { Ok(decoded) }
}

fn text(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (b'a' + u8::try_from(at % 23).unwrap()) ^ u8::try_from(at >> 9 & 3).unwrap())
        .collect()
}

#[test]
fn i6_reads_the_header_as_a_list() {
    let read = |values: &[&str]| codings(values.iter().map(|value| value.as_bytes()));
    assert_eq!(read(&[]), Ok(vec![]));
    assert_eq!(read(&["identity", ""]), Ok(vec![]));
    assert_eq!(read(&["GZIP , br", "zstd"]), Ok(vec![Coding::Gzip, Coding::Brotli, Coding::Zstd]));
    assert_eq!(read(&["x-gzip,deflate"]), Ok(vec![Coding::Gzip, Coding::Deflate]));
    for unknown in ["compress", "gzip;q=1", "aes128gcm", "gzip,gzip,gzip,gzip,gzip"] {
        assert_eq!(read(&[unknown]), Err(Unknown), "{unknown}");
    }
}

#[test]
fn i6_what_is_cut_or_followed_by_anything_is_refused() {
    let plain = text(70_000);
    for coding in ALL {
        let whole = encode(&plain, coding);
        assert_eq!(decode(&whole, &[coding], plain.len()), Ok(plain.clone()), "{coding:?}");
        for cut in [0, 1, 4, whole.len() / 2, whole.len() - 5, whole.len() - 1] {
            let refused = decode(&whole[..cut], &[coding], plain.len());
            assert_eq!(refused, Err(Undecodable::Corrupt), "{coding:?} cut at {cut}");
        }
        for more in [b"\0".to_vec(), b"AKIAIOSFODNN7EXAMPLE".to_vec(), whole.clone()] {
            let refused = decode(&[whole.clone(), more].concat(), &[coding], 1 << 20);
            assert_eq!(refused, Err(Undecodable::Corrupt), "{coding:?} followed");
        }
    }
}

#[test]
fn i6_a_damaged_checksum_is_refused() {
    for coding in [Coding::Deflate, Coding::Gzip, Coding::Zstd] {
        let mut whole = encode(&text(1000), coding);
        // Gzip ends in its length, behind the checksum.
        let at = whole.len() - if coding == Coding::Gzip { 5 } else { 1 };
        whole[at] ^= 1;
        assert_eq!(decode(&whole, &[coding], 1000), Err(Undecodable::Corrupt), "{coding:?}");
    }
}

#[test]
fn i6_a_bomb_stops_at_the_cap() {
    let zeros = vec![0; 32 << 20];
    for coding in ALL {
        let bomb = encode(&zeros, coding);
        assert!(bomb.len() < 1 << 20, "{coding:?}");
        assert_eq!(decode(&bomb, &[coding], 1 << 20), Err(Undecodable::TooLarge), "{coding:?}");
        assert_eq!(decode(&bomb, &[coding], zeros.len()).map(|out| out.len()), Ok(zeros.len()));
        let twice = encode(&bomb, Coding::Gzip);
        let refused = decode(&twice, &[coding, Coding::Gzip], 1 << 20);
        assert_eq!(refused, Err(Undecodable::TooLarge), "{coding:?}");
    }
}

#[test]
fn i6_a_zstd_window_over_8_mib_is_refused() {
    // Magic, no flags, a window of 2^(10+13) or 2^(10+14) bytes, one empty last block.
    let frame = |exponent: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3, 1, 0, 0];
    assert_eq!(decode(&frame(13), &[Coding::Zstd], 0), Ok(vec![]));
    assert_eq!(decode(&frame(14), &[Coding::Zstd], 0), Err(Undecodable::Corrupt));
}

#[test]
fn i6_a_skippable_frame_hides_nothing() {
    let mut hidden = vec![0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0];
    hidden.extend_from_slice(b"AKIA");
    hidden.extend(encode(b"plain", Coding::Zstd));
    assert_eq!(decode(&hidden, &[Coding::Zstd], 100), Err(Undecodable::Corrupt));
}

#[test]
fn s10_a_stream_gives_what_came_before_it_ends() {
    for coding in [Coding::Brotli, Coding::Deflate, Coding::Gzip] {
        let (first, second) = flushed(coding);
        let mut decoder = Decoder::new(&[coding], Limit::Piece(1 << 20));
        assert_eq!(decoder.push(&first).unwrap(), b"data: 1\n\n", "{coding:?}");
        assert_eq!(decoder.push(&second).unwrap(), b"data: 2\n\n", "{coding:?}");
        assert_eq!(decoder.finish(), Ok(()));
    }
}

/// Two events, the encoder flushed between them.
fn flushed(coding: Coding) -> (Vec<u8>, Vec<u8>) {
    fn split<W: Write>(
        mut writer: W,
        sent: impl Fn(&W) -> usize,
        end: impl FnOnce(W) -> Vec<u8>,
    ) -> (Vec<u8>, Vec<u8>) {
        writer.write_all(b"data: 1\n\n").unwrap();
        writer.flush().unwrap();
        let at = sent(&writer);
        writer.write_all(b"data: 2\n\n").unwrap();
        let all = end(writer);
        (all[..at].to_vec(), all[at..].to_vec())
    }
    let fast = Compression::fast();
    match coding {
        Coding::Brotli => split(
            brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22),
            |writer| writer.get_ref().len(),
            brotli::CompressorWriter::into_inner,
        ),
        Coding::Deflate => split(
            ZlibEncoder::new(Vec::new(), fast),
            |writer| writer.get_ref().len(),
            |writer| writer.finish().unwrap(),
        ),
        Coding::Gzip | Coding::Zstd => split(
            GzEncoder::new(Vec::new(), fast),
            |writer| writer.get_ref().len(),
            |writer| writer.finish().unwrap(),
        ),
    }
}

proptest! {
    #[test]
    fn s2_decodes_however_it_is_cut(
        plain in proptest::collection::vec(any::<u8>(), 0..3000),
        stack in proptest::collection::vec(proptest::sample::select(&ALL[..]), 0..=3),
        cuts in proptest::collection::vec(1_usize..700, 0..20),
    ) {
        let encoded = stack.iter().fold(plain.clone(), |bytes, coding| encode(&bytes, *coding));
        // The cap holds for what stands between two codings too, which may be the longer.
        prop_assert_eq!(decode(&encoded, &stack, plain.len() + 1000), Ok(plain.clone()));
        let mut decoder = Decoder::new(&stack, Limit::Piece(1 << 20));
        let (mut rest, mut out) = (&encoded[..], Vec::new());
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            out.extend(decoder.push(piece).unwrap());
            rest = after;
        }
        prop_assert_eq!(decoder.finish(), Ok(()));
        prop_assert_eq!(out, plain);
    }

    #[test]
    fn no_input_makes_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        at in 0_usize..400,
        coding in proptest::sample::select(&ALL[..]),
    ) {
        let _ = decode(&bytes, &[coding], 1 << 16);
        let mut damaged = encode(&text(5000), coding);
        for (offset, byte) in bytes.iter().take(3).enumerate() {
            let length = damaged.len();
            damaged[(at + offset) % length] ^= byte;
        }
        let _ = decode(&damaged, &[coding], 1 << 16);
    }
}
