//! Settings of `[sandbox]`: what the process gives up once its sockets are bound.

use serde::Serialize;

use crate::diagnostics::Section;

/// What the process gives up once its sockets are bound, each for as long as it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SandboxSettings {
    /// Capabilities, the one for ports below 1024 included. Set false where files belong to another user and root is to
    /// read them.
    pub drop_capabilities: bool,
    /// Gaining privileges by executing a file. The next two need it.
    pub no_new_privileges: bool,
    /// Files outside of the directories that these settings name (Landlock). Set false where a reload is to name new
    /// ones.
    pub landlock: bool,
    /// System calls that the gate has no use for, such as executing a program. Set false where the log shows "Operation
    /// not permitted" that nothing else explains, and report it.
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
    // The kernel demands it of whoever has no CAP_SYS_ADMIN (landlock(7), seccomp(2)).
    if let Some(off) = no_new_privileges.filter(|on| !on.get_ref() && (sandbox.landlock || sandbox.seccomp)) {
        let message = "`sandbox.no_new_privileges`: neither Landlock nor seccomp can be had without it";
        let help = "set `landlock = false` and `seccomp = false` as well, or leave the key out".to_owned();
        section.faults.error(&off.span(), message, help);
    }
    section.finish();
    sandbox
}
