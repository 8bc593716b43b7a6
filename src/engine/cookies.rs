//! [`Cookies`]: server cookies, which prove that a client receives replies at its address (RFC 7873, RFC 9018).

use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use siphasher::sip::SipHasher24;

use crate::wire::cookie::{Cookie, OPTION, SERVER};

/// The version of the algorithm (RFC 9018 section 4.1).
const VERSION: u8 = 1;

/// Maximum age of a cookie, and maximum time in the future, in seconds (RFC 9018 section 4.3: "within a 1-hour period in the past and a
/// 5-minute period into the future").
const OLDEST: i32 = 3600;
const NEWEST: i32 = 300;

/// Age in seconds after which a client gets a new cookie (RFC 9018 section 4.3: "half an hour").
const RENEWED: i32 = 1800;

/// The secret that cookies are made with.
pub type Secret = [u8; 16];

/// Makes and verifies cookies. It stores nothing about clients.
#[derive(Clone)]
pub struct Cookies {
    secret: Secret,
    /// The previous secret; its cookies are still valid.
    before: Option<Secret>,
    /// When this value was created, on the monotonic clock.
    began: Instant,
    /// The wall clock at that time, in seconds since 1970 modulo 2³². It follows changes of the wall clock, because
    /// servers that share a secret share that clock.
    epoch: Arc<AtomicU32>,
}

/// The result for a client's cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// The COOKIE option for the reply.
    pub option: [u8; OPTION],
    /// True if the client sent a valid server cookie for its address.
    pub is_verified: bool,
}

impl Cookies {
    /// Makes cookies with `secret`; those made with `before` remain valid. `clocks` is one moment: as an instant, and
    /// in seconds since 1970 modulo 2³².
    pub fn new(secret: Secret, before: Option<Secret>, clocks: (Instant, u32)) -> Self {
        let (began, seconds) = clocks;
        Self { secret, before, began, epoch: Arc::new(AtomicU32::new(seconds)) }
    }

    /// Sets the wall clock: at `now` it is `seconds` since 1970 modulo 2³². It may have been changed, or the machine
    /// may have slept.
    pub fn set_clock(&self, now: Instant, seconds: u32) {
        self.epoch.store(seconds.wrapping_sub(self.since(now)), Ordering::Relaxed);
    }

    fn since(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.began).as_secs() as u32
    }

    /// The secrets, the current one first.
    pub fn secrets(&self) -> (Secret, Option<Secret>) {
        (self.secret, self.before)
    }

    /// Verifies `cookie`, which came from `client` at `now`, and returns the cookie for the reply.
    pub fn answer(&self, cookie: &Cookie, client: IpAddr, now: Instant) -> Given {
        let client = client.to_canonical();
        let time = self.epoch.load(Ordering::Relaxed).wrapping_add(self.since(now));
        if let Some((server, age)) = cookie.server.and_then(|server| Some((server, age_of(&server, time)?))) {
            let is_made_with =
                |secret: &Secret| is_equal(&make(cookie, client, &server[..8], secret), &server);
            let is_of_now = is_made_with(&self.secret);
            if is_of_now || self.before.as_ref().is_some_and(is_made_with) {
                let is_kept = is_of_now && age <= RENEWED;
                let server = if is_kept { server } else { self.fresh(cookie, client, time) };
                return Given { option: cookie.option(server), is_verified: true };
            }
        }
        Given { option: cookie.option(self.fresh(cookie, client, time)), is_verified: false }
    }

    fn fresh(&self, cookie: &Cookie, client: IpAddr, time: u32) -> [u8; SERVER] {
        let [a, b, c, d] = time.to_be_bytes();
        make(cookie, client, &[VERSION, 0, 0, 0, a, b, c, d], &self.secret)
    }
}

/// The age in seconds of a cookie with our version and an acceptable time.
fn age_of(server: &[u8; SERVER], time: u32) -> Option<i32> {
    let [version, _, _, _, a, b, c, d, ..] = *server;
    // RFC 1982: the clock wraps around, differences do not.
    let age = time.wrapping_sub(u32::from_be_bytes([a, b, c, d])) as i32;
    (version == VERSION && (-NEWEST..=OLDEST).contains(&age)).then_some(age)
}

