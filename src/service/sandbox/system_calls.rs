//! The system calls that the running process makes, by purpose.
//!
//! They were collected by tracing namegate's tests on Linux 6.18 with glibc 2.36, x86_64. Calls that other C libraries,
//! kernels and processors use for the same purpose are included. Not included is anything that executes programs,
//! inspects other processes, mounts, creates namespaces, loads code into the kernel (modules, bpf, io_uring), changes
//! users or opens new listeners.

use std::os::fd::RawFd;

use libc::c_long;

/// The required value of an argument.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test {
    /// This number.
    Is(u64),
    /// `value` in the bits of `mask`.
    Bits { mask: u64, value: u64 },
    /// A null pointer.
    IsNull,
}

/// A test of one argument, counted from 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition {
    pub(super) argument: u8,
    pub(super) test: Test,
}

/// Calls that are allowed with any arguments, by purpose.
pub(super) const ALLOWED: &[(&str, &[c_long])] = &[
    (
        "existing sockets, and connections to upstreams, dnstap and the service manager",
        &[
            libc::SYS_accept4,
            libc::SYS_bind,
            libc::SYS_connect,
            libc::SYS_getpeername,
            libc::SYS_getsockname,
            libc::SYS_getsockopt,
            libc::SYS_recvfrom,
            libc::SYS_recvmmsg,
            libc::SYS_recvmsg,
            libc::SYS_sendmmsg,
            libc::SYS_sendmsg,
            libc::SYS_sendto,
            libc::SYS_setsockopt,
            libc::SYS_shutdown,
        ],
    ),
    (
        "waiting for events: tokio, mio",
        &[
            libc::SYS_epoll_create1,
            libc::SYS_epoll_ctl,
            libc::SYS_epoll_pwait,
            libc::SYS_epoll_pwait2,
            libc::SYS_eventfd2,
            libc::SYS_ppoll,
        ],
    ),
    (
        "files, as far as Landlock allows",
        &[
            libc::SYS_close,
            libc::SYS_dup,
            libc::SYS_faccessat,
            libc::SYS_faccessat2,
            libc::SYS_fdatasync,
            libc::SYS_fstat,
            libc::SYS_fsync,
            libc::SYS_ftruncate,
            libc::SYS_getcwd,
            libc::SYS_getdents64,
            libc::SYS_lseek,
            libc::SYS_mkdirat,
            libc::SYS_newfstatat,
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_pread64,
            libc::SYS_pwrite64,
            libc::SYS_read,
            libc::SYS_readlinkat,
            libc::SYS_readv,
            libc::SYS_renameat2,
            libc::SYS_statx,
            libc::SYS_unlinkat,
            libc::SYS_write,
            libc::SYS_writev,
        ],
    ),
    (
        "memory (mmap and mprotect are restricted below); membarrier: to reclaim memory of followed names",
        &[libc::SYS_brk, libc::SYS_madvise, libc::SYS_membarrier, libc::SYS_mremap, libc::SYS_munmap],
    ),
    (
        "threads; the priority of the compile thread",
        &[
            libc::SYS_exit,
            libc::SYS_exit_group,
            libc::SYS_futex,
            libc::SYS_futex_waitv,
            libc::SYS_get_robust_list,
            libc::SYS_getpid,
            libc::SYS_getpriority,
            libc::SYS_gettid,
            libc::SYS_restart_syscall,
            libc::SYS_rseq,
            libc::SYS_sched_getaffinity,
            libc::SYS_sched_yield,
            libc::SYS_set_robust_list,
            libc::SYS_set_tid_address,
            libc::SYS_setpriority,
        ],
    ),
    (
        "signals to this process: SIGHUP, SIGTERM, SIGINT, SIGUSR1 and SIGUSR2, and the stack for overflow reports",
        &[libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack],
    ),
    (
        "time, if the vDSO cannot provide it",
        &[
            libc::SYS_clock_getres,
            libc::SYS_clock_gettime,
            libc::SYS_clock_nanosleep,
            libc::SYS_gettimeofday,
            libc::SYS_nanosleep,
        ],
    ),
    (
        "random ids and ports; what the C library queries about the process",
        &[
            libc::SYS_getegid,
            libc::SYS_geteuid,
            libc::SYS_getgid,
            libc::SYS_getrandom,
            libc::SYS_getrusage,
            libc::SYS_getuid,
            libc::SYS_sysinfo,
            libc::SYS_uname,
        ],
    ),
    ("the same purposes, by calls that only some processors have", OF_THE_PROCESSOR),
];

