//! Tests exports in the real servers: each loads the exported file, and its verdicts on 100,000 names must match the
//! policy. An upstream answers every name.

mod asker;
pub(crate) mod names;
mod server;

use std::io::Write;

use namegate::assemble::{Assembly, Sources, assemble};
use namegate::config::Overrides;
use namegate::policy::clients::GroupId;
use namegate::policy::{Verdict, rule::Pattern};
use namegate::tools::export::{Export, ExportOptions, Remark, Target, export};
use namegate::wire::code::{Class, Type};
use namegate::wire::name::Name;
use namegate::wire::query::Question;
use namegate::wire::request::AnswerFlags;

use asker::{Answered, Upstream, ask_all};
use names::names;
use server::{Kind, Server};

/// Names queried at each server for each policy.
const NAMES: usize = 100_000;

/// Nested rules, in every possible order of nesting.
pub(crate) const NESTED: &str = r#"
[policy]
zones = []
allow = [
    ".both.example", "*.below.example", "name.example", "a-b.example",
    "allowed.denied.both.example", "*.wide.denied.both.example", ".again.wide.deep.both.example",
    "exact.below.example", ".sub.below.example", "name.name.example", "_tcp.srv.example", "*.tcp.srv.example",
    "*.one.two.three.four.example", "apex.example", "*.apex.example", "single", ".top",
]
deny = [
    ".denied.both.example", "*.wide.deep.both.example", "exact.both.example", "*.name-only.both.example",
    "below.both.example", ".denied.sub.below.example", "x.apex.example", "*.y.apex.example", ".unrelated.example",
    "one.top", "*.two.top",
]
"#;

/// The shipped allowlists with values for every parameter.
pub(crate) const SHIPPED: &str = r#"
[policy]
zones = ["azure-ml", "azure-government", "azure-china", "kubernetes", "python", "r", "vscode", "docker-hub", "sign-in"]
[parameters]
region = ["westeurope", "eastus2"]
storage = ["teststorage"]
acr = ["testregistry"]
key_vault = ["testvault"]
"#;

pub(crate) fn assembly(settings: &str) -> Assembly {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let config = directory.path().join("namegate.toml");
    std::fs::write(&config, format!("# settings\n{settings}")).expect("a file can be written");
    let upstream = vec!["127.0.0.1:53535".parse().expect("an address")];
    let overrides = Overrides { upstream, ..Overrides::default() };
    assemble(&Sources { config: Some(config), overrides }, 1).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The policy's verdict on a name.
pub(crate) fn allows(assembly: &Assembly, name: &Name) -> bool {
    let question = Question { name: name.clone(), qtype: Type(1), class: Class::IN };
    let asker = (std::net::Ipv4Addr::LOCALHOST.into(), GroupId::DEFAULT);
    let verdict =
        assembly.policies.decide(asker, &question, AnswerFlags::default(), std::time::Instant::now());
    matches!(verdict, Verdict::Allowed(..))
}

/// A warning of an export about a rule.
#[derive(Debug)]
pub(crate) struct Told {
    pattern: Pattern,
    /// True if the export allows more than the rule, false if less.
    is_wider: bool,
    /// True if it is about the names of the rule's subtree, not only the rule's own.
    is_about_more: bool,
}

impl Told {
    /// All warnings of an export about rules.
    pub(crate) fn of(export: &Export) -> Vec<Self> {
        let told = |remark: &Remark| {
            let (_, rest) = remark.message.split_once('`')?;
            let (pattern, fate) = rest.split_once('`')?;
            let is_wider = fate.starts_with(" is widened");
            let is_about_more = is_wider || fate.starts_with(" also blocks");
            Some(Self { pattern: Pattern::parse(pattern).ok()?, is_wider, is_about_more })
        };
        export.remarks.iter().filter_map(told).collect()
    }

    /// True if it explains why the export's verdict on `name` differs from the policy's.
    pub(crate) fn explains(&self, name: &Name, allowed_there: bool) -> bool {
        let is_meant =
            if self.is_about_more { name.is_within(self.pattern.name()) } else { self.pattern.matches(name) };
        self.is_wider == allowed_there && is_meant
    }
}

fn compare(kind: Kind, target: Target, widen: bool) {
    for (policy, settings) in [("default", ""), ("shipped", SHIPPED), ("nested", NESTED)] {
        let upstream = Upstream::start();
        let assembly = assembly(settings);
        let export = export(target, &assembly, &ExportOptions { widen, ..ExportOptions::default() });
        let text = export.text.replace("127.0.0.1#53535", &format!("127.0.0.1#{}", upstream.port()));
        let text = text.replace("127.0.0.1@53535", &format!("127.0.0.1@{}", upstream.port()));
        let told = Told::of(&export);
        let server = Server::start(kind, &text, upstream.port());
        let names = names(assembly.policy(), NAMES);
        let start = std::time::Instant::now();
        let answers = ask_all(server.address(), &names);
        let (mut told_of, mut differences) = (0, Vec::new());
        for (name, answer) in names.iter().zip(&answers) {
            let folded = Name::from_labels(name.split('.').map(str::as_bytes)).expect("a name");
            let allowed = allows(&assembly, &folded);
            let same = matches!((allowed, answer), (true, Answered::Yes) | (false, Answered::No));
            let there = *answer == Answered::Yes;
            let is_answer = !matches!(answer, Answered::Otherwise(_));
            match same {
                true => {}
                false if is_answer && told.iter().any(|told| told.explains(&folded, there)) => told_of += 1,
                false => differences.push(format!("{name}: {answer:?}, policy allows: {allowed}")),
            }
        }
        let allowed = answers.iter().filter(|answer| **answer == Answered::Yes).count();
        let summary = format!(
            "{kind:?} from {target:?}, {policy} policy: {} names, {allowed} answered, {} differences, {told_of} explained \
             by {} remarks{}, {:.1} s",
            names.len(),
            differences.len(),
            export.remarks.len(),
            if widen { " (--widen)" } else { "" },
            start.elapsed().as_secs_f64(),
        );
        // Written directly to standard error, as the test harness would capture it.
        drop(writeln!(std::io::stderr(), "{summary}"));
        differences.truncate(20);
        assert!(differences.is_empty(), "{kind:?} from {target:?}, {policy}:\n{}", differences.join("\n"));
        assert!(allowed > 100 && allowed < names.len() - 100, "both verdicts must occur: {allowed} answered");
    }
}

#[test]
#[ignore = "needs bind9; run in .ci/run"]
fn bind_blocks_by_response_policy_zone_what_namegate_blocks() {
    compare(Kind::Bind, Target::Rpz, false);
}

#[test]
#[ignore = "needs unbound; run in .ci/run"]
fn unbound_blocks_by_response_policy_zone_what_namegate_blocks() {
    compare(Kind::UnboundRpz, Target::Rpz, false);
}

#[test]
#[ignore = "needs pdns-recursor; run in .ci/run"]
fn powerdns_blocks_by_response_policy_zone_what_namegate_blocks() {
    compare(Kind::PowerDns, Target::Rpz, false);
}

#[test]
#[ignore = "needs unbound; run in .ci/run"]
fn unbound_blocks_by_local_zones_what_namegate_blocks() {
    compare(Kind::Unbound, Target::Unbound, false);
    compare(Kind::Unbound, Target::Unbound, true);
}

#[test]
#[ignore = "needs dnsmasq; run in .ci/run"]
fn dnsmasq_blocks_what_namegate_blocks() {
    compare(Kind::Dnsmasq, Target::Dnsmasq, false);
}
