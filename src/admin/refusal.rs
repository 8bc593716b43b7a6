//! [`Refusal`]: error response to a request that would change something.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::allow_request::ErrorJson;
use crate::control::CommandError;

/// A status code and an error text with a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        // Texts for a terminal have their hint on a line of its own.
        Self { status, text: text.into().replace("\n  help: ", "; help: ") }
    }

    /// 422: the request is well-formed but cannot be carried out.
    pub(super) fn unfit(text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, text)
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        let status = match error {
            CommandError::Rejected(_) => StatusCode::UNPROCESSABLE_ENTITY,
            CommandError::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(ErrorJson { error: self.text })).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 section 11.6.1: a 401 MUST have a WWW-Authenticate challenge.
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
