//! Whether base64 is the picture, document or sound it says it is. Only then may it pass unread.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Whether `data` is base64 throughout and begins as `media_type` says.
pub(crate) fn agrees(media_type: &str, data: &[u8]) -> bool {
    let digits = data.trim_ascii_end();
    let padding = digits.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let body = &digits[..digits.len() - padding];
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    if body.len() < HEAD || !body.iter().all(is_base64) {
        return false;
    }
    let Ok(head) = STANDARD.decode(&body[..HEAD]) else { return false };
    match media_type {
        "image/png" => head.starts_with(b"\x89PNG\r\n\x1a\n"),
        "image/jpeg" | "image/jpg" => head.starts_with(b"\xff\xd8\xff"),
        "image/gif" => head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a"),
        "image/webp" => is_riff(&head, b"WEBP"),
        "application/pdf" => head.starts_with(b"%PDF-"),
        "wav" | "audio/wav" => is_riff(&head, b"WAVE"),
        "mp3" | "audio/mpeg" => {
            head.starts_with(b"ID3") || matches!(head[..], [0xff, second, ..] if second >= 0xe0)
        }
        _ => false,
    }
}

/// Whether `url` is a `data:` URL whose base64 begins as its media type says.
pub(crate) fn is_honest_data_url(url: &[u8]) -> bool {
    let Some(rest) = url.strip_prefix(b"data:") else { return false };
    let Some(comma) = memchr::memchr(b',', rest) else { return false };
    let (head, data) = (&rest[..comma], &rest[comma + 1..]);
    let Some(media_type) = head.strip_suffix(b";base64") else { return false };
    str::from_utf8(media_type).is_ok_and(|media_type| agrees(media_type, data))
}

fn is_riff(head: &[u8], form: &[u8]) -> bool {
    head.starts_with(b"RIFF") && head.get(8..12) == Some(form)
}

/// Base64 digits looked at: twelve bytes, the longest of the magic numbers.
const HEAD: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i2_base64_is_media_only_where_its_magic_agrees() {
        let png = STANDARD.encode(b"\x89PNG\r\n\x1a\n and so on and on");
        assert!(agrees("image/png", png.as_bytes()));
        assert!(!agrees("image/jpeg", png.as_bytes()));
        assert!(!agrees("text/plain", png.as_bytes()));
        assert!(!agrees("image/png", b"AKIAIOSFODNN7EXAMPLE"));
        assert!(!agrees("image/png", format!("{png} AKIAIOSFODNN7EXAMPLE").as_bytes()));
        assert!(is_honest_data_url(format!("data:image/png;base64,{png}").as_bytes()));
        assert!(!is_honest_data_url(format!("data:image/gif;base64,{png}").as_bytes()));
        assert!(!is_honest_data_url(b"data:text/plain,AKIAIOSFODNN7EXAMPLE"));
    }
}
