//! Finds the places where a form may match at the speed of vector code: each form's literals, or
//! the rarest part of them, all forms in one or two passes.

use std::collections::BTreeMap;

use super::form::{Exhausted, Form};
use buckets::rarest_window;
use needles::Needles;
use probe::Probe;

mod buckets;
pub(crate) mod escapes;
mod needles;
mod probe;

/// The literals of all forms.
pub(crate) struct Prefilter {
    needles: Needles,
    probes: Vec<(Probe, Announced)>,
}

/// A form that may match where a needle stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Announced {
    form: usize,
    /// Where the form's literal starts, seen from the needle.
    literal: isize,
    /// Whether the needle is not but a part of a literal that JSON spells in another way.
    is_literal: bool,
    /// Where the literal has a quote in front of that part and behind it, seen from the needle.
    quotes: [Option<isize>; 2],
}

impl Announced {
    /// Where the literal may start in `text`, with its needle at `at`.
    fn place(&self, text: &[u8], at: usize) -> Option<usize> {
        let byte = |quote| text.get(at.checked_add_signed(quote)?);
        let [front, behind] = self.quotes.map(|quote| quote.map(byte));
        let is_quoted = front.is_none_or(|byte| byte == Some(&b'"'))
            // JSON has it behind a backslash.
            && behind.is_none_or(|byte| matches!(byte, Some(b'"' | b'\\')));
        at.checked_add_signed(self.literal).filter(|_| is_quoted)
    }
}

/// What is searched for, and what it announces.
type Plan = BTreeMap<Vec<u8>, Vec<Announced>>;

impl Prefilter {
    /// Prepares the search for the literals of `forms`.
    pub(crate) fn new<'f>(forms: impl Iterator<Item = &'f Form>) -> Self {
        let mut probes = Vec::new();
        let mut short = Plan::new();
        let mut long = Vec::new();
        for (index, form) in forms.enumerate() {
            for literal in &form.literals {
                let (skipped, part) = unescaped_part(literal.as_bytes());
                let is_literal = part == literal.as_bytes();
                let quotes = [-1, signed(part.len())].map(|beside| {
                    let byte = literal.as_bytes().get(usize::try_from(skipped + beside).ok()?);
                    (byte == Some(&b'"')).then_some(beside)
                });
                let announced = Announced { form: index, literal: -skipped, is_literal, quotes };
                if let Some(probe) = Probe::of(form, literal) {
                    probes.push((probe, announced));
                } else if part.len() > SHORT {
                    long.push((part, announced));
                } else {
                    for (needle, led) in grown(form, literal.as_bytes(), part) {
                        let announced = Announced { literal: led - skipped, ..announced };
                        short.entry(needle).or_default().push(announced);
                    }
                }
            }
        }
        let long = planned(long, &mut short);
        short.extend(without_extensions(long));
        Self { needles: Needles::compile(short), probes }
    }

    /// Calls `visit` with each place where a form's literal may stand, the form's index, and
    /// whether raw JSON spells that literal as it is, so that the place is exact there too.
    ///
    /// # Errors
    ///
    /// What `visit` returns.
    pub(crate) fn each(
        &self,
        text: &[u8],
        mut visit: impl FnMut(usize, usize, bool) -> Result<(), Exhausted>,
    ) -> Result<(), Exhausted> {
        let mut announce = |at: usize, announced: &[Announced]| {
            announced.iter().try_for_each(|announced| match announced.place(text, at) {
                Some(at) => visit(at, announced.form, announced.is_literal),
                None => Ok(()),
            })
        };
        self.needles.each(text, &mut announce)?;
        for (probe, announced) in &self.probes {
            probe.each(text, &mut |at| announce(at, &[*announced]))?;
        }
        Ok(())
    }

    /// Bytes of memory it takes.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.needles.memory()
    }
}

/// What to search for instead of the short `literal` of `form`, whose `part` JSON spells as it is,
/// and where the literal starts, seen from there.
fn grown(form: &Form, literal: &[u8], part: &[u8]) -> Vec<(Vec<u8>, isize)> {
    if part != literal {
        return vec![(part.to_vec(), 0)];
    }
    let leads = form.lead.as_ref().map(|lead| lead.of.members().collect::<Vec<u8>>());
    match leads {
        Some(leads) if literal.len() == 1 && leads.len() <= LEADS_MAX => {
            leads.into_iter().map(|lead| ([&[lead], literal].concat(), 1)).collect()
        }
        _ => form.grown(literal, SHORT).into_iter().map(|needle| (needle, 0)).collect(),
    }
}

/// The needles for `literals` of more than [`SHORT`] bytes. What is searched for anyway announces
/// the literals that hold it, too.
fn planned(literals: Vec<(&[u8], Announced)>, short: &mut Plan) -> Plan {
    let mut plan = Plan::new();
    for (literal, announced) in literals {
        let known = literal.windows(SHORT).position(|window| short.contains_key(window));
        let at = known.unwrap_or_else(|| rarest_window(literal));
        let announced = Announced {
            literal: announced.literal - signed(at),
            quotes: announced.quotes.map(|quote| Some(quote? - signed(at))),
            ..announced
        };
        let (plan, needle) = match known {
            Some(_) => (&mut *short, &literal[at..at + SHORT]),
            None => (&mut plan, &literal[at..]),
        };
        plan.entry(needle.to_vec()).or_default().push(announced);
    }
    plan
}

