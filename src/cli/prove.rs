//! `namegate prove`: queries forbidden and required names over every transport and record type, and writes a report.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use axum::http::Method;
use clap::Args;
use tokio::runtime::Builder;

use super::http::{AdminClient, Error};
use crate::api::own_clients::{LEASE, OwnClientsJson};
use crate::api::pages::{PolicyJson, StatusJson};
use crate::assemble::{Assembly, Sources, assemble};
use crate::cli::output::{FAILED, NO_ANSWER, OK, counted, marked, try_print, warn};
use crate::config::listen_address;
use crate::observe::canary::{Canary, CanaryExpect, random_label};
use crate::policy::temporary::{Grant, Temporary};
use crate::tools::prove::ask::{Announce, ProbeClient};
use crate::tools::prove::examine::Examiner;
use crate::tools::prove::look_alike::LookAlikes;
use crate::tools::prove::matrix::every_way;
use crate::tools::prove::report::{ProofReport, TestedResolver};
use crate::util::sync::lock;
use crate::wire::reply::Transport;

/// The resolver to test, and the report.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Address of the resolver to test; repeatable [default: `server.listen`]
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    server: Vec<SocketAddr>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write the report to this file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Registers the sockets of this test with the resolver, so that their lookups are not counted as a client's.
struct Registration {
    listener: AdminClient,
    /// The resolver refused it, or there is no token.
    is_refused: AtomicBool,
    sockets: Mutex<Vec<(SocketAddr, Transport)>>,
}

/// Page with the version and the policy in force.
const STATUS: &str = "/api/v1/status";

/// Tests and reports; exit status 0 if every probe passed, 1 if one failed, 2 if the test could not run.
pub(super) fn run(arguments: &Arguments, sources: &Sources) -> u8 {
    let outcome = prove(arguments, sources).and_then(|report| {
        write(arguments, &report)?;
        Ok(report.proven)
    });
    match outcome {
        Ok(true) => OK,
        Ok(false) => FAILED,
        Err(error) => {
            warn(&marked(&*error));
            NO_ANSWER
        }
    }
}

fn write(arguments: &Arguments, report: &ProofReport) -> Result<(), Error> {
    let text = if arguments.json { serde_json::to_string_pretty(report)? + "\n" } else { report.to_string() };
    match &arguments.output {
        None => try_print(&text)?,
        Some(file) => {
            std::fs::write(file, text)
                .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
            let verdict = if report.proven { "passed" } else { "FAILED" };
            try_print(&format!("{verdict}: {} queries, see {}", report.asked, file.display()))?;
        }
    }
    Ok(())
}

fn prove(arguments: &Arguments, sources: &Sources) -> Result<ProofReport, Error> {
    let assembly = assemble(sources, 1).map_err(|faults| format!("invalid settings\n{faults}"))?;
    let listener = AdminClient::of(sources)?;
    let servers = match arguments.server.is_empty() {
        true => &assembly.settings.server.listen,
        false => &arguments.server,
    };
    if servers.iter().any(|server| server.port() == 0) {
        return Err(
            "the settings do not name a port (port 0)\n  help: pass the resolver's address with --server"
                .into(),
        );
    }
    let canaries = Canary::of(&assembly.settings.prove);
    if canaries.is_empty() {
        return Err("no names to test\n  help: set `prove.must_not_resolve`".into());
    }
    let status: StatusJson = listener.read(STATUS)?;
    let allowed: Vec<Grant> = listener.read("/api/v1/allowed")?;
    let now_allowed = Temporary::new(allowed.iter().cloned(), Instant::now(), SystemTime::now());
    let policies = assembly.policies.with_temporary(now_allowed);
    let is_ancestor = |canary: &&Canary| policies.may_ask_for_zone(&canary.name, Instant::now());
    let ancestors: Vec<&Canary> = canaries.iter().filter(is_ancestor).collect();
    let mut report = begin(servers, &assembly, &status);
    let look_alikes = LookAlikes::of(&assembly.policies, assembly.local.origins(), &allowed);
    report.notes = notes(&canaries, &assembly, &status.policy, &look_alikes, allowed.len());
    let left_out =
        ancestors.iter().filter(|canary| canary.expect == CanaryExpect::NotResolve).map(|canary| {
            format!(
                "NS, SOA, DS and DNSKEY of {} were not tested: they are forwarded because names below it are allowed",
                canary.name
            )
        });
    report.notes.extend(left_out);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let serial = serial(&status.policy)?;
    let registration = Registration::new(AdminClient::of(sources)?);
    runtime.block_on(async {
        tokio::select! {
            outcome = examine(servers, (&canaries, &ancestors), &look_alikes, serial, &registration, &mut report) => outcome,
            never = registration.renew() => never,
        }
    })?;
    report.ended = now();
    let PolicyJson { hash, mode, .. } = listener.read::<StatusJson>(STATUS)?.policy;
    if (&hash, &mode) != (&status.policy.hash, &status.policy.mode) {
        return Err("the policy changed during the test\n  help: run the test again".into());
    }
    report.conclude();
    Ok(report)
}

