//! [`RouteSettings`]: names that go to other upstream servers, from `[[route]]`.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde::Serialize;

use crate::address::upstream::UpstreamAddress;
use crate::config::inline_rule::InlineRule;
use crate::config::value;
use crate::config::values::plain;
use crate::diagnostics::Section;
use crate::policy::route::MAX_ROUTES;
use crate::policy::rule::Pattern;

/// Names that go to other upstream servers. A route does not allow names; rules do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteSettings {
    /// The names; of overlapping patterns, the most specific applies.
    pub names: Vec<InlineRule>,
    /// The servers in order of preference; at least one.
    pub servers: Vec<UpstreamAddress>,
}

/// Reads the tables `[[route]]`. Servers with a host name need `bootstrap` servers.
pub(super) fn routes(root: &mut Section<'_, '_>, bootstrap: &[SocketAddr]) -> Vec<RouteSettings> {
    let mut routes: Vec<RouteSettings> = Vec::new();
    let mut taken: HashMap<Pattern, u32> = HashMap::new();
    for (table, span) in root.sections("route") {
        if routes.len() + 1 == MAX_ROUTES {
            let message = format!("too many routes, at most {} are allowed", MAX_ROUTES - 1);
            root.faults.error(&span, message, "merge routes that go to the same servers".to_owned());
            break;
        }
        let mut section = Section::new("route", table, span, root.faults);
        let names = section.some_required("names", ".corp.example", value::inline_rule).unwrap_or_default();
        let servers = section.some_required("servers", "10.0.0.4", str::parse::<UpstreamAddress>);
        for server in servers.iter().flatten() {
            if let Some(error) = value::needs_bootstrap(server.get_ref(), bootstrap) {
                section.faults.error(&server.span(), error.message, error.help);
            }
        }
        section.finish();
        for name in &names {
            let line = root.faults.line(name.span().start);
            if let Some(other) = taken.insert(name.get_ref().clone(), line) {
                let message = format!("`{}` already has a route, on line {other}", name.get_ref());
                let help = "list it in one route only; of overlapping patterns, the most specific applies";
                root.faults.error(&name.span(), message, help.to_owned());
            }
        }
        let names = names
            .into_iter()
            .map(|name| InlineRule { line: root.faults.line(name.span().start), pattern: name.into_inner() });
        routes
            .push(RouteSettings { names: names.collect(), servers: servers.map(plain).unwrap_or_default() });
    }
    routes
}

/// The patterns of all routes, each with its route's index.
pub fn patterns(routes: &[RouteSettings]) -> impl Iterator<Item = (&Pattern, usize)> {
    let numbered = routes.iter().enumerate();
    numbered.flat_map(|(index, route)| route.names.iter().map(move |rule| (&rule.pattern, index)))
}