/// The server cookie with this version, reserved bytes and time. The hash covers the client cookie, these fields and the client's address (RFC 9018 section 4.4).
fn make(cookie: &Cookie, client: IpAddr, fixed: &[u8], secret: &Secret) -> [u8; SERVER] {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(&cookie.client);
    hasher.write(fixed);
    match client {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
    let mut server = [0; SERVER];
    server[..8].copy_from_slice(fixed);
    server[8..].copy_from_slice(&hasher.finish().to_le_bytes());
    server
}

/// Compares in constant time.
fn is_equal(one: &[u8; SERVER], other: &[u8; SERVER]) -> bool {
    use subtle::ConstantTimeEq;
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|place| u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).unwrap())
    }

    fn given(secret: &str, time: u32, client: &str, cookie: &str, server: Option<&str>) -> (String, bool) {
        let cookies = Cookies::new(bytes(secret), None, (Instant::now(), time));
        let cookie = Cookie { client: bytes(cookie), server: server.map(bytes) };
        let given = cookies.answer(&cookie, client.parse().unwrap(), cookies.began);
        let server = given.option[12..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(given.option[..4], [0, 10, 0, 24]);
        assert_eq!(given.option[4..12], cookie.client);
        (server, given.is_verified)
    }

    const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
    const CLIENT_COOKIE: &str = "2464c4abcf10c957";
    const SERVER_COOKIE: &str = "010000005cf79f111f8130c3eee29480";

    #[test]
    fn cookies_are_those_of_rfc_9018_appendix_a() {
        let first = given(SECRET, 1_559_731_985, "198.51.100.100", CLIENT_COOKIE, None);
        assert_eq!(first, (SERVER_COOKIE.to_owned(), false), "A.1: a new one");
        let later = given(SECRET, 1_559_734_385, "198.51.100.100", CLIENT_COOKIE, Some(SERVER_COOKIE));
        assert_eq!(later, ("010000005cf7a871d4a564a1442aca77".to_owned(), true), "A.2: renewed");
        let v6 = "2001:db8:220:1:59de:d0f4:8769:82b8";
        let made = given("dd3bdf9344b678b185a6f5cb60fca715", 1_559_741_817, v6, "22681ab97d52c298", None);
        assert_eq!(made.0, "010000005cf7c57926556bd0934c72f8", "A.4: IPv6");
    }

    #[test]
    fn what_was_given_counts_for_an_hour_to_the_same_client_alone() {
        let made = 1_559_731_985_u32;
        for (after, client, cookie, wanted) in [
            (0, "198.51.100.100", CLIENT_COOKIE, true),
            (0, "::ffff:198.51.100.100", CLIENT_COOKIE, true),
            (3600, "198.51.100.100", CLIENT_COOKIE, true),
            (3601, "198.51.100.100", CLIENT_COOKIE, false),
            (-300, "198.51.100.100", CLIENT_COOKIE, true),
            (-301, "198.51.100.100", CLIENT_COOKIE, false),
            (0, "198.51.100.101", CLIENT_COOKIE, false),
            (0, "198.51.100.100", "2464c4abcf10c958", false),
        ] {
            let time = made.wrapping_add_signed(after);
            let (_, verified) = given(SECRET, time, client, cookie, Some(SERVER_COOKIE));
            assert_eq!(verified, wanted, "{after} {client} {cookie}");
        }
        let of_another_secret = given(&"00".repeat(16), made, "198.51.100.100", CLIENT_COOKIE, None);
        assert_ne!(of_another_secret.0, SERVER_COOKIE);
    }

    #[test]
    fn half_an_hour_on_a_new_one_is_given() {
        let start = Instant::now();
        let client = "10.0.0.7".parse().unwrap();
        let old = Cookies::new([1; 16], None, (start, u32::MAX - 100));
        let bare = Cookie { client: [9; 8], server: None };
        let first = old.answer(&bare, client, start);
        let brought = Cookie { server: first.option[12..].try_into().ok(), ..bare };
        let at = |cookies: &Cookies, seconds| {
            cookies.answer(&brought, client, start + Duration::from_secs(seconds))
        };
        assert_eq!(at(&old, 1800), Given { is_verified: true, ..first }, "the clock has wrapped around");
        assert!(at(&old, 1801).is_verified && at(&old, 1801).option != first.option);
        let rolled = Cookies::new([2; 16], Some([1; 16]), (start, u32::MAX - 100));
        assert!(at(&rolled, 10).is_verified && at(&rolled, 10).option != first.option);
        let forgotten = Cookies::new([2; 16], None, (start, u32::MAX - 100));
        assert!(!at(&forgotten, 10).is_verified);
    }

    #[test]
    fn servers_that_share_a_secret_agree_whatever_the_clock() {
        let (client, start) = ("10.0.0.7".parse().unwrap(), Instant::now());
        let bare = Cookie { client: [9; 8], server: None };
        let later = start + Duration::from_secs(60);
        // The wall clock advances by `slept` seconds more than the monotonic clock, which stops while the machine
        // sleeps.
        for slept in [0, 7200, -7200, 86_400] {
            let [one, other] = [(); 2].map(|()| Cookies::new([1; 16], None, (start, 1_800_000_000)));
            let wall = 1_800_000_060_u32.wrapping_add_signed(slept);
            one.set_clock(later, wall);
            let given = one.answer(&bare, client, later);
            let brought = Cookie { server: given.option[12..].try_into().ok(), ..bare };
            assert_eq!(other.answer(&brought, client, later).is_verified, slept == 0, "{slept} before");
            other.set_clock(later, wall);
            assert!(other.answer(&brought, client, later).is_verified, "{slept} s");
        }
    }
}
