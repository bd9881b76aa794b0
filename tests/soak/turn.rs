//! What one client does in one turn, all of it chosen before it starts.

use harness::coding;
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::secret::{self, KINDS, REGISTERED};

/// What the provider does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It hangs up before its answer.
    NoAnswer,
    /// It hangs up after the head of its answer, or inside it.
    Cut,
    /// It says that it cannot.
    Status,
    /// It says what is no answer.
    Garbage,
    /// It does not compress as it says.
    Corrupt,
    /// It is slow.
    Slow,
}

const FAULTS: [(&str, Fault); 7] = [
    ("none", Fault::None),
    ("no answer", Fault::NoAnswer),
    ("cut", Fault::Cut),
    ("status", Fault::Status),
    ("garbage", Fault::Garbage),
    ("corrupt", Fault::Corrupt),
    ("slow", Fault::Slow),
];

impl Fault {
    /// Its name, as a request tells it.
    pub(crate) fn name(self) -> &'static str {
        FAULTS.iter().find(|(_, fault)| *fault == self).expect("all are named").0
    }

    /// The one of this name.
    pub(crate) fn of(name: &str) -> Self {
        FAULTS.iter().find(|(known, _)| *known == name).map_or(Self::None, |(_, fault)| *fault)
    }

    /// Whether an answer comes, and is to be judged.
    pub(crate) fn spares_the_answer(self) -> bool {
        matches!(self, Self::None | Self::Slow)
    }
}

/// A turn, before it starts.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What the user says, secrets in it.
    pub(crate) text: String,
    /// Whether the model is to answer with a tool call.
    pub(crate) tool: bool,
    /// Whether a stream is asked for.
    pub(crate) stream: bool,
    /// How the request is compressed.
    pub(crate) coding: Option<&'static str>,
    /// Whether the client hangs up in the middle of the answer.
    pub(crate) leaves: bool,
    /// Whether a new conversation begins.
    pub(crate) fresh: bool,
    /// Milliseconds until the next one.
    pub(crate) pause: u64,
    /// What goes wrong at the provider.
    pub(crate) fault: Fault,
    /// What the provider is told to do.
    ride: Value,
}

impl Plan {
    /// What `dice` say. `earlier` are secrets of this conversation; `registered` allows those that
    /// no pattern knows.
    pub(crate) fn new(
        dice: &mut Dice,
        earlier: &mut Vec<String>,
        registered: bool,
        pause: u64,
    ) -> Self {
        let fresh = dice.percent(8);
        if fresh {
            earlier.clear();
        }
        let text = text(dice, earlier, registered);
        let fault = if dice.percent(70) { Fault::None } else { dice.pick(&FAULTS).1 };
        let cuts: Vec<usize> = (0..dice.below(8)).map(|_| dice.below(1000)).collect();
        let tool = dice.percent(35);
        let answer = dice.percent(40).then(|| *dice.pick(&coding::ALL));
        let ride = json!({"tool": tool, "fault": fault.name(), "cuts": cuts, "coding": answer,
            "pause": dice.below(200)});
        Self {
            text,
            tool,
            stream: dice.percent(60),
            coding: dice.percent(30).then(|| *dice.pick(&coding::ALL)),
            leaves: dice.percent(3),
            fresh,
            pause: u64::try_from(dice.below(1000)).expect("it is small") * pause / 500,
            fault,
            ride,
        }
    }

    /// `request` with what the provider is to do.
    pub(crate) fn with_ride(&self, mut request: Value) -> Value {
        request["x_soak"] = self.ride.clone();
        if self.stream {
            request["stream"] = json!(true);
        }
        request
    }

    /// The arguments of the tool call that says what the user said.
    pub(crate) fn arguments(&self) -> Value {
        json!({"cmd": self.text})
    }
}

const WORDS: [&str; 16] = [
    "build",
    "the",
    "{\"a\": [1, 2]}",
    "failed:",
    "caf\u{e9}",
    "\u{1f980}",
    "\u{65e5}\u{672c}\u{8a9e}",
    "C:\\temp\\x",
    "\"quoted\"",
    "<pl",
    "<pl:not:one>",
    "line\nbreak",
    "tab\there",
    "&amp;",
    "100%",
    "\u{2028}",
];

fn text(dice: &mut Dice, earlier: &mut Vec<String>, registered: bool) -> String {
    let large = dice.percent(3);
    let words = if large { 4000 + dice.below(40_000) } else { 5 + dice.below(120) };
    let mut text = String::new();
    for _ in 0..words {
        let word: &&str = dice.pick(&WORDS);
        text.push_str(word);
        text.push(' ');
        if !large && dice.percent(4) || dice.below(3000) == 0 {
            put_secret(dice, &mut text, earlier, registered);
        }
    }
    put_secret(dice, &mut text, earlier, registered);
    text
}

fn put_secret(dice: &mut Dice, text: &mut String, earlier: &mut Vec<String>, registered: bool) {
    let (kind, before) = (dice.below(KINDS), dice.below(100));
    let secret = secret::fresh(dice, kind);
    if registered && before < 25 {
        text.push_str(REGISTERED[before % REGISTERED.len()]);
    } else if before < 50 && !earlier.is_empty() {
        let secret: &String = dice.pick(earlier);
        text.push_str(secret);
    } else if before > 92 && kind < 11 {
        text.push_str(&secret::encoded(&secret));
    } else {
        text.push_str(&secret);
        earlier.push(secret);
    }
    let after: &&str = dice.pick(&[" ", "\n", " and ", "\r\n"]);
    text.push_str(after);
}
