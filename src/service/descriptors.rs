//! The limit on open files, and how many of them TCP connections may use.

/// Raises the limit on open files to the hard limit, and returns it; none if it is unknown.
#[cfg(target_os = "linux")]
pub fn raise_limit() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    // If it cannot be raised, the old limit remains.
    let current = if raised.is_ok() { limit.maximum } else { limit.current };
    current.and_then(|current| usize::try_from(current).ok())
}

/// Raises the limit on open files to the hard limit, and returns it; none if it is unknown.
#[cfg(not(target_os = "linux"))]
pub fn raise_limit() -> Option<usize> {
    None
}

/// Most TCP connections to serve at once: `wanted`, but at most half of the open file limit. Clients that only connect
/// must not use up the sockets for upstream queries: at worst one per query in flight.
pub fn connections(wanted: usize, limit: Option<usize>) -> usize {
    limit.map_or(wanted, |limit| wanted.min((limit / 2).max(1)))
}

/// The warning to log if fewer connections are served than `wanted`.
pub fn shortage(wanted: usize, served: usize, limit: Option<usize>) -> Option<String> {
    let limit = limit.filter(|_| served < wanted)?;
    Some(format!(
        "TCP connections limited to {served} instead of {wanted} (`server.tcp_connections`): this process may open \
         {limit} files, and half of them are reserved for upstreams\n  help: raise the open file limit to {} \
         (LimitNOFILE=, ulimit -n, `ulimits` in compose), or lower `server.tcp_connections`",
        wanted * 2
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_half_of_the_files_at_most() {
        for (wanted, limit, served) in [
            (1000, None, 1000),
            (1000, Some(1024), 512),
            (1000, Some(64), 32),
            (3, Some(64), 3),
            (9, Some(1), 1),
        ] {
            assert_eq!(connections(wanted, limit), served, "{wanted} of {limit:?}");
            assert_eq!(shortage(wanted, served, limit).is_some(), served < wanted);
        }
        let told = shortage(6000, 512, Some(1024)).unwrap_or_default();
        assert!(
            told.contains("limited to 512") && told.contains("raise the open file limit to 12000"),
            "{told}"
        );
    }
}
