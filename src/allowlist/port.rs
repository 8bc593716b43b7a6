//! [`Port`]: a port that the vendor says to open. DNS ignores it; exports use it.

use std::fmt;
use std::str::FromStr;

use crate::diagnostics::ValueError;

/// The transport a port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Both.
    Any,
}

/// A port in a rule: `tcp/443`, `udp/123`, `any/443`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port {
    /// The transport.
    pub protocol: Protocol,
    /// The number, 1 to 65535.
    pub number: u16,
}

impl FromStr for Port {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let read = |(protocol, number): (&str, &str)| {
            let protocol = match protocol {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                "any" => Protocol::Any,
                _ => return None,
            };
            let number = number.parse().ok().filter(|number| *number > 0)?;
            Some(Self { protocol, number })
        };
        text.split_once('/').and_then(read).ok_or_else(|| {
            let help = "write `tcp/443`, `udp/443` or `any/443`, with a number from 1 to 65535";
            ValueError::new(format!("invalid port `{text}`"), help)
        })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Any => "any",
        };
        write!(f, "{protocol}/{}", self.number)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_and_refuses() {
        for text in ["tcp/443", "udp/1", "any/65535"] {
            assert_eq!(text.parse::<Port>().unwrap().to_string(), text);
        }
        for text in ["", "443", "tcp/0", "tcp/65536", "tcp:443", "TCP/443", "icmp/1", "tcp/443 "] {
            assert!(text.parse::<Port>().unwrap_err().message.contains("invalid port"), "{text}");
        }
    }
}
