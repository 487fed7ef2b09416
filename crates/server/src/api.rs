//! The API: `/api/v1`, in JSON. Nothing here is answered without a token but the OpenAPI document.
//!
//! Runs on the thread of the pages. What changes the tracker is asked of the thread that owns the
//! settings ([`asks`]), which does one thing at a time; what touches the disk beside that runs on a
//! thread for blocking work. Without a data folder there is nowhere to keep tokens: the API is off.
//!
//! - `asks`: what is asked of the owner of the settings.
//! - `document`: the OpenAPI document.
//! - `failures`: who has come with wrong tokens.
//! - `refused`: what is said instead of an answer.
//! - `ours`: the way to our own tables of members, on a thread that waits for SQL.
//! - `clients`, `freeleech`, `lists`, `settings`, `swarms`, `tokens`, `torrents`, `users`: the
//!   routes.

pub(crate) mod asks;
mod body;
mod clients;
mod document;
mod failures;
mod freeleech;
mod lists;
pub(crate) mod ours;
mod refused;
pub(crate) mod settings;
mod swarms;
mod tokens;
mod torrents;
mod users;

use std::net::IpAddr;
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Json};
use peerage_tracker::Now;
use serde::Serialize;
use tokio::sync::Semaphore;
use tracing::{error, warn};
use utoipa::ToSchema;

use crate::clock::Clock;
use crate::stats::{Source, Stats};
use crate::threads::Event;
use crate::tokens::{Scope, Token, TokenText, Tokens};
use failures::{Failures, Range, Verdict};
use ours::Members;
use refused::{Refusals, Refused};
use settings::View;

/// Below what all of it is.
pub(crate) const PREFIX: &str = "/api/v1";

/// How long a change of the file of tokens by another process may go unseen.
const TOKENS_AGE_MAX: Duration = Duration::from_secs(1);

/// The name of the token that is made when there has been none.
const FIRST_TOKEN: &str = "first";

/// What is said while there is no data folder.
const OFF: &str = "the API is off: it needs a folder to keep its tokens in, process.data_dir \
    (--data-dir DIR)";

/// Where a request comes from: the other end of its connection, or whom trusted proxies name.
/// Canonical.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client(pub(crate) IpAddr);

/// The API's own state, shared by the pages and the owner of the settings.
pub(crate) struct Api {
    /// `None` without a data folder.
    tokens: Option<Tokens>,
    clock: Clock,
    source: Arc<Source>,
    owner: SyncSender<Event>,
    failures: Mutex<Failures>,
    /// When another process's changes of the tokens were last looked for.
    looked: Mutex<Now>,
    settings: Mutex<Arc<View>>,
    members: Members,
    /// As many as may still ask for something about members.
    asking: Semaphore,
}

/// The token of a request.
#[derive(Clone, Debug)]
pub(crate) struct Session(Arc<Token>);

impl Session {
    /// As the log names it.
    fn name(&self) -> String {
        format!("token {:?} ({})", self.0.name, self.0.id)
    }
}

/// The token that was sent, and what it allows.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionReply {
    /// The token's name.
    name: String,
    /// What it allows.
    scope: Scope,
}

impl Api {
    /// The API with the tokens in `data_dir`. Asks are sent to `owner`, and to whoever has
    /// `members`.
    ///
    /// Errors: the tokens that are there cannot be read.
    pub(crate) fn open(
        data_dir: Option<&Path>,
        clock: Clock,
        source: &Arc<Source>,
        owner: SyncSender<Event>,
        members: Members,
    ) -> Result<Self, crate::tokens::Error> {
        Ok(Self {
            tokens: data_dir.map(Tokens::open).transpose()?,
            clock,
            source: Arc::clone(source),
            owner,
            failures: Mutex::default(),
            looked: Mutex::new(clock.now()),
            settings: Mutex::default(),
            members,
            asking: Semaphore::new(ours::WAITING_MAX),
        })
    }

    /// Whether it answers: there is a folder to keep tokens in.
    pub(crate) fn is_on(&self) -> bool {
        self.tokens.is_some()
    }

    /// Makes a token that may do everything, if there has never been one. `None` where there has
    /// been, where there is no folder, and where none can be kept, which is logged.
    pub(crate) fn first_token(&self) -> Option<TokenText> {
        let tokens = self.tokens.as_ref().filter(|tokens| !tokens.have_been())?;
        match tokens.add(FIRST_TOKEN, Scope::Admin) {
            Ok((_, text)) => Some(text),
            Err(error) => {
                error!("the API has no token, and none can be made: {error}");
                None
            }
        }
    }

    /// Looks whether another process has changed the tokens.
    pub(crate) fn refresh_tokens(&self) {
        if let Some(Err(error)) = self.tokens.as_ref().map(Tokens::refresh) {
            error!("{error}");
            error!("the tokens cannot be read, the old ones stay in force");
        }
    }

    /// Shows `view` as the settings in force.
    pub(crate) fn show_settings(&self, view: View) {
        *lock(&self.settings) = Arc::new(view);
    }

    fn tokens(&self) -> Result<&Tokens, Refused> {
        self.tokens.as_ref().ok_or_else(|| Refused::not_found(OFF))
    }

    /// The token of a request, if it allows what is asked.
    async fn admit(self: &Arc<Self>, request: &Parts) -> Result<Session, Refused> {
        let tokens = self.tokens()?;
        if self.is_time_to_look() {
            let api = Arc::clone(self);
            // It fails only when the process stops.
            let _ = tokio::task::spawn_blocking(move || api.refresh_tokens()).await;
        }
        let Some(given) = request.headers.get(AUTHORIZATION) else {
            return Err(Refused::no_token());
        };
        let Some(token) = bearer(given).and_then(|text| tokens.find(text)) else {
            return Err(self.failed(request));
        };
        let needed = needed(&request.method, request.uri.path());
        if token.scope < needed {
            return Err(Refused::scope_too_small(needed));
        }
        Ok(Session(Arc::new(token)))
    }

