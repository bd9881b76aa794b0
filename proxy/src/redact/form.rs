//! One form of a secret: a literal that announces it, an anchored automaton that decides it, and
//! the bytes that may not stand beside it.

use std::collections::HashSet;
use std::ops::Range;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use super::boundary::{Bytes, starts_freely};
use super::pem;

/// A compiled form.
pub(crate) struct Form {
    /// What announces a match. Without a lead, a match starts with one of them.
    pub(crate) literals: Vec<String>,
    lead: Option<Lead>,
    dfa: dense::DFA<Vec<u32>>,
    left: Bytes,
    right: Bytes,
    body: Option<Body>,
    /// Whether a match may hold characters that JSON spells with a backslash, so that raw JSON
    /// cannot show that there is none.
    pub(crate) crosses_escapes: bool,
}

/// The bytes of a match that stand in front of its literal.
#[derive(Debug, Clone)]
pub(crate) struct Lead {
    /// What they are made of.
    pub(crate) of: Bytes,
    /// Fewest.
    pub(crate) min: usize,
    /// Most.
    pub(crate) max: usize,
}

/// How a match runs on past what its expression can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// Over the lines of a PEM block and its END line.
    Pem,
}

/// What a [`Form`] is made of.
pub(crate) struct Parts<'a> {
    pub(crate) literals: Vec<String>,
    pub(crate) lead: Option<Lead>,
    pub(crate) regex: &'a str,
    pub(crate) left: Bytes,
    pub(crate) right: Bytes,
    pub(crate) body: Option<Body>,
}

/// Why an expression is not a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FormError {
    /// It does not compile, or not within the size limits.
    Regex(String),
    /// It matches the empty string.
    MatchesEmpty,
    /// It matches text that none of its literals announces.
    Unannounced,
    /// No literals are given, and none worth searching for follow from it.
    Underivable,
}

