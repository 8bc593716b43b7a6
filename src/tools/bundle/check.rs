//! Checks the files of a policy directory: what a resolver would refuse at its next reload is not installed.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::SETTINGS;
use super::manifest::BundleManifest;
use crate::allowlist;
use crate::allowlist::server_lists::ServerLists;
use crate::assemble::{Sources, assemble};
use crate::config::{self, Overrides, PolicySettings, Settings};
use crate::diagnostics::Diagnostic;
use crate::policy::PolicyBuilder;

/// Characters of minisign's secret keys. Public keys and signatures are shorter.
const MINISIGN_SECRET: usize = 212;

/// Checks what `manifest` lists in `directory`: settings with everything that they name, or else each allowlist alone.
///
/// Errors: all errors of the files, as `namegate check` reports them.
pub(super) fn check(directory: &Path, manifest: &BundleManifest) -> Result<(), String> {
    let result = if manifest.files.iter().any(|file| file.path == SETTINGS) {
        let sources = Sources { config: Some(directory.join(SETTINGS)), overrides: Overrides::default() };
        assemble(&sources, 1).and_then(|assembly| match escapes(directory, &assembly.settings) {
            Some(path) => Err(Diagnostic::error(
                directory.join(SETTINGS).display().to_string(),
                format!("`{}` leads out of the directory", path.display()),
            )
            .with_help("a bundle has its own files: copy the file here, or write an absolute path".to_owned())
            .into()),
            None => Ok(()),
        })
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

/// The first path by which the settings leave the directory: where a resolver reads them, it leads elsewhere.
fn escapes(directory: &Path, settings: &Settings) -> Option<PathBuf> {
    let paths = settings.inputs().into_iter().chain(settings.secrets());
    let mut relative = paths.filter_map(|path| path.strip_prefix(directory).ok().map(Path::to_owned));
    relative.find(|path| path.components().any(|part| part == Component::ParentDir))
}

/// The first secret among the files to be packed.
pub(super) fn secret(directory: &Path, files: &[(String, Vec<u8>)]) -> Option<String> {
    let is_key = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let is_minisign = text.starts_with("untrusted comment:")
            && text.lines().nth(1).is_some_and(|line| line.trim().len() >= MINISIGN_SECRET);
        is_minisign || text.contains("PRIVATE KEY-----")
    };
    let settings = config::load(Some(&directory.join(SETTINGS)), &Overrides::default());
    let named = settings.map(|loaded| loaded.settings.secrets()).unwrap_or_default();
    let found = files.iter().find(|(path, bytes)| is_key(bytes) || named.contains(&directory.join(path)));
    found.map(|(path, _)| {
        format!(
            "{}: a secret\n  help: whoever can fetch the bundle could read it: keep it outside the directory",
            directory.join(path).display()
        )
    })
}

fn check_allowlist(path: &Path) -> Result<(), crate::diagnostics::Report> {
    let settings = PolicySettings { zones: vec![path.display().to_string()], ..PolicySettings::default() };
    let (mut policy, mut servers) = (PolicyBuilder::new(), ServerLists::new(Vec::new()));
    allowlist::read(&settings, &BTreeMap::new(), &mut policy, &mut servers).map(drop)
}
