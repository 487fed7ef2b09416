//! What the API says when it does not do what it is asked: a status code and JSON.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::config::ConfigError;
use crate::tokens;

/// Why a request was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What is wrong, in English.
    error: String,
    /// The setting, or the part of the request, that is wrong.
    #[schema(required)]
    field: Option<String>,
}

/// A refusal. Its status says who has to do something about it.
#[derive(Debug)]
pub(crate) struct Refused {
    status: StatusCode,
    problem: Problem,
    retry_after_secs: Option<u64>,
}

/// What every route may say instead of an answer, for the document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is for the document alone")]
pub(super) enum Refusals {
    /// What was sent cannot be read.
    #[response(status = 400)]
    Malformed(Problem),
    /// There was no token, or it is not known.
    #[response(status = 401)]
    NoToken(Problem),
    /// The token allows less than this takes.
    #[response(status = 403)]
    ScopeTooSmall(Problem),
    /// There is no such thing here, or the API is off.
    #[response(status = 404)]
    NotFound(Problem),
    /// The URL is longer than the head of a request may be; said in plain text.
    #[response(status = 414)]
    TargetTooLong,
    /// Too many wrong tokens: wait as long as Retry-After says.
    #[response(status = 429)]
    TooMany(Problem),
    /// The head of the request is longer than it may be; without a body.
    #[response(status = 431)]
    HeadTooLong,
    /// It cannot be done now: too much is asked at once, it stops, or a file cannot be written.
    #[response(status = 503)]
    NotNow(Problem),
}

/// What a route with parameters may say besides.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is for the document alone")]
pub(super) enum Unprocessable {
    /// A value is wrong; `field` names it.
    #[response(status = 422)]
    Wrong(Problem),
}

/// What a route with a body may say besides.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is for the document alone")]
pub(super) enum BodyRefusals {
    /// The body is too long.
    #[response(status = 413)]
    TooLong(Problem),
    /// A value is wrong; `field` names it.
    #[response(status = 422)]
    Wrong(Problem),
}

/// What a route may say that changes what others change as well, or that is about members.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is for the document alone")]
pub(super) enum Conflicting {
    /// It contradicts what is there. Where it is about members: the tracker has none, or they are
    /// a site's.
    #[response(status = 409)]
    Conflict(Problem),
}

/// How long to wait when too much is to be done already.
const BUSY_SECS: u64 = 5;

impl Refused {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        let problem = Problem { error: error.into(), field: None };
        Self { status, problem, retry_after_secs: None }
    }

    /// The same about another part of the request.
    pub(crate) fn about(self, field: impl Into<String>) -> Self {
        let problem = Problem { field: Some(field.into()), ..self.problem };
        Self { problem, ..self }
    }

    /// 400: the request is not what it should be by its form.
    pub(crate) fn malformed(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// 401: the same whether there was no token, or one that is not known.
    pub(crate) fn no_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "send a token: `Authorization: Bearer TOKEN`")
    }

    /// 429: too many wrong tokens.
    pub(crate) fn too_many(retry_after_secs: u64) -> Self {
        let retry_after_secs = Some(retry_after_secs);
        let refused = Self::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens");
        Self { retry_after_secs, ..refused }
    }

    /// 403: the token allows less than this takes.
    pub(crate) fn scope_too_small(needed: tokens::Scope) -> Self {
        let needed = needed.name();
        Self::new(StatusCode::FORBIDDEN, format!("this takes a token of scope {needed}"))
    }

    /// 404: there is nothing here.
    pub(crate) fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    /// 405: not with this method.
    pub(crate) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "not with this method")
    }

    /// 409: it contradicts what is there.
    pub(crate) fn conflict(error: impl Into<String>, field: &str) -> Self {
        Self::new(StatusCode::CONFLICT, error).about(field)
    }

    /// 409: this tracker has no such thing.
    pub(crate) fn not_here(error: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, error)
    }

    /// 413: the body is longer than it may be.
    pub(crate) fn too_long(bytes_max: usize) -> Self {
        let error = format!("the body may have {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, error)
    }

    /// 422: the form is right, a value is not.
    pub(crate) fn wrong(error: impl Into<String>, field: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error).about(field)
    }

    /// 503: it cannot be done now: too much is asked, or a file cannot be written.
    pub(crate) fn not_now(error: impl Into<String>) -> Self {
        let refused = Self::new(StatusCode::SERVICE_UNAVAILABLE, error);
        Self { retry_after_secs: Some(BUSY_SECS), ..refused }
    }
}

impl From<&ConfigError> for Refused {
    fn from(error: &ConfigError) -> Self {
        let refused = Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.without_place());
        match error.key() {
            Some(key) => refused.about(key),
            None => refused,
        }
    }
}

impl From<tokens::Error> for Refused {
    fn from(error: tokens::Error) -> Self {
        use tokens::Error;
        let text = error.to_string();
        match error {
            Error::Name => Self::wrong(text, "name"),
            Error::Taken(_) => Self::conflict(text, "name"),
            Error::Full => Self::new(StatusCode::CONFLICT, text),
            Error::Unknown(_) => Self::not_found("there is no token with this id"),
            // The path is nothing to the client; the operator finds it in the log.
            Error::File(..) | Error::Broken(..) | Error::Locked(_) => {
                tracing::error!("{text}");
                Self::not_now("the tokens cannot be changed now: the log says why")
            }
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.problem)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(secs) = self.retry_after_secs {
            headers.insert(RETRY_AFTER, HeaderValue::from(secs));
        }
        response
    }
}
