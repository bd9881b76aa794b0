//! One line of the log: the fields every line has, and its [`Body`].

use super::body::Body;
use super::canonical::{self, NotCanonical, Value};
use super::rule::{Base64, Fields, Hex, Int, SortedTags, Time, put};
use super::timestamp::Timestamp;

/// Longest line, in bytes without its LF.
pub const MAX_LINE: usize = 16 * 1024;

/// The evidence format.
pub const VERSION: u64 = 2;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// 1, 2, 3, … over all segments; the leaf index is one less.
    pub seq: u64,
    /// Wall clock, as read.
    pub ts: Timestamp,
    /// Time since boot, suspension included, in milliseconds.
    pub up_ms: u64,
    /// First eight bytes of SHA-256(boot id ‖ origin).
    pub boot: [u8; 8],
    /// [`super::chain::link`] of the line before; zeros on the first.
    pub prev_hash: [u8; 32],
    /// Random, so that a published leaf hash reveals nothing of a guessable line.
    pub salt: [u8; 16],
    /// Framework tags, strictly ascending; [`super::frameworks::tags`] gives them.
    pub frameworks: Vec<String>,
    /// What it says.
    pub body: Body,
}

/// A line cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwritable {
    /// The named field is outside its rule.
    Field(&'static str),
    /// The line would be longer than [`MAX_LINE`].
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
}

impl std::fmt::Display for Unwritable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Field(name) => write!(f, "field {name} is outside the evidence grammar"),
            Self::TooLong { length } => write!(f, "line of {length} bytes exceeds {MAX_LINE}"),
        }
    }
}

impl std::error::Error for Unwritable {}

/// Why bytes are not a line, in the order of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineError {
    /// Longer than [`MAX_LINE`].
    TooLong,
    /// Deeper or otherwise not in canonical form.
    NotCanonical(NotCanonical),
    /// A format other than [`VERSION`].
    Version,
    /// The named field is missing, not known or of the wrong kind.
    Schema(&'static str),
}

impl LineError {
    /// The stable code of the reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong | Self::NotCanonical(NotCanonical::TooDeep) => "E_LIMIT",
            Self::NotCanonical(NotCanonical::Form { .. }) => "E_CANONICAL",
            Self::Version => "E_VERSION",
            Self::Schema(_) => "E_SCHEMA",
        }
    }
}

impl std::fmt::Display for LineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong => write!(f, "line exceeds {MAX_LINE} bytes"),
            Self::NotCanonical(error) => error.fmt(f),
            Self::Version => f.write_str("unsupported version"),
            Self::Schema(field) => write!(f, "schema: {field}"),
        }
    }
}

impl std::error::Error for LineError {}

/// The bytes of `line`, without LF.
///
/// # Errors
///
/// [`Unwritable`] when a field is outside its rule or the line too long; nothing that [`parse`]
/// would refuse is ever written.
pub fn encode(line: &Line) -> Result<Vec<u8>, Unwritable> {
    let bytes = entries(line).map_err(Unwritable::Field).and_then(|entries| {
        canonical::write(&Value::object(entries)).map_err(|_| Unwritable::Field("text"))
    })?;
    if bytes.len() > MAX_LINE {
        return Err(Unwritable::TooLong { length: bytes.len() });
    }
    Ok(bytes)
}

fn entries(line: &Line) -> Result<Vec<canonical::Entry<'_>>, &'static str> {
    let mut into = Vec::with_capacity(24);
    put::<Int, u64>(&mut into, "v", &VERSION)?;
    put::<Int<1>, u64>(&mut into, "seq", &line.seq)?;
    put::<Time, Timestamp>(&mut into, "ts", &line.ts)?;
    put::<Int, u64>(&mut into, "up_ms", &line.up_ms)?;
    put::<Hex, [u8; 8]>(&mut into, "boot", &line.boot)?;
    put::<Hex, [u8; 32]>(&mut into, "prev_hash", &line.prev_hash)?;
    put::<Base64, [u8; 16]>(&mut into, "salt", &line.salt)?;
    put::<SortedTags, Vec<String>>(&mut into, "frameworks", &line.frameworks)?;
    into.push(("line_type".into(), Value::Text(line.body.line_type().into())));
    line.body.write(&mut into)?;
    Ok(into)
}

