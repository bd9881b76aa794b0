//! What is promised of the built-in patterns, held on the corpus.

use std::sync::LazyLock;

use proxy::redact::Policy;

use super::*;

/// The corpus that is measured in every run, once.
static SCORE: LazyLock<Score> = LazyLock::new(|| {
    let policy = Policy::built_in().expect("the built-in set compiles");
    score(&policy, 1, 2, 250_000)
});

fn recall(group: Group, difficulty: Difficulty) -> Rate {
    SCORE.recall[&(group, difficulty)]
}

#[test]
fn every_published_type_is_found_in_plain_and_escaped_places() {
    for difficulty in [Difficulty::Plain, Difficulty::Escaped] {
        let rate = recall(Group::Published, difficulty);
        assert!(rate.of > 1500);
        assert_eq!(rate.hits, rate.of, "{difficulty:?}: {:?}", SCORE.misses);
    }
}

#[test]
fn every_published_type_is_found_beside_hard_neighbours() {
    let rate = recall(Group::Published, Difficulty::Hard);
    assert!(rate.of > 3500);
    assert_eq!(rate.hits, rate.of, "{:?}", SCORE.misses);
}

#[test]
fn the_corpus_is_the_same_in_every_run() {
    let [one, two] = [samples(3, 1), samples(3, 1)];
    let texts = |samples: &[Sample]| -> Vec<String> {
        samples.iter().map(|sample| sample.body.secret.text()).collect()
    };
    assert_eq!(texts(&one), texts(&two));
    assert_ne!(texts(&one), texts(&samples(4, 1)));
}

#[test]
fn every_secret_stands_where_the_corpus_says() {
    for Sample { shape, body, .. } in samples(5, 1) {
        let text = body.secret.text();
        assert_eq!(text[body.range()], body.secret.secret, "{}", shape.name);
        assert!(!body.secret.secret.is_empty());
    }
}

#[test]
fn a_set_that_finds_nothing_scores_nothing() {
    let off: String = ["AWS_ACCESS_KEY", "OPENAI_KEY"]
        .iter()
        .map(|name| format!("  - {{ type: {name}, action: off }}\n"))
        .collect();
    let policy = Policy::load(Some(("off.yaml", &format!("patterns:\n{off}"))))
        .expect("types can be switched off");
    let score = score(&policy, 1, 1, 1000);
    for name in ["AWS_ACCESS_KEY", "OPENAI_KEY"] {
        let missed = score.types[&(Group::Published, name, Difficulty::Hard)];
        assert!(missed.hits < missed.of / 4, "{name}: {missed:?}");
    }
}
