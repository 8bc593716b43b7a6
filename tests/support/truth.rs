//! Answers that identify their question: the address is derived from the name, so an answer for another name is
//! detected.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::message::Message;
use super::random::hash;
use super::response::Response;
use super::script::{Script, Step};

/// The address of `name` at the upstream, in its `version`.
pub(crate) fn address(name: &str, version: u8) -> String {
    let [.., a, b, c] = hash(name.to_ascii_lowercase().as_bytes()).to_be_bytes();
    Ipv4Addr::new(100 + version, a, b, c).to_string()
}

/// The answer to `query`, in this version.
pub(crate) fn answer(query: &Message, version: u8, ttl: u32) -> Response {
    let name = query.name();
    Response::answering(&[&format!("{name} {ttl} A {}", address(name, version))])
}

/// An upstream that holds an address for every name.
pub(crate) fn script() -> Script {
    Script::steps(vec![Step::Send(Arc::new(|query| answer(query, 0, 300).render(query)))])
}

/// The outcome of a query for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The upstream's address, in this version.
    Answered(u8),
    /// Namegate's own denial.
    Denied,
    /// SERVFAIL with a reason.
    Failed,
    /// No reply.
    Lost,
    /// Anything else.
    Wrong(String),
}

/// Classifies `reply` to a query for the address of `name`.
pub(crate) fn judge(name: &str, reply: Option<&Message>) -> Outcome {
    let Some(reply) = reply else { return Outcome::Lost };
    let (rcode, data) = (reply.rcode(), reply.answer_data());
    if !reply.name().eq_ignore_ascii_case(name) {
        return Outcome::Wrong(format!("{name} was asked: {reply:?}"));
    }
    match (rcode.as_str(), data.as_slice(), reply.ede_codes().as_slice()) {
        ("NOERROR", [data], []) => {
            let version = data.split('.').next().and_then(|first| first.parse::<u8>().ok());
            match version.and_then(|first| first.checked_sub(100)) {
                Some(version) if *data == address(name, version) => Outcome::Answered(version),
                _ => Outcome::Wrong(format!("{name}: {data}")),
            }
        }
        ("NXDOMAIN", [], [15]) => Outcome::Denied,
        ("SERVFAIL" | "REFUSED", [], [_, ..]) => Outcome::Failed,
        _ => Outcome::Wrong(format!("{name}: {reply:?}")),
    }
}
