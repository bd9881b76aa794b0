use std::collections::HashMap;

use super::spans::Span;
use super::{Frontier, Hash, fold};

/// Catches the nodes that some proofs need while all leaves of a tree go by once.
///
/// It holds one hash per node asked for and one per level, however long the log: a proof from a log
/// of any length needs no tree in memory.
#[derive(Debug, Default)]
pub struct Sieve {
    edge: Frontier,
    wanted: HashMap<(u32, u64), Option<Hash>>,
}

impl Sieve {
    /// A sieve that catches nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for the nodes of `spans`, before the first of their leaves goes by.
    pub fn want(&mut self, spans: &[Span]) {
        self.wanted.extend(spans.iter().flat_map(|span| span.subtrees()).map(|node| (node, None)));
    }

    /// The next leaf, by its [`super::leaf_hash`].
    pub fn append(&mut self, leaf: Hash) {
        let wanted = &mut self.wanted;
        self.edge.append_subtree(0, leaf, |height, index, root| {
            if let Some(caught) = wanted.get_mut(&(height, index)) {
                *caught = Some(root);
            }
        });
    }

    /// The edge of the tree so far.
    #[must_use]
    pub fn edge(&self) -> &Frontier {
        &self.edge
    }

    /// The roots over `spans`; `None` where one was not asked for, or has not gone by.
    #[must_use]
    pub fn roots(&self, spans: &[Span]) -> Option<Vec<Hash>> {
        let root = |span: &Span| {
            let parts = span.subtrees().map(|node| self.wanted.get(&node).copied().flatten());
            let parts: Option<Vec<Hash>> = parts.collect();
            fold(parts?.into_iter().rev())
        };
        spans.iter().map(root).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::merkle::{Tree, leaf_hash, spans};

    #[test]
    fn catches_what_a_whole_tree_would_give() {
        for size in 1..=33u64 {
            let mut sieve = Sieve::new();
            let mut tree = Tree::new();
            let proofs: Vec<Vec<Span>> = (0..size)
                .filter_map(|index| spans::inclusion(index, size))
                .chain((0..=size).filter_map(|old| spans::consistency(old, size)))
                .chain(spans::outside(size / 3, size / 2 + 1, size).map(|(a, b)| [a, b].concat()))
                .collect();
            proofs.iter().for_each(|proof| sieve.want(proof));
            for index in 0..size {
                assert!(size == 1 || sieve.roots(&proofs[0]).is_none(), "not before its leaves");
                sieve.append(leaf_hash(&index.to_be_bytes()));
                tree.append(leaf_hash(&index.to_be_bytes()));
            }
            for proof in &proofs {
                assert_eq!(sieve.roots(proof), tree.roots(proof));
                assert!(sieve.roots(proof).is_some());
            }
            assert_eq!(sieve.edge().root(), tree.root());
        }
    }
}
