//! Content codings (RFC 9110, section 8.4.1), undone: bytes in, bytes out.
//!
//! Strict, since what a lenient decoder skips leaves unread: one member, one frame, nothing behind
//! it, every checksum right.

use std::io::Write;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::write::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// A content coding that is undone here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `br` (RFC 7932).
    Brotli,
    /// `deflate`: the zlib format (RFC 1950).
    Deflate,
    /// `gzip`, `x-gzip` (RFC 1952).
    Gzip,
    /// `zstd` (RFC 8878).
    Zstd,
}

/// A coding that is not known, or too many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown;

/// Why encoded bytes were not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecodable {
    /// They are not what their coding says, are cut, or something follows them.
    Corrupt,
    /// They stand for more than is taken.
    TooLarge,
}

/// The codings in the `Content-Encoding` headers `values`, in the order they were applied.
///
/// # Errors
///
/// [`Unknown`].
pub fn codings<'v>(values: impl IntoIterator<Item = &'v [u8]>) -> Result<Vec<Coding>, Unknown> {
    let mut codings = Vec::new();
    for name in values.into_iter().flat_map(|value| value.split(|byte| *byte == b',')) {
        codings.push(match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => continue,
            b"br" => Coding::Brotli,
            b"deflate" => Coding::Deflate,
            b"gzip" | b"x-gzip" => Coding::Gzip,
            b"zstd" => Coding::Zstd,
            _ => return Err(Unknown),
        });
    }
    if codings.len() > CODINGS_MAX { Err(Unknown) } else { Ok(codings) }
}

/// How much may come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// This many bytes, in all.
    Whole(usize),
    /// This many bytes for each piece that goes in: a stream has no end to count to.
    Piece(usize),
}

/// Undoes codings as the bytes come.
pub struct Decoder {
    /// The last applied first.
    layers: Vec<Layer>,
    limit: Limit,
}

impl Decoder {
    /// Undoes `codings`, which were applied in this order.
    pub fn new(codings: &[Coding], limit: Limit) -> Self {
        Self { layers: codings.iter().rev().map(|coding| Layer::new(*coding)).collect(), limit }
    }

    /// What the next `piece` stands for.
    ///
    /// # Errors
    ///
    /// [`Undecodable`]; nothing more can then be decoded.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<u8>, Undecodable> {
        let mut bytes = None;
        for layer in &mut self.layers {
            bytes = Some(layer.push(bytes.as_deref().unwrap_or(piece), self.limit)?);
        }
        Ok(bytes.unwrap_or_else(|| piece.to_vec()))
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    ///
    /// [`Undecodable::Corrupt`] where more should have come.
    pub fn finish(self) -> Result<(), Undecodable> {
        self.layers.into_iter().try_for_each(Layer::finish)
    }
}

/// One coding on its way to be undone.
struct Layer {
    state: State,
    /// Bytes that came out so far.
    out: usize,
}

enum State {
    Brotli(Box<Brotli>),
    Deflate(Box<Zlib>),
    Gzip(Box<GzDecoder<Vec<u8>>>),
    Zstd(Box<Zstd>),
}

impl Layer {
    fn new(coding: Coding) -> Self {
        let state = match coding {
            Coding::Brotli => State::Brotli(Box::new(Brotli::new())),
            Coding::Deflate => State::Deflate(Box::new(Zlib::new())),
            Coding::Gzip => State::Gzip(Box::new(GzDecoder::new(Vec::new()))),
            Coding::Zstd => State::Zstd(Box::new(Zstd::new())),
        };
        Self { state, out: 0 }
    }

    fn push(&mut self, piece: &[u8], limit: Limit) -> Result<Vec<u8>, Undecodable> {
        let most = match limit {
            Limit::Whole(most) => most.saturating_sub(self.out),
            Limit::Piece(most) => most,
        };
        let mut out = Out { bytes: Vec::new(), most };
        for step in piece.chunks(STEP) {
            self.step(step, &mut out)?;
        }
        self.out = self.out.saturating_add(out.bytes.len());
        Ok(out.bytes)
    }

