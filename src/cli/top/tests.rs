//! What is shown for given facts: the screen at several sizes, and the plain text.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use ratatui::widgets::Widget;

use super::look::Look;
use super::screen::Screen;
use super::snapshot::TopSnapshot;
use super::text::text;
use crate::api::pages::{
    AllowlistJson, CacheJson, CountJson, LookupJson, PolicyJson, ProblemJson, RatesJson, RecentJson,
    RuleTextJson, StatusJson, TopJson, TotalsJson, UpstreamJson,
};

const URL: &str = "http://127.0.0.1:9153";
const COLORS: Look = Look { colors: true, unicode: true };
const PLAIN: Look = Look { colors: false, unicode: false };

fn upstream(name: &str, up: bool) -> UpstreamJson {
    UpstreamJson {
        name: name.to_owned(),
        up,
        seconds_since_reply: up.then_some(0.2),
        in_flight: 3,
        max_in_flight: 180,
        edns: true,
        max_qps: 900,
        answered: 12_345,
        failed: if up { 0 } else { 17 },
        shed: 0,
        mean_seconds: Some(0.003_1),
    }
}

fn lookup(sequence: u64) -> LookupJson {
    LookupJson {
        sequence,
        time: format!("2026-11-23T00:40:{:02}.123Z", sequence % 60),
        client: Some("10.0.0.4".to_owned()),
        name: format!("d{sequence}.exfiltrate.example.com"),
        qtype: "TXT".to_owned(),
        decision: "blocked".to_owned(),
        reason: "not_listed".to_owned(),
        rule: None,
        place: None,
        text: RuleTextJson::default(),
    }
}

fn snapshot() -> TopSnapshot {
    let counts = |key: &str, most: u64| {
        (0..8).map(|n| CountJson { key: format!("{key}{n}"), count: most - n }).collect::<Vec<_>>()
    };
    let zone =
        AllowlistJson { name: "azure-ml".to_owned(), file: "zones/azure-ml.toml".to_owned(), rules: 200 };
    TopSnapshot {
        status: StatusJson {
            version: "0.1.0".to_owned(),
            started: "2026-11-22T21:28:38Z".to_owned(),
            uptime_seconds: 11_520.0,
            policy: PolicyJson {
                hash: "1a2b3c4d".to_owned(),
                mode: "enforce".to_owned(),
                rules: 1234,
                zones: vec![zone],
                loaded: "2026-11-22T21:28:38Z".to_owned(),
                last_reload_succeeded: true,
            },
            totals: TotalsJson {
                queries: 5000,
                allowed: 4000,
                blocked: 900,
                noise: 80,
                errors: 60,
                refused: 20,
                ..TotalsJson::default()
            },
            ready: true,
            problems: Vec::new(),
            rates: RatesJson {
                allowed: (0..300).collect(),
                blocked: vec![1; 300],
                errors: vec![2; 300],
                other: vec![0; 300],
            },
            cache: CacheJson { entries: 321, bytes: 65_536, max_bytes: 64 << 20, hits: 875, misses: 125 },
            upstreams: vec![upstream("168.63.129.16:53", true), upstream("10.0.0.9:53", false)],
            log_lost: 0,
        },
        top: TopJson {
            window_seconds: 3600,
            names: counts("bad.example", 900),
            clients: counts("10.0.0.", 70),
        },
        recent: RecentJson { next: 31, lookups: (1..=30).map(lookup).collect() },
    }
}

fn draw(snapshot: &TopSnapshot, trouble: Option<&str>, look: Look, width: u16, height: u16) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    Screen { url: URL, snapshot, trouble, paused: false, look }.render(buffer.area, &mut buffer);
    buffer
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width);
    let rows = buffer.content.chunks(width);
    rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()).collect()
}

