//! `verify-evidence`: is this bundle what the log's evidence key signed, and what the log key signs?
//!
//! The checks run in a fixed order: archive, note and manifest, files, lines and their proofs, keys
//! and signature of the manifest, what it says of the lines, the earlier bundle.

mod contents;
mod papers;
mod proven;
mod report;

use super::keys::{Keys, PinnedKey};
use super::report::{Failure, Verdict, fail, fail_anywhere, inconclusive};
use super::tally::Tally;
use super::walk::Walk;
use super::{HEAD, Options};
use crate::evidence::bundle::{BundleType, Manifest, PREVIOUS_PROOF};
use crate::evidence::checkpoint::SignedCheckpoint;
use crate::evidence::high_water;
use crate::evidence::merkle::verify_consistency;
use crate::evidence::timestamp::Timestamp;

use contents::Contents;
pub use contents::Opener;
use papers::Papers;
pub use report::BundleReport;

/// What the auditor brings to a bundle.
#[derive(Debug, Clone)]
pub struct BundleOptions {
    /// The log key he trusts.
    pub pinned: PinnedKey,
    /// Checkpoint notes kept outside the host.
    pub anchors: Vec<Vec<u8>>,
    /// The tree of an earlier bundle that he verified.
    pub previous: Option<Tree>,
    /// Whether warnings make the result inconclusive.
    pub strict: bool,
}

/// A log's tree at some size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The log.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: [u8; 32],
}

/// Verifies a bundle, whose archive `open` opens as often as it is asked.
#[must_use]
pub fn verify_bundle<'a>(open: &'a Opener<'a>, options: &BundleOptions) -> BundleReport {
    let mut report = BundleReport::new();
    let failed = check(open, options, &mut report).err();
    report.finish(failed, options.strict)
}

fn check<'a>(
    open: &'a Opener<'a>,
    options: &BundleOptions,
    report: &mut BundleReport,
) -> Result<(), Failure> {
    if !options.pinned.is_sound() {
        return Err(fail_anywhere("E_SIGNATURE", "the pinned key is of small order"));
    }
    let contents = Contents::read(open)?;
    let papers = Papers::read(&contents)?;
    let manifest = &papers.manifest;
    report.describe(manifest);
    let head = head(&contents, manifest)?;
    let mut walk = Walk::new(&contents);
    walk.tally = Some(Tally::default());
    let evidence = Evidence { contents: &contents, manifest, head: &head, options };
    let proven = match manifest.bundle_type {
        BundleType::Full => evidence.full(&mut walk),
        BundleType::Range => evidence.range(&mut walk),
        BundleType::Selection => evidence.selection(&mut walk),
    };
    report.count(&walk);
    let keys = proven?;
    report.key_ids = keys.ids();
    report.evidence_key_id = Some(papers.check_signature(&contents, &keys)?);
    let tally = walk.tally.take().unwrap_or_default();
    papers.check_lines(&tally)?;
    check_window(manifest, &tally)?;
    report.consistent_from = evidence.previous(&walk)?;
    report.warnings = walk.warnings;
    report.head = Some(head);
    Ok(())
}

/// The checkpoint that everything in the bundle is proven by.
fn head(contents: &Contents<'_>, manifest: &Manifest) -> Result<SignedCheckpoint, Failure> {
    let bytes = contents.small(HEAD);
    let bytes = bytes.ok_or_else(|| fail_anywhere("E_FILE_MISSING", "head.note is missing"))?;
    let head = SignedCheckpoint::parse(bytes)
        .map_err(|error| fail_anywhere("E_NOTE", format!("head.note: {error}")))?;
    let stated = &head.checkpoint;
    if stated.origin != manifest.origin {
        return Err(fail_anywhere("E_ORIGIN", "head.note is of another log"));
    }
    // A selection's numbers are within the tree by their proofs.
    if stated.size < manifest.seq_range.1 {
        let reason = format!("head.note is of size {}, older than the last line", stated.size);
        return Err(fail("E_UNSIGNED_TAIL", stated.size + 1, reason));
    }
    if (stated.size, stated.root) != (manifest.tree_size, manifest.root) {
        return Err(fail_anywhere("E_HEAD_ROOT", "head.note is of another tree than the manifest"));
    }
    Ok(head)
}

/// A bundle whose papers are in order.
struct Evidence<'b, 'a> {
    contents: &'b Contents<'a>,
    manifest: &'b Manifest,
    head: &'b SignedCheckpoint,
    options: &'b BundleOptions,
}

