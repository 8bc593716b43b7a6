//! Tests every upstream fault: what the client gets, what is counted, and how often the upstream is queried.
//!
//! One namegate serves all rows: each has its own name, routed to its own servers.

use std::ops::RangeInclusive;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::support::code::TC;
use crate::support::metrics::Metrics;
use crate::support::script::{Step, changed};
use crate::support::truth::{self, Outcome};
use crate::support::{Gate, Message, Response, Script, ScriptedUpstream, eventually};

/// Time for three attempts: at once, and after one and two seconds of silence.
const DEADLINE: Duration = Duration::from_millis(2500);
/// Extra time allowed for a busy machine.
const SLACK: Duration = Duration::from_millis(1500);

/// Transport used for the faulty server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Udp,
    Tcp,
}

struct Row {
    fault: &'static str,
    over: Over,
    script: Script,
    /// The client's reply if there is no other server: response code and Extended DNS Errors.
    alone: (&'static str, &'static [u16]),
    /// The result counted for the exchange.
    counted: &'static str,
    /// Number of attempts for the one query.
    asked: RangeInclusive<usize>,
    /// The same with a second server.
    asked_beside: RangeInclusive<usize>,
}

fn good() -> Response {
    Response::answering(&["ws.allowed.example 60 A 192.0.2.9"])
}

/// Cuts a reply to its header, as some servers answer EDNS.
fn to_header(reply: &mut Vec<u8>) {
    reply.truncate(12);
    reply[4..].fill(0);
}

fn garbage() -> Step {
    Step::bytes(b"\x13\x37 this is no DNS message, only as long as one \xff\xff\xff\xff")
}

fn rows() -> Vec<Row> {
    use Over::{Tcp, Udp};
    let row = |fault, over, script, alone, counted, asked, asked_beside| Row {
        fault,
        over,
        script,
        alone,
        counted,
        asked,
        asked_beside,
    };
    let timeout: (_, &[u16]) = ("SERVFAIL", &[22]);
    let unusable: (_, &[u16]) = ("SERVFAIL", &[22]);
    let network: (_, &[u16]) = ("SERVFAIL", &[23]);
    let slow = || Script {
        udp: vec![Step::Wait(Duration::from_millis(300)), Step::Send(truth_bytes())],
        ..slow_tcp()
    };
    let tc = || Step::reply(Response::default().flags(TC));
    let half = || Step::Announce(500, changed(good(), |_| ()));
    let failing = |rcode| Script::reply(Response::failing(rcode));
    // An error about our own query is not the client's fault.
    let refusal: (_, &[u16]) = ("SERVFAIL", &[22]);
    let header = |rcode| Script::steps(vec![Step::changed(Response::failing(rcode), to_header)]);
    let wrong_id = || Script::steps(vec![Step::wrong_id(good())]);
    let tcp_only = |steps| Script { udp: Vec::new(), tcp: steps };
    vec![
        row("slow", Udp, slow(), ("NOERROR", &[]), "answered", 1..=1, 1..=1),
        row("black-hole", Udp, Script::silent(), timeout, "timeout", 2..=3, 1..=2),
        row("servfail", Udp, failing("SERVFAIL"), ("SERVFAIL", &[]), "failed", 1..=1, 1..=1),
        row("refused", Udp, failing("REFUSED"), refusal, "failed", 1..=1, 1..=1),
        row("notimp", Udp, failing("NOTIMP"), refusal, "failed", 2..=2, 2..=2),
        row("formerr", Udp, failing("FORMERR"), refusal, "failed", 2..=2, 2..=2),
        row("notauth", Udp, failing("NOTAUTH"), refusal, "failed", 1..=1, 1..=1),
        row("formerr-header", Udp, header("FORMERR"), refusal, "unusable", 2..=2, 2..=2),
        row("notimp-header", Udp, header("NOTIMP"), refusal, "unusable", 2..=2, 2..=2),
        row("garbage", Udp, Script::steps(vec![garbage()]), timeout, "timeout", 2..=3, 1..=2),
        row("wrong-id", Udp, wrong_id(), timeout, "timeout", 2..=3, 1..=2),
        row("tc-for-ever", Udp, Script::steps(vec![tc()]), unusable, "unusable", 2..=2, 2..=2),
        row(
            "tc-then-reset",
            Udp,
            Script::truncated_then(vec![Step::Reset]),
            network,
            "network_error",
            2..=2,
            2..=2,
        ),
        row(
            "tc-then-half",
            Udp,
            Script::truncated_then(vec![half(), Step::Close]),
            network,
            "network_error",
            2..=2,
            2..=2,
        ),
        row("tc-then-stuck", Udp, Script::truncated_then(vec![half()]), timeout, "timeout", 4..=6, 2..=4),
        row("slow-stream", Tcp, slow_tcp(), ("NOERROR", &[]), "answered", 1..=1, 1..=1),
        row("black-hole-stream", Tcp, Script::silent(), timeout, "timeout", 2..=3, 1..=2),
        row("servfail-stream", Tcp, failing("SERVFAIL"), ("SERVFAIL", &[]), "failed", 1..=1, 1..=1),
        row("refused-stream", Tcp, failing("REFUSED"), refusal, "failed", 1..=1, 1..=1),
        row("formerr-stream", Tcp, header("FORMERR"), refusal, "unusable", 2..=2, 2..=2),
        row("garbage-stream", Tcp, tcp_only(vec![garbage()]), unusable, "unusable", 1..=1, 1..=1),
        row("wrong-id-stream", Tcp, wrong_id(), unusable, "unusable", 1..=1, 1..=1),
        row("tc-stream", Tcp, Script::steps(vec![tc()]), unusable, "unusable", 1..=1, 1..=1),
        row("reset-stream", Tcp, tcp_only(vec![Step::Reset]), network, "network_error", 1..=1, 1..=1),
        row("half-stream", Tcp, tcp_only(vec![half(), Step::Close]), network, "network_error", 1..=1, 1..=1),
        row("stuck-stream", Tcp, tcp_only(vec![half()]), timeout, "timeout", 2..=3, 1..=2),
    ]
}

