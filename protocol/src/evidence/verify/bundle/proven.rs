//! Lines without the log around them: a range, and single receipts.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::super::keys::Keys;
use super::super::receipt;
use super::super::report::{Failure, fail, fail_anywhere};
use super::super::unreadable;
use super::super::walk::Walk;
use super::Evidence;
use crate::evidence::body::{Body, Genesis, KeyRotation};
use crate::evidence::bundle::{RANGE_LOG, RANGE_PROOF};
use crate::evidence::line::Line;
use crate::evidence::merkle::{Frontier, Hash};
use crate::evidence::note::Signed;
use crate::evidence::tlog_proof::MAX_PROOF;

/// The hashes that a file spells: base64, one a line.
pub(super) fn hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let text = str::from_utf8(bytes).ok()?;
    if text.is_empty() {
        return Some(Vec::new());
    }
    let lines = text.strip_suffix('\n')?.split('\n');
    lines.map(|line| STANDARD.decode(line).ok()?.try_into().ok()).collect()
}

/// The lines that say which keys a log has, each proven by its receipt.
struct KeyLines {
    genesis: Genesis,
    rotations: Vec<(u64, KeyRotation)>,
}

impl Evidence<'_, '_> {
    /// Consecutive lines: exactly these are the leaves between two numbers.
    pub(super) fn range(&self, walk: &mut Walk<'_>) -> Result<Keys, Failure> {
        let lines = self.receipts(|_| Ok(()))?;
        let (first, last) = self.manifest.seq_range;
        let (before, after): (Vec<_>, Vec<_>) =
            lines.rotations.iter().partition(|(seq, _)| *seq < first);
        let mut keys = Keys::of_genesis(&lines.genesis)?;
        before.into_iter().try_for_each(|(seq, line)| keys.rotate(line, *seq))?;

        let refuse = |reason: &str| fail_anywhere("E_RANGE_PROOF", reason);
        let proof = self.contents.small(RANGE_PROOF).and_then(hashes);
        let proof = proof.ok_or_else(|| refuse("log/range.proof is missing or malformed"))?;
        let peaks = (first - 1).count_ones() as usize;
        let too_short = || refuse("the range's proof has too few hashes");
        let (left, right) = proof.split_at_checked(peaks).ok_or_else(too_short)?;
        let edge = Frontier::of_peaks(first - 1, left.to_vec()).ok_or_else(too_short)?;
        walk.resume_at(edge, keys, &lines.genesis)?;
        let file = self.contents.stream(RANGE_LOG).map_err(unreadable)?;
        walk.range(file.ok_or_else(|| fail_anywhere("E_FILE_MISSING", "log/range.jsonl"))?)?;
        let tree = &self.head.checkpoint;
        if walk.root_with(right, tree.size) != Some(tree.root) {
            return Err(refuse("the lines are not exactly those of the log between these numbers"));
        }
        let mut keys = walk.keys.take().ok_or_else(|| fail("E_GENESIS", 1, "no genesis"))?;
        let after = after.into_iter().filter(|(seq, _)| *seq > last);
        after.into_iter().try_for_each(|(seq, line)| keys.rotate(line, *seq))?;
        walk.check_known_keys()?;
        self.check_head(walk, &keys)?;
        super::super::end::check_requests(walk)?;
        Ok(keys)
    }

    /// Single lines, each by its receipt.
    pub(super) fn selection(&self, walk: &mut Walk<'_>) -> Result<Keys, Failure> {
        let lines = self.receipts(|line| walk.count(line))?;
        let mut keys = Keys::of_genesis(&lines.genesis)?;
        lines.rotations.iter().try_for_each(|(seq, line)| keys.rotate(line, *seq))?;
        self.check_head(walk, &keys)?;
        Ok(keys)
    }

    /// Whether the auditor's own key signed `head.note`. In a full log he may pin any of its keys,
    /// because each hands over to the next over lines that are there; here they are not.
    fn check_head(&self, walk: &mut Walk<'_>, keys: &Keys) -> Result<(), Failure> {
        keys.check_pinned(&self.options.pinned)?;
        keys.check_note(self.head, self.head.checkpoint.size)?;
        let pinned = self.options.pinned.named(&self.head.checkpoint.origin);
        if pinned.is_none_or(|key| self.head.note.signed_by(&key) != Signed::Valid) {
            let reason = "the pinned key did not sign head.note: pin the newest, or export in full";
            return Err(fail_anywhere("E_UNKNOWN_KEY", reason));
        }
        walk.signed = (self.head.checkpoint.size, None);
        walk.anchored_alone(self.head, keys, &self.options.anchors)
    }

    /// Checks every receipt against `head.note`, shows each line to `saw`, and gives those about keys.
    fn receipts(
        &self,
        mut saw: impl FnMut(&Line) -> Result<(), Failure>,
    ) -> Result<KeyLines, Failure> {
        let (mut genesis, mut rotations) = (None, Vec::new());
        self.each_receipt(|line| {
            saw(&line)?;
            match line.body {
                Body::Genesis(body) if line.seq == 1 => genesis = Some(body),
                Body::KeyRotation(body) => rotations.push((line.seq, body)),
                _ => {}
            }
            Ok(())
        })?;
        let no_genesis = || fail("E_GENESIS", 1, "no receipt of the log's first line");
        Ok(KeyLines { genesis: genesis.ok_or_else(no_genesis)?, rotations })
    }

    /// Checks every receipt against `head.note`, and gives its line to `take`.
    pub(super) fn each_receipt(
        &self,
        mut take: impl FnMut(Line) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut last = 0;
        for listed in &self.manifest.receipts {
            if listed.seq <= last || listed.file != receipt_name(listed.seq) {
                return Err(fail_anywhere("E_SCHEMA", "MANIFEST.json: receipts"));
            }
            last = listed.seq;
            take(self.receipt(&listed.file, listed.seq)?)?;
        }
        Ok(())
    }

    fn receipt(&self, name: &str, seq: u64) -> Result<Line, Failure> {
        use std::io::Read;
        let missing = || fail_anywhere("E_FILE_MISSING", format!("{name} is missing"));
        let file = self.contents.stream(name).map_err(unreadable)?.ok_or_else(missing)?;
        let mut bytes = Vec::new();
        file.take(MAX_PROOF as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let proof = receipt::parse(&bytes)?;
        let line = receipt::line_of(&proof, seq)?;
        if proof.checkpoint != *self.head {
            return Err(fail("E_HEAD_ROOT", seq, "the receipt is not proven by head.note"));
        }
        receipt::check_inclusion(&proof, &line)?;
        if line.seq != seq {
            return Err(fail("E_SEQ", seq, "the receipt is of another line"));
        }
        Ok(line)
    }
}

/// The name of a line's receipt in a bundle.
fn receipt_name(seq: u64) -> String {
    format!("receipts/{seq:012}.tlog-proof")
}
