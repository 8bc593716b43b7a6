//! Converts output of Azure and other resolvers to files that namegate reads.
//!
//! `azure-ml`, `azure-firewall`, `rpz` and `list` become an allowlist; `private-endpoint` and `private-zone` become master
//! files for local zones. Patterns that cover many names are imported only with [`ImportOptions::wildcards`]. Names at or above a
//! public suffix are never imported.

mod draft;
mod master_file;
mod private_endpoint;
mod private_zone;
mod suffix;

use clap::ValueEnum;
use toml::value::Date;

use crate::diagnostics::{Report, Source};
use crate::foreign::{self, ListFormat};
use draft::Draft;

/// The format of an input file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Format {
    /// Workspace dependencies (`outboundNetworkDependenciesEndpoints`) or outbound rules of its managed network, JSON
    AzureMl,
    /// Azure Firewall: `az network firewall policy rule-collection-group list`, or an ARM template
    AzureFirewall,
    /// Private endpoint's network interface: JSON of `az network nic show`
    PrivateEndpoint,
    /// Private DNS zone: `az network private-dns record-set list` or `zone export`
    PrivateZone,
    /// Response policy zone (RPZ), as a zone file
    Rpz,
    /// Names, one per line or in JSON; domain lists of Azure and AWS; AdGuard filters; hosts file; `allowed-endpoints`
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
    let file = source.file();
    let (format, title, origin) = match format {
        Format::PrivateEndpoint => return private_endpoint::import(source),
        Format::PrivateZone => return private_zone::import(source),
        Format::AzureMl => (ListFormat::AzureMl, "Azure Machine Learning workspace", None),
        Format::AzureFirewall => (ListFormat::AzureFirewall, "Azure Firewall rules", None),
        Format::Rpz => (ListFormat::Rpz, "Imported response policy zone", Some(file.to_owned())),
        Format::List => (ListFormat::List, "Imported list", Some(file.to_owned())),
    };
    let listing = foreign::read(source, Some(format))?;
    let faults = listing.faults(source);
    if !faults.is_empty() {
        return Err(faults);
    }
    let origin = origin.unwrap_or_else(|| format!("{}, from {file}", listing.shape));
    let mut draft = Draft::new(options);
    draft.add_all(listing, file);
    draft.finish(title, &origin, file)
}
