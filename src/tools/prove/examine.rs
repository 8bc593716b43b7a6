//! [`Examiner`]: sends probes and records the results.

use std::fmt;
use std::net::SocketAddr;

use super::ask::{Announce, NoReply, ProbeClient, Transport};
use super::probe::{Probe, ProbeFinding};
use super::report::{ProofFailure, ProofReport};
use crate::observe::canary::CanaryExpect;
use crate::util::label::Label;

/// Maximum failures per subject; its other probes are then skipped. The failure is clear by then, and every further
/// probe may leak a query to an upstream.
const ENOUGH: usize = 10;

/// Probes one server.
pub struct Examiner<'r, A> {
    asker: &'r mut ProbeClient<A>,
    /// SOA serial in denials by the current policy.
    serial: u32,
    report: &'r mut ProofReport,
    /// Whether any reply arrived over UDP, and over TCP.
    heard: [bool; 2],
}

/// Why the test has no result.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// No server answers there.
    #[error("cannot query {0} over {1}: {2}\n  help: pass the address of a running namegate with `--server`")]
    Unreachable(SocketAddr, &'static str, NoReply),
    /// The server refuses all queries from this host.
    #[error(
        "{0} does not serve this host, so its refusals prove nothing\n  help: add this host's address to \
         `server.allow_clients`"
    )]
    Prohibited(SocketAddr),
}

impl<'r, A: Announce> Examiner<'r, A> {
    /// Sends probes through `asker` and records results in `report`.
    pub fn new(asker: &'r mut ProbeClient<A>, serial: u32, report: &'r mut ProofReport) -> Self {
        Self { asker, serial, report, heard: [false; 2] }
    }

    /// Sends all `probes` over both transports.
    ///
    /// Errors: no server answers, or it does not serve this host.
    pub async fn examine(
        &mut self,
        subject: &str,
        expect: CanaryExpect,
        probes: &[Probe],
    ) -> Result<(), ProveError> {
        let before = self.report.failures.len();
        for (index, probe) in probes.iter().enumerate() {
            for transport in [Transport::Udp, Transport::Tcp] {
                self.send(subject, expect.label(), probe, transport).await?;
            }
            let left = probes.len() - index - 1;
            if left > 0 && self.report.failures.len() - before >= ENOUGH {
                let note = format!("after {ENOUGH} failures for {subject}, {left} more probes were skipped");
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
    ) -> Result<(), ProveError> {
        let server = self.asker.server();
        let reply = self.asker.ask(&probe.query, transport, probe.wanted.patience()).await;
        let heard = &mut self.heard[usize::from(transport == Transport::Tcp)];
        let finding = match reply {
            Ok(reply) => {
                *heard = true;
                probe.wanted.check(&reply, self.serial)
            }
            Err(error) if *heard => ProbeFinding::Failed(error.to_string()),
            Err(error) => return Err(ProveError::Unreachable(server, transport.label(), error)),
        };
        let count = self.report.count(subject, expect, probe.aspect, transport);
        count.asked += 1;
        match finding {
            ProbeFinding::Proven => count.proven += 1,
            ProbeFinding::Prohibited => return Err(ProveError::Prohibited(server)),
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
