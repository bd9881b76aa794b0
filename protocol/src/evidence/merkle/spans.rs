//! Which nodes of the tree a proof is made of, without a single hash.

/// The leaves `from..to` under one node of an RFC 6962 tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Index of the first leaf.
    pub from: u64,
    /// Index after the last leaf.
    pub to: u64,
}

impl Span {
    /// Height and index of the complete subtrees it consists of, largest first. Only the right edge
    /// of a tree has spans of more than one.
    pub(super) fn subtrees(self) -> impl Iterator<Item = (u32, u64)> {
        let leaves = self.to - self.from;
        let mut start = self.from;
        let heights = (0..u64::BITS).rev().filter(move |height| leaves >> height & 1 == 1);
        heights.map(move |height| {
            let index = start >> height;
            start += 1 << height;
            (height, index)
        })
    }
}

/// What proves that leaf `index` is in the tree of `size` (RFC 6962 section 2.1.1), in the order of
/// the proof. `None` unless `index < size`.
#[must_use]
pub fn inclusion(index: u64, size: u64) -> Option<Vec<Span>> {
    if index >= size {
        return None;
    }
    let (mut from, mut to) = (0, size);
    let mut proof = Vec::new();
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            proof.push(Span { from: middle, to });
            to = middle;
        } else {
            proof.push(Span { from, to: middle });
            from = middle;
        }
    }
    proof.reverse();
    Some(proof)
}

/// What proves that the tree of `new` extends the tree of `old` (RFC 6962 section 2.1.2), in the
/// order of the proof; nothing when `old` is 0 or `new`. `None` unless `old ≤ new`.
#[must_use]
pub fn consistency(old: u64, new: u64) -> Option<Vec<Span>> {
    if old > new {
        return None;
    }
    let mut proof = Vec::new();
    if old == 0 || old == new {
        return Some(proof);
    }
    let (mut from, mut to) = (0, new);
    while old != to {
        let middle = from + split(to - from);
        if old <= middle {
            proof.push(Span { from: middle, to });
            to = middle;
        } else {
            proof.push(Span { from, to: middle });
            from = middle;
        }
    }
    if from != 0 {
        proof.push(Span { from, to });
    }
    proof.reverse();
    Some(proof)
}

/// Every maximal node of the tree of `size` that lies outside the leaves `from..to`, left to right:
/// first those before them, then those after. `None` unless `from < to ≤ size`.
#[must_use]
pub fn outside(from: u64, to: u64, size: u64) -> Option<(Vec<Span>, Vec<Span>)> {
    if from >= to || to > size {
        return None;
    }
    let (mut before, mut after) = (Vec::new(), Vec::new());
    // Depth first, left before right.
    let mut stack = vec![Span { from: 0, to: size }];
    while let Some(node) = stack.pop() {
        if node.to <= from {
            before.push(node);
        } else if to <= node.from {
            after.push(node);
        } else if node.from < from || to < node.to {
            let middle = node.from + split(node.to - node.from);
            stack.push(Span { from: middle, to: node.to });
            stack.push(Span { from: node.from, to: middle });
        }
    }
    Some((before, after))
}

/// The largest power of two below `leaves`, which is at least 2.
pub(super) fn split(leaves: u64) -> u64 {
    1 << (u64::BITS - 1 - (leaves - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::merkle::{Frontier, Hash, Tree, leaf_hash};

    #[test]
    fn splits_at_the_largest_power_of_two_below() {
        assert_eq!([2, 3, 4, 5, 8, 9].map(split), [1, 2, 2, 4, 4, 8]);
    }

    fn leaf(index: u64) -> Hash {
        leaf_hash(&index.to_be_bytes())
    }

    /// A range proof is checked by its root alone, so every range of every small tree must give it,
    /// and nothing but exactly the right hashes may.
    #[test]
    fn proves_every_range_and_refuses_every_damaged_proof_e16() {
        let mut tree = Tree::new();
        (0..20).for_each(|index| tree.append(leaf(index)));
        for size in 1..=20 {
            let root = tree.root_at(size).unwrap();
            for (from, to) in (0..size).flat_map(|from| (from + 1..=size).map(move |to| (from, to)))
            {
                let (before, after) = outside(from, to, size).unwrap();
                let before = tree.roots(&before).unwrap();
                let after = tree.roots(&after).unwrap();
                let joined = |before: &[Hash], after: &[Hash]| {
                    let mut edge = Frontier::of_peaks(from, before.to_vec())?;
                    (from..to).for_each(|index| edge.append(leaf(index)));
                    edge.root_with(after, size)
                };
                assert_eq!(joined(&before, &after), Some(root), "{from}..{to} of {size}");
                assert_eq!(joined(&before, &[after.as_slice(), &[root]].concat()), None);
                assert_eq!(joined(&[before.as_slice(), &[root]].concat(), &after), None);
                for at in 0..after.len() {
                    assert_eq!(joined(&before, &[&after[..at], &after[at + 1..]].concat()), None);
                    let mut flipped = after.clone();
                    flipped[at][0] ^= 1;
                    assert_ne!(joined(&before, &flipped), Some(root));
                }
                for at in 0..before.len() {
                    assert_eq!(joined(&[&before[..at], &before[at + 1..]].concat(), &after), None);
                    let mut flipped = before.clone();
                    flipped[at][31] ^= 1;
                    assert_ne!(joined(&flipped, &after), Some(root));
                }
            }
        }
    }

    #[test]
    fn wants_a_range_within_the_tree() {
        assert_eq!(outside(3, 3, 5), None);
        assert_eq!(outside(3, 6, 5), None);
        assert_eq!(inclusion(5, 5), None);
        assert_eq!(consistency(6, 5), None);
        assert_eq!(
            Frontier::new().root_with(&[[0; 32]], 1),
            None,
            "an empty edge has no right side"
        );
    }

    /// The format promises at most 2·log2(n) hashes.
    #[test]
    fn takes_few_hashes() {
        let most = (0..4097).map(|from| {
            let (before, after) = outside(from, (from + 100).min(4097), 4097).unwrap();
            before.len() + after.len()
        });
        assert!(most.max().unwrap() <= 26);
    }
}