/// The line whose bytes, without LF, are exactly `bytes`.
///
/// # Errors
///
/// [`LineError`], the first in the order of its variants.
pub fn parse(bytes: &[u8]) -> Result<Line, LineError> {
    if bytes.len() > MAX_LINE {
        return Err(LineError::TooLong);
    }
    let value = canonical::parse(bytes).map_err(LineError::NotCanonical)?;
    let Value::Object(entries) = value else { return Err(LineError::Schema("line")) };
    let mut fields = Fields(entries);
    match fields.take("v").map_err(LineError::Schema)? {
        Value::Int(VERSION) => {}
        Value::Int(_) => return Err(LineError::Version),
        _ => return Err(LineError::Schema("v")),
    }
    read(fields).map_err(LineError::Schema)
}

fn read(mut fields: Fields<'_>) -> Result<Line, &'static str> {
    let Value::Text(line_type) = fields.take("line_type")? else { return Err("line_type") };
    let line = Line {
        seq: fields.read::<Int<1>, _>("seq")?,
        ts: fields.read::<Time, _>("ts")?,
        up_ms: fields.read::<Int, _>("up_ms")?,
        boot: fields.read::<Hex, _>("boot")?,
        prev_hash: fields.read::<Hex, _>("prev_hash")?,
        salt: fields.read::<Base64, _>("salt")?,
        frameworks: fields.read::<SortedTags, _>("frameworks")?,
        body: Body::read(&line_type, &mut fields)?,
    };
    fields.end()?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evidence::body::{BlockReason, Redacted, Redaction, Stop};
    use crate::evidence::rule::{Dice, Rule};

    fn sample(line_type: &str, seed: u64) -> Line {
        let mut dice = Dice(seed);
        Line {
            seq: Int::<1>::sample(&mut dice),
            ts: Time::sample(&mut dice),
            up_ms: <Int as Rule<u64>>::sample(&mut dice),
            boot: dice.bytes(),
            prev_hash: dice.bytes(),
            salt: dice.bytes(),
            frameworks: SortedTags::sample(&mut dice),
            body: Body::sample(line_type, &mut dice),
        }
    }

    fn with(line: &Line, from: &str, to: &str) -> Result<Line, LineError> {
        let text = String::from_utf8(encode(line).unwrap()).unwrap();
        let changed = text.replacen(from, to, 1);
        assert_ne!(text, changed, "{from} is not in the line");
        parse(changed.as_bytes())
    }

    fn stop() -> Line {
        Line { body: Stop { reason: "asked".into() }.into(), ..sample("stop", 1) }
    }

    #[test]
    fn spells_a_line_as_the_format_says() {
        let line = Line {
            seq: 7,
            ts: Timestamp::from_ms(1_700_000_000_123).unwrap(),
            up_ms: 42,
            boot: [0xb0; 8],
            prev_hash: [0xaa; 32],
            salt: [0; 16],
            frameworks: vec!["A".into(), "B".into()],
            body: Redaction {
                host: "api.anthropic.com".into(),
                inst: [1; 8],
                req_no: 3,
                request_id: None,
                session_id: Some("s-1".into()),
                redactions: vec![Redacted {
                    kind: "AWS_KEY".into(),
                    hmac8: [2; 8],
                    rule: "messages[].content".into(),
                    count: 2,
                }],
                redaction_count: 2,
                part: (1, 1),
                policy_hash: [0xcc; 32],
                hkey: [3; 8],
            }
            .into(),
        };
        let expected = format!(
            concat!(
                r#"{{"boot":"{}","direction":"out","frameworks":["A","B"],"hkey":"{}","#,
                r#""host":"api.anthropic.com","inst":"{}","line_type":"redaction","part":[1,1],"#,
                r#""policy_hash":"{}","prev_hash":"{}","redaction_count":2,"redactions":[{{"count":2,"#,
                r#""hmac8":"{}","rule":"messages[].content","type":"AWS_KEY"}}],"req_no":3,"#,
                r#""request_id":null,"salt":"AAAAAAAAAAAAAAAAAAAAAA==","seq":7,"session_id":"s-1","#,
                r#""ts":"2023-11-14T22:13:20.123Z","up_ms":42,"v":2}}"#
            ),
            "b0".repeat(8),
            "03".repeat(8),
            "01".repeat(8),
            "cc".repeat(32),
            "aa".repeat(32),
            "02".repeat(8),
        );
        assert_eq!(String::from_utf8(encode(&line).unwrap()).unwrap(), expected);
    }

    #[test]
    fn refuses_unknown_missing_and_mistyped_fields_a18() {
        let schema = |result: Result<Line, LineError>| matches!(result, Err(LineError::Schema(_)));
        assert!(schema(with(&stop(), r#""line_type":"stop""#, r#""line_type":"halt""#)));
        assert!(schema(with(&stop(), r#""reason":"asked","#, r#""reason":"asked","rest":1,"#)));
        assert!(schema(with(&stop(), r#""reason":"asked","#, "")));
        assert!(schema(with(&stop(), r#""reason":"asked","#, r#""reason":1,"#)));
        assert!(schema(with(&stop(), r#""reason":"asked","#, r#""reason":null,"#)));
        let long = format!(r#""reason":"{}","#, "x".repeat(201));
        assert!(schema(with(&stop(), r#""reason":"asked","#, &long)));
        assert!(schema(parse(b"[]")));
        assert!(schema(parse(b"{}")));
    }

    #[test]
    fn refuses_unsorted_repeated_and_missing_frameworks_a24() {
        let tagged = |tags: &[&str]| {
            let frameworks = tags.iter().map(|tag| (*tag).to_owned()).collect();
            encode(&Line { frameworks, ..stop() })
        };
        assert!(tagged(&["A", "B"]).is_ok());
        assert_eq!(tagged(&["B", "A"]), Err(Unwritable::Field("frameworks")));
        assert_eq!(tagged(&["A", "A"]), Err(Unwritable::Field("frameworks")));
        let line = Line { frameworks: vec!["A".into(), "B".into()], ..stop() };
        let schema = Err(LineError::Schema("frameworks"));
        assert_eq!(with(&line, r#"["A","B"]"#, r#"["B","A"]"#), schema);
        assert_eq!(with(&line, r#""frameworks":["A","B"],"#, ""), schema);
    }

    #[test]
    fn names_another_version_a25() {
        assert_eq!(with(&stop(), r#""v":2"#, r#""v":3"#), Err(LineError::Version));
        assert_eq!(with(&stop(), r#""v":2"#, r#""v":"2""#), Err(LineError::Schema("v")));
    }

    #[test]
    fn refuses_lines_over_the_limit_a19() {
        assert_eq!(parse(&vec![b'x'; MAX_LINE + 1]), Err(LineError::TooLong));
        assert_eq!(LineError::TooLong.code(), "E_LIMIT");
        let mut line = sample("verify_install", 1);
        line.body =
            crate::evidence::body::VerifyInstall { passed: 0, failed: vec!["x".repeat(200); 100] }
                .into();
        assert!(matches!(encode(&line), Err(Unwritable::TooLong { .. })));
    }

    #[test]
    fn spells_every_block_reason_once() {
        use crate::evidence::rule::Words;
        let words: std::collections::BTreeSet<_> =
            BlockReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), 19);
    }

    proptest! {
        #[test]
        fn reads_back_every_type_of_line(seed: u64) {
            for line_type in Body::TYPES {
                let line = sample(line_type, seed);
                let bytes = encode(&line);
                prop_assert!(bytes.is_ok(), "{line_type}: {bytes:?}");
                let bytes = bytes.unwrap();
                let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                prop_assert_eq!(&serde_json::to_vec(&value).unwrap(), &bytes);
                prop_assert_eq!(parse(&bytes), Ok(line));
            }
        }

        #[test]
        fn accepts_no_bytes_but_the_ones_it_writes(seed: u64, at: usize, byte: u8) {
            for line_type in Body::TYPES {
                let mut bytes = encode(&sample(line_type, seed)).unwrap();
                let at = at % bytes.len();
                bytes[at] = byte;
                if let Ok(line) = parse(&bytes) {
                    prop_assert_eq!(encode(&line), Ok(bytes));
                }
            }
        }
    }
}
