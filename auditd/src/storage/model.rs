//! A disk in memory that remembers what would survive: the power can be cut, or one call fail, at
//! every operation, and each plausible state of the disk afterwards can be looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

use super::{LogFile, Storage};

/// What one file looks like to a running system, and what of it is safe.
#[derive(Debug, Clone, Default)]
struct Node {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Ranges of `live` written since the last flush, in order.
    pending: Vec<(usize, usize)>,
}

impl Node {
    fn flush(&mut self) {
        for (start, end) in std::mem::take(&mut self.pending) {
            self.keep(start, end);
        }
    }

    /// Bytes that were never flushed, because a flush failed, leave a hole of zeros.
    fn keep(&mut self, start: usize, end: usize) {
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(&self.live[start..end]);
    }

    /// What a crash may leave: nothing, all, or some of what was not flushed.
    fn after(&self, fate: Fate) -> Vec<u8> {
        let mut node = self.clone();
        let pending = std::mem::take(&mut node.pending);
        let last = pending.len().saturating_sub(1);
        for (index, (start, end)) in pending.into_iter().enumerate() {
            let middle = start + (end - start) / 2;
            match fate {
                Fate::Lost => {}
                Fate::Torn if index == last => node.keep(start, middle),
                Fate::NoEnd if index == last => node.keep(start, end - 1),
                Fate::Holed if index == last => node.keep(middle, end),
                Fate::Kept | Fate::Torn | Fate::NoEnd | Fate::Holed => node.keep(start, end),
            }
        }
        node.durable
    }
}

/// What becomes of bytes written and not flushed when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// None are there.
    Lost,
    /// All are there.
    Kept,
    /// The last write's first half is there.
    Torn,
    /// All but the very last byte is there.
    NoEnd,
    /// The last write's second half is there, after zeros.
    Holed,
}

impl Fate {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Lost, Self::Kept, Self::Torn, Self::NoEnd, Self::Holed];
}

/// What happens at the chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The power goes before it. Everything later fails as well.
    Cut,
    /// It fails once; a failed flush loses what it should have kept, and the next one succeeds.
    Fail(Errno),
    /// An append takes only half of its bytes.
    Short,
}

#[derive(Debug, Clone, Copy)]
enum Name {
    Put(usize),
    Gone,
}

#[derive(Debug, Default)]
struct State {
    nodes: Vec<Node>,
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// Changes of names since the last sync of the directory; one call may make several at once.
    pending: Vec<Vec<(String, Name)>>,
    operations: usize,
    flushes: usize,
    trouble: Option<(usize, Trouble)>,
    flush_trouble: Option<usize>,
    off: bool,
    free: u64,
    lies_from: Option<usize>,
}

impl State {
    /// Counts an operation; says what goes wrong with it.
    fn operate(&mut self) -> io::Result<Option<Trouble>> {
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        let trouble = self.trouble.filter(|(at, _)| *at == self.operations);
        self.operations += 1;
        let trouble = trouble.map(|(_, trouble)| trouble);
        self.off = trouble == Some(Trouble::Cut);
        Ok(trouble)
    }

    /// As [`Self::operate`], for calls that either happen or do not.
    fn attempt(&mut self) -> io::Result<()> {
        match self.operate()? {
            Some(Trouble::Cut) => Err(io::Error::other("the power is cut")),
            Some(Trouble::Fail(errno)) => Err(errno.into()),
            Some(Trouble::Short) | None => Ok(()),
        }
    }

    fn change(&mut self, change: Vec<(String, Name)>) {
        apply(&mut self.names, &change);
        self.pending.push(change);
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: &[(String, Name)]) {
    for (name, what) in change {
        match what {
            Name::Put(node) => drop(names.insert(name.clone(), *node)),
            Name::Gone => drop(names.remove(name)),
        }
    }
}

/// A log directory in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model(Arc<Mutex<State>>);

impl Model {
    /// An empty directory on a large disk.
    pub(crate) fn new() -> Self {
        let model = Self::default();
        model.state().free = u64::MAX;
        model
    }

    /// A directory that holds `files`, all durable.
    pub(crate) fn holding(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let model = Self::new();
        {
            let mut state = model.state();
            for (index, (name, bytes)) in files.iter().enumerate() {
                let node =
                    Node { live: bytes.clone(), durable: bytes.clone(), pending: Vec::new() };
                state.nodes.push(node);
                state.names.insert(name.clone(), index);
            }
            state.durable = state.names.clone();
        }
        model
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the `at`-th operation from now on run into `trouble`.
    pub(crate) fn arm(&self, at: usize, trouble: Trouble) {
        let mut state = self.state();
        state.trouble = Some((state.operations + at, trouble));
    }

    /// Lets the next flush of a file fail once, and lose what it should have kept.
    pub(crate) fn fail_next_flush(&self) {
        let mut state = self.state();
        state.flush_trouble = Some(state.flushes);
    }

    /// Lets reads return something else than what was written beyond `offset`.
    pub(crate) fn lie_when_read(&self, offset: usize) {
        self.state().lies_from = Some(offset);
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> usize {
        self.state().operations
    }

    /// Sets the free space, in bytes.
    pub(crate) fn set_free(&self, free: u64) {
        self.state().free = free;
    }

    /// The files as the running system sees them.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let see = |(name, node): (&String, &usize)| (name.clone(), state.nodes[*node].live.clone());
        state.names.iter().map(see).collect()
    }

    /// Every state a crash at this moment may leave: any prefix of the pending changes of names
    /// (they are journalled in order), times the fate of unflushed bytes.
    pub(crate) fn survivors(&self) -> BTreeSet<BTreeMap<String, Vec<u8>>> {
        let state = self.state();
        let mut survivors = BTreeSet::new();
        for kept in 0..=state.pending.len() {
            let mut names = state.durable.clone();
            state.pending[..kept].iter().for_each(|change| apply(&mut names, change));
            for fate in Fate::ALL {
                let see = |(name, node): (&String, &usize)| {
                    (name.clone(), state.nodes[*node].after(fate))
                };
                survivors.insert(names.iter().map(see).collect());
            }
        }
        survivors
    }

    fn open_node(&self, node: usize) -> ModelFile {
        ModelFile { model: self.clone(), node }
    }
}

impl Storage for Model {
    type File = ModelFile;

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let state = self.state();
        let inside = |name: &String| {
            let (of, name) = name.rsplit_once('/').unwrap_or(("", name));
            (of == folder).then(|| name.to_owned())
        };
        Ok(state.names.keys().filter_map(inside).collect())
    }

