//! What is promised of the built-in patterns, held on the corpus.

use std::fs;
use std::path::Path;
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
fn further_types_are_found_nearly_everywhere() {
    for (difficulty, least) in
        [(Difficulty::Plain, 0.98), (Difficulty::Escaped, 0.98), (Difficulty::Hard, 0.95)]
    {
        let rate = recall(Group::Further, difficulty);
        assert!(rate.of > 2500);
        assert!(rate.share() >= least, "{difficulty:?}: {rate:?} {:?}", SCORE.misses);
    }
}

#[test]
fn q1_text_without_secrets_is_left_alone() {
    for clean in &SCORE.clean {
        assert!(clean.per_mb() <= 15.0, "{clean:?}");
    }
    assert!(SCORE.false_per_mb() <= 2.0, "{}", SCORE.false_per_mb());
}

#[test]
fn what_is_replaced_beside_secrets_is_a_secret() {
    assert!(SCORE.precision.share() >= 0.99, "{:?}", SCORE.precision);
}

/// `WATERWALL_WRITE_DOCS=1 cargo test -p tests corpus` writes the section.
#[test]
fn the_page_says_what_is_measured() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/redaction.md");
    let page = fs::read_to_string(&path).expect("the page can be read");
    let (before, rest) = page.split_once(BEGIN).expect("the page has the section");
    let (section, after) = rest.split_once(END).expect("the section has an end");
    let wanted = format!("\n{}", render(&SCORE));
    if section == wanted {
        return;
    }
    if std::env::var_os("WATERWALL_WRITE_DOCS").is_some() {
        let page = [before, BEGIN, &wanted, END, after].concat();
        fs::write(&path, page).expect("the page can be written");
        return;
    }
    panic!("docs/redaction.md is stale; WATERWALL_WRITE_DOCS=1 writes it");
}

const BEGIN: &str = "<!-- measured: generated -->";
const END: &str = "<!-- measured: end -->";

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
