//! Tests of commands other than `serve`.

mod audit;
mod azurite;
mod bundle;
mod check;
mod cli;
mod config;
pub(crate) mod demo;
mod diff;
mod explain;
mod export;
mod export_readings;
mod export_servers;
mod export_targets;
mod field_files;
mod import;
mod import_faults;
mod import_formats;
mod import_local_zones;
mod init;
mod learn;
mod prove;
mod pull;
mod validators;
