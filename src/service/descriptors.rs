//! How many files this process may have open, and how many of them connections may take.

/// Raises the limit on open files to what this process may have, and tells it; none where that is not known.
#[cfg(target_os = "linux")]
pub fn raise_limit() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    // Where it cannot be raised the old one holds.
    let current = if raised.is_ok() { limit.maximum } else { limit.current };
    current.and_then(|current| usize::try_from(current).ok())
}

/// Raises the limit on open files to what this process may have, and tells it; none where that is not known.
#[cfg(not(target_os = "linux"))]
pub fn raise_limit() -> Option<usize> {
    None
}

/// How many connections to serve at once: `wanted`, and at most half of the files that may be open. Clients that only connect
/// must not take what asking upstreams needs: a socket for each query in flight, at worst.
pub fn connections(wanted: usize, limit: Option<usize>) -> usize {
    limit.map_or(wanted, |limit| wanted.min((limit / 2).max(1)))
}

/// What to say where fewer connections are served than are `wanted`.
pub fn shortage(wanted: usize, served: usize, limit: Option<usize>) -> Option<String> {
    let limit = limit.filter(|_| served < wanted)?;
    Some(format!(
        "at most {served} TCP connections, not the {wanted} of `tcp_connections`: this process may open {limit} files, and half \
         of them stay free for upstreams\n  help: raise the limit to {} (LimitNOFILE=, ulimit -n, `ulimits` in compose), or lower \
         `tcp_connections` in [server]",
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
        assert!(told.contains("at most 512") && told.contains("raise the limit to 12000"), "{told}");
    }
}
