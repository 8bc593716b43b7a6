//! Tests of the history: recorder, database and searches together, with a clock of their own.

#![allow(clippy::unwrap_used)]
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::search::{CountBy, Found, FoundLookup, HistoryFilter};
use super::*;
use crate::events::outcome::{AnswerSource, Decision, LookupClass, QueryOutcome};
use crate::policy::verdict::BlockReason;
use crate::policy::{Compile, Mode, Policies, PolicyBuilder};
use crate::wire::code::{Class, Rcode, Type};
use crate::wire::name::Name;
use crate::wire::presentation::read_name;
use crate::wire::query::Question;
use crate::wire::reply::Transport;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MIB: u64 = 1 << 20;

/// A history, its recorder, and a clock.
struct Stand {
    directory: TempDir,
    history: Arc<History>,
    recorder: Recorder,
    policies: Policies,
    now: SystemTime,
}

impl Stand {
    fn new(max_bytes: u64) -> Self {
        // In memory, where syncing costs nothing.
        let directory = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
        Self::at(directory.unwrap(), max_bytes)
    }

    fn at(directory: TempDir, max_bytes: u64) -> Self {
        let place = Place::File(directory.path().join(FILE));
        let history = Arc::new(History::new(place, DAY, max_bytes, ClientAddress::Full));
        let policies = Policies::for_all(PolicyBuilder::new().build(Compile::new(Mode::Enforce)), 1);
        let now = UNIX_EPOCH + Duration::from_secs(1_795_392_000);
        Self { directory, recorder: Recorder::new(Arc::clone(&history)), history, policies, now }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join(FILE)
    }

    fn add(&mut self, client: &str, name: &Name, decision: Decision, weight: u32) {
        let (reason, rcode) = match decision {
            Decision::Allowed => (None, Rcode::NOERROR),
            _ => (Some(BlockReason::NotListed), Rcode::NXDOMAIN),
        };
        let outcome = QueryOutcome { reason, ..QueryOutcome::new(decision, AnswerSource::Policy, rcode) };
        self.add_outcome(client, name, outcome, weight);
    }

