//! Prints how the built-in patterns do on the corpus. `cargo run -p tests --example corpus [SEED
//! [ROUNDS [BYTES]]]`; another seed makes another corpus.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::collections::BTreeMap;

use harness::corpus::{render, score};
use proxy::redact::Policy;

fn main() {
    let number = |at: usize, otherwise: u64| {
        std::env::args().nth(at).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let size = |at, otherwise| usize::try_from(number(at, otherwise)).expect("a size");
    let policy = Policy::built_in().expect("the built-in set compiles");
    let score = score(&policy, number(1, 1), size(2, 2), size(3, 250_000));
    println!("{}", render(&score));
    let mut misses: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for [name, source, surroundings, _] in &score.misses {
        misses.entry((name, source)).or_default().push(surroundings);
    }
    for ((name, source), mut places) in misses {
        let count = places.len();
        places.dedup();
        println!("missed {count}: {name} ({source}) in {}", places.join(", "));
    }
}
