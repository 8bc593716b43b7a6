//! Checks the files of a policy directory: what a resolver would refuse at its next reload is not installed.

use std::collections::BTreeMap;
use std::path::Path;

use super::SETTINGS;
use super::manifest::BundleManifest;
use crate::allowlist;
use crate::allowlist::server_lists::ServerLists;
use crate::assemble::{Sources, assemble};
use crate::config::{Overrides, PolicySettings};
use crate::policy::PolicyBuilder;

/// Checks what `manifest` lists in `directory`: settings with everything that they name, or else each allowlist alone.
///
/// Errors: all errors of the files, as `namegate check` reports them.
pub(super) fn check(directory: &Path, manifest: &BundleManifest) -> Result<(), String> {
    let result = if manifest.files.iter().any(|file| file.path == SETTINGS) {
        let sources = Sources { config: Some(directory.join(SETTINGS)), overrides: Overrides::default() };
        assemble(&sources, 1).map(drop)
    } else {
        let paths = manifest.files.iter().map(|file| &file.path);
        paths
            .filter(|path| path.ends_with(".toml") || path.ends_with(".list"))
            .try_for_each(|path| check_allowlist(&directory.join(path)))
    };
    // Only the path in the bundle says something.
    let prefix = format!("{}/", directory.display());
    result.map_err(|report| report.render(false).trim_end().replace(&prefix, ""))
}

fn check_allowlist(path: &Path) -> Result<(), crate::diagnostics::Report> {
    let settings = PolicySettings { zones: vec![path.display().to_string()], ..PolicySettings::default() };
    let (mut policy, mut servers) = (PolicyBuilder::new(), ServerLists::new(Vec::new()));
    allowlist::read(&settings, &BTreeMap::new(), &mut policy, &mut servers).map(drop)
}
