//! What a bundle says of itself, before a single line is looked at: note, manifest, list of files.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::super::keys::Keys;
use super::super::report::{Failure, Verdict, fail_anywhere};
use super::super::tally::Tally;
use super::super::{FRAMEWORKS, HEAD};
use super::contents::{Contents, is_lines};
use crate::evidence::bundle::{
    BundleType, MANIFEST, Manifest, ManifestError, NOTE, PREVIOUS_PROOF, RANGE_PROOF, SUMS,
    Statement,
};
use crate::evidence::hex;
use crate::evidence::note::{Note, NoteError, Signed, VerifierKey, key_from_pem};

/// A bundle's manifest, and the note that is yet to be checked.
pub(super) struct Papers {
    pub(super) manifest: Manifest,
    note: Note,
}

impl Papers {
    /// Reads note, manifest and sums, and compares every member with them.
    pub(super) fn read(contents: &Contents<'_>) -> Result<Self, Failure> {
        let unsigned = || fail_anywhere("E_MANIFEST_UNSIGNED", "MANIFEST.note is not signed");
        let bytes = contents.small(NOTE).ok_or_else(unsigned)?;
        let signed = Statement::of_note(bytes);
        let (statement, note) = signed.map_err(|error| match error {
            NoteError::Limit => fail_anywhere("E_LIMIT", error.to_string()),
            NoteError::Form if is_bare_statement(bytes) => unsigned(),
            NoteError::Form => fail_anywhere("E_NOTE", "MANIFEST.note is no manifest's note"),
        })?;
        let json = contents.small(MANIFEST).ok_or_else(|| missing(MANIFEST))?;
        if <[u8; 32]>::from(Sha256::digest(json)) != statement.sha256 {
            return Err(fail_anywhere("E_MANIFEST_HASH", "MANIFEST.json is not the one signed"));
        }
        let manifest = Manifest::parse(json).map_err(|error| match error {
            ManifestError::NotCanonical => {
                fail_anywhere("E_CANONICAL", "MANIFEST.json is not in canonical form")
            }
            ManifestError::Version => Failure {
                verdict: Verdict::Usage,
                ..fail_anywhere("E_VERSION", "unsupported version of a bundle")
            },
            ManifestError::Schema(field) => {
                fail_anywhere("E_SCHEMA", format!("MANIFEST.json: {field}"))
            }
        })?;
        if manifest.origin != statement.origin {
            return Err(fail_anywhere("E_ORIGIN", "MANIFEST.note is of another log"));
        }
        if !manifest.anchors.is_empty() {
            return Err(Failure {
                verdict: Verdict::Usage,
                ..fail_anywhere("E_VERSION", "unsupported: anchors inside a bundle")
            });
        }
        let papers = Self { manifest, note };
        papers.check_files(contents)?;
        papers.check_policies(contents)?;
        Ok(papers)
    }

    /// Every file listed is there and as listed; no other is there; all lists say the same.
    fn check_files(&self, contents: &Contents<'_>) -> Result<(), Failure> {
        let mut listed = BTreeSet::from([NOTE, MANIFEST, SUMS]);
        for file in &self.manifest.files {
            let name = file.file.as_str();
            let stored = contents.member(name).ok_or_else(|| missing(name))?;
            if (stored.size, stored.sha256) != (file.size, file.sha256) {
                return Err(fail_anywhere("E_FILE_HASH", format!("{name} is not as listed")));
            }
            if !listed.insert(name) {
                return Err(fail_anywhere("E_SCHEMA", "MANIFEST.json lists a file twice"));
            }
        }
        if let Some(name) = contents.names().find(|name| !listed.contains(name)) {
            return Err(fail_anywhere("E_FILE_UNLISTED", format!("{name} is not listed")));
        }
        let sums = contents.small(SUMS).ok_or_else(|| missing(SUMS))?;
        if sums != self.manifest.sums().as_bytes() {
            return Err(fail_anywhere("E_FILE_HASH", "SHA256SUMS is not what MANIFEST.json lists"));
        }
        let chain = self.manifest.chain.iter().map(|it| (&it.file, it.sha256, Some(it.size)));
        let receipts = self.manifest.receipts.iter().map(|it| (&it.file, it.sha256, None));
        for (name, sha256, size) in chain.chain(receipts) {
            let stored = contents.member(name).ok_or_else(|| missing(name))?;
            if stored.sha256 != sha256 || size.is_some_and(|size| size != stored.size) {
                return Err(fail_anywhere("E_FILE_HASH", format!("{name} is listed in two ways")));
            }
        }
        // Lines that no entry of `chain` names would be counted by nobody.
        let lines = contents.names().filter(|name| is_lines(name));
        let chained = self.manifest.chain.iter().map(|segment| segment.file.as_str());
        let (lines, chained): (BTreeSet<_>, BTreeSet<_>) = (lines.collect(), chained.collect());
        if lines != chained || chained.len() != self.manifest.chain.len() {
            return Err(fail_anywhere(
                "E_MANIFEST_COUNT",
                "chain does not name the files of lines",
            ));
        }
        self.check_places(contents)
    }

