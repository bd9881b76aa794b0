//! Made-up secrets, each with a mark in it by which it is known wherever it turns up.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::dice::Dice;

/// In every secret. Letters that all kinds of them take.
pub(crate) const MARK: &str = "SOAKMARK";

/// Values that only the operator knows of, with what has to survive every nesting.
pub(crate) const REGISTERED: [&str; 4] = [
    "soak horse SOAKMARK battery-staple",
    "SOAKMARK/with\\back\\slashes and \"quotes\"",
    "t\u{e4}glich-SOAKMARK-\u{1f511}-\u{65e5}\u{672c}",
    "key:SOAKMARK;with=signs&and+more%20",
];

const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const ALNUM: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// How many kinds there are.
pub(crate) const KINDS: usize = 14;

/// A fresh secret of this kind, with what has to stand around it.
pub(crate) fn fresh(dice: &mut Dice, kind: usize) -> String {
    let mut body = |alphabet: &str, length: usize| {
        let at = dice.below(length - MARK.len() + 1);
        let mut rest = dice.letters(alphabet, length - MARK.len());
        // Words that the policy takes for the sign of a made-up value, behind a keyword.
        while ["fake", "xxxx"].iter().any(|word| rest.to_ascii_lowercase().contains(word)) {
            rest = dice.letters(alphabet, length - MARK.len());
        }
        format!("{}{MARK}{}", &rest[..at], &rest[at..])
    };
    match kind {
        0 => format!("AKIA{}", body(UPPER, 16)),
        1 => format!("ghp_{}", body(ALNUM, 36)),
        2 => format!("github_pat_{}", body(ALNUM, 82)),
        3 => format!("sk-ant-api03-{}AA", body(ALNUM, 93)),
        4 => format!("sk-proj-{}T3BlbkFJ{}", body(ALNUM, 74), body(ALNUM, 74)),
        5 => format!("xoxb-{}", body(ALNUM, 40)),
        6 => format!("sk_live_{}", body(ALNUM, 24)),
        7 => format!("AIza{}", body(ALNUM, 35)),
        8 => format!("glpat-{}", body(ALNUM, 20)),
        9 => format!("npm_{}", body(ALNUM, 36)),
        10 => format!("hf_{}", body(LETTERS, 34)),
        // Without a digit it could be the name of a variable.
        11 => format!("DB_PASSWORD={}7", body(ALNUM, 24)),
        12 => format!("postgres://app:{}@db.example:5432/main", body(ALNUM, 20)),
        _ => {
            let lines = [body(ALNUM, 64), body(ALNUM, 64), body(ALNUM, 40)].join("\n");
            // In parts, so that no scanner of sources takes this for a key.
            format!("-----BEGIN {0} KEY-----\n{lines}\n-----END {0} KEY-----", "PRIVATE")
        }
    }
}

/// `secret` as another layer would write it.
pub(crate) fn encoded(secret: &str) -> String {
    STANDARD.encode(secret)
}

/// What gives a secret away: its mark, as it is and in encodings of it.
#[derive(Debug)]
pub(crate) struct Marks(Vec<Vec<u8>>);

impl Marks {
    pub(crate) fn new() -> Self {
        let mut marks = vec![MARK.as_bytes().to_vec()];
        marks.push(MARK.bytes().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
        // Base64 of it after 0, 1 and 2 other bytes, without the characters that those share.
        for before in 0..3 {
            let encoded = STANDARD_NO_PAD.encode(format!("{}{MARK}", &"xx"[..before]));
            let first = (before * 8).div_ceil(6);
            let last = (before + MARK.len()) * 8 / 6;
            marks.push(encoded.as_bytes()[first..last].to_vec());
        }
        Self(marks)
    }

    /// Where one of them stands in `bytes`, with what is around it.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<String> {
        let at = self.0.iter().find_map(|mark| {
            bytes.windows(mark.len()).position(|window| window == mark.as_slice())
        })?;
        let around = &bytes[at.saturating_sub(60)..bytes.len().min(at + 60)];
        Some(String::from_utf8_lossy(around).into_owned())
    }
}
