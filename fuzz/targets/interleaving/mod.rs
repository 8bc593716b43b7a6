//! A gate's life in any order: queries, replies, time, reloads and temporary allowances.
//!
//! The gate, the cache, the pending queries and the judgement of replies are the real ones; what stands in for the relay is only
//! its sockets and its clock. Beside them a [`Model`] remembers what authentic replies carried, and what it allows it finds by a
//! look at every rule. Nobody is asked, and nobody gets data, for a name that is not allowed at that moment; what a client
//! gets was in an authentic reply to exactly that question by exactly that route, and is not older than it may be; what an
//! attacker sent reaches nobody; every query has one end, and the counters say so.

mod message;
mod model;
mod operators;
mod servers;
mod world;

use arbitrary::{Arbitrary, Unstructured};

use world::World;

/// Steps of one run: more find nothing that fewer do not.
const STEPS: usize = 200;

/// Something that happens.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    /// A client asks.
    Ask(Asked),
    /// A message comes from where a question was asked: the server's, or an attacker's.
    Receive { exchange: u8, content: Content },
    /// The server's reply to one question comes in for another.
    Misdeliver { from: u8, to: u8 },
    /// Nobody answers a question.
    Fail { exchange: u8 },
    /// Clients' patience with a question ends.
    LosePatience { exchange: u8 },
    /// Milliseconds pass.
    Wait { milliseconds: u16 },
    /// Minutes pass.
    WaitLong { minutes: u8 },
    /// Other rules come into force, with a cache of their own or not.
    Reload { rules: u8, new_cache: bool },
    /// The cache is rid of what the rules in force allow nobody.
    Tidy,
    /// Names are allowed for a time.
    Allow { pattern: u8, seconds: u8 },
    /// They are so no more.
    Revoke { pattern: u8 },
}

/// What a client asks.
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

/// What a message that comes for a question is.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Content {
    /// The server's data.
    Data { ttl: u8 },
    /// The same, found at another name.
    Alias { ttl: u8, target: u8 },
    /// The server knows of no such name.
    NoName { ttl: u8 },
    /// The server knows of no such data.
    NoData { ttl: u8 },
    /// The server fails.
    Failure,
    /// The server's data do not fit into a datagram.
    Truncated,
    /// Somebody else's data, with an id that was not asked with.
    ForgedId { id: u16 },
    /// Somebody else's data, for a name that was not asked for.
    ForgedName { name: u8 },
    /// Somebody else's data, for a type that was not asked for.
    ForgedType { qtype: u8 },
    /// Somebody else's query.
    ForgedQuery,
    /// Somebody else's reply with another opcode.
    ForgedOpcode { opcode: u8 },
    /// Somebody else's reply without a question.
    ForgedNothing,
}

/// `data` is what happens.
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
