//! [`OwnAllowlists`]: the allowlists read from the operator's own files, so that no shipped one replaces them unnoticed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::assemble::Assembly;
use crate::config::allowlist_name::files_of;
use crate::diagnostics::Diagnostic;

/// What the operator has chosen.
#[derive(Clone, Debug, Default)]
pub struct OwnAllowlists {
    files: BTreeSet<PathBuf>,
    /// `policy.zones` is set.
    are_named: bool,
}

impl OwnAllowlists {
    /// The operator's allowlist files of an assembly.
    pub fn of(assembly: &Assembly) -> Self {
        let own = assembly.zones.iter().filter(|zone| !zone.shipped);
        Self {
            files: own.map(|zone| PathBuf::from(&zone.file)).collect(),
            are_named: assembly.sources.contains_key("policy.zones"),
        }
    }

    /// The error in `next` if shipped allowlists, which may be wider, would replace a file that is gone from the
    /// directory, or the allowlists that the settings named. A directory is incomplete for a moment while it is replaced,
    /// and settings while they are written.
    pub fn replaced(&self, next: &Assembly) -> Option<Diagnostic> {
        if self.are_named && !next.sources.contains_key("policy.zones") {
            let message = "the settings file no longer sets `policy.zones`";
            let help = "complete the file; for the default allowlists, restart namegate".to_owned();
            return Some(Diagnostic::error(&next.origin, message).with_help(help));
        }
        let directory = next.settings.policy.zones_directory.as_deref()?;
        let mut shipped = next.zones.iter().filter(|zone| zone.shipped);
        shipped.find_map(|zone| self.fault(directory, &zone.name))
    }

    fn fault(&self, directory: &Path, name: &str) -> Option<Diagnostic> {
        let gone = files_of(directory, name).into_iter().find(|file| self.files.contains(file))?;
        let message =
            format!("{} is gone, and the shipped allowlist `{name}` would replace it", gone.display());
        let help = "restore the file; to use the shipped allowlist instead, restart namegate".to_owned();
        Some(Diagnostic::error("", message).with_help(help))
    }
}
