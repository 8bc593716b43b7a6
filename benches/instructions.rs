//! Counts instructions of the packet path with callgrind and fails above a limit.
//!
//! Run `.ci/instructions`, which installs valgrind and gungraun-runner. Counts hardly differ between x86-64 machines or
//! under load; for times, run `cargo bench --bench packet`.

#![allow(clippy::unwrap_used)]
// Lints that gungraun's macros trigger.
#![allow(missing_docs, unused_qualifications, clippy::disallowed_methods)]

mod testbed;

use std::hint::black_box;

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use namegate::wire::query::{Query, Question};
use testbed::{Arrivals, QUERIES, Testbed};

/// Instructions per query at the last count. To update one, after a change that lowers it or is worth its cost, take
/// the number that `.ci/instructions` shows and drop its last two digits: it counts 100 queries.
mod counted {
    /// Parsing a request.
    pub(super) const PARSE: usize = 444;
    /// The complete reply for a blocked name, for any number of rules.
    pub(super) const BLOCKED: usize = 1995;
    /// The complete reply from the cache.
    pub(super) const CACHED: usize = 2919;
    /// Passing on a cache miss.
    pub(super) const MISSED: usize = 3392;
    /// Parsing an answer and caching it.
    pub(super) const STORE: usize = 1952;
}

/// Tolerated increase over the last count, in percent: more than compiler noise, less than a lost optimisation.
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

// `setup` runs each object once, so that one-time costs are not counted. The object is returned, so that dropping it is
// not counted.
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
