//! Inclusion proofs as files (c2sp.org/tlog-proof): a leaf, its place, the proof and a checkpoint.
//!
//! A receipt is one of these whose `extra` is the log line itself. By the format `extra` is
//! authenticated by nothing; here the proof binds it, because it is the leaf.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::checkpoint::SignedCheckpoint;
use super::merkle::Hash;
use super::note::NoteError;

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Longest file, in bytes: the longest line in base64, a proof, and a note of 64 signatures.
pub const MAX_PROOF: usize = 128 * 1024;

/// Most hashes that a proof in a tree of 64 levels has.
const MAX_HASHES: usize = 64;

/// A leaf, and the proof that it is in the tree of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// The leaf: a log line without its LF.
    pub leaf: Vec<u8>,
    /// Its index.
    pub index: u64,
    /// The RFC 6962 inclusion proof.
    pub hashes: Vec<Hash>,
    /// The checkpoint of the tree; its signatures are not checked yet.
    pub checkpoint: SignedCheckpoint,
}

/// Why bytes are not such a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofError {
    /// Longer than [`MAX_PROOF`].
    Limit,
    /// The part before the checkpoint is spelled in another way, or names no leaf.
    Form,
    /// What stands in the checkpoint's place is none.
    Checkpoint(NoteError),
}

impl ProofError {
    /// The stable code of the reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Limit | Self::Checkpoint(NoteError::Limit) => "E_LIMIT",
            Self::Form => "E_PROOF_FORMAT",
            Self::Checkpoint(NoteError::Form) => "E_NOTE",
        }
    }
}

impl std::fmt::Display for ProofError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Limit => write!(f, "receipt exceeds {MAX_PROOF} bytes"),
            Self::Form => f.write_str("not a tlog-proof with a leaf"),
            Self::Checkpoint(error) => write!(f, "in the checkpoint's place: {error}"),
        }
    }
}

impl std::error::Error for ProofError {}

impl TlogProof {
    /// The proof that `bytes` spell; nothing in it is checked yet.
    ///
    /// # Errors
    ///
    /// [`ProofError`]. Only one spelling is taken: what [`TlogProof`] displays.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        if bytes.len() > MAX_PROOF {
            return Err(ProofError::Limit);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ProofError::Form)?;
        let (head, note) = text.split_once("\n\n").ok_or(ProofError::Form)?;
        let (leaf, index, hashes) = head_of(head).ok_or(ProofError::Form)?;
        let checkpoint =
            SignedCheckpoint::parse(note.as_bytes()).map_err(ProofError::Checkpoint)?;
        Ok(Self { leaf, index, hashes, checkpoint })
    }
}

fn head_of(head: &str) -> Option<(Vec<u8>, u64, Vec<Hash>)> {
    let mut lines = head.split('\n');
    if lines.next()? != HEADER {
        return None;
    }
    let leaf = STANDARD.decode(lines.next()?.strip_prefix("extra ")?).ok()?;
    let spelled = lines.next()?.strip_prefix("index ")?;
    let index: u64 = spelled.parse().ok().filter(|index: &u64| index.to_string() == spelled)?;
    let hash = |line: &str| STANDARD.decode(line).ok()?.try_into().ok();
    let hashes: Vec<Hash> = lines.map(hash).collect::<Option<_>>()?;
    (!leaf.is_empty() && hashes.len() <= MAX_HASHES).then_some((leaf, index, hashes))
}

impl std::fmt::Display for TlogProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{HEADER}\nextra {}\nindex {}", STANDARD.encode(&self.leaf), self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint.note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::checkpoint::Checkpoint;
    use crate::evidence::note::VerifierKey;

    fn proof() -> TlogProof {
        let key = VerifierKey::new("log.example/1", [7; 32]).unwrap();
        let checkpoint = Checkpoint { origin: "log.example/1".into(), size: 9, root: [1; 32] };
        TlogProof {
            leaf: b"{}".to_vec(),
            index: 8,
            hashes: vec![[2; 32], [3; 32]],
            checkpoint: checkpoint.signed(&key, &[4; 64]),
        }
    }

    #[test]
    fn reads_back_what_it_writes() {
        for hashes in [Vec::new(), vec![[2; 32]], vec![[3; 32]; 64]] {
            let proof = TlogProof { hashes, ..proof() };
            assert_eq!(TlogProof::parse(proof.to_string().as_bytes()), Ok(proof));
        }
    }

    #[test]
    fn refuses_every_other_spelling_d09() {
        let good = proof().to_string();
        let many = TlogProof { hashes: vec![[2; 32]; 65], ..proof() }.to_string();
        for bad in [
            good.replace("extra e30=\n", ""),
            good.replace("extra e30=", "extra "),
            good.replace("extra e30=", "extra e30"),
            good.replace("extra e30=", "extra e31="),
            good.replace("extra e30=", "extra {}"),
            good.replace("extra", "Extra"),
            good.replace("index 8", "index 08"),
            good.replace("index 8", "index +8"),
            good.replace("index 8", "index -1"),
            good.replace("index 8", "index 18446744073709551616"),
            good.replace("index 8\n", ""),
            good.replace("@v1", "@v2"),
            good.replacen("AgICA", "AgIC", 1),
            good.replacen('\n', "\r\n", 3),
            many,
            String::new(),
        ] {
            assert_eq!(TlogProof::parse(bad.as_bytes()), Err(ProofError::Form), "{bad}");
        }
        let no_note = ProofError::Checkpoint(NoteError::Form);
        for bad in [good.replace("\n9\n", "\n09\n"), good.replace('\u{2014}', "-")] {
            assert_eq!(TlogProof::parse(bad.as_bytes()), Err(no_note), "{bad}");
        }
        let long = vec![b'x'; MAX_PROOF + 1];
        assert_eq!(TlogProof::parse(&long), Err(ProofError::Limit));
        assert_eq!(ProofError::Limit.code(), "E_LIMIT");
    }
}
