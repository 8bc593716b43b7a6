//! A minimal dnstap reader for the tests.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

const START: [u8; 4] = [0, 0, 0, 2];
const STOP: [u8; 4] = [0, 0, 0, 3];
const READY: [u8; 4] = [0, 0, 0, 4];

/// Fields of a protobuf message by number, each with the octets of its value; a varint is decoded to big-endian octets.
pub(super) type Message = BTreeMap<u64, Vec<u8>>;

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}

/// Decodes a message; panics if a field occurs twice.
pub(super) fn decode(mut bytes: &[u8]) -> Message {
    let mut fields = Message::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => varint(&mut bytes).to_be_bytes().to_vec(),
            2 => {
                let length = varint(&mut bytes) as usize;
                bytes.split_off(..length).unwrap().to_vec()
            }
            5 => bytes.split_off(..4).unwrap().to_vec(),
            other => panic!("wire type {other}"),
        };
        assert!(fields.insert(key >> 3, value).is_none(), "field {} occurs twice", key >> 3);
    }
    fields
}

/// Reads a frame without its length prefix; the escape of a control frame reads as an empty frame.
pub(super) fn next_frame(stream: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads a frame; panics if there is none.
pub(super) fn frame(stream: &mut UnixStream) -> Vec<u8> {
    next_frame(stream).unwrap()
}

/// Accepts a connection and completes the handshake: READY, ACCEPT, START.
pub(super) fn welcome(listener: &UnixListener) -> UnixStream {
    let (mut stream, _) = listener.accept().unwrap();
    assert!(frame(&mut stream).is_empty(), "the escape");
    let ready = frame(&mut stream);
    assert!(ready.starts_with(&READY) && ready.ends_with(b"protobuf:dnstap.Dnstap"), "{ready:?}");
    stream.write_all(b"\0\0\0\0\0\0\0\x22\0\0\0\x01\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap").unwrap();
    assert!(frame(&mut stream).is_empty(), "the escape");
    let start = frame(&mut stream);
    assert!(start.starts_with(&START) && start.ends_with(b"protobuf:dnstap.Dnstap"), "{start:?}");
    stream
}

/// Starts a reader of one connection; it returns all messages after STOP.
pub(super) fn reader(path: &Path) -> Receiver<Vec<Message>> {
    let listener = UnixListener::bind(path).unwrap();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut stream = welcome(&listener);
        let mut messages = Vec::new();
        loop {
            let bytes = frame(&mut stream);
            if bytes.is_empty() {
                break;
            }
            let dnstap = decode(&bytes);
            assert_eq!(dnstap.keys().copied().collect::<Vec<_>>(), [1, 14, 15]);
            assert_eq!(dnstap[&1], b"gate-1");
            messages.push(decode(&dnstap[&14]));
        }
        assert_eq!(frame(&mut stream), STOP);
        // The writer waits briefly for FINISH.
        let _ = stream.write_all(b"\0\0\0\0\0\0\0\x04\0\0\0\x05");
        sender.send(messages).unwrap();
    });
    receiver
}
