//! [`Report`]: all measurements of a run, as tables for people and as JSON.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::contender::Kind;
use crate::machine::Machine;
use crate::reloads::{Reloads, Waits};
use crate::scenario::{Measurement, Scenario};

/// Share of lost or wrong replies above which a row's figures are worthless.
const TOLERATED: f64 = 0.001;

/// Share of CPU time lost to other programs above which a row's figures are doubtful.
const DISTURBED: f64 = 0.03;

/// All measurements of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) rounds: usize,
    /// How long each measurement took, in seconds.
    pub(crate) seconds: f64,
    /// Outstanding queries on each UDP socket.
    pub(crate) outstanding: usize,
    pub(crate) rows: Vec<Row>,
}

/// One server in one scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: Scenario,
    pub(crate) server: &'static str,
    #[serde(skip)]
    pub(crate) kind: Kind,
    /// One measurement per round; `None` where the server did not run.
    pub(crate) rounds: Vec<Option<Measurement>>,
}

impl Row {
    fn median(&self, figure: impl Fn(&Measurement) -> f64) -> f64 {
        median(self.rounds.iter().flatten().map(figure))
    }

    /// The figure the scenario is about, in microseconds.
    fn headline(&self) -> f64 {
        self.median(|measurement| headline(self.scenario, measurement))
    }

    /// The median of the per-round ratios to another row.
    fn ratio(&self, other: Option<&Self>) -> f64 {
        let pairs = self.rounds.iter().zip(other.map_or(&[][..], |other| &other.rounds));
        median(pairs.filter_map(|(ours, theirs)| {
            Some(headline(self.scenario, ours.as_ref()?) / headline(self.scenario, theirs.as_ref()?))
        }))
    }

    fn sum(&self, count: impl Fn(&Measurement) -> u64) -> u64 {
        self.rounds.iter().flatten().map(count).sum()
    }

    fn is_sound(&self) -> bool {
        let failed = self.sum(|measurement| measurement.wrong + measurement.lost);
        failed as f64 <= self.sum(|measurement| measurement.answered) as f64 * TOLERATED
    }
}

impl Report {
    /// The tables.
    pub(crate) fn markdown(&self) -> String {
        let mut text = self.head();
        text.push_str(&self.summary());
        for scenario in self.scenarios() {
            text.push_str(&match scenario {
                Scenario::Reload => self.reloads(),
                _ => self.table(scenario),
            });
        }
        text
    }

    /// Writes both forms as `DATE.md` and `DATE.json`.
    pub(crate) fn store(&self, directory: &Path) -> io::Result<PathBuf> {
        fs::create_dir_all(directory)?;
        let path = directory.join(&self.machine.date);
        fs::write(path.with_extension("json"), serde_json::to_string_pretty(self)? + "\n")?;
        fs::write(path.with_extension("md"), self.markdown())?;
        Ok(path.with_extension("md"))
    }

    fn scenarios(&self) -> Vec<Scenario> {
        let mut scenarios: Vec<Scenario> = self.rows.iter().map(|row| row.scenario).collect();
        scenarios.dedup();
        scenarios
    }

