//! [`Encoder`]: encodes a [`DnstapEvent`] as two messages of `dnstap.proto`, with its field names and numbers
//! (<https://github.com/dnstap/dnstap.pb>).

use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use super::protobuf::Fields;
use crate::wire::reply::Transport;

/// One query and its reply.
#[derive(Clone, Copy, Debug)]
pub struct DnstapEvent<'a> {
    /// The client; none if `log.client` hides it. A masked address has port 0, which is omitted.
    pub client: Option<SocketAddr>,
    /// Transport of query and reply.
    pub transport: Transport,
    /// The local address that received the query, if known.
    pub server: Option<SocketAddr>,
    /// When the query was received.
    pub queried: SystemTime,
    /// When the reply was sent.
    pub responded: SystemTime,
    /// The query's DNS message.
    pub request: &'a [u8],
    /// The reply's DNS message.
    pub reply: &'a [u8],
    /// The rule that blocked the name, or the reason if no rule matched. None for replies from upstreams, the cache and
    /// local zones.
    pub blocked: Option<&'a str>,
}

/// Fields of Dnstap.
mod dnstap {
    pub(super) const IDENTITY: u32 = 1;
    pub(super) const VERSION: u32 = 2;
    pub(super) const MESSAGE: u32 = 14;
    pub(super) const TYPE: u32 = 15;
    /// The only type of Dnstap.
    pub(super) const TYPE_MESSAGE: u64 = 1;
}

/// Fields of Message.
mod message {
    pub(super) const TYPE: u32 = 1;
    pub(super) const SOCKET_FAMILY: u32 = 2;
    pub(super) const SOCKET_PROTOCOL: u32 = 3;
    pub(super) const QUERY_ADDRESS: u32 = 4;
    pub(super) const RESPONSE_ADDRESS: u32 = 5;
    pub(super) const QUERY_PORT: u32 = 6;
    pub(super) const RESPONSE_PORT: u32 = 7;
    pub(super) const QUERY_TIME_SEC: u32 = 8;
    pub(super) const QUERY_TIME_NSEC: u32 = 9;
    pub(super) const QUERY_MESSAGE: u32 = 10;
    pub(super) const RESPONSE_TIME_SEC: u32 = 12;
    pub(super) const RESPONSE_TIME_NSEC: u32 = 13;
    pub(super) const RESPONSE_MESSAGE: u32 = 14;
    pub(super) const POLICY: u32 = 15;
}

/// Fields of Policy.
mod policy {
    pub(super) const TYPE: u32 = 1;
    pub(super) const RULE: u32 = 2;
    pub(super) const ACTION: u32 = 3;
    pub(super) const MATCH: u32 = 4;
}

/// Message.Type.
const CLIENT_QUERY: u64 = 5;
const CLIENT_RESPONSE: u64 = 6;

/// SocketFamily.
const INET: u64 = 1;
const INET6: u64 = 2;

/// SocketProtocol.
const UDP: u64 = 1;
const TCP: u64 = 2;

/// Policy.Action. It has no value for REFUSED.
const NXDOMAIN: u64 = 1;
const NODATA: u64 = 2;

/// Policy.Match.
const QNAME: u64 = 1;

/// Policy.type is free text; only `RPZ` has a defined meaning.
const POLICY_TYPE: &[u8] = b"allowlist";

/// Encodes lookups as frames, in reused buffers.
#[derive(Debug)]
pub(super) struct Encoder {
    /// Identity and version, encoded.
    server: Vec<u8>,
    /// Fields common to both messages of a lookup, encoded.
    exchange: Vec<u8>,
    message: Vec<u8>,
    policy: Vec<u8>,
}

impl Encoder {
    /// Creates an encoder; an empty `identity` or `version` is omitted.
    pub(super) fn new(identity: &str, version: &str) -> Self {
        let mut server = Vec::new();
        for (field, text) in [(dnstap::IDENTITY, identity), (dnstap::VERSION, version)] {
            if !text.is_empty() {
                Fields(&mut server).bytes(field, text.as_bytes());
            }
        }
        Self { server, exchange: Vec::new(), message: Vec::new(), policy: Vec::new() }
    }

