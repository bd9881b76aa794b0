//! Checks that a body is UTF-8: of most, that it is ASCII is all there is to check.

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch, u8x64};

use super::bits::{self, BLOCK};

/// Whether `body` is UTF-8.
pub(crate) fn is_utf8(body: &[u8]) -> bool {
    dispatch!(Level::new(), simd => search(simd, body))
}

#[inline(always)]
fn search<S: Simd>(simd: S, body: &[u8]) -> bool {
    let mut at = 0;
    while at < body.len() {
        let padded;
        let block = match body[at..].first_chunk::<BLOCK>() {
            Some(block) => block,
            None => {
                padded = bits::padded(body, at);
                &padded
            }
        };
        if (u8x64::from_slice(simd, block) & 0x80).simd_eq(0).to_bitmask() == u64::MAX {
            at += BLOCK;
        } else {
            match foreign(body, at) {
                Some(end) => at = end,
                None => return false,
            }
        }
    }
    true
}

/// Where the block at `at` ends, if it is UTF-8, with the rest of its last character.
#[inline(never)]
fn foreign(body: &[u8], at: usize) -> Option<usize> {
    let end = body.len().min(at + BLOCK);
    // A character has three bytes behind its first at most.
    let is_inside = |byte: &u8| byte & 0xc0 == 0x80;
    let rest = body[end..].iter().take(3).take_while(|byte| is_inside(byte)).count();
    str::from_utf8(&body[at..end + rest]).is_ok().then_some(end + rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_what_the_standard_library_says(
            before in r"(\PC|[a-z]{0,40}){0,12}",
            wrong in proptest::collection::vec(0x7f_u8.., 0..3),
            after in r"(\PC|[a-z]{0,40}){0,12}",
        ) {
            let text = [before.as_bytes(), &wrong, after.as_bytes()].concat();
            for end in 0..=text.len() {
                prop_assert_eq!(is_utf8(&text[..end]), str::from_utf8(&text[..end]).is_ok());
            }
        }
    }
}
