//! `multipart/form-data` and its kin (RFC 2046, RFC 7578), read so strictly that no other parser
//! can find other parts in the same bytes.

use std::ops::Range;

use memchr::memmem;

use super::media::{Field, NotTaken};
use super::scan::Scope;
use super::splice::{Replacement, shift};
use super::walk::Walk;
use super::{Malformed, Media, Refusal, binary, readable};

/// A multipart body, cut into parts.
struct Cut {
    /// In front of the first delimiter, and behind the last.
    outside: [Range<usize>; 2],
    /// What stands between two delimiters: headers, an empty line and content.
    parts: Vec<Range<usize>>,
}

/// The headers of a part.
#[derive(Default)]
struct Head {
    content_type: Option<Field>,
    disposition: Option<Field>,
    /// The number, and where it stands.
    length: Option<(usize, Range<usize>)>,
}

/// The replacements that make `body` fit to leave.
///
/// # Errors
///
/// A [`Refusal`], also where one part cannot be scanned.
pub(crate) fn replacements(
    walk: &mut Walk<'_>,
    boundary: &str,
    is_form: bool,
    body: &[u8],
) -> Result<Vec<Replacement>, Refusal> {
    let Cut { outside, parts } = cut(body, boundary).map_err(Refusal::Malformed)?;
    for outside in outside {
        let text = &body[outside];
        if str::from_utf8(text).is_err() {
            return Err(Refusal::Charset);
        }
        walk.refuse_secrets(text, "multipart.outside", Scope::Text)?;
    }
    let mut all = Vec::new();
    for part in parts {
        all.extend(shift(self::part(walk, is_form, &body[part.clone()])?, part.start));
    }
    Ok(all)
}

/// Cuts `body` at its delimiters. What looks like one anywhere else is refused: a parser that does
/// not mind the line break in front of it, or what follows it, would cut there.
fn cut(body: &[u8], boundary: &str) -> Result<Cut, Malformed> {
    let dashed = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut open = None;
    let mut closed = None;
    let mut preamble = 0;
    for at in memmem::find_iter(body, dashed.as_bytes()) {
        let starts_line = at == 0 || body[..at].ends_with(b"\r\n");
        let after = &body[at + dashed.len()..];
        if !starts_line || closed.is_some() {
            return Err(Malformed::Boundary);
        }
        let end = at.saturating_sub(2);
        match open {
            None => preamble = end,
            Some(start) if start > end => return Err(Malformed::PartHead),
            Some(start) => parts.push(start..end),
        }
        if after.starts_with(b"\r\n") {
            open = Some(at + dashed.len() + 2);
        } else if open.is_some() && (after == b"--" || after.starts_with(b"--\r\n")) {
            closed = Some(at + dashed.len() + 2);
        } else {
            return Err(Malformed::Boundary);
        }
    }
    let end = closed.ok_or(Malformed::Unclosed)?;
    Ok(Cut { outside: [0..preamble, end..body.len()], parts })
}

/// The replacements for one part: headers, empty line, content.
fn part(walk: &mut Walk<'_>, is_form: bool, part: &[u8]) -> Result<Vec<Replacement>, Refusal> {
    let (lines, start) = if part.starts_with(b"\r\n") {
        (&part[..0], 2)
    } else {
        let end = memmem::find(part, b"\r\n\r\n").filter(|end| *end <= HEAD_MAX);
        let end = end.ok_or(Refusal::Malformed(Malformed::PartHead))?;
        (&part[..end], end + 4)
    };
    walk.refuse_secrets(lines, "multipart.header", Scope::Structured)?;
    let head = head(lines)?;
    let content = &part[start..];
    if is_form {
        check_disposition(head.disposition.as_ref(), content)?;
    }
    if head.length.as_ref().is_some_and(|(length, _)| *length != content.len()) {
        return Err(Refusal::Malformed(Malformed::PartHead));
    }
    let mut inner = self::content(walk, &head, content)?;
    // What a field's name says of its value counts too, as in any form.
    if let Some(name) = head.disposition.as_ref().and_then(|field| field.get("name"))
        && inner.is_empty()
        && content.len() <= VALUE_MAX
        && str::from_utf8(content).is_ok()
    {
        inner = walk.named(name.as_bytes(), content, "multipart")?;
    }
    let mut all = Vec::with_capacity(inner.len() + 1);
    if let Some((length, range)) = head.length.filter(|_| !inner.is_empty()) {
        let grown: usize = inner.iter().map(|replacement| replacement.text.len()).sum();
        let shrunk: usize = inner.iter().map(|replacement| replacement.range.len()).sum();
        let text = (length + grown - shrunk).to_string();
        all.push(Replacement { range, text, finding: None });
    }
    all.extend(shift(inner, start));
    Ok(all)
}