    fn rows_of(&self, scenario: Scenario) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.scenario == scenario)
    }

    fn floor(&self, scenario: Scenario) -> Option<&Row> {
        self.rows_of(scenario).find(|row| row.kind == Kind::Floor)
    }

    /// The peer with the lowest figure among those that answered nearly everything.
    fn best_peer(&self, scenario: Scenario) -> Option<&Row> {
        self.rows_of(scenario)
            .filter(|row| matches!(row.kind, Kind::Peer(_)) && row.is_sound() && row.headline().is_finite())
            .min_by(|one, other| one.headline().total_cmp(&other.headline()))
    }

    fn head(&self) -> String {
        let Machine { date, cores, processor, kernel, mitigations, commit, versions } = &self.machine;
        let versions: Vec<String> =
            versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let mitigations =
            if mitigations.is_empty() { "none needed".to_owned() } else { mitigations.join("; ") };
        format!(
            "# Namegate and its peers, {date}\n\n\
             {cores} cores ({processor}), {kernel}. CPU vulnerabilities and mitigations: {mitigations}.\n\
             Namegate {commit}; {}.\n\n\
             The server runs on core 0, sender and upstream on core 1, over loopback. {} alternating rounds of {} s each;\n\
             figures are medians over the rounds, ratios are taken within a round. The floor answers NXDOMAIN without\n\
             reading the query: it measures the kernel's cost. CPU is the server process's user and kernel time per\n\
             answered query. **!** marks a row with more than one query in a thousand lost or answered wrongly.\n\
             {}\n\n",
            versions.join(", "),
            self.rounds,
            self.seconds,
            self.disturbance(),
        )
    }

    /// How much other programs disturbed the run: the floor has one thread and its own core, so any waiting comes from
    /// them.
    fn disturbance(&self) -> String {
        let floors =
            self.rows.iter().filter(|row| row.kind == Kind::Floor && row.scenario != Scenario::Workers);
        if floors.clone().next().is_none() {
            return String::new();
        }
        let share = median(floors.map(|row| row.median(|measurement| measurement.waiting)));
        let warning = if share > DISTURBED { "**Other programs were running: measure again.** " } else { "" };
        format!("{warning}The floor waited for its core {:.1} % of the time.", share * 100.0)
    }

    fn summary(&self) -> String {
        let mut scenarios = self.scenarios();
        scenarios.retain(|scenario| *scenario != Scenario::Reload);
        if scenarios.is_empty() {
            return String::new();
        }
        let mut servers: Vec<&str> = Vec::new();
        for row in self.rows.iter().filter(|row| scenarios.contains(&row.scenario)) {
            if !servers.contains(&row.server) {
                servers.push(row.server);
            }
        }
        let titles: Vec<String> = scenarios.iter().map(|scenario| scenario.name()).collect();
        let mut text =
            String::from("CPU µs per query, or latency in µs (latency-…); in parentheses × floor:\n\n");
        let _ = writeln!(text, "| server | {} |\n|---|{}", titles.join(" | "), "--:|".repeat(titles.len()));
        for server in servers {
            let cells = scenarios.iter().map(|scenario| {
                let row = self.rows_of(*scenario).find(|row| row.server == server);
                row.filter(|row| row.headline().is_finite()).map_or_else(
                    || "–".to_owned(),
                    |row| {
                        let mark = if row.is_sound() { "" } else { " **!**" };
                        format!(
                            "{} ({}){mark}",
                            figure(row.headline()),
                            figure(row.ratio(self.floor(*scenario)))
                        )
                    },
                )
            });
            let _ = writeln!(text, "| {server} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
        text
    }

    fn table(&self, scenario: Scenario) -> String {
        let (floor, best) = (self.floor(scenario), self.best_peer(scenario));
        let start = if scenario == Scenario::Million { " start to first answer s (on CPU) |" } else { "" };
        let unit = if scenario.is_latency() { "p50" } else { "CPU" };
        let mut text = format!(
            "\n## {}\n{}\n\n\
             | server | CPU µs/query | {unit} × floor | {unit} × best peer | queries/s | on CPU (waiting) | p50 µs | p99 µs | \
             memory MiB (peak) | wrong | lost |{start}\n|---|{}\n",
            scenario.name(),
            scenario.description(),
            "--:|".repeat(10 + usize::from(!start.is_empty())),
        );
        for row in self.rows_of(scenario) {
            let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let _ = write!(
                text,
                "| {}{} | {} | {} | {} | {:.0} | {:.0} % ({:.0} %) | {} | {} | {:.0} ({:.0}) | {} | {} |",
                row.server,
                if row.is_sound() { "" } else { " **!**" },
                figure(row.median(|measurement| measurement.cpu_microseconds)),
                figure(row.ratio(floor)),
                figure(row.ratio(best)),
                row.median(|measurement| measurement.queries_per_second),
                row.median(|measurement| measurement.busy) * 100.0,
                row.median(|measurement| measurement.waiting) * 100.0,
                figure(row.median(|measurement| measurement.p50_microseconds)),
                figure(row.median(|measurement| measurement.p99_microseconds)),
                row.median(|measurement| mebibytes(measurement.resident_bytes)),
                row.median(|measurement| mebibytes(measurement.peak_bytes)),
                row.sum(|measurement| measurement.wrong),
                row.sum(|measurement| measurement.lost),
            );
            if !start.is_empty() {
                let _ = write!(
                    text,
                    " {:.2} ({:.2}) |",
                    row.median(|measurement| measurement.start_seconds),
                    row.median(|measurement| measurement.start_cpu_seconds),
                );
            }
            text.push('\n');
        }
        text
    }

    /// Client latency at rest and during reloads.
    fn reloads(&self) -> String {
        let mut text = format!(
            "\n## {}\n{}\n\n\
             | server | queries/s | p50 µs | p99 µs | p99.9 µs | longest µs | wrong | lost |\n|---|{}\n",
            Scenario::Reload.name(),
            Scenario::Reload.description(),
            "--:|".repeat(7),
        );
        type Part = fn(&Reloads) -> &Waits;
        let parts: [(&str, Part); 2] =
            [("at rest", |reloads| &reloads.quiet), ("reloading", |reloads| &reloads.reloading)];
        for row in self.rows_of(Scenario::Reload) {
            let rounds = row.rounds.iter().flatten().filter_map(|round| round.reloads.as_ref());
            for (part, waits) in parts {
                let waits = rounds.clone().map(waits);
                let middle = |time: fn(&Waits) -> f64| figure(median(waits.clone().map(time)));
                let sum = |count: fn(&Waits) -> u64| waits.clone().map(count).sum::<u64>();
                let _ = writeln!(
                    text,
                    "| {} {part} | {} | {} | {} | {} | {} | {} | {} |",
                    row.server,
                    middle(|waits| waits.queries_per_second),
                    middle(|waits| waits.p50_microseconds),
                    middle(|waits| waits.p99_microseconds),
                    middle(|waits| waits.p999_microseconds),
                    middle(|waits| waits.max_microseconds),
                    sum(|waits| waits.wrong),
                    sum(|waits| waits.lost),
                );
            }
            let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let _ = writeln!(
                text,
                "\nReloads add {:.2} ms to p99; the longest took {:.1} s. Memory: {:.0} MiB, {:.0} at its peak.",
                median(rounds.clone().map(Reloads::added_milliseconds)),
                median(rounds.map(|reloads| reloads.longest_seconds)),
                row.median(|measurement| mebibytes(measurement.resident_bytes)),
                row.median(|measurement| mebibytes(measurement.peak_bytes)),
            );
        }
        text
    }
}

fn headline(scenario: Scenario, measurement: &Measurement) -> f64 {
    if scenario.is_latency() { measurement.p50_microseconds } else { measurement.cpu_microseconds }
}

/// A number with about three digits.
fn figure(number: f64) -> String {
    match number {
        number if !number.is_finite() => "–".to_owned(),
        number if number < 10.0 => format!("{number:.2}"),
        number if number < 100.0 => format!("{number:.1}"),
        number => format!("{number:.0}"),
    }
}

/// The median; NaN for an empty list.
fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => numbers[length / 2],
        length => f64::midpoint(numbers[length / 2 - 1], numbers[length / 2]),
    }
}
