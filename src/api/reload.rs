//! [`ReloadJson`]: the answer of `POST /api/v1/reload`.

use serde::{Deserialize, Serialize};

/// How a reload ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadJson {
    /// True if the new policy is active.
    pub succeeded: bool,
    /// The new policy in one line; after a failure, the errors with their places.
    pub message: String,
    /// First digits of the hash of the policy that is active now.
    pub policy: String,
}
