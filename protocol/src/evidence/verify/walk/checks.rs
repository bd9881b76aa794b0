//! The checks of one line, after its form.

use super::super::keys::Keys;
use super::super::report::{Failure, fail};
use super::super::requests::Follower;
use super::super::sessions::Compared;
use super::{Limits, Walk, gap};
use crate::evidence::body::{
    Body, Checkpoint, Genesis, KillSwitch, KillSwitchAction, Manifest, Redaction,
};
use crate::evidence::line::Line;

impl Walk<'_> {
    /// Genesis first, segment, `seq`, `prev_hash`, and what may stand at this place at all.
    pub(super) fn check_place(&mut self, line: &Line, seq: u64) -> Result<(), Failure> {
        let starts_segment = std::mem::take(&mut self.segment_starts);
        if starts_segment
            && let Some(name) = &self.named
            && line.seq != name.first
        {
            return Err(fail("E_SEGMENT_NAME", seq, "the segment begins with another line"));
        }
        if matches!(line.body, Body::Genesis(_)) != (seq == 1) {
            return Err(fail("E_GENESIS", seq, "genesis is the first line, and only that"));
        }
        if starts_segment && seq > self.first_seq && line.seq > seq {
            return Err(gap(seq, line.seq - 1));
        }
        if line.seq != seq {
            return Err(fail("E_SEQ", seq, format!("seq is {}, not {seq}", line.seq)));
        }
        if self.prev_hash.is_some_and(|hash| line.prev_hash != hash) {
            return Err(fail("E_PREV_HASH", seq, "prev_hash is not the hash of the line before"));
        }
        if self.rotation.is_some() && !starts_segment {
            return Err(fail("E_SEGMENT_NAME", seq, "a line follows the end of its segment"));
        }
        self.rotation = None;
        match (self.debris.take(), &line.body) {
            (Some(debris), Body::Recovery(recovery)) => {
                debris.check(recovery, seq)?;
                let text =
                    format!("{} bytes of a torn write were set aside before {seq}", debris.length);
                self.warn("W_RECOVERED", text);
                Ok(())
            }
            (None, Body::Recovery(_)) => {
                Err(fail("E_DEBRIS_HASH", seq, "there is no debris to recover from"))
            }
            (Some(debris), _) if debris.length > 0 => {
                Err(fail("E_DEBRIS_HASH", seq, "the segment before ends in undeclared bytes"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_clock(&mut self, line: &Line, seq: u64) -> Result<(), Failure> {
        if let Some((boot, up_ms)) = self.clock
            && boot == line.boot
        {
            let elapsed = line.up_ms.checked_sub(up_ms);
            match elapsed {
                None => return Err(fail("E_CLOCK", seq, "up_ms runs backwards within one boot")),
                Some(elapsed) if elapsed > self.limits.idle_ms => {
                    self.warn("W_IDLE_GAP", format!("{elapsed} ms without a line before {seq}"));
                }
                Some(_) => {}
            }
        }
        if self.last_ts.is_some_and(|last| line.ts < last) {
            self.warn("W_CLOCK_STEP", format!("the wall clock steps back before line {seq}"));
        }
        self.clock = Some((line.boot, line.up_ms));
        Ok(())
    }

    /// A log without any checkpoint line is a case of its own, judged at the end (4.17.3).
    pub(super) fn check_cadence(&mut self, line: &Line, seq: u64) -> Result<(), Failure> {
        if matches!(line.body, Body::Checkpoint(_)) {
            self.since_checkpoint = 0;
            return self.late_checkpoint.take().map_or(Ok(()), Err);
        }
        self.since_checkpoint += 1;
        if self.since_checkpoint <= self.limits.checkpoint_lines {
            return Ok(());
        }
        let late = fail("E_CADENCE", seq, "more lines without a checkpoint than genesis allows");
        if self.checkpoints > 0 {
            return Err(late);
        }
        self.late_checkpoint.get_or_insert(late);
        Ok(())
    }

    pub(super) fn check_body(&mut self, line: &Line, seq: u64) -> Result<(), Failure> {
        self.check_handover(&line.body, seq)?;
        match &line.body {
            Body::Genesis(genesis) => self.genesis(genesis),
            Body::Checkpoint(checkpoint) => self.checkpoint(checkpoint, seq),
            Body::Redaction(redaction) => self.redaction(redaction, seq),
            Body::ScanClean(scan) => {
                self.requests.account(scan.inst, scan.req_no_first, scan.req_no_last, seq)
            }
            Body::Block(block) => {
                self.requests.account(block.inst, block.req_no, block.req_no, seq)
            }
            Body::KillSwitch(KillSwitch {
                action: KillSwitchAction::Refused,
                inst: Some(inst),
                req_no: Some(req_no),
                ..
            }) => self.requests.account(*inst, *req_no, *req_no, seq),
            Body::Outcome(outcome) => {
                self.requests.follow(outcome.inst, outcome.req_no, Follower::Outcome, seq)
            }
            Body::Detokenization(restored) => {
                let what = Follower::Detokenization { part: restored.part };
                self.requests.follow(restored.inst, restored.req_no, what, seq)
            }
            Body::Start(start) if start.signer_size >= seq => {
                let reason = format!("the signer had signed {} lines here", start.signer_size);
                Err(fail("E_BEHIND_SIGNER", seq, reason))
            }
            Body::KeyRotation(rotation) => {
                let keys = self.keys.as_mut().ok_or_else(|| no_genesis(seq))?;
                self.handover = keys.newest_id().into_iter().collect();
                keys.rotate(rotation, seq)?;
                self.handover.extend(keys.newest_id());
                self.name_unknown_key()
            }
            Body::Rotation(rotation) => {
                self.rotation = Some(rotation.clone());
                Ok(())
            }
            Body::Prune(prune) => {
                self.prune_lines.insert(prune.first_kept_seq);
                Ok(())
            }
            Body::ClockStep(_) => {
                self.warn("W_CLOCK_STEP", format!("the wall clock stepped before line {seq}"));
                Ok(())
            }
            Body::Anchor(anchor) if anchor.tree_size >= seq => {
                Err(fail("E_ANCHOR", seq, "the anchor is of a larger tree"))
            }
            Body::Manifest(manifest) => self.session(manifest, seq),
            _ => Ok(()),
        }
    }

    fn session(&mut self, manifest: &Manifest, seq: u64) -> Result<(), Failure> {
        if let Compared::LinesGone = self.sessions.manifest(manifest, seq)? {
            self.warn("W_SESSION", format!("line {seq} sums up lines that are not here"));
        }
        Ok(())
    }

    /// The two lines after a key rotation: a checkpoint by the old key, then one by the new.
    fn check_handover(&mut self, body: &Body, seq: u64) -> Result<(), Failure> {
        if self.handover.is_empty() {
            return Ok(());
        }
        let key_id = self.handover.remove(0);
        match body {
            Body::Checkpoint(checkpoint) if checkpoint.signing_key_id == key_id => Ok(()),
            _ => Err(fail("E_KEY_ROTATION", seq, "both keys must sign right after a rotation")),
        }
    }

    fn genesis(&mut self, genesis: &Genesis) -> Result<(), Failure> {
        self.keys = Some(Keys::of_genesis(genesis)?);
        self.limits = Limits::of(genesis);
        self.predecessor.clone_from(&genesis.predecessor);
        if genesis.predecessor.is_some() {
            self.warn("W_PREDECESSOR", "this log stands in for one that was given up");
        }
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint, seq: u64) -> Result<(), Failure> {
        let keys = self.keys.as_ref().ok_or_else(|| no_genesis(seq))?;
        if checkpoint.origin != keys.origin {
            return Err(fail("E_ORIGIN", seq, "the checkpoint is of another log"));
        }
        let size = self.frontier.size();
        if checkpoint.tree_size != size {
            let reason = format!("the checkpoint is of size {}, not {size}", checkpoint.tree_size);
            return Err(fail("E_CHECKPOINT_SIZE", seq, reason));
        }
        if checkpoint.chain_root_hash != self.frontier.root() {
            let reason = "the root over the lines before is not the one signed";
            return Err(fail("E_CHECKPOINT_ROOT", seq, reason));
        }
        match keys.check_line(checkpoint, seq) {
            Err(failure) if failure.code == "E_UNKNOWN_KEY" => {
                // A failure either way; which one, a later rotation may tell.
                self.unknown_key.get_or_insert((checkpoint.signing_key_id, failure));
                return Ok(());
            }
            other => other?,
        }
        self.checkpoints += 1;
        self.signed = (size, self.last_ts);
        Ok(())
    }

    /// A key that signed before the rotation that brought it in stands outside its epoch.
    fn name_unknown_key(&mut self) -> Result<(), Failure> {
        let newest = self.keys.as_ref().and_then(Keys::newest_id);
        match self.unknown_key.take_if(|(key_id, _)| newest == Some(*key_id)) {
            Some((_, failure)) => Err(Failure {
                code: "E_KEY_EPOCH",
                reason: "the key is not valid for this size".into(),
                ..failure
            }),
            None => Ok(()),
        }
    }

    /// Fails where a checkpoint's key stayed unknown to the end.
    pub(in crate::evidence::verify) fn check_known_keys(&mut self) -> Result<(), Failure> {
        self.unknown_key.take().map_or(Ok(()), |(_, failure)| Err(failure))
    }

    fn redaction(&mut self, redaction: &Redaction, seq: u64) -> Result<(), Failure> {
        let sum: u64 = redaction.redactions.iter().map(|item| item.count).sum();
        if sum != redaction.redaction_count {
            return Err(fail("E_SCHEMA", seq, "redaction_count is not the sum of the counts"));
        }
        self.requests.redaction(redaction.inst, redaction.req_no, redaction.part, seq)
    }
}

fn no_genesis(seq: u64) -> Failure {
    fail("E_GENESIS", seq, "no genesis before this line")
}
