//! The floor: the kernel's cost, measured with a server that reads nothing and answers NXDOMAIN to everything.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use namegate::net::batch::{ReceiveBatch, SendBatch, Wait};

const BATCH: usize = 64;
const ROOM: usize = 1232;
const NXDOMAIN: u8 = 3;

/// Serves until the process is killed.
pub(crate) fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let socket = UdpSocket::bind(address)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve_connection(stream));
        }
    });
    let mut requests = ReceiveBatch::new(BATCH, ROOM);
    let mut replies = SendBatch::new(BATCH);
    loop {
        // An error here belongs to an earlier reply whose client is gone.
        if requests.receive(&socket, Wait::ForOne).is_err() {
            continue;
        }
        for request in requests.iter() {
            let reply = replies.push(request.peer);
            reply.extend_from_slice(request.bytes);
            deny(reply);
        }
        let _ = replies.flush([&socket]);
    }
}

/// Sends back every complete query of one read with one write.
fn serve_connection(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 1 << 14];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..])? {
            0 => return Ok(()),
            length => filled += length,
        }
        let mut whole = 0;
        while let Some(&[high, low]) = buffer[whole..filled].first_chunk() {
            let end = whole + 2 + usize::from(u16::from_be_bytes([high, low]));
            if end > filled {
                break;
            }
            deny(&mut buffer[whole + 2..end]);
            whole = end;
        }
        stream.write_all(&buffer[..whole])?;
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

fn deny(message: &mut [u8]) {
    if let Some([_, _, high, low]) = message.first_chunk_mut() {
        *high |= 0x80;
        *low = (*low & 0xf0) | NXDOMAIN;
    }
}
