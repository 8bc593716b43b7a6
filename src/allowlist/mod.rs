//! Reads allowlists: the shipped ones, which are built in, and the operator's own.
//!
//! `NAME.toml` has a table for each rule, with metadata for people. `NAME.list` has only patterns, one per line, and
//! may have a million lines. A file with one bad rule is rejected as a whole, and all its errors are reported at once.
//! [`crate::policy`] matches the rules.

mod dependency;
mod edition;
mod file;
mod host;
mod list;
mod port;
mod read;
pub mod server_lists;
mod zone;

#[cfg(test)]
mod tests;

pub use dependency::Dependency;
pub use file::zone;
pub use host::MAX_PATTERNS;
pub use list::{ListRule, read_from as read_list, read_one as list_line};
pub use port::{Port, Protocol};
pub use read::{Allowlists, read};
pub use zone::{Allowlist, AllowlistRule, Edition, KnownAlias};
