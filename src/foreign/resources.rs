//! Resources of an ARM template, with those of nested resources and nested deployments.

use super::json::Json;
use crate::diagnostics::Report;

const SHAPE: &str = "use an ARM template with an array `resources`";

/// True for an ARM template.
pub(super) fn is_template(root: &Json<'_>) -> bool {
    root.field("resources").is_some_and(|resources| resources.is_array() || resources.members().is_some())
        && root.field("contentVersion").is_some()
}

/// All resources, each with its type in lower case.
pub(super) fn resources<'v>(root: &Json<'v>) -> Result<Vec<(String, Json<'v>)>, Report> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), root.clone())];
    while let Some((parent, one)) = open.pop() {
        let nested = one.property("template").and_then(|template| template.field("resources"));
        for list in one.field("resources").into_iter().chain(nested) {
            // Newer templates name their resources.
            for resource in list.members().map_or_else(|| list.elements(SHAPE), Ok)? {
                let kind = resource.required("type", SHAPE)?.text(SHAPE)?.to_ascii_lowercase();
                // A resource within another one has a relative type.
                let kind = if kind.contains('.') { kind } else { format!("{parent}/{kind}") };
                found.push((kind.clone(), resource.clone()));
                open.push((kind, resource));
            }
        }
    }
    Ok(found)
}
