//! What the fuzz targets hold: each is a function of bytes that panics where something does not hold.
//!
//! `cargo fuzz` runs them on inputs it makes up; namegate's own test `corpus` runs them on every input that is committed.

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

// What the two shared files name.
use namegate::policy::rule::{Action, Pattern, Scope};
use namegate::wire::code::Type;
use namegate::wire::header::{Flags, HEADER, Header};
use namegate::wire::name::Name;
use namegate::wire::query::{Malformed, Query, Question, parse_question};

/// A target: what it is called, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
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
