//! Converts output of Azure and other resolvers to files that namegate reads.
//!
//! `azure-ml`, `rpz` and `list` become an allowlist; `private-endpoint` and `private-zone` become master files for
//! local zones. Patterns that cover many names are imported only with [`ImportOptions::wildcards`]. Names at or above a
//! public suffix are never imported.

pub mod azure_ml;
mod draft;
mod json;
mod list;
mod master_file;
mod private_endpoint;
mod private_zone;
mod rpz;
mod suffix;

use clap::ValueEnum;
use toml::value::Date;

use crate::diagnostics::{Report, Source};

/// The format of an input file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Format {
    /// Workspace dependencies: JSON of `outboundNetworkDependenciesEndpoints`
    AzureMl,
    /// Private endpoint's network interface: JSON of `az network nic show`
    PrivateEndpoint,
    /// Private DNS zone: `az network private-dns record-set list` or `zone export`
    PrivateZone,
    /// Response policy zone (RPZ), as a zone file
    Rpz,
    /// Patterns, one per line; or a JSON array of names, an Azure domain list, an AdGuard filter list
    List,
}

/// Options of an import.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions {
    /// Import patterns that cover many names.
    pub wildcards: bool,
    /// The date for `revised` in the allowlist.
    pub today: Date,
}

/// The result of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// One file; for a private endpoint, one for each zone.
    pub files: Vec<File>,
    /// What was not imported, and notes about the rest. One escaped line each.
    pub remarks: Vec<String>,
    /// False if something was not imported.
    pub complete: bool,
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// File name without a directory.
    pub name: String,
    /// Contents.
    pub text: String,
}

/// Imports `source`, which has the given format.
///
/// Errors: it has another format, or any fault. Then nothing is imported.
pub fn import(format: Format, source: &Source, options: ImportOptions) -> Result<Imported, Report> {
    match format {
        Format::AzureMl => azure_ml::import(source, options),
        Format::PrivateEndpoint => private_endpoint::import(source),
        Format::PrivateZone => private_zone::import(source),
        Format::Rpz => rpz::import(source, options),
        Format::List => list::import(source, options),
    }
}
