use super::spans::{self, Span};
use super::{Frontier, Hash, empty_root, fold, node_hash};

/// A tree that makes proofs.
///
/// It keeps the root of every complete subtree, level by level: 64 bytes per leaf in all, a proof
/// costs O(log n) look-ups and hashes. A writer that only ever proves from its last signed size
/// calls [`Tree::forget_below`] with it and then holds 64 bytes per leaf *since*, plus two hashes
/// per level, however long the log.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    size: u64,
    levels: Vec<Level>,
}

/// The complete subtrees of 2^height leaves that are still held.
#[derive(Debug, Clone, Default)]
struct Level {
    first: u64,
    hashes: Vec<Hash>,
}

impl Level {
    fn get(&self, index: u64) -> Option<Hash> {
        let offset = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.hashes.get(offset).copied()
    }

    fn drop_below(&mut self, index: u64) {
        let gone = usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.hashes.drain(..gone.min(self.hashes.len()));
        self.first = self.first.max(index);
    }
}

impl Tree {
    /// The empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree that `frontier` is the edge of, everything before the edge forgotten.
    #[must_use]
    pub fn from_frontier(frontier: &Frontier) -> Self {
        let size = frontier.size;
        let mut peaks = frontier.peaks.iter().rev();
        let levels = (0..u64::BITS - size.leading_zeros())
            .map(|height| match size >> height {
                odd if odd & 1 == 1 => {
                    Level { first: odd - 1, hashes: peaks.next().copied().into_iter().collect() }
                }
                even => Level { first: even, hashes: Vec::new() },
            })
            .collect();
        Self { size, levels }
    }

    /// Leaves so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its [`super::leaf_hash`].
    pub fn append(&mut self, leaf: Hash) {
        let (mut hash, mut index) = (leaf, self.size);
        let mut height = 0;
        loop {
            if self.levels.len() == height {
                self.levels.push(Level::default());
            }
            let level = &mut self.levels[height];
            level.hashes.push(hash);
            if index & 1 == 0 {
                break;
            }
            let Some(left) = level.get(index - 1) else { break };
            hash = node_hash(&left, &hash);
            index >>= 1;
            height += 1;
        }
        self.size += 1;
    }

    /// Drops what no proof from a size of at least `size` needs.
    pub fn forget_below(&mut self, size: u64) {
        let size = size.min(self.size);
        for (height, level) in self.levels.iter_mut().enumerate() {
            let complete = size >> height;
            level.drop_below(complete - (complete & 1));
        }
    }

    /// The root the tree had at `size`; `None` above the present size or where it is forgotten.
    #[must_use]
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        if size == 0 { Some(empty_root()) } else { self.range(0, size) }
    }

    /// The present root.
    ///
    /// # Panics
    ///
    /// Never: the edge of the present tree is never forgotten.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root_at(self.size).expect("the edge is never forgotten")
    }

    /// RFC 6962 section 2.1.1: the proof that leaf `index` is in the tree of `size`. `None` unless
    /// `index < size ≤` [`Tree::size`], or where needed hashes are forgotten.
    #[must_use]
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        self.roots(&spans::inclusion(index, size)?)
    }

    /// RFC 6962 section 2.1.2: the proof that the tree of `new` extends the tree of `old`. Empty
    /// when `old` is 0 or `new`. `None` unless `old ≤ new ≤` [`Tree::size`], or where needed hashes
    /// are forgotten.
    #[must_use]
    pub fn consistency_proof(&self, old: u64, new: u64) -> Option<Vec<Hash>> {
        if new > self.size {
            return None;
        }
        self.roots(&spans::consistency(old, new)?)
    }

    /// The roots over `spans`; `None` where one reaches beyond the tree, or is forgotten.
    #[must_use]
    pub fn roots(&self, spans: &[Span]) -> Option<Vec<Hash>> {
        spans.iter().map(|span| self.range(span.from, span.to)).collect()
    }

    /// The root over leaves `from..to`, where `from` is a multiple of the largest power of two that
    /// fits the range, as it is for every node of an RFC 6962 tree.
    fn range(&self, from: u64, to: u64) -> Option<Hash> {
        if to > self.size {
            return None;
        }
        let subtrees = Span { from, to }
            .subtrees()
            .map(|(height, index)| self.levels.get(usize::try_from(height).ok()?)?.get(index));
        let subtrees: Option<Vec<Hash>> = subtrees.collect();
        fold(subtrees?.into_iter().rev())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evidence::merkle::spans::split;
    use crate::evidence::merkle::{leaf_hash, verify_consistency, verify_inclusion};

    fn tree(size: u64) -> Tree {
        let mut tree = Tree::new();
        for leaf in 0..size {
            tree.append(leaf_hash(&leaf.to_be_bytes()));
        }
        tree
    }

    /// MTH(D[from:to]) exactly as RFC 6962 section 2.1 defines it.
    fn by_definition(from: u64, to: u64) -> Hash {
        match to - from {
            0 => empty_root(),
            1 => leaf_hash(&from.to_be_bytes()),
            n => {
                let middle = from + split(n);
                node_hash(&by_definition(from, middle), &by_definition(middle, to))
            }
        }
    }

    #[test]
    fn gives_the_roots_of_the_definition() {
        let (tree, mut frontier) = (tree(70), Frontier::new());
        for size in 0..=70 {
            assert_eq!(tree.root_at(size), Some(by_definition(0, size)));
            assert_eq!(frontier.root(), by_definition(0, size));
            frontier.append(leaf_hash(&size.to_be_bytes()));
        }
        assert_eq!(tree.root_at(71), None);
    }

    #[test]
    fn proves_every_leaf_and_every_pair_of_sizes() {
        let tree = tree(40);
        for new in 0..=40 {
            let root = tree.root_at(new).unwrap();
            for old in 0..=new {
                let proof = tree.consistency_proof(old, new).unwrap();
                let before = tree.root_at(old).unwrap();
                assert!(verify_consistency(old, &before, new, &root, &proof), "{old} {new}");
            }
            for index in 0..new {
                let proof = tree.inclusion_proof(index, new).unwrap();
                let leaf = leaf_hash(&index.to_be_bytes());
                assert!(verify_inclusion(index, &leaf, new, &root, &proof), "{index} {new}");
            }
        }
        assert_eq!(tree.inclusion_proof(40, 40), None);
        assert_eq!(tree.consistency_proof(3, 2), None);
        assert_eq!(tree.consistency_proof(3, 41), None);
    }

    proptest! {
        #[test]
        fn proves_the_same_after_forgetting(old in 0u64..300, more in 0u64..300) {
            let whole = tree(old + more);
            let mut edge = Frontier::new();
            for leaf in 0..old {
                edge.append(leaf_hash(&leaf.to_be_bytes()));
            }
            let mut from_edge = Tree::from_frontier(&edge);
            for leaf in old..old + more {
                from_edge.append(leaf_hash(&leaf.to_be_bytes()));
            }
            let mut forgetful = whole.clone();
            forgetful.forget_below(old);
            let held: usize = forgetful.levels.iter().map(|level| level.hashes.len()).sum();
            prop_assert!(held as u64 <= 2 * more + 2 * 64);
            for size in [old, old + more / 2, old + more] {
                for tree in [&from_edge, &forgetful] {
                    prop_assert_eq!(tree.root_at(size), whole.root_at(size));
                    prop_assert_eq!(
                        tree.consistency_proof(size, old + more),
                        whole.consistency_proof(size, old + more)
                    );
                }
            }
            prop_assert_eq!(from_edge.root(), whole.root());
        }
    }
}