impl Form {
    /// Compiles `parts`.
    pub(crate) fn new(parts: Parts<'_>) -> Result<Self, FormError> {
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Anchored)
                    .dfa_size_limit(Some(DFA_LIMIT))
                    .determinize_size_limit(Some(4 * DFA_LIMIT)),
            )
            .syntax(syntax::Config::new().unicode(false).utf8(false).nest_limit(32))
            .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(4 * DFA_LIMIT)))
            .build(parts.regex)
            .map_err(|error| FormError::Regex(error.to_string()))?;
        let mut form = Self {
            literals: parts.literals,
            lead: parts.lead,
            dfa,
            left: parts.left,
            right: parts.right,
            body: parts.body,
            crosses_escapes: false,
        };
        if form.end_of_match(b"", 0, &mut Fuel::of(0)) == Ok(Some(0)) {
            return Err(FormError::MatchesEmpty);
        }
        if form.literals.is_empty() {
            form.literals = form.derived_literals().ok_or(FormError::Underivable)?;
        } else if form.lead.is_none() && !form.is_announced() {
            return Err(FormError::Unannounced);
        }
        form.crosses_escapes = form.takes_any_of(ESCAPED_IN_JSON);
        Ok(form)
    }

    /// The match that the literal at `literal_at` announces.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] where looking costs more than `fuel` has left.
    pub(crate) fn match_at(
        &self,
        text: &[u8],
        literal_at: usize,
        fuel: &mut Fuel,
    ) -> Result<Option<Range<usize>>, Exhausted> {
        let Some(lead) = &self.lead else {
            return self.match_from(text, literal_at, fuel);
        };
        let longest = text[..literal_at]
            .iter()
            .rev()
            .take(lead.max)
            .take_while(|byte| lead.of.contains(**byte))
            .count();
        for length in (lead.min..=longest).rev() {
            let found = self.match_from(text, literal_at - length, fuel)?;
            if found.as_ref().is_some_and(|found| found.end > literal_at) {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn match_from(
        &self,
        text: &[u8],
        start: usize,
        fuel: &mut Fuel,
    ) -> Result<Option<Range<usize>>, Exhausted> {
        if !starts_freely(text, start, &self.left) {
            return Ok(None);
        }
        let Some(end) = self.end_of_match(text, start, fuel)? else {
            return Ok(None);
        };
        if text.get(end).is_some_and(|next| self.right.contains(*next)) {
            return Ok(None);
        }
        let end = match self.body {
            None => end,
            Some(Body::Pem) => pem::end_of_block(text, end, fuel)?,
        };
        Ok(Some(start..end))
    }

    /// The end of the leftmost-first match that starts at `start`.
    fn end_of_match(
        &self,
        text: &[u8],
        start: usize,
        fuel: &mut Fuel,
    ) -> Result<Option<usize>, Exhausted> {
        let mut state = self.start();
        let mut end = None;
        for (at, byte) in text.iter().enumerate().skip(start) {
            state = self.dfa.next_state(state, *byte);
            if !self.dfa.is_special_state(state) {
                continue;
            }
            // The automaton reports a match one byte late.
            if self.dfa.is_match_state(state) {
                end = Some(at);
            } else if self.dfa.is_dead_state(state) {
                fuel.burn(at - start)?;
                return Ok(end);
            }
        }
        fuel.burn(text.len() - start)?;
        let last = self.dfa.next_eoi_state(state);
        Ok(if self.dfa.is_match_state(last) { Some(text.len()) } else { end })
    }

    fn start(&self) -> StateID {
        self.dfa
            .start_state_forward(&Input::new("").anchored(Anchored::Yes))
            .expect("an automaton built for anchored starts has one, and no byte makes it quit")
    }

    /// Whether every match starts with one of the literals: no path through the automaton gets
    /// past them otherwise.
    fn is_announced(&self) -> bool {
        let mut open = vec![(self.start(), 0, self.literals.iter().collect::<Vec<_>>())];
        while let Some((state, depth, literals)) = open.pop() {
            for byte in 0..=u8::MAX {
                let next = self.dfa.next_state(state, byte);
                if self.dfa.is_dead_state(next) {
                    continue;
                }
                let agreeing: Vec<&String> = literals
                    .iter()
                    .copied()
                    .filter(|literal| literal.as_bytes()[depth] == byte)
                    .collect();
                if agreeing.is_empty() {
                    return false;
                }
                if !agreeing.iter().any(|literal| literal.len() == depth + 1) {
                    open.push((next, depth + 1, agreeing));
                }
            }
        }
        true
    }

    /// What every match starts with: as few and as long literals as the expression allows.
    fn derived_literals(&self) -> Option<Vec<String>> {
        if self.lead.is_some() {
            return None;
        }
        let mut literals = vec![(self.start(), String::new())];
        for _ in 0..DERIVED_MAX {
            // Where a match may end, it is not to be asked for more.
            if literals.iter().any(|(state, _)| self.may_end(*state)) {
                break;
            }
            let mut longer = Vec::new();
            for (state, literal) in &literals {
                for byte in 0..=u8::MAX {
                    let next = self.dfa.next_state(*state, byte);
                    if self.goes_on(next) {
                        longer.push((next, byte, literal));
                    }
                }
            }
            let is_searchable = longer.iter().all(|(_, byte, _)| byte.is_ascii_graphic());
            if longer.is_empty() || longer.len() > DERIVED_LITERALS || !is_searchable {
                break;
            }
            literals = longer
                .into_iter()
                .map(|(next, byte, literal)| (next, format!("{literal}{}", char::from(byte))))
                .collect();
        }
        let literals: Vec<String> = literals.into_iter().map(|(_, literal)| literal).collect();
        literals.iter().all(|literal| literal.len() >= DERIVED_MIN).then_some(literals)
    }

    /// Whether a match can hold one of `bytes`.
    fn takes_any_of(&self, bytes: &[u8]) -> bool {
        let mut seen = HashSet::from([self.start()]);
        let mut open = vec![self.start()];
        while let Some(state) = open.pop() {
            if bytes.iter().any(|byte| self.goes_on(self.dfa.next_state(state, *byte))) {
                return true;
            }
            for after in self.after(state) {
                if self.goes_on(after) && seen.insert(after) {
                    open.push(after);
                }
            }
        }
        false
    }

    /// Whether a match can be found in or after `state`. The state that only reports the match
    /// before it says nothing about the byte that led there.
    fn goes_on(&self, state: StateID) -> bool {
        !self.dfa.is_dead_state(state)
            && (self.may_end(state)
                || self.after(state).any(|after| !self.dfa.is_dead_state(after)))
    }

    /// Whether a match ends in `state` if the text does.
    fn may_end(&self, state: StateID) -> bool {
        self.dfa.is_match_state(self.dfa.next_eoi_state(state))
    }

    /// The states that some byte leads to from `state`.
    fn after(&self, state: StateID) -> impl Iterator<Item = StateID> {
        let classes = self.dfa.byte_classes().representatives(0..=u8::MAX);
        classes.filter_map(move |unit| Some(self.dfa.next_state(state, unit.as_u8()?)))
    }

    /// Bytes of memory the automaton takes.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.dfa.memory_usage()
    }
}

/// A bound on the work one request may cause: a text made to be matched from every byte to its
/// end would otherwise take quadratic time.
#[derive(Debug)]
pub(crate) struct Fuel(usize);

/// A bound on the work that a text may cause was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted;

impl Fuel {
    /// Enough for any honest text of `length` bytes.
    pub(crate) fn of(length: usize) -> Self {
        Self(length.saturating_mul(64).saturating_add(1 << 20))
    }

    /// Takes the cost of looking at `bytes` bytes.
    pub(crate) fn burn(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.0 = self.0.checked_sub(bytes).ok_or(Exhausted)?;
        Ok(())
    }
}

/// Largest automaton of one form, in bytes.
const DFA_LIMIT: usize = 1 << 20;

/// Longest and shortest literal, and most of them, that are derived from an expression.
const DERIVED_MAX: usize = 16;
const DERIVED_MIN: usize = 3;
const DERIVED_LITERALS: usize = 8;

/// What JSON may, must or usually does spell with a backslash.
const ESCAPED_IN_JSON: &[u8] = b"\"\\\n\r\t\x08\x0c\x00\x1b\x7f\x80\xc3\xff";

#[cfg(test)]
mod tests {
    use super::*;

    fn form(regex: &str, literals: &[&str]) -> Result<Form, FormError> {
        Form::new(Parts {
            literals: literals.iter().map(ToString::to_string).collect(),
            lead: None,
            regex,
            left: Bytes::parse("A-Za-z0-9").unwrap(),
            right: Bytes::parse("A-Za-z0-9").unwrap(),
            body: None,
        })
    }

    #[test]
    fn refuses_an_expression_its_literals_do_not_announce() {
        assert!(form("(?:abc|abd)[0-9]+", &["ab"]).is_ok());
        assert_eq!(form("(?:abc|xyz)[0-9]+", &["abc"]).err(), Some(FormError::Unannounced));
        assert_eq!(form("[a-b]c[0-9]", &["ac"]).err(), Some(FormError::Unannounced));
        assert_eq!(form("ab", &["abc"]).err(), Some(FormError::Unannounced));
    }

    #[test]
    fn literals_follow_from_the_expression() {
        let derived = |regex| form(regex, &[]).map(|form| form.literals);
        assert_eq!(derived("gh[po]_[A-Za-z0-9]{36,}").unwrap(), ["gho_", "ghp_"]);
        assert_eq!(derived("abc-(?:v1|v2)-[0-9]").unwrap(), ["abc-v1-", "abc-v2-"]);
        assert_eq!(derived("abcd?").unwrap(), ["abc"]);
        assert_eq!(derived("xyz[0-9]+").unwrap(), ["xyz"]);
        for vague in ["ab[0-9]+", "[a-z]+", "(?i)to[0-9]", "a b c"] {
            assert_eq!(derived(vague), Err(FormError::Underivable), "{vague}");
        }
    }

    #[test]
    fn refuses_an_expression_that_matches_nothing_at_all() {
        assert_eq!(form("a*", &["a"]).err(), Some(FormError::MatchesEmpty));
    }

    #[test]
    fn refuses_an_expression_of_any_size_and_any_syntax_error() {
        assert!(matches!(form("a(?:b{1000}c?){1000}", &["a"]), Err(FormError::Regex(_))));
        assert!(matches!(form("a(", &["a"]), Err(FormError::Regex(_))));
    }

    #[test]
    fn knows_which_forms_json_can_hide() {
        assert!(!form("abc[0-9a-z]{3,}", &["abc"]).unwrap().crosses_escapes);
        assert!(form("abc=\"[^\"]+\"", &["abc"]).unwrap().crosses_escapes);
        assert!(form("abc\\n[0-9]", &["abc"]).unwrap().crosses_escapes);
        assert!(form("abc[0-9]\\\\", &["abc"]).unwrap().crosses_escapes);
    }
}
