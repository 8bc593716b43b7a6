//! [`ProofReport`]: dated counts of probes and results for one policy.

use std::fmt;

use serde::Serialize;

use super::ask::Transport;

/// The report of `namegate prove`.
#[derive(Clone, Debug, Serialize)]
pub struct ProofReport {
    /// True if every probe passed.
    pub proven: bool,
    /// When the first query was sent (RFC 3339, UTC).
    pub started: String,
    /// When the last reply arrived (RFC 3339, UTC).
    pub ended: String,
    /// The version of `namegate prove`.
    pub version: String,
    /// The tested resolver.
    pub gate: TestedResolver,
    /// The settings with the names to test.
    pub settings: String,
    /// Queries sent.
    pub asked: usize,
    /// Counts by kind of query.
    pub rows: Vec<ProofRow>,
    /// Every failed probe.
    pub failures: Vec<ProofFailure>,
    /// Further remarks for the reader.
    pub notes: Vec<String>,
}

/// The tested resolver, as its admin listener described it before and after the test.
#[derive(Clone, Debug, Serialize)]
pub struct TestedResolver {
    /// Addresses queried over UDP and TCP.
    pub servers: Vec<String>,
    /// Its version.
    pub version: String,
    /// Hash of its policy.
    pub policy: String,
    /// `enforce` or `observe`.
    pub mode: String,
    /// Number of rules in its policy.
    pub rules: usize,
}

/// Queries of one kind for one subject.
#[derive(Clone, Debug, Serialize)]
pub struct ProofRow {
    /// A canary's name, or a description of several names.
    pub subject: String,
    /// `resolve` or `not_resolve`.
    pub expect: &'static str,
    /// The kind of query.
    pub aspect: &'static str,
    /// Counts over UDP.
    pub udp: ProofCount,
    /// Counts over TCP.
    pub tcp: ProofCount,
}

/// Numbers of queries and of expected replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProofCount {
    /// Replies as expected.
    pub proven: usize,
    /// Queries sent.
    pub asked: usize,
}

/// A query without the expected reply.
#[derive(Clone, Debug, Serialize)]
pub struct ProofFailure {
    /// `resolve` or `not_resolve`.
    pub expect: &'static str,
    /// The query as text.
    pub what: String,
    /// The server queried.
    pub server: String,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// The query's bytes in hexadecimal, with an id of 0.
    pub query: String,
    /// The reply, or why there is none.
    pub found: String,
}

impl ProofReport {
    /// The count of one kind of query.
    pub(super) fn count(
        &mut self,
        subject: &str,
        expect: &'static str,
        aspect: &'static str,
        transport: Transport,
    ) -> &mut ProofCount {
        let is_row = |row: &ProofRow| row.subject == subject && row.expect == expect && row.aspect == aspect;
        let at = self.rows.iter().position(is_row).unwrap_or_else(|| {
            let subject = subject.to_owned();
            self.rows.push(ProofRow {
                subject,
                expect,
                aspect,
                udp: ProofCount::default(),
                tcp: ProofCount::default(),
            });
            self.rows.len() - 1
        });
        match transport {
            Transport::Udp => &mut self.rows[at].udp,
            Transport::Tcp => &mut self.rows[at].tcp,
        }
    }

    /// Sets the totals when all rows are complete.
    pub fn conclude(&mut self) {
        self.asked = self.rows.iter().map(|row| row.udp.asked + row.tcp.asked).sum();
        self.proven = self.failures.is_empty() && self.asked > 0;
    }
}

/// The report as text.
impl fmt::Display for ProofReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TestedResolver { servers, version, policy, mode, rules } = &self.gate;
        writeln!(f, "namegate prove: {}", if self.proven { "PASSED" } else { "FAILED" })?;
        writeln!(f, "  resolver  {} (udp, tcp), namegate {version}", servers.join(", "))?;
        writeln!(f, "  policy    {policy}, {rules} rules, mode {mode}")?;
        writeln!(f, "  settings  {}", self.settings)?;
        writeln!(f, "  started   {}", self.started)?;
        writeln!(f, "  ended     {}", self.ended)?;
        for (expect, title) in [("resolve", "must resolve"), ("not_resolve", "must not resolve")] {
            let rows: Vec<&ProofRow> = self.rows.iter().filter(|row| row.expect == expect).collect();
            if rows.is_empty() {
                continue;
            }
            let width = rows.iter().map(|row| row.subject.len()).max().unwrap_or(0).max(26);
            writeln!(f, "\n{title:<width$}   {:<20} {:>11} {:>11}", "(passed/sent)", "udp", "tcp")?;
            let mut subject = "";
            for row in rows {
                let shown = if row.subject == subject { "" } else { row.subject.as_str() };
                subject = &row.subject;
                let (udp, tcp) = (row.udp.to_string(), row.tcp.to_string());
                writeln!(f, "  {shown:<width$} {:<20} {udp:>11} {tcp:>11}", row.aspect)?;
            }
        }
        writeln!(f, "\n{} queries, {} failures", self.asked, self.failures.len())?;
        for failure in &self.failures {
            let ProofFailure { what, server, transport, query, found, .. } = failure;
            writeln!(f, "  {what} at {server} over {transport}: {found}\n    query {query}")?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

impl fmt::Display for ProofCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.proven, self.asked)
    }
}
