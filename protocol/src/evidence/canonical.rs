//! Canonical JSON: RFC 8785 restricted so that three unrelated tools print the same bytes.
//!
//! The restrictions (evidence format, section 4.3): numbers are integers in 0 … 2^53 − 1; keys match
//! `[a-z0-9_]{1,40}`, those inside `types_seen` `[A-Z0-9_]{1,40}`; no U+007F (`jq` escapes it, RFC
//! 8785 does not); no duplicate keys; at most four levels of nesting. Under them `jq -cS .` and
//! Python's `json.dumps(sort_keys=True, separators=(",", ":"), ensure_ascii=False)` agree with
//! [`write()`].
//!
//! [`parse`] never repairs: it accepts exactly the bytes that [`write()`] gives.

use std::borrow::Cow;

/// Deepest nesting of objects and lists; the outermost object is level 1.
pub const MAX_DEPTH: usize = 4;

/// Largest integer: 2^53 − 1, the last that every JSON reader holds exactly (RFC 8259 section 6).
pub const MAX_INT: u64 = (1 << 53) - 1;

/// Longest object key, in bytes.
const MAX_KEY: usize = 40;

/// The one key whose object has upper-case keys.
const UPPER_CASE_KEYS: &str = "types_seen";

/// A JSON value within the restrictions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer, at most [`MAX_INT`].
    Int(u64),
    /// A string without U+007F.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Self>),
    /// An object, its keys strictly ascending.
    Object(Vec<Entry<'a>>),
}

/// One key and its value.
pub type Entry<'a> = (Cow<'a, str>, Value<'a>);

impl<'a> Value<'a> {
    /// An object of `entries`, put in order.
    #[must_use]
    pub fn object(mut entries: Vec<Entry<'a>>) -> Self {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Self::Object(entries)
    }
}

/// A value outside the restrictions; it has no canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwritable;

impl std::fmt::Display for Unwritable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("value has no canonical form")
    }
}

impl std::error::Error for Unwritable {}

/// Why bytes are not canonical JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCanonical {
    /// Nested deeper than [`MAX_DEPTH`], whatever else is wrong with the bytes.
    TooDeep,
    /// Any other difference from the bytes [`write()`] would give.
    Form {
        /// Offset of the first byte that is not as it must be.
        at: usize,
    },
}

impl std::fmt::Display for NotCanonical {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooDeep => write!(f, "nested deeper than {MAX_DEPTH} levels"),
            Self::Form { at } => write!(f, "not in canonical form at byte {at}"),
        }
    }
}

impl std::error::Error for NotCanonical {}

/// The canonical bytes of `value`.
///
/// # Errors
///
/// [`Unwritable`] when `value` breaks a restriction.
pub fn write(value: &Value<'_>) -> Result<Vec<u8>, Unwritable> {
    let mut out = Vec::with_capacity(1024);
    write_value(value, Keys::Lower, MAX_DEPTH, &mut out)?;
    Ok(out)
}

/// The value whose canonical bytes are exactly `bytes`.
///
/// # Errors
///
/// [`NotCanonical`]; depth is judged before form, so that it does not depend on which fault a
/// reader meets first.
pub fn parse(bytes: &[u8]) -> Result<Value<'_>, NotCanonical> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| worse_of(bytes, NotCanonical::Form { at: error.valid_up_to() }))?;
    let mut reader = Reader { text, at: 0 };
    let parsed =
        reader.value(Keys::Lower, MAX_DEPTH).and_then(|value| reader.end().map(|()| value));
    parsed.map_err(|error| worse_of(bytes, error))
}

/// The alphabet of an object's keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    Lower,
    Upper,
}

