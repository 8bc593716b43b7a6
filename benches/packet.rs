//! Benchmarks the packet path without sockets: from request bytes to reply bytes, and from an upstream answer into the
//! cache.
//!
//! Run `cargo bench --bench packet`.

#![allow(clippy::unwrap_used)]

mod testbed;

use std::hint::black_box;

use divan::Bencher;
use namegate::wire::query::{Query, Question};
use testbed::{QUERIES, Testbed};

fn main() {
    divan::main();
}

/// The indices of all queries, over and over.
fn in_turn() -> impl FnMut() -> usize {
    let mut next = 0;
    move || {
        next = (next + 1) % QUERIES;
        next
    }
}

fn answer(bencher: Bencher<'_, '_>, mut testbed: Testbed) {
    let mut next = in_turn();
    bencher.bench_local(|| testbed.answer(black_box(next())));
}

#[divan::bench(sample_size = 1024, sample_count = 1000)]
fn parse(bencher: Bencher<'_, '_>) {
    let requests = testbed::allowed_requests();
    let mut question = Question::empty();
    let mut next = in_turn();
    bencher.bench_local(|| Query::parse(black_box(&requests[next()]), &mut question).is_ok());
}

#[divan::bench(args = [20, 10_000, 1_000_000], sample_size = 1024, sample_count = 1000)]
fn blocked(bencher: Bencher<'_, '_>, rules: usize) {
    answer(bencher, Testbed::blocked(rules));
}

#[divan::bench(sample_size = 1024, sample_count = 1000)]
fn cached(bencher: Bencher<'_, '_>) {
    answer(bencher, Testbed::cached());
}

/// The cost of client groups: none, and twenty.
#[divan::bench(args = [0, 20], sample_size = 1024, sample_count = 1000)]
fn blocked_of_groups(bencher: Bencher<'_, '_>, groups: usize) {
    answer(bencher, Testbed::blocked_of_groups(groups));
}

/// The same for cached answers.
#[divan::bench(args = [0, 20], sample_size = 1024, sample_count = 1000)]
fn cached_of_groups(bencher: Bencher<'_, '_>, groups: usize) {
    answer(bencher, Testbed::cached_of_groups(groups));
}

#[divan::bench(sample_size = 1024, sample_count = 1000)]
fn missed(bencher: Bencher<'_, '_>) {
    answer(bencher, Testbed::missed());
}

#[divan::bench(sample_size = 1024, sample_count = 1000)]
fn store(bencher: Bencher<'_, '_>) {
    let arrivals = Testbed::missed().arrivals();
    let mut next = in_turn();
    bencher.bench_local(|| arrivals.store(black_box(next())));
}
