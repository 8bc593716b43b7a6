//! The admin listener's connections: bounded in number, and in the time they may take.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Connections at once: some browsers, a Prometheus or two, and probes. More wait in the kernel's backlog, so that
/// nobody takes the descriptors that queries need.
const CONNECTIONS: usize = 64;

/// Time for a request's head to come, also for the next one on a connection that stays open.
const HEAD: Duration = Duration::from_secs(10);

/// Longest that one connection lives, whatever its client does.
const LIFE: Duration = Duration::from_secs(300);

/// Pause after a failed accept, so that a shortage of descriptors costs no CPU.
const BACKOFF: Duration = Duration::from_millis(100);

/// Serves `router` until told to stop.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = async {
                let slot = Arc::clone(&slots).acquire_owned().await.map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>((listener.accept().await?.0, slot))
            } => accepted,
        };
        let Ok((stream, slot)) = accepted else {
            sleep(BACKOFF).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // A client that is gone or too slow misses its page.
            let _ = timeout(LIFE, connection).await;
            drop(slot);
        });
    }
}