    fn add_outcome(&mut self, client: &str, name: &Name, record: QueryOutcome, weight: u32) {
        let event = QueryEvent {
            client: SocketAddr::new(client.parse().unwrap(), 4711),
            transport: Transport::Udp,
            question: Question { name: name.clone(), qtype: Type::A, class: Class::IN },
            record,
            received: Instant::now(),
            elapsed: Duration::ZERO,
            messages: None,
            logged: false,
            tapped: false,
            weight,
        };
        self.recorder.add(&event, self.now, &self.policies);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    #[track_caller]
    fn write(&mut self) {
        assert!(self.recorder.write(self.now, true), "{:?}", self.history.status());
    }

    fn find(&self, filter: &HistoryFilter) -> Found<Vec<FoundLookup>> {
        self.history.find(filter, 1000).unwrap()
    }

    fn names(&self, filter: &HistoryFilter) -> Vec<String> {
        self.find(filter).found.into_iter().map(|lookup| lookup.name).collect()
    }

    /// Bytes of all files of the database.
    fn bytes(&self) -> u64 {
        let files = fs::read_dir(self.directory.path()).unwrap().flatten();
        files.map(|file| file.metadata().unwrap().len()).sum()
    }
}

fn name(text: &str) -> Name {
    read_name(text).unwrap()
}

fn of_client(client: &str) -> HistoryFilter {
    HistoryFilter { client: Some(client.parse().unwrap()), ..HistoryFilter::default() }
}

#[test]
fn equal_lookups_within_a_minute_are_one_row() {
    let mut stand = Stand::new(8 * MIB);
    for _ in 0..3 {
        stand.add("10.0.0.4", &name("evil.example"), Decision::Blocked, 1);
        stand.pass(Duration::from_secs(1));
        stand.add("10.0.0.4", &name("ml.azure.com"), Decision::Allowed, 1);
        stand.write();
        stand.pass(Duration::from_secs(24));
    }
    stand.pass(Duration::from_secs(60));
    stand.write();
    stand.add("10.0.0.4", &name("evil.example"), Decision::Blocked, 1);
    stand.add("10.0.0.4", &name("ml.azure.com"), Decision::Allowed, 1);
    stand.write();
    let rows = stand.find(&HistoryFilter::default()).found;
    let rows: Vec<(&str, u64)> = rows.iter().map(|row| (row.name.as_str(), row.count)).collect();
    assert_eq!(rows, [("evil.example", 1), ("ml.azure.com", 4), ("evil.example", 3)]);
    let blocked = HistoryFilter { class: Some(LookupClass::Blocked), ..HistoryFilter::default() };
    let row = stand.find(&blocked).found.pop().unwrap();
    assert_eq!(row.last.duration_since(row.time).unwrap(), Duration::from_secs(50));
    assert_eq!((row.reason.as_deref(), row.rcode.as_str()), (Some("not_listed"), "nxdomain"));
}

#[test]
fn below_finds_labels_and_not_text() {
    let mut stand = Stand::new(8 * MIB);
    let all = ["azureml.ms", "a.azureml.ms", "b.a.azureml.ms", "notazureml.ms", "azureml.ms.evil.example"];
    for text in all {
        stand.add("10.0.0.4", &name(text), Decision::Blocked, 1);
        stand.pass(Duration::from_millis(1));
    }
    let odd = Name::parse(b"\x0aazureml.ms\0").unwrap();
    stand.add("10.0.0.4", &odd, Decision::Blocked, 1);
    stand.write();
    let below = |text: &str| HistoryFilter { below: Some(name(text)), ..HistoryFilter::default() };
    assert_eq!(stand.names(&below("azureml.ms")), ["b.a.azureml.ms", "a.azureml.ms", "azureml.ms"]);
    assert_eq!(stand.names(&below("a.azureml.ms")), ["b.a.azureml.ms", "a.azureml.ms"]);
    assert_eq!(stand.names(&below("zureml.ms")), [""; 0]);
    assert_eq!(stand.names(&below(".")).len(), 6);
    let exact = HistoryFilter { name: Some(name("azureml.ms")), ..HistoryFilter::default() };
    assert_eq!(stand.names(&exact), ["azureml.ms"]);
    assert_eq!(stand.names(&HistoryFilter { name: Some(odd), ..HistoryFilter::default() }), ["azureml\\.ms"]);
}

#[test]
fn filters_select_by_time_client_and_outcome() {
    let mut stand = Stand::new(8 * MIB);
    let start = stand.now;
    let servfail = QueryOutcome::new(Decision::Allowed, AnswerSource::Upstream, Rcode::SERVFAIL);
    for (client, text) in [("10.0.0.4", "a.example"), ("10.0.1.4", "b.example"), ("fd00::1", "c.example")] {
        stand.add(client, &name(text), Decision::Blocked, 1);
        stand.add_outcome(client, &name("ml.azure.com"), servfail.clone(), 1);
        stand.add(client, &name("ok.example"), Decision::Allowed, 1);
        stand.write();
        stand.pass(Duration::from_secs(600));
    }
    let all = HistoryFilter::default;
    let class = |class| HistoryFilter { class: Some(class), ..all() };
    let minutes = |minutes: u64| Some(start + Duration::from_secs(minutes * 60));
    for (case, filter, count) in [
        ("all", all(), 9),
        ("a client", of_client("10.0.0.4/32"), 3),
        ("a subnet", of_client("10.0.0.0/16"), 6),
        ("another subnet", of_client("10.9.0.0/16"), 0),
        ("an IPv6 subnet", of_client("fd00::/64"), 3),
        ("allowed", class(LookupClass::Allowed), 3),
        ("blocked", class(LookupClass::Blocked), 3),
        ("errors", class(LookupClass::Errors), 3),
        ("refused", class(LookupClass::Other), 0),
        ("a reason", HistoryFilter { reason: Some("not_listed".to_owned()), ..all() }, 3),
        ("a response code", HistoryFilter { rcode: Some("servfail".to_owned()), ..all() }, 3),
        ("a decision", HistoryFilter { decision: Some("allowed".to_owned()), ..all() }, 6),
        ("a group", HistoryFilter { group: Some("build".to_owned()), ..all() }, 0),
        ("since", HistoryFilter { since: minutes(10), ..all() }, 6),
        ("until", HistoryFilter { until: minutes(10), ..all() }, 3),
        ("between", HistoryFilter { since: minutes(1), until: minutes(11), ..all() }, 3),
        ("a name", HistoryFilter { name: Some(name("ml.azure.com")), ..all() }, 3),
        (
            "a name of a client",
            HistoryFilter { name: Some(name("ml.azure.com")), ..of_client("10.0.1.4/32") },
            1,
        ),
    ] {
        assert_eq!(stand.find(&filter).found.len(), count, "{case}");
    }
    let found = stand.find(&of_client("10.0.1.4/32"));
    assert_eq!((found.from, found.is_sampled, found.next), (minutes(10), false, None));
}

#[test]
fn pages_continue_where_the_last_one_ended() {
    let mut stand = Stand::new(8 * MIB);
    for number in 0..25 {
        stand.add("10.0.0.4", &name(&format!("n{number}.example")), Decision::Blocked, 1);
        stand.add("10.0.0.4", &name(&format!("n{number}.example")), Decision::Allowed, 1);
    }
    stand.write();
    let mut seen = std::collections::BTreeSet::new();
    let mut filter = HistoryFilter::default();
    loop {
        let Found { found, next, .. } = stand.history.find(&filter, 7).unwrap();
        for row in found {
            assert!(seen.insert((row.name, row.decision)), "listed twice");
        }
        let Some(next) = next else { break };
        filter.before = Some(next);
    }
    assert_eq!(seen.len(), 50);
}

#[test]
fn graph_and_counts_add_up() {
    let mut stand = Stand::new(8 * MIB);
    let start = stand.now;
    for second in 0..120_u64 {
        stand.add("10.0.0.4", &name("ml.azure.com"), Decision::Allowed, 1);
        if second % 2 == 0 {
            stand.add("10.0.0.5", &name("evil.example"), Decision::Blocked, 3);
        }
        stand.pass(Duration::from_secs(1));
        stand.write();
    }
    let range = (start, start + Duration::from_secs(180));
    let graph = stand.history.graph(&HistoryFilter::default(), range, Duration::from_secs(60)).unwrap();
    let steps = &graph.found.steps;
    assert_eq!(steps.len(), 3);
    let sum = |class: LookupClass| steps.iter().map(|step| step[class as usize]).sum::<u64>();
    assert_eq!((sum(LookupClass::Allowed), sum(LookupClass::Blocked)), (120, 180));
    assert!((50..=70).contains(&steps[0][0]) && (50..=70).contains(&steps[1][0]), "{steps:?}");
    assert!(graph.is_sampled, "a lookup stood for three");
    let clients = stand.history.count(&HistoryFilter::default(), CountBy::Client, 10).unwrap().found;
    let clients: Vec<(&str, [u64; 4])> =
        clients.iter().map(|item| (item.key.as_str(), item.counts)).collect();
    assert_eq!(clients, [("10.0.0.5", [0, 180, 0, 0]), ("10.0.0.4", [120, 0, 0, 0])]);
    let names = stand.history.count(&HistoryFilter::default(), CountBy::Name, 1).unwrap().found;
    assert_eq!((names.len(), names[0].key.as_str()), (1, "evil.example"));
}

#[test]
fn old_lookups_are_deleted_unless_the_clock_jumped() {
    let mut stand = Stand::new(8 * MIB);
    stand.add("10.0.0.4", &name("old.example"), Decision::Blocked, 1);
    stand.write();
    stand.pass(DAY * 400);
    assert!(stand.recorder.write(stand.now, false));
    assert_eq!(stand.names(&HistoryFilter::default()), ["old.example"]);
    stand.add("10.0.0.4", &name("new.example"), Decision::Blocked, 1);
    stand.write();
    assert_eq!(stand.names(&HistoryFilter::default()), ["new.example"]);
    // From a time when the clock was wrong.
    stand.now -= DAY * 300;
    stand.add("10.0.0.4", &name("now.example"), Decision::Blocked, 1);
    stand.write();
    stand.write();
    assert_eq!(stand.names(&HistoryFilter::default()), ["now.example"]);
}

#[test]
fn a_jump_of_the_clock_is_noticed_for_ten_minutes() {
    let (steady, day) = (Instant::now(), UNIX_EPOCH + DAY * 20_000);
    let mut clock = SettledClock::new(steady, day);
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    assert!(clock.is_settled(steady + minutes(1), day + minutes(1)));
    assert!(!clock.is_settled(steady + minutes(2), day + DAY));
    assert!(!clock.is_settled(steady + minutes(11), day + DAY + minutes(9)));
    assert!(clock.is_settled(steady + minutes(12), day + DAY + minutes(10)));
    assert!(!clock.is_settled(steady + minutes(13), day));
}

/// Random names of one client, as a flood brings them to the recorder.
fn flood(stand: &mut Stand, client: &str, decision: Decision, count: usize) {
    for _ in 0..count {
        let text = format!("{:016x}.tunnel.example", rand::random::<u64>());
        stand.add(client, &name(&text), decision, 1);
    }
}

#[test]
fn a_flood_neither_fills_the_disk_nor_displaces_other_clients() {
    let mut stand = Stand::new(4 * MIB);
    for number in 0..200 {
        stand.add("10.0.0.4", &name(&format!("n{number}.example")), Decision::Allowed, 1);
        stand.add("10.0.0.4", &name(&format!("n{number}.example")), Decision::Blocked, 1);
    }
    stand.write();
    let mut largest = 0;
    for _ in 0..12 {
        flood(&mut stand, "10.0.0.66", Decision::Blocked, 10_000);
        stand.pass(Duration::from_secs(61));
        stand.write();
        largest = largest.max(stand.bytes());
    }
    assert!(largest <= 4 * MIB, "{largest} bytes");
    assert!(stand.history.status().rows > 5_000, "{:?}", stand.history.status());
    assert_eq!(stand.find(&of_client("10.0.0.4/32")).found.len(), 400);
}

#[test]
fn a_client_beyond_its_share_is_counted_without_names() {
    let mut stand = Stand::new(64 * MIB);
    flood(&mut stand, "10.0.0.66", Decision::Blocked, 60_000);
    stand.add("10.0.0.4", &name("a.example"), Decision::Blocked, 1);
    stand.write();
    let status = stand.history.status();
    assert!((30_000..40_000).contains(&status.rows) && status.lost == 0, "{status:?}");
    let clients = stand.history.count(&HistoryFilter::default(), CountBy::Client, 10).unwrap();
    assert_eq!(clients.found[0].counts, [0, 60_000, 0, 0]);
    assert!(clients.is_sampled);
    let (flooding, other) = (stand.find(&of_client("10.0.0.66/32")), stand.find(&of_client("10.0.0.4/32")));
    assert_eq!((flooding.is_sampled, other.is_sampled), (true, false));
    assert_eq!(other.found.len(), 1);
    let further = HistoryFilter { name: Some(name("a.example")), ..HistoryFilter::default() };
    assert_eq!(stand.names(&further), ["a.example"]);
}

#[test]
fn allowed_lookups_go_before_failed_ones() {
    let mut stand = Stand::new(4 * MIB);
    for round in 0..200 {
        for number in 0..500 {
            let host = name(&format!("host-{number}.workspace.example"));
            stand.add("10.0.0.4", &host, Decision::Allowed, 1);
            if number < 20 {
                stand.add("10.0.0.4", &name(&format!("r{round}-{number}.example")), Decision::Blocked, 1);
            }
        }
        stand.write();
        stand.pass(Duration::from_secs(301));
        stand.write();
    }
    let blocked = HistoryFilter { class: Some(LookupClass::Blocked), ..HistoryFilter::default() };
    let allowed = HistoryFilter { class: Some(LookupClass::Allowed), ..HistoryFilter::default() };
    let count = |filter| stand.history.count(filter, CountBy::Client, 1).unwrap().found[0].counts;
    assert_eq!(count(&blocked)[1], 4000, "every blocked lookup is there");
    let kept = count(&allowed)[0];
    assert!((10_000..90_000).contains(&kept), "{kept} of 100000 allowed lookups");
}

#[test]
fn a_broken_database_is_set_aside_and_begun_anew() {
    let sqlite = |sql: &str| {
        let sql = sql.to_owned();
        move |path: &Path| rusqlite::Connection::open(path).unwrap().execute_batch(&sql).unwrap()
    };
    type Break = Box<dyn Fn(&Path)>;
    let breaks: [(&str, Break); 5] = [
        ("garbage", Box::new(|path| fs::write(path, vec![b'x'; 20_000]).unwrap())),
        (
            "truncated",
            Box::new(|path| {
                let file = fs::File::options().write(true).open(path).unwrap();
                file.set_len(6000).unwrap();
            }),
        ),
        ("another version", Box::new(sqlite("PRAGMA user_version = 99"))),
        ("another program's", Box::new(sqlite("PRAGMA application_id = 1"))),
        ("without its tables", Box::new(sqlite("DROP TABLE passed"))),
    ];
    for (case, break_it) in breaks {
        let mut stand = Stand::new(8 * MIB);
        stand.add("10.0.0.4", &name("a.example"), Decision::Blocked, 1);
        stand.write();
        let (directory, file) = (stand.directory, stand.history.place.clone());
        drop((stand.recorder, file));
        break_it(&directory.path().join(FILE));
        fs::set_permissions(directory.path().join(FILE), fs::Permissions::from_mode(0o600)).unwrap();
        let mut stand = Stand::at(directory, 8 * MIB);
        stand.add("10.0.0.4", &name("b.example"), Decision::Blocked, 1);
        let tries = (0..3).take_while(|_| !stand.recorder.write(stand.now, true)).count();
        assert!(tries <= 1, "{case}: {:?}", stand.history.status());
        assert_eq!(stand.names(&HistoryFilter::default()), ["b.example"], "{case}");
        assert!(stand.directory.path().join("history.unreadable").exists(), "{case}");
        assert_eq!(stand.history.status().problem, None, "{case}");
    }
}

#[test]
fn only_the_owner_can_read_the_database() {
    let mut stand = Stand::new(8 * MIB);
    stand.add("10.0.0.4", &name("a.example"), Decision::Blocked, 1);
    stand.write();
    for file in fs::read_dir(stand.directory.path()).unwrap().flatten() {
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.path());
    }
}

