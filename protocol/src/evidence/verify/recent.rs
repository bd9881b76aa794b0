use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// How far back repetitions are looked for, in entries (evidence format 4.17.12).
const WINDOW: usize = 65_536;

/// The last [`WINDOW`] values, so that a log of any length is checked in bounded memory.
#[derive(Debug)]
pub(super) struct Recent<T> {
    order: VecDeque<T>,
    held: HashSet<T>,
}

impl<T: Copy + Eq + Hash> Recent<T> {
    pub(super) fn new() -> Self {
        Self { order: VecDeque::new(), held: HashSet::new() }
    }

    /// Remembers `value`; false when it is already among the recent ones.
    pub(super) fn insert(&mut self, value: T) -> bool {
        if !self.held.insert(value) {
            return false;
        }
        self.order.push_back(value);
        if self.order.len() > WINDOW
            && let Some(oldest) = self.order.pop_front()
        {
            self.held.remove(&oldest);
        }
        true
    }
}
