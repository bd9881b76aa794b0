use super::keys::Keys;
use super::report::{Failure, fail, inconclusive};
use super::requests::Tally;
use super::walk::{Ending, Walk};
use super::{HEAD, Options, SignerState, Source, small_file};
use crate::evidence::body::Predecessor;
use crate::evidence::checkpoint::SignedCheckpoint;
use crate::evidence::high_water::Head;
use crate::evidence::note::NoteError;
use crate::evidence::timestamp::Timestamp;

/// The checkpoint notes that the log must agree with.
pub(super) struct Notes {
    head: Option<Result<SignedCheckpoint, NoteError>>,
    signer: Option<Signer>,
    anchors: Vec<Result<SignedCheckpoint, NoteError>>,
}

enum Signer {
    Note(Result<SignedCheckpoint, NoteError>),
    Head(Head),
}

/// Where a note is from, and so what it means when the log does not agree with it.
struct Kind {
    name: &'static str,
    behind: &'static str,
    differs: &'static str,
}

const HEAD_NOTE: Kind = Kind { name: "head.note", behind: "E_BEHIND_HEAD", differs: "E_HEAD_ROOT" };
const SIGNER: Kind =
    Kind { name: "the signer's state", behind: "E_BEHIND_SIGNER", differs: "E_FORK" };
const ANCHOR: Kind = Kind { name: "an anchor", behind: "E_BEHIND_ANCHOR", differs: "E_FORK" };

const UNANCHORED: &str = "no anchor given: whoever holds the key can rewrite everything";

impl Notes {
    pub(super) fn read(source: &dyn Source, options: &Options) -> Result<Self, Failure> {
        let parse = |bytes: &Vec<u8>| SignedCheckpoint::parse(bytes);
        Ok(Self {
            head: small_file(source, HEAD)?.as_ref().map(parse),
            signer: options.signer_state.as_ref().map(|state| match state {
                SignerState::Note(bytes) => Signer::Note(parse(bytes)),
                SignerState::Head(head) => Signer::Head(*head),
            }),
            anchors: options.anchors.iter().map(parse).collect(),
        })
    }

    fn well_formed(&self) -> impl Iterator<Item = &SignedCheckpoint> {
        let signer = self.signer.iter().filter_map(|signer| match signer {
            Signer::Note(note) => Some(note),
            Signer::Head(_) => None,
        });
        self.head.iter().chain(signer).chain(&self.anchors).flatten()
    }

    /// The sizes they state.
    pub(super) fn sizes(&self) -> impl Iterator<Item = u64> {
        let mark = match &self.signer {
            Some(Signer::Head(head)) => Some(head.size),
            _ => None,
        };
        self.well_formed().map(|signed| signed.checkpoint.size).chain(mark)
    }

    /// The log's name as the head states it.
    pub(super) fn head_origin(&self) -> Option<&str> {
        self.head.as_ref()?.as_ref().ok().map(|head| head.checkpoint.origin.as_str())
    }
}

/// The checks that only the end of the log allows.
pub(super) fn check(
    walk: &mut Walk<'_>,
    notes: &Notes,
    options: &Options,
    torn: bool,
) -> Result<(), Failure> {
    walk.check_known_keys()?;
    check_requests(walk)?;
    if walk.keys.is_none() {
        // Not one line, so not one key; but what the auditor holds may still say there were some.
        walk.keys = notes.well_formed().find_map(|signed| {
            options.pinned.named(&signed.checkpoint.origin).map(Keys::of_pinned)
        });
    }
    if let Some(head) = &notes.head {
        let (size, ts) = agrees(walk, head, &HEAD_NOTE)?;
        if size > walk.signed.0 {
            walk.signed = (size, ts);
        }
    }
    match &notes.signer {
        Some(Signer::Note(note)) => drop(agrees(walk, note, &SIGNER)?),
        Some(Signer::Head(head)) => drop(holds(walk, *head, &SIGNER)?),
        None => {}
    }
    for anchor in &notes.anchors {
        let (size, _) = agrees(walk, anchor, &ANCHOR)?;
        walk.anchored.push(size);
    }
    if let Some(stated) = &options.stated_by_successor {
        reaches(walk, stated)?;
    }
    if walk.lines() > 0
        && let Some(keys) = &walk.keys
    {
        keys.check_pinned(&options.pinned)?;
    }
    check_pruned(walk)?;
    if torn {
        return Err(inconclusive("E_TORN_TAIL", "the last line is not whole"));
    }
    if walk.lines() == 0 {
        return Err(inconclusive("E_EMPTY", "the log is empty"));
    }
    check_tail(walk, notes.head.is_some(), options)?;
    if notes.anchors.is_empty() {
        walk.warn("W_UNANCHORED", UNANCHORED);
    }
    Ok(())
}

pub(super) fn check_requests(walk: &mut Walk<'_>) -> Result<(), Failure> {
    let orderly = matches!(walk.ending, Ending::Stop | Ending::Closed);
    let interrupted = if orderly { walk.interrupted } else { Some(walk.size()) };
    if let Tally::TailMissing(text) = walk.requests.tally(interrupted)? {
        walk.warn("W_REQ_TAIL", text);
    }
    Ok(())
}

