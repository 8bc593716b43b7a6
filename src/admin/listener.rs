//! The admin listener's connections: bounded in number, and in the time and memory they may take.

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

use super::authorized::AdminPeer;
use super::places::{PlacePermit, Places};

/// Connections at once: some browsers, a Prometheus or two, and probes. Of more, those without a request give way, so that
/// nobody takes the descriptors that queries need.
const CONNECTIONS: usize = 64;

/// Time for a request's head to come, also for the next one on a connection that stays open.
const HEAD: Duration = Duration::from_secs(10);

/// Largest head of a request in bytes; browsers send some 1 KiB, with cookies of other services on this host more. Beyond,
/// the answer is 431 (RFC 6585 section 5) and the connection ends.
const HEAD_BYTES: usize = 16 * 1024;

/// Header lines of a request; browsers send some 20. Beyond, the same.
const HEADERS: usize = 64;

/// Longest that one connection lives, whatever its client does.
const LIFE: Duration = Duration::from_secs(300);

/// Pause after a failed accept, so that a shortage of descriptors costs no CPU.
const BACKOFF: Duration = Duration::from_millis(100);

/// Serves `router` until told to stop.
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

/// Answers the requests of one connection, until its client, its time or another who needs its place ends it.
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
        // A client that is gone or too slow misses its page.
        _ = timeout(LIFE, connection) => {}
        () = place.is_needed() => {}
    }
}
