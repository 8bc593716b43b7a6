//! Landlock: restricts file access to the paths that the settings name, and forbids new TCP listeners except one that
//! waits for its address (landlock(7)).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::files::{self, Files};

/// The newest Landlock version whose rights are all handled here: Linux 6.15.
const NEWEST: ABI = ABI::V7;

/// What each version added; an older kernel leaves it unrestricted.
const BROUGHT: [(ABI, &str); 4] = [
    (ABI::V3, "truncating files"),
    (ABI::V4, "listening on TCP"),
    (ABI::V5, "device ioctls"),
    (ABI::V6, "signals and abstract sockets"),
];

/// Paths that /metrics reads: the process's memory, CPU time and descriptors, and the boot time. The C library reads
/// the last one.
const PROCESS: [&str; 4] =
    ["/proc/self", "/proc/stat", "/proc/sys/kernel/osrelease", "/proc/sys/vm/overcommit_memory"];

/// The active restrictions.
pub(super) struct Restricted {
    /// Description for the log.
    pub(super) told: String,
    /// Open handles of the paths in /proc. A rule is bound to an inode, and the kernel recreates these inodes once they
    /// are unused.
    pub(super) held: Vec<PathFd>,
}

/// Restricts this thread to `files`. The only TCP port that may be bound is `awaited`.
///
/// Errors: the kernel has no Landlock, or refuses.
pub(super) fn restrict(files: &Files, awaited: Option<u16>) -> Result<Restricted, String> {
    let held: Vec<PathFd> = PROCESS.iter().filter_map(|path| PathFd::new(path).ok()).collect();
    let status = enforce(files, awaited, &held).map_err(|error| error.to_string())?;
    let abi = match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _)
        | (_, LandlockStatus::NotImplemented | LandlockStatus::NotEnabled) => {
            return Err("this kernel has no Landlock, or it is disabled".to_owned());
        }
        (_, LandlockStatus::Available { effective_abi, .. }) => effective_abi,
    };
    let open: Vec<&str> = BROUGHT.iter().filter(|(since, _)| abi < *since).map(|(_, what)| *what).collect();
    let open =
        if open.is_empty() { String::new() } else { format!(", too old to restrict {}", open.join(", ")) };
    let (reads, writes) = (files::list(&files.all_readable()), files::list(files.writable()));
    let told = format!("Landlock (ABI {}{open}): reads {reads}, writes {writes}", abi as i32);
    Ok(Restricted { told, held })
}

fn enforce(
    files: &Files,
    awaited: Option<u16>,
    held: &[PathFd],
) -> Result<landlock::RestrictionStatus, RulesetError> {
    let read = AccessFs::ReadFile;
    let list = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = list | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
    Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        // Connecting is not restricted: a reload may change the upstreams' ports.
        .handle_access(AccessNet::BindTcp)?
        .scope(scopes(std::env::var_os("NOTIFY_SOCKET").as_deref()))?
        .create()?
        .add_rules(path_beneath_rules(files.readable(), read))?
        .add_rules(path_beneath_rules(files.listable(), list))?
        .add_rules(path_beneath_rules(files.writable(), write))?
        .add_rules(awaited.map(|port| Ok::<_, RulesetError>(NetPort::new(port, AccessNet::BindTcp))))?
        .add_rules(held.iter().map(|path| Ok::<_, RulesetError>(PathBeneath::new(path, list))))?
        .restrict_self()
}

/// Forbids signals to other processes, and abstract sockets unless the service manager listens on one.
fn scopes(notify_socket: Option<&OsStr>) -> BitFlags<Scope> {
    match notify_socket {
        Some(socket) if socket.as_bytes().starts_with(b"@") => Scope::Signal.into(),
        _ => Scope::from_all(NEWEST),
    }
}
