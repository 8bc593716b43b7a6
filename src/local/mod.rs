//! Authoritative local zones, and the small server that stands in for an upstream in demonstrations and tests.
//!
//! A zone's way in: `entry` splits a master file into entries with their lines, `master_file` turns them into
//! records through hickory's parser, `zone` checks what only shows in the whole and answers from it. hickory's
//! catalog finds the zone of a query and writes the response.

mod capture;
mod embedded_upstream;
mod entry;
mod error;
mod local_zones;
mod master_file;
#[cfg(test)]
mod tests;
mod zone;

pub use embedded_upstream::{EmbeddedUpstream, demo_zones};
pub use error::LocalZoneError;
pub use local_zones::{LocalSource, LocalZones, MAX_FILE_BYTES};
pub(crate) use master_file::read_records;
