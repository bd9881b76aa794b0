//! Frames: a big-endian `u32` length, then that many bytes. No socket, no clock.

/// Bytes of the length in front of each frame.
pub const PREFIX: usize = 4;

/// A peer announced a frame larger than its link allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oversize {
    /// The length it announced, in bytes.
    pub announced: usize,
    /// What the link allows, in bytes.
    pub cap: usize,
}

impl std::fmt::Display for Oversize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "frame of {} bytes exceeds the link's cap of {}", self.announced, self.cap)
    }
}

impl std::error::Error for Oversize {}

/// `body` with its length in front.
///
/// # Errors
///
/// [`Oversize`] when `body` is longer than `cap`; a link never sends what its peer must refuse.
pub fn frame(body: &[u8], cap: usize) -> Result<Vec<u8>, Oversize> {
    let refused = Oversize { announced: body.len(), cap };
    if body.len() > cap {
        return Err(refused);
    }
    let length = u32::try_from(body.len()).map_err(|_| refused)?;
    let mut out = Vec::with_capacity(PREFIX + body.len());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body);
    Ok(out)
}

/// The length that `prefix` announces, checked against `cap` before anything is allocated.
///
/// # Errors
///
/// [`Oversize`] when the announced length is above `cap`.
pub fn announced(prefix: [u8; PREFIX], cap: usize) -> Result<usize, Oversize> {
    let announced = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    if announced > cap {
        return Err(Oversize { announced, cap });
    }
    Ok(announced)
}

/// Collects bytes as they come and gives back whole frames.
#[derive(Debug)]
pub struct Decoder {
    held: Vec<u8>,
    cap: usize,
}

impl Decoder {
    /// A decoder for a link whose frames are at most `cap` bytes.
    #[must_use]
    pub fn new(cap: usize) -> Self {
        Self { held: Vec::new(), cap }
    }

    /// Takes in what the socket gave.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next whole frame's body, or `None` until more bytes came.
    ///
    /// # Errors
    ///
    /// [`Oversize`] as soon as the four bytes of a too long frame are in; the connection is done.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, Oversize> {
        let Some((prefix, rest)) = self.held.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = announced(*prefix, self.cap)?;
        if rest.len() < length {
            return Ok(None);
        }
        let body = rest[..length].to_vec();
        self.held.drain(..PREFIX + length);
        Ok(Some(body))
    }

    /// Whether bytes of an unfinished frame are held.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        !self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_an_oversize_frame_before_its_body_comes() {
        let mut decoder = Decoder::new(16);
        decoder.push(&17u32.to_be_bytes());
        assert_eq!(decoder.next_frame(), Err(Oversize { announced: 17, cap: 16 }));
    }

    #[test]
    fn refuses_to_send_what_the_peer_must_refuse() {
        assert_eq!(frame(&[0; 17], 16), Err(Oversize { announced: 17, cap: 16 }));
    }

    proptest! {
        #[test]
        fn frames_come_back_whole_however_they_are_cut(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cut in 1usize..16,
        ) {
            let wire: Vec<u8> = bodies.iter().flat_map(|b| frame(b, 64).unwrap()).collect();
            let mut decoder = Decoder::new(64);
            let mut seen = Vec::new();
            for piece in wire.chunks(cut) {
                decoder.push(piece);
                while let Some(body) = decoder.next_frame().unwrap() {
                    seen.push(body);
                }
            }
            prop_assert_eq!(seen, bodies);
            prop_assert!(!decoder.is_mid_frame());
        }
    }
}