impl Keys {
    fn allow(self, key: &str) -> bool {
        let allowed = |byte: u8| match byte {
            b'0'..=b'9' | b'_' => true,
            b'a'..=b'z' => self == Self::Lower,
            b'A'..=b'Z' => self == Self::Upper,
            _ => false,
        };
        (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(allowed)
    }

    /// The alphabet inside the value of `key`.
    fn under(key: &str) -> Self {
        if key == UPPER_CASE_KEYS { Self::Upper } else { Self::Lower }
    }
}

fn write_value(
    value: &Value<'_>,
    keys: Keys,
    levels: usize,
    out: &mut Vec<u8>,
) -> Result<(), Unwritable> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(int) if *int <= MAX_INT => out.extend_from_slice(int.to_string().as_bytes()),
        Value::Int(_) => return Err(Unwritable),
        Value::Text(text) => write_text(text, out)?,
        Value::List(items) => {
            let below = levels.checked_sub(1).ok_or(Unwritable)?;
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(item, Keys::Lower, below, out)?;
            }
            out.push(b']');
        }
        Value::Object(entries) => {
            let below = levels.checked_sub(1).ok_or(Unwritable)?;
            let ascending = entries.is_sorted_by(|a, b| a.0 < b.0);
            if !ascending || !entries.iter().all(|(key, _)| keys.allow(key)) {
                return Err(Unwritable);
            }
            out.push(b'{');
            for (index, (key, item)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_text(key, out)?;
                out.push(b':');
                write_value(item, Keys::under(key), below, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// RFC 8785 section 3.2.2.2: the seven short escapes, `\u00xx` for other controls, the rest raw.
fn write_text(text: &str, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            0x7f => return Err(Unwritable),
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x20.. => out.push(byte),
            _ => match short_escape(byte) {
                Some(letter) => out.extend_from_slice(&[b'\\', letter]),
                None => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            },
        }
    }
    out.push(b'"');
    Ok(())
}

fn short_escape(control: u8) -> Option<u8> {
    match control {
        0x08 => Some(b'b'),
        b'\t' => Some(b't'),
        b'\n' => Some(b'n'),
        0x0c => Some(b'f'),
        b'\r' => Some(b'r'),
        _ => None,
    }
}

/// Depth outranks form: the brackets outside strings are counted even in a line that is broken.
fn worse_of(bytes: &[u8], found: NotCanonical) -> NotCanonical {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return NotCanonical::TooDeep;
        }
    }
    found
}

