//! The end of the log: where the next line goes, what it must name, and what is staged for it.

use std::io;
use std::sync::Arc;

use protocol::evidence::body::Body;
use protocol::evidence::line::{self, Line, Unwritable};
use protocol::evidence::merkle::{Frontier, leaf_hash};
use protocol::evidence::timestamp::Timestamp;
use protocol::evidence::{chain, frameworks};
use sha2::{Digest, Sha256};

use crate::clock::Stamp;
use crate::sealer::Order;
use crate::storage::{LogFile, Storage, append_all};

/// What the next line depends on.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    boot: [u8; 8],
    /// Of the last line of this boot.
    up_ms: u64,
    prev_hash: [u8; 32],
    tree: Frontier,
}

/// Why a line was not made.
#[derive(Debug)]
pub(crate) enum Unstaged {
    /// The event breaks the grammar: its sender's fault.
    Grammar(Unwritable),
    /// No random bytes, or a clock after the year 9999: ours.
    Environment,
}

impl Chain {
    /// The chain of a log of which nothing is written, in this boot.
    pub(crate) fn new(boot: [u8; 8]) -> Self {
        Self { boot, up_ms: 0, prev_hash: chain::START, tree: Frontier::new() }
    }

    /// Lines so far; the number of the last one.
    pub(crate) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// What the next line's `prev_hash` is.
    pub(crate) fn prev_hash(&self) -> &[u8; 32] {
        &self.prev_hash
    }

    /// Takes note of the next line, given without its LF.
    pub(crate) fn extend(&mut self, line: &[u8]) {
        self.prev_hash = chain::link(line);
        self.tree.append(leaf_hash(line));
    }

    /// Makes the next line, without its LF.
    pub(crate) fn next(&mut self, body: Body, now: Stamp) -> Result<Vec<u8>, Unstaged> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|_| Unstaged::Environment)?;
        let line = Line {
            seq: self.size() + 1,
            ts: Timestamp::from_ms(now.wall_ms).ok_or(Unstaged::Environment)?,
            // A reading may be older than the line before: it was taken first and used later.
            up_ms: now.up_ms.max(self.up_ms),
            boot: self.boot,
            prev_hash: self.prev_hash,
            salt,
            frameworks: frameworks::tags(&body).iter().map(|tag| (*tag).to_owned()).collect(),
            body,
        };
        let bytes = line::encode(&line).map_err(Unstaged::Grammar)?;
        self.up_ms = line.up_ms;
        self.extend(&bytes);
        Ok(bytes)
    }
}

/// `boot` of every line: boots can be told apart, and two logs of one boot cannot be joined by it.
///
/// Dashes are left out, because `%b` of a unit has none and `/proc` has.
pub(crate) fn boot_label(boot_id: &str, origin: &str) -> [u8; 8] {
    let digits: String = boot_id.chars().filter(char::is_ascii_hexdigit).collect();
    let hash: [u8; 32] = Sha256::new_with_prefix(digits).chain_update(origin).finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = hash;
    [a, b, c, d, e, f, g, h]
}

/// The active file, and lines on their way to it.
#[derive(Debug)]
pub(crate) struct Log<S: Storage> {
    file: Arc<S::File>,
    chain: Chain,
    /// Where the file ends, in bytes.
    end: u64,
    staged: Vec<u8>,
    staged_lines: u64,
    unflushed: bool,
}

impl<S: Storage> Log<S> {
    /// A log that goes on after `chain`, at `end` of `file`.
    pub(crate) fn new(file: Arc<S::File>, chain: Chain, end: u64) -> Self {
        Self { file, chain, end, staged: Vec::new(), staged_lines: 0, unflushed: false }
    }

    /// Lines, staged ones included.
    pub(crate) fn size(&self) -> u64 {
        self.chain.size()
    }

    /// Bytes staged.
    pub(crate) fn staged(&self) -> usize {
        self.staged.len()
    }

    /// Stages all of `bodies`, or none; says the number of the first line.
    pub(crate) fn stage(
        &mut self,
        bodies: impl IntoIterator<Item = Body>,
        now: Stamp,
    ) -> Result<u64, Unstaged> {
        let first = self.size() + 1;
        let mut chain = self.chain.clone();
        let (kept, mut lines) = (self.staged.len(), 0);
        for body in bodies {
            match chain.next(body, now) {
                Ok(line) => {
                    self.staged.extend_from_slice(&line);
                    self.staged.push(b'\n');
                    lines += 1;
                }
                Err(error) => {
                    self.staged.truncate(kept);
                    return Err(error);
                }
            }
        }
        self.chain = chain;
        self.staged_lines += lines;
        Ok(first)
    }

