//! Placeholders: names that templates and documentation have in place of real ones.

use crate::wire::name::Name;

/// First labels that stand for a value.
const STANDINS: [&str; 14] = [
    "placeholder",
    "changeme",
    "change-me",
    "replace-me",
    "todo",
    "xxx",
    "xxxx",
    "region",
    "acr-name",
    "workspace-name",
    "storage-account",
    "storageaccountname",
    "account-name",
    "resource-name",
];

/// Why nobody has `name`, if it looks like a placeholder.
pub fn placeholder(name: &Name) -> Option<&'static str> {
    let text = name.to_string();
    let labels: Vec<&str> = text.split('.').collect();
    if labels.last() == Some(&"invalid") {
        return Some("`.invalid` never exists (RFC 6761)");
    }
    if let [.., "example", "com" | "net" | "org"] = labels[..] {
        return Some("reserved for documentation (RFC 2606)");
    }
    // The last two labels are a registered domain, such as `your-server.de`.
    let mut own = labels.iter().take(labels.len().saturating_sub(2));
    let is_standin = |label: &str| {
        let your = label.strip_prefix("your").or_else(|| label.strip_prefix("my-own"));
        STANDINS.contains(&label)
            || your.is_some_and(|rest| rest.starts_with(['-', '_']) || is_resource(rest))
    };
    own.any(|label| is_standin(label)).then_some("a placeholder: write your own name")
}

/// The rest of `yourworkspace` and the like.
fn is_resource(rest: &str) -> bool {
    const RESOURCES: [&str; 10] = [
        "acr",
        "account",
        "company",
        "domain",
        "keyvault",
        "org",
        "registry",
        "region",
        "storage",
        "workspace",
    ];
    RESOURCES.iter().any(|resource| rest.starts_with(resource))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::rule::Pattern;

    #[test]
    fn placeholders_are_told_from_names() {
        for (text, expected) in [
            ("your-acr.azurecr.io", true),
            ("yourstorage.blob.core.windows.net", true),
            ("region.api.azureml.ms", true),
            ("www.example.com", true),
            ("a.invalid", true),
            ("www.your-server.de", false),
            ("yourself.contoso.com", false),
            ("corp.example", false),
            ("example.contoso.com", false),
        ] {
            assert_eq!(placeholder(Pattern::parse(text).unwrap().name()).is_some(), expected, "{text}");
        }
    }
}
