//! Fuzzes the resolver with queries, replies, time, reloads and grants in any order.
//!
//! The engine, the cache, the pending queries and the judgement of replies are the real ones; only the relay's sockets
//! and clock are replaced. A [`Model`] records what authentic replies carried, and finds what is allowed by checking
//! every rule. The checks: no name that is not allowed at that moment is queried upstream or answered with data. What a
//! client gets was in an authentic reply to exactly that question by exactly that route, and is not too old. Nothing
//! from an attacker reaches a client. Every query has exactly one outcome, and the counters agree.

mod message;
mod model;
mod operators;
mod servers;
mod world;

use arbitrary::{Arbitrary, Unstructured};

use world::World;

/// Steps per run: more of them found nothing new.
const STEPS: usize = 200;

/// Something that happens.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    /// A client asks.
    Ask(Asked),
    /// A message arrives from the address a question was sent to: the server's, or an attacker's.
    Receive { exchange: u8, content: Content },
    /// The server's reply to one question arrives for another.
    Misdeliver { from: u8, to: u8 },
    /// A question is not answered.
    Fail { exchange: u8 },
    /// The clients of a question give up.
    LosePatience { exchange: u8 },
    /// Milliseconds pass.
    Wait { milliseconds: u16 },
    /// Minutes pass.
    WaitLong { minutes: u8 },
    /// Other rules take effect, with or without a new cache.
    Reload { rules: u8, new_cache: bool },
    /// The cache drops entries that the rules in force allow to no client.
    Tidy,
    /// Names are granted.
    Allow { pattern: u8, seconds: u8 },
    /// A grant is revoked.
    Revoke { pattern: u8 },
}

/// A client's query.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Asked {
    client: u8,
    name: u8,
    qtype: u8,
    over_tcp: bool,
    dnssec_ok: bool,
    checking_disabled: bool,
    recursion_desired: bool,
}

/// Content of a message that arrives for a question.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Content {
    /// The server's data.
    Data { ttl: u8 },
    /// The same, at another name by an alias.
    Alias { ttl: u8, target: u8 },
    /// NXDOMAIN.
    NoName { ttl: u8 },
    /// NODATA.
    NoData { ttl: u8 },
    /// The server fails.
    Failure,
    /// The server's data do not fit in a datagram.
    Truncated,
    /// An attacker's data, with an id that was not used.
    ForgedId { id: u16 },
    /// An attacker's data, for a name that was not queried.
    ForgedName { name: u8 },
    /// An attacker's data, for a type that was not queried.
    ForgedType { qtype: u8 },
    /// An attacker's query.
    ForgedQuery,
    /// An attacker's reply with another opcode.
    ForgedOpcode { opcode: u8 },
    /// An attacker's reply without a question.
    ForgedNothing,
}

/// `data` is the sequence of steps.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut world = World::new();
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        let Ok(step) = Step::arbitrary(&mut input) else { break };
        world.step(step);
    }
    world.end();
}
