//! [`SessionJson`] and [`SignInJson`]: bodies of `/api/v1/session`.

use serde::{Deserialize, Serialize};

/// Who sends the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionJson {
    /// `none`, `viewer` or `approver`. `none` reads what `admin.read` leaves open.
    pub role: String,
    /// True if a token is set.
    pub can_sign_in: bool,
    /// What changes must send in the header `X-Namegate-CSRF`; absent without a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csrf: Option<String>,
}

/// The body of `POST /api/v1/session`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignInJson {
    /// The content of `admin.token_file` or `admin.viewer_token_file`.
    pub token: String,
}
