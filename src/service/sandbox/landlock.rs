//! Landlock: no files but those that the settings name, and no new TCP listeners (landlock(7)) but one that waits for its
//! address.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::files::{self, Files};

/// The newest version of Landlock whose every right is handled here: Linux 6.15.
const NEWEST: ABI = ABI::V7;

/// What each version brought that is used here; an older kernel leaves it open.
const BROUGHT: [(ABI, &str); 4] = [
    (ABI::V3, "truncating files"),
    (ABI::V4, "listening on TCP"),
    (ABI::V5, "device ioctls"),
    (ABI::V6, "signals and abstract sockets"),
];

/// What /metrics tells of the process is read here: its memory, time and descriptors, and when the machine started. The last
/// one is the C library's.
const PROCESS: [&str; 4] =
    ["/proc/self", "/proc/stat", "/proc/sys/kernel/osrelease", "/proc/sys/vm/overcommit_memory"];

/// What is in force.
pub(super) struct Restricted {
    /// For people.
    pub(super) told: String,
    /// What is needed of /proc. A rule is bound to an inode, and the kernel makes these anew once nobody holds them.
    pub(super) held: Vec<PathFd>,
}

/// Restricts this thread to `files`. Of TCP ports only `awaited` may be listened on.
///
/// Errors: the kernel has no Landlock, or refuses.
pub(super) fn restrict(files: &Files, awaited: Option<u16>) -> Result<Restricted, String> {
    let held: Vec<PathFd> = PROCESS.iter().filter_map(|path| PathFd::new(path).ok()).collect();
    let status = enforce(files, awaited, &held).map_err(|error| error.to_string())?;
    let abi = match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _)
        | (_, LandlockStatus::NotImplemented | LandlockStatus::NotEnabled) => {
            return Err("this kernel does not have it, or not switched on".to_owned());
        }
        (_, LandlockStatus::Available { effective_abi, .. }) => effective_abi,
    };
    let open: Vec<&str> = BROUGHT.iter().filter(|(since, _)| abi < *since).map(|(_, what)| *what).collect();
    let open = if open.is_empty() { String::new() } else { format!(", too old for {}", open.join(", ")) };
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
        // Connections go to upstreams, whose ports a reload may change.
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

/// No signals to others, and no abstract socket, unless the service manager listens on one.
fn scopes(notify_socket: Option<&OsStr>) -> BitFlags<Scope> {
    match notify_socket {
        Some(socket) if socket.as_bytes().starts_with(b"@") => Scope::Signal.into(),
        _ => Scope::from_all(NEWEST),
    }
}
