//! Where a private key block ends, in whatever shape an agent read it: real or literal newlines,
//! indentation, line numbers or diff marks in front, a missing END.

use std::ops::Range;

use memchr::memmem;

use super::form::{Exhausted, Fuel};

/// The end of the block whose BEGIN line ends at `at`.
///
/// With an END line before the next BEGIN, everything up to it belongs to the block. Without one,
/// the lines that look like its body do.
pub(crate) fn end_of_block(text: &[u8], at: usize, fuel: &mut Fuel) -> Result<usize, Exhausted> {
    let window = &text[at..text.len().min(at + WINDOW)];
    let window = &window[..next_begin(window).unwrap_or(window.len())];
    fuel.burn(window.len())?;
    let end = |mark: &[u8], close: &[u8]| {
        let mut marks = memmem::find_iter(window, mark);
        marks.find_map(|end| end_line(window, end + mark.len(), close)).map(|end| at + end)
    };
    let first = end(b"-----END ", b"-----");
    // What stands behind such a line changes nothing, but for a BEGIN that shares its dashes.
    if first.is_none_or(|end| text.len() < end + b"BEGIN ".len()) {
        fuel.see_end();
    }
    if let Some(end) = first.or_else(|| end(b"---- END ", b" ----")) {
        return Ok(end);
    }
    let end = end_of_body(text, at, false);
    fuel.burn(end - at)?;
    Ok(end)
}

/// Where the next block begins: one search, or many beginnings of one kind would each be followed
/// to the end of the window for one of the other. SSH2 has four dashes and a blank.
fn next_begin(window: &[u8]) -> Option<usize> {
    memmem::find_iter(window, b"BEGIN ").find_map(|at| {
        let before = &window[..at];
        (before.ends_with(b"-----") || before.ends_with(b"---- ")).then(|| at - 5)
    })
}

/// Whether `block` begins a key and does not end it.
pub(crate) fn is_open(block: &[u8]) -> bool {
    let holds = |mark: &[u8]| memmem::find(block, mark).is_some();
    (block.starts_with(b"-----BEGIN ") || block.starts_with(b"---- BEGIN "))
        && !holds(b"-----END ")
        && !holds(b"---- END ")
}

/// What a string that follows an open key is to it, where its lines are strings of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Follows {
    /// Nothing of it.
    Not,
    /// It ends it, and may have more of it in front.
    Ends(Range<usize>),
    /// This is more of it.
    GoesOn(Range<usize>),
}

/// What `text` is to an open key in front of it.
///
/// # Errors
///
/// [`Exhausted`].
pub(crate) fn follows(text: &[u8], fuel: &mut Fuel) -> Result<Follows, Exhausted> {
    let start = skip_marks(text, 0);
    let rest = &text[start..];
    if rest.starts_with(b"-----END ") || rest.starts_with(b"---- END ") {
        return Ok(Follows::Ends(0..0));
    }
    let first = rest.iter().position(ends_line).unwrap_or(rest.len());
    if !is_header(rest) && !is_drawn(&rest[..first]) {
        return Ok(Follows::Not);
    }
    let end = end_of_body(text, start, true);
    fuel.burn(end - start)?;
    let behind = skip_marks(text, end);
    if behind == text.len() {
        return Ok(if end > start { Follows::GoesOn(start..end) } else { Follows::Not });
    }
    Ok(Follows::Ends(start..end))
}

/// Whether `line` looks like a line of base64 and not like a word, a path or a number.
fn is_drawn(line: &[u8]) -> bool {
    let has = |wanted: fn(&u8) -> bool| line.iter().any(wanted);
    line.ends_with(b"=")
        || (line.len() >= SHORTEST_DRAWN
            && has(u8::is_ascii_uppercase)
            && has(u8::is_ascii_lowercase)
            && has(u8::is_ascii_digit))
}

