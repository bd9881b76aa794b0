//! Why a pattern file is refused.

use std::fmt;

use crate::redact::media::KNOWN;

/// Why a pattern file is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The file's name.
    pub file: String,
    /// Line, from 1; 0 where it is the file as a whole.
    pub line: u64,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong with a pattern file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// `left`, `right` or `lead.of` is no set of printable ASCII.
    Boundary,
    /// Only values that a keyword announces are rejected for what they look like.
    Choosy,
    /// A counterexample holds a match.
    Counterexample,
    /// The file says the same type twice, or two types the same expression.
    Duplicate,
    /// `entropy` is not 0 to 8 bits per byte.
    Entropy,
    /// An example is not matched from end to end, or from mark to mark.
    Example,
    /// `lead` is not 1 ≤ min ≤ max ≤ 64.
    Lead,
    /// A literal is empty or not ASCII, or there are too many.
    Literals(String),
    /// It is not what this build makes of the set in it.
    Canonical,
    /// `encoded.bytes` is not 16 to 1048576.
    Encoded,
    /// The expression matches the empty string.
    MatchesEmpty,
    /// It is not known how media of this type begin, so none could pass.
    Magic,
    /// It is no media type in lower case.
    Media,
    /// A new pattern needs forms and an example.
    Missing,
    /// The expression does not compile within the limits.
    Regex(String),
    /// The type is Waterwall's own.
    Reserved,
    /// It is not the YAML expected here.
    Syntax(String),
    /// The system gives no thread to compile in.
    Thread(String),
    /// One form stands beside the type, others under `forms`; or part of one without `regex`.
    Torn,
    /// The type is not `[A-Z0-9_]{1,40}`.
    Type,
    /// The expression matches text that starts with none of its literals.
    Unannounced,
    /// It says what to do with a type that nobody defines.
    Unknown,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boundary => f.write_str("not a set of printable ASCII"),
            Self::Canonical => f.write_str("not a canonical set of this version"),
            Self::Choosy => f.write_str("filter, entropy and require are for class generic"),
            Self::Counterexample => f.write_str("counterexample is matched"),
            Self::Duplicate => f.write_str("type or expression is given twice"),
            Self::Encoded => f.write_str("bytes must be 16 to 1048576"),
            Self::Entropy => f.write_str("entropy must be 0 to 8 bits per byte"),
            Self::Example => f.write_str("example is not matched from end to end"),
            Self::Lead => f.write_str("lead must be 1 ≤ min ≤ max ≤ 64"),
            Self::Literals(why) => write!(f, "literals: {why}"),
            Self::MatchesEmpty => f.write_str("expression matches the empty string"),
            Self::Magic => {
                write!(f, "no magic bytes are known of this type, only of {}", KNOWN.join(", "))
            }
            Self::Media => f.write_str("not a media type in lower case"),
            Self::Missing => {
                f.write_str("a regex (or forms) and at least one example are required")
            }
            Self::Regex(why) => write!(f, "expression: {why}"),
            Self::Reserved => f.write_str("type is reserved"),
            Self::Syntax(why) => f.write_str(why),
            Self::Thread(why) => write!(f, "cannot start a thread: {why}"),
            Self::Torn => f.write_str("a form beside the type needs regex and excludes forms"),
            Self::Type => f.write_str("type is not [A-Z0-9_]{1,40}"),
            Self::Unannounced => {
                f.write_str("expression matches text that starts with none of the literals")
            }
            Self::Unknown => f.write_str(
                "no built-in type has this name (`waterwall-proxy check-policy --list` names them); \
                 one of your own needs a regex (or forms) and at least one example",
            ),
        }
    }
}

impl std::error::Error for PolicyError {}
