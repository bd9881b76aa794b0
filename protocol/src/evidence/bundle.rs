//! A bundle's own papers: MANIFEST.json, which lists what is in it, and MANIFEST.note, which signs it.
//!
//! The note holds the hash of MANIFEST.json, so its bytes are what is signed. They are canonical all
//! the same: there is one way to read them.

use std::collections::BTreeMap;

use super::archive;
use super::body::{Body, record};
use super::canonical::{self, Entry, MAX_INT, Value};
use super::hex;
use super::note::{Note, NoteError, is_key_name};
#[cfg(test)]
use super::rule::Dice;
use super::rule::{
    Each, Fields, Hex, Int, Nested, Nullable, Origin, Prose, Range, Record, Rule, Time, Word, put,
};
use super::timestamp::Timestamp;
use super::words::words;

/// Name of the note, the first member.
pub const NOTE: &str = "MANIFEST.note";

/// Name of the manifest, the second member.
pub const MANIFEST: &str = "MANIFEST.json";

/// Name of the list for `sha256sum -c`.
pub const SUMS: &str = "SHA256SUMS";

/// Name of the hashes around a range.
pub const RANGE_PROOF: &str = "log/range.proof";

/// Name of the lines of a range.
pub const RANGE_LOG: &str = "log/range.jsonl";

/// Name of the consistency proof from an earlier bundle's size.
pub const PREVIOUS_PROOF: &str = "log/previous.proof";

/// The first line of the note.
const HEADER: &str = "waterwall evidence manifest v1";

/// The bundle format.
const VERSION: u64 = 2;

words! {
    /// How much of a log a bundle holds.
    BundleType {
        /// All of it that is retained.
        Full = "full",
        /// Consecutive lines, proven to be all there are between two numbers.
        Range = "range",
        /// Single lines; completeness is not claimed.
        Selection = "selection",
    }
}

/// The path of a member.
pub(crate) struct Path;

impl Rule<String> for Path {
    fn write(value: &String) -> Option<Value<'_>> {
        archive::is_name(value).then(|| Value::Text(value.into()))
    }
    fn read(value: Value<'_>) -> Option<String> {
        let Value::Text(text) = value else { return None };
        archive::is_name(&text).then(|| text.into_owned())
    }
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> String {
        format!("log/{}", dice.below(100))
    }
}

/// Lines by `line_type`.
pub(crate) struct LineCounts;

impl Rule<BTreeMap<String, u64>> for LineCounts {
    fn write(value: &BTreeMap<String, u64>) -> Option<Value<'_>> {
        let entry = |(kind, count): (&String, &u64)| {
            let known = Body::TYPES.contains(&kind.as_str()) && *count <= MAX_INT;
            known.then(|| (kind.clone().into(), Value::Int(*count)))
        };
        value.iter().map(entry).collect::<Option<_>>().map(Value::Object)
    }
    fn read(value: Value<'_>) -> Option<BTreeMap<String, u64>> {
        let Value::Object(entries) = value else { return None };
        let entry = |(kind, count): Entry<'_>| match count {
            Value::Int(count) if Body::TYPES.contains(&kind.as_ref()) => {
                Some((kind.into_owned(), count))
            }
            _ => None,
        };
        entries.into_iter().map(entry).collect()
    }
    #[cfg(test)]
    fn sample(dice: &mut Dice) -> BTreeMap<String, u64> {
        Body::TYPES.iter().map(|kind| ((*kind).to_owned(), dice.below(9))).collect()
    }
}

