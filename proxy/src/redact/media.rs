//! What a `Content-Type` says, and whether what says it is a picture, document or sound is one.
//! Only then may it pass unread.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::{Media, Policy};

/// A `Content-Type` or `Content-Disposition`, read strictly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// What stands in front of the parameters, in lower case.
    pub(crate) essence: String,
    /// Names in lower case, values as they are.
    parameters: Vec<(String, String)>,
}

/// Why a `Content-Type` is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// A charset other than UTF-8.
    Charset,
    /// A type that is not scanned, or none that can be read.
    Type,
}

impl Field {
    /// Reads `essence; name=value; name="value"`; `None` where a parser could read it otherwise:
    /// a parameter twice, a stray quote, a control character.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return None;
        }
        let (essence, mut rest) = text.split_once(';').unwrap_or((text, ""));
        let essence = essence.trim().to_ascii_lowercase();
        if !essence.bytes().all(|byte| is_token(byte) || byte == b'/') {
            return None;
        }
        let mut field = Self { essence, parameters: Vec::new() };
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                return Some(field);
            }
            if let Some(after) = rest.strip_prefix(';') {
                rest = after;
                continue;
            }
            let (name, after) = rest.split_once('=')?;
            let name = name.to_ascii_lowercase();
            if name.is_empty() || !name.bytes().all(is_token) || field.get(&name).is_some() {
                return None;
            }
            let (value, after) = value(after)?;
            field.parameters.push((name, value));
            rest = after.trim_start();
            if !(rest.is_empty() || rest.starts_with(';')) {
                return None;
            }
        }
    }

    /// The value of the parameter `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What a body of this type is; `None` where no type is given.
    ///
    /// # Errors
    ///
    /// [`NotTaken`].
    pub(crate) fn media(&self) -> Result<Option<Media>, NotTaken> {
        let is_utf8 = |charset: &str| {
            ["utf-8", "utf8", "us-ascii"].iter().any(|name| name.eq_ignore_ascii_case(charset))
        };
        if !self.get("charset").is_none_or(is_utf8) {
            return Err(NotTaken::Charset);
        }
        Ok(Some(match self.essence.as_str() {
            "" => return Ok(None),
            "application/x-ndjson"
            | "application/jsonl"
            | "application/x-jsonl"
            | "application/json-lines"
            | "application/jsonlines"
            | "text/jsonl"
            | "text/x-ndjson" => Media::JsonLines,
            "application/json" | "text/json" => Media::Json,
            "application/x-www-form-urlencoded" => Media::Form,
            "multipart/form-data" | "multipart/mixed" | "multipart/related" => Media::Multipart {
                boundary: self.boundary().ok_or(NotTaken::Type)?,
                is_form: self.essence == "multipart/form-data",
            },
            structured if structured.ends_with("+json") => Media::Json,
            text if text.starts_with("text/") => Media::Text,
            multipart if multipart.starts_with("multipart/") => return Err(NotTaken::Type),
            other if has_type_and_subtype(other) => Media::Binary(other.to_owned()),
            _ => return Err(NotTaken::Type),
        }))
    }

    /// The boundary, as RFC 2046 section 5.1.1 has it.
    fn boundary(&self) -> Option<String> {
        let boundary = self.get("boundary")?;
        let is_allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
        let fits = (1..=70).contains(&boundary.len())
            && boundary.bytes().all(is_allowed)
            && !boundary.ends_with(' ');
        fits.then(|| boundary.to_owned())
    }
}

/// What a body of this `Content-Type` is: JSON where it names no type.
///
/// # Errors
///
/// [`NotTaken`].
pub fn media_type(text: &str) -> Result<Media, NotTaken> {
    let field = Field::parse(text).ok_or(NotTaken::Type)?;
    Ok(field.media()?.unwrap_or(Media::Json))
}

/// The parameter value that starts `text`, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.bytes().position(|byte| !is_token(byte)).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => {
                // Kept, so that nothing that has one is taken for a boundary: some drop it.
                value.push(char);
                value.push(chars.next()?.1);
            }
            _ => value.push(char),
        }
    }
    None
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn has_type_and_subtype(essence: &str) -> bool {
    essence.split_once('/').is_some_and(|(kind, subtype)| {
        !kind.is_empty() && !subtype.is_empty() && !subtype.contains('/')
    })
}

