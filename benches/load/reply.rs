//! Checks whether a reply is correct.

use std::net::Ipv4Addr;

use super::workload::{Expected, OPT};

/// The address of every allowed name (documentation block, RFC 5737).
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);

const HEADER: usize = 12;
const TRUNCATED: u8 = 0x02;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

/// Compares a reply, already matched by id, with the one expected for `request`; the error says what is wrong.
pub(crate) fn judge(reply: &[u8], request: &[u8], expected: Expected) -> Result<(), String> {
    if let Expected::Code(code) = expected {
        return match reply.get(3).map(|byte| byte & 0x0f) {
            Some(found) if found == code => Ok(()),
            found => Err(format!("response code {found:?}, expected {code}")),
        };
    }
    if expected == Expected::Nothing {
        return Err("unexpected reply".into());
    }
    let question = &request[HEADER..request.len() - OPT.len()];
    let records = HEADER + question.len();
    if reply.get(HEADER..records) != Some(question) {
        return Err("not the query's question".into());
    }
    if reply[2] & 0x80 == 0 || reply[2] & TRUNCATED != 0 {
        return Err(format!("flags {:02x}{:02x}", reply[2], reply[3]));
    }
    match (expected, reply[3] & 0x0f) {
        (Expected::Blocked, NXDOMAIN) => Ok(()),
        (Expected::AnsweredOrFailed, SERVFAIL) => Ok(()),
        (Expected::Answered | Expected::AnsweredOrFailed, 0) => match first_address(&reply[records..]) {
            Some(ADDRESS) => Ok(()),
            other => Err(format!("answered with {other:?}")),
        },
        (_, code) => Err(format!("response code {code}, expected {expected:?}")),
    }
}

/// The address in the first record of `records`, if it is an A record whose owner is a pointer.
fn first_address(records: &[u8]) -> Option<Ipv4Addr> {
    let (head, rest) = records.split_first_chunk::<12>()?;
    let is_address = head[0] >= 0xc0 && head[2..6] == [0, 1, 0, 1] && head[10..12] == [0, 4];
    rest.first_chunk::<4>().filter(|_| is_address).map(|octets| Ipv4Addr::from(*octets))
}