    /// Every member is one that is verified somewhere: what only lies in a bundle, beside what was
    /// verified, would be taken for evidence as well.
    fn check_places(&self, contents: &Contents<'_>) -> Result<(), Failure> {
        let manifest = &self.manifest;
        let mut known = BTreeSet::from([NOTE, MANIFEST, SUMS, HEAD, FRAMEWORKS, "VERIFY.txt"]);
        known.extend(manifest.previous.as_ref().map(|_| PREVIOUS_PROOF));
        known.extend((manifest.bundle_type == BundleType::Range).then_some(RANGE_PROOF));
        known.extend(manifest.chain.iter().map(|it| it.file.as_str()).filter(|it| is_lines(it)));
        known.extend(manifest.receipts.iter().map(|it| it.file.as_str()));
        known.extend(manifest.policies.iter().map(|it| it.file.as_str()));
        let is_known = |name: &str| known.contains(name) || name.starts_with("keys/");
        match contents.names().find(|name| !is_known(name)) {
            Some(name) => {
                let reason = format!("{name} is nothing that a bundle of this kind holds");
                Err(fail_anywhere("E_FILE_UNLISTED", reason))
            }
            None => Ok(()),
        }
    }

    fn check_policies(&self, contents: &Contents<'_>) -> Result<(), Failure> {
        for policy in &self.manifest.policies {
            let name = format!("policy/{}.json", hex::encode(&policy.policy_hash));
            let stored = contents.member(&policy.file).ok_or_else(|| missing(&policy.file))?;
            if policy.file != name || stored.sha256 != policy.policy_hash {
                let reason = format!("{} does not hash to the policy's name", policy.file);
                return Err(fail_anywhere("E_POLICY_HASH", reason));
            }
        }
        Ok(())
    }

    /// Whether the evidence key that is in force at the bundle's size signed the note, and the keys
    /// in the bundle are the log's. Gives that key's id.
    pub(super) fn check_signature(
        &self,
        contents: &Contents<'_>,
        keys: &Keys,
    ) -> Result<[u8; 4], Failure> {
        let key = keys.evidence_at(self.manifest.tree_size).ok_or_else(|| {
            fail_anywhere("E_UNKNOWN_KEY", "the log names no evidence key for this size")
        })?;
        match self.note.signed_by(key) {
            Signed::Valid => {}
            Signed::Invalid | Signed::Absent if keys.log_keys().any(|log| self.is_by(log)) => {
                let reason = "the log key signed the manifest, which the evidence key must";
                return Err(fail_anywhere("E_KEY_ROLE", reason));
            }
            Signed::Invalid => {
                return Err(fail_anywhere("E_SIGNATURE", "MANIFEST.note's signature is not valid"));
            }
            Signed::Absent if keys.evidence_keys().any(|old| self.is_by(old)) => {
                let reason = "the evidence key is not valid for this size";
                return Err(fail_anywhere("E_KEY_EPOCH", reason));
            }
            Signed::Absent => {
                let reason = "MANIFEST.note is not signed by the log's evidence key";
                return Err(fail_anywhere("E_UNKNOWN_KEY", reason));
            }
        }
        if self.manifest.signing_key_id != key.id() {
            return Err(fail_anywhere("E_UNKNOWN_KEY", "MANIFEST.json names another signing key"));
        }
        self.check_key_files(contents, keys)?;
        Ok(key.id())
    }

