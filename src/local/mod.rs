//! Authoritative local zones, and the small server that stands in for an upstream in demonstrations and tests.
//!
//! A zone's way in: `entry` splits a master file into entries with their lines, `master_file` and `rdata` turn them into
//! records, `zone` checks what only shows in the whole and answers from it. hickory's
//! catalog finds the zone of a query and writes the response; `alias` joins the responses along a chain of aliases.

mod alias;
mod capture;
mod embedded_upstream;
mod entry;
mod error;
mod local_zones;
mod master_file;
mod rdata;
#[cfg(test)]
mod tests;
mod zone;

pub use alias::join;
pub use embedded_upstream::{EmbeddedUpstream, demo_zones};
pub use error::LocalZoneError;
pub use local_zones::{LocalAnswer, LocalFailure, LocalSource, LocalZones, MAX_FILE_BYTES};
pub(crate) use master_file::read_records;
