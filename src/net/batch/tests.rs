//! Tests that both implementations must pass.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::Wait;

fn pair(server: &str) -> (UdpSocket, UdpSocket) {
    let server = UdpSocket::bind(server).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let client = UdpSocket::bind((server.local_addr().unwrap().ip(), 0)).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    (server, client)
}

/// A socket whose buffer fills up because its peer does not read. On loopback, UDP datagrams do not stay in the buffer.
fn local_pair() -> (UdpSocket, UnixDatagram) {
    let (near, far) = UnixDatagram::pair().unwrap();
    far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    (OwnedFd::from(near).into(), far)
}

macro_rules! each_way {
    ($($module:ident)*) => { $(mod $module {
        use super::*;
        use crate::net::batch::$module::{ReceiveBatch, SendBatch};

        fn receive_all(batch: &mut ReceiveBatch, socket: &UdpSocket, count: usize) -> Vec<(Vec<u8>, bool)> {
            let mut all = Vec::new();
            while all.len() < count {
                batch.receive(socket, Wait::ForOne).unwrap();
                all.extend(batch.iter().map(|datagram| (datagram.bytes.to_vec(), datagram.is_cut)));
            }
            all
        }

        #[test]
        fn what_is_received_goes_back_whole_and_in_order() {
            for address in ["127.0.0.1:0", "[::1]:0"] {
                let (server, client) = pair(address);
                let sizes = [0, 1, 12, 511, 512, 1232, 3, 40, 41, 42];
                for (index, size) in sizes.iter().enumerate() {
                    client.send_to(&vec![index as u8; *size], server.local_addr().unwrap()).unwrap();
                }
                let mut requests = ReceiveBatch::new(4, 2048);
                let mut replies = SendBatch::new(4);
                let mut served = 0;
                while served < sizes.len() {
                    requests.receive(&server, Wait::ForOne).unwrap();
                    for datagram in requests.iter() {
                        assert_eq!(datagram.peer.address, client.local_addr().unwrap());
                        replies.push(datagram.peer).extend_from_slice(datagram.bytes);
                        served += 1;
                    }
                    assert!(replies.flush([&server]).failed.is_empty());
                    assert!(replies.is_empty());
                }
                let echoed = receive_all(&mut ReceiveBatch::new(4, 2048), &client, sizes.len());
                for (index, size) in sizes.iter().enumerate() {
                    assert_eq!(echoed[index], (vec![index as u8; *size], false), "{address} {size}");
                }
            }
        }

        #[test]
        fn what_is_longer_than_the_room_is_cut_and_says_so() {
            let (server, client) = pair("127.0.0.1:0");
            for size in [99, 100, 101, 5000] {
                client.send_to(&vec![7; size], server.local_addr().unwrap()).unwrap();
            }
            let received = receive_all(&mut ReceiveBatch::new(8, 100), &server, 4);
            let seen: Vec<_> = received.iter().map(|(bytes, is_cut)| (bytes.len(), *is_cut)).collect();
            assert_eq!(seen, [(99, false), (100, false), (100, true), (100, true)]);
        }

        #[test]
        fn one_that_cannot_be_sent_does_not_hold_up_the_rest() {
            let (server, client) = pair("127.0.0.1:0");
            let peer = client.local_addr().unwrap().into();
            let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into();
            let mut replies = SendBatch::new(5);
            for (size, to) in [(1, peer), (70_000, peer), (2, peer), (3, nowhere), (4, peer)] {
                replies.push(to).resize(size, 0);
            }
            assert!(replies.is_full());
            let sent = replies.flush([&server]);
            let failed: Vec<usize> = sent.failed.iter().map(|(place, _)| *place).collect();
            assert_eq!((sent.sent, failed), (3, vec![1, 3]));
            let received = receive_all(&mut ReceiveBatch::new(5, 100), &client, 3);
            assert_eq!(received.iter().map(|(bytes, _)| bytes.len()).collect::<Vec<_>>(), [1, 2, 4]);
        }

        #[test]
        fn a_connected_socket_needs_no_peer() {
            let (server, client) = pair("127.0.0.1:0");
            client.connect(server.local_addr().unwrap()).unwrap();
            let mut queries = SendBatch::new(2);
            for byte in [1, 2] {
                let draft = queries.draft();
                draft.clear();
                draft.push(byte);
                queries.post_connected();
            }
            assert_eq!(queries.flush([&client]).sent, 2);
            let received = receive_all(&mut ReceiveBatch::new(2, 100), &server, 2);
            assert_eq!(received, [(vec![1], false), (vec![2], false)]);
        }

        #[test]
        fn nothing_there_is_would_block() {
            let (server, _client) = pair("127.0.0.1:0");
            let mut batch = ReceiveBatch::new(2, 100);
            let error = batch.receive(&server, Wait::No).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
            assert_eq!(batch.iter().count(), 0);
        }

        #[test]
        fn a_full_send_buffer_is_not_waited_for() {
            let post = |batch: &mut SendBatch| {
                while !batch.is_full() {
                    batch.draft().clear();
                    batch.post_connected();
                }
            };
            let ((full, _unread), (free, read)) = (local_pair(), local_pair());
            let mut replies = SendBatch::new(4);
            let blocked = (0..1000).find_map(|_| {
                post(&mut replies);
                Some(replies.flush([&full])).filter(|sent| sent.blocked > 0)
            });
            let blocked = blocked.unwrap();
            assert_eq!((blocked.sent + blocked.blocked, blocked.full, blocked.failed.len()), (4, 1, 0));
            post(&mut replies);
            let sent = replies.flush([&full, &free]);
            assert_eq!((sent.sent, sent.full, sent.blocked), (4, 1, 0), "the next socket is used");
            assert!((0..4).all(|_| read.recv(&mut [0; 1]).is_ok()));
        }
    })* };
}

each_way!(linux plain);

#[test]
fn a_reply_leaves_from_the_address_that_was_asked() {
    for (any, asked) in [("0.0.0.0:0", "127.0.0.3"), ("[::]:0", "::1")] {
        let server = UdpSocket::bind(any).unwrap();
        super::tell_local_address(&server).unwrap();
        let port = server.local_addr().unwrap().port();
        let client = UdpSocket::bind((asked, 0)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // A connected socket receives replies from the queried address only.
        client.connect((asked, port)).unwrap();
        client.send(b"query").unwrap();
        let mut requests = super::ReceiveBatch::new(2, 100);
        requests.receive(&server, Wait::ForOne).unwrap();
        let peer = requests.datagram(0).unwrap().peer;
        let mut replies = super::SendBatch::new(1);
        replies.push(peer).extend_from_slice(b"reply");
        assert!(replies.flush([&server]).failed.is_empty());
        let mut reply = [0; 10];
        assert_eq!(client.recv(&mut reply).unwrap(), 5, "{asked}");
    }
}

#[test]
fn the_kernel_tells_what_it_dropped() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    assert_eq!(super::dropped_by_kernel(&server), Some(0));
    // Far more than a default receive buffer holds.
    for _ in 0..2000 {
        client.send_to(&[0; 1000], server.local_addr().unwrap()).unwrap();
    }
    assert!(super::dropped_by_kernel(&server).unwrap() > 0);
}
