//! [`CnamePolicy`]: how CNAME targets in answers for allowed names are treated.

use serde::{Deserialize, Serialize};

/// How CNAME targets in answers for the names of an allowlist are treated. SVCB and HTTPS targets count too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CnamePolicy {
    /// Relay answers unchanged: the owner of an allowed name may point it to any name.
    #[default]
    Trust,
    /// Block the answer unless every name it leads to is allowed too.
    Inspect,
    /// Allow the names that an answer leads to, for the same client group, until the answer expires. Needed if another resolver stands between namegate and the clients and queries each name of a
    /// chain separately.
    Follow,
}
