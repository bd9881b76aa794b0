//! What was really enforced, in one line an operator can read.

/// The Landlock ABI that governs scopes, the last mechanism `strict` demands.
pub(crate) const FULL_ABI: u32 = 6;

/// What the kernel enforces on a confined process.
///
/// No capabilities, no new privileges, no core dump, not dumpable, the system call table and
/// Landlock's file rules are required everywhere and therefore not part of the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// The Landlock ABI both the kernel and we know.
    pub landlock_abi: u32,
    /// How far `connect()` reaches on Unix sockets.
    pub unix: UnixReach,
}

/// How far a process reaches outward over Unix sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnixReach {
    /// It cannot make a socket.
    None,
    /// Only to the sockets beneath the policy's directories.
    Listed,
    /// To every pathname socket whose file mode lets it.
    Open,
}

impl Level {
    pub(crate) fn new(landlock_abi: u32, makes_sockets: bool) -> Self {
        let unix = match (makes_sockets, landlock_abi) {
            (false, _) => UnixReach::None,
            (true, 9..) => UnixReach::Listed,
            (true, _) => UnixReach::Open,
        };
        Self { landlock_abi, unix }
    }

    /// Whether Landlock rules TCP ports (ABI 4).
    #[must_use]
    pub fn tcp_rules(&self) -> bool {
        self.landlock_abi >= 4
    }

    /// Whether Landlock scopes signals and abstract Unix sockets (ABI 6).
    #[must_use]
    pub fn scopes(&self) -> bool {
        self.landlock_abi >= FULL_ABI
    }

    /// Whether nothing `strict` demands is missing.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.scopes()
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = if self.is_full() { "full" } else { "reduced" };
        let tcp = if self.tcp_rules() { "tcp rules" } else { "no tcp rules" };
        let scopes = if self.scopes() { "scopes" } else { "no scopes" };
        let unix = match self.unix {
            UnixReach::None => "none",
            UnixReach::Listed => "listed",
            UnixReach::Open => "open",
        };
        let abi = self.landlock_abi;
        write!(f, "{word} (landlock abi {abi}, seccomp, {tcp}, {scopes}; unix: {unix})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_missing_on_an_older_kernel() {
        let shown = |abi, sockets| Level::new(abi, sockets).to_string();
        assert_eq!(
            shown(1, true),
            "reduced (landlock abi 1, seccomp, no tcp rules, no scopes; unix: open)"
        );
        assert_eq!(
            shown(4, true),
            "reduced (landlock abi 4, seccomp, tcp rules, no scopes; unix: open)"
        );
        assert_eq!(shown(6, true), "full (landlock abi 6, seccomp, tcp rules, scopes; unix: open)");
        assert_eq!(
            shown(9, true),
            "full (landlock abi 9, seccomp, tcp rules, scopes; unix: listed)"
        );
        assert_eq!(
            shown(7, false),
            "full (landlock abi 7, seccomp, tcp rules, scopes; unix: none)"
        );
    }
}