impl Evidence<'_, '_> {
    /// All retained lines, as a log directory of its own.
    fn full(&self, walk: &mut Walk<'_>) -> Result<Keys, Failure> {
        let options = Options {
            anchors: self.options.anchors.clone(),
            max_unsigned_lines: 0,
            ..Options::new(self.options.pinned.clone())
        };
        for previous in self.previous_sizes() {
            walk.watch(previous);
        }
        super::check(walk, self.contents, &options)?;
        let size = walk.size();
        if size != self.manifest.tree_size {
            let reason = format!("{size} lines, where the manifest's tree has another size");
            return Err(fail("E_MANIFEST_COUNT", size, reason));
        }
        // Nobody needs receipts beside all the lines, but whoever takes one out must get a true one.
        self.each_receipt(|_| Ok(()))?;
        walk.keys.take().ok_or_else(|| fail("E_GENESIS", 1, "no genesis"))
    }

    fn previous_sizes(&self) -> impl Iterator<Item = u64> {
        let named = self.manifest.previous.as_ref().map(|previous| previous.tree_size);
        named.into_iter().chain(self.options.previous.as_ref().map(|previous| previous.size))
    }

    /// Compares with the earlier bundle; gives its size where this one was proven to extend it.
    fn previous(&self, walk: &Walk<'_>) -> Result<Option<u64>, Failure> {
        let size = self.manifest.tree_size;
        let full = self.manifest.bundle_type == BundleType::Full;
        let here = |head: high_water::Head| {
            let reason = || format!("another root at size {} than the earlier bundle", head.size);
            let fork = || fail("E_FORK", head.size.max(1), reason());
            if full {
                let same = walk.seen(head.size).is_some_and(|seen| seen.root == head.root);
                return if same { Ok(()) } else { Err(fork()) };
            }
            let Some(proof) = self.contents.small(PREVIOUS_PROOF).map(proven::hashes) else {
                let reason = "the bundle has no consistency proof from the earlier one's size";
                return Err(inconclusive("E_NO_CONSISTENCY", reason));
            };
            let proof = proof.ok_or_else(fork)?;
            let tree = &self.head.checkpoint;
            if verify_consistency(head.size, &head.root, tree.size, &tree.root, &proof) {
                return Ok(());
            }
            Err(fork())
        };
        if let Some(named) = &self.manifest.previous {
            if named.tree_size > size {
                return Err(fail_anywhere(
                    "E_BEHIND_PREVIOUS",
                    "the manifest names a later bundle",
                ));
            }
            here(high_water::Head { size: named.tree_size, root: named.root })?;
        }
        let Some(given) = &self.options.previous else { return Ok(None) };
        if given.origin != self.manifest.origin {
            return Err(fail_anywhere("E_ORIGIN", "the earlier bundle is of another log"));
        }
        if given.size > size {
            let reason = format!("the earlier bundle has {} lines, this one {size}", given.size);
            return Err(fail("E_BEHIND_PREVIOUS", size + 1, reason));
        }
        let named = self.manifest.previous.as_ref().map(|it| it.tree_size);
        if !full && given.size < size && named != Some(given.size) {
            let reason = "the bundle proves nothing about the earlier one's size";
            return Err(inconclusive("E_NO_CONSISTENCY", reason));
        }
        if !full && given.size == size {
            let same = given.root == self.manifest.root;
            return if same { Ok(Some(size)) } else { Err(fail("E_FORK", size, "another root")) };
        }
        here(high_water::Head { size: given.size, root: given.root }).map(|()| Some(given.size))
    }
}

/// A bundle of a time window holds one line on each side of it, unless the log ends there.
fn check_window(manifest: &Manifest, tally: &Tally) -> Result<(), Failure> {
    let Some((first, last)) = tally.times else { return Ok(()) };
    let (since, until) = (manifest.since, manifest.until);
    let inside = |ts: Timestamp| {
        since.is_none_or(|since| since <= ts) && until.is_none_or(|until| ts <= until)
    };
    // Lines from another time altogether are outside the window too, and no reason to believe that
    // it holds nothing; only where the clock stepped may a neighbour be from the other side of it.
    let stepped = tally.counts.contains_key("clock_step");
    let wrong_first = |since| inside(first) || (first >= since && !stepped);
    let wrong_last = |until| inside(last) || (last <= until && !stepped);
    let cut_before = since.is_some_and(wrong_first) && manifest.seq_range.0 > 1;
    let cut_after = until.is_some_and(wrong_last) && manifest.seq_range.1 < manifest.tree_size;
    if manifest.bundle_type != BundleType::Selection && (cut_before || cut_after) {
        let reason = "the lines do not reach beyond the window of time that was asked for";
        return Err(fail_anywhere("E_MANIFEST_RANGE", reason));
    }
    Ok(())
}

impl Verdict {
    /// The verdict's word, as the first line and JSON have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Fail => "FAIL",
            Self::Usage => "ERROR",
            Self::Inconclusive => "INCONCLUSIVE",
        }
    }
}
