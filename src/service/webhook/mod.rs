//! [`Webhook`]: tells another program of events, with signed messages (Standard Webhooks).
//!
//! One task looks for events in what other parts publish anyway, so no event holds anything up. Another task delivers
//! the messages one after the other. Between them is a bounded queue.

mod delivery;
mod signature;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::config::{Settings, WebhookEvent};
use crate::control::requests::{GrantRequest, RequestId, SharedRequests};
use crate::observe::canary_results::CanaryResult;
use crate::observe::live_stats::LiveStats;
use crate::observe::metrics_registry::MetricsRegistry;
use crate::observe::webhook_results::{WebhookResult, WebhookResults};
use crate::util::log_event::log;
use crate::util::sync::lock;
use delivery::WebhookReceiver;
use signature::WebhookSecret;

/// Most messages that wait for delivery; further ones are lost and counted.
const QUEUE: usize = 100;

/// Interval for looking for events.
const LOOK: Duration = Duration::from_secs(1);

/// Shortest interval between two messages about names that were blocked for the first time.
const DENIALS: Duration = Duration::from_secs(10);

/// Most names in such a message.
const MAX_NAMES: usize = 20;

/// Pauses before the second and each further attempt.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
];

/// Sends messages about events.
pub struct Webhook {
    receiving: WebhookReceiver,
    events: Vec<WebhookEvent>,
    sources: WebhookSources,
    results: Arc<WebhookResults>,
}

/// Where events show.
pub struct WebhookSources {
    /// New requests.
    pub requests: SharedRequests,
    /// Blocked names.
    pub live: Arc<LiveStats>,
    /// Canaries and reloads.
    pub metrics: Arc<MetricsRegistry>,
}

/// A message: its id, which all attempts share, and its body.
struct WebhookMessage {
    id: String,
    body: String,
}

/// What was seen up to the last look.
struct Seen {
    requests: HashSet<RequestId>,
    /// When names were last reported.
    denials: Instant,
    denials_until: SystemTime,
    failed_canaries: BTreeSet<String>,
    failed_reloads: u64,
}

impl Webhook {
    /// Checks that [`Webhook::new`] would succeed; sends nothing.
    ///
    /// Errors: as there.
    pub fn check(settings: &Settings) -> Result<(), String> {
        receiving(settings).map(drop)
    }

    /// The webhook of `settings`; `None` if it is off.
    ///
    /// Errors: the secret or the certificate authorities cannot be read; with a remedy.
    pub fn new(settings: &Settings, sources: WebhookSources) -> Result<Option<Self>, String> {
        let Some(receiving) = receiving(settings)? else { return Ok(None) };
        let results = Arc::clone(sources.metrics.webhook());
        Ok(Some(Self { receiving, events: settings.webhook.events.clone(), sources, results }))
    }

    /// Runs until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let (sender, queue) = channel(QUEUE);
        let Self { receiving, events, sources, results } = self;
        tokio::select! {
            () = stop.cancelled() => {}
            () = look(&events, &sources, &sender, &results) => {}
            () = deliver(queue, receiving, &results) => {}
        }
    }
}

fn receiving(settings: &Settings) -> Result<Option<WebhookReceiver>, String> {
    let config = &settings.webhook;
    let (Some(url), Some(file)) = (&config.url, &config.secret_file) else { return Ok(None) };
    let secret = WebhookSecret::read(file).map_err(|error| error.to_string())?;
    WebhookReceiver::new(url.clone(), secret, &config.roots, &settings.upstream.bootstrap).map(Some)
}

/// Looks for events and queues a message for each.
async fn look(
    events: &[WebhookEvent],
    sources: &WebhookSources,
    queue: &Sender<WebhookMessage>,
    results: &WebhookResults,
) {
    let now = SystemTime::now();
    let mut seen = Seen {
        requests: lock(&sources.requests).all(now).iter().map(|request| request.id).collect(),
        denials: Instant::now(),
        denials_until: now,
        failed_canaries: BTreeSet::new(),
        failed_reloads: sources.metrics.failed_reloads(),
    };
    loop {
        sleep(LOOK).await;
        for (event, kind, data) in seen.look(sources) {
            if events.contains(&event) && queue.try_send(WebhookMessage::new(kind, &data)).is_err() {
                results.count(WebhookResult::Lost);
            }
        }
    }
}

