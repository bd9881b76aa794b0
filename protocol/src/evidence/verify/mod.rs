//! `verify-chain`: is this log whole, in order, unchanged and signed?
//!
//! Written from the evidence format alone and sharing with the writer only what both must agree
//! on: canonical bytes, hashes, notes. It never trusts a cache, a file name or a key it was not
//! given, reads each segment once, and holds a bounded amount of memory for a log of any length.
//!
//! The first failure in log order wins, and the checks of a line run in a fixed order, so that two
//! implementations name the same code (section 4.17.6): length, depth, canonical form, version,
//! schema, framework tag, genesis first, `seq`, `prev_hash`, `up_ms`, cadence, then those of the
//! type. At the end: request numbers, head, signer state, anchors, pinned key, torn tail, proven
//! end, tail length.

mod bundle;
mod end;
mod keys;
mod receipt;
mod recent;
mod report;
mod requests;
mod segments;
mod sessions;
mod tally;
#[cfg(test)]
mod tests;
mod tiles;
mod walk;

use std::io::{self, Read};

pub use bundle::{BundleOptions, BundleReport, Opener, Tree, verify_bundle};
pub use keys::PinnedKey;
pub use receipt::{ReceiptOptions, ReceiptReport, verify_receipt};
pub use report::{Report, Verdict, Warning};
pub use segments::{ACTIVE, ClosedName};

use report::{Failure, fail, usage};
use walk::Walk;

use super::body::Predecessor;
use super::high_water::Head;

/// Name of the newest checkpoint note beside the segments.
pub const HEAD: &str = "head.note";

/// Name of the framework table beside the segments.
pub const FRAMEWORKS: &str = "frameworks.json";

/// Most bytes read of a note or a framework table.
const SMALL_FILE: u64 = 1024 * 1024;

/// A log directory, as far as a verifier needs one.
pub trait Source {
    /// The names of the files directly in it.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being listed.
    fn names(&self) -> io::Result<Vec<String>>;

    /// The file `name`, where `/` separates folders; `None` when there is none.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being read.
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>>;
}

/// What the auditor brings, and how much he asks for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The log key he trusts.
    pub pinned: PinnedKey,
    /// Checkpoint notes kept outside the host.
    pub anchors: Vec<Vec<u8>>,
    /// What the signer signed last.
    pub signer_state: Option<SignerState>,
    /// What the log that stands in for this one says of its end: [`Report::predecessor`] of that
    /// one.
    pub stated_by_successor: Option<Predecessor>,
    /// Whether the log is being written to, so that its last line may be half there.
    pub live: bool,
    /// Whether warnings make the result inconclusive.
    pub strict: bool,
    /// Most lines that may be newer than the last signature.
    pub max_unsigned_lines: u64,
}

/// What the signer says it signed last, which the log must hold.
#[derive(Debug, Clone)]
pub enum SignerState {
    /// Its newest checkpoint note.
    Note(Vec<u8>),
    /// Its high-water mark, from its own folder. Nothing signs it: it can show that a log was cut or
    /// rewritten, never that one was not.
    Head(Head),
}

impl Options {
    /// Nothing but a key, and the defaults.
    #[must_use]
    pub fn new(pinned: PinnedKey) -> Self {
        Self {
            pinned,
            anchors: Vec::new(),
            signer_state: None,
            stated_by_successor: None,
            live: false,
            strict: false,
            max_unsigned_lines: 1000,
        }
    }
}

/// Verifies a whole log.
#[must_use]
pub fn verify_chain(source: &dyn Source, options: &Options) -> Report {
    let mut walk = Walk::new(source);
    let failed = check(&mut walk, source, options).err();
    walk.into_report(failed, options.strict)
}

fn check(walk: &mut Walk<'_>, source: &dyn Source, options: &Options) -> Result<(), Failure> {
    if !options.pinned.is_sound() {
        return Err(fail("E_SIGNATURE", 1, "the pinned key is of small order"));
    }
    // Before any line, so that a log that grows meanwhile is never behind what is asked of it.
    let notes = end::Notes::read(source, options)?;
    notes.sizes().for_each(|size| walk.watch(size));
    options.stated_by_successor.iter().for_each(|stated| walk.watch(stated.tree_size));
    let names = source.names().map_err(unreadable)?;
    let (closed, active) = segments::in_order(&names)?;
    if closed.is_empty() && !active {
        return Err(usage("E_NO_LOG", "no log here"));
    }
    let mut torn = false;
    for (index, name) in closed.iter().enumerate() {
        let file = open(source, &name.to_string())?;
        if index == 0 && name.first > 1 {
            walk.resume_after_prune(name.first, options, notes.head_origin())?;
        }
        walk.closed_segment(file, name)?;
    }
    if active {
        let file = open(source, ACTIVE)?;
        torn = walk.active_segment(file, options.live)?;
    }
    end::check(walk, &notes, options, torn || walk.ends_in_debris())
}

fn open<'s>(source: &'s dyn Source, name: &str) -> Result<Box<dyn Read + 's>, Failure> {
    let file = source.open(name).map_err(unreadable)?;
    file.ok_or_else(|| usage("E_IO", "a segment vanished while it was being read"))
}

/// A small file as a whole, where there is one.
fn small_file(source: &dyn Source, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let Some(file) = source.open(name).map_err(unreadable)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(SMALL_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Some(bytes))
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn unreadable(error: io::Error) -> Failure {
    usage("E_IO", format!("cannot read: {error}"))
}