#[test]
fn a_file_that_others_can_change_is_refused_until_it_is_fixed() {
    let mut stand = Stand::new(8 * MIB);
    stand.write();
    stand.recorder = Recorder::new(Arc::clone(&stand.history));
    fs::set_permissions(stand.file(), fs::Permissions::from_mode(0o666)).unwrap();
    stand.add("10.0.0.4", &name("a.example"), Decision::Blocked, 1);
    assert!(!stand.recorder.write(stand.now, true));
    let (problem, _) = stand.history.status().problem.unwrap();
    assert!(problem.contains("other users can write to it") && problem.contains("help: "), "{problem}");
    fs::set_permissions(stand.file(), fs::Permissions::from_mode(0o600)).unwrap();
    stand.write();
    assert_eq!(stand.names(&HistoryFilter::default()), ["a.example"]);
}

#[test]
fn a_removed_file_is_created_again() {
    let mut stand = Stand::new(8 * MIB);
    stand.add("10.0.0.4", &name("a.example"), Decision::Blocked, 1);
    stand.write();
    fs::remove_file(stand.file()).unwrap();
    assert!(stand.history.find(&HistoryFilter::default(), 10).is_err());
    stand.add("10.0.0.4", &name("b.example"), Decision::Blocked, 1);
    assert!(!stand.recorder.write(stand.now, true));
    stand.write();
    assert_eq!(stand.names(&HistoryFilter::default()), ["b.example"]);
}

