//! [`OwnAllowlists`]: the allowlists read from the operator's own files, so that no shipped one replaces them unnoticed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::assemble::Assembly;
use crate::config::allowlist_name::files_of;
use crate::diagnostics::Diagnostic;

/// The operator's allowlist files.
#[derive(Clone, Debug, Default)]
pub struct OwnAllowlists(BTreeSet<PathBuf>);

impl OwnAllowlists {
    /// The operator's allowlist files of an assembly.
    pub fn of(assembly: &Assembly) -> Self {
        let own = assembly.zones.iter().filter(|zone| !zone.shipped);
        Self(own.map(|zone| PathBuf::from(&zone.file)).collect())
    }

    /// The error in `next` if a shipped allowlist, which may be wider, would replace a file that is gone from the
    /// directory. A directory is incomplete for a moment while it is replaced.
    pub fn replaced(&self, next: &Assembly) -> Option<Diagnostic> {
        let directory = next.settings.policy.zones_directory.as_deref()?;
        let mut shipped = next.zones.iter().filter(|zone| zone.shipped);
        shipped.find_map(|zone| self.fault(directory, &zone.name))
    }

    fn fault(&self, directory: &Path, name: &str) -> Option<Diagnostic> {
        let gone = files_of(directory, name).into_iter().find(|file| self.0.contains(file))?;
        let message =
            format!("{} is gone, and the shipped allowlist `{name}` would replace it", gone.display());
        let help = "restore the file; to use the shipped allowlist instead, restart namegate".to_owned();
        Some(Diagnostic::error("", message).with_help(help))
    }
}
