//! [`ProofReport`]: what was asked and what came back, counted, dated, and tied to one policy.

use std::fmt;

use serde::Serialize;

use super::ask::Transport;

/// What `namegate prove` found.
#[derive(Clone, Debug, Serialize)]
pub struct ProofReport {
    /// Everything was as it must be.
    pub proven: bool,
    /// When the first query was sent (RFC 3339, UTC).
    pub started: String,
    /// When the last reply had come (RFC 3339, UTC).
    pub ended: String,
    /// The version that asked.
    pub version: String,
    /// The gate that was asked.
    pub gate: TestedResolver,
    /// The settings that named what to ask.
    pub settings: String,
    /// Queries sent.
    pub asked: usize,
    /// Queries by what they were, with how many replies were as they must be.
    pub rows: Vec<ProofRow>,
    /// Every reply that was not.
    pub failures: Vec<ProofFailure>,
    /// What a reader has to know besides.
    pub notes: Vec<String>,
}

/// The gate that was asked, as its admin listener described it before and after.
#[derive(Clone, Debug, Serialize)]
pub struct TestedResolver {
    /// Addresses asked, over UDP and TCP.
    pub servers: Vec<String>,
    /// Its version.
    pub version: String,
    /// Hash of the policy in force.
    pub policy: String,
    /// `enforce` or `observe`.
    pub mode: String,
    /// Rules in force.
    pub rules: usize,
}

/// Queries of one kind for one subject.
#[derive(Clone, Debug, Serialize)]
pub struct ProofRow {
    /// A canary's name, or what its names have in common.
    pub subject: String,
    /// `resolve` or `not_resolve`.
    pub expect: &'static str,
    /// The kind of query.
    pub aspect: &'static str,
    /// Over UDP.
    pub udp: ProofCount,
    /// Over TCP.
    pub tcp: ProofCount,
}

/// How many queries were sent, and how many of the replies were as they must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProofCount {
    /// Replies as they must be.
    pub proven: usize,
    /// Queries.
    pub asked: usize,
}

/// A query whose reply was not as it must be.
#[derive(Clone, Debug, Serialize)]
pub struct ProofFailure {
    /// `resolve` or `not_resolve`.
    pub expect: &'static str,
    /// The query for people.
    pub what: String,
    /// Whom it was sent to.
    pub server: String,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// The query's bytes in hexadecimal, with an id of 0.
    pub query: String,
    /// What came back.
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

    /// Sets what follows from the rows, once all are there.
    pub fn conclude(&mut self) {
        self.asked = self.rows.iter().map(|row| row.udp.asked + row.tcp.asked).sum();
        self.proven = self.failures.is_empty() && self.asked > 0;
    }
}

/// For people.
impl fmt::Display for ProofReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TestedResolver { servers, version, policy, mode, rules } = &self.gate;
        writeln!(f, "namegate prove: {}", if self.proven { "PROVEN" } else { "NOT PROVEN" })?;
        writeln!(f, "  gate      {} (udp, tcp), namegate {version}", servers.join(", "))?;
        writeln!(f, "  policy    {policy}, {rules} rules, mode {mode}")?;
        writeln!(f, "  settings  {}", self.settings)?;
        writeln!(f, "  started   {}", self.started)?;
        writeln!(f, "  ended     {}", self.ended)?;
        for (expect, title) in [("resolve", "must resolve"), ("not_resolve", "must not resolve")] {
            let rows: Vec<&ProofRow> = self.rows.iter().filter(|row| row.expect == expect).collect();
            if rows.is_empty() {
                continue;
            }
            writeln!(f, "\n{title:<28} {:<20} {:>11} {:>11}", "", "udp", "tcp")?;
            let mut subject = "";
            for row in rows {
                let shown = if row.subject == subject { "" } else { row.subject.as_str() };
                subject = &row.subject;
                let (udp, tcp) = (row.udp.to_string(), row.tcp.to_string());
                writeln!(f, "  {shown:<26} {:<20} {udp:>11} {tcp:>11}", row.aspect)?;
            }
        }
        writeln!(f, "\n{} queries, {} not as they must be", self.asked, self.failures.len())?;
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
