//! [`Cookie`]: a client's COOKIE option (RFC 7873, RFC 9018).

/// Option code of cookies (RFC 7873 section 4).
pub const OPTION_COOKIE: u16 = 10;

/// Length of a client cookie in bytes (RFC 7873 section 4.1).
pub const CLIENT: usize = 8;

/// Length of the server cookies that namegate generates, in bytes (RFC 9018 section 4).
pub const SERVER: usize = 16;

/// Length of the option in namegate's replies, including option code and length.
pub const OPTION: usize = 4 + CLIENT + SERVER;

/// A client cookie, and a server cookie that namegate may have issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// The client cookie.
    pub client: [u8; CLIENT],
    /// The server cookie; `None` if there is none, or if its length shows that another server issued it.
    pub server: Option<[u8; SERVER]>,
}

impl Cookie {
    /// Parses the option's data; `None` if the length is invalid.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let (client, server) = data.split_first_chunk::<CLIENT>()?;
        // RFC 7873 section 5.2.2: any other length is a format error.
        if !matches!(server.len(), 0 | 8..=32) {
            return None;
        }
        Some(Self { client: *client, server: server.try_into().ok() })
    }

    /// The option with the client cookie and `server`.
    pub fn option(&self, server: [u8; SERVER]) -> [u8; OPTION] {
        let mut option = [0; OPTION];
        option[..2].copy_from_slice(&OPTION_COOKIE.to_be_bytes());
        option[2..4].copy_from_slice(&((CLIENT + SERVER) as u16).to_be_bytes());
        option[4..4 + CLIENT].copy_from_slice(&self.client);
        option[4 + CLIENT..].copy_from_slice(&server);
        option
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_rfc() {
        let data = [7; 64];
        for length in 0..=64 {
            let parsed = Cookie::parse(&data[..length]);
            assert_eq!(parsed.is_some(), length == 8 || (16..=40).contains(&length), "{length}");
            let has_server = parsed.is_some_and(|cookie| cookie.server.is_some());
            assert_eq!(has_server, length == 24, "{length}");
        }
    }
}
