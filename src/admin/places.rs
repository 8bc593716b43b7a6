//! [`Places`]: connection slots of the admin listener; idle connections give up theirs when all are taken.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::util::sync::lock;

/// Interval for retrying while every connection has a request in progress.
const RETRY: Duration = Duration::from_millis(20);

/// A fixed number of slots. When all are taken, the connection that has been idle for longest loses its slot to the
/// next one, so that silent connections cannot keep others out.
#[derive(Clone)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    taken: Arc<Mutex<Vec<Arc<Place>>>>,
}

/// State of one connection.
struct Place {
    /// Idle since; none while a request is in progress.
    quiet: Mutex<Option<Instant>>,
    give_way: CancellationToken,
}

/// A slot, held until dropped.
pub(super) struct PlacePermit {
    place: Arc<Place>,
    places: Places,
    _slot: OwnedSemaphorePermit,
}

impl Places {
    /// Creates `count` slots.
    pub(super) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), taken: Arc::default() }
    }

    /// Takes a slot, if necessary from an idle connection.
    pub(super) async fn take(&self) -> std::io::Result<PlacePermit> {
        let slot = loop {
            if self.free.available_permits() == 0 {
                self.make_room();
            }
            match timeout(RETRY, Arc::clone(&self.free).acquire_owned()).await {
                Ok(slot) => break slot.map_err(std::io::Error::other)?,
                Err(_) => continue,
            }
        };
        let quiet = Mutex::new(Some(Instant::now()));
        let place = Arc::new(Place { quiet, give_way: CancellationToken::new() });
        lock(&self.taken).push(Arc::clone(&place));
        Ok(PlacePermit { place, places: self.clone(), _slot: slot })
    }

    /// Closes the connection that has been idle for longest, if any is idle.
    fn make_room(&self) {
        let taken = lock(&self.taken);
        let quiet = taken.iter().filter_map(|place| Some(((*lock(&place.quiet))?, place)));
        if let Some((_, place)) = quiet.min_by_key(|(since, _)| *since) {
            place.give_way.cancel();
        }
    }
}

impl PlacePermit {
    /// Waits until another connection needs the slot.
    pub(super) async fn is_needed(&self) {
        self.place.give_way.cancelled().await;
    }

    /// Tracks the requests of the connection.
    pub(super) fn requests(&self) -> Requests {
        Requests(Arc::clone(&self.place))
    }
}

impl Drop for PlacePermit {
    fn drop(&mut self) {
        lock(&self.places.taken).retain(|place| !Arc::ptr_eq(place, &self.place));
    }
}

/// Tracks whether a connection has a request in progress.
#[derive(Clone)]
pub(super) struct Requests(Arc<Place>);

/// A request in progress, until dropped.
pub(super) struct UnderWay(Arc<Place>);

impl Requests {
    /// Records the start of a request.
    pub(super) fn begin(&self) -> UnderWay {
        *lock(&self.0.quiet) = None;
        UnderWay(Arc::clone(&self.0))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        *lock(&self.0.quiet) = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn the_one_quiet_for_longest_gives_way() {
        let places = Places::new(2);
        let (first, second) = (places.take().await.unwrap(), places.take().await.unwrap());
        let under_way = first.requests().begin();
        let wanted = tokio::spawn({
            let places = places.clone();
            async move { places.take().await.unwrap() }
        });
        second.is_needed().await;
        assert!(!first.place.give_way.is_cancelled(), "it has a request in progress");
        drop(second);
        let third = wanted.await.unwrap();
        drop(under_way);
        let wanted = tokio::spawn(async move { places.take().await.unwrap() });
        third.is_needed().await;
        assert!(!first.place.give_way.is_cancelled(), "its last request ended after the third connected");
        drop(third);
        wanted.await.unwrap();
    }

    #[tokio::test]
    async fn nobody_gives_way_with_a_request_under_way() {
        let places = Places::new(1);
        let only = places.take().await.unwrap();
        let under_way = only.requests().begin();
        let wanted = tokio::spawn(async move { places.take().await.unwrap() });
        tokio::time::sleep(RETRY * 3).await;
        assert!(!wanted.is_finished() && !only.place.give_way.is_cancelled());
        drop(under_way);
        only.is_needed().await;
        drop(only);
        wanted.await.unwrap();
    }
}
