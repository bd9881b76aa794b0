//! A labelled corpus, made anew in each run: secrets of every type in the places where agents meet
//! them, and text that only looks like it. No secret is stored, and none is anybody's.
//!
//! What is made follows the vendors' shapes and the published set, never our own expressions: the
//! corpus is there to find what those miss.

mod benign;
mod body;
mod checksum;
mod context;
mod further;
mod published;
mod random;
mod report;
mod score;
mod shape;

pub use report::render;
pub use score::{Clean, Rate, Score, score};

use body::{Body, Carrier};
use context::Surroundings;
use random::Random;
pub use shape::Group;
use shape::{Secret, Shape};

/// How hard a place makes it to see a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difficulty {
    /// As people write it, in text or in one JSON string.
    Plain,
    /// In JSON in strings, or spelt with escapes.
    Escaped,
    /// Glued to what usually belongs to words, or to escapes that are not decoded.
    Hard,
}

/// A body with one secret, and what is known of it.
pub struct Sample {
    /// Type, source and group.
    shape: Shape,
    difficulty: Difficulty,
    /// Surroundings and carrier.
    place: (&'static str, &'static str),
    body: Body,
}

/// Every shape in every place it occurs in, `rounds` times.
fn samples(seed: u64, rounds: usize) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (index, shape) in shape::shapes().into_iter().enumerate() {
        for round in 0..rounds {
            let name = format!("{}/{}/{index}/{round}", shape.name, shape.source);
            let mut random = Random::named(seed, &name);
            fill(&mut samples, shape, &mut random);
        }
    }
    samples
}

fn fill(samples: &mut Vec<Sample>, shape: Shape, random: &mut Random) {
    for surroundings in &context::PLAIN {
        let carrier = random.pick(&body::PLAIN);
        samples.extend(sample(shape, Difficulty::Plain, surroundings, carrier, random));
    }
    for carrier in &body::ESCAPED {
        // Not every place takes every secret.
        for _ in 0..2 {
            let surroundings = random.pick(&context::PLAIN);
            samples.extend(sample(shape, Difficulty::Escaped, surroundings, carrier, random));
        }
    }
    for surroundings in &context::HARD {
        let carrier = random.pick(&body::PLAIN);
        samples.extend(sample(shape, Difficulty::Hard, surroundings, carrier, random));
    }
    for carrier in &body::PLAIN {
        if shape.name == "TELEGRAM_BOT_TOKEN" {
            samples.extend(sample(shape, Difficulty::Hard, &context::BOT, carrier, random));
        }
    }
    for surroundings in &context::DASHED {
        let carrier = random.pick(&body::PLAIN);
        let Some(secret) = shape.ending_in_dash(random) else { continue };
        samples.extend(place(shape, &secret, Difficulty::Hard, surroundings, carrier, random));
    }
}

fn sample(
    shape: Shape,
    difficulty: Difficulty,
    surroundings: &Surroundings,
    carrier: &Carrier,
    random: &mut Random,
) -> Option<Sample> {
    let secret = (shape.make)(random);
    place(shape, &secret, difficulty, surroundings, carrier, random)
}

fn place(
    shape: Shape,
    secret: &Secret,
    difficulty: Difficulty,
    surroundings: &Surroundings,
    carrier: &Carrier,
    random: &mut Random,
) -> Option<Sample> {
    let text = surroundings.around(secret, shape.framing, random)?;
    let place = (surroundings.name, carrier.name);
    Some(Sample { shape, difficulty, place, body: carrier.carry(&text) })
}

#[cfg(test)]
mod tests;
