//! What came of all turns, and what must not have.

use std::collections::BTreeMap;

use crate::client::Ended;
use crate::turn::{Fault, Plan};

/// Violations that are told in full; of the others, how many there were.
const TOLD: usize = 40;

/// What came of the turns of one kind.
#[derive(Debug, Default)]
struct Row {
    whole: u64,
    faulty: u64,
    failed: u64,
    left: u64,
    wrong: u64,
}

/// What came of all turns.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rows: BTreeMap<String, Row>,
    reasons: BTreeMap<String, u64>,
    violations: Vec<String>,
    more: u64,
}

impl Tally {
    /// Takes in how a turn ended. `calm` if nothing was the matter with Waterwall meanwhile.
    pub(crate) fn add(&mut self, wire: &str, plan: &Plan, ended: &Ended, calm: bool, who: &str) {
        let row = self.rows.entry(wire.to_owned()).or_default();
        let faulty = plan.fault != Fault::None && plan.fault != Fault::Slow;
        match ended {
            Ended::Whole => row.whole += 1,
            Ended::Left => row.left += 1,
            Ended::Failed(_) | Ended::Garbled if faulty => row.faulty += 1,
            Ended::Garbled => {}
            Ended::Failed(reason) => {
                row.failed += 1;
                *self.reasons.entry(reason.clone()).or_default() += 1;
                if calm {
                    self.violation(format!("{who} ({wire}) failed for no reason: {reason}"));
                }
            }
            Ended::Wrong(what) => {
                row.wrong += 1;
                self.violation(format!("{who} ({wire}): {what}"));
            }
        }
    }

    /// Takes in what must not be.
    pub(crate) fn violation(&mut self, what: String) {
        if self.violations.len() < TOLD {
            self.violations.push(what);
        } else {
            self.more += 1;
        }
    }

    /// How many turns ended well.
    pub(crate) fn whole(&self) -> u64 {
        self.rows.values().map(|row| row.whole).sum()
    }

    /// How many did not, without a fault of the provider's.
    pub(crate) fn failed(&self) -> u64 {
        self.rows.values().map(|row| row.failed).sum()
    }

    /// What must not have been.
    pub(crate) fn violations(&self) -> Vec<String> {
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        self.violations.iter().cloned().chain(more).collect()
    }

    /// Kinds of traffic of which nothing ended well, of which a soak shows nothing.
    pub(crate) fn idle(&self) -> Vec<String> {
        self.rows.iter().filter(|(_, row)| row.whole == 0).map(|(name, _)| name.clone()).collect()
    }

    /// As a table.
    pub(crate) fn table(&self) -> String {
        let mut table = format!(
            "{:<26} {:>8} {:>16} {:>16} {:>8} {:>8}\n",
            "", "restored", "provider failed", "refused or cut", "left", "wrong"
        );
        for (name, row) in &self.rows {
            table += &format!(
                "{name:<26} {:>8} {:>16} {:>16} {:>8} {:>8}\n",
                row.whole, row.faulty, row.failed, row.left, row.wrong
            );
        }
        table += "refused or cut without a fault of the provider's:";
        for (reason, count) in &self.reasons {
            table += &format!("  {reason} {count}");
        }
        table
    }
}
