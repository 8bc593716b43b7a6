//! [`OwnZones`]: which zones were read from files of the operator's own, so that no shipped one takes their place unseen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::assemble::Assembly;
use crate::config::Diagnostic;

/// Files in `zones_directory` by the zones' names.
#[derive(Clone, Debug, Default)]
pub struct OwnZones(BTreeMap<String, PathBuf>);

impl OwnZones {
    /// Those of an assembly.
    pub fn of(assembly: &Assembly) -> Self {
        let own = assembly.zones.iter().filter(|zone| !zone.shipped);
        Self(own.map(|zone| (zone.name.clone(), PathBuf::from(&zone.file))).collect())
    }

    /// What speaks against `next`: a shipped zone, which may be wider, in the place of a file that is gone from the directory. A
    /// directory is in pieces for a moment while it is replaced.
    pub fn replaced(&self, next: &Assembly) -> Option<Diagnostic> {
        let directory = next.settings.policy.zones_directory.as_deref()?;
        let gone =
            |zone: &&crate::zones::Zone| self.0.get(&zone.name).is_some_and(|file| is_in(directory, file));
        let zone = next.zones.iter().filter(|zone| zone.shipped).find(gone)?;
        let file = self.0.get(&zone.name)?.display();
        let message = format!("{file} is gone, and the shipped zone `{}` would take its place", zone.name);
        let help = "put the file back; where the shipped zone is meant, restart the gate".to_owned();
        Some(Diagnostic::error("", message).with_help(help))
    }
}

fn is_in(directory: &Path, file: &Path) -> bool {
    file.parent() == Some(directory)
}
