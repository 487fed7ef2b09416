//! `/openapi.json`: what the API is, from the types that are served.

use std::sync::OnceLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, Object, ObjectBuilder, Schema, SchemaType};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoParams, Modify, OpenApi, PartialSchema, ToSchema};

use crate::config::keys::SECTIONS;

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Peerage",
        version = "1",
        description = "What an operator may ask of a running tracker, and change about it. Every \
            request takes a token, made by `peerage token add`; its scope is one of read, operate \
            and admin, each of which allows what those before it allow. A method that a path does \
            not have is answered with 405.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        super::session,
        super::stats,
        super::settings::show,
        super::settings::change,
        super::lists::show,
        super::lists::change,
        super::lists::put,
        super::lists::remove,
        super::swarms::show,
        super::swarms::remove,
        super::users::list,
        super::users::change,
        super::users::set,
        super::users::show,
        super::users::put,
        super::users::remove,
        super::torrents::list,
        super::torrents::change,
        super::torrents::put_file,
        super::torrents::show,
        super::torrents::put,
        super::torrents::remove,
        super::clients::list,
        super::clients::change,
        super::clients::put,
        super::clients::remove,
        super::freeleech::show,
        super::freeleech::put,
        super::freeleech::change,
        super::freeleech::list,
        super::freeleech::give,
        super::freeleech::take,
        super::tokens::list,
        super::tokens::make,
        super::tokens::remove,
        show,
    ),
    modifiers(&TokenScheme),
)]
struct Document;

/// The scheme that the routes name `token`.
struct TokenScheme;

impl Modify for TokenScheme {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("`peerage_admin_` (or another scope) and 64 hex digits"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The info_hash in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it is for the document alone")]
pub(super) struct HashInPath {
    /// 40 hex digits (v1) or 64 (v2).
    #[param(pattern = "^[0-9a-fA-F]{40}([0-9a-fA-F]{24})?$")]
    info_hash: String,
}

/// An info_hash: 40 hex digits (v1) or 64 (v2).
#[derive(ToSchema)]
#[schema(pattern = "^[0-9a-fA-F]{40}([0-9a-fA-F]{24})?$")]
#[expect(dead_code, reason = "it is for the document alone")]
pub(super) struct HashText(String);

/// By its key, what each setting is to be; null takes a change back.
pub(super) struct SettingsPatch;

impl ToSchema for SettingsPatch {}

impl PartialSchema for SettingsPatch {
    fn schema() -> RefOr<Schema> {
        let mut patch = ObjectBuilder::new()
            .description(Some("By its key, what each is to be; null takes a change back."))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        for key in SECTIONS.iter().flat_map(|section| section.keys) {
            if key.is_live() {
                let mut value = Object::with_type(SchemaType::AnyValue);
                value.description = Some(format!("must be {}, or null", (key.right)()));
                patch = patch.property(key.name, value);
            }
        }
        patch.into()
    }
}

/// This document.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "document",
    security(()),
    responses((status = 200, description = "The document", body = serde_json::Value)),
)]
pub(super) async fn show() -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text()).into_response()
}

/// The document as it is served.
fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut text = Document::openapi().to_pretty_json().expect("its keys are texts");
        text.push('\n');
        text
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn document_is_the_one_in_the_manual() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
            fs::write(&path, text()).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text(), "docs/openapi.json is old: run the tests with UPDATE=1");
    }
}