async fn examine(
    servers: &[SocketAddr],
    (canaries, ancestors): (&[Canary], &[&Canary]),
    look_alikes: &LookAlikes,
    serial: u32,
    registration: &Registration,
    report: &mut ProofReport,
) -> Result<(), Error> {
    let random = random_label();
    for server in servers {
        let mut asker = ProbeClient::new(*server, registration).await?;
        let mut examiner = Examiner::new(&mut asker, serial, report);
        let outcome = async {
            for canary in canaries {
                let probes = every_way(canary, &random, ancestors.contains(&canary));
                examiner.examine(&canary.name.to_string(), canary.expect, &probes).await?;
            }
            examiner.examine("look-alike names", CanaryExpect::NotResolve, &look_alikes.probes).await
        };
        let outcome = outcome.await;
        asker.close().await;
        outcome?;
    }
    Ok(())
}

impl Registration {
    fn new(listener: AdminClient) -> Self {
        Self { listener, is_refused: AtomicBool::new(false), sockets: Mutex::default() }
    }

    /// Renews the registrations until dropped.
    async fn renew<T>(&self) -> T {
        loop {
            tokio::time::sleep(LEASE / 3).await;
            let sockets = lock(&self.sockets).clone();
            self.send(Method::POST, sockets).await;
        }
    }

    async fn send(&self, method: Method, sockets: Vec<(SocketAddr, Transport)>) {
        if sockets.is_empty() || self.is_refused.load(Ordering::Relaxed) {
            return;
        }
        let of = |wanted| {
            sockets.iter().filter(move |(_, transport)| *transport == wanted).map(|(address, _)| *address)
        };
        let body = OwnClientsJson { udp: of(Transport::Udp).collect(), tcp: of(Transport::Tcp).collect() };
        let error = match self.listener.order(method, "/api/v1/own-clients", Some(&body)).await {
            Ok(page) if page.status == 204 => return,
            Ok(page) => page.refusal(),
            Err(error) => error.to_string(),
        };
        if !self.is_refused.swap(true, Ordering::Relaxed) {
            tell_unregistered(&error);
        }
    }
}

impl Announce for &Registration {
    async fn announce(&self, socket: (SocketAddr, Transport)) {
        lock(&self.sockets).push(socket);
        self.send(Method::POST, vec![socket]).await;
    }

    async fn withdraw(&self, sockets: &[(SocketAddr, Transport)]) {
        lock(&self.sockets).retain(|socket| !sockets.contains(socket));
        self.send(Method::DELETE, sockets.to_vec()).await;
    }
}

fn tell_unregistered(error: &dyn std::fmt::Display) {
    let error = error.to_string();
    let error = error.strip_prefix("error: ").unwrap_or(&error);
    warn(&format!("warning: the resolver counts these lookups as a client's: {error}"));
}

fn begin(servers: &[SocketAddr], assembly: &Assembly, status: &StatusJson) -> ProofReport {
    ProofReport {
        proven: false,
        started: now(),
        ended: String::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        gate: TestedResolver {
            servers: servers.iter().map(ToString::to_string).collect(),
            version: status.version.clone(),
            policy: status.policy.hash.clone(),
            mode: status.policy.mode.clone(),
            rules: status.policy.rules,
        },
        settings: assembly.origin.clone(),
        asked: 0,
        rows: Vec::new(),
        failures: Vec::new(),
        notes: Vec::new(),
    }
}

fn notes(
    canaries: &[Canary],
    assembly: &Assembly,
    running: &PolicyJson,
    look_alikes: &LookAlikes,
    allowed: usize,
) -> Vec<String> {
    let mut notes = Vec::new();
    if running.mode == "observe" {
        notes.push("the resolver is in observe mode: it forwards names that no rule allows".to_owned());
    }
    if allowed > 0 {
        notes.push(format!("{} in force (`namegate allowed`)", counted(allowed as u64, "grant")));
    }
    if running.hash != assembly.policy().hash() {
        notes.push(format!(
            "these settings give policy {}, but the resolver runs {}: look-alike names were derived from \
             these settings",
            assembly.policy().hash(),
            running.hash
        ));
    }
    if !canaries.iter().any(|canary| canary.expect == CanaryExpect::Resolve) {
        notes.push("no required names tested: `prove.must_resolve` is empty".to_owned());
    }
    if look_alikes.left_out > 0 {
        notes.push(format!(
            "{} not tested: allowed by a rule or a grant, or in a local zone",
            counted(look_alikes.left_out as u64, "look-alike name")
        ));
    }
    notes
}

/// Serial of the SOA in denials: the first four bytes of the policy's hash.
fn serial(policy: &PolicyJson) -> Result<u32, Error> {
    let digits = policy.hash.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    digits.ok_or_else(|| "the resolver's status has no policy hash".into())
}

fn now() -> String {
    crate::util::rfc3339::seconds(SystemTime::now()).to_string()
}