record! {
    /// What is in a bundle, and what it is of.
    Manifest {
        /// How much of the log it holds.
        bundle_type: BundleType => Word,
        /// The log.
        origin: String => Origin,
        /// When it was made, by the exporter's clock.
        ts_exported: Timestamp => Time,
        /// The window that was asked for, from here …
        since: Option<Timestamp> => Nullable<Time>,
        /// … to here.
        until: Option<Timestamp> => Nullable<Time>,
        /// First and last line in it.
        seq_range: (u64, u64) => Range,
        /// Size of the tree that proves it: that of `head.note`.
        tree_size: u64 => Int<1>,
        /// Its root.
        root: [u8; 32] => Hex,
        /// `prev_hash` of the first line; none for a selection.
        first_boundary_hash: Option<[u8; 32]> => Nullable<Hex>,
        /// Its lines by type.
        counts: BTreeMap<String, u64> => LineCounts,
        /// The files of lines, in order.
        chain: Vec<Segment> => Each<Nested>,
        /// Receipts.
        receipts: Vec<Receipt> => Each<Nested>,
        /// Policies that the lines name.
        policies: Vec<PolicyFile> => Each<Nested>,
        /// Public keys; never to be trusted for being here.
        keys: Vec<KeyFile> => Each<Nested>,
        /// Evidence that others hold.
        anchors: Vec<AnchorFile> => Each<Nested>,
        /// An earlier bundle's tree, which this one extends.
        previous: Option<Previous> => Nullable<Nested>,
        /// Every member but this file, its note and the sums.
        files: Vec<FileSum> => Each<Nested>,
        /// Key id of the evidence key that signed the note.
        signing_key_id: [u8; 4] => Hex,
        /// Name and version of the exporter.
        software: String => Prose,
    }
}

record! {
    /// A file of lines.
    Segment {
        /// Its name.
        file: String => Path,
        /// Its SHA-256.
        sha256: [u8; 32] => Hex,
        /// Its length in bytes.
        size: u64 => Int,
        /// Its first line's number.
        first_seq: u64 => Int<1>,
        /// Its last line's.
        last_seq: u64 => Int<1>,
        /// How many lines it has.
        lines: u64 => Int<1>,
        /// How many of them are checkpoints.
        checkpoints: u64 => Int,
    }
}

record! {
    /// A receipt.
    Receipt {
        /// Its name.
        file: String => Path,
        /// Its SHA-256.
        sha256: [u8; 32] => Hex,
        /// Its line's number.
        seq: u64 => Int<1>,
    }
}

record! {
    /// A policy.
    PolicyFile {
        /// Its hash, as lines name it.
        policy_hash: [u8; 32] => Hex,
        /// Its name.
        file: String => Path,
    }
}

record! {
    /// A public key.
    KeyFile {
        /// The key's name.
        name: String => Origin,
        /// Its id.
        key_id: [u8; 4] => Hex,
        /// The name of the file that holds its vkey.
        file: String => Path,
    }
}

record! {
    /// Evidence that others hold.
    AnchorFile {
        /// Its name.
        file: String => Path,
        /// Size of the tree it is about.
        tree_size: u64 => Int,
    }
}

record! {
    /// An earlier bundle's tree.
    Previous {
        /// Its size.
        tree_size: u64 => Int,
        /// Its root.
        root: [u8; 32] => Hex,
    }
}

record! {
    /// A member's length and hash.
    FileSum {
        /// Its name.
        file: String => Path,
        /// Its SHA-256.
        sha256: [u8; 32] => Hex,
        /// Its length in bytes.
        size: u64 => Int,
    }
}

/// Why bytes are no MANIFEST.json, in the order of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestError {
    /// Not in canonical form.
    NotCanonical,
    /// A format other than version 2.
    Version,
    /// The named field is missing, not known or of the wrong kind.
    Schema(&'static str),
}

impl Manifest {
    /// The bytes of MANIFEST.json: canonical, without LF.
    ///
    /// # Errors
    ///
    /// The name of a field that is outside its rule.
    pub fn encode(&self) -> Result<Vec<u8>, &'static str> {
        let mut entries = vec![("v".into(), Value::Int(VERSION))];
        self.write(&mut entries)?;
        canonical::write(&Value::object(entries)).map_err(|_| "text")
    }

    /// The manifest whose bytes are exactly `bytes`.
    ///
    /// # Errors
    ///
    /// [`ManifestError`], the first in the order of its variants.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let value = canonical::parse(bytes).map_err(|_| ManifestError::NotCanonical)?;
        let Value::Object(entries) = value else { return Err(ManifestError::Schema("object")) };
        let mut fields = Fields(entries);
        match fields.take("v").map_err(ManifestError::Schema)? {
            Value::Int(VERSION) => {}
            Value::Int(_) => return Err(ManifestError::Version),
            _ => return Err(ManifestError::Schema("v")),
        }
        let manifest = Self::read(&mut fields).map_err(ManifestError::Schema)?;
        fields.end().map_err(ManifestError::Schema)?;
        Ok(manifest)
    }

    /// What SHA256SUMS must hold: `files`, as `sha256sum` prints them.
    #[must_use]
    pub fn sums(&self) -> String {
        let row = |file: &FileSum| format!("{}  {}\n", hex::encode(&file.sha256), file.file);
        self.files.iter().map(row).collect()
    }
}

