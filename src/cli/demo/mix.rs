//! [`question`]: the queries of the demonstration's clients, always in the same order.

use hickory_proto::rr::RecordType;
use hickory_proto::rr::RecordType::{A, AAAA, HTTPS, SRV, TXT};

/// Each row's share of a hundred questions, its name and type. `#` stands for a number that changes with every
/// question.
///
/// The allowed names are those that the demonstration's upstream knows, and a few that it does not. The others are
/// reserved for documentation (RFC 2606), or what a machine's search suffixes make of names it knows.
#[rustfmt::skip]
const MIX: [(usize, &str, RecordType); 32] = [
    // Allowed: a workspace, its storage and registry, sign-in, packages.
    (9, "4f2c7a1e-90b3-4d5e-8c61-a7d2e0f93b58.workspace.eastus.api.azureml.ms", A),
    (4, "4f2c7a1e-90b3-4d5e-8c61-a7d2e0f93b58.workspace.eastus.cert.api.azureml.ms", A),
    (2, "4f2c7a1e-90b3-4d5e-8c61-a7d2e0f93b58.workspace.eastus.api.azureml.ms", AAAA),
    (4, "ml-demo-eastus-4f2c7a1e-90b3-4d5e-8c61-a7d2e0f93b58.eastus.notebooks.azure.net", A),
    (3, "score.eastus.inference.ml.azure.com", A),
    (7, "demostorage.blob.core.windows.net", A),
    (2, "publicdata.blob.core.windows.net", A),
    (3, "demoregistry.azurecr.io", A),
    (2, "demovault.vault.azure.net", A),
    (7, "login.microsoftonline.com", A),
    (2, "login.microsoftonline.com", AAAA),
    (3, "management.azure.com", A),
    (2, "ml.azure.com", A),
    (1, "ml.azure.com", HTTPS),
    (3, "mcr.microsoft.com", A),
    (4, "pypi.org", A),
    (2, "pypi.org", AAAA),
    (4, "files.pythonhosted.org", A),
    (2, "job-#.workspace.eastus.api.azureml.ms", A),
    // Blocked: some repeatedly, some only once.
    (6, "telemetry.example.com", A),
    (4, "www.example.com", A),
    (2, "www.example.com", HTTPS),
    (3, "tracker.example.net", A),
    (2, "tracker.example.net", AAAA),
    (2, "mirror.example.org", A),
    (4, "d#.exfiltrate.example.com", TXT),
    (1, "host-#.example.net", A),
    // Noise: search suffixes, and names of the local network.
    (3, "wpad", A),
    (3, "demostorage.blob.core.windows.net.x.reddog.microsoft.com", A),
    (2, "pypi.org.abcdefghijklmnopqrstuvwxyz.bx.internal.cloudapp.net", AAAA),
    (1, "printer.local", A),
    (1, "_ldap._tcp.lan", SRV),
];

/// Sum of all shares.
const SHARES: usize = 100;
/// Has no divisor in common with [`SHARES`]: steps of it reach every place and mix the rows.
const STRIDE: usize = 37;
/// One in this many queries is sent over TCP.
const TCP_EVERY: usize = 23;

/// A question, and how it is sent.
pub(super) struct DemoQuestion {
    pub(super) name: String,
    pub(super) kind: RecordType,
    pub(super) over_tcp: bool,
}

/// The question with this number.
pub(super) fn question(number: usize) -> DemoQuestion {
    let mut place = number.wrapping_mul(STRIDE) % SHARES;
    let row = MIX.iter().find(|(share, ..)| match place.checked_sub(*share) {
        Some(rest) => {
            place = rest;
            false
        }
        None => true,
    });
    let (_, name, kind) = row.unwrap_or(&MIX[0]);
    DemoQuestion {
        name: name.replace('#', &number.to_string()),
        kind: *kind,
        over_tcp: number % TCP_EVERY == 7,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_row_gets_its_share() {
        assert_eq!(MIX.iter().map(|(share, ..)| share).sum::<usize>(), SHARES);
        let mut asked: HashMap<(String, RecordType), usize> = HashMap::new();
        for number in 0..SHARES {
            let DemoQuestion { name, kind, .. } = question(number);
            let pattern = MIX.iter().find(|(_, row, _)| row.replace('#', &number.to_string()) == name);
            *asked
                .entry((pattern.map(|(_, row, _)| row.to_string()).unwrap_or_default(), kind))
                .or_default() += 1;
        }
        for (share, name, kind) in MIX {
            assert_eq!(asked[&(name.to_owned(), kind)], share, "{name} {kind}");
        }
    }
}
