//! Notifications to the service manager, if there is one (sd_notify(3)).

use sd_notify::NotifyState;

use crate::util::log_event::log;

/// Ready: queries are answered by the policy that `status` describes.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload has begun; [`ready`] must follow.
pub fn reloading() {
    // systemd.service(5), `Type=notify-reload`: RELOADING=1 needs the time in the same message.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => log!(NotifyFailed, "cannot notify the service manager: {error}"),
    }
}

/// Shutdown has begun: no new queries are accepted.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("waiting for queries in flight")]);
}

/// All threads make progress; feeds the watchdog.
pub(crate) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(states: &[NotifyState<'_>]) {
    // The service manager cannot be notified about this failure either.
    if let Err(error) = sd_notify::notify(states) {
        log!(NotifyFailed, "cannot notify the service manager: {error}");
    }
}
