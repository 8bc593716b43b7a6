//! The resolver behind every server under test: each A query has one answer.

use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use namegate::listen::batch::{ReceiveBatch, SendBatch, Wait};

use crate::reply::ADDRESS;
use crate::workload::OPT;

/// Datagrams taken in one call.
const BATCH: usize = 64;
/// Room for any query.
const ROOM: usize = 1232;
/// Longer than a run, so that what was cached stays so.
const TTL: u32 = 3_600;

/// Answers on a port of loopback until the process ends, on threads that stay on the caller's core.
pub(crate) fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let socket = UdpSocket::bind(address)?;
    thread::spawn(move || serve(&socket));
    // Some servers pass on over TCP what they were asked over TCP.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve_connection(&stream));
        }
    });
    Ok(address)
}

fn serve(socket: &UdpSocket) {
    let mut requests = ReceiveBatch::new(BATCH, ROOM);
    let mut replies = SendBatch::new(BATCH);
    loop {
        // An error here is an earlier reply's, to a client that has gone.
        if requests.receive(socket, Wait::ForOne).is_err() {
            continue;
        }
        for request in requests.iter() {
            if let Some(question) = question(request.bytes) {
                answer(request.bytes, question, replies.push(request.peer));
            }
        }
        let _ = replies.flush(socket);
    }
}

fn serve_connection(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream);
    loop {
        let mut length = [0; 2];
        requests.read_exact(&mut length)?;
        let mut request = vec![0; usize::from(u16::from_be_bytes(length))];
        requests.read_exact(&mut request)?;
        let question = question(&request).ok_or(io::ErrorKind::InvalidData)?;
        let mut reply = vec![0; 2];
        answer(&request, question, &mut reply);
        let length = (reply.len() - 2) as u16;
        reply[..2].copy_from_slice(&length.to_be_bytes());
        stream.write_all(&reply)?;
    }
}

/// The question's bytes, if it is a whole one.
fn question(request: &[u8]) -> Option<&[u8]> {
    let mut end = 12;
    loop {
        match usize::from(*request.get(end)?) {
            0 => return request.get(12..end + 5),
            length => end += 1 + length,
        }
    }
}

/// Appends the answer: an address for an A query, no data for another, and an OPT record where there was one.
fn answer(request: &[u8], question: &[u8], reply: &mut Vec<u8>) {
    let asks_for_address = question.ends_with(&[0, 1, 0, 1]);
    let has_additional = request[11] != 0;
    reply.extend_from_slice(&request[..2]);
    // QR and RA, with the request's opcode, RD and CD.
    reply.extend_from_slice(&[request[2] | 0x80, (request[3] & 0x10) | 0x80]);
    reply.extend_from_slice(&[0, 1, 0, u8::from(asks_for_address), 0, 0, 0, u8::from(has_additional)]);
    reply.extend_from_slice(question);
    if asks_for_address {
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        reply.extend_from_slice(&TTL.to_be_bytes());
        reply.extend_from_slice(&[0, 4]);
        reply.extend_from_slice(&ADDRESS.octets());
    }
    if has_additional {
        reply.extend_from_slice(&OPT);
    }
}