/// Reads a part's headers.
fn head(lines: &[u8]) -> Result<Head, Refusal> {
    const NO_HEAD: Refusal = Refusal::Malformed(Malformed::PartHead);
    let lines = str::from_utf8(lines).map_err(|_| Refusal::Charset)?;
    let mut head = Head::default();
    let mut names: Vec<String> = Vec::new();
    let mut at = 0;
    for line in lines.split("\r\n").filter(|_| !lines.is_empty()) {
        let start = at;
        at += line.len() + 2;
        // A control character is a bare line end, or worse; a leading blank folds a header.
        let (name, value) = line.split_once(':').ok_or(NO_HEAD)?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_line = !line.chars().any(|char| char.is_control() && char != '\t');
        let name = name.to_ascii_lowercase();
        let is_new = !names.contains(&name) && names.len() < HEADERS_MAX;
        if !is_line || !is_new || name.is_empty() || !name.bytes().all(is_name) {
            return Err(NO_HEAD);
        }
        let value = value.trim();
        match name.as_str() {
            "content-type" => {
                head.content_type = Some(Field::parse(value).ok_or(NO_HEAD)?);
            }
            "content-disposition" => {
                head.disposition = Some(Field::parse(value).ok_or(NO_HEAD)?);
            }
            "content-transfer-encoding" => {
                let is_plain = |name: &&str| name.eq_ignore_ascii_case(value);
                if !["7bit", "8bit", "binary"].iter().any(is_plain) {
                    return Err(Refusal::Malformed(Malformed::PartEncoding));
                }
            }
            "content-length" => {
                let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                let length = value.parse().ok().filter(|_| digits).ok_or(NO_HEAD)?;
                let end = start + line.trim_end().len();
                head.length = Some((length, end - value.len()..end));
            }
            "content-id" | "content-description" => {}
            // An encoding, or a digest that a replaced secret would break.
            other if other.starts_with("content-") => {
                return Err(Refusal::Malformed(Malformed::PartEncoding));
            }
            _ => {}
        }
        names.push(name);
    }
    Ok(head)
}

/// Checks what makes a part a field of a form.
fn check_disposition(disposition: Option<&Field>, content: &[u8]) -> Result<(), Refusal> {
    let name = disposition
        .filter(|field| field.essence == "form-data")
        .and_then(|field| field.get("name"))
        .ok_or(Refusal::Malformed(Malformed::PartHead))?;
    // What a form may set all its fields' charset with.
    if name == "_charset_" && !content.eq_ignore_ascii_case(b"utf-8") {
        return Err(Refusal::Charset);
    }
    Ok(())
}

/// The replacements for a part's content, read as its own type says.
fn content(walk: &mut Walk<'_>, head: &Head, content: &[u8]) -> Result<Vec<Replacement>, Refusal> {
    let media = match &head.content_type {
        None => None,
        Some(field) if field.essence.starts_with("message/") => return Err(Refusal::Media),
        Some(field) => field.media().map_err(|not| match not {
            NotTaken::Charset => Refusal::Charset,
            NotTaken::Type => Refusal::Media,
        })?,
    };
    match media {
        Some(Media::Multipart { .. }) => Err(Refusal::Malformed(Malformed::Nested)),
        Some(Media::Binary(essence)) => {
            if binary(walk, &essence, content)? {
                return Ok(Vec::new());
            }
            // Many clients know no better type for a file of text.
            by_name(walk, head, content).map_err(|refusal| match refusal {
                Refusal::Charset => Refusal::Media,
                other => other,
            })
        }
        None | Some(Media::Text) => by_name(walk, head, content),
        Some(media @ (Media::Json | Media::JsonLines | Media::Form)) => {
            readable(walk, &media, content)
        }
    }
}

/// Reads text as JSON where its file name says so and it is.
fn by_name(walk: &mut Walk<'_>, head: &Head, content: &[u8]) -> Result<Vec<Replacement>, Refusal> {
    let name = head.disposition.as_ref().and_then(|field| field.get("filename"));
    let extension = name.and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension);
    let named = match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("jsonl" | "ndjson") => Media::JsonLines,
        Some("json") => Media::Json,
        _ => Media::Text,
    };
    match readable(walk, &named, content) {
        Err(Refusal::Unparseable { .. }) => readable(walk, &Media::Text, content),
        read => read,
    }
}

/// Longest value that its field's name may make a secret, in bytes.
const VALUE_MAX: usize = 4096;

/// Most headers of a part.
const HEADERS_MAX: usize = 32;

/// Longest head of a part, in bytes.
const HEAD_MAX: usize = 16 * 1024;
