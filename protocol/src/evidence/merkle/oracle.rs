//! The tree against somebody else's: `ct-merkle`, which shares no code with ours.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;

use super::{Hash, Tree, leaf_hash};

type Theirs = MemoryBackedTree<Sha256, Vec<u8>>;

fn both(leaves: &[Vec<u8>]) -> (Tree, Theirs) {
    let (mut ours, mut theirs) = (Tree::new(), Theirs::new());
    for leaf in leaves {
        ours.append(leaf_hash(leaf));
        theirs.push(leaf.clone());
    }
    (ours, theirs)
}

fn joined(proof: Option<Vec<Hash>>) -> Vec<u8> {
    proof.unwrap_or_default().concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn d15_roots_and_proofs_are_those_of_an_unrelated_tree(
        leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..70),
    ) {
        let (ours, theirs) = both(&leaves);
        let size = ours.size();
        prop_assert_eq!(ours.root().to_vec(), theirs.root().as_bytes().to_vec());
        for index in 0..leaves.len() {
            let proof = theirs.prove_inclusion(index);
            prop_assert_eq!(joined(ours.inclusion_proof(index as u64, size)), proof.as_bytes());
        }
        for added in 1..leaves.len() {
            let proof = theirs.prove_consistency(added);
            let old = size - added as u64;
            prop_assert_eq!(joined(ours.consistency_proof(old, size)), proof.as_bytes());
        }
    }
}