/// Reads one canonical value; every accepted byte is the only one possible at its place.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn refuse<T>(&self) -> Result<T, NotCanonical> {
        Err(NotCanonical::Form { at: self.at })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, expected: &str) -> Result<(), NotCanonical> {
        if !self.text.as_bytes()[self.at..].starts_with(expected.as_bytes()) {
            return self.refuse();
        }
        self.at += expected.len();
        Ok(())
    }

    fn end(&self) -> Result<(), NotCanonical> {
        if self.at == self.text.len() { Ok(()) } else { self.refuse() }
    }

    fn value(&mut self, keys: Keys, levels: usize) -> Result<Value<'a>, NotCanonical> {
        match self.peek() {
            Some(b'n') => self.take("null").map(|()| Value::Null),
            Some(b't') => self.take("true").map(|()| Value::Bool(true)),
            Some(b'f') => self.take("false").map(|()| Value::Bool(false)),
            Some(b'0'..=b'9') => self.int().map(Value::Int),
            Some(b'"') => self.text().map(Value::Text),
            Some(b'[') => {
                let below = levels.checked_sub(1).ok_or(NotCanonical::TooDeep)?;
                self.list(below)
            }
            Some(b'{') => {
                let below = levels.checked_sub(1).ok_or(NotCanonical::TooDeep)?;
                self.object(keys, below)
            }
            _ => self.refuse(),
        }
    }

    fn int(&mut self) -> Result<u64, NotCanonical> {
        let digits = self.text[self.at..].bytes().take_while(u8::is_ascii_digit).count();
        let spelled = &self.text[self.at..self.at + digits];
        match spelled.parse() {
            Ok(int) if int <= MAX_INT && (digits == 1 || !spelled.starts_with('0')) => {
                self.at += digits;
                Ok(int)
            }
            _ => self.refuse(),
        }
    }

    fn text(&mut self) -> Result<Cow<'a, str>, NotCanonical> {
        self.take("\"")?;
        let mut unescaped = String::new();
        loop {
            let plain = self.text[self.at..].bytes().take_while(|b| is_plain(*b)).count();
            let run = &self.text[self.at..self.at + plain];
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    if unescaped.is_empty() {
                        return Ok(Cow::Borrowed(run));
                    }
                    unescaped.push_str(run);
                    return Ok(Cow::Owned(unescaped));
                }
                Some(b'\\') => {
                    unescaped.push_str(run);
                    unescaped.push(self.escape()?);
                }
                _ => return self.refuse(),
            }
        }
    }

    fn escape(&mut self) -> Result<char, NotCanonical> {
        let rest = &self.text.as_bytes()[self.at..];
        let (byte, length) = match rest {
            [_, letter @ (b'"' | b'\\'), ..] => (*letter, 2),
            [_, b'b', ..] => (0x08, 2),
            [_, b't', ..] => (b'\t', 2),
            [_, b'n', ..] => (b'\n', 2),
            [_, b'f', ..] => (0x0c, 2),
            [_, b'r', ..] => (b'\r', 2),
            [_, b'u', b'0', b'0', high @ (b'0' | b'1'), low, ..] => {
                let low = match low {
                    b'0'..=b'9' => low - b'0',
                    b'a'..=b'f' => low - b'a' + 10,
                    _ => return self.refuse(),
                };
                let control = (high - b'0') * 16 + low;
                if short_escape(control).is_some() {
                    return self.refuse();
                }
                (control, 6)
            }
            _ => return self.refuse(),
        };
        self.at += length;
        Ok(char::from(byte))
    }

    fn list(&mut self, below: usize) -> Result<Value<'a>, NotCanonical> {
        self.take("[")?;
        let mut items = Vec::new();
        while self.peek() != Some(b']') {
            if !items.is_empty() {
                self.take(",")?;
            }
            items.push(self.value(Keys::Lower, below)?);
        }
        self.take("]")?;
        Ok(Value::List(items))
    }

    fn object(&mut self, keys: Keys, below: usize) -> Result<Value<'a>, NotCanonical> {
        self.take("{")?;
        let mut entries: Vec<Entry<'a>> = Vec::new();
        while self.peek() != Some(b'}') {
            if !entries.is_empty() {
                self.take(",")?;
            }
            let start = self.at;
            let key = self.text()?;
            let ascending = entries.last().is_none_or(|(last, _)| *last < key);
            if !ascending || !keys.allow(&key) {
                return Err(NotCanonical::Form { at: start });
            }
            self.take(":")?;
            let value = self.value(Keys::under(&key), below)?;
            entries.push((key, value));
        }
        self.take("}")?;
        Ok(Value::Object(entries))
    }
}

