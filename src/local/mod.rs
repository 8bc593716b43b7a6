//! Authoritative local zones, and the small server that stands in for an upstream in demos and tests.
//!
//! Loading: `entry` splits a master file into entries with line numbers, `master_file` and `rdata` turn them into
//! records, and `zone` checks the zone as a whole and answers from it. hickory's catalog finds the zone for a query and
//! writes the response; `alias` joins responses along a chain of aliases.

mod alias;
mod capture;
mod embedded_upstream;
mod entry;
mod fault;
mod local_zones;
mod master_file;
mod rdata;
#[cfg(test)]
mod tests;
mod zone;

pub use alias::join;
pub use embedded_upstream::{EmbeddedUpstream, demo_zones};
pub use local_zones::{LocalAnswer, LocalFailure, LocalSource, LocalZones, MAX_FILE_BYTES};
pub(crate) use master_file::read_records;