    fn open(&self, name: &str) -> io::Result<ModelFile> {
        let node = self.state().names.get(name).copied();
        node.map(|node| self.open_node(node)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, name: &str) -> io::Result<ModelFile> {
        let mut state = self.state();
        state.attempt()?;
        state.nodes.push(Node::default());
        let node = state.nodes.len() - 1;
        state.change(vec![(name.into(), Name::Put(node))]);
        Ok(self.open_node(node))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.attempt()?;
        let node = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.change(vec![(from.into(), Name::Gone), (to.into(), Name::Put(node))]);
        Ok(())
    }

    fn sync_dir(&self, _folder: &str) -> io::Result<()> {
        let mut state = self.state();
        state.attempt()?;
        state.durable = state.names.clone();
        state.pending.clear();
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.state().free)
    }

    fn reserve(&self, _claimed: bool) -> io::Result<()> {
        Ok(())
    }
}

/// A file of a [`Model`].
#[derive(Debug)]
pub(crate) struct ModelFile {
    model: Model,
    node: usize,
}

impl LogFile for ModelFile {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.model.state();
        let trouble = state.operate()?;
        if let Some(Trouble::Fail(errno)) = trouble {
            return Err(errno.into());
        }
        let taken = if trouble == Some(Trouble::Short) { bytes.len() / 2 } else { bytes.len() };
        state.write(self.node, &bytes[..taken]);
        // The write may well have begun when the power went.
        if trouble == Some(Trouble::Cut) {
            return Err(io::Error::other("the power is cut"));
        }
        Ok(taken)
    }

    fn fdatasync(&self) -> io::Result<()> {
        let mut state = self.model.state();
        if state.off {
            return state.attempt();
        }
        let flush = state.flushes;
        state.flushes += 1;
        let node = self.node;
        let attempt = state.attempt();
        if state.off {
            return attempt;
        }
        if attempt.is_err() || state.flush_trouble == Some(flush) {
            state.nodes[node].pending.clear();
            return Err(Errno::EIO.into());
        }
        state.nodes[node].flush();
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.model.state();
        if state.off {
            return Err(io::Error::other("the power is off"));
        }
        let live = &state.nodes[self.node].live;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(live.len());
        let taken = buffer.len().min(live.len() - start);
        buffer[..taken].copy_from_slice(&live[start..start + taken]);
        if state.lies_from.is_some_and(|offset| start >= offset) && taken > 2 {
            buffer[taken - 2] ^= 1;
        }
        Ok(taken)
    }

    fn lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}

impl State {
    fn write(&mut self, node: usize, bytes: &[u8]) {
        let node = &mut self.nodes[node];
        let start = node.live.len();
        node.live.extend_from_slice(bytes);
        node.pending.push((start, node.live.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{append_all, replace};
    use super::*;

    #[test]
    fn what_is_flushed_and_named_survives_every_crash() {
        let model = Model::new();
        replace(&model, "tmp", "head.note", b"one").unwrap();
        let file = model.open("head.note").unwrap();
        append_all(&file, b"two").unwrap();
        let survivors = model.survivors();
        assert!(survivors.iter().all(|files| files["head.note"].starts_with(b"one")));
        let contents: BTreeSet<_> =
            survivors.iter().map(|files| files["head.note"].as_slice()).collect();
        assert_eq!(
            contents,
            BTreeSet::from([&b"one"[..], b"onet", b"onetw", b"onetwo", b"one\0wo"])
        );
    }

    #[test]
    fn a_replacement_is_old_or_new_at_every_cut() {
        for cut in 0.. {
            let model = Model::new();
            replace(&model, "tmp", "head.note", b"old").unwrap();
            model.arm(cut, Trouble::Cut);
            let done = replace(&model, "tmp", "head.note", b"new").is_ok();
            for files in model.survivors() {
                let text = files["head.note"].as_slice();
                assert!(text == b"new" || (text == b"old" && !done), "cut {cut}: {text:?}");
            }
            if done {
                return;
            }
        }
    }

    #[test]
    fn a_failed_flush_loses_the_bytes_although_the_next_one_succeeds() {
        let model = Model::new();
        let file = model.create("log").unwrap();
        model.sync_dir("").unwrap();
        append_all(&file, b"lost").unwrap();
        model.fail_next_flush();
        assert!(file.fdatasync().is_err());
        append_all(&file, b"kept").unwrap();
        file.fdatasync().unwrap();
        assert!(model.survivors().iter().all(|files| files["log"] == b"\0\0\0\0kept"));
    }
}