fn truth_bytes() -> crate::support::script::Render {
    std::sync::Arc::new(|query: &Message| truth::answer(query, 0, 300).render(query))
}

fn slow_tcp() -> Script {
    Script { udp: Vec::new(), tcp: vec![Step::Wait(Duration::from_millis(300)), Step::Send(truth_bytes())] }
}

/// A running row: its name, its faulty server, and optionally a sound second server.
struct Case {
    row: Row,
    name: String,
    faulty: ScriptedUpstream,
    sound: Option<ScriptedUpstream>,
}

impl Case {
    fn new(row: Row, with_second: bool) -> Self {
        let faulty = ScriptedUpstream::start();
        faulty.by_default(row.script.clone());
        let sound = with_second.then(ScriptedUpstream::start);
        sound.iter().for_each(|sound| sound.by_default(truth::script()));
        let name = format!("{}-{with_second}.allowed.example", row.fault);
        Self { row, name, faulty, sound }
    }

    /// The faulty server in settings syntax.
    fn server(&self) -> String {
        let address = self.faulty.address();
        match self.row.over {
            Over::Udp => address.to_string(),
            Over::Tcp => format!("tcp://{address}"),
        }
    }

    fn route(&self) -> String {
        let sound = self.sound.iter().map(|sound| format!(", \"{}\"", sound.address())).collect::<String>();
        format!("[[route]]\nnames = [\"{}\"]\nservers = [\"{}\"{sound}]\n", self.name, self.server())
    }

    fn counted(&self, metrics: &Metrics, result: &str) -> f64 {
        let labels = [("upstream", self.server()), ("result", result.to_owned())];
        let labels = [(labels[0].0, &*labels[0].1), (labels[1].0, &*labels[1].1)];
        metrics.sum("namegate_upstream_queries_total", &labels)
    }

    fn check(&self, gate: &Gate, before: &Metrics) {
        let case = &self.name;
        let start = Instant::now();
        let reply = gate.ask(case, "A");
        let took = start.elapsed();
        let is_slow = self.row.counted == "answered";
        match &self.sound {
            _ if is_slow => {
                assert_eq!(truth::judge(case, Some(&reply)), Outcome::Answered(0), "{case}");
            }
            Some(sound) => {
                assert_eq!(truth::judge(case, Some(&reply)), Outcome::Answered(0), "{case}");
                assert!(took < Duration::from_secs(1) + SLACK, "{case}: {took:?}");
                assert_eq!(sound.count(case), 1, "{case}: the second server is queried once");
            }
            None => {
                assert_eq!(
                    (reply.rcode().as_str(), &*reply.ede_codes()),
                    self.row.alone,
                    "{case}: {reply:?}"
                );
                assert!(reply.answers.is_empty(), "{case}: {reply:?}");
                assert!(took < DEADLINE + SLACK, "{case}: {took:?}");
            }
        }
        let asked = if self.sound.is_some() { &self.row.asked_beside } else { &self.row.asked };
        let count = self.faulty.queries().len();
        assert!(asked.contains(&count), "{case}: queried {count} times instead of {asked:?}");
        // A server that was overtaken is counted as such, whatever its reply would have been.
        let results = [self.row.counted, "overtaken"];
        gate.expect_metrics(&format!("{case} to be counted as {}", self.row.counted), |after| {
            let rise = |result| self.counted(after, result) - self.counted(before, result);
            let may_be_overtaken = self.sound.is_some() || is_slow;
            rise(results[0]) >= 1.0 || may_be_overtaken && rise(results[1]) >= 1.0
        });
    }
}

