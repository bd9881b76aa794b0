//! The Merkle tree of RFC 6962 section 2.1, over line bytes without their LF.
//!
//! [`Frontier`] is what appending and a root need: one hash per set bit of the size. [`Tree`] also
//! makes proofs, and [`Sieve`] makes some few of them while the leaves go by. [`spans`] says what a
//! proof is made of; [`verify_inclusion`], [`verify_consistency`] and [`Frontier::root_with`] check
//! proofs from nothing but hashes.

#[cfg(test)]
mod oracle;
mod proof;
mod sieve;
pub mod spans;
mod tree;

use sha2::{Digest, Sha256};

pub use proof::{verify_consistency, verify_inclusion};
pub use sieve::Sieve;
pub use tree::Tree;

/// A SHA-256 value: a leaf, a node or a root.
pub type Hash = [u8; 32];

/// The hash of a leaf: SHA-256(0x00 ‖ `leaf`).
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new_with_prefix([0]).chain_update(leaf).finalize().into()
}

/// The hash of an inner node: SHA-256(0x01 ‖ `left` ‖ `right`).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of the tree without leaves: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The right edge of a tree: the roots of its maximal complete subtrees, largest first.
///
/// Appending costs one node hash on average, a root one per set bit of the size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The edge of a tree of `size` leaves from its `peaks`, largest first; `None` unless there is
    /// one for every set bit of the size.
    #[must_use]
    pub fn of_peaks(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (u64::from(size.count_ones()) == peaks.len() as u64).then_some(Self { size, peaks })
    }

    /// Appends a leaf by its [`leaf_hash`].
    pub fn append(&mut self, leaf: Hash) {
        self.append_subtree(0, leaf, |_, _, _| {});
    }

    /// Appends the root of a complete subtree of 2^`height` leaves to a size that is a multiple of
    /// that, and shows `saw` the height, index and root of every subtree that it completes.
    ///
    /// # Panics
    ///
    /// Never: each set bit of the size is a peak, and 2^64 leaves are never reached.
    fn append_subtree(&mut self, height: u32, root: Hash, mut saw: impl FnMut(u32, u64, Hash)) {
        let (mut hash, mut height, mut index) = (root, height, self.size >> height);
        self.size += 1 << height;
        saw(height, index, hash);
        while index & 1 == 1 {
            let left = self.peaks.pop().expect("a set bit of the size is a peak");
            hash = node_hash(&left, &hash);
            (height, index) = (height + 1, index >> 1);
            saw(height, index, hash);
        }
        self.peaks.push(hash);
    }

    /// The root of the tree of `size` leaves that this is the left part of, from the roots of the
    /// rest: [`spans::outside`] to the right, in order. `None` unless `rest` is exactly these.
    #[must_use]
    pub fn root_with(&self, rest: &[Hash], size: u64) -> Option<Hash> {
        if self.size == 0 && size > 0 {
            return None;
        }
        let mut whole = self.clone();
        let mut rest = rest.iter();
        while whole.size < size {
            let (height, hash) = (whole.size.trailing_zeros(), *rest.next()?);
            match 1u64.checked_shl(height).and_then(|leaves| whole.size.checked_add(leaves)) {
                Some(next) if next <= size => whole.append_subtree(height, hash, |_, _, _| {}),
                // The last one of a tree that is not full has fewer leaves than its place.
                _ => {
                    whole.peaks.push(hash);
                    whole.size = size;
                }
            }
        }
        (whole.size == size && rest.next().is_none()).then(|| whole.root())
    }

    /// The RFC 6962 root.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold(self.peaks.iter().rev().copied()).unwrap_or_else(empty_root)
    }
}

/// The root over complete subtrees given from the smallest (rightmost) to the largest.
fn fold(subtrees: impl Iterator<Item = Hash>) -> Option<Hash> {
    subtrees.reduce(|right, left| node_hash(&left, &right))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::evidence::hex;

    /// Inputs and roots of the test data that Certificate Transparency implementations share
    /// (certificate-transparency-go and transparency-dev/merkle, `rfc6962` testdata).
    pub(crate) const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    pub(crate) const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn gives_the_published_roots() {
        let mut frontier = Frontier::new();
        assert_eq!(hex::encode(&frontier.root()), ROOTS[0]);
        for (leaf, root) in LEAVES.iter().zip(&ROOTS[1..]) {
            frontier.append(leaf_hash(leaf));
            assert_eq!(hex::encode(&frontier.root()), *root, "size {}", frontier.size());
        }
    }

    #[test]
    fn keeps_one_hash_per_set_bit() {
        let mut frontier = Frontier::new();
        for size in 1..=1000u64 {
            frontier.append([0; 32]);
            assert_eq!(frontier.peaks.len(), size.count_ones() as usize);
        }
    }
}