#[test]
fn eighty_by_twenty_four_has_it_all() {
    let lines = lines(&draw(&snapshot(), None, PLAIN, 80, 24));
    let wanted = [
        (0, " namegate 0.1.0  http://127.0.0.1:9153"),
        (0, "up 3h 12m"),
        (1, " enforce  policy 1a2b3c4d  1,234 rules  loaded 2026-11-22 21:28"),
        (2, " QUERIES       PER SECOND      TOTAL  LAST 5M"),
        (3, " allowed           294.5      4,000"),
        (4, " blocked             1.0        900"),
        (5, " errors              2.0         60"),
        (6, " other               0.0         20"),
        (7, " UPSTREAM"),
        (8, " 168.63.129.16:53"),
        (8, "up       200 ms     3/180    12,345       0       0  3.10 ms"),
        (9, "DOWN          -     3/180    12,345      17       0  3.10 ms"),
        (10, " CACHE  hit rate 87.5% of 1,000 lookups   321 entries   64.0 KiB of 64.0 MiB"),
        (11, " MOST BLOCKED NAMES, LAST 1h"),
        (11, " CLIENTS MOST OFTEN BLOCKED"),
        (12, "       900  bad.example0"),
        (12, "        70  10.0.0.0"),
        (17, " AT (UTC)  CLIENT           REASON      TYPE   BLOCKED NAME"),
        (22, " 00:40:30  10.0.0.4         not_listed  TXT    d30.exfiltrate.example.com"),
        (23, " q quit   p pause"),
    ];
    for (row, text) in wanted {
        assert!(lines[row].contains(text), "row {row} lacks `{text}`:\n{}", lines.join("\n"));
    }
    assert!(lines[3].ends_with("##"), "{}", lines[3]);
    assert!(lines.iter().all(|line| line.is_ascii()), "{}", lines.join("\n"));
}

#[test]
fn a_taller_screen_shows_more() {
    let lines = lines(&draw(&snapshot(), None, COLORS, 140, 50));
    let shown = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((shown("bad.example"), shown("exfiltrate.example")), (8, 28), "{}", lines.join("\n"));
    assert!(lines[3].ends_with('█'), "{}", lines[3]);
    assert!(lines[2].ends_with("noise 80  observed 0  refused 20  dropped 0"), "{}", lines[2]);
}

#[test]
fn of_a_tiny_screen_the_corner_is_right() {
    let snapshot = snapshot();
    let (tiny, whole) = (draw(&snapshot, None, PLAIN, 30, 6), draw(&snapshot, None, PLAIN, 76, 18));
    let corner: Vec<String> =
        lines(&whole)[..6].iter().map(|line| line.get(..30).unwrap_or(line).trim_end().to_owned()).collect();
    assert_eq!(lines(&tiny), corner);
}

#[test]
fn what_must_not_be_overlooked_is_loud() {
    let mut snapshot = snapshot();
    snapshot.status.policy.mode = "observe".to_owned();
    snapshot.status.log_lost = 7;
    for look in [COLORS, PLAIN] {
        let buffer = draw(&snapshot, None, look, 80, 24);
        let lines = lines(&buffer);
        assert!(lines[1].starts_with(" OBSERVE MODE: NOT ENFORCING "), "{}", lines[1]);
        assert!(buffer[(1, 1)].modifier.contains(Modifier::REVERSED | Modifier::BOLD));
        assert!(lines[23].ends_with("7 lookups missing from the query log"), "{}", lines[23]);
        assert_eq!(buffer[(1, 1)].fg == Color::Yellow, look.colors);
        let colored = buffer.content.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        assert_eq!(colored, look.colors);
    }
    let trouble = lines(&draw(&snapshot, Some("no answer from x: gone"), PLAIN, 80, 24));
    assert!(trouble[23].starts_with(" retrying: no answer from x: gone"), "{}", trouble[23]);
}

fn problem(severity: &str, message: &str) -> ProblemJson {
    let (kind, severity) = ("servfail".to_owned(), severity.to_owned());
    ProblemJson { kind, severity, message: message.to_owned(), since: None }
}

