//! `/v1/integrations/chat`: a chat export as a file, or turns as JSON.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::files::Upload;
use super::{Answer, Input, is_json, memories};
use crate::access::Caller;
use crate::error::ApiError;
use crate::gateway::Gateway;

pub(crate) async fn import_chat(
    State(gateway): State<Gateway>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, ApiError> {
    if is_json(request.headers()) {
        // Turns at hand need no background: it is the same as adding them.
        // The room is for files; JSON has the ordinary limit.
        let most = gateway.state.config.body_len;
        let bytes = axum::body::to_bytes(request.into_body(), most)
            .await
            .map_err(|_| {
                ApiError::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "body_too_large",
                    format!("JSON of at most {most} bytes; a file may be larger"),
                )
            })?;
        let add = serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::invalid("bad_json", error.to_string()))?;
        let Answer(_, added) = memories::add(State(gateway), Extension(caller), Input(add)).await?;
        return Ok(Answer(StatusCode::CREATED, added).into_response());
    }
    let answer = Upload::read(request, &gateway)
        .await?
        .begin(&gateway, &caller, true)
        .await?;
    Ok(answer.into_response())
}
