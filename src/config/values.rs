//! Helpers shared by several sections.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::config::value;
use crate::diagnostics::{Section, ValueError};

/// Values of parameters by their names.
pub(super) fn parameter_lists(section: Section<'_, '_>) -> BTreeMap<String, Vec<String>> {
    let is_key = |key: &str| {
        let refused =
            || ValueError::new(format!("invalid parameter name `{key}`"), "use only `a` to `z` and `_`");
        value::is_parameter_name(key).then_some(()).ok_or_else(refused)
    };
    let lists = section.lists(is_key, value::label).into_iter().map(|(name, values)| (name, plain(values)));
    lists.filter(|(_, values)| !values.is_empty()).collect()
}

/// A path; none if it is empty or absent.
pub(super) fn optional_path(
    section: &mut Section<'_, '_>,
    key: &'static str,
    base: &Path,
) -> Option<PathBuf> {
    let text = section.parsed(key, |text| Ok::<_, ValueError>(text.to_owned()))?;
    Some(text.into_inner()).filter(|text| !text.is_empty()).map(|text| base.join(text))
}

/// Values without their locations.
pub(super) fn plain<T>(values: Vec<Spanned<T>>) -> Vec<T> {
    values.into_iter().map(Spanned::into_inner).collect()
}
