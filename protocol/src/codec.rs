//! The one way bytes become messages: all of them, in their only spelling, or not at all.

use postcard::ser_flavors::{Flavor, Size};
use serde::{Serialize, de::DeserializeOwned};

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes do not decode as the expected type.
    Undecodable,
    /// A message decoded, and bytes were left over.
    Trailing,
    /// The bytes decode, but are not how this message is written (over-long integers).
    NotCanonical,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Undecodable => "frame does not decode",
            Self::Trailing => "frame has bytes left over",
            Self::NotCanonical => "frame is not canonically encoded",
        })
    }
}

impl std::error::Error for Malformed {}

/// The bytes of `message`.
///
/// # Panics
///
/// Never for the message types of this crate: they hold no maps of unknown length and no
/// hand-written `Serialize`, the only ways postcard can fail with an allocating writer.
pub fn encode<M: Serialize>(message: &M) -> Vec<u8> {
    // In one piece: what is left behind by a buffer that grows is not wiped.
    let size = postcard::serialize_with_flavor(message, Size::default());
    let room = Vec::with_capacity(size.unwrap_or_default());
    postcard::to_extend(message, room).expect("link messages always encode")
}

/// The message that `bytes` spell.
///
/// postcard itself accepts trailing bytes and over-long varints; both are refused here, so that
/// one message has one spelling.
///
/// # Errors
///
/// [`Malformed`], naming which rule the bytes broke.
pub fn decode<M: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<M, Malformed> {
    let (message, rest) =
        postcard::take_from_bytes::<M>(bytes).map_err(|_| Malformed::Undecodable)?;
    if !rest.is_empty() {
        return Err(Malformed::Trailing);
    }
    postcard::serialize_with_flavor(&message, Same { rest: bytes })
        .map_err(|_| Malformed::NotCanonical)?;
    Ok(message)
}

/// Takes the bytes it is to hold already, and none else: nothing is copied to be compared.
struct Same<'b> {
    rest: &'b [u8],
}

impl Flavor for Same<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                Ok(())
            }
            _ => Err(postcard::Error::SerializeBufferFull),
        }
    }

    fn finalize(self) -> postcard::Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(postcard::Error::SerializeBufferFull) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_bytes_left_over() {
        let mut bytes = encode(&7u32);
        bytes.push(0);
        assert_eq!(decode::<u32>(&bytes), Err(Malformed::Trailing));
    }

    #[test]
    fn refuses_an_over_long_integer() {
        assert_eq!(decode::<u32>(&[0x87, 0x00]), Err(Malformed::NotCanonical));
    }

    #[test]
    fn refuses_half_a_message() {
        let bytes = encode(&(1u32, String::from("half")));
        assert_eq!(decode::<(u32, String)>(&bytes[..3]), Err(Malformed::Undecodable));
    }
}
