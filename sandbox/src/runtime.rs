//! Calls that Rust programs make whatever they are for: rows that the tables share.

use crate::table::{
    Limit::{Has, Is, Lacks, OwnPid},
    Row,
};
use crate::{allow, refuse, value};

/// Memory, locks, time, randomness, panics and the way out.
pub const PROGRAM: &[Row] = &[
    allow!(SYS_read, "read from what is open"),
    allow!(SYS_write, "write to what is open: replies, log lines, the message of a panic"),
    allow!(SYS_close, "close what is done with"),
    allow!(
        SYS_fcntl,
        [Is(1, value!(F_GETFD))],
        "builds with debug assertions check that a descriptor is open before closing it"
    ),
    allow!(SYS_brk, "the allocator grows"),
    allow!(
        SYS_mmap,
        [Lacks(2, value!(PROT_EXEC)), Has(3, value!(MAP_ANONYMOUS))],
        "the allocator takes pages; never of a file, never executable"
    ),
    allow!(SYS_munmap, "the allocator gives pages back"),
    allow!(SYS_mremap, "a large buffer grows in place"),
    allow!(SYS_madvise, "the allocator releases pages it keeps mapped"),
    allow!(
        SYS_mprotect,
        [Lacks(2, value!(PROT_EXEC))],
        "the allocator opens reserved pages; never executable"
    ),
    allow!(SYS_futex, "locks and condition variables, also in a panic"),
    allow!(SYS_getrandom, "keys, nonces, hash seeds"),
    allow!(SYS_clock_gettime, "time, where the clock source does not allow the vDSO"),
    allow!(SYS_restart_syscall, "the kernel resumes a wait after a stop and continue"),
    allow!(SYS_rt_sigreturn, "return from a signal handler"),
    allow!(SYS_rt_sigprocmask, "signals are blocked around abort and thread start"),
    allow!(SYS_rt_sigaction, "a handler is set, and abort resets its own"),
    allow!(SYS_sigaltstack, "stack overflow is reported from a stack of its own"),
    allow!(SYS_gettid, "a panic names its thread"),
    allow!(SYS_getpid, "abort addresses the process itself"),
    allow!(
        SYS_tgkill,
        [OwnPid(0), Is(2, value!(SIGABRT))],
        "abort ends the process; no other signal, no other process"
    ),
    allow!(SYS_exit_group, "exit"),
];

/// What starting, naming, pausing and ending threads takes, also where one of them panics.
pub const THREADS: &[Row] = &[
    refuse!(
        SYS_clone3,
        ENOSYS,
        "its arguments lie in memory where no filter can see them; glibc falls back to clone"
    ),
    allow!(SYS_clone, [Has(0, value!(CLONE_THREAD))], "start a thread, never a process"),
    allow!(SYS_set_robust_list, "a new thread registers its locks"),
    allow!(SYS_rseq, "a new thread registers its restartable sequences"),
    allow!(SYS_sched_getaffinity, "how many processors there are; where a thread's stack lies"),
    allow!(SYS_prctl, [Is(0, value!(PR_SET_NAME))], "name a thread"),
    allow!(SYS_prctl, [Is(0, value!(PR_SET_VMA))], "newer C libraries name their mappings"),
    allow!(SYS_clock_nanosleep, "a pause between retries"),
    allow!(SYS_sched_yield, "a short wait for a lock"),
    allow!(SYS_exit, "a thread ends"),
    refuse!(SYS_getcwd, EACCES, "a panic that is to print a backtrace asks where it is"),
    #[cfg(target_arch = "x86_64")]
    refuse!(SYS_readlink, EACCES, "a panic that is to print a backtrace asks for its own file"),
    #[cfg(not(target_arch = "x86_64"))]
    refuse!(SYS_readlinkat, EACCES, "a panic that is to print a backtrace asks for its own file"),
];
