//! Proof that the gate does what it promises, from outside: names that must not resolve are asked for in every way there
//! is, names that must resolve are asked for, and each reply is held against what it has to be.
//!
//! ```text
//!   canary      a name and what must become of it
//!   matrix      the ways to ask for it        look_alike   names that only look like allowed ones
//!     ↓ Probe (probe): a query's bytes, and what must come back
//!   ask         over UDP and TCP, from a socket of its own
//!     ↓ reply
//!   examine     all ways once → report, for an auditor      watch   the usual ways again and again, by the gate itself
//! ```
//!
//! Replies are read by hickory-proto and not by our own wire layer, so that a fault there cannot hide itself. That a name
//! was *blocked* is seen by the SOA of the reply: it is the gate's own and has the policy's number, so that a NXDOMAIN
//! from an upstream does not pass for a refusal, nor a refusal by one policy for a refusal by another.

pub mod ask;
pub mod examine;
pub mod look_alike;
pub mod matrix;
pub mod probe;
pub mod report;
pub mod watch;