/// Whether a byte stands for itself inside a string.
fn is_plain(byte: u8) -> bool {
    !matches!(byte, 0..0x20 | b'"' | b'\\' | 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(bytes: &[u8]) -> bool {
        parse(bytes).is_err()
    }

    #[test]
    fn accepts_what_it_writes() {
        let bytes = r#"{"a":[0,9007199254740991,true,null],"b":{"c":"\u001f\n\"\\/é"}}"#;
        let value = parse(bytes.as_bytes()).unwrap();
        assert_eq!(write(&value).unwrap(), bytes.as_bytes());
    }

    #[test]
    fn refuses_spaces_and_trailing_bytes_a11() {
        for bytes in
            [&br#"{"a": 1}"#[..], br#"{"a":1} "#, br#" {"a":1}"#, br#"{"a":1}{"#, b"", b"\r"]
        {
            assert!(refused(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn refuses_unsorted_and_duplicate_keys_a12_a13() {
        assert!(refused(br#"{"b":1,"a":1}"#));
        assert!(refused(br#"{"a":1,"a":1}"#));
    }

    #[test]
    fn refuses_every_other_escape_a14() {
        for bytes in [
            &br#""\u0041""#[..],
            br#""\/""#,
            br#""\u001F""#,
            br#""\u000a""#,
            br#""\u0022""#,
            br#""\ud800""#,
            br#""\x""#,
            br#""\"#,
        ] {
            assert!(refused(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn refuses_every_other_number_a15() {
        for bytes in [
            &b"1.0"[..],
            b"1e3",
            b"-0",
            b"-1",
            b"01",
            b"00",
            b"9007199254740992",
            b"99999999999999999999",
        ] {
            assert!(refused(bytes), "{bytes:?}");
        }
        assert_eq!(write(&Value::Int(MAX_INT + 1)), Err(Unwritable));
    }

    #[test]
    fn refuses_bad_text_a16() {
        for bytes in
            [&b"\"\xff\""[..], b"\"\x7f\"", b"\xef\xbb\xbf{}", b"\"\n\"", b"\"\xed\xa0\x80\""]
        {
            assert!(refused(bytes), "{bytes:?}");
        }
        assert_eq!(write(&Value::Text("\u{7f}".into())), Err(Unwritable));
    }

    #[test]
    fn refuses_half_lists_and_objects() {
        for bytes in [&b"[1,]"[..], b"[,1]", b"[1", br#"{"a"}"#, br#"{"a":1,}"#, br#"{,"a":1}"#] {
            assert!(refused(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn refuses_keys_outside_the_alphabet_except_where_types_are_counted() {
        assert!(refused(br#"{"A":1}"#));
        assert!(refused(br#"{"":1}"#));
        assert!(refused(br#"{"types_seen":{"a":1}}"#));
        assert!(refused(br#"{"types_seen":{"A":{"B":1}}}"#));
        assert!(parse(br#"{"types_seen":{"AWS_KEY":1}}"#).is_ok());
        assert!(refused(format!(r#"{{"{}":1}}"#, "a".repeat(41)).as_bytes()));
    }

    #[test]
    fn names_depth_before_any_other_fault_a20() {
        assert!(parse(b"[[[[]]]]").is_ok());
        assert_eq!(parse(b"[[[[[]]]]]"), Err(NotCanonical::TooDeep));
        assert_eq!(parse(b"[ [[[[]]]]]"), Err(NotCanonical::TooDeep));
        assert_eq!(parse(&[b'['; 100_000]), Err(NotCanonical::TooDeep));
        assert_eq!(parse(br#"["[[[[[[", ]"#), Err(NotCanonical::Form { at: 10 }));
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let text = any::<String>().prop_map(|text| text.replace('\u{7f}', ""));
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            (0..=MAX_INT).prop_map(Into::into),
            text.prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
                prop::collection::btree_map("[a-z0-9_]{1,40}", inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// `serde_json` keeps object keys in a `BTreeMap` and so prints them sorted.
        #[test]
        fn agrees_with_an_unrelated_sorted_writer(value in value()) {
            let bytes = serde_json::to_vec(&value).unwrap();
            let parsed = parse(&bytes);
            prop_assert!(parsed.is_ok(), "{}", value);
            prop_assert_eq!(write(&parsed.unwrap()).unwrap(), bytes);
        }

        /// RFC 8785 by somebody else, floats and all.
        #[test]
        fn agrees_with_an_unrelated_rfc_8785(value in value()) {
            let theirs = serde_json_canonicalizer::to_vec(&value).unwrap();
            let ours = parse(&theirs).map(|parsed| write(&parsed));
            prop_assert_eq!(ours, Ok(Ok(theirs)));
        }

        #[test]
        fn accepts_no_bytes_but_the_ones_it_writes(value in value(), at in any::<usize>(), byte: u8) {
            let mut bytes = serde_json::to_vec(&value).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(parsed) = parse(&bytes) {
                prop_assert_eq!(write(&parsed).unwrap(), bytes);
            }
        }
    }
}