/// What the evidence key signs: which MANIFEST.json, of which log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The log.
    pub origin: String,
    /// SHA-256 of MANIFEST.json.
    pub sha256: [u8; 32],
}

impl Statement {
    /// The text that is signed; its last line is one of `sha256sum`'s.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{HEADER}\n{}\n{}  {MANIFEST}\n", self.origin, hex::encode(&self.sha256))
    }

    /// The statement that `text` spells.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let (_, origin, sum) = (lines.next()?, lines.next()?, lines.next()?);
        let sha256 = hex::decode(sum.split(' ').next()?)?;
        let parsed = Self { origin: origin.to_owned(), sha256 };
        (is_key_name(origin) && parsed.text() == text).then_some(parsed)
    }

    /// The statement of a note whose signatures are not checked yet.
    ///
    /// # Errors
    ///
    /// [`NoteError`] when it is no note, or its text no such statement.
    pub fn of_note(bytes: &[u8]) -> Result<(Self, Note), NoteError> {
        let note = Note::parse(bytes)?;
        let statement = Self::parse(&note.text).ok_or(NoteError::Form)?;
        Ok((statement, note))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spells_the_statement_as_the_format_says() {
        let statement = Statement { origin: "log.example".into(), sha256: [0xab; 32] };
        let expected = format!(
            "waterwall evidence manifest v1\nlog.example\n{}  MANIFEST.json\n",
            "ab".repeat(32)
        );
        assert_eq!(statement.text(), expected);
        assert_eq!(Statement::parse(&expected), Some(statement));
        for bad in [
            expected.replace("v1", "v2"),
            expected.replace("  MANIFEST", " *MANIFEST"),
            expected.replace("log.example", "two words"),
            expected.replace("ab", "AB"),
            format!("{expected}more\n"),
            expected.trim_end().to_owned(),
            "log.example\n7\nAAAA\n".to_owned(),
        ] {
            assert_eq!(Statement::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn lists_files_as_sha256sum_does() {
        let file = FileSum { file: "log/a".into(), sha256: [1; 32], size: 3 };
        let manifest = Manifest { files: vec![file], ..Manifest::sample(&mut Dice(1)) };
        assert_eq!(manifest.sums(), format!("{}  log/a\n", "01".repeat(32)));
    }

    #[test]
    fn refuses_other_versions_and_paths_that_lead_elsewhere() {
        let manifest = Manifest::sample(&mut Dice(2));
        let text = String::from_utf8(manifest.encode().unwrap()).unwrap();
        let with = |from: &str, to: &str| Manifest::parse(text.replace(from, to).as_bytes());
        assert_eq!(with("\"v\":2", "\"v\":3"), Err(ManifestError::Version));
        assert_eq!(with("\"v\":2", "\"v\": 2"), Err(ManifestError::NotCanonical));
        assert_eq!(with("\"v\":2", "\"v\":2,\"w\":1"), Err(ManifestError::Schema("unknown field")));
        let file = FileSum { file: "../x".into(), sha256: [1; 32], size: 3 };
        assert_eq!(Manifest { files: vec![file], ..manifest }.encode(), Err("files"));
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(seed: u64) {
            let manifest = Manifest::sample(&mut Dice(seed));
            prop_assert_eq!(Manifest::parse(&manifest.encode().unwrap()), Ok(manifest));
        }
    }
}