#[cfg(target_arch = "x86_64")]
const OF_THE_PROCESSOR: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_epoll_wait,
    libc::SYS_getdents,
    libc::SYS_getrlimit,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];

/// renameat only (asm-generic/unistd.h); the libc crate names it for some C libraries only.
#[cfg(target_arch = "aarch64")]
const OF_THE_PROCESSOR: &[c_long] = &[38];

#[cfg(target_arch = "riscv64")]
const OF_THE_PROCESSOR: &[c_long] = &[];

/// Calls that are reported as not implemented. clone3 says in memory, where no filter can look, whether it creates a
/// thread or a namespace; C libraries then use clone.
pub(super) const NOT_IMPLEMENTED: &[c_long] = &[libc::SYS_clone3];

/// Flags that create a namespace; CLONE_NEWTIME exists only in clone3.
const NAMESPACES: i32 = libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS;

/// Bits of a socket's type without its flags (SOCK_TYPE_MASK in the kernel).
const KIND: u64 = 0xf;

/// Names a memory mapping, as newer C libraries do.
const PR_SET_VMA: u64 = 0x5356_4d41;

/// Reads the auxiliary vector: the length of a clock tick, for /metrics.
const PR_GET_AUXV: u64 = 0x4155_5856;

/// Calls of the process `own` whose arguments are checked. Each has alternatives, of which one must match with all its
/// conditions. `awaited` is a listener whose address is still in use.
pub(super) fn restricted(own: u32, awaited: Option<RawFd>) -> Vec<(c_long, Vec<Vec<Condition>>)> {
    let when = |argument, test| Condition { argument, test };
    let one_of = |argument, values: &[u64]| -> Vec<Vec<Condition>> {
        values.iter().map(|value| vec![when(argument, Test::Is(*value))]).collect()
    };
    let without = |argument, bits| vec![vec![when(argument, Test::Bits { mask: bits, value: 0 })]];
    let threads = (libc::CLONE_THREAD | NAMESPACES) as u64;
    let thread = Test::Bits { mask: threads, value: libc::CLONE_THREAD as u64 };
    let families = [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX];
    let kinds = [libc::SOCK_STREAM, libc::SOCK_DGRAM];
    let sockets = families.iter().flat_map(|family| {
        kinds.map(|kind| {
            let kind = Test::Bits { mask: KIND, value: kind as u64 };
            vec![when(0, Test::Is(*family as u64)), when(1, kind)]
        })
    });
    #[allow(clippy::unnecessary_cast, reason = "their type differs between C libraries")]
    let controls =
        [libc::FIONBIO as u64, libc::FIONREAD as u64, libc::TCGETS as u64, libc::SIOCGIFINDEX as u64];
    // Locks: SQLite, for the history of lookups.
    let descriptor_flags = [
        libc::F_DUPFD,
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_GETLK,
        libc::F_SETLK,
    ];
    let mut calls = vec![
        // Threads, but no processes.
        (libc::SYS_clone, vec![vec![when(0, thread)]]),
        // No executable memory: namegate is compiled and loads no code.
        (libc::SYS_mmap, without(2, libc::PROT_EXEC as u64)),
        (libc::SYS_mprotect, without(2, libc::PROT_EXEC as u64)),
        (libc::SYS_socket, sockets.collect()),
        // tokio passes signals to the runtime through it.
        (libc::SYS_socketpair, one_of(0, &[libc::AF_UNIX as u64])),
        (libc::SYS_fcntl, one_of(1, &descriptor_flags.map(|flag| flag as u64))),
        // Blocking mode and pending bytes of a socket, whether the log goes to a terminal, and an interface's number.
        (libc::SYS_ioctl, one_of(1, &controls)),
        (libc::SYS_prctl, one_of(0, &[libc::PR_SET_NAME as u64, PR_SET_VMA, PR_GET_AUXV])),
        // Limits are read, for /metrics, but not set.
        (libc::SYS_prlimit64, vec![vec![when(2, Test::IsNull)]]),
        // abort() after a fatal error.
        (libc::SYS_tgkill, one_of(0, &[u64::from(own)])),
    ];
    if let Some(listener) = awaited {
        calls.push((libc::SYS_listen, one_of(0, &[listener as u64])));
    }
    calls
}
