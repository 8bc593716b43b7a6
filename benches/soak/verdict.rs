//! [`Verdict`]: checks the results of a soak run against what must hold.

use std::fmt::Write as _;

use crate::disturbance::Disturbances;
use crate::sample::Sample;
use crate::site::{BROKEN, Site};
use crate::traffic::Traffic;
use crate::trend::{Trend, later_half};

/// Growth per minute, as a share of the value, that still counts as level: 3 % in half an hour, less than the random
/// variation of an allocator's pages.
const LEVEL: f64 = 0.001;

/// Log texts about an upstream at fault.
const FAULTS: [&str; 2] = ["is down:", "cannot query upstream"];

/// All findings of a run.
pub(crate) struct Verdict {
    findings: Vec<Finding>,
    /// Tables of traffic by kind.
    tables: String,
}

struct Finding {
    what: &'static str,
    found: String,
    is_good: bool,
}

impl Verdict {
    /// Checks a run that has ended and settled.
    pub(crate) fn new(
        samples: &[Sample],
        site: &Site,
        traffic: &Traffic,
        disturbances: &Disturbances<'_>,
        is_as_wanted: bool,
    ) -> Self {
        let mut findings = vec![
            level("memory (RSS), bytes", samples, |sample| sample.resident as f64),
            level("open descriptors", samples, |sample| sample.descriptors as f64),
            level("threads", samples, |sample| sample.threads as f64),
        ];
        findings.extend(counted(site, traffic, disturbances));
        findings.push(answered(traffic));
        findings.push(logged(site));
        let found = if is_as_wanted { "all" } else { "one failed; see standard error" }.to_owned();
        findings.push(Finding { what: "reloads, pages and grants work", found, is_good: is_as_wanted });
        let mut tables = String::from(
            "| traffic | sent | right | wrong | no reply | stray |\n|---|--:|--:|--:|--:|--:|\n",
        );
        for (kind, tally) in traffic.tallies() {
            let unanswered = tally.sent - tally.answered - tally.wrong;
            let _ = writeln!(
                tables,
                "| {kind} | {} | {} | {} | {unanswered} | {} |",
                tally.sent, tally.answered, tally.wrong, tally.stray
            );
        }
        tables.push('\n');
        for (what, count) in disturbances.happened() {
            let _ = writeln!(tables, "- {count} {what}");
        }
        Self { findings, tables }
    }

    /// True if every check passed.
    pub(crate) fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.is_good)
    }

    /// Renders tables.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("| requirement | found | |\n|---|---|---|\n");
        for Finding { what, found, is_good } in &self.findings {
            let _ =
                writeln!(text, "| {what} | {found} | {} |", if *is_good { "holds" } else { "**broken**" });
        }
        text + "\n" + &self.tables
    }
}

/// Checks that a value does not grow in the later half.
fn level(what: &'static str, samples: &[Sample], of: impl Fn(&Sample) -> f64) -> Finding {
    let points: Vec<(f64, f64)> =
        later_half(samples).iter().map(|sample| (sample.at.as_secs_f64() / 60.0, of(sample))).collect();
    if points.len() < 3 {
        return Finding { what, found: "run too short".to_owned(), is_good: false };
    }
    let trend @ Trend { mean, slope, margin } = Trend::through(&points);
    let found = format!("{slope:+.1} ± {margin:.1} a minute, {mean:.1} on average");
    Finding { what, found, is_good: trend.is_flat(LEVEL) }
}

/// Checks that the clients' counts and namegate's counters agree.
fn counted(site: &Site, traffic: &Traffic, disturbances: &Disturbances<'_>) -> Vec<Finding> {
    let metrics = site.gate().metrics();
    let sum = |name| metrics.sum(name, &[]) as u64;
    let (queries, responses, dropped) =
        (sum("namegate_queries_total"), sum("namegate_responses_total"), sum("namegate_dropped_total"));
    let (in_flight, unread) = (sum("namegate_queries_in_flight"), sum("namegate_udp_receive_drops_total"));
    let tallies = traffic.tallies().iter().map(|(_, tally)| tally);
    let sent = disturbances.asked() + tallies.clone().map(|tally| tally.sent).sum::<u64>();
    let replies =
        disturbances.asked() + tallies.map(|tally| tally.answered + tally.wrong + tally.stray).sum::<u64>();
    let missed = traffic.dropped();
    let equal = |what, left: String, right: String, is_good| Finding {
        what,
        found: format!("{left} = {right}"),
        is_good,
    };
    vec![
        equal(
            "queries = responses + dropped + in flight",
            queries.to_string(),
            format!("{responses} + {dropped} + {in_flight}"),
            queries == responses + dropped + in_flight,
        ),
        equal(
            "sent by clients = queries + lost by the kernel",
            sent.to_string(),
            format!("{queries} + {unread}"),
            sent == queries + unread,
        ),
        equal(
            "responses = received by clients + lost by the kernel",
            responses.to_string(),
            format!("{replies} + {missed}"),
            responses == replies + missed,
        ),
        Finding { what: "nothing in flight", found: in_flight.to_string(), is_good: in_flight == 0 },
    ]
}

/// Checks that every reply was correct and matched a query.
fn answered(traffic: &Traffic) -> Finding {
    let wrong: u64 = traffic.tallies().iter().map(|(_, tally)| tally.wrong + tally.stray).sum();
    let first = traffic
        .tallies()
        .iter()
        .find_map(|(kind, tally)| Some(format!(" ({kind}: {})", tally.complaint.as_ref()?)));
    let found = format!("{wrong}{}", first.unwrap_or_default());
    Finding { what: "no wrong answer", found, is_good: wrong == 0 }
}

/// Checks that the log warns only of faults that the test caused.
fn logged(site: &Site) -> Finding {
    let lines = site.gate().stderr.all();
    let is_wish = |line: &str| line.contains("wish-");
    let is_warning = |line: &&String| ["WARN", "ERROR", "panicked"].iter().any(|mark| line.contains(mark));
    let is_known = |line: &String| {
        line.contains(BROKEN) || is_wish(line) || FAULTS.iter().any(|fault| line.contains(fault))
    };
    let strange: Vec<&String> = lines.iter().filter(is_warning).filter(|line| !is_known(line)).collect();
    let first = strange.first().map(|line| format!(" ({line})"));
    let found = format!("{} of {} lines{}", strange.len(), lines.len(), first.unwrap_or_default());
    Finding { what: "no unexpected warnings", found, is_good: strange.is_empty() }
}