#[test]
fn problems_come_first_and_nothing_else_is_green() {
    let mut snapshot = snapshot();
    let problems = [problem("error", "clients get SERVFAIL"), problem("warning", "observe mode")];
    snapshot.status.problems = problems.to_vec();
    let greens = |buffer: &Buffer| buffer.content.iter().filter(|cell| cell.fg == Color::Green).count();
    let buffer = draw(&snapshot, None, COLORS, 80, 24);
    let shown = lines(&buffer);
    assert!(shown[2].starts_with(" ERROR: clients get SERVFAIL"), "{}", shown[2]);
    assert!(shown[3].starts_with(" WARNING: observe mode"), "{}", shown[3]);
    assert!(shown[4].starts_with(" QUERIES"), "{}", shown[4]);
    assert_eq!((buffer[(1, 2)].fg, buffer[(79, 2)].fg), (Color::Red, Color::Red));
    assert_eq!(greens(&buffer), 0);
    snapshot.status.problems.remove(0);
    assert!(greens(&draw(&snapshot, None, COLORS, 80, 24)) > 0, "a warning leaves what is well green");

    snapshot.status.problems = vec![problem("error", &"long ".repeat(60)); 9];
    for (width, height, last) in [(80, 24, 6), (140, 50, 6), (76, 18, 2)] {
        let shown = lines(&draw(&snapshot, None, PLAIN, width, height));
        assert!(shown[last].ends_with(&format!(" and {} more", 10 - last)), "{}", shown.join("\n"));
    }
}

#[test]
fn the_text_has_every_fact() {
    let mut snapshot = snapshot();
    snapshot.status.problems = vec![problem("error", "clients get SERVFAIL")];
    snapshot.recent.lookups[29].rule = Some("*.example.com".to_owned());
    snapshot.recent.lookups[29].place = Some("zones/own.toml:12".to_owned());
    let text = text(&snapshot, URL);
    for wanted in [
        "namegate 0.1.0 at http://127.0.0.1:9153, up 3h 12m\nERROR: clients get SERVFAIL\nmode enforce\npolicy 1a2b3c4d: 1,234 rules",
        "queries 5,000: allowed 4,000, blocked 900, observed 0 (noise 80), errors 60, refused 20, dropped 0\n",
        "per second: allowed 294.5, blocked 1.0, errors 2.0, other 0.0\n",
        "cache 321 entries, 64.0 KiB of 64.0 MiB, hit rate 87.5%\n",
        "upstream 168.63.129.16:53 up: last reply 200 ms ago, 3/180 in flight, at most 900 per second, 12,345 answered",
        "upstream 10.0.0.9:53 DOWN: last reply - ago",
        "most blocked names, last 1h\n       900  bad.example0\n",
        "blocked   not_listed  TXT    d30.exfiltrate.example.com  *.example.com  zones/own.toml:12",
    ] {
        assert!(text.contains(wanted), "`{wanted}` is not in:\n{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_size_and_number_can_be_drawn(
        width in 1_u16..200, height in 1_u16..80, number in any::<u64>(), float in any::<f64>(),
        lists in 0_usize..30, name in "[ -~]{0,300}",
    ) {
        let mut snapshot = snapshot();
        snapshot.status.totals.noise = number;
        snapshot.status.rates.allowed = vec![number; lists];
        snapshot.status.cache.hits = number;
        snapshot.status.uptime_seconds = float;
        snapshot.status.problems = vec![problem(&name, &name); lists];
        snapshot.status.upstreams = vec![UpstreamJson { name: name.clone(), mean_seconds: Some(float), ..upstream("", true) }; lists];
        snapshot.status.policy.mode.clone_from(&name);
        snapshot.top.names = vec![CountJson { key: name.clone(), count: number }; lists];
        snapshot.recent.lookups = vec![LookupJson { name: name.clone(), qtype: name, client: None, ..lookup(1) }; lists];
        draw(&snapshot, Some("gone"), COLORS, width, height);
        draw(&snapshot, None, PLAIN, width, height);
        text(&snapshot, URL);
    }
}
