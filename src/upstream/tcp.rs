//! One exchange over TCP: one connection, one query, one complete reply.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::accept::{self, SentQuery};
use super::{ExchangeError, UpstreamQuery};
use crate::upstream::server_stats::ServerStats;
use crate::wire::answer::Answer;
use crate::wire::request;

/// Queries `server` over a new connection.
pub(super) async fn exchange(
    server: SocketAddr,
    prompt: &UpstreamQuery,
    edns: bool,
    stats: &ServerStats,
) -> Result<Answer, ExchangeError> {
    let socket = match server {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let mut stream = socket?.connect(server).await?;
    stream.set_nodelay(true)?;
    let id: u16 = rand::random();
    let mut message = Vec::with_capacity(512);
    request::write_in_case(&mut message, id, &prompt.question, prompt.flags, None, edns);
    // RFC 7766 section 8: length and message in one write, so they travel in one segment.
    let mut framed = (message.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(&message);
    stream.write_all(&framed).await?;
    let length = usize::from(stream.read_u16().await?);
    let mut reply = vec![0; length];
    stream.read_exact(&mut reply).await?;
    accept::whole(&reply, SentQuery { id, question: &prompt.question, case: None, edns }, stats)
}
