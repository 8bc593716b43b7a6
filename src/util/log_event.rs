//! [`LogEvent`]: the kinds of log lines. `docs/operations/logs.md` lists them from here.

use tracing::Level;

macro_rules! log_events {
    ($($(#[doc = $doc:literal])+ $level:ident $event:ident = $name:literal,)+) => {
        /// The kind of a log line. The documentation of each is the meaning in `docs/operations/logs.md`, from where its
        /// links start.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum LogEvent {
            $($(#[doc = $doc])+ $event,)+
        }

        impl LogEvent {
            /// Every kind, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$event),+];

            /// The value of `event` in a JSON line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$event => $name,)+ }
            }

            /// The severity of its lines.
            pub const fn level(self) -> Level {
                match self { $(Self::$event => Level::$level,)+ }
            }

            /// What it means, and what to do.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$event => concat!($($doc),+),)+ }
            }
        }
    };
}

log_events! {
    /// An address on which queries are answered; one line for each.
    INFO Listening = "listening",
    /// The upstreams.
    INFO Forwarding = "forwarding",
    /// The policy in force at start: rules, allowlists, mode and hash. In observe mode, names that no rule allows are forwarded.
    INFO Policy = "policy",
    /// The version, and the settings file.
    INFO Started = "started",
    /// The source of settings that are not defaults: the command line, an environment variable, or the settings file.
    INFO Setting = "setting",
    /// The address of the status page, `/metrics` and health checks.
    INFO AdminListening = "admin_listening",
    /// How to try the resolver.
    INFO Hint = "hint",
    /// namegate answers queries.
    INFO Ready = "ready",
    /// What the process [gave up](../operations.md#sandbox).
    INFO Sandbox = "sandbox",
    /// A restriction that is off or that the kernel does not support. Use a newer kernel, if you need it.
    WARN SandboxIncomplete = "sandbox_incomplete",
    /// The open file limit is too low for `server.tcp_connections`. Raise `LimitNOFILE=` or `ulimits`.
    WARN ConnectionsLimited = "connections_limited",
    /// A [hand-over](upgrade.md#with-a-hand-over): the old process has the admin address. Stop the old process.
    WARN AdminAwaited = "admin_awaited",
    /// The old process ended, but namegate cannot bind the admin address. Restart namegate.
    ERROR AdminFailed = "admin_failed",
    /// SIGTERM or SIGINT arrived.
    INFO Stopping = "stopping",
    /// The last line of the process.
    INFO Stopped = "stopped",
    /// Some clients got no reply before the process ended.
    WARN ShutdownTimedOut = "shutdown_timed_out",
    /// Standard output or the disk was too slow for the last lines of the query log.
    WARN QueryLogIncomplete = "query_log_incomplete",

    /// Files that a reload reads have changed (`server.watch`). The outcome of the reload follows.
    INFO FilesChanged = "files_changed",
    /// The new policy is in force.
    INFO Reloaded = "reloaded",
    /// [A reload failed](reload-failed.md); the previous policy stays active. A `reload_fault` line follows for each fault.
    ERROR ReloadFailed = "reload_failed",
    /// One fault of a failed reload, with file and line. Run `namegate check` to see the text at fault.
    ERROR ReloadFault = "reload_fault",
    /// A probable mistake in settings, allowlists or local zones. `namegate check` shows the text in question.
    WARN SettingsWarning = "settings_warning",
    /// The running process still uses the old values. [Restart](upgrade.md) to apply the new ones.
    WARN RestartNeeded = "restart_needed",
    /// No allowlist, or all rules are inactive: every name is blocked. Run `namegate check`.
    WARN NoRules = "no_rules",
    /// A grant was made.
    WARN Grant = "grant",
    /// A grant was revoked.
    WARN GrantRevoked = "grant_revoked",
    /// A grant has ended.
    WARN GrantExpired = "grant_expired",
    /// A grant could not be saved and was not made. Check `server.state_directory`.
    WARN GrantFailed = "grant_failed",
    /// A restored grant was longer than `admin.max_temporary` permits.
    WARN GrantShortened = "grant_shortened",
    /// `allowed.json` is damaged or of another version; it is renamed to `allowed.unreadable`. Grant again what is needed.
    ERROR GrantsUnreadable = "grants_unreadable",
    /// Grants or `audit.log` cannot be written. Free disk space; check the owner of the state directory.
    ERROR GrantsUnsaved = "grants_unsaved",
    /// `rule-uses.json` is damaged or of another version. Nothing to do: counting starts anew.
    ERROR RuleUsesUnreadable = "rule_uses_unreadable",
    /// The uses of rules cannot be saved. Free disk space; check the owner of the state directory.
    WARN RuleUsesUnsaved = "rule_uses_unsaved",
    /// A [request](../requests.md) was filed.
    INFO Request = "request",
    /// A request was approved; its grant has a line of its own.
    INFO RequestApproved = "request_approved",
    /// A request was denied.
    INFO RequestDenied = "request_denied",
    /// Nobody decided a request in time.
    INFO RequestExpired = "request_expired",
    /// The saved requests are damaged or of another version; their file is renamed to requests.unreadable. Clients must file their requests again.
    ERROR RequestsUnreadable = "requests_unreadable",
    /// Requests cannot be saved. Free disk space; check the owner of the state directory.
    ERROR RequestsUnsaved = "requests_unsaved",
    /// The webhook's receiver does not accept messages; one line until it does again. Check `webhook.url` and the receiver.
    WARN WebhookFailed = "webhook_failed",
    /// The webhook's receiver accepts messages again.
    INFO WebhookRecovered = "webhook_recovered",
    /// A rule's `until` has come; its names are blocked, unless another rule allows them. Extend `until` and reload, or remove the rule.
    INFO RuleEnded = "rule_ended",
    /// A rule or client has reached its limit of CNAME targets, and new targets are blocked; at most one line a minute. See [NamegateFollowedShareFull](../operations.md#namegatefollowedsharefull).
    WARN FollowedShareFull = "followed_share_full",
    /// A name in `prove.must_not_resolve` is not blocked, or a name in `prove.must_resolve` does not resolve. See [NamegateCanaryFailed](../operations.md#namegatecanaryfailed).
    ERROR CanaryFailed = "canary_failed",
    /// A canary passes again.
    INFO CanaryRecovered = "canary_recovered",
    /// namegate cannot query itself: add its address to `server.allow_clients`. Or observe mode forwards the names that must not resolve: said once; set `policy.mode` to `"enforce"`.
    WARN CanariesUntested = "canaries_untested",
    /// Lookups of `namegate prove`, run with the admin token, are from now on not counted as a client's, or counted again. See [Own queries](../operations.md#own-queries).
    INFO OwnClients = "own_clients",
    /// Somebody signed in, as viewer or approver. See [Sign in](../operations.md#sign-in).
    INFO SignedIn = "signed_in",
    /// A request came without the right token; at most one line in ten seconds. See [NamegateAdminTokenRefused](../operations.md#namegateadmintokenrefused).
    WARN AdminRefused = "admin_refused",
    /// A request was refused, because a token file cannot be read. Check `admin.token_file` and `admin.viewer_token_file`.
    ERROR TokenUnreadable = "token_unreadable",

    /// Three failures with no reply in between. See [An upstream is down](upstream-down.md).
    WARN UpstreamDown = "upstream_down",
    /// The upstream replied again.
    INFO UpstreamUp = "upstream_up",
    /// This machine did not send the query: packet filter, no route, no free file descriptors. See [No reply](upstream-down.md#no-reply).
    WARN UpstreamUnreachable = "upstream_unreachable",
    /// An encrypted upstream cannot be reached, or its certificate does not match; one line for each reason. Fix the cause in the message.
    WARN UpstreamNoConnection = "upstream_no_connection",
    /// The upstream forwards queries back to this resolver. See [Forwarding loop](upstream-down.md#forwarding-loop).
    WARN ForwardingLoop = "forwarding_loop",
    /// The forwarding loop ended.
    INFO ForwardingLoopEnded = "forwarding_loop_ended",
    /// The upstream replied only to queries without EDNS.
    INFO UpstreamRejectsEdns = "upstream_rejects_edns",
    /// A reply with different letter case was ignored as possibly forged. If the upstream never preserves case, set `upstream.randomize_case = false`.
    WARN UpstreamChangesCase = "upstream_changes_case",
    /// The upstream `system` keeps its previous servers. Check `/etc/resolv.conf`.
    WARN SystemResolverUnreadable = "system_resolver_unreadable",

    /// A thread makes no progress, or cannot send ([NamegateDrops](../operations.md#namegatedrops), `send_buffer`): `/livez` and `/readyz` are 503. Unless the thread is `reload`, the systemd watchdog restarts namegate if it makes no progress. Keep the log; report it.
    ERROR NotReady = "not_ready",
    /// Usually: no free file descriptors. Raise the open file limit.
    WARN AcceptFailed = "accept_failed",
    /// The kernel refused to wait for upstream replies. Report it.
    ERROR RelayPollFailed = "relay_poll_failed",
    /// A bug. The last reload or grant may not be in force. Report it.
    ERROR InternalError = "internal_error",
    /// Lines of the query log cannot be written: a full disk, a missing permission. See [Lines are missing](#lines-are-missing).
    WARN QueryLogFailed = "query_log_failed",
    /// Standard output or a disk is too slow. See [Lines are missing](#lines-are-missing).
    WARN QueryLogStuck = "query_log_stuck",
    /// The query log keeps growing, because its directory is not writable. Check the directory's owner.
    WARN QueryLogNotRotated = "query_log_not_rotated",
    /// The history of lookups is not written: the file, the disk or another process is in the way. Lookups are still answered. Do what the message says; namegate tries again every 10 seconds.
    ERROR HistoryFailed = "history_failed",
    /// The history of lookups is written again.
    INFO HistoryRecovered = "history_recovered",
    /// Frames are lost until the dnstap socket can be connected. Start the reader.
    WARN DnstapDisconnected = "dnstap_disconnected",
    /// The dnstap reader is connected.
    INFO DnstapConnected = "dnstap_connected",
    /// A socket call failed.
    DEBUG SocketError = "socket_error",
    /// A client's connection ended with an error.
    DEBUG TcpClosed = "tcp_closed",
    /// The service manager was not notified.
    DEBUG NotifyFailed = "notify_failed",
    /// A line of a library; its level varies.
    WARN Library = "library",
    /// A line of the query log. It has no `level` and `message`, but [its own fields](#query-log-fields).
    INFO Query = "query",
}

/// Writes a line to the operational log: the event, then as with `tracing::event!`.
macro_rules! log {
    ($event:ident, $($arguments:tt)+) => {{
        const EVENT: $crate::util::log_event::LogEvent = $crate::util::log_event::LogEvent::$event;
        tracing::event!(name: EVENT.name(), EVENT.level(), $($arguments)+)
    }};
}

pub(crate) use log;
