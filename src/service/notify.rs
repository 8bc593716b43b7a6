//! What the service manager is told, where there is one (sd_notify(3)).

use sd_notify::NotifyState;

/// Queries are answered, by the policy that `status` sums up.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Settings are being read again; [`ready`] must follow.
pub fn reloading() {
    // systemd.service(5), `Type=notify-reload`: RELOADING=1 comes with the time, in the same message.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("the service manager could not be told: {error}"),
    }
}

/// No more queries are taken.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("waiting for queries in flight")]);
}

/// All threads make progress.
pub(crate) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(states: &[NotifyState<'_>]) {
    // It will not hear whatever is said about that.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("the service manager could not be told: {error}");
    }
}
