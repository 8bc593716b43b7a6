//! The DNS wire format: parses and writes messages in place. No I/O, no clock, no allocation per query.
//!
//! [`query`] parses a client's query (with [`name`], [`header`], [`edns`]), [`answer`] an upstream's reply. [`reply`]
//! writes every message to a client. Parsing is strict: everything that is not exactly a query is refused, so no
//! ambiguous byte reaches the policy.

pub mod answer;
pub mod code;
pub mod cookie;
pub mod denial;
pub mod edns;
pub mod header;
pub mod letter_case;
pub mod name;
pub mod presentation;
pub mod query;
pub mod records;
pub mod reply;
pub mod request;
pub mod section;

#[cfg(test)]
mod tests;
