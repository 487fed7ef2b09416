//! `/settings`: what is in force, and changing it while the tracker runs.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::asks::Ask;
use super::document::SettingsPatch;
use super::refused::{BodyRefusals, Refusals, Refused};
use super::{Api, Session, body, lock};
use crate::changed::{self, Patch};
use crate::config::keys::{Key, SECTIONS, Takes, Values};
use crate::config::value::{self, Kind};
use crate::config::{Config, Origin};

/// Most bytes of a change.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;

/// All settings, in the order of the configuration file.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(crate) struct View {
    /// Each of them.
    settings: Vec<Setting>,
}

/// A setting as it is in force.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Setting {
    /// Section and name, such as `announce.jitter`.
    #[schema(example = "announce.jitter")]
    key: &'static str,
    /// The section alone.
    section: &'static str,
    /// As the configuration file writes it: durations and sizes are texts such as `20m` and `8MiB`.
    /// Null for a secret.
    #[schema(required)]
    value: serde_json::Value,
    /// A duration in seconds, a size in bytes, a number as it is; null for all else.
    #[schema(required)]
    value_number: Option<f64>,
    /// What it is where nobody says otherwise, in the form of `value`.
    #[schema(required)]
    default: serde_json::Value,
    /// What it is: how it is entered.
    kind: ViewKind,
    /// Of `value_number`, `min` and `max`.
    #[schema(required)]
    unit: Option<&'static str>,
    /// The least it may be.
    #[schema(required)]
    min: Option<f64>,
    /// The most it may be.
    #[schema(required)]
    max: Option<f64>,
    /// The words it may be: besides what the kind says, or alone for a text that has any.
    choices: Vec<&'static str>,
    /// What it is for, in English.
    help: String,
    /// What is right, to follow "must be".
    right: String,
    /// What a change takes.
    takes: ViewTakes,
    /// Where its value comes from.
    source: Source,
}

/// What a setting is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ViewKind {
    /// Seconds, or a text such as `1h30m`.
    Duration,
    /// A number.
    Number,
    /// True or false.
    Bool,
    /// Bytes, or a text such as `8MiB`.
    Bytes,
    /// A text.
    Text,
    /// An array of texts.
    List,
}

/// What a change takes.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ViewTakes {
    /// Nothing: it can be changed here.
    Now,
    /// A change of the configuration, and SIGHUP.
    Reload,
    /// A change of the configuration, and a new start.
    Restart,
}

/// Where a value comes from. Each goes before those above it.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// Nobody says otherwise.
    Default,
    /// The configuration file.
    File,
    /// A flag of the command line.
    Flag,
    /// A variable of the environment.
    Environment,
    /// It was changed here.
    Changed,
}

impl View {
    /// The settings of a tracker that was started with one configuration and has read another.
    pub(crate) fn new(started: &Config, latest: &Config) -> Self {
        let defaults = Values::default();
        let keys = SECTIONS
            .iter()
            .flat_map(|section| section.keys.iter().map(move |key| (section.name, key)));
        let setting = |(section, key): (&'static str, &'static Key)| {
            let config = if key.takes == Takes::Restart { started } else { latest };
            Setting::new(section, key, config, &defaults)
        };
        Self { settings: keys.map(setting).collect() }
    }
}

impl Setting {
    fn new(section: &'static str, key: &'static Key, config: &Config, defaults: &Values) -> Self {
        let shape = (key.shape)();
        let value = changed::json(&config.written(key));
        let (kind, unit) = match shape.kind {
            Kind::Duration => (ViewKind::Duration, Some("s")),
            Kind::Bytes => (ViewKind::Bytes, Some("bytes")),
            Kind::Number => (ViewKind::Number, None),
            Kind::Bool => (ViewKind::Bool, None),
            Kind::Text | Kind::Path | Kind::Secret => (ViewKind::Text, None),
            Kind::List | Kind::Paths => (ViewKind::List, None),
        };
        let amount = |text| value::amount(shape.kind, text).map(|amount| amount as f64);
        Self {
            key: key.name,
            section,
            value_number: value.as_f64().or_else(|| value.as_str().and_then(amount)),
            value,
            default: changed::json(&defaults.write(key).unwrap_or_default()),
            kind,
            unit,
            min: shape.min,
            max: shape.max,
            choices: shape.choices,
            help: key.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "),
            right: (key.right)(),
            takes: match key.takes {
                Takes::Reload if key.is_live() => ViewTakes::Now,
                Takes::Reload => ViewTakes::Reload,
                Takes::Restart => ViewTakes::Restart,
            },
            source: match config.origin(key) {
                Origin::Default => Source::Default,
                Origin::File(..) => Source::File,
                Origin::Flag(_) => Source::Flag,
                Origin::Environment(_) => Source::Environment,
                Origin::Changed(..) => Source::Changed,
            },
        }
    }
}

/// What is in force.
#[utoipa::path(
    get,
    path = "/api/v1/settings",
    tag = "settings",
    security(("token" = ["read"])),
    responses((status = 200, description = "All settings", body = View), Refusals),
)]
pub(super) async fn show(State(api): State<Arc<Api>>) -> Json<View> {
    Json(View::clone(&lock(&api.settings)))
}

/// Changes settings, all or none of them, and keeps them over a restart. Null takes a change back.
#[utoipa::path(
    patch,
    path = "/api/v1/settings",
    tag = "settings",
    security(("token" = ["admin"])),
    request_body(
        content = SettingsPatch,
        example = json!({"announce.max_interval": "20m", "announce.jitter": 30}),
    ),
    responses(
        (status = 200, description = "All settings after the change", body = View),
        Refusals, BodyRefusals,
    ),
)]
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    Extension(session): Extension<Session>,
    request: Request,
) -> Result<Json<View>, Refused> {
    let patch: Patch = body::json(request, BODY_BYTES_MAX).await?;
    let by = session.name();
    api.ask(|answer| Ask::Settings { patch, by, answer }).await?;
    Ok(show(State(api)).await)
}
