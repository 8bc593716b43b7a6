//! `OpenRows`: merges equal lookups into rows before they are written.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::ClientAddress;
use crate::events::event::QueryEvent;
use crate::events::outcome::{LookupClass, RuleKey};
use crate::observe::client::ShownClient;
use crate::policy::Policies;
use crate::policy::clients::GroupId;
use crate::util::label::Label;
use crate::wire::code::Type;
use crate::wire::name::Name;

/// Rows in memory, of about 200 bytes each.
const ROWS: usize = 1 << 16;

/// Further rows for the other lookups of clients that have used up their share.
const MORE_ROWS: usize = ROWS / 8;

/// Minutes of clients in [`OpenRows::sampled`].
const MARKS: usize = 1 << 14;

/// Kinds in memory.
const KINDS: usize = 1 << 14;

/// Equal lookups within this time are one row.
pub(super) const fn window(class: LookupClass) -> Duration {
    match class {
        // There are many, and failures matter to the minute.
        LookupClass::Allowed => Duration::from_secs(300),
        LookupClass::Blocked | LookupClass::Errors | LookupClass::Other => Duration::from_secs(60),
    }
}

/// The outcome of lookups, apart from client, name and type. What is unknown is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) class: LookupClass,
    pub(super) decision: String,
    pub(super) reason: String,
    pub(super) rule: String,
    pub(super) place: String,
    pub(super) rcode: String,
    pub(super) source: String,
    pub(super) upstream: String,
    pub(super) group: String,
}

/// A kind as the packet path describes it: cheap to compare.
#[derive(Clone, PartialEq, Eq, Hash)]
struct KindKey {
    decision: &'static str,
    reason: Option<&'static str>,
    rcode: &'static str,
    source: &'static str,
    rule: Option<RuleKey>,
    upstream: Option<Arc<str>>,
    group: Option<GroupId>,
}

/// What the lookups of a row have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct RowKey {
    pub(super) client: Option<ShownClient>,
    /// Name and type; none for the names of a client that has used up its share.
    pub(super) question: Option<(Box<[u8]>, Type)>,
    kind: u32,
}

/// Lookups that are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenRow {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) count: u64,
    /// Its id in the database, once it is written.
    pub(super) id: Option<i64>,
    /// It has lookups that are not written.
    pub(super) is_changed: bool,
}

/// The rows that may still get lookups.
///
/// The rows are divided by client: a client gets another one only while it holds no more than are free. Its further
/// names are counted in one row per kind.
#[derive(Default)]
pub(super) struct OpenRows {
    rows: HashMap<RowKey, OpenRow>,
    held: HashMap<Option<ShownClient>, usize>,
    kinds: Vec<Arc<Kind>>,
    known: HashMap<KindKey, u32>,
    /// Clients, or none for all, and minutes since 1970 in which not every lookup has its own name.
    sampled: HashSet<(Option<ShownClient>, i64)>,
}

impl OpenRows {
    /// Adds a lookup at `time`, in milliseconds since 1970. Returns how many lookups are lost.
    pub(super) fn add(
        &mut self,
        event: &QueryEvent,
        time: i64,
        shown: ClientAddress,
        policies: &Policies,
    ) -> u64 {
        let client = ShownClient::of(event.client.ip(), shown);
        let kind = self.kind(event, policies);
        let window = window(self.kinds[kind as usize].class).as_millis() as i64;
        if event.weight > 1 {
            self.note_sampled(None, time);
        }
        let question = Some((reversed(&event.question.name).into(), event.question.qtype));
        let mut key = RowKey { client, question, kind };
        if !self.rows.contains_key(&key) {
            let held = self.held.get(&client).copied().unwrap_or(0);
            if held > ROWS.saturating_sub(self.rows.len()) {
                self.note_sampled(client, time);
                key.question = None;
            }
        }
        let weight = u64::from(event.weight);
        if let Some(row) = self.rows.get_mut(&key) {
            let is_over = (time - row.first).abs() >= window;
            if is_over && !row.is_changed {
                *row = OpenRow { first: time, last: time, count: 0, id: None, is_changed: true };
            }
            row.last = row.last.max(time);
            row.count += weight;
            row.is_changed = true;
            return 0;
        }
        if self.rows.len() >= ROWS + MORE_ROWS {
            self.note_sampled(None, time);
            return weight;
        }
        *self.held.entry(client).or_default() += 1;
        let row = OpenRow { first: time, last: time, count: weight, id: None, is_changed: true };
        self.rows.insert(key, row);
        0
    }

