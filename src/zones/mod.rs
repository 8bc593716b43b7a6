//! Reading allowlist files: the shipped ones, which are part of the program, and the operator's own.
//!
//! A file with one bad rule is refused whole, and everything wrong in it is reported at once. How rules are matched is
//! [`crate::policy`]'s part.

mod embedded;
mod file;
mod host;
mod port;
mod read;
mod zone;

#[cfg(test)]
mod tests;

pub use embedded::embedded_names;
pub use host::MAX_PATTERNS;
pub use port::{Port, Protocol};
pub(crate) use read::unknown;
pub use read::{Zones, read};
pub use zone::{Zone, ZoneRule};