impl Seen {
    /// Everything that happened since the last look: event, message type and data.
    fn look(&mut self, sources: &WebhookSources) -> Vec<(WebhookEvent, &'static str, Value)> {
        let now = SystemTime::now();
        let mut found = Vec::new();
        let requests = lock(&sources.requests).all(now);
        let is_new = |request: &&GrantRequest| !self.requests.contains(&request.id);
        for request in requests.iter().rev().filter(is_new) {
            found.push((WebhookEvent::Request, "request.filed", json!(request)));
        }
        self.requests = requests.iter().map(|request| request.id).collect();
        found.extend(self.canaries(sources));
        let failed = sources.metrics.failed_reloads();
        if failed > self.failed_reloads {
            let data = json!({"message": "a reload failed; the previous policy stays active; see the log"});
            found.push((WebhookEvent::Reload, "reload.failed", data));
        }
        self.failed_reloads = failed;
        if self.denials.elapsed() >= DENIALS {
            found.extend(self.denials(sources, now));
        }
        found
    }

    fn canaries(&mut self, sources: &WebhookSources) -> Vec<(WebhookEvent, &'static str, Value)> {
        let Some(round) = sources.metrics.standing().last() else { return Vec::new() };
        let mut found = Vec::new();
        for outcome in &round.canaries {
            let name = outcome.canary.name.to_string();
            match &outcome.result {
                CanaryResult::Failed(fault) if self.failed_canaries.insert(name.clone()) => {
                    let data = json!({"name": name, "message": fault});
                    found.push((WebhookEvent::Canary, "canary.failed", data));
                }
                CanaryResult::Passed | CanaryResult::Observed if self.failed_canaries.remove(&name) => {
                    found.push((WebhookEvent::Canary, "canary.recovered", json!({"name": name})));
                }
                _ => {}
            }
        }
        found
    }

    /// Names that were blocked for the first time. The record of blocked names is bounded, so this is too.
    fn denials(
        &mut self,
        sources: &WebhookSources,
        now: SystemTime,
    ) -> Option<(WebhookEvent, &'static str, Value)> {
        let mut names: Vec<String> = {
            let blocked = sources.live.blocked();
            let new = blocked.iter().filter(|(_, seen)| seen.first > self.denials_until);
            new.map(|(name, _)| name.to_string()).collect()
        };
        (self.denials, self.denials_until) = (Instant::now(), now);
        names.sort_unstable();
        let more = names.len().saturating_sub(MAX_NAMES);
        names.truncate(MAX_NAMES);
        let data = json!({"names": names, "more": more});
        (!names.is_empty()).then_some((WebhookEvent::FirstDenial, "names.blocked", data))
    }
}

impl WebhookMessage {
    fn new(kind: &str, data: &Value) -> Self {
        let timestamp = crate::util::rfc3339::millis(SystemTime::now()).to_string();
        let body = json!({"type": kind, "timestamp": timestamp, "data": data}).to_string();
        Self { id: format!("msg_{:032x}", rand::random::<u128>()), body }
    }
}

/// Delivers the messages one after the other. Logs when delivery begins to fail and when it works again.
async fn deliver(mut queue: Receiver<WebhookMessage>, receiving: WebhookReceiver, results: &WebhookResults) {
    let mut is_failing = false;
    while let Some(message) = queue.recv().await {
        let mut pauses = PAUSES.iter();
        loop {
            let failure = match receiving.send(&message).await {
                Ok(()) => {
                    results.count(WebhookResult::Delivered);
                    if is_failing {
                        log!(WebhookRecovered, "webhook: messages are delivered again");
                    }
                    is_failing = false;
                    break;
                }
                Err(failure) => failure,
            };
            if !is_failing {
                log!(WebhookFailed, "webhook: a message was not delivered to {}: {failure}", receiving.url());
            }
            is_failing = true;
            match pauses.next().filter(|_| failure.is_temporary()) {
                Some(pause) => sleep(*pause).await,
                None => {
                    results.count(WebhookResult::Failed);
                    break;
                }
            }
        }
    }
}
