//! What the two Kubernetes targets share: rules by port, and YAML for the namespaces they apply to.

use std::collections::BTreeMap;

use super::layer::{Item, allowed_alone};
use super::options::{DNS_NAMESPACE, Namespace};
use super::{Context, Remark};
use crate::allowlist::Port;
use crate::policy::rule::Scope;

/// The allowed patterns by the ports of their rules; no port: all ports.
pub(super) fn by_ports<'a>(
    context: &'a Context<'a>,
    remarks: &mut Vec<Remark>,
) -> BTreeMap<Vec<Port>, Vec<Item<'a>>> {
    let mut by_ports: BTreeMap<Vec<Port>, Vec<Item<'a>>> = BTreeMap::new();
    for item in allowed_alone(context, remarks) {
        let mut ports = context.ports(item.rule).to_vec();
        ports.sort_unstable();
        by_ports.entry(ports).or_default().push(item);
    }
    by_ports
}

/// The forms of a pattern: the name, and `below` in front of it for the names below.
pub(super) fn forms(item: &Item<'_>, below: &str) -> Vec<String> {
    let (name, scope) = (item.pattern.name(), item.pattern.scope());
    let name_alone = (scope != Scope::Below).then(|| name.to_string());
    name_alone.into_iter().chain((scope != Scope::Exact).then(|| format!("{below}{name}"))).collect()
}

/// A match expression for namespaces by `key`: the given ones, or all but that of the cluster's DNS servers.
pub(super) fn namespaces(namespaces: &[Namespace], key: &str, indent: &str) -> String {
    let (operator, values) = match namespaces.is_empty() {
        true => ("NotIn", vec![DNS_NAMESPACE]),
        false => ("In", namespaces.iter().map(Namespace::as_str).collect()),
    };
    format!(
        "{indent}- key: {key}\n{indent}  operator: {operator}\n{indent}  values: [{}]\n",
        values.join(", ")
    )
}
