//! Decides names with the policy alone, without a resolver: a linter for lists of hosts, a proxy, an admission webhook.
//!
//! ```sh
//! cargo run --example embed_policy -- zones/azure-ml.toml ml.azure.com evil.example
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::time::Instant;

use namegate::assemble::{Sources, assemble};
use namegate::config::Overrides;
use namegate::policy::Verdict;
use namegate::wire::code::{Class, Type};
use namegate::wire::presentation::read_name;
use namegate::wire::query::Question;
use namegate::wire::request::AnswerFlags;

#[allow(clippy::print_stdout, clippy::print_stderr)]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(allowlist) = arguments.next() else {
        eprintln!("usage: embed_policy ALLOWLIST NAME...");
        return ExitCode::from(2);
    };
    // The default settings with this allowlist. Faults are reported with file, line and remedy.
    let overrides = Overrides { zones: vec![allowlist], ..Overrides::default() };
    let policies = match assemble(&Sources { config: None, overrides }, 1) {
        Ok(assembly) => assembly.policies,
        Err(faults) => {
            eprintln!("{}", faults.render(false));
            return ExitCode::from(2);
        }
    };
    let client = IpAddr::from(Ipv4Addr::LOCALHOST);
    let Some(group) = policies.group(client) else {
        eprintln!("server.allow_clients does not include {client}");
        return ExitCode::from(2);
    };
    for text in arguments {
        let Some(name) = read_name(&text) else {
            println!("{text}: not a domain name");
            continue;
        };
        let question = Question { name, qtype: Type::A, class: Class::IN };
        match policies.decide((client, group), &question, AnswerFlags::default(), Instant::now()) {
            Verdict::Allowed(..) => println!("{text}: allowed"),
            Verdict::Blocked(reason) => println!("{text}: blocked, {}", <&str>::from(reason.kind())),
            other => println!("{text}: {other:?}"),
        }
    }
    ExitCode::SUCCESS
}
