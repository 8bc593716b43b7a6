//! A flood of more packets than namegate can read.

use std::io;
use std::time::Duration;

use crate::stand::{Rates, Stand};
use crate::{Arguments, Promise, median};

/// Rate in queries per second at which the search for the maximum starts, and the factor per step.
const FIRST: f64 = 60_000.0;
const STEP: f64 = 1.25;
const LAST: f64 = 500_000.0;
/// The part of these queries whose replies are read.
const HEARD: Rates = Rates { blocked: 5_000.0, cached: 5_000.0, misses: 0.0, ballast: 0.0 };
/// Duration of each step.
const STEP_TIME: Duration = Duration::from_millis(700);
/// Rates offered afterwards, as multiples of the maximum.
const OFFERS: [f64; 3] = [1.0, 1.5, 2.0];
/// Share of the maximum that must still be answered at every offered rate.
const LEAST_SHARE: f64 = 0.90;

/// Finds the maximum answered rate, and offers more.
pub(crate) fn measure(arguments: &Arguments) -> io::Result<Vec<Promise>> {
    println!("\n## More packets than namegate can read\n");
    println!(
        "| | offered/s | answered/s | of replies read | wrong | lost by the kernel/s | p50 ms | p99 ms | others' share |\n|---|{}",
        "--:|".repeat(8)
    );
    let mut stand = Stand::start("")?;
    let mut most: f64 = 0.0;
    let steps = std::iter::successors(Some(FIRST), |rate| Some(rate * STEP));
    for rate in steps.take_while(|rate| *rate < LAST) {
        most = most.max(offer(&mut stand, "step", rate, STEP_TIME)?);
    }
    let time = Duration::from_secs_f64(arguments.seconds);
    let mut worst: f64 = f64::INFINITY;
    for share in OFFERS {
        let title = format!("{share:.1} ×");
        let rounds = (0..arguments.rounds).map(|_| offer(&mut stand, &title, most * share, time));
        worst = worst.min(median(rounds.collect::<io::Result<_>>()?));
    }
    Ok(vec![Promise::at_least("answered at higher load, relative to the maximum", LEAST_SHARE, worst / most)])
}

fn offer(stand: &mut Stand, title: &str, rate: f64, time: Duration) -> io::Result<f64> {
    let rates = Rates { ballast: rate - HEARD.blocked - HEARD.cached, ..HEARD };
    let mut stretch = stand.measure(rates, time)?;
    let [p50, p99] = stretch.known.quantiles([0.50, 0.99]).map(|microseconds| microseconds / 1e3);
    println!(
        "| {title} | {:.0} | {:.0} | {:.0} % | {} | {:.0} | {p50:.2} | {p99:.2} | {:.0} % |",
        stretch.per_second(stretch.sent),
        stretch.goodput,
        stretch.share() * 100.0,
        stretch.known.wrong,
        stretch.per_second(stretch.kernel_drops as u64),
        stretch.others * 100.0,
    );
    Ok(stretch.goodput)
}
