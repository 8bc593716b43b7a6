//! Settings of `[[local]]`: local zones, served from master files.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::{serializers, value};
use crate::diagnostics::{Section, ValueError};
use crate::wire::name::Name;

/// A local zone, served from a master file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LocalZoneSettings {
    /// The zone's name.
    #[serde(serialize_with = "serializers::shown")]
    pub origin: Name,
    /// The master file (RFC 1035 section 5).
    #[serde(serialize_with = "serializers::path")]
    pub file: PathBuf,
}

pub(super) fn local(root: &mut Section<'_, '_>, base: &Path) -> Vec<LocalZoneSettings> {
    let mut zones = Vec::new();
    for (table, span) in root.sections("local") {
        let mut section = Section::new("local", table, span, root.faults);
        let origin = section.required("origin", value::origin);
        let file = section.required("file", |text| match text {
            "" => Err(ValueError::new("the path is empty", "write the path of a master file")),
            text => Ok(base.join(text)),
        });
        section.finish();
        if let (Some(origin), Some(file)) = (origin, file) {
            zones.push(LocalZoneSettings { origin: origin.into_inner(), file: file.into_inner() });
        }
    }
    zones
}
