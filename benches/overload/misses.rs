//! A flood of cache misses: allowed names that no upstream answers.

use std::io;
use std::time::Duration;

use crate::load::upstream::Conduct;
use crate::stand::{Rates, Stand};
use crate::{Arguments, Promise, mebibytes, median};

/// Limits that no flood can reach.
pub(crate) const LARGE_BUDGET: &str = "upstream.max_in_flight = 65535\nupstream.max_qps = 0";

/// Known names per second: a fifth of what a core answers.
const KNOWN: Rates = Rates { blocked: 20_000.0, cached: 20_000.0, misses: 0.0, ballast: 0.0 };
/// The same with a flood: about fifty times what the default budget lets through, about five times what a large one
/// does.
const FLOOD: Rates = Rates { misses: 50_000.0, ..KNOWN };

/// Share of the replies without a flood that must also come during one.
const LEAST_SHARE: f64 = 0.90;
/// Limit on the 99th percentile of latency, in milliseconds.
const MOST_MILLISECONDS: f64 = 5.0;
/// Limit on the time until a new name is answered once the upstream works again, in seconds.
const MOST_SECONDS: f64 = 2.0;
/// Duration after which a flood takes no more memory: after two seconds all three attempts of a query are in flight.
const UNTIL_FULL: Duration = Duration::from_secs(4);
/// Factor by which memory may grow after that.
const MOST_GROWTH: f64 = 1.10;
/// Timeout for recovery.
const PATIENCE: Duration = Duration::from_secs(15);

/// Measures alternately without a flood and during one.
pub(crate) fn measure(budget: &str, settings: &str, arguments: &Arguments) -> io::Result<Vec<Promise>> {
    println!("\n## A flood of cache misses, {budget}\n");
    println!(
        "| round | misses/s | known/s | answered | wrong | lost by the kernel | p50 ms | p99 ms | misses told of failure | \
         memory MiB | answered anew after s | others' share |\n|---|{}",
        "--:|".repeat(11)
    );
    let time = Duration::from_secs_f64(arguments.seconds);
    // A flood's cache entries are no leak: with a small cache it is full soon.
    let mut stand = Stand::start(&format!("cache.max_bytes = \"8MiB\"\n{settings}"))?;
    stand.upstream(Conduct::Silent);
    stand.measure(FLOOD, UNTIL_FULL)?;
    stand.upstream(Conduct::Sound);
    stand.recover(PATIENCE)?;
    let full = stand.resident()? as f64;
    let (mut shares, mut waits, mut recoveries, mut memories) = (vec![], vec![], vec![], vec![]);
    for round in 1..=arguments.rounds {
        let mut share_at_rest = f64::NAN;
        for rates in [KNOWN, FLOOD] {
            let is_flood = rates.misses > 0.0;
            if is_flood {
                stand.upstream(Conduct::Silent);
            }
            let mut stretch = stand.measure(rates, time)?;
            let [p50, p99] = stretch.known.quantiles([0.50, 0.99]).map(|microseconds| microseconds / 1e3);
            stand.upstream(Conduct::Sound);
            let recovery =
                if is_flood { stand.recover(PATIENCE)?.unwrap_or(PATIENCE).as_secs_f64() } else { 0.0 };
            println!(
                "| {round} | {:.0} | {:.0} | {:.1} % | {} | {:.0} | {p50:.2} | {p99:.2} | {} | {:.1} | {recovery:.2} | {:.0} % |",
                stretch.per_second(stretch.misses.sent),
                stretch.per_second(stretch.known.answered),
                stretch.share() * 100.0,
                stretch.known.wrong,
                stretch.kernel_drops,
                stretch.misses.wrong,
                mebibytes(stretch.resident),
                stretch.others * 100.0,
            );
            if is_flood {
                shares.push(stretch.share() / share_at_rest);
                waits.push(p99);
                recoveries.push(recovery);
                memories.push(stand.resident()? as f64);
            } else {
                share_at_rest = stretch.share();
            }
        }
    }
    let growth = median(memories) / full;
    Ok(vec![
        Promise::at_least(
            "known names answered in a flood, relative to without",
            LEAST_SHARE,
            median(shares),
        ),
        Promise::at_most("p99 of known names in a flood, ms", MOST_MILLISECONDS, median(waits)),
        Promise::at_most("time until a new name is answered afterwards, s", MOST_SECONDS, median(recoveries)),
        Promise::at_most("memory after a flood, relative to after the first", MOST_GROWTH, growth),
    ])
}
