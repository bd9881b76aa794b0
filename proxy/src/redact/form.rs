//! One form of a secret: a literal that announces it, an anchored automaton that decides it, and
//! the bytes that may not stand beside it.

use std::ops::{Range, RangeInclusive};

use regex_automata::dfa::Automaton as _;

use super::automaton::{
    Dfa, States, advance, compiled, end_of_match, goes_on, may_end, may_match_unescaped, read_once,
    start, takes_any_of,
};
use super::boundary::{Bytes, starts_freely, tears_escape};
use super::entropy::{Filter, shannon};
use super::pem;
use super::prefilter::is_escaped;
use super::quote::end_of_quoted;
use super::validate::Check;

/// A compiled form.
pub(crate) struct Form {
    /// What announces a match. Without a lead, a match starts with one of them.
    pub(crate) literals: Vec<String>,
    pub(crate) lead: Option<Lead>,
    /// What stands in front of a match, from its literal on.
    context: Option<Dfa>,
    dfa: Dfa,
    left: Bytes,
    right: Bytes,
    next: Option<Bytes>,
    body: Option<Body>,
    check: Option<Check>,
    values: Values,
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

/// What a match must be to count, beyond its shape.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Values {
    /// What it must look like.
    pub(crate) filter: Option<Filter>,
    /// Least Shannon entropy, in bits per byte.
    pub(crate) entropy: Option<f32>,
    /// What it must say about itself.
    pub(crate) require: Option<Check>,
}

impl Values {
    fn admit(&self, value: &[u8]) -> bool {
        self.filter.is_none_or(|filter| filter.admits(value))
            && self.entropy.is_none_or(|least| shannon(value) >= least)
            && self.require.is_none_or(|check| check.holds(value))
    }
}

/// How a match runs on past what its expression can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// Over the lines of a PEM block and its END line.
    Pem,
    /// Over the lines of a PuTTY key.
    Putty,
    /// To the quote that closes a value.
    Quoted,
}

/// What a [`Form`] is made of.
pub(crate) struct Parts<'a> {
    pub(crate) literals: Vec<String>,
    pub(crate) lead: Option<Lead>,
    /// What a match must stand behind; the literals announce this then.
    pub(crate) context: Option<&'a str>,
    pub(crate) regex: &'a str,
    pub(crate) left: Bytes,
    pub(crate) right: Bytes,
    /// What must stand right behind a match.
    pub(crate) next: Option<Bytes>,
    pub(crate) body: Option<Body>,
    /// What a match may say about itself.
    pub(crate) check: Option<Check>,
    pub(crate) values: Values,
}

