//! Parses the files for Prometheus and Grafana.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

pub(super) fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn dashboard() -> Value {
    serde_json::from_str(&read("config/grafana/dashboards/namegate.json")).expect("the dashboard is JSON")
}

/// The panels that `row`, or the dashboard itself, holds.
pub(super) fn children(row: &Value) -> &[Value] {
    row["panels"].as_array().map_or(&[], Vec::as_slice)
}

/// Every row and panel, also of collapsed rows.
pub(super) fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    children(dashboard).iter().flat_map(|panel| std::iter::once(panel).chain(children(panel)))
}

/// Every query of every panel: the panel's title and the expression.
pub(super) fn panel_queries(dashboard: &Value) -> Vec<(String, String)> {
    let queries = |panel: &Value| {
        let title = panel["title"].as_str().expect("a title").to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets
            .into_iter()
            .map(move |target| (title.clone(), target["expr"].as_str().expect("an expression").to_owned()))
    };
    panels(dashboard).flat_map(queries).collect()
}

/// The values after `key` on lines of their own, such as `- alert: NAME`.
pub(super) fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix(' ')).collect()
}

/// The names of metrics in `text`, recorded ones (with colons) included.
pub(super) fn metric_names(text: &str) -> BTreeSet<&str> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "_:".contains(character);
    text.split(|character| !is_part(character))
        .filter(|word| word.starts_with("namegate_") || word.contains(":namegate_"))
        .collect()
}

/// The metrics that docs/metrics.md lists.
pub(super) fn catalogue() -> BTreeSet<String> {
    let text = read("docs/metrics.md");
    let name = |row: &str| Some(row.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    text.lines().filter_map(name).collect()
}

/// The expressions of rules and alerts, without comments.
pub(super) fn rules(file: &str) -> String {
    let text = read(&format!("config/prometheus/{file}"));
    text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")
}
