//! Benchmarks the policy decision alone: parsing and compiling rules, and finding the rule that covers a name.
//!
//! Run `cargo bench --bench trie`. The first lines of output are measured once, in a process that holds nothing else.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use divan::Bencher;
use divan::counter::ItemsCount;
use namegate::policy::rule::{Action, Pattern, Scope};
use namegate::policy::trie::{Trie, TrieBuilder, TrieRule};
use namegate::wire::name::Name;

/// Names looked up in turn, as a network queries the same names again and again.
const NAMES: u64 = 1 << 10;
/// More names than fit the processor's inner caches, as in a flood of random names.
const MANY_NAMES: u64 = 1 << 16;

fn main() {
    report(1_000_000);
    divan::main();
}

/// Load time and memory of one large policy.
fn report(rules: u64) {
    let patterns: Vec<Pattern> = (0..rules).map(pattern).collect();
    let before = resident_bytes();
    let start = Instant::now();
    let trie = compile(&patterns);
    let elapsed = start.elapsed();
    let grown = resident_bytes().saturating_sub(before);
    println!(
        "{} rules: compiled in {elapsed:.2?}, {:.1} MiB on the heap, resident memory grew by {:.1} MiB",
        trie.rules(),
        trie.heap_size() as f64 / f64::from(1 << 20),
        grown as f64 / f64::from(1 << 20),
    );
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}

fn compile(patterns: &[Pattern]) -> Trie {
    let mut builder = TrieBuilder::new();
    for pattern in patterns {
        builder.insert(TrieRule { line: 1, ..TrieRule::new(Action::Allow, pattern) });
    }
    builder.build()
}

/// The `index`th rule: one to three random labels under a public suffix, as in real lists.
fn pattern(index: u64) -> Pattern {
    let scope = [Scope::Exact, Scope::Below, Scope::Subtree][(index % 3) as usize];
    Pattern::new(scope, name(index, 1 + index % 3))
}

fn name(index: u64, labels: u64) -> Name {
    let top = ["com", "net", "org", "io", "co.uk", "ms"][(mix(index) % 6) as usize];
    let random: Vec<String> =
        (0..labels).map(|label| format!("{:x}", mix(index ^ (label << 40)) >> 32)).collect();
    let labels = random.iter().map(String::as_str).chain(top.split('.'));
    Name::from_labels(labels.map(str::as_bytes)).unwrap()
}

/// SplitMix64: the same rules in every run.
fn mix(index: u64) -> u64 {
    let mixed = index.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

fn find(bencher: Bencher<'_, '_>, rules: u64, names: &[Name]) {
    let trie = compile(&(0..rules).map(pattern).collect::<Vec<_>>());
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 1) & (names.len() - 1);
        trie.find(black_box(&names[next]))
    });
}

/// A four-label name that a rule covers: one label below the rule's name.
fn covered(index: u64, rules: u64) -> Name {
    let rule = pattern(mix(index) % (rules / 3) * 3 + 1);
    let labels = [&b"eastus"[..]].into_iter().chain(rule.name().labels());
    Name::from_labels(labels).unwrap()
}

/// A four-label name that no rule covers, under a suffix that many rules share.
fn uncovered(index: u64) -> Name {
    name(index + (1 << 50), 3)
}

#[divan::bench(args = [20, 10_000, 1_000_000], sample_size = 1024, sample_count = 1000)]
fn find_allowed(bencher: Bencher<'_, '_>, rules: u64) {
    find(bencher, rules, &(0..NAMES).map(|index| covered(index, rules)).collect::<Vec<_>>());
}

#[divan::bench(args = [20, 10_000, 1_000_000], sample_size = 1024, sample_count = 1000)]
fn find_blocked(bencher: Bencher<'_, '_>, rules: u64) {
    find(bencher, rules, &(0..NAMES).map(uncovered).collect::<Vec<_>>());
}

#[divan::bench(args = [20, 10_000, 1_000_000], sample_count = 10)]
fn compile_rules(bencher: Bencher<'_, '_>, rules: u64) {
    let patterns: Vec<Pattern> = (0..rules).map(pattern).collect();
    bencher.counter(ItemsCount::new(rules)).bench_local(|| compile(&patterns));
}

#[divan::bench(sample_size = 1024, sample_count = 1000)]
fn read_pattern(bencher: Bencher<'_, '_>) {
    let texts: Vec<String> = (0..NAMES).map(|index| pattern(index).to_string()).collect();
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 1) & (texts.len() - 1);
        Pattern::parse(black_box(&texts[next]))
    });
}

#[divan::bench(args = [20, 1_000_000], sample_size = 1024, sample_count = 1000)]
fn find_allowed_of_many_names(bencher: Bencher<'_, '_>, rules: u64) {
    find(bencher, rules, &(0..MANY_NAMES).map(|index| covered(index, rules)).collect::<Vec<_>>());
}

#[divan::bench(args = [20, 1_000_000], sample_size = 1024, sample_count = 1000)]
fn find_blocked_of_many_names(bencher: Bencher<'_, '_>, rules: u64) {
    find(bencher, rules, &(0..MANY_NAMES).map(uncovered).collect::<Vec<_>>());
}
