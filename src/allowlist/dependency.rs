//! [`Dependency`]: a host that a workspace needs, from Azure's list of dependencies.

use crate::allowlist::port::Port;
use crate::policy::rule::Pattern;

/// A host that a workspace needs to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Azure's category, such as `Azure Active Directory`.
    pub category: String,
    /// The host, or the hosts.
    pub pattern: Pattern,
    /// The ports; TCP if the file has no protocol.
    pub ports: Vec<Port>,
    /// Its location in the file, as a JSON path.
    pub place: String,
}