    fn step(&mut self, mut step: &[u8], out: &mut Out) -> Result<(), Undecodable> {
        match &mut self.state {
            State::Brotli(brotli) => brotli.step(step, out),
            State::Deflate(zlib) => zlib.step(step, out),
            State::Zstd(zstd) => zstd.step(step, out),
            State::Gzip(gzip) => {
                while !step.is_empty() {
                    match gzip.write(step) {
                        // It is at its end, and this is something else.
                        Ok(0) | Err(_) => return Err(Undecodable::Corrupt),
                        Ok(taken) => step = &step[taken..],
                    }
                }
                // What it holds back would otherwise be held back by every layer, and a stream stall.
                gzip.flush().map_err(|_| Undecodable::Corrupt)?;
                out.put(gzip.get_ref())?;
                gzip.get_mut().clear();
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<(), Undecodable> {
        let complete = match self.state {
            State::Brotli(brotli) => brotli.ended,
            State::Deflate(zlib) => zlib.ended,
            State::Gzip(mut gzip) => gzip.try_finish().is_ok() && gzip.get_ref().is_empty(),
            State::Zstd(zstd) => zstd.is_complete(),
        };
        if complete { Ok(()) } else { Err(Undecodable::Corrupt) }
    }
}

/// What came out of a piece, and how much may.
struct Out {
    bytes: Vec<u8>,
    most: usize,
}

impl Out {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Undecodable> {
        if bytes.len() > self.most - self.bytes.len() {
            return Err(Undecodable::TooLarge);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

struct Zlib {
    state: Decompress,
    buffer: Vec<u8>,
    ended: bool,
}

impl Zlib {
    fn new() -> Self {
        Self { state: Decompress::new(true), buffer: vec![0; STEP], ended: false }
    }

    fn step(&mut self, mut step: &[u8], out: &mut Out) -> Result<(), Undecodable> {
        while !self.ended {
            let before = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(step, &mut self.buffer, FlushDecompress::None)
                .map_err(|_| Undecodable::Corrupt)?;
            let moved = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(0);
            let taken = moved(self.state.total_in(), before.0);
            let given = moved(self.state.total_out(), before.1);
            out.put(&self.buffer[..given])?;
            step = &step[taken..];
            self.ended = status == Status::StreamEnd;
            if taken == 0 && given == 0 && !self.ended {
                break;
            }
        }
        if step.is_empty() { Ok(()) } else { Err(Undecodable::Corrupt) }
    }
}

struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    buffer: Vec<u8>,
    ended: bool,
}

impl Brotli {
    fn new() -> Self {
        let alloc = StandardAlloc::default;
        // The window is RFC 7932's, 16 MiB at most, unless a stream asks for the larger one that
        // is no part of it.
        let mut state = BrotliState::new(alloc(), alloc(), alloc());
        state.large_window = false;
        Self { state, buffer: vec![0; STEP], ended: false }
    }

    fn step(&mut self, step: &[u8], out: &mut Out) -> Result<(), Undecodable> {
        if self.ended {
            return Err(Undecodable::Corrupt);
        }
        let (mut left, mut at, mut total) = (step.len(), 0, 0);
        loop {
            let (mut room, mut written) = (self.buffer.len(), 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut at,
                step,
                &mut room,
                &mut written,
                &mut self.buffer,
                &mut total,
                &mut self.state,
            );
            out.put(&self.buffer[..written])?;
            match result {
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::NeedsMoreInput => return Ok(()),
                BrotliResult::ResultSuccess if left == 0 => {
                    self.ended = true;
                    return Ok(());
                }
                BrotliResult::ResultSuccess | BrotliResult::ResultFailure => {
                    return Err(Undecodable::Corrupt);
                }
            }
        }
    }
}

struct Zstd {
    frame: FrameDecoder,
    /// What came and is not yet a whole header or block.
    pending: Vec<u8>,
    /// Whether the frame's header was read, and says that a checksum follows its last block.
    checksum: Option<bool>,
}

impl Zstd {
    fn new() -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(ZSTD_WINDOW_MAX);
        Self { frame, pending: Vec::new(), checksum: None }
    }

    /// Block by block: one of a few bytes may stand for 128 KiB.
    fn step(&mut self, step: &[u8], out: &mut Out) -> Result<(), Undecodable> {
        self.pending.extend_from_slice(step);
        loop {
            if self.is_complete() {
                return if self.pending.is_empty() { Ok(()) } else { Err(Undecodable::Corrupt) };
            }
            let Some(next) = self.next_length() else { return Ok(()) };
            let Some(mut whole) = self.pending.get(..next) else { return Ok(()) };
            if self.checksum.is_none() {
                let has_checksum = whole[4] & 4 != 0;
                self.frame.init(&mut whole).map_err(|_| Undecodable::Corrupt)?;
                self.checksum = Some(has_checksum);
            } else {
                self.frame
                    .decode_blocks(&mut whole, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|_| Undecodable::Corrupt)?;
            }
            self.pending.drain(..next);
            out.put(&self.frame.collect().unwrap_or_default())?;
        }
    }

    /// Length of the frame header (RFC 8878, section 3.1.1.1) or block (3.1.1.2) that `pending`
    /// starts with, in bytes; `None` where too little of it is there to tell.
    fn next_length(&self) -> Option<usize> {
        let Some(checksum) = self.checksum else {
            let descriptor = *self.pending.get(4)?;
            let is_single = descriptor & 0x20 != 0;
            let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
            let size = [usize::from(is_single), 2, 4, 8][usize::from(descriptor >> 6)];
            return Some(5 + usize::from(!is_single) + dictionary + size);
        };
        let header = [*self.pending.first()?, *self.pending.get(1)?, *self.pending.get(2)?, 0];
        let header = u32::from_le_bytes(header);
        let (is_last, is_run) = (header & 1 == 1, header >> 1 & 3 == 1);
        let content = if is_run { 1 } else { usize::try_from(header >> 3).ok()? };
        Some(3 + content + if is_last && checksum { 4 } else { 0 })
    }

    fn is_complete(&self) -> bool {
        self.checksum.is_some()
            && self.frame.is_finished()
            && self.frame.can_collect() == 0
            && self.pending.is_empty()
            && (self.checksum == Some(false)
                || self.frame.get_checksum_from_data() == self.frame.get_calculated_checksum())
    }
}

/// Most codings on one body.
const CODINGS_MAX: usize = 4;

/// Bytes that go in at once.
const STEP: usize = 16 * 1024;

/// Largest window of a zstd frame, in bytes: what RFC 8878 asks every decoder to take.
const ZSTD_WINDOW_MAX: u64 = 8 << 20;

#[cfg(test)]
mod tests;