    /// Notes that at `time` not every lookup of a client, or of all clients, has its own name.
    pub(super) fn note_sampled(&mut self, client: Option<ShownClient>, time: i64) {
        // While nothing can be written, they add up.
        let client = client.filter(|_| self.sampled.len() < MARKS);
        self.sampled.insert((client, time.div_euclid(60_000)));
    }

    fn kind(&mut self, event: &QueryEvent, policies: &Policies) -> u32 {
        let record = &event.record;
        let has_groups = policies.groups().len() > 1;
        let key = KindKey {
            decision: record.decision.label(),
            reason: record.reason.map(Label::label),
            rcode: record.rcode.label(),
            source: record.source.label(),
            rule: record.rule,
            upstream: record.upstream.clone(),
            group: has_groups.then(|| policies.group(event.client.ip())).flatten(),
        };
        if let Some(kind) = self.known.get(&key) {
            return *kind;
        }
        let rule = record.rule.and_then(|rule| rule.find(policies));
        let kind = Kind {
            class: record.class(),
            decision: key.decision.to_owned(),
            reason: key.reason.unwrap_or_default().to_owned(),
            rule: rule.map(|rule| rule.to_string()).unwrap_or_default(),
            place: rule.map(|rule| rule.place()).unwrap_or_default(),
            rcode: key.rcode.to_owned(),
            source: key.source.to_owned(),
            upstream: key.upstream.as_deref().unwrap_or_default().to_owned(),
            group: key.group.map(|group| policies.groups()[group.index()].name.clone()).unwrap_or_default(),
        };
        let place = self.kinds.iter().position(|known| **known == kind).unwrap_or_else(|| {
            self.kinds.push(Arc::new(kind));
            self.kinds.len() - 1
        });
        self.known.insert(key, place as u32);
        place as u32
    }

    /// The rows that have changed, the oldest first, with their kinds.
    pub(super) fn changed(&self) -> Vec<(RowKey, Arc<Kind>, OpenRow)> {
        let changed = self.rows.iter().filter(|(_, row)| row.is_changed);
        let kind = |key: &RowKey| Arc::clone(&self.kinds[key.kind as usize]);
        let mut changed: Vec<_> = changed.map(|(key, row)| (key.clone(), kind(key), row.clone())).collect();
        changed.sort_by_key(|(_, _, row)| row.first);
        changed
    }

    /// Notes that `written` rows are written, with these ids.
    pub(super) fn note_written<'k>(&mut self, written: impl Iterator<Item = (&'k RowKey, i64)>) {
        for (key, id) in written {
            if let Some(row) = self.rows.get_mut(key) {
                (row.id, row.is_changed) = (Some(id), false);
            }
        }
    }

    /// Closes rows that are written and whose time is over at `now`.
    pub(super) fn close(&mut self, now: i64) {
        let kinds = &self.kinds;
        let held = &mut self.held;
        self.rows.retain(|key, row| {
            let window = window(kinds[key.kind as usize].class).as_millis() as i64;
            let stays = row.is_changed || (now - row.first).abs() < window;
            if !stays && let Some(rows) = held.get_mut(&key.client) {
                *rows -= 1;
            }
            stays
        });
        self.held.retain(|_, rows| *rows > 0);
        // Reloads make new kinds.
        if self.known.len() > KINDS && !self.rows.values().any(|row| row.is_changed) {
            *self = Self { sampled: std::mem::take(&mut self.sampled), ..Self::default() };
        }
    }

    /// The minutes in which not every lookup has its own name, since the last call.
    pub(super) fn take_sampled(&mut self) -> HashSet<(Option<ShownClient>, i64)> {
        std::mem::take(&mut self.sampled)
    }
}

/// A name with its labels in reverse order, each with its length. All names below a name begin with its bytes.
pub(super) fn reversed(name: &Name) -> Vec<u8> {
    let labels: Vec<&[u8]> = name.labels().collect();
    let mut bytes = Vec::with_capacity(name.wire_len());
    for label in labels.iter().rev() {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label);
    }
    bytes
}

/// The name of a [`reversed`] one.
pub(super) fn restored(bytes: &[u8]) -> Option<Name> {
    let mut labels = Vec::new();
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first() {
        let (label, after) = after.split_at_checked(usize::from(*length))?;
        labels.push(label);
        rest = after;
    }
    Name::from_labels(labels.into_iter().rev()).ok()
}

/// True if `client` is in `wanted`, or is a subnet that contains it.
pub(super) fn overlaps(client: ShownClient, wanted: IpNet) -> bool {
    let (client, wanted) = (client.net(), wanted.trunc());
    wanted.contains(&client.addr()) || client.contains(&wanted.addr())
}
