//! Rows of a system call table: a call, limits on its arguments, and why it is there.

/// One row. A call without a row kills the process.
///
/// Several rows of one call are alternatives: the call passes if all limits of any of them hold.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The constant that names the call, such as `SYS_read`.
    pub constant: &'static str,
    /// The call's number on this architecture.
    pub number: i64,
    /// What becomes of the call.
    pub verdict: Verdict,
    /// What must hold of its arguments; otherwise the process is killed.
    pub limits: &'static [Limit],
    /// Why the process needs the call.
    pub why: &'static str,
}

impl Row {
    /// The call's name as in `syscalls(2)`.
    #[must_use]
    pub fn call(&self) -> &'static str {
        self.constant.strip_prefix("SYS_").unwrap_or(self.constant)
    }
}

/// What becomes of a call that has a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It reaches the kernel.
    Allow,
    /// It fails with this error and does nothing, because the caller is known to cope.
    Refuse(Value),
}

/// A constant and how a reader knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    /// Its name in the C headers.
    pub name: &'static str,
    /// Its value.
    pub bits: u64,
}

/// What must hold of one argument, counted from 0.
///
/// Values and masks are compared in the low 32 bits, which is all the kernel reads of the integer
/// arguments named in our tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The argument is this value.
    Is(u8, Value),
    /// The argument is this value under a mask.
    Masked(u8, Value, Value),
    /// All these bits are set.
    Has(u8, Value),
    /// None of these bits is set.
    Lacks(u8, Value),
    /// A null pointer.
    Null(u8),
    /// The process's own id.
    OwnPid(u8),
}

/// A C constant (or a plain number) by name, as a [`Value`].
#[macro_export]
macro_rules! value {
    ($constant:expr) => {
        $crate::Value {
            name: stringify!($constant),
            bits: {
                #[allow(unused_imports)]
                use $crate::libc::*;
                ($constant) as u64
            },
        }
    };
}

/// Lets a call through: `allow!(SYS_read, "why")`, or only under limits on its arguments:
/// `allow!(SYS_socket, [Limit::Is(0, value!(AF_UNIX))], "why")`.
#[macro_export]
macro_rules! allow {
    ($call:ident, $why:literal) => {
        $crate::allow!($call, [], $why)
    };
    ($call:ident, [$($limit:expr),* $(,)?], $why:literal) => {
        $crate::Row {
            constant: stringify!($call),
            number: $crate::libc::$call,
            verdict: $crate::Verdict::Allow,
            limits: &[$($limit),*],
            why: $why,
        }
    };
}

/// Makes a call fail with an error instead of killing: `refuse!(SYS_clone3, ENOSYS, "why")`.
#[macro_export]
macro_rules! refuse {
    ($call:ident, $errno:ident, $why:literal) => {
        $crate::Row {
            constant: stringify!($call),
            number: $crate::libc::$call,
            verdict: $crate::Verdict::Refuse($crate::value!($errno)),
            limits: &[],
            why: $why,
        }
    };
}
