//! [`OwnZones`]: which zones were read from files of the operator's own, so that no shipped one takes their place unseen.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::assemble::Assembly;
use crate::config::allowlist_name::files_of;
use crate::diagnostics::Diagnostic;

/// The files.
#[derive(Clone, Debug, Default)]
pub struct OwnZones(BTreeSet<PathBuf>);

impl OwnZones {
    /// Those of an assembly.
    pub fn of(assembly: &Assembly) -> Self {
        let own = assembly.zones.iter().filter(|zone| !zone.shipped);
        Self(own.map(|zone| PathBuf::from(&zone.file)).collect())
    }

    /// What speaks against `next`: a shipped zone, which may be wider, in the place of a file that is gone from the directory. A
    /// directory is in pieces for a moment while it is replaced.
    pub fn replaced(&self, next: &Assembly) -> Option<Diagnostic> {
        let directory = next.settings.policy.zones_directory.as_deref()?;
        let mut shipped = next.zones.iter().filter(|zone| zone.shipped);
        shipped.find_map(|zone| self.fault(directory, &zone.name))
    }

    fn fault(&self, directory: &Path, name: &str) -> Option<Diagnostic> {
        let gone = files_of(directory, name).into_iter().find(|file| self.0.contains(file))?;
        let message =
            format!("{} is gone, and the shipped zone `{name}` would take its place", gone.display());
        let help = "put the file back; where the shipped zone is meant, restart the gate".to_owned();
        Some(Diagnostic::error("", message).with_help(help))
    }
}
