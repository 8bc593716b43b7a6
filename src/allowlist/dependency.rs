//! [`Dependency`]: a host that something needs, as Azure says.

use crate::allowlist::port::Port;
use crate::policy::rule::Pattern;

/// Something a workspace needs to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// What Azure says it is for: `Azure Active Directory`.
    pub category: String,
    /// The host, or the hosts.
    pub pattern: Pattern,
    /// The ports; TCP where the file does not say.
    pub ports: Vec<Port>,
    /// Where it stands, as a JSON path.
    pub place: String,
}
