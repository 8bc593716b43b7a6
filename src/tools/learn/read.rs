//! [`Evidence`]: blocked names from a query log in either format, or from a running namegate.

use std::io::{self, BufRead};
use std::time::SystemTime;

use ipnet::IpNet;
use strum::VariantArray;

use crate::api::log::LoggedLookupJson;
use crate::api::pages::{BlockedJson, BlockedNameJson};
use crate::events::outcome::Decision;
use crate::observe::blocked_names::{BlockedNames, Sighting};
use crate::observe::client::ShownClient;
use crate::observe::few::Few;
use crate::observe::query_log::read::{LoggedLookup, UnreadableLog, read_lookups};
use crate::util::label::Label;
use crate::wire::code::Type;
use crate::wire::name::Name;
use crate::wire::presentation::read_name;

/// Maximum names held from a log, about 128 MiB. The most queried names are held.
const NAMES: usize = 1 << 18;

/// Blocked names collected from logs and running resolvers.
pub struct Evidence {
    /// The names.
    pub names: BlockedNames,
    /// Lookups read, including those of allowed names.
    pub lookups: u64,
    /// Lookups that were noise.
    pub noise: u64,
    /// Lookups or, from a running namegate, names that do not show whether their client is the wanted one.
    pub unclear: u64,
    filter: LookupFilter,
}

/// The lookups to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct LookupFilter {
    /// Not before this time.
    pub since: Option<SystemTime>,
    /// Before this time.
    pub until: Option<SystemTime>,
    /// By a client in this subnet.
    pub client: Option<IpNet>,
}

impl LookupFilter {
    /// True if a client is in the wanted subnet; `None` if the client is hidden, or shown only as a wider subnet.
    fn has_client(self, client: Option<ShownClient>) -> Option<bool> {
        let Some(wanted) = self.client else { return Some(true) };
        let shown = client?.net();
        if wanted.contains(&shown) { Some(true) } else { (!shown.contains(&wanted)).then_some(false) }
    }
}

impl Evidence {
    /// Empty. Ignores lookups that `filter` does not select.
    pub fn new(filter: LookupFilter) -> Self {
        Self { names: BlockedNames::new(NAMES), lookups: 0, noise: 0, unclear: 0, filter }
    }

    /// Adds the blocked names of a log, and returns the lines that are not lookups. An incomplete last line is still
    /// being written and does not count as unreadable.
    ///
    /// Errors: reading the log failed.
    pub fn read_log(&mut self, log: impl BufRead) -> io::Result<UnreadableLog> {
        read_lookups(log, |lookup| self.add(&lookup, 1, lookup.time))
    }

    /// Adds the blocked lookups of a running namegate's history. Returns how many of them are unreadable.
    pub fn add_history(&mut self, lookups: &[LoggedLookupJson]) -> usize {
        let mut unreadable = 0;
        for found in lookups {
            match logged(found).zip(time(&found.last)) {
                // Further names of a client that looked up too many.
                _ if found.qtype == "*" => self.names.add_losses(0, found.count),
                Some((lookup, last)) => self.add(&lookup, found.count, last),
                None => unreadable += 1,
            }
        }
        unreadable
    }

    /// Adds `count` equal lookups, of which the last was at `last`.
    fn add(&mut self, lookup: &LoggedLookup, count: u64, last: SystemTime) {
        let LookupFilter { since, until, .. } = self.filter;
        if since.is_some_and(|since| last < since) || until.is_some_and(|until| lookup.time >= until) {
            return;
        }
        match self.filter.has_client(lookup.client) {
            Some(true) => {}
            Some(false) => return,
            None => {
                self.unclear += 1;
                return;
            }
        }
        self.lookups += count;
        if lookup.is_noise {
            self.noise += count;
        } else if matches!(lookup.decision, Decision::Blocked | Decision::Observed) {
            let once = Sighting::once(lookup.time, lookup.client, lookup.qtype, lookup.is_denied);
            let seen = Sighting { count, last, ..once };
            self.names.add(&lookup.name, &seen);
        }
    }

    /// Adds the blocked names of a running namegate. Returns how many of them are unreadable.
    pub fn add_page(&mut self, page: &BlockedJson) -> usize {
        let mut unreadable = 0;
        for blocked in &page.names {
            match seen(blocked) {
                Some((_, seen)) if !self.has_client(&seen) => {}
                Some((name, seen)) => {
                    self.lookups += seen.count;
                    self.names.add(&name, &seen);
                }
                None => unreadable += 1,
            }
        }
        self.names.add_losses(page.forgotten, page.no_hosts);
        unreadable
    }
}

impl Evidence {
    /// True if one of the clients is wanted. Counts the name as unclear if the shown clients do not tell.
    fn has_client(&mut self, seen: &Sighting) -> bool {
        let clients = seen.clients.kept();
        let is_wanted = |client: &ShownClient| self.filter.has_client(Some(*client));
        if self.filter.client.is_none() || clients.iter().any(|client| is_wanted(client) == Some(true)) {
            return true;
        }
        let is_unclear = clients.is_empty()
            || seen.clients.more()
            || clients.iter().any(|client| is_wanted(client).is_none());
        self.unclear += u64::from(is_unclear);
        false
    }
}

