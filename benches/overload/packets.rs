//! More packets than the gate can read.

use std::io;
use std::time::Duration;

use crate::stand::{Rates, Stand};
use crate::{Arguments, Promise, median};

/// Queries a second that the search for the most begins with, and by how much each step asks for more.
const FIRST: f64 = 60_000.0;
const STEP: f64 = 1.25;
const LAST: f64 = 500_000.0;
/// Of all that, the queries whose replies are taken in.
const HEARD: Rates = Rates { blocked: 5_000.0, cached: 5_000.0, misses: 0.0, ballast: 0.0 };
/// How long each step takes.
const STEP_TIME: Duration = Duration::from_millis(700);
/// What is then offered, of the most that was answered.
const OFFERS: [f64; 3] = [1.0, 1.5, 2.0];
/// How much of the most must still be answered, whatever is offered.
const LEAST_SHARE: f64 = 0.90;

/// Finds the most that is answered, and offers more.
pub(crate) fn measure(arguments: &Arguments) -> io::Result<Vec<Promise>> {
    println!("\n## More packets than can be read\n");
    println!(
        "| | offered/s | answered/s | of what is listened for | wrong | lost by the kernel/s | p50 ms | p99 ms | others' share |\n|---|{}",
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
    Ok(vec![Promise::at_least("answered when more is offered, of the most", LEAST_SHARE, worst / most)])
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
