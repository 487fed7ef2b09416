//! What comes with a request: a body of JSON, within bounds.

use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::refused::Refused;

/// Most characters of what a parser says about a body, which may quote all of it.
const MESSAGE_CHARS_MAX: usize = 200;

/// Reads a body of at most `bytes_max`. JSON is nested 128 deep at most.
///
/// Its type is not asked for: no form of another site can send the token that has come with it.
pub(super) async fn json<T: DeserializeOwned>(
    request: Request,
    bytes_max: usize,
) -> Result<T, Refused> {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| bytes_max as u64 <= length) {
        return Err(Refused::too_long(bytes_max));
    }
    // Whoever has gone away does not read what is said.
    let body = axum::body::to_bytes(request.into_body(), bytes_max).await;
    let body = body.map_err(|_| Refused::too_long(bytes_max))?;
    serde_json::from_slice(&body).map_err(|error| {
        let message: String = error.to_string().chars().take(MESSAGE_CHARS_MAX).collect();
        match error.classify() {
            Category::Data => Refused::wrong(message, "body"),
            Category::Io | Category::Syntax | Category::Eof => Refused::malformed(message),
        }
    })
}
