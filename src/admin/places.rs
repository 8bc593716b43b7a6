//! [`Places`]: who has a connection to the admin listener, and who gives way when there are too many.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::util::sync::lock;

/// How often it is looked for one to give way while all have requests under way.
const RETRY: Duration = Duration::from_millis(20);

/// A fixed number of places. When all are taken, the connection that has been without a request for longest gives its place
/// to the next: whoever opens connections and says nothing cannot keep others out.
#[derive(Clone)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    taken: Arc<Mutex<Vec<Arc<Place>>>>,
}

/// What is known of one connection.
struct Place {
    /// Since when no request is under way; none while one is.
    quiet: Mutex<Option<Instant>>,
    give_way: CancellationToken,
}

/// A place that is taken, until this is dropped.
pub(super) struct PlacePermit {
    place: Arc<Place>,
    places: Places,
    _slot: OwnedSemaphorePermit,
}

impl Places {
    /// `count` places.
    pub(super) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), taken: Arc::default() }
    }

    /// Takes a place, from another if need be.
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

    /// Tells the connection that has been without a request for longest to end, if there is one.
    fn make_room(&self) {
        let taken = lock(&self.taken);
        let quiet = taken.iter().filter_map(|place| Some(((*lock(&place.quiet))?, place)));
        if let Some((_, place)) = quiet.min_by_key(|(since, _)| *since) {
            place.give_way.cancel();
        }
    }
}

impl PlacePermit {
    /// Ends when another needs the place.
    pub(super) async fn is_needed(&self) {
        self.place.give_way.cancelled().await;
    }

    /// What notes the connection's requests.
    pub(super) fn requests(&self) -> Requests {
        Requests(Arc::clone(&self.place))
    }
}

impl Drop for PlacePermit {
    fn drop(&mut self) {
        lock(&self.places.taken).retain(|place| !Arc::ptr_eq(place, &self.place));
    }
}

/// Notes whether a connection has a request under way.
#[derive(Clone)]
pub(super) struct Requests(Arc<Place>);

/// A request under way, until this is dropped.
pub(super) struct UnderWay(Arc<Place>);

impl Requests {
    /// A request came.
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
        assert!(!first.place.give_way.is_cancelled(), "it has a request under way");
        drop(second);
        let third = wanted.await.unwrap();
        drop(under_way);
        let wanted = tokio::spawn(async move { places.take().await.unwrap() });
        third.is_needed().await;
        assert!(!first.place.give_way.is_cancelled(), "it had a request later than the third came");
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
