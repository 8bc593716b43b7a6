//! [`unused_allowlists`]: the shipped allowlists that a policy does not use.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::allowlist;
use crate::allowlist::server_lists::ServerLists;
use crate::config::PolicySettings;
use crate::config::embedded::embedded_names;
use crate::diagnostics::Report;
use crate::policy::{Compile, Mode, Policy, PolicyBuilder};

/// The shipped allowlists that `policy` does not use, each compiled with these parameters and without its broad rules.
/// A file of the same name in `directory` replaces a shipped one, as in the settings.
///
/// Errors: the allowlist has errors with these parameters, or the file in `directory` has.
pub fn unused_allowlists(
    policy: &Policy,
    parameters: &BTreeMap<String, Vec<String>>,
    directory: Option<PathBuf>,
) -> impl Iterator<Item = Result<(&'static str, Policy), Report>> {
    let is_unused = |name: &&str| policy.sources().all(|(source, _)| source.zone != *name);
    let read = move |name: &'static str| {
        let settings = PolicySettings {
            zones: vec![name.to_owned()],
            zones_directory: directory.clone(),
            strict: true,
            ..PolicySettings::default()
        };
        let mut rules = PolicyBuilder::new();
        allowlist::read(&settings, parameters, &mut rules, &mut ServerLists::new(Vec::new()))?;
        Ok((name, rules.build(Compile::new(Mode::Enforce))))
    };
    embedded_names().filter(is_unused).map(read)
}
