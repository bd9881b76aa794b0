//! Landlock: which files, TCP ports, signals and abstract sockets remain within reach.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus,
    Scope, make_bitflags,
};

use crate::policy::{Policy, Right};

/// The newest ABI whose rights we know how to rule; older kernels enforce the part they have.
const NEWEST: ABI = ABI::V9;

/// Why the reach could not be limited.
#[derive(Debug)]
pub enum ReachError {
    /// The kernel has no Landlock, it is switched off, or a filter above us denies its calls.
    Missing,
    /// A directory of the policy cannot be opened.
    Path(landlock::PathFdError),
    /// The kernel refused a rule.
    Rule(landlock::RulesetError),
}

impl std::fmt::Display for ReachError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "no Landlock: the kernel lacks it (lsm= boot parameter) or a system call filter denies it",
            ),
            Self::Path(error) => write!(f, "landlock: {error}"),
            Self::Rule(error) => write!(f, "landlock: {error}"),
        }
    }
}

impl std::error::Error for ReachError {}

impl From<landlock::PathFdError> for ReachError {
    fn from(error: landlock::PathFdError) -> Self {
        Self::Path(error)
    }
}

impl From<landlock::RulesetError> for ReachError {
    fn from(error: landlock::RulesetError) -> Self {
        Self::Rule(error)
    }
}

/// The rules of a policy, its directories opened, not yet in force.
pub(crate) fn rules(policy: &Policy) -> Result<RulesetCreated, ReachError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    for beneath in &policy.beneath {
        let rule = PathBeneath::new(PathFd::new(&beneath.path)?, rights(beneath.right));
        rules = rules.add_rule(rule)?;
    }
    for port in &policy.tcp_ports {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    Ok(rules)
}

/// Puts the rules in force on the calling thread, and on every thread it starts later. Returns the
/// ABI that is enforced.
pub(crate) fn limit(rules: RulesetCreated) -> Result<u32, ReachError> {
    let status = rules.restrict_self()?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => Err(ReachError::Missing),
        (_, LandlockStatus::Available { effective_abi, .. }) => Ok(effective_abi as u32),
        (_, _) => Err(ReachError::Missing),
    }
}

fn rights(right: Right) -> BitFlags<AccessFs> {
    match right {
        Right::Read => AccessFs::ReadFile.into(),
        // No `Refer`: moving between directories would let a file change the rules that hold it.
        Right::Keep => make_bitflags!(AccessFs::{
            ReadFile | ReadDir | WriteFile | Truncate | MakeReg | RemoveFile
        }),
        Right::Connect => AccessFs::ResolveUnix.into(),
    }
}
