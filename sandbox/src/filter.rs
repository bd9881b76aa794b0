//! seccomp: the table of system calls, compiled and installed.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::table::{Limit, Row, Verdict};

/// Why a table could not be installed.
#[derive(Debug)]
pub enum FilterError {
    /// The table names a call without limits and once more: one of the rows says nothing.
    Ambiguous(&'static str),
    /// The table does not compile.
    Table(seccompiler::BackendError),
    /// This architecture has no filter.
    Architecture(seccompiler::BackendError),
    /// The kernel refused the filter.
    Kernel(seccompiler::Error),
}

impl std::fmt::Display for FilterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ambiguous(call) => write!(f, "seccomp: {call} is both limited and unlimited"),
            Self::Table(error) => write!(f, "seccomp: table does not compile: {error}"),
            Self::Architecture(error) => write!(f, "seccomp: {error}"),
            Self::Kernel(error) => write!(f, "seccomp: {error}"),
        }
    }
}

impl std::error::Error for FilterError {}

/// The programs of a table, in the order they are to be installed.
///
/// One program has one answer for what it matches, so there is one per error number, and last the
/// allow-list. The kernel takes the strictest answer of all: a refused call is therefore also in
/// the allow-list, whose own answer to it never shows.
pub(crate) fn compile<'a>(
    rows: impl Iterator<Item = &'a Row>,
) -> Result<Vec<BpfProgram>, FilterError> {
    let mut refused: BTreeMap<u32, Rules> = BTreeMap::new();
    let mut allowed = Rules::new();
    for row in rows {
        if let Verdict::Refuse(errno) = row.verdict {
            let errno = low_half(errno.bits);
            add(refused.entry(errno).or_default(), row)?;
        }
        add(&mut allowed, row)?;
    }
    let mut programs = Vec::with_capacity(refused.len() + 1);
    for (errno, rules) in refused {
        programs.push(program(rules, SeccompAction::Allow, SeccompAction::Errno(errno))?);
    }
    programs.push(program(allowed, SeccompAction::KillProcess, SeccompAction::Allow)?);
    Ok(programs)
}

/// Installs the programs on the calling thread and all it starts later. Nothing undoes this.
pub(crate) fn install(programs: &[BpfProgram]) -> Result<(), FilterError> {
    programs
        .iter()
        .try_for_each(|program| seccompiler::apply_filter(program))
        .map_err(FilterError::Kernel)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn add(rules: &mut Rules, row: &Row) -> Result<(), FilterError> {
    let known = rules.contains_key(&row.number);
    let alternatives = rules.entry(row.number).or_default();
    if known && (alternatives.is_empty() || row.limits.is_empty()) {
        return Err(FilterError::Ambiguous(row.call()));
    }
    if !row.limits.is_empty() {
        let conditions = row.limits.iter().map(condition).collect::<Result<_, _>>();
        let rule = conditions.and_then(SeccompRule::new).map_err(FilterError::Table)?;
        alternatives.push(rule);
    }
    Ok(())
}

fn condition(limit: &Limit) -> Result<SeccompCondition, seccompiler::BackendError> {
    use SeccompCmpArgLen::{Dword, Qword};
    use SeccompCmpOp::{Eq, MaskedEq};
    let (arg, length, operator, value) = match *limit {
        Limit::Is(arg, value) => (arg, Dword, Eq, value.bits),
        Limit::Masked(arg, mask, value) => (arg, Dword, MaskedEq(mask.bits), value.bits),
        Limit::Has(arg, bits) => (arg, Dword, MaskedEq(bits.bits), bits.bits),
        Limit::Lacks(arg, bits) => (arg, Dword, MaskedEq(bits.bits), 0),
        Limit::Null(arg) => (arg, Qword, Eq, 0),
        Limit::OwnPid(arg) => (arg, Dword, Eq, u64::from(std::process::id())),
    };
    SeccompCondition::new(arg, length, operator, value)
}

fn program(
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, FilterError> {
    let architecture: TargetArch =
        std::env::consts::ARCH.try_into().map_err(FilterError::Architecture)?;
    SeccompFilter::new(rules, otherwise, matched, architecture)
        .and_then(TryInto::try_into)
        .map_err(FilterError::Table)
}

fn low_half(bits: u64) -> u32 {
    u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}
