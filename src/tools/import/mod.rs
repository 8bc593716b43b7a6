//! What Azure and other resolvers print, as files namegate reads.
//!
//! `azure-ml`, `rpz` and `list` become a zone file, `private-endpoint` and `private-zone` master files for local zones.
//! Nothing opens more than somebody has asked for in so many words: patterns that cover many names wait for
//! [`ImportOptions::wildcards`], and what is at or above a public suffix is never taken.

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

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Format {
    /// What a workspace needs: the JSON of `outboundNetworkDependenciesEndpoints`
    AzureMl,
    /// A private endpoint's network interface: the JSON of `az network nic show`
    PrivateEndpoint,
    /// A private DNS zone: what `az network private-dns record-set list` or `zone export` prints
    PrivateZone,
    /// A response policy zone as a master file
    Rpz,
    /// Patterns, one a line; or JSON names, an Azure domain list, AdGuard filters
    List,
}

/// How to import.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions {
    /// Carry over patterns that cover many names.
    pub wildcards: bool,
    /// The edition that the zone file will name.
    pub today: Date,
}

/// What an import made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// One file, but as many as there are zones for a private endpoint.
    pub files: Vec<File>,
    /// What was not carried over and what to know about the rest, one line each, escaped.
    pub remarks: Vec<String>,
    /// False where something was not carried over.
    pub complete: bool,
}

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What to call it, without a directory.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Reads `source` as `format` says. Errors: it is something else, or something in it is wrong; then nothing is made of it.
pub fn import(format: Format, source: &Source, options: ImportOptions) -> Result<Imported, Report> {
    match format {
        Format::AzureMl => azure_ml::import(source, options),
        Format::PrivateEndpoint => private_endpoint::import(source),
        Format::PrivateZone => private_zone::import(source),
        Format::Rpz => rpz::import(source, options),
        Format::List => list::import(source, options),
    }
}
