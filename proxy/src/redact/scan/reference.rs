//! What the scanner must find, found the slow way: each form is tried at every byte. For fuzzing
//! against the fast way.

use std::ops::Range;

use super::super::form::{Exhausted, Fuel};
use super::super::policy::Policy;
use super::{Label, Scope, Span, overlaps_any, union};

/// A stretch of text, and the TYPE it is named after.
pub type Hit = (Range<usize>, String);

impl Policy {
    /// The secrets that stand in decoded `text` as they are, in order and apart.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] where the text is made to be costly.
    pub fn scan(&self, text: &[u8], scope: Scope) -> Result<Vec<Hit>, Exhausted> {
        let spans = self.scanner.spans(text, scope, &mut Fuel::of(text.len()))?;
        Ok(self.named(spans))
    }

    /// The same without any search for literals.
    ///
    /// # Errors
    ///
    /// As for [`Policy::scan`].
    pub fn scan_every_byte(&self, text: &[u8], scope: Scope) -> Result<Vec<Hit>, Exhausted> {
        let mut fuel = Fuel::of(text.len().saturating_mul(64));
        let [mut shaped, mut generic] = [Vec::new(), Vec::new()];
        for member in &self.scanner.forms {
            if scope == Scope::Structured && member.scope != Scope::Structured {
                continue;
            }
            let found = if member.is_generic { &mut generic } else { &mut shaped };
            for at in 0..text.len() {
                let is_literal = |literal: &String| text[at..].starts_with(literal.as_bytes());
                if !member.form.literals.iter().any(is_literal) {
                    continue;
                }
                if let Some(range) = member.form.match_at(text, at, &mut fuel)? {
                    found.push(Span { range, label: Label::Pattern(member.pattern) });
                }
            }
        }
        let merged = union(shaped.clone(), |_| false);
        let blocks = |label: &Label| self.scanner.blocks(label);
        generic.retain(|guess| blocks(&guess.label) || !overlaps_any(&merged, &guess.range));
        shaped.append(&mut generic);
        Ok(self.named(union(shaped, blocks)))
    }

    fn named(&self, spans: Vec<Span>) -> Vec<Hit> {
        let name = |label: &Label| match label {
            Label::Pattern(index) => self.patterns[*index].kind.as_str().to_owned(),
            Label::Known(kind) => kind.as_str().to_owned(),
        };
        spans.into_iter().map(|Span { range, label }| (range, name(&label))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> &'static Policy {
        static POLICY: std::sync::OnceLock<Policy> = std::sync::OnceLock::new();
        POLICY.get_or_init(|| Policy::built_in().unwrap())
    }

    /// Pieces of what announces secrets, glued together: where the search is easily led astray.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[A-Za-z0-9_-]{1,40}",
            "[a-f0-9]{32,64}",
            prop::sample::select(vec![
                "AKIA",
                "ghp_",
                "gh",
                "sk-",
                "sk_",
                "s.",
                ".",
                ":",
                "eyJ",
                "AC",
                "SK",
                "hf_",
                "\n",
                " ",
                "=",
                "password",
                "token: ",
                "-----BEGIN PRIVATE KEY-----",
                "%3D",
                "\u{1b}[32m",
                "é",
                "xoxb-",
                "://",
                "@",
                "\"",
                "pk_",
                "1234567890",
                "\\",
                "\\n",
                "\\\"",
                "'",
                "api_key",
                "\"auth\": ",
                "--token ",
                "Bearer ",
                ",",
                "\t",
                "Tr0ub4dor&3xyz",
                "hunter2hunter2",
                "q9Zt7LwX2mVb4KdR8sYf",
            ])
            .prop_map(str::to_owned),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn the_search_for_literals_misses_nothing(text in pieces()) {
            for scope in [Scope::Text, Scope::Structured] {
                let [fast, slow] =
                    [policy().scan(text.as_bytes(), scope), policy().scan_every_byte(text.as_bytes(), scope)];
                prop_assert_eq!(fast.unwrap(), slow.unwrap());
            }
        }

        /// T5: however deep JSON quotes it.
        #[test]
        fn what_is_found_in_text_is_suspected_in_the_json_that_spells_it(
            text in pieces(),
            levels in 0..3_usize,
        ) {
            let found = policy().scan(text.as_bytes(), Scope::Text).unwrap();
            let raw = (0..levels).fold(text.clone(), |text, _| serde_json::json!([text]).to_string());
            let clean = crate::redact::is_clean(policy(), raw.as_bytes()).unwrap();
            prop_assert!(found.is_empty() || !clean, "{found:?} in {raw}");
        }
    }
}
