//! Settings of `[sandbox]`: privileges dropped after the sockets are bound.

use serde::Serialize;

use crate::diagnostics::Section;

/// Privileges dropped after the sockets are bound, for as long as the process runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SandboxSettings {
    /// Drop all capabilities, including the one for ports below 1024. Set false if namegate runs as root and must read
    /// files of another user.
    pub drop_capabilities: bool,
    /// Never gain privileges by executing a file. The next two settings require it.
    pub no_new_privileges: bool,
    /// Deny access to files outside the directories that these settings name (Landlock). Set false if reloads must be
    /// able to name new directories.
    pub landlock: bool,
    /// Deny system calls that namegate does not use, such as executing a program. Set false if the log shows "Operation
    /// not permitted" without another explanation, and report it.
    pub seccomp: bool,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self { drop_capabilities: true, no_new_privileges: true, landlock: true, seccomp: true }
    }
}

/// Reads `[sandbox]`.
pub(super) fn sandbox(mut section: Section<'_, '_>) -> SandboxSettings {
    let default = SandboxSettings::default();
    let no_new_privileges = section.field::<bool>("no_new_privileges");
    let sandbox = SandboxSettings {
        drop_capabilities: section.or("drop_capabilities", default.drop_capabilities),
        no_new_privileges: no_new_privileges
            .as_ref()
            .map_or(default.no_new_privileges, |value| *value.get_ref()),
        landlock: section.or("landlock", default.landlock),
        seccomp: section.or("seccomp", default.seccomp),
    };
    // The kernel requires it of a process without CAP_SYS_ADMIN (landlock(7), seccomp(2)).
    if let Some(off) = no_new_privileges.filter(|on| !on.get_ref() && (sandbox.landlock || sandbox.seccomp)) {
        let message = "`sandbox.no_new_privileges`: Landlock and seccomp require it";
        let help = "set `landlock = false` and `seccomp = false` as well, or remove this key".to_owned();
        section.faults.error(&off.span(), message, help);
    }
    section.finish();
    sandbox
}