    /// Whether any of the note's signatures is this key's, under whatever name.
    fn is_by(&self, key: &VerifierKey) -> bool {
        self.note.signatures.iter().any(|line| {
            <&[u8; 64]>::try_from(line.signature.as_slice())
                .is_ok_and(|signature| key.verifies(self.note.text.as_bytes(), signature))
        })
    }

    /// A key that lies in a bundle proves nothing, but a wrong one would mislead.
    fn check_key_files(&self, contents: &Contents<'_>, keys: &Keys) -> Result<(), Failure> {
        let strange = |name: &str| {
            fail_anywhere("E_UNKNOWN_KEY", format!("{name} holds a key that the log does not name"))
        };
        let text_of = |name: &str| contents.small(name).and_then(|it| str::from_utf8(it).ok());
        for name in contents.names().filter(|name| name.starts_with("keys/")) {
            let text = text_of(name).ok_or_else(|| strange(name))?;
            let known = match VerifierKey::parse(text.trim_end()) {
                Ok(key) => keys.all().any(|named| *named == key),
                Err(_) => {
                    key_from_pem(text).is_ok_and(|key| keys.all().any(|named| *named.key() == key))
                }
            };
            if !known {
                return Err(strange(name));
            }
        }
        for listed in &self.manifest.keys {
            let key = text_of(&listed.file).and_then(|it| VerifierKey::parse(it.trim_end()).ok());
            let fits =
                key.is_some_and(|key| key.name() == listed.name && key.id() == listed.key_id);
            if !fits {
                return Err(strange(&listed.file));
            }
        }
        Ok(())
    }

    /// Whether the lines are what the manifest says they are.
    pub(super) fn check_lines(&self, tally: &Tally) -> Result<(), Failure> {
        let manifest = &self.manifest;
        let wrong = |what: &str| {
            Err(fail_anywhere("E_MANIFEST_COUNT", format!("{what} is not what the lines come to")))
        };
        if !manifest
            .counts
            .iter()
            .map(|(kind, count)| (kind.as_str(), *count))
            .eq(tally.counts.iter().map(|(kind, count)| (*kind, *count)))
        {
            return wrong("counts");
        }
        if tally.seqs.is_some_and(|seqs| seqs != manifest.seq_range) {
            return wrong("seq_range");
        }
        let selection = manifest.bundle_type == BundleType::Selection;
        if manifest.first_boundary_hash != tally.first_boundary.filter(|_| !selection) {
            return wrong("first_boundary_hash");
        }
        if manifest.chain.len() != tally.files.len() {
            return wrong("chain");
        }
        for (said, found) in manifest.chain.iter().zip(&tally.files) {
            let last_seq = (found.first_seq + found.lines).saturating_sub(1);
            if (said.first_seq, said.last_seq) != (found.first_seq, last_seq)
                || (said.lines, said.checkpoints) != (found.lines, found.checkpoints)
            {
                return wrong("chain");
            }
        }
        let named: BTreeSet<_> = manifest.policies.iter().map(|it| it.policy_hash).collect();
        match tally.policies.iter().find(|hash| !named.contains(*hash)) {
            Some(hash) => {
                let reason = format!("policy {} is not in the bundle", hex::encode(hash));
                Err(fail_anywhere("E_POLICY_MISSING", reason))
            }
            None => Ok(()),
        }
    }
}

fn missing(name: &str) -> Failure {
    fail_anywhere("E_FILE_MISSING", format!("{name} is missing"))
}

/// A manifest's text that nobody signed.
fn is_bare_statement(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_ok_and(|text| {
        Statement::parse(text).or_else(|| Statement::parse(text.strip_suffix('\n')?)).is_some()
    })
}
