//! Where a quoted value ends, in code and in JSON that is quoted itself, once or more.

use super::form::Fuel;

/// The end of the value that starts at `start` behind its quote: where the quote that closes it,
/// or the first backslash of that, stands. `None` where that is not near and on the same line.
///
/// Behind a quote of `n` backslashes, one that belongs to the value has more of them: each of its
/// own and of the quote's is doubled.
pub(crate) fn end_of_quoted(text: &[u8], start: usize, fuel: &mut Fuel) -> Option<usize> {
    let (before, window) = (&text[..start], &text[start..text.len().min(start + REACH)]);
    let quote = *before.last().filter(|byte| b"\"'`".contains(byte))?;
    let slashes = |text: &[u8]| text.iter().rev().take_while(|byte| **byte == b'\\').count();
    let outer = slashes(&before[..before.len() - 1]);
    let line = memchr::memchr2(b'\n', b'\r', window).map_or(window, |end| &window[..end]);
    let close = memchr::memchr_iter(quote, line).find_map(|at| {
        let own = slashes(&line[..at]) % (2 * (outer + 1));
        (own <= outer).then(|| start + at - own)
    });
    if close.is_none() && line.len() == window.len() && window.len() < REACH {
        fuel.see_end();
    }
    close
}

/// Longest value, in bytes.
const REACH: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_of_the_value_is_not_its_end_however_deep_it_is_quoted() {
        for value in ["abc", "a\"b", "a\\", "\\\"", "a\\\\\"b\\", ""] {
            let mut text =
                format!("[\"{}\", \"x\"]", value.replace('\\', "\\\\").replace('"', "\\\""));
            let mut quote = "\"".to_owned();
            for _ in 0..4 {
                let start = text.find(&quote).unwrap() + quote.len();
                let end = end_of_quoted(text.as_bytes(), start, &mut Fuel::of(0)).unwrap();
                assert!(text[end..].starts_with(&format!("{quote}, ")), "{text} {}", &text[end..]);
                text = text.replace('\\', "\\\\").replace('"', "\\\"");
                quote = quote.replace('\\', "\\\\").replace('"', "\\\"");
            }
        }
    }

    #[test]
    fn any_quote_closes_with_its_like_and_on_its_line() {
        for (text, end) in [
            ("'a\\'b'", Some(5)),
            ("`a\"`", Some(3)),
            ("\"a\n\"", None),
            ("\"abc", None),
            ("abc", None),
        ] {
            assert_eq!(close(text), end, "{text}");
        }
        assert_eq!(end_of_quoted(b"", 0, &mut Fuel::of(0)), None);
        assert_eq!(close(&format!("\"{}\"", "x".repeat(REACH))), None);
    }

    fn close(text: &str) -> Option<usize> {
        end_of_quoted(text.as_bytes(), 1, &mut Fuel::of(0))
    }

    #[test]
    fn only_a_value_that_is_cut_off_depends_on_where_the_text_ends() {
        for (text, depends) in [
            ("\"abc\"".to_owned(), false),
            ("\"abc\n".to_owned(), false),
            (format!("\"{}", "x".repeat(REACH)), false),
            (format!("\"{}", "x".repeat(REACH - 1)), true),
            ("\"abc".to_owned(), true),
        ] {
            let mut fuel = Fuel::of(0);
            end_of_quoted(text.as_bytes(), 1, &mut fuel);
            assert_eq!(fuel.has_seen_end(), depends, "{text}");
        }
    }
}
