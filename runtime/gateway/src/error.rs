//! The one shape of every error.
//!
//! ```json
//! {"error": {"type": "invalid_request", "code": "bad_json", "message": "…", "request_id": "…"}}
//! ```

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, extract::rejection::JsonRejection};
use schemars::JsonSchema;
use serde::Serialize;

use crate::rate::Left;
use crate::service::ServiceError;

/// An error as a caller sees it.
#[derive(Clone, Debug)]
pub struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) retry_after_s: Option<u64>,
    /// What the caller has left of its requests, where that was counted.
    pub(crate) left: Option<Left>,
}

/// The body of every error.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ErrorBody {
    /// The error.
    pub(crate) error: ErrorDetail,
}

/// What is wrong.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ErrorDetail {
    /// Who must act: `invalid_request`, `authentication`, `permission`, `not_found`, `rate_limit`, `unavailable`, `server`.
    pub(crate) r#type: &'static str,
    /// A stable code for programs.
    pub(crate) code: &'static str,
    /// A sentence for people.
    pub(crate) message: String,
    /// The request, as in the header `x-request-id`; filled in on the way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after_s: None,
            left: None,
        }
    }

    pub(crate) fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn internal(log: impl std::fmt::Display) -> Self {
        tracing::error!("{log}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something failed here; the server's log says what",
        )
    }

    pub(crate) fn body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                r#type: kind(self.status),
                code: self.code,
                message: self.message.clone(),
                request_id: None,
            },
        }
    }
}

/// Who must act.
fn kind(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication",
        StatusCode::FORBIDDEN => "permission",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit",
        StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::NOT_IMPLEMENTED
        | StatusCode::REQUEST_TIMEOUT => "unavailable",
        status if status.is_server_error() => "server",
        _ => "invalid_request",
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(left) = self.left {
            left.write_to(headers);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"tally\""),
            );
        }
        response
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::NotFound => {
                Self::new(StatusCode::NOT_FOUND, "memory_not_found", error.to_string())
            }
            ServiceError::Refused(sentence) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", sentence)
            }
            ServiceError::Unsupported(sentence) => {
                Self::new(StatusCode::NOT_IMPLEMENTED, "unsupported", sentence)
            }
            ServiceError::Busy(sentence) => Self {
                retry_after_s: Some(1),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", sentence)
            },
            ServiceError::Failed(log) => Self::internal(log),
        }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "not_json",
            _ => "bad_json",
        };
        let status = match rejection.status() {
            // Whether JSON is broken or of the wrong shape is one thing to a caller.
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            status => status,
        };
        Self::new(status, code, rejection.body_text())
    }
}
