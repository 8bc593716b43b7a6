//! [`Examiner`]: sends probes, and writes down what came back.

use std::fmt;
use std::net::SocketAddr;

use super::ask::{NoReply, ProbeClient, Transport};
use super::probe::{Probe, ProbeFinding};
use super::report::{ProofFailure, ProofReport};
use crate::observe::canary::CanaryExpect;
use crate::util::label::Label;

/// Failures at one subject after which its other probes are left out: that it fails is known by then, and each may be a
/// query that an upstream gets to see.
const ENOUGH: usize = 10;

/// Asks one server.
pub struct Examiner<'r> {
    asker: ProbeClient,
    /// Serial in the denials of the policy in force.
    serial: u32,
    report: &'r mut ProofReport,
    /// Over UDP and over TCP: something has come back.
    heard: [bool; 2],
}

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum CannotTell {
    /// No gate answers there.
    #[error(
        "no answer from {0} over {1}: {2}\n  help: `--server` must name a gate that runs (`namegate serve`)"
    )]
    Unreachable(SocketAddr, &'static str, NoReply),
    /// The gate refuses whatever this machine asks.
    #[error(
        "{0} does not serve this machine, so that its refusals prove nothing\n  help: add the address asked from to \
         `allow_clients` in [server]"
    )]
    Prohibited(SocketAddr),
}

impl<'r> Examiner<'r> {
    /// Asks through `asker`, and writes into `report`.
    pub fn new(asker: ProbeClient, serial: u32, report: &'r mut ProofReport) -> Self {
        Self { asker, serial, report, heard: [false; 2] }
    }

    /// Sends all `probes` over both transports.
    ///
    /// Errors: there is no gate, or it does not serve us.
    pub async fn examine(
        &mut self,
        subject: &str,
        expect: CanaryExpect,
        probes: &[Probe],
    ) -> Result<(), CannotTell> {
        let before = self.report.failures.len();
        for (index, probe) in probes.iter().enumerate() {
            for transport in [Transport::Udp, Transport::Tcp] {
                self.send(subject, expect.label(), probe, transport).await?;
            }
            let left = probes.len() - index - 1;
            if left > 0 && self.report.failures.len() - before >= ENOUGH {
                let note =
                    format!("after {ENOUGH} failures {left} more ways to ask for {subject} were left out");
                self.report.notes.push(note);
                break;
            }
        }
        Ok(())
    }

    async fn send(
        &mut self,
        subject: &str,
        expect: &'static str,
        probe: &Probe,
        transport: Transport,
    ) -> Result<(), CannotTell> {
        let server = self.asker.server();
        let reply = self.asker.ask(&probe.query, transport, probe.wanted.patience()).await;
        let heard = &mut self.heard[usize::from(transport == Transport::Tcp)];
        let finding = match reply {
            Ok(reply) => {
                *heard = true;
                probe.wanted.check(&reply, self.serial)
            }
            Err(error) if *heard => ProbeFinding::Failed(error.to_string()),
            Err(error) => return Err(CannotTell::Unreachable(server, transport.label(), error)),
        };
        let count = self.report.count(subject, expect, probe.aspect, transport);
        count.asked += 1;
        match finding {
            ProbeFinding::Proven => count.proven += 1,
            ProbeFinding::Prohibited => return Err(CannotTell::Prohibited(server)),
            ProbeFinding::Failed(found) => self.report.failures.push(ProofFailure {
                expect,
                what: probe.what.clone(),
                server: server.to_string(),
                transport: transport.label(),
                query: hexadecimal(&probe.query),
                found,
            }),
        }
        Ok(())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