/// Origin, size, root, keys and signatures of a note, in this order. Gives its size, and the time
/// of the last line under it.
fn agrees(
    walk: &Walk<'_>,
    note: &Result<SignedCheckpoint, NoteError>,
    kind: &Kind,
) -> Result<(u64, Option<Timestamp>), Failure> {
    let size = walk.size();
    let signed = note.as_ref().map_err(|error| {
        let code = if *error == NoteError::Limit { "E_LIMIT" } else { "E_NOTE" };
        fail(code, size, format!("{}: {error}", kind.name))
    })?;
    let stated = &signed.checkpoint;
    let wrong_log = || fail("E_ORIGIN", size.max(1), format!("{} is of another log", kind.name));
    let keys = walk.keys.as_ref().ok_or_else(wrong_log)?;
    if stated.origin != keys.origin {
        return Err(wrong_log());
    }
    let ts = holds(walk, Head { size: stated.size, root: stated.root }, kind)?;
    keys.check_note(signed, stated.size)?;
    Ok((stated.size, ts))
}

/// Whether the log goes as far as `head` and has its root there. Gives the time of the last line
/// under it.
fn holds(walk: &Walk<'_>, head: Head, kind: &Kind) -> Result<Option<Timestamp>, Failure> {
    let size = walk.size();
    if head.size > size {
        let reason = format!("{} is of size {}, the log has {size} lines", kind.name, head.size);
        return Err(fail(kind.behind, size + 1, reason));
    }
    let seen = walk.seen(head.size);
    if seen.is_none_or(|seen| seen.root != head.root) {
        let reason = format!("the log has another root at size {} than {}", head.size, kind.name);
        return Err(fail(kind.differs, head.size, reason));
    }
    Ok(seen.and_then(|seen| seen.ts))
}

/// Whether the log goes as far as the one that stands in for it says it did.
fn reaches(walk: &Walk<'_>, stated: &Predecessor) -> Result<(), Failure> {
    let size = walk.size();
    if walk.keys.as_ref().is_some_and(|keys| keys.origin != stated.origin) {
        return Err(fail("E_ORIGIN", size.max(1), "another log is named as the predecessor"));
    }
    if stated.tree_size > size {
        let reason = format!("its successor knew {} lines, here are {size}", stated.tree_size);
        return Err(fail("E_BEHIND_PREDECESSOR", size + 1, reason));
    }
    if walk.seen(stated.tree_size).is_none_or(|seen| seen.root != stated.root) {
        let reason = "its successor knew another root at this size";
        return Err(fail("E_FORK", stated.tree_size, reason));
    }
    Ok(())
}

impl Walk<'_> {
    /// Compares anchors with a head where the lines between are not there.
    pub(super) fn anchored_alone(
        &mut self,
        head: &SignedCheckpoint,
        keys: &Keys,
        anchors: &[Vec<u8>],
    ) -> Result<(), Failure> {
        let tree = &head.checkpoint;
        for bytes in anchors {
            let anchor = SignedCheckpoint::parse(bytes)
                .map_err(|error| fail("E_NOTE", tree.size, format!("{}: {error}", ANCHOR.name)))?;
            let stated = &anchor.checkpoint;
            if stated.origin != tree.origin {
                return Err(fail("E_ORIGIN", tree.size, "an anchor is of another log"));
            }
            keys.check_note(&anchor, stated.size)?;
            if stated.size > tree.size {
                let reason = format!("an anchor is of size {}, beyond the head", stated.size);
                return Err(fail("E_BEHIND_ANCHOR", tree.size + 1, reason));
            }
            if stated.size == tree.size && stated.root != tree.root {
                return Err(fail("E_FORK", tree.size, "an anchor has another root at this size"));
            }
            if stated.size < tree.size {
                self.warn("W_ANCHOR_APART", "an anchor is older than the bundle's head");
            }
        }
        if anchors.is_empty() {
            self.warn("W_UNANCHORED", UNANCHORED);
        }
        Ok(())
    }
}

fn check_pruned(walk: &mut Walk<'_>) -> Result<(), Failure> {
    let first = walk.first_seq;
    if first == 1 {
        return Ok(());
    }
    if !walk.prune_lines.contains(&first) {
        let reason = format!("lines 1 to {} are missing, and no line says why", first - 1);
        return Err(fail("E_SEGMENT_GAP", 1, reason));
    }
    walk.warn("W_PRUNED", format!("lines 1 to {} were pruned", first - 1));
    Ok(())
}

/// Whether the end of the log is proven, and how much of it is not signed.
fn check_tail(walk: &mut Walk<'_>, has_head: bool, options: &Options) -> Result<(), Failure> {
    if walk.checkpoints == 0 && !has_head {
        walk.late_checkpoint = None;
        return Err(inconclusive("E_NO_CHECKPOINT", "nothing in this log is signed"));
    }
    if let Some(late) = walk.late_checkpoint.take() {
        return Err(late);
    }
    if !has_head && walk.ending != Ending::Closed {
        return Err(inconclusive(
            "E_NO_HEAD",
            "without head.note the end of the log is not proven",
        ));
    }
    let (size, signed) = (walk.size(), walk.signed.0);
    let ends_checked = matches!(walk.ending, Ending::Checkpoint | Ending::Closed);
    walk.unsigned_tail = (size - signed).saturating_sub(u64::from(ends_checked));
    if walk.unsigned_tail > options.max_unsigned_lines {
        let reason = format!("{} lines are newer than the last signature", walk.unsigned_tail);
        return Err(inconclusive("E_UNSIGNED_TAIL", reason));
    }
    Ok(())
}
