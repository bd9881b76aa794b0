//! Gives each secret of one request its placeholder and keeps count.

use std::collections::HashMap;

use super::{Finding, Refusal};
use crate::placeholder::{Kind, Minted, Secret, SessionKey, Sticky, Tag, spell};

/// Most placeholders in one request, the same ones counted again. What is kept of each is some
/// twenty times longer than the shortest secret, and a body holds many of those.
const PLACEHOLDERS_MAX: usize = 256 * 1024;

/// What one request's secrets became.
pub(crate) struct Ledger<'a> {
    key: &'a SessionKey,
    /// How many more placeholders may be given.
    left: usize,
    minted: Vec<Minted>,
    by_tag: HashMap<Tag, Vec<usize>>,
    findings: Vec<Finding>,
    by_finding: HashMap<(Kind, Tag, &'static str), usize>,
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(key: &'a SessionKey) -> Self {
        Self {
            key,
            left: PLACEHOLDERS_MAX,
            minted: Vec::new(),
            by_tag: HashMap::new(),
            findings: Vec::new(),
            by_finding: HashMap::new(),
        }
    }

    /// The placeholder that stands for `plaintext`, found where `rule` applies, and the index of
    /// the finding it counts for. The value is remembered as far as it is `sticky`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Collision`] where another plaintext of this request has the same tag,
    /// [`Refusal::Costly`] where there were too many already.
    pub(crate) fn placeholder(
        &mut self,
        kind: &Kind,
        rule: &'static str,
        plaintext: &[u8],
        sticky: Sticky,
    ) -> Result<(String, usize), Refusal> {
        self.enter(self.key.tag(plaintext), kind, rule, plaintext, sticky)
    }

    fn enter(
        &mut self,
        tag: Tag,
        kind: &Kind,
        rule: &'static str,
        plaintext: &[u8],
        sticky: Sticky,
    ) -> Result<(String, usize), Refusal> {
        self.left = self.left.checked_sub(1).ok_or(Refusal::Costly)?;
        let known = self.by_tag.entry(tag).or_default();
        if known.first().is_some_and(|first| self.minted[*first].plaintext.expose() != plaintext) {
            return Err(Refusal::Collision { kind: kind.clone(), rule });
        }
        // A placeholder resolves under its own TYPE only.
        match known.iter().find(|known| self.minted[**known].kind == *kind) {
            Some(known) => self.minted[*known].sticky = sticky.max(self.minted[*known].sticky),
            None => {
                known.push(self.minted.len());
                let plaintext = Secret::new(plaintext.to_vec());
                self.minted.push(Minted { kind: kind.clone(), tag, plaintext, sticky });
            }
        }
        let finding = *self.by_finding.entry((kind.clone(), tag, rule)).or_insert_with(|| {
            self.findings.push(Finding { kind: kind.clone(), tag, rule, count: 0 });
            self.findings.len() - 1
        });
        self.findings[finding].count += 1;
        Ok((spell(kind, tag), finding))
    }

    /// What was found and what was minted, each in the order of the body.
    pub(crate) fn close(self) -> (Vec<Finding>, Vec<Minted>) {
        (self.findings, self.minted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_two_plaintexts_never_share_a_placeholder() {
        let key = SessionKey::new([7; 32]);
        let kind = Kind::new("AWS_ACCESS_KEY").unwrap();
        let mut ledger = Ledger::new(&key);
        let first = ledger.enter(Tag([1; 8]), &kind, "text", b"one", Sticky::No).unwrap();
        assert_eq!(ledger.enter(Tag([1; 8]), &kind, "text", b"one", Sticky::No).unwrap(), first);
        let collision = ledger.enter(Tag([1; 8]), &kind, "text", b"two", Sticky::No);
        assert_eq!(collision, Err(Refusal::Collision { kind: kind.clone(), rule: "text" }));
        let (findings, minted) = ledger.close();
        assert_eq!((findings.len(), findings[0].count, minted.len()), (1, 2, 1));
    }

    #[test]
    fn a_request_gets_only_so_many_placeholders() {
        let key = SessionKey::new([7; 32]);
        let kind = Kind::new("AWS_ACCESS_KEY").unwrap();
        let mut ledger = Ledger::new(&key);
        for _ in 0..PLACEHOLDERS_MAX {
            ledger.enter(Tag([1; 8]), &kind, "text", b"one", Sticky::No).unwrap();
        }
        assert_eq!(
            ledger.enter(Tag([1; 8]), &kind, "text", b"one", Sticky::No),
            Err(Refusal::Costly)
        );
    }

    #[test]
    fn one_value_under_two_types_is_minted_under_both() {
        let key = SessionKey::new([7; 32]);
        let kinds = ["ONE", "TWO", "ONE"].map(|kind| Kind::new(kind).unwrap());
        let mut ledger = Ledger::new(&key);
        for kind in &kinds {
            ledger.placeholder(kind, "text", b"value", Sticky::No).unwrap();
        }
        let (_, minted) = ledger.close();
        assert_eq!(minted.iter().map(|m| &m.kind).collect::<Vec<_>>(), [&kinds[0], &kinds[1]]);
    }
}
