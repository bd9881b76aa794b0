//! Which checkpoint may be signed after which. Pure.

use protocol::evidence::merkle::{Hash, verify_consistency};
use protocol::seal::{PROOF_CAP, Refusal};

use crate::heads::Head;

/// The head that may be signed next: the one asked for, if it extends `held`.
///
/// The same head again is fine, so that a caller who lost an answer can ask once more.
///
/// # Errors
///
/// [`Refusal::Conflict`], [`Refusal::Smaller`], [`Refusal::Fork`] or [`Refusal::BadProof`].
pub fn next(held: Head, old_size: u64, asked: Head, proof: &[Hash]) -> Result<Head, Refusal> {
    if old_size != held.size {
        return Err(Refusal::Conflict { size: held.size });
    }
    if asked.size < held.size {
        return Err(Refusal::Smaller);
    }
    if asked.size == held.size && asked.root != held.root {
        return Err(Refusal::Fork);
    }
    let proven = proof.len() <= PROOF_CAP
        && verify_consistency(held.size, &held.root, asked.size, &asked.root, proof);
    if proven { Ok(asked) } else { Err(Refusal::BadProof) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::evidence::merkle::{Tree, leaf_hash};

    use super::*;

    fn tree(leaves: u64) -> Tree {
        let mut tree = Tree::new();
        for leaf in 0..leaves {
            tree.append(leaf_hash(&leaf.to_be_bytes()));
        }
        tree
    }

    fn head(tree: &Tree, size: u64) -> Head {
        Head { size, root: tree.root_at(size).unwrap() }
    }

    proptest! {
        #[test]
        fn every_extension_of_a_log_may_follow(old in 0u64..70, grown in 0u64..70) {
            let tree = tree(old + grown);
            let (held, asked) = (head(&tree, old), head(&tree, old + grown));
            let proof = tree.consistency_proof(old, old + grown).unwrap();
            prop_assert_eq!(next(held, old, asked, &proof), Ok(asked));
        }

        #[test]
        fn a_proof_with_one_bit_changed_is_none(
            old in 1u64..70, grown in 1u64..70, at: prop::sample::Index, bit in 0usize..256,
        ) {
            let tree = tree(old + grown);
            let mut proof = tree.consistency_proof(old, old + grown).unwrap();
            let hash = at.index(proof.len());
            proof[hash][bit / 8] ^= 1 << (bit % 8);
            let asked = head(&tree, old + grown);
            prop_assert_eq!(next(head(&tree, old), old, asked, &proof), Err(Refusal::BadProof));
        }
    }

    #[test]
    fn the_first_checkpoint_follows_the_empty_tree() {
        let tree = tree(5);
        assert_eq!(next(Head::empty(), 0, head(&tree, 5), &[]), Ok(head(&tree, 5)));
        assert_eq!(next(Head::empty(), 0, head(&tree, 5), &[[0; 32]]), Err(Refusal::BadProof));
        assert_eq!(next(Head::empty(), 0, Head::empty(), &[]), Ok(Head::empty()));
    }

    /// G05: a smaller size; the same size with another root; a bad proof; too many hashes.
    #[test]
    fn refuses_what_does_not_extend_the_log() {
        let tree = tree(20);
        let (held, asked) = (head(&tree, 8), head(&tree, 20));
        let proof = tree.consistency_proof(8, 20).unwrap();
        let refused = |old_size, asked, proof: &[Hash]| next(held, old_size, asked, proof).err();
        assert_eq!(refused(7, asked, &proof), Some(Refusal::Conflict { size: 8 }));
        assert_eq!(refused(9, asked, &proof), Some(Refusal::Conflict { size: 8 }));
        assert_eq!(refused(8, head(&tree, 7), &[]), Some(Refusal::Smaller));
        assert_eq!(refused(8, Head { root: [1; 32], ..held }, &[]), Some(Refusal::Fork));
        assert_eq!(refused(8, held, &proof), Some(Refusal::BadProof));
        assert_eq!(refused(8, Head { root: [1; 32], ..asked }, &proof), Some(Refusal::BadProof));
        assert_eq!(refused(8, asked, &[]), Some(Refusal::BadProof));
        assert_eq!(refused(8, asked, &[[0; 32]; 64]), Some(Refusal::BadProof));
        let padded = [proof.as_slice(), &[[0; 32]; PROOF_CAP]].concat();
        assert_eq!(refused(8, asked, &padded), Some(Refusal::BadProof));
        assert_eq!(refused(8, asked, &proof), None);
    }
}
