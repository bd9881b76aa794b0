//! `.env` files: what a shell would assign, without running one.

use zeroize::Zeroizing;

/// A line `NAME=VALUE`.
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: Zeroizing<String>,
}

/// The settings of a file, or the number of the first line that is none. Known are comments,
/// `export`, single quotes (as it stands), double quotes (with escapes, over several lines), and
/// bare values, which end before ` #`.
pub(crate) fn parse(text: &str) -> Result<Vec<Setting>, usize> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut settings = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let number = text[..text.len() - rest.len()].matches('\n').count() + 1;
        let line = rest.lines().next().unwrap_or_default();
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            rest = behind_line(rest);
            continue;
        }
        let (name, value) = trimmed.split_once('=').ok_or(number)?;
        let name = name.trim_end();
        let name = name.strip_prefix("export ").map_or(name, str::trim_start);
        if !is_name(name) {
            return Err(number);
        }
        let value = &rest[offset(rest, value)..];
        let (value, behind) = value_of(value).ok_or(number)?;
        settings.push(Setting { name: name.to_owned(), value });
        rest = behind;
    }
    Ok(settings)
}

/// Where `part` starts in `whole`, which it is a part of.
fn offset(whole: &str, part: &str) -> usize {
    part.as_ptr().addr() - whole.as_ptr().addr()
}

fn behind_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, behind)| behind)
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    !name.is_empty() && name.bytes().all(is_part) && !name.as_bytes()[0].is_ascii_digit()
}

/// The value that `text` begins with, and what is behind its line.
fn value_of(text: &str) -> Option<(Zeroizing<String>, &str)> {
    let text = text.trim_start_matches([' ', '\t']);
    let (value, behind) = match text.as_bytes().first() {
        Some(b'\'') => {
            let (value, behind) = text[1..].split_once('\'')?;
            (Zeroizing::new(value.to_owned()), behind)
        }
        Some(b'"') => double_quoted(&text[1..])?,
        _ => {
            let line = text.lines().next().unwrap_or_default();
            let end = line.find(" #").or_else(|| line.find("\t#")).unwrap_or(line.len());
            let end = if line.starts_with('#') { 0 } else { end };
            return Some((Zeroizing::new(line[..end].trim_end().to_owned()), behind_line(text)));
        }
    };
    let left = behind.lines().next().unwrap_or_default().trim_start();
    (left.is_empty() || left.starts_with('#')).then(|| (value, behind_line(behind)))
}

fn double_quoted(text: &str) -> Option<(Zeroizing<String>, &str)> {
    let mut value = Zeroizing::new(String::with_capacity(text.len()));
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                '\n' => {}
                escaped @ ('"' | '\\' | '$' | '`') => value.push(escaped),
                other => {
                    value.push('\\');
                    value.push(other);
                }
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let settings = parse(text).unwrap().into_iter();
        settings.map(|setting| (setting.name, setting.value.to_string())).collect()
    }

    #[test]
    fn reads_what_env_files_hold() {
        let text = "\u{feff}# a comment\n\nA=plain value # not this\r\nexport B='sin#gle \\n'\n  C = \"dou\\\"ble\\n\\$x\" # c\nD=\"two\nlines\"\nE=\nF=a#b\nG=#\nH=\"a\\qb\"";
        let expected = [
            ("A", "plain value"),
            ("B", "sin#gle \\n"),
            ("C", "dou\"ble\n$x"),
            ("D", "two\nlines"),
            ("E", ""),
            ("F", "a#b"),
            ("G", ""),
            ("H", "a\\qb"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs(text), expected);
        assert_eq!(pairs(""), []);
    }

    #[test]
    fn says_which_line_it_does_not_understand() {
        for (text, line) in [
            ("A=1\nnothing here\n", 2),
            ("A=\"open", 1),
            ("A='open\n", 1),
            ("A=\"x\ny\"\n=1", 3),
            ("A='x' y", 1),
            ("1A=x", 1),
        ] {
            assert_eq!(parse(text).err(), Some(line), "{text}");
        }
    }
}
