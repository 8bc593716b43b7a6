//! Writes a settings file for an Azure Machine Learning workspace (`namegate init`).
//!
//! `plan` chooses allowlists and values of parameters from what the workspace needs. `write` writes them as settings in
//! observe mode, with the next steps. `questions` asks for what was not given.

mod needs;
mod plan;
mod questions;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use clap::ValueEnum;
use toml::value::Date;

pub use plan::{DoubtfulHost, InitError, SettingsPlan, plan};
pub use questions::{Answers, QuestionsError, ask};
pub use write::to_toml;

use crate::allowlist::Dependency;

/// An Azure cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum AzureCloud {
    /// The public cloud
    Public,
    /// Azure Government
    Government,
    /// Azure in China, operated by 21Vianet
    China,
}

impl AzureCloud {
    /// The shipped allowlist for a workspace in this cloud.
    pub fn allowlist(self) -> &'static str {
        match self {
            Self::Public => "azure-ml",
            Self::Government => "azure-government",
            Self::China => "azure-china",
        }
    }
}

/// The resources that a user names: the option, the question, and an example.
pub const RESOURCES: [(&str, &str, &str); 4] = [
    ("region", "Regions of the workspace and its compute", "westeurope"),
    ("storage", "Storage accounts", "contosostore"),
    ("acr", "Container registries", "contosoacr"),
    ("key_vault", "Key vaults", "contosovault"),
];

/// What to write settings for.
#[derive(Clone, Debug)]
pub struct InitRequest {
    /// The cloud; without one, the cloud whose allowlist has most of the needed hosts.
    pub cloud: Option<AzureCloud>,
    /// The user's resources, by the names in [`RESOURCES`].
    pub resources: BTreeMap<&'static str, Vec<String>>,
    /// Hosts that the workspace needs.
    pub dependencies: Vec<Dependency>,
    /// Leave out rules that also allow names of other tenants.
    pub strict: bool,
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Where the request comes from, for the first line.
    pub origin: String,
    /// The date, for the first line.
    pub today: Date,
}
