//! The instructions that the packet path may take, counted by callgrind: more than the limit, and the run fails.
//!
//! `.ci/instructions`, which installs the two tools it needs: valgrind, and gungraun-runner. Counts are much the same
//! on every x86-64 machine and under every load, unlike times; those are `cargo bench --bench packet`'s.

#![allow(clippy::unwrap_used)]
// What gungraun's macros write.
#![allow(missing_docs, unused_qualifications, clippy::disallowed_methods)]

mod testbed;

use std::hint::black_box;

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use namegate::wire::query::{Query, Question};
use testbed::{Arrivals, QUERIES, Testbed};

/// Instructions per query as they were last counted. To renew one, after a change that makes it less or is worth its
/// price, take the number that `.ci/instructions` shows and cut off its last two digits: it is that of 100 queries.
mod counted {
    /// Reading a request.
    pub(super) const PARSE: usize = 499;
    /// The whole reply to a name that is not allowed, whatever the number of rules.
    pub(super) const BLOCKED: usize = 1995;
    /// The whole reply from the cache.
    pub(super) const CACHED: usize = 2919;
    /// Handing on what is not in the cache.
    pub(super) const MISSED: usize = 3159;
    /// Reading an answer and keeping it.
    pub(super) const STORE: usize = 1955;
}

/// What a count may be above the last one, in percent: a compiler's whims are less, a lost optimisation more.
const TOLERANCE: usize = 8;

fn limit(counted: usize) -> LibraryBenchmarkConfig {
    let instructions = (counted * QUERIES * (100 + TOLERANCE) / 100) as u64;
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::with_args(["--cache-sim=no"]).hard_limits([(EventKind::Ir, instructions)]));
    config
}

#[library_benchmark(setup = testbed::allowed_requests, config = limit(counted::PARSE))]
fn parse(requests: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut question = Question::empty();
    for request in &requests {
        black_box(Query::parse(black_box(request), &mut question).is_ok());
    }
    requests
}

// What is built by `setup` was used once there, so that nothing is counted that happens only once; and it is given
// back, so that taking it down is not counted.
#[library_benchmark]
#[bench::blocked_20_rules(args = (20), setup = Testbed::blocked, config = limit(counted::BLOCKED))]
#[bench::blocked_20_groups(args = (20), setup = Testbed::blocked_of_groups, config = limit(counted::BLOCKED))]
#[bench::blocked_10_000_rules(args = (10_000), setup = Testbed::blocked, config = limit(counted::BLOCKED))]
#[bench::cached(setup = Testbed::cached, config = limit(counted::CACHED))]
#[bench::cached_20_groups(args = (20), setup = Testbed::cached_of_groups, config = limit(counted::CACHED))]
#[bench::missed(setup = Testbed::missed, config = limit(counted::MISSED))]
fn answer(mut testbed: Testbed) -> Testbed {
    for index in 0..QUERIES {
        drop(black_box(testbed.answer(black_box(index))));
    }
    testbed
}

fn arrivals() -> Arrivals {
    let arrivals = Testbed::missed().arrivals();
    (0..QUERIES).for_each(|index| arrivals.store(index));
    arrivals
}

#[library_benchmark(setup = arrivals, config = limit(counted::STORE))]
fn store(arrivals: Arrivals) -> Arrivals {
    for index in 0..QUERIES {
        arrivals.store(black_box(index));
    }
    arrivals
}

library_benchmark_group!(name = packet, benchmarks = [parse, answer, store]);
main!(library_benchmark_groups = packet);