    /// Writes what is staged with one `write`; says how many lines that was. After an error the
    /// log must not be used any more.
    pub(crate) fn write(&mut self) -> io::Result<u64> {
        if self.staged.is_empty() {
            return Ok(0);
        }
        append_all(&*self.file, &self.staged)?;
        self.end += self.staged.len() as u64;
        self.staged.clear();
        self.unflushed = true;
        Ok(std::mem::take(&mut self.staged_lines))
    }

    /// Makes what is written durable. After an error the log must not be used any more: the kernel
    /// may have dropped the bytes and would report the next flush as a success.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.unflushed {
            self.file.fdatasync()?;
            self.unflushed = false;
        }
        Ok(())
    }

    /// Everything written, to be signed.
    pub(crate) fn order(&self, in_log: bool) -> Order {
        Order { size: self.size(), root: self.chain.tree.root(), end: self.end, in_log }
    }
}

#[cfg(test)]
mod tests {
    use protocol::evidence::body::Stop;

    use super::*;
    use crate::storage::model::{Model, Trouble};

    const NOW: Stamp = Stamp { wall_ms: 1_700_000_000_000, up_ms: 5 };

    fn log() -> (Model, Log<Model>) {
        let model = Model::new();
        let file = Arc::new(model.create("proxy.jsonl").unwrap());
        (model, Log::new(file, Chain::new([1; 8]), 0))
    }

    fn stop(reason: &str) -> Body {
        Stop { reason: reason.into() }.into()
    }

    #[test]
    fn a_boot_has_one_label_however_its_id_is_spelled() {
        let plain = "0123456789abcdef0123456789abcdef";
        let dashed = "01234567-89ab-cdef-0123-456789abcdef\n";
        assert_eq!(boot_label(plain, "a"), boot_label(dashed, "a"));
        assert_ne!(boot_label(plain, "a"), boot_label(plain, "b"));
    }

    #[test]
    fn lines_follow_each_other_in_number_and_hash() {
        let (model, mut log) = log();
        assert_eq!(log.stage([stop("a"), stop("b")], NOW).unwrap(), 1);
        assert_eq!(log.write().unwrap(), 2);
        let text = model.files().remove("proxy.jsonl").unwrap();
        let lines: Vec<_> = text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
        let parsed: Vec<_> = lines.iter().map(|line| line::parse(line).unwrap()).collect();
        assert_eq!((parsed[0].seq, parsed[1].seq), (1, 2));
        assert_eq!(parsed[1].prev_hash, chain::link(lines[0]));
        assert_ne!(parsed[0].salt, parsed[1].salt);
        assert_eq!(log.order(false).end, text.len() as u64);
    }

    /// G14: one such line would fail the whole log for ever.
    #[test]
    fn a_reading_of_the_clock_that_is_used_late_does_not_turn_it_back() {
        let (model, mut log) = log();
        for up_ms in [7, 5, 6, 9] {
            log.stage([stop("a")], Stamp { up_ms, ..NOW }).unwrap();
        }
        log.write().unwrap();
        let text = model.files().remove("proxy.jsonl").unwrap();
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let times: Vec<u64> = lines.map(|line| line::parse(line).unwrap().up_ms).collect();
        assert_eq!(times, [7, 7, 7, 9]);
    }

    #[test]
    fn a_refused_line_takes_its_whole_event_with_it_and_nothing_else() {
        let (model, mut log) = log();
        log.stage([stop("kept")], NOW).unwrap();
        let long = "x".repeat(201);
        assert!(matches!(log.stage([stop("a"), stop(&long)], NOW), Err(Unstaged::Grammar(_))));
        assert_eq!(log.stage([stop("next")], NOW).unwrap(), 2);
        assert_eq!(log.write().unwrap(), 2);
        assert_eq!(model.files()["proxy.jsonl"].iter().filter(|byte| **byte == b'\n').count(), 2);
    }

    #[test]
    fn a_short_write_is_an_error_and_not_continued() {
        let (model, mut log) = log();
        log.stage([stop("a")], NOW).unwrap();
        model.arm(0, Trouble::Short);
        assert!(log.write().is_err());
        assert!(!model.files()["proxy.jsonl"].ends_with(b"\n"));
    }
}