impl<'a> Parts<'a> {
    /// An expression with the usual boundaries and nothing else.
    #[cfg(test)]
    pub(crate) fn plain(literals: &[&str], regex: &'a str) -> Self {
        let alphanumeric = Bytes::parse("A-Za-z0-9").unwrap();
        Self {
            literals: literals.iter().map(ToString::to_string).collect(),
            lead: None,
            context: None,
            regex,
            left: alphanumeric,
            right: alphanumeric,
            next: None,
            body: None,
            check: None,
            values: Values::default(),
        }
    }
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
        let mut form = Self {
            literals: parts.literals,
            lead: parts.lead,
            context: parts.context.map(compiled).transpose()?,
            dfa: compiled(parts.regex)?,
            left: parts.left,
            right: parts.right,
            next: parts.next,
            body: parts.body,
            check: parts.check,
            values: parts.values,
            crosses_escapes: false,
        };
        let is_empty = |dfa| end_of_match(dfa, b"", 0, &mut Fuel::of(0)) == Ok(Some(0));
        if is_empty(&form.dfa) || form.context.as_ref().is_some_and(is_empty) {
            return Err(FormError::MatchesEmpty);
        }
        if form.literals.is_empty() {
            form.literals = form.derived_literals().ok_or(FormError::Underivable)?;
        } else if form.lead.is_none() && !form.is_announced() {
            return Err(FormError::Unannounced);
        }
        form.crosses_escapes = form.context.is_some() || takes_any_of(&form.dfa, ESCAPED_IN_JSON);
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
        if self.lead.is_none() {
            return self.match_from(text, literal_at, fuel);
        }
        // Digits of an escape in front are taken for the token's only where it needs them.
        let mut torn = None;
        for length in self.leads(text, literal_at).rev() {
            let start = literal_at - length;
            let found = self.match_from(text, start, fuel)?;
            if found.as_ref().is_some_and(|found| found.end > literal_at) {
                if !tears_escape(text, start) {
                    return Ok(found);
                }
                torn = torn.or(found);
            }
        }
        Ok(torn)
    }

    /// How long what leads to the literal at `literal_at` can be.
    fn leads(&self, text: &[u8], literal_at: usize) -> RangeInclusive<usize> {
        let Some(Lead { of, min, max }) = &self.lead else { return 0..=0 };
        let before = text[..literal_at].iter().rev().take(*max);
        *min..=before.take_while(|byte| of.contains(**byte)).count()
    }

    fn match_from(
        &self,
        text: &[u8],
        start: usize,
        fuel: &mut Fuel,
    ) -> Result<Option<Range<usize>>, Exhausted> {
        let is_free = starts_freely(text, start, &self.left);
        // What proves itself is found wherever it is glued to.
        let proof = self.check.filter(|check| check.proves());
        if !is_free && proof.is_none() {
            return Ok(None);
        }
        let start = match &self.context {
            None => Some(start),
            Some(context) => end_of_match(context, text, start, fuel)?,
        };
        let Some(start) = start else { return Ok(None) };
        let Some(end) = end_of_match(&self.dfa, text, start, fuel)? else {
            return Ok(None);
        };
        let (end, judged) = match self.body {
            Some(Body::Quoted) => self.quoted(text, start, end, fuel)?,
            _ => (end, end),
        };
        let follows = text.get(end).copied();
        let is_closed = follows.is_none_or(|next| !self.right.contains(next));
        let is_ended =
            self.next.is_none_or(|next| follows.is_some_and(|follows| next.contains(follows)));
        let value = &text[start..judged];
        let is_apart = (is_free && is_closed) || proof.is_some_and(|check| check.holds(value));
        if start == end || !is_ended || !is_apart || !self.values.admit(value) {
            return Ok(None);
        }
        let end = match self.body {
            None | Some(Body::Quoted) => end,
            Some(Body::Pem) => pem::end_of_block(text, end, fuel)?,
            Some(Body::Putty) => pem::end_of_putty(text, end, fuel)?,
        };
        Ok(Some(start..end))
    }

    /// Where the quoted value ends of which the expression matched up to `end`, and how much of it
    /// tells whether it is a secret: what stands in front of its first escape, or all of it where
    /// that is too short to match.
    fn quoted(
        &self,
        text: &[u8],
        start: usize,
        end: usize,
        fuel: &mut Fuel,
    ) -> Result<(usize, usize), Exhausted> {
        let escape = memchr::memchr(b'\\', &text[start..text.len().min(end + 1)]);
        let Some(head) = escape.map(|at| start + at) else { return Ok((end, end)) };
        let head_matches = self.takes(&text[..head], start, fuel)?;
        let Some(close) = end_of_quoted(text, start, fuel) else {
            return Ok((if head_matches { head } else { start }, head));
        };
        if head_matches {
            return Ok((close, head));
        }
        let is_match = close >= end || self.takes(&text[..close], start, fuel)?;
        Ok(if is_match { (close, close) } else { (start, start) })
    }

    /// Whether the expression matches from `start` to the end of `text`, which is where a longer
    /// text was cut on purpose.
    fn takes(&self, text: &[u8], start: usize, fuel: &mut Fuel) -> Result<bool, Exhausted> {
        let saw_end = fuel.saw_end;
        let end = end_of_match(&self.dfa, text, start, fuel)?;
        fuel.saw_end = saw_end;
        Ok(end == Some(text.len()))
    }

    /// Whether `token`, a match of this form, says about itself what tokens of its kind do.
    pub(crate) fn is_checked(&self, token: &[u8]) -> bool {
        self.check.or(self.values.require).is_some_and(|check| check.holds(token))
    }

    /// Whether the literal at `literal_at` of raw JSON may announce a match in what it spells. No
    /// is certain.
    ///
    /// # Errors
    ///
    /// As for [`Form::match_at`].
    pub(crate) fn may_match_raw(
        &self,
        raw: &[u8],
        literal_at: usize,
        fuel: &mut Fuel,
    ) -> Result<bool, Exhausted> {
        match &self.context {
            // Where the lead starts, the context does.
            Some(context) => {
                let may = self.leads(raw, literal_at).any(|length| {
                    fuel.burn(length).is_err()
                        || may_match_unescaped(context, &raw[literal_at - length..])
                });
                Ok(may && self.may_match_near(raw, literal_at, fuel)?)
            }
            None if self.crosses_escapes => Ok(true),
            None => Ok(self.match_at(raw, literal_at, fuel)?.is_some()),
        }
    }

    /// Whether the literal at `literal_at` may announce a match in `raw`, which is text as it stands or
    /// a string of JSON: only what is near is looked at. No is certain.
    fn may_match_near(
        &self,
        raw: &[u8],
        literal_at: usize,
        fuel: &mut Fuel,
    ) -> Result<bool, Exhausted> {
        let saw_end = fuel.has_seen_end();
        let near = &raw[..raw.len().min(literal_at + NEAR)];
        // Where that ends, more may follow in the text.
        let mut may = self.match_at(near, literal_at, fuel)?.is_some() || fuel.has_seen_end();
        if !may {
            may = match read_once(&near[literal_at..]) {
                Some(behind) => {
                    let before = &raw[literal_at.saturating_sub(LEAD_MAX)..literal_at];
                    let text = [before, &behind].concat();
                    let found = self.match_at(&text, before.len(), fuel)?;
                    // Where it ends, more may follow in the string or in the next one.
                    found.is_some() || fuel.has_seen_end()
                }
                None => true,
            };
        }
        if saw_end {
            fuel.see_end();
        }
        Ok(may)
    }

    /// The automaton that decides what begins with a literal.
    fn announced(&self) -> &Dfa {
        self.context.as_ref().unwrap_or(&self.dfa)
    }

    /// Whether every match starts with one of the literals: no path through the automaton gets
    /// past them otherwise.
    fn is_announced(&self) -> bool {
        let dfa = self.announced();
        let mut open = vec![(start(dfa), 0, self.literals.iter().collect::<Vec<_>>())];
        while let Some((state, depth, literals)) = open.pop() {
            for byte in 0..=u8::MAX {
                let next = dfa.next_state(state, byte);
                if dfa.is_dead_state(next) {
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
        let dfa = self.announced();
        let mut literals = vec![(start(dfa), String::new())];
        for _ in 0..DERIVED_MAX {
            // Where a match may end, it is not to be asked for more.
            if literals.iter().any(|(state, _)| may_end(dfa, *state)) {
                break;
            }
            let mut longer = Vec::new();
            for (state, literal) in &literals {
                for byte in 0..=u8::MAX {
                    let next = dfa.next_state(*state, byte);
                    if goes_on(dfa, next) {
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

    /// `literal` with what may follow it in a match, up to `length` bytes: a few longer literals
    /// that together announce as much. Itself, where they would not be few.
    pub(crate) fn grown(&self, literal: &[u8], length: usize) -> Vec<Vec<u8>> {
        let dfa = self.announced();
        let mut grown = vec![(literal.to_vec(), self.states_behind(literal))];
        for _ in literal.len()..length {
            let mut longer = Vec::new();
            for (literal, states) in &grown {
                if states.iter().any(|state| may_end(dfa, *state)) {
                    return vec![literal.clone()];
                }
                for byte in 0..=u8::MAX {
                    let next = advance(dfa, states, |next| next == byte);
                    if !next.is_empty() {
                        longer.push(([literal, &[byte][..]].concat(), next));
                    }
                }
            }
            let is_hidden = |literal: &[u8]| literal.last().is_none_or(|byte| is_escaped(*byte));
            if longer.len() > GROWN_MAX || longer.iter().any(|(literal, _)| is_hidden(literal)) {
                break;
            }
            grown = longer;
        }
        grown.into_iter().map(|(literal, _)| literal).collect()
    }

    /// How far behind a literal of this one byte the same byte stands again in every match, or
    /// else one further.
    pub(crate) fn distance_to_next(&self, byte: u8) -> Option<usize> {
        let dfa = self.announced();
        let may_end = |states: &States| states.iter().any(|state| may_end(dfa, *state));
        let mut states = self.states_behind(&[byte]);
        for distance in 1..=NEXT_MAX {
            if states.is_empty() || may_end(&states) {
                return None;
            }
            let not_here = advance(dfa, &states, |next| next != byte);
            if !may_end(&not_here) && advance(dfa, &not_here, |next| next != byte).is_empty() {
                return Some(distance);
            }
            states = advance(dfa, &states, |_| true);
        }
        None
    }

    /// What the bytes right behind `literal` are in every match, and how many of them are sure to
    /// stand there; `None` where they may be other than ASCII.
    pub(crate) fn followers(&self, literal: &[u8]) -> Option<([bool; 128], usize)> {
        let dfa = self.announced();
        let mut states = self.states_behind(literal);
        let mut table = [false; 128];
        let mut length = 0;
        while length < FOLLOWERS_MAX && !states.iter().any(|state| may_end(dfa, *state)) {
            for byte in 0..=u8::MAX {
                if !advance(dfa, &states, |next| next == byte).is_empty() {
                    *table.get_mut(usize::from(byte))? = true;
                }
            }
            states = advance(dfa, &states, |_| true);
            length += 1;
        }
        Some((table, length))
    }

    /// The states in which a match can be once its literal is read.
    fn states_behind(&self, literal: &[u8]) -> States {
        let dfa = self.announced();
        let mut leads = States::from([start(dfa)]);
        let mut behind = States::new();
        if let Some(Lead { of, min, max }) = &self.lead {
            for length in 1..=*max {
                leads = advance(dfa, &leads, |byte| of.contains(byte));
                if length >= *min {
                    behind.extend(&leads);
                }
            }
        } else {
            behind = leads;
        }
        literal.iter().fold(behind, |states, byte| advance(dfa, &states, |next| next == *byte))
    }

    /// Bytes of memory the automaton takes.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.dfa.memory_usage() + self.context.as_ref().map_or(0, Dfa::memory_usage)
    }
}

/// A bound on the work one request may cause: a text made to be matched from every byte to its
/// end would otherwise take quadratic time.
#[derive(Debug)]
pub(crate) struct Fuel {
    left: usize,
    /// Whether what was found depends on where the text ends.
    saw_end: bool,
}

/// A bound on the work that a text may cause was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted;

impl Fuel {
    /// Enough for any honest text of `length` bytes.
    pub(crate) fn of(length: usize) -> Self {
        Self { left: length.saturating_mul(64).saturating_add(1 << 20), saw_end: false }
    }

    /// Takes the cost of looking at `bytes` bytes.
    pub(crate) fn burn(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.left = self.left.checked_sub(bytes).ok_or(Exhausted)?;
        Ok(())
    }

    /// What is looked for would perhaps be another if the text went on.
    pub(crate) fn see_end(&mut self) {
        self.saw_end = true;
    }

    /// Whether the end of a text was seen since this was last asked.
    pub(crate) fn has_seen_end(&mut self) -> bool {
        std::mem::take(&mut self.saw_end)
    }
}

/// Longest and shortest literal, and most of them, that are derived from an expression.
const DERIVED_MAX: usize = 16;
const DERIVED_MIN: usize = 3;
const DERIVED_LITERALS: usize = 8;

/// Most literals that a short one grows into.
const GROWN_MAX: usize = 24;

/// How far behind a literal its byte is looked for again.
const NEXT_MAX: usize = 16;

/// How many bytes of a literal and behind it are read to tell whether it may announce a match.
const NEAR: usize = 256;

/// Most bytes in front of a literal that can say something about a match.
const LEAD_MAX: usize = 128;

/// How many bytes behind a literal are looked at.
const FOLLOWERS_MAX: usize = 24;

/// What JSON may, must or usually does spell with a backslash.
const ESCAPED_IN_JSON: &[u8] = b"\"\\\n\r\t\x08\x0c\x00\x1b\x7f\x80\xc3\xff";

#[cfg(test)]
mod tests {
    use super::*;

    fn form(regex: &str, literals: &[&str]) -> Result<Form, FormError> {
        Form::new(Parts::plain(literals, regex))
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
    fn grows_a_short_literal_by_what_may_follow_it() {
        let grown = |regex, literals: &[&str]| {
            let literal = literals[0].as_bytes();
            let mut grown = form(regex, literals).unwrap().grown(literal, 3);
            grown.sort();
            grown.into_iter().map(|literal| String::from_utf8(literal).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(grown("AC[0-2]{5}", &["AC"]), ["AC0", "AC1", "AC2"]);
        assert_eq!(grown("A[CD][0-1]{5}", &["A"]), ["AC0", "AC1", "AD0", "AD1"]);
        assert_eq!(grown("s[\\\\n]{24}", &["s"]), ["s"]);
        assert_eq!(grown("ab", &["a"]), ["ab"]);
        assert_eq!(grown("s[.][A-Za-z0-9]{24}", &["s."]), ["s."]);
    }

    #[test]
    fn knows_how_far_behind_a_byte_it_stands_again() {
        let distance = |regex| form(regex, &["."]).unwrap().distance_to_next(b'.');
        assert_eq!(distance("[.][a-z]{6,7}[.][a-z]"), Some(7));
        assert_eq!(distance("[.][a-z]{6}[.][a-z]"), Some(6));
        assert_eq!(distance("[.][a-z]{5,7}[.][a-z]"), None);
        assert_eq!(distance("[.][a-z]{6}(?:[.][a-z])?"), None);
        assert_eq!(distance("[.][a-z]{24}"), None);
    }

    #[test]
    fn knows_which_forms_json_can_hide() {
        assert!(!form("abc[0-9a-z]{3,}", &["abc"]).unwrap().crosses_escapes);
        assert!(form("abc=\"[^\"]+\"", &["abc"]).unwrap().crosses_escapes);
        assert!(form("abc\\n[0-9]", &["abc"]).unwrap().crosses_escapes);
        assert!(form("abc[0-9]\\\\", &["abc"]).unwrap().crosses_escapes);
    }
}
