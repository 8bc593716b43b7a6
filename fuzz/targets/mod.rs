//! The fuzz targets: functions of bytes that panic if a property does not hold.
//!
//! `cargo fuzz` runs them on generated inputs; namegate's own test `corpus` runs them on every committed input.

#[path = "../../src/wire/tests/differential.rs"]
mod differential;
#[path = "../../src/policy/tests/oracle.rs"]
mod oracle;
mod testbed;

pub mod imports;
pub mod interleaving;
pub mod master_file;
pub mod patch;
pub mod query;
pub mod query_differential;
pub mod reply;
pub mod settings;
pub mod tcp_framing;
pub mod trie;
pub mod zone_file;

// Imports used by the two shared files.
use namegate::policy::rule::{Action, Pattern, Scope};
use namegate::wire::code::Type;
use namegate::wire::header::{Flags, HEADER, Header};
use namegate::wire::name::Name;
use namegate::wire::query::{Malformed, Query, Question, parse_question};

/// A target: its name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const ALL: [Target; 11] = [
    ("imports", imports::run),
    ("interleaving", interleaving::run),
    ("master_file", master_file::run),
    ("patch", patch::run),
    ("query", query::run),
    ("query_differential", query_differential::run),
    ("reply", reply::run),
    ("settings", settings::run),
    ("tcp_framing", tcp_framing::run),
    ("trie", trie::run),
    ("zone_file", zone_file::run),
];