    /// Appends the frames of `lookup`, each with its length prefix.
    pub(super) fn encode(&mut self, lookup: &DnstapEvent<'_>, out: &mut Vec<u8>) {
        self.exchange.clear();
        put_exchange(&mut Fields(&mut self.exchange), lookup);
        self.begin(CLIENT_QUERY).bytes(message::QUERY_MESSAGE, lookup.request);
        self.append(out);

        let mut response = self.begin(CLIENT_RESPONSE);
        let (seconds, nanoseconds) = since_epoch(lookup.responded);
        response.number(message::RESPONSE_TIME_SEC, seconds);
        response.fixed32(message::RESPONSE_TIME_NSEC, nanoseconds);
        response.bytes(message::RESPONSE_MESSAGE, lookup.reply);
        if let Some(rule) = lookup.blocked {
            self.policy.clear();
            put_policy(&mut Fields(&mut self.policy), rule, lookup.reply);
            Fields(&mut self.message).bytes(message::POLICY, &self.policy);
        }
        self.append(out);
    }

    fn begin(&mut self, kind: u64) -> Fields<'_> {
        self.message.clear();
        Fields(&mut self.message).number(message::TYPE, kind);
        self.message.extend_from_slice(&self.exchange);
        Fields(&mut self.message)
    }

    /// Appends the message as a frame.
    fn append(&self, out: &mut Vec<u8>) {
        let prefix = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.server);
        let mut fields = Fields(out);
        fields.bytes(dnstap::MESSAGE, &self.message);
        fields.number(dnstap::TYPE, dnstap::TYPE_MESSAGE);
        let length = (out.len() - prefix - 4) as u32;
        out[prefix..prefix + 4].copy_from_slice(&length.to_be_bytes());
    }
}

fn put_exchange(fields: &mut Fields<'_>, lookup: &DnstapEvent<'_>) {
    // An IPv4-mapped address counts as IPv4.
    let [client, server] =
        [lookup.client, lookup.server].map(|address| address.map(|address| address.ip().to_canonical()));
    // Both have the same family; if the client is hidden, use the server's.
    if let Some(address) = client.or(server) {
        fields.number(message::SOCKET_FAMILY, if address.is_ipv4() { INET } else { INET6 });
    }
    let protocol = match lookup.transport {
        Transport::Udp => UDP,
        Transport::Tcp => TCP,
    };
    fields.number(message::SOCKET_PROTOCOL, protocol);
    put_address(fields, message::QUERY_ADDRESS, client);
    put_address(fields, message::RESPONSE_ADDRESS, server);
    put_port(fields, message::QUERY_PORT, lookup.client);
    put_port(fields, message::RESPONSE_PORT, lookup.server);
    let (seconds, nanoseconds) = since_epoch(lookup.queried);
    fields.number(message::QUERY_TIME_SEC, seconds);
    fields.fixed32(message::QUERY_TIME_NSEC, nanoseconds);
}

fn put_policy(fields: &mut Fields<'_>, rule: &str, reply: &[u8]) {
    fields.bytes(policy::TYPE, POLICY_TYPE);
    fields.bytes(policy::RULE, rule.as_bytes());
    match reply.get(3).map(|flags| flags & 0x0f) {
        Some(3) => fields.number(policy::ACTION, NXDOMAIN),
        Some(0) => fields.number(policy::ACTION, NODATA),
        _ => {}
    }
    fields.number(policy::MATCH, QNAME);
}

fn put_address(fields: &mut Fields<'_>, field: u32, address: Option<IpAddr>) {
    match address {
        Some(IpAddr::V4(address)) => fields.bytes(field, &address.octets()),
        Some(IpAddr::V6(address)) => fields.bytes(field, &address.octets()),
        None => {}
    }
}

fn put_port(fields: &mut Fields<'_>, field: u32, address: Option<SocketAddr>) {
    if let Some(port) = address.map(|address| address.port()).filter(|port| *port != 0) {
        fields.number(field, port.into());
    }
}

fn since_epoch(time: SystemTime) -> (u64, u32) {
    let passed = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (passed.as_secs(), passed.subsec_nanos())
}
