//! Tests of the stream against good, slow, silent and missing readers, in this process.

mod reader;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::*;
use crate::wire::reply::Transport;
use reader::{decode, frame, next_frame, reader, welcome};

/// Time limit for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04evil\x07example\0\0\x01\0\x01";
const NXDOMAIN: &[u8] = b"\x12\x34\x81\x83\0\x01\0\0\0\0\0\0\x04evil\x07example\0\0\x01\0\x01";

fn lookup() -> DnstapEvent<'static> {
    DnstapEvent {
        client: Some(SocketAddr::from(([192, 0, 2, 7], 5353))),
        transport: Transport::Udp,
        server: Some(SocketAddr::from(([127, 0, 0, 1], 53))),
        queried: UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789),
        responded: UNIX_EPOCH + Duration::new(1_700_000_000, 223_456_789),
        request: QUERY,
        reply: NXDOMAIN,
        blocked: None,
    }
}

fn socket() -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("dnstap.sock");
    (directory, path)
}

fn counts(stats: &DnstapStats) -> (u64, u64) {
    (stats.frames.load(Ordering::Relaxed), stats.lost.load(Ordering::Relaxed))
}

fn is_connected(stats: &DnstapStats) -> bool {
    stats.connected.load(Ordering::Relaxed)
}

fn tend_until(dnstap: &mut DnstapOutput, now: Instant, done: impl Fn(&DnstapStats) -> bool) {
    let start = Instant::now();
    while !done(&dnstap.stats()) {
        assert!(start.elapsed() < PATIENCE, "timed out: {:?}", dnstap.stats);
        dnstap.tend(now);
        std::thread::sleep(BREATH);
    }
}

#[test]
fn every_lookup_is_two_messages() {
    let (_directory, path) = socket();
    let messages = reader(&path);
    let mut dnstap = DnstapOutput::new(&path, "gate-1", "");
    let stats = dnstap.stats();
    dnstap.tend(Instant::now());
    let long = [NXDOMAIN, &[0xab; 65_535 - NXDOMAIN.len()]].concat();
    let mapped = SocketAddr::from(([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0207], 0));
    let ours = Some(SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 53)));
    dnstap.write(&DnstapEvent { blocked: Some("*.evil.example"), ..lookup() });
    dnstap.write(&DnstapEvent { transport: Transport::Tcp, reply: &long, ..lookup() });
    dnstap.write(&DnstapEvent { client: Some(mapped), server: None, ..lookup() });
    dnstap.write(&DnstapEvent { client: None, server: ours, queried: SystemTime::UNIX_EPOCH, ..lookup() });
    tend_until(&mut dnstap, Instant::now(), |stats| counts(stats) == (8, 0));
    dnstap.finish();
    let messages = messages.recv().unwrap();
    assert_eq!(messages.len(), 8);
    assert_eq!((counts(&stats), is_connected(&stats)), ((8, 0), false));

    let number = |value: u64| value.to_be_bytes().to_vec();
    let exchange = BTreeMap::from([
        (2, number(1)),
        (3, number(1)),
        (4, vec![192, 0, 2, 7]),
        (5, vec![127, 0, 0, 1]),
        (6, number(5353)),
        (7, number(53)),
        (8, number(1_700_000_000)),
        (9, 123_456_789_u32.to_le_bytes().to_vec()),
    ]);
    let mut query = exchange.clone();
    query.extend([(1, number(5)), (10, QUERY.to_vec())]);
    assert_eq!(messages[0], query);
    let mut response = exchange;
    let time = 223_456_789_u32.to_le_bytes().to_vec();
    response.extend([(1, number(6)), (12, number(1_700_000_000)), (13, time), (14, NXDOMAIN.to_vec())]);
    let mut blocked = messages[1].clone();
    let policy = decode(&blocked.remove(&15).unwrap());
    assert_eq!(blocked, response);
    let rule = b"*.evil.example".to_vec();
    assert_eq!(
        policy,
        BTreeMap::from([(1, b"allowlist".to_vec()), (2, rule), (3, number(1)), (4, number(1))])
    );

    let [long_query, long_response] = &messages[2..4] else { panic!() };
    assert_eq!((&long_query[&3], &long_response[&3]), (&number(2), &number(2)));
    assert!(long_response[&14] == long && !long_response.contains_key(&15));
    let masked = &messages[4];
    assert_eq!((&masked[&2], &masked[&4]), (&number(1), &vec![192, 0, 2, 7]));
    assert!([5, 6, 7].iter().all(|field| !masked.contains_key(field)), "{masked:?}");
    let hidden = &messages[6];
    assert_eq!((&hidden[&2], &hidden[&8], hidden[&5].len()), (&number(2), &number(0), 16));
    assert!([4, 6].iter().all(|field| !hidden.contains_key(field)), "{hidden:?}");
}

#[test]
fn a_reader_that_never_reads_holds_nothing_up() {
    const LOOKUPS: u64 = 20_000;
    let (_directory, path) = socket();
    let listener = UnixListener::bind(&path).unwrap();
    let welcoming = std::thread::spawn(move || welcome(&listener));
    let mut dnstap = DnstapOutput::new(&path, "gate-1", "");
    let stats = dnstap.stats();
    tend_until(&mut dnstap, Instant::now(), is_connected);
    let mut stream = welcoming.join().unwrap();
    let start = Instant::now();
    (0..LOOKUPS).for_each(|_| dnstap.write(&lookup()));
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    let (_, lost) = counts(&stats);
    assert!(lost > 0 && lost < 2 * LOOKUPS, "{lost}");
    let start = Instant::now();
    dnstap.finish();
    assert!(start.elapsed() < 5 * GOODBYE, "{:?}", start.elapsed());
    let (frames, lost) = counts(&stats);
    assert_eq!(frames + lost, 2 * LOOKUPS, "{frames} sent, {lost} lost");
    // Only whole frames count as sent.
    for _ in 0..frames {
        decode(&decode(&frame(&mut stream))[&14]);
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.len() < 200, "no whole frame, and no STOP inside a partial one: {} octets", rest.len());
}

