//! Connections of the admin listener, with limits on number, time and memory.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::access::AdminPeer;
use super::places::{PlacePermit, Places};
use super::refusal::Refusal;

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

/// Time limit for the body of a request, and its size in bytes: a name and a reason, with room to spare.
const BODY: Duration = Duration::from_secs(10);
pub(super) const MAX_BODY: usize = 16 * 1024;

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

fn too_long() -> Refusal {
    let text = format!("the body exceeds the length limit, {} KiB; help: shorten it", MAX_BODY >> 10);
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text)
}

fn too_slow() -> Refusal {
    let text = format!("the body did not arrive within {} s; help: send the request again", BODY.as_secs());
    Refusal::new(StatusCode::REQUEST_TIMEOUT, text)
}

/// Serves one connection until its client closes it, its lifetime ends, or another connection needs its slot.
async fn converse(stream: TcpStream, router: Router, place: PlacePermit) {
    let requests = place.requests();
    let peer = stream.peer_addr().ok().map(AdminPeer);
    let router = router.layer(axum::middleware::from_fn(
        move |request: Request<Body>, next: axum::middleware::Next| {
            let requests = requests.clone();
            async move {
                let (mut parts, body) = request.into_parts();
                if let Some(peer) = peer {
                    parts.extensions.insert(peer);
                }
                // Anyone may send a body. Until it is here, the connection is idle and gives way to others.
                let body = match timeout(BODY, to_bytes(body, MAX_BODY)).await {
                    Ok(Ok(body)) => body,
                    Ok(Err(_)) => return too_long().into_response(),
                    Err(_) => return too_slow().into_response(),
                };
                let under_way = requests.begin();
                let response = next.run(Request::from_parts(parts, body.into())).await;
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
