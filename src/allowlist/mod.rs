//! Reading allowlist files: the shipped ones, which are part of the program, and the operator's own.
//!
//! `NAME.toml` has a table for each rule, with what people want to know of it; `NAME.list` has patterns and nothing else,
//! one on each line, and may be a million lines long. A file with one bad rule is refused whole, and everything wrong in it is reported at once. How rules are matched is
//! [`crate::policy`]'s part.

mod dependency;
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
pub use list::read_from as read_list;
pub use port::{Port, Protocol};
pub use read::{Allowlists, read};
pub use zone::{Allowlist, AllowlistRule};
