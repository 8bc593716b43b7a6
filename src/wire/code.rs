//! Numbers from the DNS registries that namegate acts on, and mnemonics for display.

use std::fmt;
use std::str::FromStr;

/// A query or record type (RFC 1035 section 3.2.2, RFC 6895 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Type(pub u16);

impl Type {
    /// Name servers of a zone.
    pub const NS: Self = Self(2);
    /// Start of authority, part of every negative answer (RFC 2308).
    pub const SOA: Self = Self(6);
    /// An alias.
    pub const CNAME: Self = Self(5);
    /// An IPv4 address.
    pub const A: Self = Self(1);
    /// An IPv6 address.
    pub const AAAA: Self = Self(28);
    /// An alias of a whole subtree (RFC 6672).
    pub const DNAME: Self = Self(39);
    /// Endpoints of a service (RFC 9460).
    pub const SVCB: Self = Self(64);
    /// Endpoints of an HTTPS service (RFC 9460).
    pub const HTTPS: Self = Self(65);
    /// Host information, the record of a minimal answer to ANY (RFC 8482 section 4.2).
    pub const HINFO: Self = Self(13);
    /// Text.
    pub const TXT: Self = Self(16);
    /// EDNS pseudo-record (RFC 6891).
    pub const OPT: Self = Self(41);
    /// The digest of a zone's key, in the parent zone (RFC 4034 section 5).
    pub const DS: Self = Self(43);
    /// A zone's key (RFC 4034 section 2).
    pub const DNSKEY: Self = Self(48);
    /// Key agreement between resolver and server (RFC 2930).
    pub const TKEY: Self = Self(249);
    /// Transaction signature (RFC 8945).
    pub const TSIG: Self = Self(250);
    /// Incremental zone transfer (RFC 1995).
    pub const IXFR: Self = Self(251);
    /// Zone transfer (RFC 5936).
    pub const AXFR: Self = Self(252);
    /// Mailbox records, obsolete (RFC 1035 section 3.2.3).
    pub const MAILB: Self = Self(253);
    /// Mail agents, obsolete (RFC 1035 section 3.2.3).
    pub const MAILA: Self = Self(254);
    /// Any type (RFC 1035 section 3.2.3, RFC 8482).
    pub const ANY: Self = Self(255);
}

/// Types with a mnemonic, by number; others are written `TYPE123` (RFC 3597 section 5).
const MNEMONICS: [(u16, &str); 47] = [
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (10, "NULL"),
    (12, "PTR"),
    (13, "HINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (18, "AFSDB"),
    (24, "SIG"),
    (25, "KEY"),
    (28, "AAAA"),
    (29, "LOC"),
    (33, "SRV"),
    (35, "NAPTR"),
    (37, "CERT"),
    (39, "DNAME"),
    (41, "OPT"),
    (42, "APL"),
    (43, "DS"),
    (44, "SSHFP"),
    (45, "IPSECKEY"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (49, "DHCID"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (53, "SMIMEA"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (61, "OPENPGPKEY"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (99, "SPF"),
    (249, "TKEY"),
    (250, "TSIG"),
    (251, "IXFR"),
    (252, "AXFR"),
    (253, "MAILB"),
    (254, "MAILA"),
    (255, "ANY"),
    (256, "URI"),
    (257, "CAA"),
];

impl Type {
    /// The mnemonic, if the type has one.
    pub fn mnemonic(self) -> Option<&'static str> {
        MNEMONICS.iter().find(|(number, _)| *number == self.0).map(|(_, text)| *text)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(text) => f.pad(text),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

/// Parses a mnemonic or `TYPE123`, in upper or lower case.
impl FromStr for Type {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let known = MNEMONICS.iter().find(|(_, mnemonic)| *mnemonic == upper).map(|(number, _)| *number);
        let number = known.or_else(|| upper.strip_prefix("TYPE").and_then(|digits| digits.parse().ok()));
        number
            .map(Self)
            .ok_or_else(|| format!("unknown record type `{text}`; try A, AAAA, HTTPS, TXT or TYPE65"))
    }
}

/// A class (RFC 6895 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class(pub u16);

impl Class {
    /// The Internet.
    pub const IN: Self = Self(1);
    /// Chaos, used to query a server's identity (RFC 4892).
    pub const CH: Self = Self(3);
}

/// A response code, including the upper bits from EDNS (RFC 6895 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rcode(pub u16);

impl Rcode {
    /// No error, with or without data.
    pub const NOERROR: Self = Self(0);
    /// The query is malformed.
    pub const FORMERR: Self = Self(1);
    /// The server could not answer.
    pub const SERVFAIL: Self = Self(2);
    /// The name does not exist.
    pub const NXDOMAIN: Self = Self(3);
    /// The kind of query is not supported.
    pub const NOTIMP: Self = Self(4);
    /// The server will not answer.
    pub const REFUSED: Self = Self(5);
    /// The server is not authoritative (RFC 2136 section 2.2).
    pub const NOTAUTH: Self = Self(9);
    /// The EDNS version is not supported (RFC 6891 section 6.1.3).
    pub const BADVERS: Self = Self(16);
    /// The client must retry with the new cookie (RFC 7873 section 8).
    pub const BADCOOKIE: Self = Self(23);

    /// Lower-case text for metric labels and logs; `other` for unexpected codes.
    pub fn label(self) -> &'static str {
        match self {
            Self::NOERROR => "noerror",
            Self::FORMERR => "formerr",
            Self::SERVFAIL => "servfail",
            Self::NXDOMAIN => "nxdomain",
            Self::NOTIMP => "notimp",
            Self::REFUSED => "refused",
            Self::BADVERS => "badvers",
            Self::BADCOOKIE => "badcookie",
            _ => "other",
        }
    }
}

/// INFO-CODE of an Extended DNS Error (RFC 8914 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// 0: none of the others.
    pub const OTHER: Self = Self(0);
    /// 3: the answer has expired, and there is no newer one.
    pub const STALE_ANSWER: Self = Self(3);
    /// 13: the answer is a cached failure.
    pub const CACHED_ERROR: Self = Self(13);
    /// 14: the server is starting or shutting down.
    pub const NOT_READY: Self = Self(14);
    /// 15: the name is on a blocklist or, in namegate, not on the allowlist.
    pub const BLOCKED: Self = Self(15);
    /// 18: the client is not permitted to query.
    pub const PROHIBITED: Self = Self(18);
    /// 19: an expired NXDOMAIN, and there is no newer answer.
    pub const STALE_NXDOMAIN: Self = Self(19);
    /// 20: the server is not authoritative for the name, and the query has RD=0.
    pub const NOT_AUTHORITATIVE: Self = Self(20);
    /// 21: the kind of query is not supported.
    pub const NOT_SUPPORTED: Self = Self(21);
    /// 22: no upstream answered in time.
    pub const NO_REACHABLE_AUTHORITY: Self = Self(22);
    /// 23: network errors to every upstream.
    pub const NETWORK_ERROR: Self = Self(23);
}
