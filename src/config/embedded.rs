//! The allowlists that are built into the program.

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../zones/", $name, ".toml")))),*]
    };
}

/// The shipped allowlists: name and text.
const EMBEDDED: &[(&str, &str)] = embedded![
    "azure-ml",
    "azure-government",
    "azure-china",
    "kubernetes",
    "python",
    "r",
    "vscode",
    "docker-hub",
    "hugging-face",
    "ubuntu",
    "nvidia",
    "sign-in",
    "azure-internal",
    "private-reverse",
];

/// Names of the shipped allowlists.
pub(crate) fn embedded_names() -> impl Iterator<Item = &'static str> + Clone {
    EMBEDDED.iter().map(|(name, _)| *name)
}

/// The text of a shipped allowlist.
pub(crate) fn embedded(name: &str) -> Option<&'static str> {
    EMBEDDED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