/// Whether `media_type` may pass unread at all.
pub(crate) fn is_allowed(policy: &Policy, media_type: &str) -> bool {
    policy.media().iter().any(|allowed| canonical(allowed) == canonical(media_type))
}

/// Whether `data` is binary, and begins as `media_type` says.
pub(crate) fn is_binary(media_type: &str, data: &[u8]) -> bool {
    begins_as(media_type, data) && str::from_utf8(data).is_err()
}

/// Whether `media_type` may pass unread, and `data` is base64 throughout of something binary that
/// begins as it says.
pub(crate) fn agrees(policy: &Policy, media_type: &str, data: &[u8]) -> bool {
    if !is_allowed(policy, media_type) {
        return false;
    }
    let digits = data.trim_ascii_end();
    let padding = digits.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let body = &digits[..digits.len() - padding];
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    if body.len() < HEAD || !body.iter().all(is_base64) {
        return false;
    }
    let Ok(head) = STANDARD.decode(&body[..HEAD]) else { return false };
    begins_as(media_type, &head) && !is_text(body)
}

/// Whether base64 digits stand for UTF-8, or for nothing. Those of real media show within a few
/// bytes that they do not.
fn is_text(digits: &[u8]) -> bool {
    let mut cut = Vec::with_capacity(PIECE);
    for piece in digits.chunks(PIECE) {
        if STANDARD_NO_PAD.decode_vec(piece, &mut cut).is_err() {
            return true;
        }
        match str::from_utf8(&cut) {
            Ok(_) => cut.clear(),
            Err(error) if error.error_len().is_some() => return false,
            Err(error) => drop(cut.drain(..error.valid_up_to())),
        }
    }
    cut.is_empty()
}

/// The one name of a type that has several. OpenAI names formats of sound without their class.
fn canonical(media_type: &str) -> &str {
    match media_type {
        "image/jpg" => "image/jpeg",
        "mp3" | "audio/mp3" => "audio/mpeg",
        "wav" | "audio/x-wav" | "audio/wave" => "audio/wav",
        "audio/x-flac" => "audio/flac",
        "audio/m4a" | "audio/x-m4a" => "audio/mp4",
        other => other,
    }
}

/// The media types of which the magic number is known, by the first of their names.
pub(crate) const KNOWN: [&str; 13] = [
    "application/pdf",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "audio/webm",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "video/mp4",
    "video/webm",
];

/// Whether it is known how media of `media_type` begin.
pub(crate) fn has_magic(media_type: &str) -> bool {
    magic(media_type).is_some()
}

/// Whether `head` starts with the magic number of `media_type`.
fn begins_as(media_type: &str, head: &[u8]) -> bool {
    magic(media_type).is_some_and(|is_there| is_there(head))
}

/// Tells the magic number of `media_type`.
fn magic(media_type: &str) -> Option<fn(&[u8]) -> bool> {
    let is_there: fn(&[u8]) -> bool = match canonical(media_type) {
        "image/png" => |head| head.starts_with(b"\x89PNG\r\n\x1a\n"),
        "image/jpeg" => |head| head.starts_with(b"\xff\xd8\xff"),
        "image/gif" => |head| head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a"),
        "image/webp" => |head| is_riff(head, b"WEBP"),
        "application/pdf" => |head| head.starts_with(b"%PDF-"),
        "audio/wav" => |head| is_riff(head, b"WAVE"),
        "audio/mpeg" => {
            |head| head.starts_with(b"ID3") || matches!(head, [0xff, second, ..] if *second >= 0xe0)
        }
        "audio/ogg" => |head| head.starts_with(b"OggS"),
        "audio/flac" => |head| head.starts_with(b"fLaC"),
        "audio/webm" | "video/webm" => |head| head.starts_with(b"\x1a\x45\xdf\xa3"),
        "audio/mp4" | "video/mp4" => |head| head.get(4..8) == Some(b"ftyp"),
        _ => return None,
    };
    Some(is_there)
}