#[test]
fn each_fault_has_its_reply_its_count_and_its_bound() {
    let cases: Vec<Case> = [false, true]
        .into_iter()
        .flat_map(|second| rows().into_iter().map(move |row| Case::new(row, second)))
        .collect();
    let usual = ScriptedUpstream::start();
    let routes: String = cases.iter().map(Case::route).collect();
    let settings = format!("upstream.deadline = \"{}ms\"\n{routes}", DEADLINE.as_millis());
    let gate = Gate::start(&usual, &settings);
    let total = |metrics: &Metrics, case: &Case| {
        metrics.sum("namegate_upstream_queries_total", &[("upstream", &case.server())])
    };
    // All servers answer one health probe, and no further ones until the rows are done.
    let before = gate.expect_metrics("the first probes to end", |metrics| {
        cases.iter().all(|case| total(metrics, case) >= 1.0)
    });
    scope(|scope| {
        for case in &cases {
            scope.spawn(|| case.check(&gate, &before));
        }
        // Blocked names are not affected.
        for _ in 0..20 {
            assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN");
            sleep(Duration::from_millis(50));
        }
    });
    assert!(usual.queries().is_empty(), "only servers of the route are queried: {:?}", usual.asked());
    let (queries, outcomes) = gate.settled_metrics().accounting();
    assert_eq!(queries, outcomes);
}

#[test]
fn rejected_replies_are_counted_by_reason() {
    for (script, reason) in [
        (Script::steps(vec![Step::wrong_id(good())]), "id"),
        (Script::steps(vec![Step::wrong_name(good())]), "question"),
        (Script::steps(vec![Step::changed(good(), |bytes| bytes[2] &= 0x7f)]), "not_response"),
        (Script::steps(vec![Step::changed(good(), |bytes| bytes.truncate(7))]), "short"),
    ] {
        let upstream = ScriptedUpstream::start();
        upstream.by_default(script);
        let gate = Gate::start(&upstream, "upstream.deadline = \"1s\"");
        assert_eq!(gate.ask("ws.allowed.example", "A").ede_codes(), [22], "{reason}");
        let metrics = gate.settled_metrics();
        let name = "namegate_upstream_replies_rejected_total";
        let (by_reason, all) = (metrics.sum(name, &[("reason", reason)]), metrics.sum(name, &[]));
        assert!(by_reason >= 1.0 && by_reason == all, "{reason}: {by_reason} of {all}");
    }
}

#[test]
fn a_server_that_comes_and_goes_is_used_while_it_is_there() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(truth::script());
    let gate = Gate::start(&upstream, "upstream.deadline = \"4s\"");
    let gate = &gate;
    scope(|scope| {
        #[allow(clippy::needless_collect, reason = "all clients must send before the first is joined")]
        let askers: Vec<_> = (0..30)
            .map(|number| {
                scope.spawn(move || {
                    sleep(Duration::from_millis(150 * number));
                    let name = format!("n{number}.allowed.example");
                    truth::judge(&name, Some(&gate.ask(&name, "A")))
                })
            })
            .collect();
        // Down for 600 ms of every two seconds: of three attempts a second apart, two find it up, even with small
        // delays.
        for turn in 0..5 {
            sleep(Duration::from_millis(if turn % 2 == 0 { 1400 } else { 600 }));
            match turn % 2 {
                0 => upstream.by_default(Script::silent()),
                _ => upstream.by_default(truth::script()),
            }
        }
        let outcomes = askers.into_iter().map(|asker| asker.join().expect("an asker ends"));
        let outcomes: Vec<Outcome> = outcomes.collect();
        let right = |outcome: &&Outcome| matches!(outcome, Outcome::Answered(0) | Outcome::Failed);
        assert_eq!(outcomes.iter().filter(right).count(), 30, "{outcomes:?}");
        let answered = outcomes.iter().filter(|outcome| **outcome == Outcome::Answered(0)).count();
        assert!(answered >= 25, "{answered} of 30 are answered");
    });
    let sent = upstream.queries().len();
    assert!(sent <= 90, "{sent} packets for 30 queries");
    eventually("the server to be up", || {
        (gate.metrics().sum("namegate_upstream_up", &[]) == 1.0).then_some(())
    });
}
