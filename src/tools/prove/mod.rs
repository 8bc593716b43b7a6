//! Tests a running namegate from outside. Sends queries for forbidden and required names in many forms, and checks
//! every reply.
//!
//! ```text
//!   canary      a name and its expected result
//!   matrix      all forms of a query for it       look_alike   names that only look like allowed ones
//!     ↓ Probe (probe): a query's bytes and the expected reply
//!   ask         sends it over UDP and TCP from its own sockets
//!     ↓ reply
//!   examine     all probes once, and a report     watch        a few probes repeatedly, inside the process
//! ```
//!
//! hickory-proto parses the replies, not our own wire layer, so that a fault there cannot hide itself. The SOA of a
//! reply proves that namegate *blocked* the name: it names namegate, and its serial identifies the policy. An NXDOMAIN
//! from an upstream, or a denial by another policy, does not count.

pub mod ask;
pub mod examine;
pub mod look_alike;
pub mod matrix;
pub mod probe;
pub mod report;
pub mod watch;
