//! Checkpoints (c2sp.org/tlog-checkpoint): a signed statement of a log's size and root.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::merkle::Hash;
use super::note::{Note, NoteError, NoteSignature, VerifierKey, is_key_name};

/// What a checkpoint says, whoever signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which is also the name of its key.
    pub origin: String,
    /// Leaves in the tree.
    pub size: u64,
    /// The RFC 6962 root over them.
    pub root: Hash,
}

/// A note and the checkpoint its text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What is stated.
    pub checkpoint: Checkpoint,
    /// The note that states it.
    pub note: Note,
}

impl Checkpoint {
    /// The text that is signed: origin, size and base64 root, one per line, and nothing more.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// The checkpoint that `text` spells; `None` for extension lines or any other spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let root = STANDARD.decode(root).ok()?;
        let parsed = Self {
            origin: origin.to_owned(),
            size: size.parse().ok()?,
            root: root.try_into().ok()?,
        };
        (is_key_name(origin) && parsed.text() == text).then_some(parsed)
    }

    /// The note that states this under one signature of `key`.
    #[must_use]
    pub fn signed(self, key: &VerifierKey, signature: &[u8; 64]) -> SignedCheckpoint {
        let line = NoteSignature {
            name: key.name().to_owned(),
            key_id: key.id(),
            signature: signature.to_vec(),
        };
        let note = Note { text: self.text(), signatures: vec![line] };
        SignedCheckpoint { checkpoint: self, note }
    }
}

impl SignedCheckpoint {
    /// The checkpoint note that `bytes` spell; its signatures are not checked yet.
    ///
    /// # Errors
    ///
    /// [`NoteError`] when it is no note, or its text no checkpoint.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let note = Note::parse(bytes)?;
        let checkpoint = Checkpoint::parse(&note.text).ok_or(NoteError::Form)?;
        Ok(Self { checkpoint, note })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "audit.example.org/waterwall/host1\n1000\n\
                        YfARFRBdok3GmaITeVPXiXW1roJ3goNbW/MCkmeuCR8=\n";

    #[test]
    fn reads_back_what_it_writes() {
        let checkpoint = Checkpoint::parse(TEXT).unwrap();
        assert_eq!(checkpoint.size, 1000);
        assert_eq!(checkpoint.text(), TEXT);
    }

    #[test]
    fn refuses_every_other_spelling_b13() {
        for bad in [
            TEXT.replace("1000", "01000"),
            TEXT.replace("1000", "+1000"),
            TEXT.replace("1000", ""),
            TEXT.replace("1000", "18446744073709551616"),
            TEXT.replace("CR8=", "CR9="),
            TEXT.replace("CR8=", "CR8"),
            TEXT.replace("host1", "host 1"),
            format!("{TEXT}extension\n"),
            TEXT.trim_end().to_owned(),
            format!("{TEXT}\n"),
            TEXT.replace('\n', "\r\n"),
            String::new(),
        ] {
            assert_eq!(Checkpoint::parse(&bad), None, "{bad:?}");
        }
    }

    /// The text of a manifest note is no checkpoint (B14).
    #[test]
    fn refuses_the_other_kind_of_note_b14() {
        let manifest = "waterwall evidence manifest v1\nlog.example\n0000  MANIFEST.json\n";
        assert_eq!(Checkpoint::parse(manifest), None);
    }
}
