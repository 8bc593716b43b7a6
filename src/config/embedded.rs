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
    "sign-in",
    "ai-services",
    "azure-monitor",
    "certificates",
    "kubernetes",
    "aks-government",
    "aks-china",
    "azure-arc",
    "python",
    "r",
    "npm",
    "crates",
    "go",
    "maven",
    "nuget",
    "ubuntu",
    "debian",
    "github",
    "vscode",
    "docker-hub",
    "hugging-face",
    "nvidia",
    "nvidia-registry",
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
