use super::{Hash, empty_root, node_hash};

/// Whether `proof` shows that `leaf` is leaf `index` of the tree with `size` leaves and `root`
/// (RFC 9162 section 2.1.3.2).
#[must_use]
pub fn verify_inclusion(index: u64, leaf: &Hash, size: u64, root: &Hash, proof: &[Hash]) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `proof` shows that the tree with `new` leaves and `new_root` extends the tree with `old`
/// leaves and `old_root` (RFC 9162 section 2.1.4.2).
///
/// RFC 9162 leaves two cases out, which C2SP tlog-witness fixes: equal sizes, and growth from the
/// empty tree, each with an empty proof.
#[must_use]
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> bool {
    if old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root && (old > 0 || *old_root == empty_root());
    }
    if old == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    let (first, rest) = if old.is_power_of_two() {
        (*old_root, proof)
    } else {
        let Some((first, rest)) = proof.split_first() else { return false };
        (*first, rest)
    };
    let shift = (old - 1).trailing_ones();
    let (mut node, mut last) = ((old - 1) >> shift, (new - 1) >> shift);
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{
        hex,
        merkle::{
            Tree, leaf_hash,
            tests::{LEAVES, ROOTS},
        },
    };

    fn root(size: usize) -> Hash {
        hex::decode(ROOTS[size]).unwrap()
    }

    fn hashes(spelled: &[&str]) -> Vec<Hash> {
        spelled.iter().map(|text| hex::decode(text).unwrap()).collect()
    }

    fn published_tree() -> Tree {
        let mut tree = Tree::new();
        LEAVES.iter().for_each(|leaf| tree.append(leaf_hash(leaf)));
        tree
    }

    /// Proofs of the shared Certificate Transparency test data.
    #[test]
    fn makes_and_accepts_the_published_inclusion_proof_d15() {
        let proof = hashes(&[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ]);
        assert_eq!(published_tree().inclusion_proof(0, 8), Some(proof.clone()));
        assert!(verify_inclusion(0, &leaf_hash(LEAVES[0]), 8, &root(8), &proof));
    }

    #[test]
    fn makes_and_accepts_the_published_consistency_proof_d15() {
        let proof = hashes(&[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]);
        assert_eq!(published_tree().consistency_proof(6, 8), Some(proof.clone()));
        assert!(verify_consistency(6, &root(6), 8, &root(8), &proof));
    }

    #[test]
    fn refuses_every_damaged_inclusion_proof_d03() {
        let tree = published_tree();
        for size in 1..=8u64 {
            for index in 0..size {
                let leaf = leaf_hash(LEAVES[usize::try_from(index).unwrap()]);
                let root = tree.root_at(size).unwrap();
                let good = tree.inclusion_proof(index, size).unwrap();
                let accepted =
                    |index, proof: &[Hash]| verify_inclusion(index, &leaf, size, &root, proof);
                assert!(!accepted(index + 1, &good) && !accepted(index.wrapping_sub(1), &good));
                assert!(!accepted(index, &[good.as_slice(), &[leaf]].concat()));
                for at in 0..good.len() {
                    assert!(!accepted(index, &[&good[..at], &good[at + 1..]].concat()));
                    let mut flipped = good.clone();
                    flipped[at][31] ^= 1;
                    assert!(!accepted(index, &flipped));
                }
            }
        }
    }

    #[test]
    fn refuses_every_damaged_consistency_proof() {
        let tree = published_tree();
        for new in 1..=8u64 {
            for old in 0..=new {
                let (old_root, root) = (tree.root_at(old).unwrap(), tree.root_at(new).unwrap());
                let good = tree.consistency_proof(old, new).unwrap();
                let accepted =
                    |proof: &[Hash]| verify_consistency(old, &old_root, new, &root, proof);
                assert!(!accepted(&[good.as_slice(), &[root]].concat()), "{old} {new}");
                for at in 0..good.len() {
                    assert!(!accepted(&[&good[..at], &good[at + 1..]].concat()));
                    let mut flipped = good.clone();
                    flipped[at][0] ^= 0x80;
                    assert!(!accepted(&flipped));
                }
                assert!(!verify_consistency(old, &[9; 32], new, &root, &good), "{old} {new}");
                if old > 0 {
                    assert!(!verify_consistency(old, &old_root, new, &[9; 32], &good));
                }
            }
        }
        assert!(!verify_consistency(2, &root(2), 1, &root(1), &[]));
    }
}