    fn is_time_to_look(&self) -> bool {
        let now = self.clock.now();
        let mut looked = lock(&self.looked);
        let is_time = TOKENS_AGE_MAX <= now.since(*looked);
        if is_time {
            *looked = now;
        }
        is_time
    }

    fn failed(&self, request: &Parts) -> Refused {
        let Some(Client(address)) = request.extensions.get::<Client>().copied() else {
            return Refused::no_token();
        };
        match lock(&self.failures).count(self.clock.now(), Range::of(address)) {
            Verdict::Wrong => Refused::no_token(),
            Verdict::Wait { secs, first } => {
                if first {
                    warn!("API: too many wrong tokens from {address}");
                }
                Refused::too_many(secs)
            }
        }
    }
}

/// The token in a value of `Authorization`.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_start_matches(' '))
}

/// The scope that a request takes. Whatever is not named takes the most.
fn needed(method: &Method, path: &str) -> Scope {
    let looks = matches!(*method, Method::GET | Method::HEAD);
    match path.split('/').nth(1) {
        Some("tokens") => Scope::Admin,
        _ if looks => Scope::Read,
        Some("lists" | "swarms" | "users" | "torrents" | "clients" | "freeleech") => Scope::Operate,
        _ => Scope::Admin,
    }
}

/// All routes, below [`PREFIX`].
pub(crate) fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/session", get(session))
        .route("/settings", get(settings::show).patch(settings::change))
        .route("/stats", get(stats))
        .route("/lists/{list}", get(lists::show).post(lists::change))
        .route("/lists/{list}/{info_hash}", put(lists::put).delete(lists::remove))
        .route("/swarms/{info_hash}", get(swarms::show).delete(swarms::remove))
        .route("/users", get(users::list).post(users::change).patch(users::set))
        .route("/users/{name}", get(users::show).put(users::put).delete(users::remove))
        .route("/users/{name}/freeleech", get(freeleech::list))
        .route("/users/{name}/freeleech/{info_hash}", put(freeleech::give).delete(freeleech::take))
        .route("/torrents", get(torrents::list).post(torrents::change))
        .route("/torrents/file", post(torrents::put_file))
        .route(
            "/torrents/{info_hash}",
            get(torrents::show).put(torrents::put).delete(torrents::remove),
        )
        .route("/clients", get(clients::list).post(clients::change))
        .route("/clients/{prefix}", put(clients::put).delete(clients::remove))
        .route("/freeleech", get(freeleech::show).put(freeleech::put))
        .route("/freeleech/tokens", post(freeleech::change))
        .route("/tokens", get(tokens::list).post(tokens::make))
        .route("/tokens/{id}", delete(tokens::remove))
        .fallback(|| async { Refused::not_found("there is nothing here") })
        .method_not_allowed_fallback(|| async { Refused::method() })
        .layer(middleware::from_fn_with_state(Arc::clone(&api), guard))
        .with_state(api)
        // Outside of the guard: it tells nothing that is not in the manual.
        .route("/openapi.json", get(document::show))
}

/// Lets through who has a token that allows it.
async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let mut response = match api.admit(&head).await {
        Ok(session) => {
            head.extensions.insert(session);
            next.run(Request::from_parts(head, body)).await
        }
        Err(refused) => refused.into_response(),
    };
    private(response.headers_mut());
    response
}

/// What each reply says: that nobody is to keep it, nor take it for anything else.
fn private(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Whose token was sent: to see whether it is right.
#[utoipa::path(
    get,
    path = "/api/v1/session",
    tag = "session",
    security(("token" = ["read"])),
    responses((status = 200, description = "The token is right", body = SessionReply), Refusals),
)]
async fn session(Extension(session): Extension<Session>) -> Json<SessionReply> {
    Json(SessionReply { name: session.0.name.clone(), scope: session.0.scope })
}

/// The same as `/stats.json`.
#[utoipa::path(
    get,
    path = "/api/v1/stats",
    tag = "statistics",
    security(("token" = ["read"])),
    responses((status = 200, description = "The statistics", body = Stats), Refusals),
)]
async fn stats(State(api): State<Arc<Api>>) -> Response {
    Json(&*api.source.stats()).into_response()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_takes_the_most() {
        for (method, path, scope) in [
            (Method::GET, "/stats", Scope::Read),
            (Method::HEAD, "/settings", Scope::Read),
            (Method::PATCH, "/settings", Scope::Admin),
            (Method::GET, "/lists/allow", Scope::Read),
            (Method::PUT, "/lists/allow/00", Scope::Operate),
            (Method::DELETE, "/swarms/00", Scope::Operate),
            (Method::GET, "/users", Scope::Read),
            (Method::PATCH, "/users", Scope::Operate),
            (Method::PUT, "/users/ann/freeleech/00", Scope::Operate),
            (Method::POST, "/torrents/file", Scope::Operate),
            (Method::DELETE, "/clients/-TR", Scope::Operate),
            (Method::PUT, "/freeleech", Scope::Operate),
            (Method::GET, "/tokens", Scope::Admin),
            (Method::DELETE, "/tokens/00", Scope::Admin),
            (Method::POST, "/new/things", Scope::Admin),
            (Method::OPTIONS, "/stats", Scope::Admin),
        ] {
            assert_eq!(needed(&method, path), scope, "{method} {path}");
        }
    }

    #[test]
    fn token_is_read_from_its_header() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("abc", None),
        ] {
            assert_eq!(bearer(&HeaderValue::from_static(value)), token, "{value}");
        }
    }
}