/// `plan` without the needles that start with another one: that one announces them, too.
fn without_extensions(plan: Plan) -> Plan {
    let mut shortest = Plan::new();
    for (needle, announced) in plan {
        // Sorted, a needle follows directly on those that begin it.
        match shortest.last_entry().filter(|last| needle.starts_with(last.key())) {
            Some(mut last) => last.get_mut().extend(announced),
            None => {
                shortest.insert(needle, announced);
            }
        }
    }
    shortest
}

/// The longest part of a literal that JSON does not spell with a backslash, and where it starts;
/// of a literal without such a byte, all of it.
fn unescaped_part(literal: &[u8]) -> (isize, &[u8]) {
    let mut longest = (0, &literal[..0]);
    let mut start = 0;
    for part in literal.split(|byte| is_escaped(*byte)) {
        if part.len() > longest.1.len() {
            longest = (start, part);
        }
        start += signed(part.len()) + 1;
    }
    if longest.1.is_empty() { (0, literal) } else { longest }
}

/// An offset within a literal.
fn signed(offset: usize) -> isize {
    isize::try_from(offset).unwrap_or(isize::MAX)
}

/// Whether JSON must or usually does spell `byte` with a backslash. Others are searched for in raw
/// JSON, next to the escapes that could spell them all the same.
pub(crate) fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..b' ' | 0x7f..)
}

/// Length of the shortest needles that many can be searched for at once.
const SHORT: usize = 3;

/// Most bytes that are put in front of a literal of one byte.
const LEADS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::super::boundary::Bytes;
    use super::super::form::{Lead, Parts};
    use super::*;

    fn form(regex: &str, literals: &[&str], lead: Option<Lead>) -> Form {
        let none = Bytes::parse("").unwrap();
        Form::new(Parts { lead, left: none, right: none, ..Parts::plain(literals, regex) }).unwrap()
    }

    fn places(form: &Form, text: &str) -> Vec<usize> {
        let prefilter = Prefilter::new([form].into_iter());
        let mut places = Vec::new();
        prefilter
            .each(text.as_bytes(), |at, _, _| {
                places.push(at);
                Ok(())
            })
            .unwrap();
        places.sort_unstable();
        places
    }

    #[test]
    fn finds_literals_that_overlap_themselves_everywhere() {
        for literal in ["xx", "xyxy", "xxx", "abaabaab"] {
            let form = form(&format!("{literal}[0-9]"), &[literal], None);
            let text = format!("{0}1{0}{0}2", literal.repeat(12));
            let found = places(&form, &text);
            for end in text.match_indices(['1', '2']).map(|(end, _)| end) {
                assert!(found.contains(&(end - literal.len())), "{literal} {end}");
            }
        }
    }

    #[test]
    fn t5_searches_for_what_json_spells_without_a_backslash() {
        assert_eq!(unescaped_part(b"key=\"pw\":"), (0, &b"key="[..]));
        assert_eq!(unescaped_part(b"\"\n\"pass"), (3, &b"pass"[..]));
        assert_eq!(unescaped_part(b"plain"), (0, &b"plain"[..]));
        let form = form("\"private_key\": [0-9]", &["\"private_key\""], None);
        assert_eq!(places(&form, "{\"private_key\": 1"), [1]);
        assert_eq!(places(&form, r#"{\\\"private_key\\\": 1"#), [4]);
        assert!(places(&form, "'private_key': 1 \"private_keys \"private_key").is_empty());
    }

    #[test]
    fn a_lone_byte_is_searched_for_with_what_leads_to_it() {
        let lead = Lead { of: Bytes::parse("st").unwrap(), min: 1, max: 1 };
        let form = form("[st][.][a-z0-9]{4}", &["."], Some(lead));
        assert_eq!(places(&form, ". a. s.x t."), [6, 10]);
    }

    #[test]
    fn a_lone_byte_is_searched_for_with_what_stands_behind_it() {
        let lead = Lead { of: Bytes::parse("st").unwrap(), min: 1, max: 1 };
        let form = form("[st][.][a-z0-9]{24}", &["."], Some(lead));
        for before in [0, 1, 30, 38, 39, 40, 61, 62, 63, 64, 100] {
            for more in [0, 1, 40, 90] {
                let text = format!("{}s.{}", ".".repeat(before), "x".repeat(24 + more));
                assert_eq!(places(&form, &text), [before + 1], "{before} {more}");
            }
        }
        assert!(places(&form, &"s.append s.a.b.c.d.e.f ".repeat(20)).is_empty());
    }

    #[test]
    fn a_sign_beside_a_short_literal_hides_no_match() {
        let digits = Lead { of: Bytes::parse("0-9").unwrap(), min: 8, max: 10 };
        let form = form("[0-9]{8,10}:[a-z]{6}", &[":"], Some(digits));
        for before in [0, 1, 55, 63, 64, 65, 200] {
            for after in [0, 1, 57, 58, 120] {
                let text = format!("{}12345678:abcdef{}", " ".repeat(before), " ".repeat(after));
                assert!(places(&form, &text).contains(&(before + 8)), "{before} {after}");
            }
        }
        assert!(places(&form, &"a:1 12:02: ".repeat(50)).len() < 20);
    }
}
