//! [`PortHolder`]: the program that uses a port, from /proc (proc_net(5), proc_pid_fd(5)).

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::util::escape::on_one_line;

/// The socket state of listeners in /proc/net/tcp.
const LISTEN: &str = "0A";

/// Addresses of systemd-resolved's stub listener (systemd-resolved.service(8)).
const RESOLVED: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 53), Ipv4Addr::new(127, 0, 0, 54)];

/// A program that uses a port, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortHolder {
    address: SocketAddr,
    /// Its name, if this user may see it.
    program: Option<String>,
    pid: Option<u32>,
}

impl PortHolder {
    /// The program whose `protocol` ("tcp" or "udp") socket keeps `wanted` from being bound. None if it is unknown.
    pub fn find(wanted: SocketAddr, protocol: &str) -> Option<Self> {
        let tables = [format!("/proc/net/{protocol}"), format!("/proc/net/{protocol}6")];
        let tables = tables.iter().filter_map(|path| fs::read_to_string(path).ok());
        let sockets: Vec<ProcSocket> = tables.flat_map(|table| read_table(&table, protocol)).collect();
        let socket = sockets.iter().find(|socket| is_conflict(wanted, socket.address))?;
        let (program, pid) = match owner(socket.inode) {
            Some((program, pid)) => (Some(program), Some(pid)),
            None => (stub_resolver(socket.address), None),
        };
        Some(Self { address: socket.address, program, pid })
    }

    /// The name of the program, if it is known.
    pub fn program(&self) -> Option<&str> {
        self.program.as_deref()
    }

    /// The address that the program uses.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program.as_deref().unwrap_or("another user's process"))?;
        if let Some(pid) = self.pid {
            write!(f, " (pid {pid})")?;
        }
        write!(f, " uses {}", self.address)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct ProcSocket {
    address: SocketAddr,
    inode: u64,
}

/// The listening TCP sockets or the UDP sockets of a table.
fn read_table(table: &str, protocol: &str) -> Vec<ProcSocket> {
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (address, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let is_bound = protocol != "tcp" || *state == LISTEN;
        is_bound.then_some(ProcSocket { address: read_address(address)?, inode: inode.parse().ok()? })
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// An address as the kernel prints it: words of 32 bits in the machine's byte order, then the port.
fn read_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match ip.len() {
        8 => IpAddr::V4(word(0)?.into()),
        32 => {
            let mut octets = [0; 16];
            for (index, octets) in octets.chunks_exact_mut(4).enumerate() {
                octets.copy_from_slice(&word(index * 8)?);
            }
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// True if a socket on `held` may keep `wanted` from being bound. A wildcard of IPv6 may include IPv4.
fn is_conflict(wanted: SocketAddr, held: SocketAddr) -> bool {
    let (own, other) = (wanted.ip(), held.ip().to_canonical());
    let is_same_family = own.is_ipv4() == other.is_ipv4();
    let overlaps = match is_same_family {
        true => own == other || own.is_unspecified() || other.is_unspecified(),
        false => own.is_ipv4() && other.is_unspecified(),
    };
    wanted.port() == held.port() && overlaps
}

/// Name and id of a process that has the socket `inode` open, as far as this user may look; of several, namegate.
fn owner(inode: u64) -> Option<(String, u32)> {
    let wanted = format!("socket:[{inode}]");
    let has_it = |pid: &u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors
            .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
            .any(|target| target.as_os_str() == wanted.as_str())
    };
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok()).filter(has_it);
    let owners: Vec<(String, u32)> = pids.filter_map(|pid| Some((name(pid)?, pid))).collect();
    owners.iter().find(|(name, _)| name == OWN_NAME).or_else(|| owners.first()).cloned()
}

/// The name of namegate's processes.
pub const OWN_NAME: &str = "namegate";

fn name(pid: u32) -> Option<String> {
    let name = on_one_line(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end());
    // The kernel keeps 15 characters.
    Some(if name == "systemd-resolve" { "systemd-resolved".to_owned() } else { name })
}

/// The stub listener is known by its address, whoever looks.
fn stub_resolver(address: SocketAddr) -> Option<String> {
    let is_stub = RESOLVED.into_iter().any(|stub| address == SocketAddr::from((stub, 53)));
    is_stub.then(|| "systemd-resolved".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sockets_are_read_as_the_kernel_writes_them() {
        let word = |octets: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(octets));
        let table = format!(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: {}:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   991        0 5421 1 x\n   \
             1: {}:0035 0100007F:9999 01 00000000:00000000 00:00000000 00000000   991        0 5422 1 x\n\
             2: {}{}{}{}:0019 0:0000 0A 0:0 0:0 0 0 0 77\nshort\n",
            word([127, 0, 0, 53]),
            word([127, 0, 0, 1]),
            word([0x20, 1, 0xd, 0xb8]),
            word([0; 4]),
            word([0; 4]),
            word([0, 0, 0, 9]),
        );
        let socket = |address: &str, inode| ProcSocket { address: address.parse().unwrap(), inode };
        let listeners = [socket("127.0.0.53:53", 5421), socket("[2001:db8::9]:25", 77)];
        assert_eq!(read_table(&table, "tcp"), listeners);
        assert_eq!(read_table(&table, "udp").len(), 3);
    }

    #[test]
    fn sockets_that_overlap_are_in_each_others_way() {
        for (wanted, held, conflict) in [
            ("0.0.0.0:53", "127.0.0.53:53", true),
            ("127.0.0.53:53", "0.0.0.0:53", true),
            ("10.0.0.4:53", "127.0.0.53:53", false),
            ("10.0.0.4:53", "10.0.0.4:54", false),
            ("10.0.0.4:53", "[::]:53", true),
            ("10.0.0.4:53", "[::ffff:10.0.0.4]:53", true),
            ("[::]:53", "0.0.0.0:53", false),
            ("[::]:53", "[::1]:53", true),
            ("[::1]:53", "[::2]:53", false),
        ] {
            assert_eq!(
                is_conflict(wanted.parse().unwrap(), held.parse().unwrap()),
                conflict,
                "{wanted} {held}"
            );
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_uses_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let holder = PortHolder::find(address, "tcp").unwrap();
        assert!(holder.address == address && holder.pid.is_some(), "{holder}");
        assert_eq!(PortHolder::find(address, "udp"), None);
    }
}
