//! Checks the strings of raw JSON, which are most of it: a block at a time.

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch, u8x64};

use super::super::bits::{self, BLOCK};
use super::Fault;

/// The end of the string whose text starts at `at`, behind its quote. Where it is none, the place of
/// the fault.
pub(super) fn end(text: &[u8], at: usize) -> Result<usize, (usize, Fault)> {
    // Most strings are short, or end where the next block does.
    let rest = text.get(at..).unwrap_or_default();
    let near = rest.iter().take(NEAR).position(|byte| matches!(byte, b'"' | b'\\' | 0..b' '));
    match near.map(|near| (rest[near], at + near)) {
        Some((b'"', quote)) => Ok(quote + 1),
        Some((_, special)) => dispatch!(Level::new(), simd => search(simd, text, special)),
        None => dispatch!(Level::new(), simd => search(simd, text, at)),
    }
}

#[inline(always)]
fn search<S: Simd>(simd: S, text: &[u8], mut at: usize) -> Result<usize, (usize, Fault)> {
    while at < text.len() {
        let padded;
        let block = match text[at..].first_chunk::<BLOCK>() {
            Some(block) => block,
            None => {
                padded = bits::padded(text, at);
                &padded
            }
        };
        let bytes = u8x64::from_slice(simd, block);
        let special = bytes.simd_eq(b'"') | bytes.simd_eq(b'\\') | bytes.simd_lt(b' ');
        let mut special = special.to_bitmask();
        let mut next = BLOCK;
        while special != 0 {
            let place = special.trailing_zeros() as usize;
            match text.get(at + place) {
                Some(b'"') => return Ok(at + place + 1),
                Some(b'\\') => {
                    let behind = place + length_of_escape(text, at + place)?;
                    next = next.max(behind);
                    // What an escape takes with it is none of its own.
                    special &= if behind < BLOCK { u64::MAX << behind } else { 0 };
                }
                Some(_) => return Err((at + place, Fault::Syntax)),
                None => return Err((text.len(), Fault::End)),
            }
        }
        at += next;
    }
    Err((text.len(), Fault::End))
}

/// The length of the escape at `at`.
#[inline(always)]
fn length_of_escape(text: &[u8], at: usize) -> Result<usize, (usize, Fault)> {
    let rest = &text[at + 1..];
    match rest.first() {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') if rest.len() > 4 && rest[1..5].iter().all(u8::is_ascii_hexdigit) => Ok(6),
        Some(_) => Err((at, Fault::Syntax)),
        None => Err((at, Fault::End)),
    }
}

/// Bytes that are looked at one by one first.
const NEAR: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_another_parser(
            text in r#"([a-zé ]{0,70}(\\[nt"\\/]|\\u[0-9a-f]{4}|\\)?){0,6}[\x00-\x1f]?["x]?"#,
        ) {
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&format!("\"{text}"));
            let ours = end(text.as_bytes(), 0);
            prop_assert_eq!(ours == Ok(text.len()), theirs.is_ok());
            if let Ok(end) = ours {
                prop_assert_eq!(text.as_bytes()[end - 1], b'"');
                let whole = format!("\"{}", &text[..end]);
                prop_assert!(serde_json::from_str::<String>(&whole).is_ok() || whole.contains("\\u"));
            }
        }
    }

    #[test]
    fn names_the_place_of_a_fault() {
        for (text, fault) in [
            ("abc", (3, Fault::End)),
            ("", (0, Fault::End)),
            ("ab\\", (2, Fault::End)),
            ("ab\\x\"", (2, Fault::Syntax)),
            ("ab\\u00g0\"", (2, Fault::Syntax)),
            ("ab\ncd\"", (2, Fault::Syntax)),
        ] {
            assert_eq!(end(text.as_bytes(), 0), Err(fault), "{text}");
            let long = format!("{}{text}", "x".repeat(100));
            assert_eq!(end(long.as_bytes(), 0), Err((fault.0 + 100, fault.1)), "{text}");
        }
    }
}
