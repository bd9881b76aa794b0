//! Content codings as clients and providers apply them.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// What `Content-Encoding` may name.
pub const ALL: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

/// `bytes` after `codings`, a `Content-Encoding` value, were applied to it.
pub fn encode(bytes: &[u8], codings: &str) -> Vec<u8> {
    codings.split(", ").fold(bytes.to_vec(), |bytes, coding| one(&bytes, coding))
}

fn one(bytes: &[u8], coding: &str) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut out = GzEncoder::new(Vec::new(), Compression::default());
            out.write_all(bytes).expect("memory takes it");
            out.finish().expect("memory takes it")
        }
        "deflate" => {
            let mut out = ZlibEncoder::new(Vec::new(), Compression::default());
            out.write_all(bytes).expect("memory takes it");
            out.finish().expect("memory takes it")
        }
        "br" => {
            let mut out = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
            out.write_all(bytes).expect("memory takes it");
            out.into_inner()
        }
        "zstd" => compress_to_vec(bytes, CompressionLevel::Fastest),
        other => panic!("{other} is no coding"),
    }
}

/// The pieces of a gzip stream, flushed after each of `parts`.
pub fn gzip_pieces(parts: &[String]) -> Vec<Vec<u8>> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    let mut pieces: Vec<Vec<u8>> = parts
        .iter()
        .map(|part| {
            out.write_all(part.as_bytes()).expect("memory takes it");
            out.flush().expect("memory takes it");
            std::mem::take(out.get_mut())
        })
        .collect();
    pieces.push(out.finish().expect("memory takes it"));
    pieces
}
