//! [`DnstapConnection`]: the writer's side of a Frame Streams connection on a Unix socket.
//!
//! ```text
//! writer  READY          START  frames …  STOP
//! reader         ACCEPT                         FINISH
//! ```
//! READY, ACCEPT and START name the content type. A control frame is the escape (a frame length of zero), its length,
//! its type and its fields; all numbers are 32 bits in network order
//! (<https://farsightsec.github.io/fstrm/>, "Frame Streams Control Frames").

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

/// Content type of the frames.
const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";

/// Types of control frames.
const ACCEPT: u32 = 1;
const START: u32 = 2;
const STOP: u32 = 3;
const READY: u32 = 4;

/// The only field type.
const FIELD_CONTENT_TYPE: u32 = 1;

/// Longest control frame, in octets without escape and length.
const MAX_CONTROL: usize = 512;

/// Time limit for the reader to accept the stream.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A non-blocking socket and the state of the handshake.
#[derive(Debug)]
pub(super) struct DnstapConnection {
    stream: UnixStream,
    /// The pending handshake; none after START was sent.
    greeting: Option<Greeting>,
}

#[derive(Debug)]
struct Greeting {
    deadline: Instant,
    received: Vec<u8>,
}

impl DnstapConnection {
    /// Connects and sends READY.
    ///
    /// # Errors
    /// Nothing listens at `path`, or the listener's queue is full.
    pub(super) fn open(path: &Path, now: Instant) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Must precede `connect`, which otherwise blocks while the listener's queue is full.
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)?;
        let mut stream = UnixStream::from(socket);
        stream.write_all(&control(READY, Some(CONTENT_TYPE)))?;
        Ok(Self { stream, greeting: Some(Greeting { deadline: now + HANDSHAKE, received: Vec::new() }) })
    }

    /// True if frames may be sent; sends START when the reader has accepted.
    ///
    /// # Errors
    /// The reader closed the connection, rejects the content type, or takes longer than 5 s to accept.
    pub(super) fn is_accepted(&mut self, now: Instant) -> io::Result<bool> {
        let mut received = [0; MAX_CONTROL];
        let length = match self.stream.read(&mut received) {
            Ok(0) => return Err(fault(ErrorKind::UnexpectedEof, "the reader closed the connection")),
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Err(error) => return Err(error),
        };
        let Some(greeting) = &mut self.greeting else {
            // The reader sends nothing more before STOP.
            return if length == 0 {
                Ok(true)
            } else {
                Err(fault(ErrorKind::Other, "the reader ended the stream"))
            };
        };
        greeting.received.extend_from_slice(&received[..length]);
        if !accepts(&greeting.received)? {
            let in_time = now < greeting.deadline;
            return if in_time {
                Ok(false)
            } else {
                Err(fault(ErrorKind::TimedOut, "the reader did not answer READY"))
            };
        }
        self.stream.write_all(&control(START, Some(CONTENT_TYPE)))?;
        self.greeting = None;
        Ok(true)
    }

    /// Sends STOP and waits for FINISH until `deadline`.
    ///
    /// # Errors
    /// The reader closed the connection or did not finish in time.
    pub(super) fn finish(mut self, deadline: Instant) -> io::Result<()> {
        // A timeout of zero is an error.
        let left = || Some(deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
        self.stream.set_nonblocking(false)?;
        self.stream.set_write_timeout(left())?;
        self.stream.write_all(&control(STOP, None))?;
        self.stream.set_read_timeout(left())?;
        self.stream.read(&mut [0; MAX_CONTROL]).map(drop)
    }
}

impl Write for &mut DnstapConnection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn fault(kind: ErrorKind, what: &'static str) -> io::Error {
    io::Error::new(kind, what)
}

/// A control frame with its escape.
fn control(kind: u32, content_type: Option<&[u8]>) -> Vec<u8> {
    let mut body = kind.to_be_bytes().to_vec();
    if let Some(content_type) = content_type {
        body.extend(FIELD_CONTENT_TYPE.to_be_bytes());
        body.extend((content_type.len() as u32).to_be_bytes());
        body.extend(content_type);
    }
    [&0_u32.to_be_bytes()[..], &(body.len() as u32).to_be_bytes(), &body].concat()
}

/// True if `received` is an ACCEPT of our content type; false while it is incomplete.
fn accepts(received: &[u8]) -> io::Result<bool> {
    let foreign = || fault(ErrorKind::InvalidData, "the reader does not speak Frame Streams");
    let (Some(escape), Some(length)) = (number(received, 0), number(received, 4)) else {
        return Ok(false);
    };
    let length = length as usize;
    if escape != 0 || !(4..=MAX_CONTROL).contains(&length) {
        return Err(foreign());
    }
    let Some(body) = received.get(8..8 + length) else {
        return Ok(false);
    };
    if number(body, 0) != Some(ACCEPT) {
        return Err(foreign());
    }
    let mut fields = &body[4..];
    // An ACCEPT that names no content type accepts any.
    let mut accepted = fields.is_empty();
    while !fields.is_empty() {
        let length = number(fields, 4).ok_or_else(foreign)? as usize;
        let value = fields.get(8..8 + length).ok_or_else(foreign)?;
        accepted |= number(fields, 0) == Some(FIELD_CONTENT_TYPE) && value == CONTENT_TYPE;
        fields = &fields[8 + length..];
    }
    if accepted { Ok(true) } else { Err(fault(ErrorKind::InvalidData, "the reader does not accept dnstap")) }
}

/// The number at offset `at`; none if there are too few octets.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|number| u32::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCEPT_DNSTAP: &[u8] = b"\0\0\0\0\0\0\0\x22\0\0\0\x01\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";

    #[test]
    fn control_frames_are_as_the_specification_shows_them() {
        assert_eq!(control(ACCEPT, Some(CONTENT_TYPE)), ACCEPT_DNSTAP);
        assert_eq!(control(STOP, None), b"\0\0\0\0\0\0\0\x04\0\0\0\x03");
    }

    #[test]
    fn an_accept_is_waited_for_to_its_end() {
        for length in 0..ACCEPT_DNSTAP.len() {
            assert!(!accepts(&ACCEPT_DNSTAP[..length]).unwrap(), "{length}");
        }
        assert!(accepts(ACCEPT_DNSTAP).unwrap());
        assert!(accepts(&control(ACCEPT, None)).unwrap(), "any content type");
        let mut several = control(ACCEPT, Some(b"text/plain"));
        several.extend(&ACCEPT_DNSTAP[12..]);
        several[7] = (several.len() - 8) as u8;
        assert!(accepts(&several).unwrap(), "one of several");
    }

    #[test]
    fn invalid_accept_frames_are_rejected() {
        for received in [
            control(ACCEPT, Some(b"text/plain")),
            control(READY, Some(CONTENT_TYPE)),
            b"HTTP/1.1 400 Bad Request".to_vec(),
            b"\0\0\0\0\xff\xff\xff\xff".to_vec(),
            b"\0\0\0\0\0\0\0\0".to_vec(),
            b"\0\0\0\0\0\0\0\x08\0\0\0\x01\0\0\0\x01".to_vec(),
            b"\0\0\0\0\0\0\0\x0c\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff".to_vec(),
        ] {
            assert!(accepts(&received).is_err(), "{received:?}");
        }
    }
}