/// Whether `url` is a `data:` URL whose base64 begins as its media type says.
pub(crate) fn is_honest_data_url(policy: &Policy, url: &[u8]) -> bool {
    let Some(rest) = url.strip_prefix(b"data:") else { return false };
    let Some(comma) = memchr::memchr(b',', rest) else { return false };
    let (head, data) = (&rest[..comma], &rest[comma + 1..]);
    let Some(media_type) = head.strip_suffix(b";base64") else { return false };
    str::from_utf8(media_type).is_ok_and(|media_type| agrees(policy, media_type, data))
}

fn is_riff(head: &[u8], form: &[u8]) -> bool {
    head.starts_with(b"RIFF") && head.get(8..12) == Some(form)
}

/// Base64 digits looked at: twelve bytes, the longest of the magic numbers.
const HEAD: usize = 16;

/// Base64 digits decoded at once, a multiple of four.
const PIECE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i2_base64_is_media_only_where_its_magic_agrees() {
        let policy = Policy::built_in().unwrap();
        let png = STANDARD.encode(b"\x89PNG\r\n\x1a\n and so on and on");
        assert!(agrees(&policy, "image/png", png.as_bytes()));
        assert!(!agrees(&policy, "image/jpeg", png.as_bytes()));
        assert!(!agrees(&policy, "text/plain", png.as_bytes()));
        assert!(!agrees(&policy, "image/png", b"AKIAIOSFODNN7EXAMPLE"));
        assert!(!agrees(&policy, "image/png", format!("{png} AKIAIOSFODNN7EXAMPLE").as_bytes()));
        assert!(is_honest_data_url(&policy, format!("data:image/png;base64,{png}").as_bytes()));
        assert!(!is_honest_data_url(&policy, format!("data:image/gif;base64,{png}").as_bytes()));
        let strict = Policy::load(Some(("p.yaml", "media: [image/jpeg, audio/mpeg]"))).unwrap();
        assert!(!agrees(&strict, "image/png", png.as_bytes()));
        assert!(is_allowed(&strict, "image/jpg") && is_allowed(&strict, "mp3"));
        assert!(!is_honest_data_url(&policy, b"data:text/plain,AKIAIOSFODNN7EXAMPLE"));
    }

    #[test]
    fn i2_text_that_begins_like_media_is_text() {
        let policy = Policy::built_in().unwrap();
        for length in [0, 1, 700, 800, 5000] {
            let text = format!("%PDF-1.7 {}é", "x".repeat(length));
            assert!(!agrees(&policy, "application/pdf", STANDARD.encode(&text).as_bytes()));
            assert!(!is_binary("application/pdf", text.as_bytes()));
            let pdf = [text.as_bytes(), b"\xe2\xe3\xcf\xd3 and on"].concat();
            assert!(agrees(&policy, "application/pdf", STANDARD.encode(&pdf).as_bytes()));
            assert!(is_binary("application/pdf", &pdf));
        }
    }

    #[test]
    fn reads_a_content_type_as_every_parser_does_or_not_at_all() {
        let boundary = |text: &str| match Field::parse(text)?.media().ok()?? {
            Media::Multipart { boundary, .. } => Some(boundary),
            _ => None,
        };
        for (text, expected) in [
            ("multipart/form-data; boundary=aB-1", "aB-1"),
            ("Multipart/Form-Data;Boundary=\"a b:c\"", "a b:c"),
            ("multipart/mixed; boundary=x; charset=utf-8;", "x"),
        ] {
            assert_eq!(boundary(text).as_deref(), Some(expected), "{text}");
        }
        let long = format!("multipart/form-data; boundary={}", "a".repeat(71));
        for text in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"\"",
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; boundary=a; BOUNDARY=a",
            "multipart/form-data; boundary=a b",
            "multipart/form-data; boundary=\"a",
            "multipart/form-data; boundary=\"a \"",
            "multipart/form-data; boundary=\"a\\b\"",
            "multipart/form-data; boundary=\"a\"b",
            "multipart/form-data; boundary=a@b",
            "multipart/form-data; boundary = a",
            "multipart/form-data; boundary=é",
            "multipart/form-data, multipart/form-data; boundary=a",
            "multipart/form-data; charset=utf-16; boundary=a",
            &long,
        ] {
            assert_eq!(boundary(text), None, "{text}");
        }
    }
}
