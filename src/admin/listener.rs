//! Connections of the admin listener, with limits on number, time and memory.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::access::AdminPeer;
use super::places::{PlacePermit, Places};

/// Most connections: some browsers, one or two Prometheus servers, and probes. Beyond that, idle connections are
/// closed, so that nobody uses up the file descriptors that queries need.
const CONNECTIONS: usize = 64;

/// Time limit for the head of each request, including the next one on a persistent connection.
const HEAD: Duration = Duration::from_secs(10);

/// Largest request head in bytes. Browsers send about 1 KiB, more with cookies of other services on this host. A larger
/// head gets 431 (RFC 6585 section 5) and the connection is closed.
const HEAD_BYTES: usize = 16 * 1024;

/// Most header lines of a request; browsers send about 20. More get 431 as well.
const HEADERS: usize = 64;

/// Longest lifetime of a connection.
const LIFE: Duration = Duration::from_secs(300);

/// Pause after a failed accept, so that a shortage of file descriptors costs no CPU.
const BACKOFF: Duration = Duration::from_millis(100);

/// Serves `router` until `stop` is cancelled.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let places = Places::new(CONNECTIONS);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = async {
                let stream = listener.accept().await?.0;
                Ok::<_, std::io::Error>((stream, places.take().await?))
            } => accepted,
        };
        match accepted {
            Ok((stream, place)) => drop(tokio::spawn(converse(stream, router.clone(), place))),
            Err(_) => sleep(BACKOFF).await,
        }
    }
}

/// Serves one connection until its client closes it, its lifetime ends, or another connection needs its slot.
async fn converse(stream: TcpStream, router: Router, place: PlacePermit) {
    let requests = place.requests();
    let peer = stream.peer_addr().ok().map(AdminPeer);
    let router = router.layer(axum::middleware::from_fn(
        move |mut request: Request<Body>, next: axum::middleware::Next| {
            let under_way = requests.begin();
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            async move {
                let response = next.run(request).await;
                drop(under_way);
                response
            }
        },
    ));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::select! {
        // Errors mean that the client went away or was too slow.
        _ = timeout(LIFE, connection) => {}
        () = place.is_needed() => {}
    }
}