/// The end of the private key's END line whose label starts at `label`.
fn end_line(text: &[u8], label: usize, close: &[u8]) -> Option<usize> {
    let rest = &text[label..text.len().min(label + LABEL_MAX)];
    let dashes = memmem::find(rest, close)?;
    memmem::find(&rest[..dashes], b"PRIVATE KEY")?;
    Some(label + dashes + close.len())
}

/// The end of the PuTTY key whose header (or whose private lines') begins before `at`: with a MAC
/// line it ends there, without one the lines that look like its body do.
pub(crate) fn end_of_putty(text: &[u8], at: usize, fuel: &mut Fuel) -> Result<usize, Exhausted> {
    let window = &text[at..text.len().min(at + WINDOW)];
    let next = memmem::find(window, b"PuTTY-User-Key-File-");
    let window = &window[..next.unwrap_or(window.len())];
    fuel.burn(window.len())?;
    fuel.see_end();
    if let Some(mac) = memmem::find(window, PUTTY_MAC) {
        let digits = mac + PUTTY_MAC.len();
        let length = window[digits..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        return Ok(at + digits + length);
    }
    // The rest of the line that the expression only began.
    let line = text[at..].iter().position(ends_header).unwrap_or(text.len() - at);
    let end = end_of_body(text, at + line, false);
    fuel.burn(end - at)?;
    Ok(end.max(at + line.min(PUTTY_LINE_MAX)))
}

/// The end of the run of body lines that follows `at`, and maybe a full line in front of it.
fn end_of_body(text: &[u8], mut at: usize, mut after_full_line: bool) -> usize {
    let mut end = at;
    loop {
        let Some(line) = next_line(text, at) else { return end };
        let content = &text[line.content.clone()];
        let is_blank = content.is_empty();
        if !is_blank && !is_header(content) {
            let is_long = content.len() >= SHORTEST_FULL_LINE;
            // The last line is short; so is a word of the prose behind it.
            let is_last =
                after_full_line && (content.ends_with(b"=") || text.get(line.next) != Some(&b' '));
            if !(is_long || is_last) {
                return end;
            }
            after_full_line = is_long;
        }
        if !is_blank {
            end = line.content.end;
        }
        if line.next == at {
            return end;
        }
        at = line.next;
    }
}

struct Line {
    content: Range<usize>,
    next: usize,
}

/// The line behind the line break (or blanks) at `at`, without its marks; `None` at the end.
fn next_line(text: &[u8], at: usize) -> Option<Line> {
    let start = skip_marks(text, at);
    if start >= text.len() {
        return None;
    }
    let rest = &text[start..];
    let is_end = if is_header(rest) { ends_header } else { ends_line };
    let length = rest.iter().position(is_end).unwrap_or(rest.len());
    Some(Line { content: start..start + length, next: start + length })
}

/// Whether a body line ends at `byte`: a real or literal line break, what closes the string or array
/// that holds it, or anything else that is not base64.
fn ends_line(byte: &u8) -> bool {
    !is_base64(*byte)
}

fn ends_header(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r' | b'"' | b'\\')
}

/// Skips line breaks, indentation, diff and quote marks and line numbers.
pub(super) fn skip_marks(text: &[u8], mut at: usize) -> usize {
    loop {
        let rest = &text[at..];
        at +=
            match rest {
                [
                    b' ' | b'\t' | b'\n' | b'\r' | b'>' | b'|' | b'#' | b'*' | b'"' | b'\'' | b','
                    | b';',
                    ..,
                ] => 1,
                [b'\\', b'n' | b'r' | b't' | b'\\' | b'"' | b'\n' | b'\r', ..] => {
                    if rest[1] == b'\\' { 1 } else { 2 }
                }
                [b'+' | b'-', ..] if rest.get(1) != Some(&b'-') && at_line_start(text, at) => 1,
                _ => match line_number(rest) {
                    Some(length) => length,
                    None => return at,
                },
            };
    }
}

/// Whether only blanks separate `at` from a line break: a `+` elsewhere is base64.
fn at_line_start(text: &[u8], at: usize) -> bool {
    let before = text[..at].trim_ascii_end();
    let blanks = &text[before.len()..at];
    blanks.contains(&b'\n') || before.ends_with(b"\\n") || before.is_empty()
}

/// The length of a line number and its separator: `12<tab>`, `12→`, `12:`, `12|`, `12-`, `12 `.
fn line_number(text: &[u8]) -> Option<usize> {
    let digits = text.iter().take(8).take_while(|byte| byte.is_ascii_digit()).count();
    let rest = &text[digits..];
    match rest {
        _ if digits == 0 || digits > 7 => None,
        [b'\t' | b':' | b'|' | b' ' | b'-', ..] => Some(digits + 1),
        [b'\\', b't', ..] => Some(digits + 2),
        _ if rest.starts_with("→".as_bytes()) => Some(digits + "→".len()),
        _ if rest.starts_with(b"\\u2192") => Some(digits + b"\\u2192".len()),
        _ => None,
    }
}

/// `Proc-Type: 4,ENCRYPTED`, `DEK-Info: …`, `Version: …`, `Comment: …`.
fn is_header(line: &[u8]) -> bool {
    HEADERS.iter().any(|header| line.starts_with(header))
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// How far from its BEGIN an END line is looked for, in bytes: ten times a large PGP key.
const WINDOW: usize = 512 * 1024;

/// Longest label of an END line, in bytes.
const LABEL_MAX: usize = 64;

/// Words of prose are shorter than a line of base64.
const SHORTEST_FULL_LINE: usize = 24;

/// Shortest last line that is told from a word.
const SHORTEST_DRAWN: usize = 8;

/// What seals a PuTTY key.
const PUTTY_MAC: &[u8] = b"Private-MAC: ";

/// Longest of the lines that begin a PuTTY key.
const PUTTY_LINE_MAX: usize = 64;

const HEADERS: &[&[u8]] = &[
    b"Proc-Type:",
    b"DEK-Info:",
    b"Version:",
    b"Comment:",
    b"Charset:",
    b"Hash:",
    b"MessageID:",
    b"Subject:",
    b"Encryption:",
    b"Public-Lines:",
    b"Private-Lines:",
    b"Key-Derivation:",
    b"Argon2-",
];

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "-----BEGIN RSA PRIVATE KEY-----";
    const LINE: &str = "MIIEowIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF0PbnGy0AHB7MhgHcTz6sE2I+abc";

    fn block(text: &str) -> &str {
        let begin = text.find(BEGIN).unwrap();
        let end =
            end_of_block(text.as_bytes(), begin + BEGIN.len(), &mut Fuel::of(text.len())).unwrap();
        &text[begin..end]
    }

    #[test]
    fn runs_to_the_end_line_over_anything_between() {
        let key = format!("{BEGIN}\n  12\t{LINE}\r\n> …\n-----END RSA PRIVATE KEY-----");
        assert_eq!(block(&format!("a {key} b")), key);
    }

    #[test]
    fn without_an_end_covers_the_lines_that_look_like_a_body() {
        for joint in [
            "\n",
            "\r\n",
            "\\n",
            "\\r\\n",
            "\\\\n",
            "\n   ",
            "\n\n",
            "\n    12\t",
            "\n12→",
            "\n+",
            "\n-",
            "\n> ",
            "\n12:",
            "\n12-",
            "\\n12\\t",
            "\",\n  \"",
        ] {
            let key = [BEGIN, "Proc-Type: 4,ENCRYPTED", LINE, LINE, "AbC="].join(joint);
            for after in [
                "",
                "\nThat was it.",
                "\\nThat was it.",
                "\"}",
                "\n$ ls",
                "\n-----BEGIN CERTIFICATE-----",
            ] {
                assert_eq!(block(&format!("x {key}{after}")), key, "{joint:?} {after:?}");
            }
        }
    }

    #[test]
    fn without_an_end_stops_where_base64_does() {
        let key = format!("{BEGIN}\n{LINE}\n{LINE}\nAbCd");
        for after in
            ["密", ":", ".", ";", "&x", "|", "]", ")", "}", "%20", "é", "\u{1b}[0m", "-", "@host"]
        {
            assert_eq!(block(&format!("{key}{after}")), key, "{after:?}");
        }
    }

    #[test]
    fn an_ssh2_key_ends_at_its_own_end_line() {
        let begin = "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----";
        let key =
            format!("{begin}\nComment: \"x\"\n{LINE}\n---- END SSH2 ENCRYPTED PRIVATE KEY ----");
        let text = format!("{key}\nmore");
        let end = end_of_block(text.as_bytes(), begin.len(), &mut Fuel::of(0)).unwrap();
        assert_eq!(&text[..end], key);
    }

    #[test]
    fn a_putty_key_ends_at_its_mac_or_with_its_lines() {
        let head = "PuTTY-User-Key-File-3:";
        let lines = format!(
            "{head} ssh-ed25519\nEncryption: none\nComment: x\nPublic-Lines: 1\n{LINE}\nPrivate-Lines: 1\n{LINE}"
        );
        for key in [format!("{lines}\nPrivate-MAC: 0123456789abcdef"), lines] {
            let text = format!("{key}\n\nThat was it.");
            let end = end_of_putty(text.as_bytes(), head.len(), &mut Fuel::of(0)).unwrap();
            assert_eq!(&text[..end], key);
        }
        let prose = format!("{head} is how such a file starts");
        let end = end_of_putty(prose.as_bytes(), head.len(), &mut Fuel::of(0)).unwrap();
        assert!(end <= head.len() + PUTTY_LINE_MAX);
    }

    #[test]
    fn what_follows_an_open_key_goes_on_with_it_ends_it_or_is_something_else() {
        let of = |text: &str| follows(text.as_bytes(), &mut Fuel::of(text.len())).unwrap();
        let all = |text: &str| Follows::GoesOn(0..text.len());
        for line in [LINE, "AbCdEf==", "AbCdEf01", "Proc-Type: 4,ENCRYPTED"] {
            assert_eq!(of(line), all(line), "{line}");
        }
        assert_eq!(of(&format!("  12\t{LINE}\n")), Follows::GoesOn(5..5 + LINE.len()));
        assert_eq!(of("-----END RSA PRIVATE KEY-----"), Follows::Ends(0..0));
        for end in ["\n-----END RSA PRIVATE KEY-----", "\nThat was it."] {
            assert_eq!(of(&format!("{LINE}{end}")), Follows::Ends(0..LINE.len()));
        }
        for other in
            ["", "text", "ephemeral", "crates/protocol/evidence/verify", "12345678", "That was it."]
        {
            assert_eq!(of(other), Follows::Not, "{other}");
        }
    }

    #[test]
    fn the_next_block_is_the_nearest_of_either_kind() {
        let ssh2 = "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----";
        for (text, at) in [
            (format!("a {BEGIN} {ssh2}"), Some(2)),
            (format!("BEGIN a{ssh2} {BEGIN}"), Some(7)),
            ("-- BEGIN BEGIN ".to_owned(), None),
            ("BEGIN ".to_owned(), None),
        ] {
            assert_eq!(next_begin(text.as_bytes()), at, "{text}");
        }
    }

    #[test]
    fn only_a_key_without_its_end_is_open() {
        assert!(is_open(format!("{BEGIN}\n{LINE}").as_bytes()));
        assert!(!is_open(format!("{BEGIN}\n{LINE}\n-----END RSA PRIVATE KEY-----").as_bytes()));
        assert!(!is_open(b"PuTTY-User-Key-File-3: x"));
    }

    #[test]
    fn does_not_take_prose_for_a_body() {
        assert_eq!(block(&format!("{BEGIN} is how such a file starts")), BEGIN);
        assert_eq!(block(BEGIN), BEGIN);
    }

    #[test]
    fn a_block_without_end_stops_before_the_next_one() {
        let text = format!("{BEGIN}\n{LINE}\n{BEGIN}\n{LINE}\n-----END RSA PRIVATE KEY-----");
        assert_eq!(block(&text), format!("{BEGIN}\n{LINE}"));
    }
}
