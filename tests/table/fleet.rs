//! [`Fleet`]: the namegate processes that run a table's rows, one per rule set and size.

use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::judge::judge;
use super::row::{Reply, Row, Transport, read_question};
use super::{RuleSet, Table};
use crate::support::name::expand;
use crate::support::upstream::Received;
use crate::support::{Gate, Message, Query, ScriptedUpstream, TcpClient, UdpClient};

/// The processes of a table, each started when the first row needs it.
pub(crate) struct Fleet {
    name: &'static str,
    table: Table,
    stations: Mutex<Stations>,
    tally: Mutex<Tally>,
}

/// Stations by rule set and size.
type Stations = HashMap<(String, usize), Arc<Mutex<Station>>>;

/// A namegate process with its upstream. Rows run one at a time, so that every upstream query belongs to a row.
struct Station {
    running: Option<(ScriptedUpstream, Gate)>,
    seen: usize,
}

/// Number of rows run, and of upstream queries that must not happen.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    rows: usize,
    exchanges: usize,
    blocking: usize,
    leaked: usize,
    late: usize,
}

impl Tally {
    /// Upstream queries that no row expects.
    pub(crate) fn leaks(&self) -> usize {
        self.leaked + self.late
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, exchanges, blocking, leaked, late } = self;
        write!(
            f,
            "{rows} rows ran as {exchanges} exchanges; {blocking} exchanges must not reach the upstream "
        )?;
        write!(f, "and caused {leaked} upstream queries; {late} came after their row")
    }
}

impl Fleet {
    /// A fleet without processes.
    pub(crate) fn new(name: &'static str, table: Table) -> Self {
        Self { name, table, stations: Mutex::default(), tally: Mutex::default() }
    }

    /// The table's name.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The table.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// Runs the row with this index over one transport, against every size of its rule set.
    pub(crate) fn run(&self, index: usize, transport: Transport) -> Result<(), String> {
        let row = &self.table.rows[index];
        let set = self.table.sets.get(&row.set).ok_or_else(|| format!("no rule set `{}`", row.set))?;
        let own_size = set.allow.len() + set.deny.len();
        let sizes = if set.sizes.is_empty() { vec![own_size] } else { set.sizes.clone() };
        self.tally.lock().unwrap().rows += 1;
        for size in sizes {
            let station = self.station(&row.set, size);
            // A panicked row has already been reported; the process is still usable.
            let mut station = station.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let (received, verdict) = station.exchange(set, size, row, transport);
            let mut tally = self.tally.lock().unwrap();
            tally.exchanges += 1;
            if row.upstream.is_empty() {
                tally.blocking += 1;
                tally.leaked += received;
            }
            verdict.map_err(|failure| format!("with {size} rules: {failure}"))?;
        }
        Ok(())
    }

    /// Counts so far. Queries that reached an upstream after their row ended count as late.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = *self.tally.lock().unwrap();
        for station in self.stations.lock().unwrap().values() {
            let station = station.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if let Some((upstream, _)) = &station.running {
                tally.late += upstream.queries().len() - station.seen;
            }
        }
        tally
    }

    fn station(&self, set: &str, size: usize) -> Arc<Mutex<Station>> {
        let mut stations = self.stations.lock().unwrap();
        let station = stations.entry((set.to_owned(), size));
        Arc::clone(station.or_insert_with(|| Arc::new(Mutex::new(Station { running: None, seen: 0 }))))
    }
}

impl Station {
    /// Sends the row's query; returns the number of upstream queries, and whether the row holds.
    fn exchange(
        &mut self,
        set: &RuleSet,
        size: usize,
        row: &Row,
        transport: Transport,
    ) -> (usize, Result<(), String>) {
        let (upstream, gate) = self.running.get_or_insert_with(|| start(set, size));
        if let Some((name, script)) = row.script() {
            upstream.on(&name, script);
        }
        for earlier in &row.after {
            let question = read_question(earlier);
            gate.send(&Query { questions: vec![question], ..Query::new(".", "A") });
        }
        let before = upstream.queries().len();
        let query = row.query();
        let sent = row.bytes(&query);
        let reply = send(gate, row, &sent, transport);
        let received = upstream.queries().split_off(before);
        self.seen = before + received.len();
        let verdict = match (row.reply, reply) {
            (Reply::Silence, None) => Ok(()),
            (Reply::Silence, Some(reply)) => Err(format!("unexpected reply: {reply:?}")),
            (_, None) => Err("no reply".to_owned()),
            (_, Some(reply)) => judge(row, &query, &sent, &reply, transport),
        };
        let count = received.len();
        (count, verdict.and_then(|()| judge_upstream(row, &query, &received)))
    }
}

/// The reply; `None` if there is none.
fn send(gate: &Gate, row: &Row, bytes: &[u8], transport: Transport) -> Option<Message> {
    let source = IpAddr::from(row.from);
    let expects_silence = row.reply == Reply::Silence;
    match transport {
        Transport::Udp => {
            let client = UdpClient::from(source, gate.address());
            if expects_silence && client.is_ignored(bytes) {
                return None;
            }
            client.send(bytes);
            Some(Message::expect(&client.receive()))
        }
        Transport::Tcp => {
            let mut client = TcpClient::connect_from(source, gate.address());
            if expects_silence && client.is_ignored(bytes) {
                return None;
            }
            client.send(bytes);
            Some(Message::expect(&client.receive()))
        }
    }
}

fn judge_upstream(row: &Row, query: &Query, received: &[Received]) -> Result<(), String> {
    let asked: Vec<String> = received.iter().map(|query| query.message.asked()).collect();
    let wanted: Vec<String> = row.upstream.iter().map(|text| expand(text)).collect();
    if asked != wanted {
        return Err(format!("the upstream received {asked:?} instead of {wanted:?}"));
    }
    for received in received {
        crate::support::upstream::assert_own_query(received, query);
    }
    Ok(())
}

/// Starts namegate with a rule set filled up to `size`: half of the filler is in the file, around the rules under test.
fn start(set: &RuleSet, size: usize) -> (ScriptedUpstream, Gate) {
    let upstream = ScriptedUpstream::start();
    let settings = format!(
        "server.tcp_connections = 1000\npolicy.allow = {:?}\npolicy.deny = {:?}\n\
         policy.zones = [\"filler\"]\npolicy.zones_directory = \"{{dir}}/zones\"\ncache.max_bytes = \"{}MiB\"\n{}",
        set.allow,
        set.deny,
        u8::from(set.cache),
        set.settings
    );
    let filler = filler(size.saturating_sub(set.allow.len() + set.deny.len()));
    let own = set.files.iter().map(|(path, content)| (path.as_str(), content.as_str()));
    let files: Vec<(&str, &str)> = own.chain([("zones/filler.toml", filler.as_str())]).collect();
    let gate = Gate::with_files(&[upstream.address()], &settings, &files);
    (upstream, gate)
}

/// An allowlist of `count` rules that match no name in any table.
fn filler(count: usize) -> String {
    let mut text = "title = \"Filler\"\nsource = \"generated\"\nrevised = 2026-01-01\n".to_owned();
    for number in 0..count {
        let prefix = ["", "*.", "."][number % 3];
        let depth = "a.".repeat(number % 7);
        write!(
            text,
            "[[allow]]\nhost = \"{prefix}{depth}host-{number}.filler.example\"\npurpose = \"none\"\n"
        )
        .expect("text can be written");
    }
    text
}