#[test]
fn a_locked_database_costs_nothing_but_time() {
    let mut stand = Stand::new(8 * MIB);
    stand.write();
    let other = rusqlite::Connection::open(stand.file()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    stand.add("10.0.0.4", &name("a.example"), Decision::Blocked, 1);
    assert!(!stand.recorder.write(stand.now, true));
    let (problem, _) = stand.history.status().problem.unwrap();
    assert!(problem.contains("locked"), "{problem}");
    other.execute_batch("ROLLBACK").unwrap();
    stand.write();
    assert_eq!(stand.names(&HistoryFilter::default()), ["a.example"]);
}

#[test]
fn two_processes_may_write_at_once() {
    let mut first = Stand::new(8 * MIB);
    let second = Arc::new(History::new(first.history.place.clone(), DAY, 8 * MIB, ClientAddress::Full));
    let mut second = Stand {
        directory: TempDir::new().unwrap(),
        recorder: Recorder::new(Arc::clone(&second)),
        history: second,
        policies: Policies::for_all(PolicyBuilder::new().build(Compile::new(Mode::Enforce)), 1),
        now: first.now,
    };
    for number in 0..20 {
        for stand in [&mut first, &mut second] {
            stand.add(&format!("10.0.0.{number}"), &name("same.example"), Decision::Blocked, 1);
            stand.add("10.0.0.4", &name(&format!("n{number}.example")), Decision::Blocked, 1);
            stand.write();
            stand.pass(Duration::from_secs(1));
        }
    }
    let clients = first.history.count(&HistoryFilter::default(), CountBy::Client, 100).unwrap().found;
    let sum: u64 = clients.iter().flat_map(|client| client.counts).sum();
    assert_eq!((clients.len(), sum), (20, 80));
}

#[test]
fn a_history_in_memory_is_searched_too() {
    let history = History::new(Place::Memory("test".to_owned()), DAY, 4 * MIB, ClientAddress::Subnet);
    let mut stand = Stand::new(4 * MIB);
    stand.history = Arc::new(history);
    stand.recorder = Recorder::new(Arc::clone(&stand.history));
    for _ in 0..10 {
        flood(&mut stand, "10.0.0.66", Decision::Allowed, 10_000);
        stand.pass(Duration::from_secs(301));
        stand.write();
    }
    let status = stand.history.status();
    assert!(status.bytes <= 4 * MIB && status.rows > 5000 && status.problem.is_none(), "{status:?}");
    let clients = stand.history.count(&HistoryFilter::default(), CountBy::Client, 10).unwrap().found;
    assert_eq!(clients[0].key, "10.0.0.0/24");
    assert_eq!(stand.find(&of_client("10.0.0.5/32")).found.len(), 1000);
}
