//! The automata behind a form: anchored, over bytes, within limits, in linear time.

use std::collections::HashSet;
use std::error::Error;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use super::form::{Exhausted, FormError, Fuel};

pub(crate) type Dfa = dense::DFA<Vec<u32>>;

/// States of an automaton.
pub(crate) type States = HashSet<StateID>;

/// The automaton of `regex`.
pub(crate) fn compiled(regex: &str) -> Result<Dfa, FormError> {
    dense::Builder::new()
        .configure(
            dense::Config::new()
                .start_kind(StartKind::Anchored)
                // Nothing skips ahead in so short matches.
                .accelerate(false)
                .dfa_size_limit(Some(DFA_LIMIT))
                .determinize_size_limit(Some(4 * DFA_LIMIT)),
        )
        .syntax(syntax::Config::new().unicode(false).utf8(false).nest_limit(32))
        .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(4 * DFA_LIMIT)))
        .build(regex)
        .map_err(|error| FormError::Regex(reason(&error)))
}

/// What is at the bottom of it, in one line.
fn reason(error: &dyn Error) -> String {
    let mut bottom = error;
    while let Some(source) = bottom.source() {
        bottom = source;
    }
    // A syntax error draws the expression first.
    let text = bottom.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// The end of the leftmost-first match that starts at `start`.
pub(crate) fn end_of_match(
    dfa: &Dfa,
    text: &[u8],
    start_at: usize,
    fuel: &mut Fuel,
) -> Result<Option<usize>, Exhausted> {
    let mut state = start(dfa);
    let mut end = None;
    for (at, byte) in text.iter().enumerate().skip(start_at) {
        state = dfa.next_state(state, *byte);
        if !dfa.is_special_state(state) {
            continue;
        }
        // The automaton reports a match one byte late.
        if dfa.is_match_state(state) {
            end = Some(at);
        } else if dfa.is_dead_state(state) {
            fuel.burn(at - start_at)?;
            return Ok(end);
        }
    }
    fuel.see_end();
    fuel.burn(text.len() - start_at)?;
    let last = dfa.next_eoi_state(state);
    Ok(if dfa.is_match_state(last) { Some(text.len()) } else { end })
}

/// Whether a match starts where `raw` does, once the escapes of one level of JSON are read. No is
/// certain: what cannot be told yet may.
pub(crate) fn may_match_unescaped(dfa: &Dfa, raw: &[u8]) -> bool {
    let mut state = start(dfa);
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        if raw.len() - rest.len() > CONTEXT_MAX {
            return true;
        }
        let (byte, after) = match (first, tail) {
            // A blank in JSON in further strings, which not every context knows as one.
            (b'\\', [b'\\', b'\\', ..]) if !is_quote_in_strings(tail) => return true,
            (b'\\', [b'n', after @ ..]) => (b'\n', after),
            (b'\\', [b'r', after @ ..]) => (b'\r', after),
            (b'\\', [b't', after @ ..]) => (b'\t', after),
            (b'\\', [b'"' | b'\\' | b'/', after @ ..]) => (tail[0], after),
            (b'\\', _) => return true,
            _ => (*first, tail),
        };
        state = dfa.next_state(state, byte);
        if dfa.is_match_state(state) {
            return true;
        }
        if dfa.is_dead_state(state) {
            return false;
        }
        rest = after;
    }
    true
}

/// What the raw JSON of one string spells, or as much of it as tells of a match; `None` where that cannot
/// be told without reading JSON in it, too.
pub(crate) fn read_once(raw: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        let (byte, after) = match (first, tail) {
            (b'"', _) => break,
            (b'\\', [b'n', after @ ..]) => (b'\n', after),
            (b'\\', [b'r', after @ ..]) => (b'\r', after),
            (b'\\', [b't', after @ ..]) => (b'\t', after),
            (b'\\', [b'"', after @ ..]) => (b'"', after),
            (b'\\', _) => return None,
            _ => (*first, tail),
        };
        text.push(byte);
        rest = after;
    }
    Some(text)
}

/// Whether `raw` is backslashes and then a quote.
fn is_quote_in_strings(raw: &[u8]) -> bool {
    raw.iter().take(CONTEXT_MAX).find(|byte| **byte != b'\\') == Some(&b'"')
}

/// Where every match starts.
pub(crate) fn start(dfa: &Dfa) -> StateID {
    dfa.start_state_forward(&Input::new("").anchored(Anchored::Yes))
        .expect("an automaton built for anchored starts has one, and no byte makes it quit")
}

/// Where one more byte of a match leads to, if it is one of `bytes`.
pub(crate) fn advance(dfa: &Dfa, states: &States, bytes: impl Fn(u8) -> bool) -> States {
    let bytes: Vec<u8> = (0..=u8::MAX).filter(|byte| bytes(*byte)).collect();
    let reached: States = states
        .iter()
        .flat_map(|state| bytes.iter().map(|byte| dfa.next_state(*state, *byte)))
        .collect();
    reached.into_iter().filter(|state| goes_on(dfa, *state)).collect()
}

/// Whether a match can hold one of `bytes`.
pub(crate) fn takes_any_of(dfa: &Dfa, bytes: &[u8]) -> bool {
    let is_wanted = bytes.iter().fold([false; 256], |mut wanted, byte| {
        wanted[usize::from(dfa.byte_classes().get(*byte))] = true;
        wanted
    });
    let classes = representatives(dfa);
    let goes_on = |state| {
        let mut after = classes.iter().map(|byte| dfa.next_state(state, *byte));
        may_end(dfa, state) || after.any(|after| !dfa.is_dead_state(after))
    };
    // Of each state, once it was come to: whether a match goes on there.
    let mut seen: Vec<Option<bool>> = Vec::new();
    let mut open = vec![start(dfa)];
    while let Some(state) = open.pop() {
        for byte in &classes {
            let after = dfa.next_state(state, *byte);
            let index = after.as_usize() >> dfa.stride2();
            if seen.len() <= index {
                seen.resize(index + 1, None);
            }
            let goes_on = match seen[index] {
                Some(known) => known,
                None => {
                    let goes_on = !dfa.is_dead_state(after) && goes_on(after);
                    seen[index] = Some(goes_on);
                    if goes_on {
                        open.push(after);
                    }
                    goes_on
                }
            };
            if goes_on && is_wanted[usize::from(dfa.byte_classes().get(*byte))] {
                return true;
            }
        }
    }
    false
}

/// Whether a match can be found in or after `state`. The state that only reports the match
/// before it says nothing about the byte that led there.
pub(crate) fn goes_on(dfa: &Dfa, state: StateID) -> bool {
    !dfa.is_dead_state(state)
        && (may_end(dfa, state) || after(dfa, state).any(|after| !dfa.is_dead_state(after)))
}

/// Whether a match ends in `state` if the text does.
pub(crate) fn may_end(dfa: &Dfa, state: StateID) -> bool {
    dfa.is_match_state(dfa.next_eoi_state(state))
}

/// The states that some byte leads to from `state`.
fn after(dfa: &Dfa, state: StateID) -> impl Iterator<Item = StateID> {
    representatives(dfa).into_iter().map(move |byte| dfa.next_state(state, byte))
}

/// One byte of each class that the automaton tells apart.
fn representatives(dfa: &Dfa) -> Vec<u8> {
    let classes = dfa.byte_classes().representatives(0..=u8::MAX);
    classes.filter_map(|unit| unit.as_u8()).collect()
}

/// How far into raw JSON a context is followed.
const CONTEXT_MAX: usize = 256;

/// Largest automaton of one form, in bytes.
const DFA_LIMIT: usize = 1 << 20;