#[test]
fn a_slow_reader_gets_whole_frames() {
    let (_directory, path) = socket();
    let listener = UnixListener::bind(&path).unwrap();
    let slow = std::thread::spawn(move || {
        let mut stream = welcome(&listener);
        let (mut frames, mut octets) = (0_u64, 0);
        while let Ok(bytes) = next_frame(&mut stream)
            && !bytes.is_empty()
        {
            decode(&decode(&bytes)[&14]);
            frames += 1;
            octets += bytes.len();
            if octets > 100_000 {
                octets = 0;
                std::thread::sleep(BREATH);
            }
        }
        frames
    });
    let mut dnstap = DnstapOutput::new(&path, "gate-1", "");
    let stats = dnstap.stats();
    tend_until(&mut dnstap, Instant::now(), is_connected);
    let long = [NXDOMAIN, &[0xab; 9000]].concat();
    for number in 0..5000 {
        let reply = if number % 7 == 0 { &long } else { NXDOMAIN };
        dnstap.write(&DnstapEvent { reply, ..lookup() });
    }
    tend_until(&mut dnstap, Instant::now(), |stats| counts(stats).0 + counts(stats).1 == 10_000);
    dnstap.finish();
    assert!(counts(&stats).1 > 0, "no frame met a full buffer");
    assert_eq!(slow.join().unwrap(), counts(&stats).0);
}

#[test]
fn without_a_reader_lookups_are_lost_and_the_reader_is_sought() {
    let (_directory, path) = socket();
    let mut dnstap = DnstapOutput::new(&path, "gate-1", "");
    let stats = dnstap.stats();
    let now = Instant::now();
    dnstap.tend(now);
    dnstap.write(&lookup());
    assert_eq!((counts(&stats), is_connected(&stats)), ((0, 2), false));
    let messages = reader(&path);
    dnstap.tend(now + FIRST_RETRY - BREATH);
    assert!(dnstap.connection.is_none(), "not yet");
    tend_until(&mut dnstap, now + FIRST_RETRY, is_connected);
    dnstap.write(&lookup());
    dnstap.finish();
    assert_eq!(messages.recv().unwrap().len(), 2);
    assert_eq!(counts(&stats), (2, 2));
}

#[test]
fn attempts_become_rare() {
    let (_directory, path) = socket();
    let mut dnstap = DnstapOutput::new(&path, "gate-1", "");
    let mut now = Instant::now();
    let mut pauses = Vec::new();
    for _ in 0..7 {
        dnstap.tend(now);
        let next = dnstap.retry_at.unwrap();
        pauses.push((next - now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
}

#[test]
fn a_reader_that_comes_back_is_served_again() {
    let (_directory, path) = socket();
    let listener = UnixListener::bind(&path).unwrap();
    let welcoming = std::thread::spawn(move || welcome(&listener));
    let mut dnstap = DnstapOutput::new(&path, "gate-1", "");
    let stats = dnstap.stats();
    let now = Instant::now();
    tend_until(&mut dnstap, now, is_connected);
    // The reader goes away with more unread than the socket holds, so the last frame is partial.
    let stream = welcoming.join().unwrap();
    for _ in 0..2000 {
        dnstap.write(&lookup());
    }
    dnstap.tend(now);
    drop(stream);
    tend_until(&mut dnstap, now, |stats| !is_connected(stats));
    dnstap.write(&lookup());
    dnstap.tend(now);
    let (frames, lost) = counts(&stats);
    assert_eq!(frames + lost, 4002);
    std::fs::remove_file(&path).unwrap();
    let messages = reader(&path);
    tend_until(&mut dnstap, now + FIRST_RETRY, is_connected);
    dnstap.write(&lookup());
    dnstap.finish();
    assert_eq!(messages.recv().unwrap().len(), 2);
    assert_eq!(counts(&stats), (frames + 2, lost));
}

#[test]
fn a_reader_that_says_nothing_is_given_up() {
    let (_directory, path) = socket();
    let _listener = UnixListener::bind(&path).unwrap();
    let mut dnstap = DnstapOutput::new(&path, "gate-1", "");
    let stats = dnstap.stats();
    let now = Instant::now();
    dnstap.tend(now);
    dnstap.write(&lookup());
    dnstap.tend(now + Duration::from_millis(4999));
    assert_eq!(counts(&stats), (0, 0));
    dnstap.tend(now + Duration::from_secs(5));
    assert_eq!((counts(&stats), is_connected(&stats)), ((0, 2), false));
    let start = Instant::now();
    dnstap.tend(now + Duration::from_secs(60));
    dnstap.write(&lookup());
    dnstap.finish();
    assert!(start.elapsed() < 5 * GOODBYE, "{:?}", start.elapsed());
    assert_eq!(counts(&stats), (0, 4));
}

#[test]
fn a_full_queue_of_connections_holds_nothing_up() {
    let (_directory, path) = socket();
    let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    listener.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let _waiting = UnixStream::connect(&path).unwrap();
    let mut dnstap = DnstapOutput::new(&path, "gate-1", "");
    let start = Instant::now();
    dnstap.tend(start);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(dnstap.connection.is_none());
}
