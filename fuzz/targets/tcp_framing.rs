//! Fuzzes TCP framing: however the bytes are cut into pieces, the messages are the same as in one piece.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use arbitrary::{Result, Unstructured};
use namegate::listen::tcp::read_message;
use tokio::io::{AsyncRead, BufReader, ReadBuf};
use tokio::sync::Semaphore;

/// `data` is the positions of cuts and the bytes.
pub fn run(data: &[u8]) {
    // Input that is neither proves nothing.
    let _ = try_run(Unstructured::new(data));
}

fn try_run(mut input: Unstructured<'_>) -> Result<()> {
    let mut cuts = VecDeque::new();
    for _ in 0..input.int_in_range(0..=40)? {
        cuts.push_back(input.int_in_range(1..=20)?);
    }
    let capacity = input.int_in_range(1..=64)?;
    let bytes = input.take_rest();
    let pieces = Pieces { left: bytes, cuts, is_due: false };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let read = runtime.block_on(read_all(BufReader::with_capacity(capacity, pieces)));
    assert_eq!(read, messages(bytes));
    Ok(())
}

/// All messages up to the truncated one.
async fn read_all(mut reader: impl AsyncRead + Unpin) -> Vec<Vec<u8>> {
    let (mut read, mut message) = (Vec::new(), vec![7; 9]);
    let long = Semaphore::new(1);
    loop {
        match read_message(&mut reader, &mut message, &long).await {
            Ok(()) => read.push(message.clone()),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                return read;
            }
        }
    }
}

/// The same from all bytes at once (RFC 1035 section 4.2.2: "a two byte length field").
fn messages(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>()
        && let Some((message, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
    {
        messages.push(message.to_vec());
        bytes = rest;
    }
    messages
}

/// A stream that returns one piece at a time and is pending in between.
struct Pieces<'b> {
    left: &'b [u8],
    cuts: VecDeque<usize>,
    is_due: bool,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_due = !self.is_due;
        if self.is_due {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let cut = self.cuts.pop_front().unwrap_or(self.left.len());
        let (piece, left) = self.left.split_at(cut.min(buffer.remaining()).min(self.left.len()));
        buffer.put_slice(piece);
        self.left = left;
        Poll::Ready(Ok(()))
    }
}
