//! [`Reader`]: a dnstap reader inside the test process, and the messages it received.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::support::eventually;

/// ACCEPT and FINISH frames of Frame Streams, with their escapes.
const ACCEPT: &[u8] = b"\0\0\0\0\0\0\0\x22\0\0\0\x01\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
const FINISH: &[u8] = b"\0\0\0\0\0\0\0\x04\0\0\0\x05";

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tapped {
    /// CLIENT_QUERY or CLIENT_RESPONSE.
    pub(crate) kind: &'static str,
    /// UDP or TCP.
    pub(crate) protocol: &'static str,
    /// The client's address.
    pub(crate) client: Vec<u8>,
    /// The DNS message.
    pub(crate) message: Vec<u8>,
    /// The rule or reason that blocked it.
    pub(crate) rule: Option<String>,
}

/// A reader inside the test process.
pub(crate) struct Reader {
    tapped: Arc<Mutex<Vec<Tapped>>>,
}

impl Reader {
    /// Reads one stream at `path`, on its own thread, until STOP.
    pub(crate) fn listen(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a socket can be bound");
        let tapped: Arc<Mutex<Vec<Tapped>>> = Arc::default();
        let collected = Arc::clone(&tapped);
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            control(&mut stream, 4)?;
            stream.write_all(ACCEPT)?;
            control(&mut stream, 2)?;
            loop {
                let bytes = frame(&mut stream)?;
                if bytes.is_empty() {
                    break;
                }
                collected.lock().unwrap().push(Tapped::of(&bytes));
            }
            assert_eq!(frame(&mut stream)?, [0, 0, 0, 3], "STOP");
            stream.write_all(FINISH)
        });
        Self { tapped }
    }

    /// Waits for `count` messages and returns them.
    pub(crate) fn expect(&self, count: usize) -> Vec<Tapped> {
        eventually("dnstap messages", || {
            Some(self.tapped.lock().unwrap().clone()).filter(|tapped| tapped.len() >= count)
        })
    }
}

impl Tapped {
    fn of(bytes: &[u8]) -> Self {
        let dnstap = fields(bytes);
        assert_eq!(dnstap[&15].number, 1, "Dnstap.type is MESSAGE");
        let message = fields(&dnstap[&14].bytes);
        let rule = message.get(&15).map(|policy| fields(&policy.bytes)[&2].bytes.clone());
        let (kind, field) = match message[&1].number {
            5 => ("CLIENT_QUERY", 10),
            6 => ("CLIENT_RESPONSE", 14),
            other => panic!("Message.type {other}"),
        };
        let received = (message[&8].number, message[&9].number);
        let sent = message.get(&12).map(|seconds| (seconds.number, message[&13].number));
        assert_eq!(sent.is_some(), kind == "CLIENT_RESPONSE");
        assert!(
            received.0 > 1_600_000_000 && sent.is_none_or(|sent| received <= sent),
            "{received:?} {sent:?}"
        );
        Self {
            kind,
            protocol: if message[&3].number == 1 { "UDP" } else { "TCP" },
            client: message[&4].bytes.clone(),
            message: message[&field].bytes.clone(),
            rule: rule.map(|rule| String::from_utf8(rule).expect("a rule is text")),
        }
    }
}

/// The value of a protobuf field, in whichever form it has.
#[derive(Default)]
struct Value {
    number: u64,
    bytes: Vec<u8>,
}

fn fields(mut bytes: &[u8]) -> BTreeMap<u64, Value> {
    let mut fields = BTreeMap::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Value { number: varint(&mut bytes), ..Value::default() },
            2 => {
                let length = varint(&mut bytes) as usize;
                Value {
                    bytes: bytes.split_off(..length).expect("a whole field").to_vec(),
                    ..Value::default()
                }
            }
            5 => {
                let number = bytes.split_off(..4).expect("a whole field").try_into().expect("four octets");
                Value { number: u32::from_le_bytes(number).into(), ..Value::default() }
            }
            other => panic!("wire type {other}"),
        };
        fields.insert(key >> 3, value);
    }
    fields
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let octet = bytes.split_off_first().expect("a whole number");
        value |= u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            break;
        }
    }
    value
}

/// A frame without its length; an escape yields an empty one.
fn frame(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Writes a control frame of this type, for dnstap.
fn control(stream: &mut UnixStream, kind: u8) -> io::Result<()> {
    assert!(frame(stream)?.is_empty(), "an escape");
    let bytes = frame(stream)?;
    assert!(bytes.starts_with(&[0, 0, 0, kind]) && bytes.ends_with(b"protobuf:dnstap.Dnstap"), "{bytes:?}");
    Ok(())
}