fn seen(blocked: &BlockedNameJson) -> Option<(Name, Sighting)> {
    let clients: Result<Vec<ShownClient>, _> = blocked.clients.iter().map(|client| client.parse()).collect();
    let types: Result<Vec<Type>, _> = blocked.types.iter().map(|qtype| qtype.parse()).collect();
    let seen = Sighting {
        count: blocked.count,
        first: time(&blocked.first)?,
        last: time(&blocked.last)?,
        denied: blocked.denied,
        clients: Few::new(clients.ok()?).or_more(blocked.more_clients),
        types: Few::new(types.ok()?),
    };
    Some((read_name(&blocked.name)?, seen))
}

fn logged(found: &LoggedLookupJson) -> Option<LoggedLookup> {
    let is_said = |decision: &&Decision| decision.label() == found.decision;
    Some(LoggedLookup {
        time: time(&found.time)?,
        decision: *Decision::VARIANTS.iter().find(is_said)?,
        client: found.client.as_deref().map(str::parse).transpose().ok()?,
        name: read_name(&found.name)?,
        qtype: found.qtype.parse().ok()?,
        is_noise: found.reason == "noise",
        is_denied: found.reason == "denied",
    })
}

fn time(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const A: Type = Type(1);
    const AAAA: Type = Type(28);
    const TEXT: &str = "2026-11-23T07:00:00.123Z blocked client=10.0.0.4 protocol=udp name=evil.example type=AAAA \
                        reason=not_listed rcode=nxdomain source=policy latency_seconds=0.000012";
    const JSON: &str = r#"{"time":"2026-11-23T07:00:01.000Z","decision":"observed","client":"10.0.1.0/24","protocol":"udp","name":"evil.example","type":"A","reason":"not_listed","rcode":"noerror","source":"upstream","upstream":"127.0.0.1:53","latency_seconds":0.001,"answers":["60 A 192.0.2.1"]}"#;

    fn read(log: &str) -> (Evidence, UnreadableLog) {
        let mut evidence = Evidence::new(LookupFilter::default());
        let unreadable = evidence.read_log(log.as_bytes()).unwrap();
        (evidence, unreadable)
    }

    fn counts(evidence: &Evidence) -> Vec<(String, u64, bool)> {
        let counts = evidence.names.iter().map(|(name, seen)| (name.to_string(), seen.count, seen.denied));
        let mut counts: Vec<_> = counts.collect();
        counts.sort();
        counts
    }

    #[test]
    fn both_forms_tell_the_same() {
        let (evidence, unreadable) = read(&format!("{TEXT}\n{JSON}\r\n\n"));
        assert_eq!(unreadable, UnreadableLog::default());
        assert_eq!(counts(&evidence), [("evil.example".to_owned(), 2, false)]);
        let (_, seen) = evidence.names.iter().next().unwrap();
        assert_eq!(
            seen.clients.kept().iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.4", "10.0.1.0/24"]
        );
        assert_eq!(seen.types.kept(), [AAAA, A]);
        assert_eq!(seen.last.duration_since(seen.first).unwrap().as_millis(), 877);
    }

    #[test]
    fn reasons_and_decisions_are_classified() {
        let denied = TEXT.replace("not_listed", "denied rule=*.example place=a b/c.toml:3 name=x type=y");
        let noise = TEXT.replace("not_listed", "noise");
        let allowed =
            TEXT.replace(" blocked ", " allowed ").replace("reason=not_listed", "rule=.example place=x:1");
        let hidden = TEXT.replace("client=10.0.0.4 ", "");
        let (evidence, unreadable) = read(&[&denied, &noise, &allowed, &hidden, ""].join("\n"));
        assert_eq!(unreadable, UnreadableLog::default());
        assert_eq!((evidence.lookups, evidence.noise), (4, 1));
        assert_eq!(counts(&evidence), [("evil.example".to_owned(), 2, false)]);
        let (evidence, _) = read(&format!("{denied}\n"));
        assert_eq!(counts(&evidence), [("evil.example".to_owned(), 1, true)]);
    }

    #[test]
    fn incomplete_last_line_is_ignored() {
        for whole in [TEXT, JSON] {
            for cut in 1..whole.len() - 1 {
                let (evidence, unreadable) = read(&format!("{TEXT}\n{}", &whole[..cut]));
                assert_eq!(unreadable, UnreadableLog::default(), "{}", &whole[..cut]);
                let names = counts(&evidence);
                assert!(names.len() == 1 && names[0].0 == "evil.example", "{names:?}");
            }
        }
    }

    #[test]
    fn invalid_lines_are_listed_by_number() {
        let garbage = "garbage\n".repeat(7);
        let (evidence, unreadable) = read(&format!("{TEXT}\n{garbage}{JSON}\n\u{0}\n"));
        assert_eq!(counts(&evidence)[0].1, 2);
        assert_eq!(unreadable, UnreadableLog { lines: vec![2, 3, 4, 5, 6], count: 8, all: false });
        for bad in [
            TEXT.replace("2026", "yesterday"),
            TEXT.replace(" blocked ", " blokked "),
            TEXT.replace("10.0.0.4", "nobody"),
            TEXT.replace("name=", "nome="),
            TEXT.replace("evil.example", "evil..example"),
            TEXT.replace("AAAA", "AAAAA"),
            JSON.replace("\"name\"", "\"nome\""),
            format!("[{JSON}]"),
            "INFO namegate: ready".to_owned(),
        ] {
            assert!(read(&format!("{bad}\n")).1.all, "{bad}");
        }
        assert!(!read("").1.all);
        let long = "x".repeat((1 << 20) + 1);
        let (evidence, unreadable) = read(&format!("{TEXT}\n{long}\nbad\n{JSON}\n"));
        assert_eq!(unreadable.lines, [2, 3]);
        assert_eq!(counts(&evidence)[0].1, 2);
    }

    #[test]
    fn names_are_read_with_their_escapes() {
        let json = JSON.replace("evil.example", r"a\\032b.example");
        let (evidence, unreadable) =
            read(&format!("{}\n{json}\n", TEXT.replace("evil.example", r"\*.example")));
        assert_eq!((unreadable.count, evidence.names.no_hosts()), (0, 2));
    }

    #[test]
    fn what_is_too_old_is_left_out() {
        let mut evidence =
            Evidence::new(LookupFilter { since: time("2026-11-23T07:00:01Z"), ..LookupFilter::default() });
        evidence.read_log(format!("{TEXT}\n{JSON}\n").as_bytes()).unwrap();
        assert_eq!((evidence.lookups, counts(&evidence)[0].1), (1, 1));
    }

    #[test]
    fn lookups_are_selected_by_time_and_client() {
        let subnet = TEXT.replace("10.0.0.4", "10.0.1.0/24");
        let hidden = TEXT.replace("client=10.0.0.4 ", "");
        let log = format!("{TEXT}\n{JSON}\n{subnet}\n{hidden}\n");
        let net = |text: &str| Some(text.parse().unwrap());
        for (case, filter, lookups, unclear) in [
            ("all", LookupFilter::default(), 4, 0),
            ("since", LookupFilter { since: time("2026-11-23T07:00:01Z"), ..LookupFilter::default() }, 1, 0),
            ("until", LookupFilter { until: time("2026-11-23T07:00:01Z"), ..LookupFilter::default() }, 3, 0),
            (
                "the end does not count",
                LookupFilter { until: time("2026-11-23T07:00:00.123Z"), ..LookupFilter::default() },
                0,
                0,
            ),
            ("a subnet", LookupFilter { client: net("10.0.1.0/24"), ..LookupFilter::default() }, 2, 1),
            ("a wider subnet", LookupFilter { client: net("10.0.0.0/16"), ..LookupFilter::default() }, 3, 1),
            ("an address", LookupFilter { client: net("10.0.0.4/32"), ..LookupFilter::default() }, 1, 1),
            (
                "within a shown subnet",
                LookupFilter { client: net("10.0.1.7/32"), ..LookupFilter::default() },
                0,
                3,
            ),
            ("the other family", LookupFilter { client: net("fd00::/8"), ..LookupFilter::default() }, 0, 1),
        ] {
            let mut evidence = Evidence::new(filter);
            evidence.read_log(log.as_bytes()).unwrap();
            assert_eq!((evidence.lookups, evidence.unclear), (lookups, unclear), "{case}");
        }
    }

    #[test]
    fn names_of_a_running_resolver_are_selected_by_client() {
        let blocked = |name: &str, clients: &[&str], more_clients| BlockedNameJson {
            name: name.to_owned(),
            count: 3,
            first: "2026-11-23T07:00:00Z".to_owned(),
            last: "2026-11-23T07:00:01Z".to_owned(),
            denied: false,
            clients: clients.iter().map(|client| (*client).to_owned()).collect(),
            more_clients,
            types: vec!["A".to_owned()],
        };
        for (case, clients, more, names, unclear) in [
            ("the client", &["10.0.0.4"][..], false, 1, 0),
            ("one of several", &["10.0.0.5", "10.0.0.4"], true, 1, 0),
            ("another", &["10.0.0.5"], false, 0, 0),
            ("there are more", &["10.0.0.5"], true, 0, 1),
            ("hidden", &[], false, 0, 1),
            ("only the subnet", &["10.0.0.0/24"], false, 0, 1),
        ] {
            let client = Some("10.0.0.4/32".parse().unwrap());
            let mut evidence = Evidence::new(LookupFilter { client, ..LookupFilter::default() });
            let page =
                BlockedJson { names: vec![blocked("a.example", clients, more)], ..BlockedJson::default() };
            assert_eq!(evidence.add_page(&page), 0, "{case}");
            assert_eq!((evidence.names.iter().count(), evidence.unclear), (names, unclear), "{case}");
        }
    }
}
